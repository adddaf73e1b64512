// SPDX-License-Identifier: Apache-2.0
/* Extended attributes: no filesystem here stores any. The calls check what Linux 6.1 fs/xattr.c
 * checks and then say what it says of such a filesystem: -EOPNOTSUPP, and empty lists. */
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/vfs/fd.h"

enum { XATTR_NAME_MAX = 255, XATTR_SIZE_MAX = 65536, XATTR_CREATE = 1, XATTR_REPLACE = 2 };

/* Whether the object is there: a path (followed or not) or a descriptor. */
static int object_there(uint64_t object, unsigned walk_flags)
{
    struct dentry *d;
    int r = at_dentry(AT_FDCWD, object, walk_flags, &d);
    if (r == 0)
        dentry_put(d);
    return r;
}

static int descriptor_there(uint64_t fd)
{
    struct file *f = fd_get_io((int)fd);
    file_put(f);
    return f != NULL ? 0 : -EBADF;
}

static int check_name(uint64_t user)
{
    char name[XATTR_NAME_MAX + 1];
    int64_t len = strncpy_from_user(name, user, sizeof(name));
    if (len == 0 || len == -ENAMETOOLONG)
        return -ERANGE;
    return len < 0 ? (int)len : 0;
}

/* there: 0 or why the object cannot be had. */
static int64_t set(int there, const uint64_t arg[static 6])
{
    uint8_t byte;
    if (there < 0)
        return there;
    if ((uint32_t)arg[4] & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    int r = check_name(arg[1]);
    if (r < 0)
        return r;
    if (arg[3] > XATTR_SIZE_MAX)
        return -E2BIG;
    if (arg[3] > 0 &&
        (copy_from_user(&byte, arg[2], 1) < 0 || copy_from_user(&byte, arg[2] + arg[3] - 1, 1) < 0))
        return -EFAULT;
    return -EOPNOTSUPP;
}

static int64_t get_or_remove(int there, const uint64_t arg[static 6])
{
    int r = there < 0 ? there : check_name(arg[1]);
    return r < 0 ? r : -EOPNOTSUPP;
}

int64_t sys_setxattr(const uint64_t arg[static 6])
{
    return set(object_there(arg[0], WALK_FOLLOW), arg);
}

int64_t sys_lsetxattr(const uint64_t arg[static 6])
{
    return set(object_there(arg[0], 0), arg);
}

int64_t sys_fsetxattr(const uint64_t arg[static 6])
{
    return set(descriptor_there(arg[0]), arg);
}

int64_t sys_getxattr(const uint64_t arg[static 6])
{
    return get_or_remove(object_there(arg[0], WALK_FOLLOW), arg);
}

int64_t sys_lgetxattr(const uint64_t arg[static 6])
{
    return get_or_remove(object_there(arg[0], 0), arg);
}

int64_t sys_fgetxattr(const uint64_t arg[static 6])
{
    return get_or_remove(descriptor_there(arg[0]), arg);
}

int64_t sys_listxattr(const uint64_t arg[static 6])
{
    return object_there(arg[0], WALK_FOLLOW);
}

int64_t sys_llistxattr(const uint64_t arg[static 6])
{
    return object_there(arg[0], 0);
}

int64_t sys_flistxattr(const uint64_t arg[static 6])
{
    return descriptor_there(arg[0]);
}

int64_t sys_removexattr(const uint64_t arg[static 6])
{
    return get_or_remove(object_there(arg[0], WALK_FOLLOW), arg);
}

int64_t sys_lremovexattr(const uint64_t arg[static 6])
{
    return get_or_remove(object_there(arg[0], 0), arg);
}

int64_t sys_fremovexattr(const uint64_t arg[static 6])
{
    return get_or_remove(descriptor_there(arg[0]), arg);
}
