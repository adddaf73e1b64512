// SPDX-License-Identifier: Apache-2.0
/* Attributes and sizes: chmod(2), chown(2), utimensat(2), truncate(2), fallocate(2), fsync(2). */
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/notify.h"

enum { ACCMODE = 3 };

/* Change the attributes of what a path names. */
static int64_t setattr_at(int dirfd, uint64_t user_path, unsigned walk_flags,
                          int (*change)(struct inode *inode, const void *ctx), const void *ctx,
                          uint32_t event)
{
    struct at_object o;
    int r = at_object(dirfd, user_path, walk_flags, &o);
    if (r < 0)
        return r;
    struct inode *inode = at_object_inode(&o);
    r = inode != NULL ? change(inode, ctx) : -EPERM;
    if (r == 0)
        notify_dentry(o.d != NULL ? o.d : o.f->dentry, event);
    at_object_done(&o);
    return r;
}

static int64_t setattr_fd(int fd, int (*change)(struct inode *inode, const void *ctx),
                          const void *ctx, uint32_t event)
{
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return -EBADF;
    int r = f->inode != NULL ? change(f->inode, ctx) : -EPERM;
    if (r == 0)
        notify_dentry(f->dentry, event);
    file_put(f);
    return r;
}

// --- chmod ---

static int change_mode(struct inode *inode, const void *ctx)
{
    struct attr_change c = {.set_mode = true, .mode = *(const uint32_t *)ctx};
    if ((inode->mode & S_FMT) == S_LNK)
        return -EOPNOTSUPP;
    return inode_owner(inode) ? inode_setattr(inode, &c) : -EPERM;
}

int64_t sys_chmod(const uint64_t arg[static 6])
{
    uint32_t mode = (uint32_t)arg[1];
    return setattr_at(AT_FDCWD, arg[0], WALK_FOLLOW, change_mode, &mode, NOTIFY_ATTRIB);
}

int64_t sys_fchmod(const uint64_t arg[static 6])
{
    uint32_t mode = (uint32_t)arg[1];
    return setattr_fd((int)arg[0], change_mode, &mode, NOTIFY_ATTRIB);
}

int64_t sys_fchmodat(const uint64_t arg[static 6])
{
    uint32_t mode = (uint32_t)arg[2];
    return setattr_at((int)arg[0], arg[1], WALK_FOLLOW, change_mode, &mode, NOTIFY_ATTRIB);
}

// --- chown ---

struct owner {
    uint32_t uid, gid; // UINT32_MAX: unchanged
};

static int change_owner(struct inode *inode, const void *ctx)
{
    const struct owner *o = ctx;
    const struct creds *me = creds_current();
    struct attr_change c = {.set_uid = o->uid != UINT32_MAX,
                            .uid = o->uid,
                            .set_gid = o->gid != UINT32_MAX,
                            .gid = o->gid};
    if (me->euid != 0) {
        if (c.set_uid && (me->euid != inode->uid || o->uid != inode->uid))
            return -EPERM;
        if (c.set_gid && (me->euid != inode->uid || (o->gid != me->egid && o->gid != inode->gid)))
            return -EPERM;
    }
    // A new owner does not inherit the right to run as the old one.
    if ((c.set_uid || c.set_gid) && (inode->mode & S_FMT) != S_DIR) {
        uint32_t drop = S_SETUID | (inode->mode & 010 ? (uint32_t)S_SETGID : 0);
        c.set_mode = (inode->mode & drop) != 0;
        c.mode = inode->mode & ~drop;
    }
    return inode_setattr(inode, &c);
}

static uint32_t owner_event(const struct owner *o)
{
    return o->uid != UINT32_MAX || o->gid != UINT32_MAX ? NOTIFY_ATTRIB : 0;
}

int64_t sys_chown(const uint64_t arg[static 6])
{
    struct owner o = {(uint32_t)arg[1], (uint32_t)arg[2]};
    return setattr_at(AT_FDCWD, arg[0], WALK_FOLLOW, change_owner, &o, owner_event(&o));
}

int64_t sys_lchown(const uint64_t arg[static 6])
{
    struct owner o = {(uint32_t)arg[1], (uint32_t)arg[2]};
    return setattr_at(AT_FDCWD, arg[0], 0, change_owner, &o, owner_event(&o));
}

int64_t sys_fchown(const uint64_t arg[static 6])
{
    struct owner o = {(uint32_t)arg[1], (uint32_t)arg[2]};
    return setattr_fd((int)arg[0], change_owner, &o, owner_event(&o));
}

int64_t sys_fchownat(const uint64_t arg[static 6])
{
    struct owner o = {(uint32_t)arg[2], (uint32_t)arg[3]};
    uint32_t flags = (uint32_t)arg[4];
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    unsigned how = (flags & AT_SYMLINK_NOFOLLOW ? 0 : (unsigned)WALK_FOLLOW) |
                   (flags & AT_EMPTY_PATH ? (unsigned)WALK_EMPTY : 0);
    return setattr_at((int)arg[0], arg[1], how, change_owner, &o, owner_event(&o));
}

