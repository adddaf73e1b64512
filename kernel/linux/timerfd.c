// SPDX-License-Identifier: Apache-2.0
/* timerfd_create(2), Linux 6.1 fs/timerfd.c. The wall clock is never set while the program runs, so
 * that TFD_TIMER_CANCEL_ON_SET has nothing to report and is accepted where Linux accepts it. */
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

enum {
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC = 1,
    CLOCK_BOOTTIME = 7,
    TFD_CLOEXEC = OPEN_CLOEXEC,
    TFD_NONBLOCK = FILE_NONBLOCK,
    TFD_TIMER_ABSTIME = 1,
    TFD_TIMER_CANCEL_ON_SET = 2,
};

struct timerfd {
    struct ktimer timer;
    struct waitq queue;
    struct mutex set_lock; // one timerfd_settime at a time
    struct spinlock lock;  // protects what follows
    uint64_t ticks;        // expirations not read yet
    uint64_t interval_ns;  // 0: once
    uint64_t deadline_ns;  // monotonic; of the armed or last expiration
    bool set;              // a time was set
    bool expired;          // the timer ran and was not started again (until somebody looks)
    bool real;             // immutable: CLOCK_REALTIME
};

static void timerfd_run(struct ktimer *timer)
{
    struct timerfd *t = CONTAINER_OF(timer, struct timerfd, timer);
    spin_lock(&t->lock);
    t->expired = true;
    t->ticks++;
    spin_unlock(&t->lock);
    waitq_wake(&t->queue, EV_IN, 1);
}

/* A periodic timer runs once and is started again when somebody looks: count what it missed. Lock
 * held. */
static void catch_up(struct timerfd *t)
{
    if (!t->expired || t->interval_ns == 0)
        return;
    uint64_t now = clock_mono_ns();
    uint64_t steps = 1 + (now > t->deadline_ns ? (now - t->deadline_ns) / t->interval_ns : 0);
    t->expired = false;
    t->ticks += steps - 1;
    t->deadline_ns += steps * t->interval_ns;
    ktimer_arm(&t->timer, t->deadline_ns);
}

static bool has_ticks(const struct timerfd *t)
{
    return __atomic_load_n(&t->ticks, __ATOMIC_ACQUIRE) > 0;
}

static int64_t timerfd_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct timerfd *t = f->priv;
    uint64_t ticks = 0;
    if (u->left < sizeof(ticks))
        return -EINVAL;
    for (;;) {
        spin_lock(&t->lock);
        if (t->ticks > 0) {
            catch_up(t);
            ticks = t->ticks;
            t->ticks = 0;
        }
        spin_unlock(&t->lock);
        if (ticks > 0)
            return uio_put(u, &ticks, sizeof(ticks)) < 0 ? -EFAULT : (int64_t)sizeof(ticks);
        if (nonblock)
            return -EAGAIN;
        if (WAIT_EVENT(&t->queue, EV_IN, has_ticks(t), DEADLINE_NEVER, true) < 0)
            return -ERESTARTSYS;
    }
}

static uint32_t timerfd_poll(struct file *f, struct waitq **ret_queue)
{
    struct timerfd *t = f->priv;
    *ret_queue = &t->queue;
    return has_ticks(t) ? EV_IN : 0;
}

static int timerfd_stat(struct file *f UNUSED, struct kstat *ret)
{
    kstat_anon(ret, 0600, ANON_INO);
    return 0;
}

static void timerfd_release(struct file *f)
{
    struct timerfd *t = f->priv;
    (void)ktimer_cancel(&t->timer);
    kfree(t);
}

static const struct file_ops timerfd_ops = {
    .name = "timerfd",
    .read = timerfd_read,
    .write = file_no_write,
    .poll = timerfd_poll,
    .ioctl = file_no_ioctl,
    .seek = file_noop_seek,
    .stat = timerfd_stat,
    .get_page = file_no_page,
    .release = timerfd_release,
};

