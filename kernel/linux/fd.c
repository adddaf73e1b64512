// SPDX-License-Identifier: Apache-2.0
/* Descriptors: close(2), dup(2), fcntl(2), ioctl(2), flock(2), pipe(2). */
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/async.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/flock.h"
#include "kernel/vfs/pipe.h"
#include "kernel/vfs/record.h"
#include "kernel/vfs/tree.h"

enum { ACCMODE = 3 };

int64_t sys_close(const uint64_t arg[static 6])
{
    return fd_close((int)arg[0]);
}

int64_t sys_close_range(const uint64_t arg[static 6])
{
    enum { UNSHARE = 2, CLOEXEC = 4 };
    uint32_t first = (uint32_t)arg[0], last = (uint32_t)arg[1], flags = (uint32_t)arg[2];
    if (flags & ~(uint32_t)(UNSHARE | CLOEXEC) || first > last)
        return -EINVAL;
    // The table is the process's own: UNSHARE has nothing to undo.
    fd_range(first, last, (flags & CLOEXEC) != 0);
    return 0;
}

static int64_t dup_from(int fd, int min, bool cloexec)
{
    struct file *f = fd_get(fd);
    if (f == NULL)
        return -EBADF;
    int r = fd_install(f, min, cloexec);
    if (r < 0)
        file_put(f);
    return r;
}

int64_t sys_dup(const uint64_t arg[static 6])
{
    return dup_from((int)arg[0], 0, false);
}

static int64_t dup_to(int fd, int to, bool cloexec)
{
    if (to < 0 || (uint32_t)to >= fdtable_limit(current()->process->files))
        return -EBADF;
    struct file *f = fd_get(fd);
    if (f == NULL)
        return -EBADF;
    int r = fd_replace(to, f, cloexec);
    if (r < 0)
        file_put(f);
    return r;
}

int64_t sys_dup2(const uint64_t arg[static 6])
{
    int fd = (int)arg[0], to = (int)arg[1];
    if (fd != to)
        return dup_to(fd, to, false);
    struct file *f = fd_get(fd);
    file_put(f);
    return f != NULL ? fd : -EBADF;
}

int64_t sys_dup3(const uint64_t arg[static 6])
{
    uint32_t flags = (uint32_t)arg[2];
    if ((flags & ~(uint32_t)OPEN_CLOEXEC) != 0 || (int)arg[0] == (int)arg[1])
        return -EINVAL;
    return dup_to((int)arg[0], (int)arg[1], (flags & OPEN_CLOEXEC) != 0);
}

// --- fcntl ---

enum {
    F_DUPFD,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_SETOWN = 8,
    F_GETOWN = 9,
    F_SETSIG = 10,
    F_GETSIG = 11,
    F_SETOWN_EX = 15,
    F_GETOWN_EX = 16,
    F_OFD_GETLK = 36,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_SETLEASE = 1024,
    F_GETLEASE = 1025,
    F_DUPFD_CLOEXEC = 1030,
    F_SETPIPE_SZ = 1031,
    F_GETPIPE_SZ = 1032,
    F_ADD_SEALS = 1033,
    F_GET_SEALS = 1034,
    F_RDLCK = 0,
    F_WRLCK = 1,
    F_UNLCK = 2,
    SIGNALS_MAX = 64,
};

struct user_flock {
    int16_t type, whence;
    int64_t start, len;
    int32_t pid;
};

