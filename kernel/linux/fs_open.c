// SPDX-License-Identifier: Apache-2.0
/* open(2) and relatives, directories as files, the working directory. Linux 6.1 fs/open.c,
 * mm/memfd.c. */
#include "base/mem.h"
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/notify.h"
#include "kernel/vfs/open.h"

enum {
    ACCMODE = 3,
    // Linux VALID_OPEN_FLAGS: others are ignored by open(2) and refused by openat2(2).
    FLAGS_VALID = ACCMODE | OPEN_CREAT | OPEN_EXCL | OPEN_NOCTTY | OPEN_TRUNC | FILE_APPEND |
                  FILE_NONBLOCK | OPEN_DSYNC | OPEN_ASYNC | FILE_DIRECT | OPEN_LARGEFILE |
                  OPEN_DIRECTORY | OPEN_NOFOLLOW | OPEN_NOATIME | OPEN_CLOEXEC | OPEN_SYNC |
                  FILE_PATH | OPEN_TMPFILE,
    FLAGS_PATH = OPEN_DIRECTORY | OPEN_NOFOLLOW | FILE_PATH | OPEN_CLOEXEC,
};

/* Linux build_open_flags on what open(2) and openat2(2) have in common. */
static int check_flags(uint32_t flags)
{
    if (flags & OPEN_TMPFILE) {
        if ((flags & OPEN_DIRECTORY) == 0 || (flags & OPEN_CREAT) || (flags & ACCMODE) == 0)
            return -EINVAL;
    }
    return 0;
}

static int64_t do_open(int dirfd, uint64_t user_path, uint32_t flags, uint32_t mode,
                       unsigned resolve)
{
    struct path path;
    struct dentry *start;
    struct file *f;
    int r = check_flags(flags);
    if (r < 0)
        return r;
    r = path_from_user(&path, user_path, 0);
    if (r < 0)
        return r;
    int fd = fd_reserve((flags & OPEN_CLOEXEC) != 0);
    if (fd < 0) {
        path_done(&path);
        return fd;
    }
    r = resolve & WALK_IN_ROOT ? walk_start_scoped(dirfd, path.s, &start)
                               : walk_start(dirfd, path.s, &start);
    if (r == 0) {
        r = open_path(start, path.s, flags, mode, resolve, &f);
        dentry_put(start);
    }
    path_done(&path);
    if (r < 0) {
        fd_unreserve(fd);
        return r;
    }
    notify_file(f, NOTIFY_OPEN);
    fd_publish(fd, f);
    return fd;
}

/* Flags as open(2) takes them: unknown ones ignored. */
static int64_t open_legacy(int dirfd, uint64_t user_path, uint32_t flags, uint32_t mode)
{
    flags &= FLAGS_VALID;
    if (flags & FILE_PATH)
        flags &= FLAGS_PATH;
    else
        flags |= OPEN_LARGEFILE;
    return do_open(dirfd, user_path, flags, mode & S_PERMS, 0);
}

int64_t sys_open(const uint64_t arg[static 6])
{
    return open_legacy(AT_FDCWD, arg[0], (uint32_t)arg[1], (uint32_t)arg[2]);
}

int64_t sys_creat(const uint64_t arg[static 6])
{
    return open_legacy(AT_FDCWD, arg[0], FILE_WRONLY | OPEN_CREAT | OPEN_TRUNC, (uint32_t)arg[1]);
}

int64_t sys_openat(const uint64_t arg[static 6])
{
    return open_legacy((int)arg[0], arg[1], (uint32_t)arg[2], (uint32_t)arg[3]);
}

struct user_open_how {
    uint64_t flags, mode, resolve;
};