int64_t sys_timerfd_create(const uint64_t arg[static 6])
{
    int clock = (int)arg[0];
    uint32_t flags = (uint32_t)arg[1];
    if (flags & ~(uint32_t)(TFD_CLOEXEC | TFD_NONBLOCK))
        return -EINVAL;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return -EINVAL;
    struct timerfd *t = kzalloc(sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    ktimer_init(&t->timer, timerfd_run);
    waitq_init(&t->queue);
    mutex_init(&t->set_lock);
    t->real = clock == CLOCK_REALTIME;
    struct file *f = file_new(&timerfd_ops, FILE_RDWR | (flags & TFD_NONBLOCK), t);
    if (f == NULL) {
        kfree(t);
        return -ENOMEM;
    }
    int fd = fd_install(f, 0, (flags & TFD_CLOEXEC) != 0);
    if (fd < 0)
        file_put(f);
    return fd;
}

struct user_itimerspec {
    struct user_timespec interval, value;
};

/* What is left until the next expiration, and the interval. Lock held. */
static void left(struct timerfd *t, uint64_t *ret_interval, uint64_t *ret_value)
{
    catch_up(t);
    uint64_t now = clock_mono_ns();
    *ret_interval = t->interval_ns;
    *ret_value = 0;
    if (t->set && !t->expired)
        *ret_value = t->deadline_ns > now ? t->deadline_ns - now : 1;
}

/* The file if it is a timerfd: referenced; else the error in *ret_error. */
static struct file *timerfd_get(int fd, int *ret_error)
{
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        *ret_error = -EBADF;
    else if (f->ops != &timerfd_ops)
        *ret_error = -EINVAL;
    else
        return f;
    file_put(f);
    return NULL;
}

static int spec_to_user(uint64_t user, uint64_t interval_ns, uint64_t value_ns)
{
    int r = timespec_to_user(user, interval_ns);
    return r < 0 ? r : timespec_to_user(user + sizeof(struct user_timespec), value_ns);
}

/* When a value given to timerfd_settime means, on the monotonic clock. */
static uint64_t deadline_of(const struct timerfd *t, uint64_t value_ns, bool absolute)
{
    uint64_t now = clock_mono_ns(), at = value_ns;
    if (!absolute)
        return __builtin_add_overflow(now, value_ns, &at) ? DEADLINE_NEVER - 1 : at;
    if (!t->real)
        return value_ns;
    uint64_t real = clock_real_ns();
    if (value_ns <= real)
        return now;
    return __builtin_add_overflow(now, value_ns - real, &at) ? DEADLINE_NEVER - 1 : at;
}

static void settime(struct timerfd *t, uint64_t interval_ns, uint64_t value_ns, bool absolute,
                    uint64_t *ret_old_interval, uint64_t *ret_old_value)
{
    mutex_lock(&t->set_lock);
    spin_lock(&t->lock);
    left(t, ret_old_interval, ret_old_value);
    spin_unlock(&t->lock);
    (void)ktimer_cancel(&t->timer); // waits for a run in progress: not under the lock
    spin_lock(&t->lock);
    t->ticks = 0;
    t->expired = false;
    t->interval_ns = interval_ns;
    t->set = value_ns != 0;
    if (t->set) {
        t->deadline_ns = deadline_of(t, value_ns, absolute);
        ktimer_arm(&t->timer, t->deadline_ns);
    }
    spin_unlock(&t->lock);
    mutex_unlock(&t->set_lock);
}

int64_t sys_timerfd_settime(const uint64_t arg[static 6])
{
    uint64_t interval, value, old_interval, old_value;
    int flags = (int)arg[1], r;
    r = timespec_from_user(arg[2], &interval);
    if (r == 0)
        r = timespec_from_user(arg[2] + sizeof(struct user_timespec), &value);
    if (r == 0 && (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) != 0)
        r = -EINVAL;
    struct file *f = r == 0 ? timerfd_get((int)arg[0], &r) : NULL;
    if (f == NULL)
        return r;
    settime(f->priv, interval, value, (flags & TFD_TIMER_ABSTIME) != 0, &old_interval, &old_value);
    file_put(f);
    return arg[3] != 0 ? spec_to_user(arg[3], old_interval, old_value) : 0;
}

int64_t sys_timerfd_gettime(const uint64_t arg[static 6])
{
    uint64_t interval, value;
    int r = 0;
    struct file *f = timerfd_get((int)arg[0], &r);
    if (f == NULL)
        return r;
    struct timerfd *t = f->priv;
    spin_lock(&t->lock);
    left(t, &interval, &value);
    spin_unlock(&t->lock);
    file_put(f);
    return spec_to_user(arg[1], interval, value);
}