static int64_t fcntl_setfl(struct file *f, int fd, uint32_t flags)
{
    enum { CHANGEABLE = FILE_APPEND | FILE_NONBLOCK | FILE_DIRECT | OPEN_NOATIME };
    bool in_tree = f->inode != NULL && (f->inode->mode & S_FMT) == S_REG;
    if ((flags & FILE_DIRECT) && in_tree)
        return -EINVAL;
    if ((flags & OPEN_NOATIME) && (f->flags & OPEN_NOATIME) == 0 && f->inode != NULL &&
        !inode_owner(f->inode))
        return -EPERM;
    if ((flags ^ f->flags) & FILE_ASYNC) {
        int r = async_enable(f, fd, (flags & FILE_ASYNC) != 0);
        if (r < 0)
            return r;
    }
    uint32_t old = __atomic_load_n(&f->flags, __ATOMIC_RELAXED), new;
    do {
        new = (old & ~(uint32_t)CHANGEABLE) | (flags & CHANGEABLE);
    } while (!__atomic_compare_exchange_n(&f->flags, &old, new, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return 0;
}

/* The bytes a record lock is about: 0, -EINVAL, -EOVERFLOW. Linux flock64_to_posix_lock. */
static int lock_range(struct file *f, const struct user_flock *l, struct record *ret)
{
    struct kstat st;
    int64_t start = 0, end = INT64_MAX;
    int r = 0;
    if (l->whence == 1)
        start = (int64_t)f->pos;
    else if (l->whence == 2 && (r = f->ops->stat(f, &st)) == 0)
        start = (int64_t)st.size;
    else if (l->whence != 0)
        return r < 0 ? r : -EINVAL;
    if (__builtin_add_overflow(start, l->start, &start))
        return -EOVERFLOW;
    if (start < 0)
        return -EINVAL;
    if (l->len > 0 && __builtin_add_overflow(start, l->len - 1, &end))
        return -EOVERFLOW;
    if (l->len < 0 && start + l->len < 0)
        return -EINVAL;
    if (l->len < 0) {
        end = start - 1;
        start += l->len;
    }
    ret->first = (uint64_t)start;
    ret->last = (uint64_t)end;
    return l->type == F_RDLCK || l->type == F_WRLCK || l->type == F_UNLCK ? 0 : -EINVAL;
}

static int64_t lock_get(struct file *f, struct user_flock *l, struct record *want, bool ofd,
                        uint64_t user)
{
    struct record there;
    if (l->type != F_RDLCK && l->type != F_WRLCK)
        return -EINVAL;
    int r = lock_range(f, l, want);
    if (r < 0)
        return r;
    if (ofd && l->pid != 0)
        return -EINVAL;
    if (record_test(f, want, &there)) {
        l->type = there.exclusive ? F_WRLCK : F_RDLCK;
        l->whence = 0;
        l->start = (int64_t)there.first;
        l->len = there.last == INT64_MAX ? 0 : (int64_t)(there.last - there.first + 1);
        l->pid = there.pid;
    } else {
        l->type = F_UNLCK;
    }
    return copy_to_user(user, l, sizeof(*l));
}

/* Linux fcntl_getlk and fcntl_setlk. Also of open files: `ofd`. */
static int64_t fcntl_lock(struct file *f, int fd, int cmd, uint64_t user)
{
    struct process *p = current()->process;
    bool ofd = cmd >= F_OFD_GETLK;
    struct user_flock l;
    if (copy_from_user(&l, user, sizeof(l)) < 0)
        return -EFAULT;
    struct record want = {.owner = ofd ? (const void *)f : p->files,
                          .pid = ofd ? -1 : p->pid,
                          .exclusive = l.type == F_WRLCK};
    if (cmd == F_GETLK || cmd == F_OFD_GETLK)
        return lock_get(f, &l, &want, ofd, user);
    int r = lock_range(f, &l, &want);
    if (r < 0)
        return r;
    uint32_t mode = f->flags & ACCMODE;
    if (l.type == F_RDLCK && mode == FILE_WRONLY)
        return -EBADF;
    if (l.type == F_WRLCK && mode == 0)
        return -EBADF;
    if (ofd && l.pid != 0)
        return -EINVAL;
    r = record_set(f, &want, l.type == F_UNLCK, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
    if (r < 0 || ofd || l.type == F_UNLCK)
        return r;
    // Closed by another thread meanwhile? Then nobody would give the lock back.
    struct file *now = fd_get(fd);
    if (now != f)
        record_drop(f, p->files);
    file_put(now);
    return now == f ? 0 : -EBADF;
}

/* Linux with fs.leases-enable 0. */
static int64_t fcntl_setlease(const struct file *f, int kind)
{
    if (kind != F_RDLCK && kind != F_WRLCK && kind != F_UNLCK)
        return -EINVAL;
    if (f->inode == NULL || (f->inode->mode & S_FMT) != S_REG)
        return -EINVAL;
    if (!inode_owner(f->inode))
        return -EACCES;
    return kind == F_UNLCK ? -EAGAIN : -EINVAL;
}

// --- signal-driven I/O ---

static int64_t getown(struct file *f)
{
    struct async_owner o = async_owner_get(f);
    return o.type == F_OWNER_PGRP ? -o.id : o.id;
}

static int owner_set(struct file *f, struct async_owner o)
{
    if (o.id != 0 && !signal_owner_exists(o.type, o.id))
        return -ESRCH;
    return async_owner_set(f, o);
}

/* A process, or (negative) a group. */
static int64_t setown(struct file *f, int32_t who)
{
    if (who == INT32_MIN)
        return -EINVAL;
    struct async_owner o = {.type = who < 0 ? F_OWNER_PGRP : F_OWNER_PID,
                            .id = who < 0 ? -who : who};
    return owner_set(f, o);
}

static int64_t own_ex(struct file *f, int cmd, uint64_t user)
{
    int32_t o[2]; // struct f_owner_ex
    if (cmd == F_GETOWN_EX) {
        struct async_owner now = async_owner_get(f);
        o[0] = now.type;
        o[1] = now.id;
        return copy_to_user(user, o, sizeof(o));
    }
    if (copy_from_user(o, user, sizeof(o)) < 0)
        return -EFAULT;
    if (o[0] < F_OWNER_TID || o[0] > F_OWNER_PGRP)
        return -EINVAL;
    return owner_set(f, (struct async_owner){.type = o[0], .id = o[1]});
}

static int64_t fcntl_file(struct file *f, int fd, int cmd, uint64_t arg)
{
    switch (cmd) {
    case F_GETFD:
        return fd_cloexec(fd, -1);
    case F_SETFD: {
        int r = fd_cloexec(fd, (arg & 1) != 0);
        return MIN(r, 0);
    }
    case F_GETFL:
        return (int64_t)__atomic_load_n(&f->flags, __ATOMIC_RELAXED);
    case F_SETFL:
        return fcntl_setfl(f, fd, (uint32_t)arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return fcntl_lock(f, fd, cmd, arg);
    case F_GETOWN:
        return getown(f);
    case F_SETOWN:
        return setown(f, (int32_t)arg);
    case F_GETOWN_EX:
    case F_SETOWN_EX:
        return own_ex(f, cmd, arg);
    case F_GETSIG:
        return async_signal_get(f);
    case F_SETSIG:
        return arg <= SIGNALS_MAX ? async_signal_set(f, (int)arg) : -EINVAL;
    case F_SETLEASE:
        return fcntl_setlease(f, (int)arg);
    case F_GETLEASE:
        return F_UNLCK;
    case F_GETPIPE_SZ:
        return pipe_size(f);
    case F_SETPIPE_SZ:
        return pipe_resize(f, arg & UINT32_MAX);
    case F_ADD_SEALS:
        return file_add_seals(f, arg);
    case F_GET_SEALS:
        return file_get_seals(f);
    default:
        return -EINVAL;
    }
}

int64_t sys_fcntl(const uint64_t arg[static 6])
{
    int fd = (int)arg[0], cmd = (int)arg[1];
    struct file *f = fd_get(fd);
    if (f == NULL)
        return -EBADF;
    int64_t r;
    if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) {
        file_put(f);
        if (arg[2] >= fdtable_limit(current()->process->files))
            return -EINVAL;
        return dup_from(fd, (int)arg[2], cmd == F_DUPFD_CLOEXEC);
    }
    if ((f->flags & FILE_PATH) && cmd != F_GETFD && cmd != F_SETFD && cmd != F_GETFL)
        r = -EBADF;
    else
        r = fcntl_file(f, fd, cmd, arg[2]);
    file_put(f);
    return r;
}

// --- ioctl ---

enum {
    FIONREAD = 0x541b,
    FIONBIO = 0x5421,
    FIONCLEX = 0x5450,
    FIOCLEX = 0x5451,
    FIOASYNC = 0x5452
};

static int64_t ioctl_nonblock(struct file *f, uint64_t user)
{
    int32_t on;
    if (copy_from_user(&on, user, sizeof(on)) < 0)
        return -EFAULT;
    if (on)
        __atomic_fetch_or(&f->flags, (uint32_t)FILE_NONBLOCK, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&f->flags, ~(uint32_t)FILE_NONBLOCK, __ATOMIC_RELAXED);
    return 0;
}

static int64_t ioctl_async(struct file *f, int fd, uint64_t user)
{
    int32_t on;
    if (copy_from_user(&on, user, sizeof(on)) < 0)
        return -EFAULT;
    bool now = (f->flags & FILE_ASYNC) != 0;
    if (now == (on != 0))
        return 0;
    return f->ops->async ? async_enable(f, fd, on != 0) : -ENOTTY;
}

int64_t sys_ioctl(const uint64_t arg[static 6])
{
    int fd = (int)arg[0];
    uint32_t cmd = (uint32_t)arg[1];
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return -EBADF;
    int64_t r;
    switch (cmd) {
    case FIOCLEX:
    case FIONCLEX:
        r = MIN(fd_cloexec(fd, cmd == FIOCLEX), 0);
        break;
    case FIONBIO:
        r = ioctl_nonblock(f, arg[2]);
        break;
    case FIOASYNC:
        r = ioctl_async(f, fd, arg[2]);
        break;
    default:
        r = f->ops->ioctl(f, cmd, arg[2]);
    }
    file_put(f);
    return r;
}

// --- flock, pipe ---

int64_t sys_flock(const uint64_t arg[static 6])
{
    enum { NONBLOCK = 4, MAND = 32 };
    uint32_t how = (uint32_t)arg[1], kind = how & ~(uint32_t)NONBLOCK;
    if (how & MAND)
        return 0; // Linux: support removed, the request ignored
    if (kind != FLOCK_SHARED && kind != FLOCK_EXCLUSIVE && kind != FLOCK_NONE)
        return -EINVAL;
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int r = f->inode == NULL ? -EBADF : flock_set(f, kind, (how & NONBLOCK) != 0);
    file_put(f);
    return r;
}

static int64_t do_pipe(uint64_t user, uint32_t flags)
{
    struct file *f[2];
    if (flags & ~(uint32_t)(OPEN_CLOEXEC | FILE_NONBLOCK | FILE_DIRECT))
        return -EINVAL;
    int r = pipe_new(flags & (FILE_NONBLOCK | FILE_DIRECT), &f[0], &f[1]);
    if (r < 0)
        return r;
    int32_t fd[2] = {-1, -1};
    fd[0] = fd_reserve((flags & OPEN_CLOEXEC) != 0);
    if (fd[0] >= 0)
        fd[1] = fd_reserve((flags & OPEN_CLOEXEC) != 0);
    r = fd[0] < 0 ? fd[0] : fd[1] < 0 ? fd[1] : 0;
    if (r == 0 && copy_to_user(user, fd, sizeof(fd)) < 0)
        r = -EFAULT;
    for (int i = 0; i < 2; i++) {
        if (r == 0) {
            fd_publish(fd[i], f[i]);
            continue;
        }
        if (fd[i] >= 0)
            fd_unreserve(fd[i]);
        file_put(f[i]);
    }
    return r;
}

int64_t sys_pipe(const uint64_t arg[static 6])
{
    return do_pipe(arg[0], 0);
}

int64_t sys_pipe2(const uint64_t arg[static 6])
{
    return do_pipe(arg[0], (uint32_t)arg[1]);
}