/* Linux copy_struct_from_user: a longer structure must have zeroes behind what we know. */
static int how_from_user(struct user_open_how *how, uint64_t user, uint64_t size)
{
    if (size < sizeof(*how))
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    uint8_t rest[64];
    for (uint64_t at = sizeof(*how); at < size;) {
        size_t n = MIN(size - at, sizeof(rest));
        if (copy_from_user(rest, user + at, n) < 0)
            return -EFAULT;
        for (size_t i = 0; i < n; i++)
            if (rest[i] != 0)
                return -E2BIG;
        at += n;
    }
    return copy_from_user(how, user, sizeof(*how));
}

int64_t sys_openat2(const uint64_t arg[static 6])
{
    enum { CACHED = 0x20, BENEATH = 8, IN_ROOT = 0x10, RESOLVE_ALL = 0x3f };
    struct user_open_how how;
    int r = how_from_user(&how, arg[2], arg[3]);
    if (r < 0)
        return r;
    if ((how.flags & ~(uint64_t)FLAGS_VALID) || (how.resolve & ~(uint64_t)RESOLVE_ALL))
        return -EINVAL;
    if ((how.resolve & BENEATH) && (how.resolve & IN_ROOT))
        return -EINVAL;
    uint32_t flags = (uint32_t)how.flags;
    bool makes = (flags & (OPEN_CREAT | OPEN_TMPFILE)) != 0;
    if (makes ? (how.mode & ~(uint64_t)S_PERMS) != 0 : how.mode != 0)
        return -EINVAL;
    if ((flags & FILE_PATH) && (flags & ~(uint32_t)FLAGS_PATH))
        return -EINVAL;
    if ((how.resolve & CACHED) && (makes || (flags & OPEN_TRUNC)))
        return -EAGAIN;
    if ((flags & FILE_PATH) == 0)
        flags |= OPEN_LARGEFILE;
    return do_open((int)arg[0], arg[1], flags, (uint32_t)how.mode,
                   (unsigned)how.resolve << WALK_RESOLVE_SHIFT);
}

// --- getdents ---

static int64_t do_getdents(const uint64_t arg[static 6], bool old)
{
    enum { BUF_MAX = 32768 };
    uint32_t count = (uint32_t)arg[2];
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int64_t r = -ENOTDIR;
    struct dirbuf b = {.max = MIN(count, (uint32_t)BUF_MAX), .old = old};
    if (f->ops == &dir_file_ops) {
        b.buf = kmalloc(MAX(b.max, (size_t)1));
        if (b.buf == NULL) {
            r = -ENOMEM;
        } else {
            mutex_lock(&f->pos_lock);
            uint64_t pos = f->pos;
            r = f->inode->sb->ops->iterate(f->dentry, &pos, &b);
            if (r == 0 && b.len == 0 && b.full)
                r = -EINVAL; // not even one entry fits
            if (r == 0 && copy_to_user(arg[1], b.buf, b.len) < 0)
                r = -EFAULT;
            if (r == 0) {
                f->pos = pos;
                r = (int64_t)b.len;
            }
            mutex_unlock(&f->pos_lock);
            notify_file(f, NOTIFY_ACCESS);
        }
        kfree(b.buf);
    }
    file_put(f);
    return r;
}

int64_t sys_getdents64(const uint64_t arg[static 6])
{
    return do_getdents(arg, false);
}

int64_t sys_getdents(const uint64_t arg[static 6])
{
    return do_getdents(arg, true);
}

// --- working directory ---

int64_t sys_getcwd(const uint64_t arg[static 6])
{
    struct fs_context *fs = fs_current();
    spin_lock(&fs->lock);
    struct dentry *cwd = dentry_get(fs->cwd);
    spin_unlock(&fs->lock);
    char *buf = kmalloc(PATH_MAX_BYTES);
    int64_t r = -ENOMEM;
    if (buf != NULL) {
        size_t len = dentry_path(cwd, buf, PATH_MAX_BYTES) + 1;
        if (cwd->flags & DENTRY_DELETED)
            r = -ENOENT;
        else if (len > arg[1])
            r = -ERANGE;
        else
            r = copy_to_user(arg[0], buf, len) < 0 ? -EFAULT : (int64_t)len;
    }
    kfree(buf);
    dentry_put(cwd);
    return r;
}

