// SPDX-License-Identifier: Apache-2.0
/* POSIX timers (timer_create(2)): up to POSIX_TIMERS_MAX of a process, each a ktimer that sends a
 * signal. Linux 6.1 kernel/time/posix-timers.c, posix-cpu-timers.c. One on CPU time looks when that
 * can have passed at the earliest, and again for the rest.
 *
 * Lock order: process_timers.lock -> struct timers.lock, table of tasks, process->lock. The signal
 * is sent without process_timers.lock. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/timers.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

enum {
    SIGEV_SIGNAL = 0,
    SIGEV_NONE = 1,
    SIGEV_THREAD_ID = 4,
    TIMER_ABSTIME = 1,
    OVERRUN_MAX = INT32_MAX,
};

struct sigevent { // the kernel's view of Linux struct sigevent, 64 bytes
    uint64_t value;
    int32_t signo, notify, tid;
    uint8_t rest[44];
};
_Static_assert(sizeof(struct sigevent) == 64, "Linux struct sigevent");

struct posix_timer {
    struct ktimer timer;
    struct process *process;     // immutable
    struct clock_ref clock;      // immutable
    struct sigevent event;       // immutable
    int id;                      // immutable
    uint64_t deadline, interval; // on its clock (REAL: the monotonic one); protected by
                                 // process_timers.lock; deadline 0: not armed
};

static void notify(struct process *p, const struct sigevent *e, int id, int32_t overrun)
{
    const struct siginfo info = {.signo = e->signo,
                                 .code = SI_TIMER,
                                 .timer = {.id = id, .overrun = overrun, .value = e->value}};
    if (e->notify == SIGEV_SIGNAL) {
        (void)signal_queue_process(p, &info);
    } else if (e->notify == SIGEV_THREAD_ID) {
        struct task *t = task_find(e->tid);
        if (t != NULL && t->process == p)
            (void)signal_queue_task(t, &info);
        task_find_end();
    }
}

/* The time on the clock that deadlines are kept on. */
static int its_now(const struct posix_timer *t, uint64_t *ret)
{
    const struct clock_ref mono = {.kind = CLOCK_KIND_MONO};
    bool real = t->clock.kind == CLOCK_KIND_REAL;
    return clock_ref_read(real ? &mono : &t->clock, t->process, ret);
}

static void arm_locked(struct posix_timer *t, uint64_t now)
{
    uint64_t left = t->deadline > now ? t->deadline - now : 0;
    if (t->interval != 0)
        left = MAX(left, (uint64_t)TIMER_PERIOD_MIN_NS);
    if (!t->process->timers->ended)
        ktimer_arm(&t->timer, clock_ref_due(&t->clock, left));
}

static void fire(struct ktimer *k)
{
    struct posix_timer *t = CONTAINER_OF(k, struct posix_timer, timer);
    struct process *p = t->process;
    struct process_timers *all = p->timers;
    uint64_t now = 0, missed = 0;
    spin_lock(&all->lock);
    if (t->deadline != 0 && its_now(t, &now) < 0)
        t->deadline = 0; // the thread whose time it measures is gone
    bool due = t->deadline != 0 && t->deadline <= now;
    if (due && t->interval != 0) {
        missed = (now - t->deadline) / t->interval;
        t->deadline += (missed + 1) * t->interval;
    } else if (due) {
        t->deadline = 0;
    }
    if (t->deadline != 0)
        arm_locked(t, now);
    const struct sigevent e = t->event;
    const int id = t->id;
    spin_unlock(&all->lock);
    if (due)
        notify(p, &e, id, (int32_t)MIN(missed, (uint64_t)OVERRUN_MAX));
}

void posix_timer_delivered(int32_t id, int32_t overrun)
{
    struct process_timers *all = current()->process->timers;
    // A program may queue such a signal itself.
    if (all != NULL && id >= 0 && id < POSIX_TIMERS_MAX)
        __atomic_store_n(&all->overrun[id], overrun, __ATOMIC_RELAXED);
}

static int event_from_user(uint64_t user, struct sigevent *ret)
{
    *ret = (struct sigevent){.signo = SIGALRM, .notify = SIGEV_SIGNAL};
    if (user == 0)
        return 0;
    if (copy_from_user(ret, user, sizeof(*ret)) < 0)
        return -EFAULT;
    if (ret->notify == SIGEV_NONE)
        return 0;
    if (ret->notify != SIGEV_SIGNAL && ret->notify != SIGEV_THREAD_ID)
        return -EINVAL; // SIGEV_THREAD is made of SIGEV_THREAD_ID by libc
    if (ret->notify == SIGEV_THREAD_ID) {
        const struct task *t = task_find(ret->tid);
        bool ours = t != NULL && t->process == current()->process;
        task_find_end();
        if (!ours)
            return -EINVAL;
    }
    return ret->signo < 1 || ret->signo > SIGNALS ? -EINVAL : 0;
}

/* A thread's own clock is kept by its number, for others ask too. */
static int clock_for_timer(int clock, struct clock_ref *ret)
{
    enum { MONOTONIC_RAW = 4, REALTIME_COARSE, MONOTONIC_COARSE };
    uint64_t ignored;
    if (clock >= MONOTONIC_RAW && clock <= MONOTONIC_COARSE)
        return -EOPNOTSUPP;
    int r = clock_ref_of(clock, ret);
    if (r == 0 && ret->kind == CLOCK_KIND_THREAD && ret->id == 0)
        ret->id = current()->tid;
    return r < 0 ? r : clock_ref_read(ret, current()->process, &ignored);
}

