// SPDX-License-Identifier: Apache-2.0
/* mount(2), umount2(2), pivot_root(2): what is mounted is settled at the start. A program finds
 * what it would find in a container without CAP_SYS_ADMIN; the checks before that are Linux 6.1
 * fs/namespace.c. */
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"

static int check_string(uint64_t user)
{
    struct path p;
    int r = user != 0 ? path_from_user(&p, user, WALK_EMPTY) : 0;
    if (user != 0 && r == 0)
        path_done(&p);
    return r == -ENAMETOOLONG ? -EINVAL : r;
}

static int64_t refuse(uint64_t user_path, unsigned walk_flags)
{
    struct dentry *d;
    int r = at_dentry(AT_FDCWD, user_path, walk_flags, &d);
    if (r < 0)
        return r;
    dentry_put(d);
    return -EPERM;
}

int64_t sys_mount(const uint64_t arg[static 6])
{
    uint8_t byte;
    int r = check_string(arg[2]);
    if (r == 0)
        r = check_string(arg[0]);
    if (r == 0 && arg[4] != 0)
        r = copy_from_user(&byte, arg[4], 1);
    return r < 0 ? r : refuse(arg[1], WALK_FOLLOW);
}

int64_t sys_umount2(const uint64_t arg[static 6])
{
    enum { NOFOLLOW = 8, FLAGS_ALL = 15 };
    uint32_t flags = (uint32_t)arg[1];
    if (flags & ~(uint32_t)FLAGS_ALL)
        return -EINVAL;
    return refuse(arg[0], flags & NOFOLLOW ? 0 : (unsigned)WALK_FOLLOW);
}

int64_t sys_pivot_root(const uint64_t arg[static 6] UNUSED)
{
    return -EPERM;
}