/* Takes over the reference to d. */
static int set_cwd(struct dentry *d)
{
    int r = (d->inode->mode & S_FMT) == S_DIR ? inode_permission(d->inode, MAY_EXEC) : -ENOTDIR;
    if (r == 0) {
        struct fs_context *fs = fs_current();
        spin_lock(&fs->lock);
        struct dentry *old = fs->cwd;
        fs->cwd = d;
        spin_unlock(&fs->lock);
        d = old;
    }
    dentry_put(d);
    return r;
}

int64_t sys_chdir(const uint64_t arg[static 6])
{
    struct path path;
    struct dentry *start, *d;
    int r = path_from_user(&path, arg[0], 0);
    if (r < 0)
        return r;
    r = walk_start(AT_FDCWD, path.s, &start);
    if (r == 0) {
        r = walk(start, path.s, WALK_FOLLOW | WALK_DIRECTORY, &d);
        dentry_put(start);
    }
    path_done(&path);
    return r < 0 ? r : set_cwd(d);
}

int64_t sys_fchdir(const uint64_t arg[static 6])
{
    struct file *f = fd_get((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int r = f->dentry == NULL ? -ENOTDIR : set_cwd(dentry_get(f->dentry));
    file_put(f);
    return r;
}

int64_t sys_chroot(const uint64_t arg[static 6])
{
    struct dentry *d;
    int r = at_dentry(AT_FDCWD, arg[0], WALK_FOLLOW | WALK_DIRECTORY, &d);
    if (r < 0)
        return r;
    r = inode_permission(d->inode, MAY_EXEC);
    if (r == 0 && creds_current()->euid != 0) // CAP_SYS_CHROOT
        r = -EPERM;
    if (r < 0) {
        dentry_put(d);
        return r;
    }
    struct fs_context *fs = fs_current();
    spin_lock(&fs->lock);
    struct dentry *old = fs->root;
    fs->root = d;
    spin_unlock(&fs->lock);
    fs_root_put(old);
    if (d == vfs_root())
        dentry_put(d); // a context holds no reference to it
    return 0;
}

int64_t sys_umask(const uint64_t arg[static 6])
{
    struct fs_context *fs = fs_current();
    spin_lock(&fs->lock);
    uint32_t old = fs->umask;
    fs->umask = (uint32_t)arg[0] & 0777;
    spin_unlock(&fs->lock);
    return old;
}

int64_t sys_memfd_create(const uint64_t arg[static 6])
{
    enum { CLOEXEC = 1, ALLOW_SEALING = 2, HUGETLB = 4 };
    const uint32_t HUGE_SIZE = 63u << 26;
    static const char PREFIX[] = "memfd:";
    const uint32_t flags = (uint32_t)arg[1];
    const uint32_t known = CLOEXEC | ALLOW_SEALING | HUGETLB;
    char name[NAME_MAX_BYTES + 1];
    struct file *f;
    if (flags & ~(flags & HUGETLB ? known | HUGE_SIZE : known))
        return -EINVAL;
    memcpy(name, PREFIX, sizeof(PREFIX) - 1);
    int64_t len =
        strncpy_from_user(name + sizeof(PREFIX) - 1, arg[0], sizeof(name) - (sizeof(PREFIX) - 1));
    if (len < 0)
        return len == -ENAMETOOLONG ? -EINVAL : len;
    if (flags & HUGETLB)
        return -ENOSYS; // as a Linux without hugetlbfs
    int r = vfs_memory_file(name, 0, &f);
    if (r < 0)
        return r;
    if (flags & ALLOW_SEALING)
        file_allow_seals(f);
    r = fd_install(f, 0, (flags & CLOEXEC) != 0);
    if (r < 0)
        file_put(f);
    return r;
}