int64_t sys_timer_create(const uint64_t arg[static 6])
{
    struct process *p = current()->process;
    struct clock_ref clock;
    struct sigevent e;
    int r = clock_for_timer((int)arg[0], &clock);
    if (r == 0)
        r = event_from_user(arg[1], &e);
    if (r < 0)
        return r;
    struct process_timers *all = process_timers(p);
    struct posix_timer *t = all != NULL ? kzalloc(sizeof(*t)) : NULL;
    if (t == NULL)
        return -EAGAIN;
    ktimer_init(&t->timer, fire);
    t->process = p;
    t->clock = clock;
    spin_lock(&all->lock);
    int id = 0;
    while (id < POSIX_TIMERS_MAX && all->posix[id] != NULL)
        id++;
    if (id < POSIX_TIMERS_MAX) {
        t->id = id;
        t->event = e;
        if (arg[1] == 0)
            t->event.value = (uint64_t)id;
        all->posix[id] = t;
        all->overrun[id] = 0;
    }
    spin_unlock(&all->lock);
    if (id == POSIX_TIMERS_MAX) {
        kfree(t);
        return -EAGAIN;
    }
    if (copy_to_user(arg[2], &id, sizeof(id)) == 0)
        return 0;
    const uint64_t delete[6] = {(uint64_t)id};
    (void)sys_timer_delete(delete);
    return -EFAULT;
}

struct itimerspec {
    struct user_timespec interval, value;
};

static void read_locked(const struct posix_timer *t, struct itimerspec *ret)
{
    uint64_t now = 0, left = 0;
    if (t->deadline != 0 && its_now(t, &now) == 0)
        left = t->deadline > now ? t->deadline - now : 1;
    ret->value.sec = (int64_t)(left / NS_PER_SEC);
    ret->value.nsec = (int64_t)(left % NS_PER_SEC);
    ret->interval.sec = (int64_t)(t->interval / NS_PER_SEC);
    ret->interval.nsec = (int64_t)(t->interval % NS_PER_SEC);
}

/* The wish as a deadline on its clock, 0 for "off". */
static uint64_t deadline_of(const struct posix_timer *t, uint64_t now, uint64_t value,
                            bool absolute)
{
    if (value == 0)
        return 0;
    if (!absolute)
        return value < DEADLINE_NEVER - now ? now + value : DEADLINE_NEVER;
    uint64_t offset = t->clock.kind == CLOCK_KIND_REAL ? clock_scale.real_offset_ns : 0;
    return value > offset ? value - offset : 1; // the past: at once
}

/* The timer with this id, with all->lock held, or NULL without. */
static struct posix_timer *find(struct process_timers *all, uint64_t id)
{
    if (all == NULL || (id & UINT32_MAX) >= POSIX_TIMERS_MAX)
        return NULL;
    spin_lock(&all->lock);
    struct posix_timer *t = all->posix[id & UINT32_MAX];
    if (t == NULL)
        spin_unlock(&all->lock);
    return t;
}

int64_t sys_timer_settime(const uint64_t arg[static 6])
{
    struct process_timers *all = current()->process->timers;
    struct itimerspec old = {0};
    uint64_t value, interval, now = 0;
    if (arg[2] == 0)
        return -EINVAL;
    int r = timespec_from_user(arg[2], &interval);
    if (r == 0)
        r = timespec_from_user(arg[2] + sizeof(struct user_timespec), &value);
    if (r < 0)
        return r;
    struct posix_timer *t = find(all, arg[0]);
    if (t == NULL)
        return -EINVAL;
    read_locked(t, &old);
    r = its_now(t, &now);
    t->interval = value != 0 ? interval : 0;
    posix_timer_delivered(t->id, 0);
    t->deadline = r == 0 ? deadline_of(t, now, value, (int)arg[1] & TIMER_ABSTIME) : 0;
    if (t->deadline != 0)
        arm_locked(t, now);
    else
        (void)ktimer_stop(&t->timer);
    spin_unlock(&all->lock);
    if (r < 0)
        return -ESRCH;
    return arg[3] != 0 ? copy_to_user(arg[3], &old, sizeof(old)) : 0;
}

int64_t sys_timer_gettime(const uint64_t arg[static 6])
{
    struct process_timers *all = current()->process->timers;
    struct itimerspec now = {0};
    const struct posix_timer *t = find(all, arg[0]);
    if (t == NULL)
        return -EINVAL;
    read_locked(t, &now);
    spin_unlock(&all->lock);
    return copy_to_user(arg[1], &now, sizeof(now));
}

int64_t sys_timer_getoverrun(const uint64_t arg[static 6])
{
    struct process_timers *all = current()->process->timers;
    const struct posix_timer *t = find(all, arg[0]);
    if (t == NULL)
        return -EINVAL;
    int64_t overrun = __atomic_load_n(&all->overrun[t->id], __ATOMIC_RELAXED);
    spin_unlock(&all->lock);
    return overrun;
}

/* Out of the table already, the lock released: nobody else knows it. */
static void timer_free(struct posix_timer *t)
{
    (void)ktimer_cancel(&t->timer);
    kfree(t);
}

int64_t sys_timer_delete(const uint64_t arg[static 6])
{
    struct process_timers *all = current()->process->timers;
    struct posix_timer *t = find(all, arg[0]);
    if (t == NULL)
        return -EINVAL;
    t->deadline = 0; // a run in progress does not arm it again
    all->posix[t->id] = NULL;
    spin_unlock(&all->lock);
    timer_free(t);
    return 0;
}

void posix_timers_clear(struct process *p)
{
    struct process_timers *all = p->timers;
    for (uint64_t id = 0; all != NULL && id < POSIX_TIMERS_MAX; id++) {
        struct posix_timer *t = find(all, id);
        if (t == NULL)
            continue;
        t->deadline = 0;
        all->posix[id] = NULL;
        spin_unlock(&all->lock);
        timer_free(t);
    }
}
