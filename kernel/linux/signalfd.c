// SPDX-License-Identifier: Apache-2.0
/* signalfd(2): signals read from a descriptor. Linux 6.1 fs/signalfd.c. A reader takes the signals
 * of the thread and of the process that reads, whoever made the descriptor. */
#include "base/mem.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

struct signalfd {
    uint64_t mask; // atomic
};

struct user_siginfo { // struct signalfd_siginfo
    uint32_t signo;
    int32_t error, code;
    uint32_t pid, uid;
    int32_t fd;
    uint32_t tid, band, overrun, trapno;
    int32_t status, value;
    uint64_t ptr, utime, stime, address;
    uint16_t address_lsb, pad;
    int32_t syscall;
    uint64_t call_address;
    uint32_t arch;
    uint8_t rest[28];
};
_Static_assert(sizeof(struct user_siginfo) == 128, "Linux struct signalfd_siginfo");

/* One queue for all: a signal that comes wakes those who read or poll any of them. */
static struct waitq signalfd_waitq = {
    .waiters = {&signalfd_waitq.waiters, &signalfd_waitq.waiters},
};

void signalfd_notify(void)
{
    waitq_wake(&signalfd_waitq, EV_IN | EV_RDNORM, UINT32_MAX);
}

static uint64_t mask_of(const struct signalfd *s)
{
    return __atomic_load_n(&s->mask, __ATOMIC_RELAXED);
}

/* Which members are set depends on where the signal comes from: Linux signalfd_copyinfo. */
static struct user_siginfo convert(const struct siginfo *info)
{
    enum { CLD = 17, FAULT_CODES = 1 };
    struct user_siginfo u = {
        .signo = (uint32_t)info->signo, .error = info->error, .code = info->code};
    bool fault = info->code >= FAULT_CODES && info->code < SI_KERNEL &&
                 (info->signo == SIGSEGV || info->signo == SIGBUS || info->signo == SIGILL ||
                  info->signo == SIGFPE || info->signo == SIGTRAP);
    if (info->code == SI_TIMER) {
        u.tid = (uint32_t)info->timer.id;
        u.overrun = (uint32_t)info->timer.overrun;
        u.ptr = info->timer.value;
        u.value = (int32_t)info->timer.value;
    } else if (fault) {
        u.address = info->fault.address;
    } else {
        u.pid = (uint32_t)info->sender.pid;
        u.uid = info->sender.uid;
        if (info->signo == CLD && info->code > 0) {
            u.status = (int32_t)info->sender.value; // si_status
        } else if (info->code < 0) {
            u.ptr = info->sender.value;
            u.value = (int32_t)info->sender.value;
        }
    }
    return u;
}

static int64_t signalfd_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct signalfd *s = f->priv;
    size_t before = u->left;
    if (before < sizeof(struct user_siginfo))
        return -EINVAL;
    while (u->left >= sizeof(struct user_siginfo)) {
        struct siginfo info;
        if (signal_take(mask_of(s), &info)) {
            struct user_siginfo out = convert(&info);
            if (uio_put(u, &out, sizeof(out)) < 0)
                return before > u->left ? (int64_t)(before - u->left) : -EFAULT;
            continue;
        }
        if (before > u->left)
            break;
        if (nonblock)
            return -EAGAIN;
        if (WAIT_EVENT(&signalfd_waitq, EV_IN, signal_waits(mask_of(s)), DEADLINE_NEVER, true) < 0)
            return -ERESTARTSYS;
    }
    return (int64_t)(before - u->left);
}

static uint32_t signalfd_poll(struct file *f, struct waitq **ret_queue)
{
    const struct signalfd *s = f->priv;
    *ret_queue = &signalfd_waitq;
    return signal_waits(mask_of(s)) ? EV_IN | EV_RDNORM : 0;
}

static int signalfd_stat(struct file *f UNUSED, struct kstat *ret)
{
    kstat_anon(ret, 0600, ANON_INO);
    return 0;
}

static void signalfd_release(struct file *f)
{
    kfree(f->priv);
}

static const struct file_ops signalfd_ops = {
    .name = "signalfd",
    .read = signalfd_read,
    .write = file_no_write,
    .poll = signalfd_poll,
    .ioctl = file_no_ioctl,
    .seek = file_noop_seek,
    .stat = signalfd_stat,
    .get_page = file_no_page,
    .release = signalfd_release,
};

static int64_t create(uint64_t mask, uint32_t flags)
{
    struct signalfd *s = kzalloc(sizeof(*s));
    struct file *f =
        s != NULL ? file_new(&signalfd_ops, FILE_RDWR | (flags & FILE_NONBLOCK), s) : NULL;
    if (f == NULL) {
        kfree(s);
        return -ENOMEM;
    }
    s->mask = mask;
    int fd = fd_install(f, 0, (flags & OPEN_CLOEXEC) != 0);
    if (fd < 0)
        file_put(f);
    return fd;
}

static int64_t change(int fd, uint64_t mask)
{
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return -EBADF;
    int64_t r = -EINVAL;
    if (f->ops == &signalfd_ops) {
        struct signalfd *s = f->priv;
        __atomic_store_n(&s->mask, mask, __ATOMIC_RELAXED);
        signalfd_notify();
        r = fd;
    }
    file_put(f);
    return r;
}

static int64_t do_signalfd(const uint64_t arg[static 6], uint32_t flags)
{
    uint64_t mask;
    if (arg[2] != sizeof(mask))
        return -EINVAL;
    if (copy_from_user(&mask, arg[1], sizeof(mask)) < 0)
        return -EFAULT;
    if (flags & ~(uint32_t)(OPEN_CLOEXEC | FILE_NONBLOCK))
        return -EINVAL;
    mask &= ~(sig_bit(SIGKILL) | sig_bit(SIGSTOP));
    return (int)arg[0] == -1 ? create(mask, flags) : change((int)arg[0], mask);
}

int64_t sys_signalfd(const uint64_t arg[static 6])
{
    return do_signalfd(arg, 0);
}

int64_t sys_signalfd4(const uint64_t arg[static 6])
{
    return do_signalfd(arg, (uint32_t)arg[3]);
}