// --- times ---

struct times {
    bool set[2]; // atime, mtime
    bool now;    // both are the current time: writers may do that too
    uint64_t ns[2];
};

static int change_times(struct inode *inode, const void *ctx)
{
    const struct times *t = ctx;
    struct attr_change c = {
        .set_atime = t->set[0], .set_mtime = t->set[1], .atime_ns = t->ns[0], .mtime_ns = t->ns[1]};
    if (!t->set[0] && !t->set[1])
        return 0;
    if (!inode_owner(inode)) {
        if (!t->now)
            return -EPERM;
        int r = inode_permission(inode, MAY_WRITE);
        if (r < 0)
            return r;
    }
    return inode_setattr(inode, &c);
}

/* Linux fsnotify_change. */
static uint32_t times_event(const struct times *t)
{
    return t->set[0] && t->set[1] ? NOTIFY_ATTRIB : t->set[0] ? NOTIFY_ACCESS : NOTIFY_MODIFY;
}

/* Times before 1970 or after 2554 do not fit: the nearest that does, as Linux clamps. */
static uint64_t clamp_sec(int64_t sec)
{
    return MIN((uint64_t)MAX(sec, 0l), UINT64_MAX / NS_PER_SEC - 1) * NS_PER_SEC;
}

/* Times of utimensat from the program: user 0: now. */
static int times_from_user(struct times *t, uint64_t user)
{
    enum { UTIME_NOW = 0x3fffffff, UTIME_OMIT = 0x3ffffffe };
    struct user_timespec ts[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    uint64_t now = clock_real_ns();
    if (user != 0 && copy_from_user(ts, user, sizeof(ts)) < 0)
        return -EFAULT;
    t->now = true;
    for (int i = 0; i < 2; i++) {
        t->set[i] = ts[i].nsec != UTIME_OMIT;
        if (ts[i].nsec == UTIME_NOW || ts[i].nsec == UTIME_OMIT) {
            t->ns[i] = now;
            t->now = t->now && ts[i].nsec == UTIME_NOW;
            continue;
        }
        if (ts[i].nsec < 0 || ts[i].nsec >= (int64_t)NS_PER_SEC)
            return -EINVAL;
        t->ns[i] = clamp_sec(ts[i].sec) + (uint64_t)ts[i].nsec;
        t->now = false;
    }
    return 0;
}

int64_t sys_utimensat(const uint64_t arg[static 6])
{
    struct times t;
    uint32_t flags = (uint32_t)arg[3];
    int r = times_from_user(&t, arg[2]);
    if (r < 0)
        return r;
    if (!t.set[0] && !t.set[1])
        return 0;
    if (arg[1] == 0 && (int)arg[0] != AT_FDCWD)
        return flags != 0 ? -EINVAL : setattr_fd((int)arg[0], change_times, &t, times_event(&t));
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    unsigned how = (flags & AT_SYMLINK_NOFOLLOW ? 0 : (unsigned)WALK_FOLLOW) |
                   (flags & AT_EMPTY_PATH ? (unsigned)WALK_EMPTY : 0);
    return setattr_at((int)arg[0], arg[1], how, change_times, &t, times_event(&t));
}

int64_t sys_utime(const uint64_t arg[static 6])
{
    int64_t sec[2];
    struct times t;
    int r = times_from_user(&t, 0);
    if (r == 0 && arg[1] != 0) {
        if (copy_from_user(sec, arg[1], sizeof(sec)) < 0)
            return -EFAULT;
        t = (struct times){.set = {true, true}, .ns = {clamp_sec(sec[0]), clamp_sec(sec[1])}};
    }
    return setattr_at(AT_FDCWD, arg[0], WALK_FOLLOW, change_times, &t, times_event(&t));
}

/* utimes and futimesat: microseconds. */
static int64_t do_utimes(int dirfd, uint64_t user_path, uint64_t user)
{
    struct {
        int64_t sec, usec;
    } tv[2];
    struct times t;
    int r = times_from_user(&t, 0);
    if (r == 0 && user != 0) {
        if (copy_from_user(tv, user, sizeof(tv)) < 0)
            return -EFAULT;
        for (int i = 0; i < 2; i++) {
            if (tv[i].usec < 0 || tv[i].usec >= 1000000)
                return -EINVAL;
            t.ns[i] = clamp_sec(tv[i].sec) + (uint64_t)tv[i].usec * 1000;
        }
        t.now = false;
    }
    if (user_path == 0 && dirfd != AT_FDCWD)
        return setattr_fd(dirfd, change_times, &t, times_event(&t));
    return setattr_at(dirfd, user_path, WALK_FOLLOW, change_times, &t, times_event(&t));
}

int64_t sys_utimes(const uint64_t arg[static 6])
{
    return arg[0] == 0 ? -EFAULT : do_utimes(AT_FDCWD, arg[0], arg[1]);
}

int64_t sys_futimesat(const uint64_t arg[static 6])
{
    return do_utimes((int)arg[0], arg[1], arg[2]);
}

// --- sizes ---

int64_t sys_truncate(const uint64_t arg[static 6])
{
    struct dentry *d;
    if ((int64_t)arg[1] < 0)
        return -EINVAL;
    int r = at_dentry(AT_FDCWD, arg[0], WALK_FOLLOW, &d);
    if (r < 0)
        return r;
    uint32_t kind = d->inode->mode & S_FMT;
    if (kind == S_DIR)
        r = -EISDIR;
    else if (kind != S_REG)
        r = -EINVAL;
    else
        r = inode_permission(d->inode, MAY_WRITE);
    if (r == 0)
        r = d->sb->ops->writable ? memfs_truncate(d->inode, arg[1]) : -EPERM;
    if (r == 0)
        notify_dentry(d, NOTIFY_MODIFY);
    dentry_put(d);
    return r;
}

/* The file behind fd if it is a regular one that may be written: referenced. */
static int regular_get(int fd, struct file **ret)
{
    struct file *f = fd_get_io(fd);
    int r = 0;
    if (f == NULL)
        return -EBADF;
    bool writable = (f->flags & ACCMODE) == FILE_WRONLY || (f->flags & ACCMODE) == FILE_RDWR;
    if (f->inode == NULL || (f->inode->mode & S_FMT) != S_REG)
        r = -EINVAL;
    else if (!writable)
        r = -EINVAL; // Linux says so, not -EBADF
    else if (!f->inode->sb->ops->writable)
        r = -EPERM;
    if (r < 0) {
        file_put(f);
        return r;
    }
    *ret = f;
    return 0;
}

int64_t sys_ftruncate(const uint64_t arg[static 6])
{
    struct file *f;
    if ((int64_t)arg[1] < 0)
        return -EINVAL;
    int r = regular_get((int)arg[0], &f);
    if (r < 0)
        return r;
    r = memfs_truncate(f->inode, arg[1]);
    if (r == 0)
        notify_dentry(f->dentry, NOTIFY_MODIFY);
    file_put(f);
    return r;
}

/* Linux vfs_fallocate, then what tmpfs knows: allocate, keep size, punch hole. */
int64_t sys_fallocate(const uint64_t arg[static 6])
{
    enum { KEEP_SIZE = 1, PUNCH_HOLE = 2, KNOWN = 0x7f };
    int mode = (int)arg[1];
    int64_t offset = (int64_t)arg[2], len = (int64_t)arg[3], end;
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    bool writable = (f->flags & ACCMODE) == FILE_WRONLY || (f->flags & ACCMODE) == FILE_RDWR;
    uint32_t kind = f->inode != NULL ? f->inode->mode & S_FMT : (uint32_t)S_FIFO;
    int r = 0;
    if (offset < 0 || len <= 0)
        r = -EINVAL;
    else if (mode & ~(KEEP_SIZE | PUNCH_HOLE))
        r = -EOPNOTSUPP;
    else if ((mode & PUNCH_HOLE) && (mode & KEEP_SIZE) == 0)
        r = -EOPNOTSUPP;
    else if (!writable)
        r = -EBADF;
    else if (kind == S_FIFO || kind == S_SOCK)
        r = -ESPIPE;
    else if (kind == S_DIR)
        r = -EISDIR;
    else if (kind != S_REG)
        r = -ENODEV;
    else if (__builtin_add_overflow(offset, len, &end))
        r = -EFBIG;
    else if (!f->inode->sb->ops->writable)
        r = -EOPNOTSUPP;
    if (r == 0)
        r = memfs_fallocate(f->inode, mode, (uint64_t)offset, (uint64_t)len);
    if (r == 0)
        notify_file(f, NOTIFY_MODIFY);
    file_put(f);
    return r;
}

// --- sync: written data lives in memory for as long as the machine; there is nothing slower ---

static int64_t do_fsync(int fd)
{
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return -EBADF;
    uint32_t kind = f->inode != NULL ? f->inode->mode & S_FMT : 0;
    file_put(f);
    return kind == S_REG || kind == S_DIR ? 0 : -EINVAL;
}

int64_t sys_fsync(const uint64_t arg[static 6])
{
    return do_fsync((int)arg[0]);
}

int64_t sys_fdatasync(const uint64_t arg[static 6])
{
    return do_fsync((int)arg[0]);
}

int64_t sys_sync(const uint64_t arg[static 6] UNUSED)
{
    return 0;
}

int64_t sys_syncfs(const uint64_t arg[static 6])
{
    struct file *f = fd_get_io((int)arg[0]);
    file_put(f);
    return f != NULL ? 0 : -EBADF;
}
