// SPDX-License-Identifier: Apache-2.0
/* POSIX timers (timer_create(2)): up to TIMERS_MAX of the process, each a ktimer that sends a
 * signal. Clocks of CPU time are refused: their timers would need a tick.
 *
 * Lock order: timers_lock -> struct timers.lock. The signal is sent without timers_lock. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

enum {
    TIMERS_MAX = 64,
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC = 1,
    CLOCK_BOOTTIME = 7,
    CLOCK_TAI = 11,
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

struct posix_timer { // protected by timers_lock but for overrun
    struct ktimer timer;
    bool used, real;
    struct sigevent event;
    uint64_t deadline, interval; // ns on the monotonic clock; deadline 0: not armed
    int32_t overrun;             // of the last signal taken; atomic
};

static struct spinlock timers_lock;
static struct posix_timer timers[TIMERS_MAX]; // of the one program

static struct posix_timer *timer_of(uint64_t id)
{
    return id < TIMERS_MAX && timers[id].used ? &timers[id] : NULL;
}

static void notify(const struct sigevent *e, int id, int32_t overrun)
{
    const struct siginfo info = {.signo = e->signo,
                                 .code = SI_TIMER,
                                 .timer = {.id = id, .overrun = overrun, .value = e->value}};
    if (e->notify == SIGEV_SIGNAL) {
        (void)signal_queue_process(program, &info);
    } else if (e->notify == SIGEV_THREAD_ID) {
        struct task *t = task_find(e->tid);
        if (t != NULL)
            (void)signal_queue_task(t, &info);
        task_find_end();
    }
}

static void fire(struct ktimer *k)
{
    struct posix_timer *t = CONTAINER_OF(k, struct posix_timer, timer);
    uint64_t now = clock_mono_ns(), missed = 0;
    spin_lock(&timers_lock);
    bool due = t->used && t->deadline != 0 && t->deadline <= now; // else changed meanwhile
    if (due && t->interval != 0) {
        missed = (now - t->deadline) / t->interval;
        t->deadline += (missed + 1) * t->interval;
        ktimer_arm(&t->timer, t->deadline);
    } else if (due) {
        t->deadline = 0;
    }
    const struct sigevent e = t->event;
    spin_unlock(&timers_lock);
    if (due)
        notify(&e, (int)(t - timers), (int32_t)MIN(missed, (uint64_t)OVERRUN_MAX));
}

void posix_timer_delivered(int32_t id, int32_t overrun)
{
    if (id >= 0 && id < TIMERS_MAX) // a program may queue such a signal itself
        __atomic_store_n(&timers[id].overrun, overrun, __ATOMIC_RELAXED);
}

static int event_from_user(uint64_t user, int id, struct sigevent *ret)
{
    *ret = (struct sigevent){.value = (uint64_t)id, .signo = SIGALRM, .notify = SIGEV_SIGNAL};
    if (user == 0)
        return 0;
    if (copy_from_user(ret, user, sizeof(*ret)) < 0)
        return -EFAULT;
    if (ret->notify == SIGEV_NONE)
        return 0;
    if (ret->notify != SIGEV_SIGNAL && ret->notify != SIGEV_THREAD_ID)
        return -EINVAL; // SIGEV_THREAD is made of SIGEV_THREAD_ID by libc
    if (ret->notify == SIGEV_THREAD_ID) {
        bool ours = task_find(ret->tid) != NULL;
        task_find_end();
        if (!ours)
            return -EINVAL;
    }
    return ret->signo < 1 || ret->signo > SIGNALS ? -EINVAL : 0;
}

int64_t sys_timer_create(const uint64_t arg[static 6])
{
    int clock = (int)arg[0];
    struct sigevent e;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
        clock != CLOCK_TAI)
        return clock == 2 || clock == 3 ? -EOPNOTSUPP : -EINVAL; // CPU time: 2, 3
    spin_lock(&timers_lock);
    int id = 0;
    while (id < TIMERS_MAX && timers[id].used)
        id++;
    if (id < TIMERS_MAX) {
        timers[id] = (struct posix_timer){.used = true, .event = {.notify = SIGEV_NONE}};
        timers[id].real = clock == CLOCK_REALTIME || clock == CLOCK_TAI;
        ktimer_init(&timers[id].timer, fire);
    }
    spin_unlock(&timers_lock);
    if (id == TIMERS_MAX)
        return -EAGAIN;
    int r = event_from_user(arg[1], id, &e);
    if (r == 0)
        r = copy_to_user(arg[2], &id, sizeof(id));
    spin_lock(&timers_lock);
    timers[id].used = r == 0;
    timers[id].event = e;
    spin_unlock(&timers_lock);
    return r;
}

struct itimerspec {
    struct user_timespec interval, value;
};

static void read_locked(const struct posix_timer *t, struct itimerspec *ret)
{
    uint64_t now = clock_mono_ns();
    uint64_t left = t->deadline == 0 ? 0 : t->deadline > now ? t->deadline - now : 1;
    ret->value.sec = (int64_t)(left / NS_PER_SEC);
    ret->value.nsec = (int64_t)(left % NS_PER_SEC);
    ret->interval.sec = (int64_t)(t->interval / NS_PER_SEC);
    ret->interval.nsec = (int64_t)(t->interval % NS_PER_SEC);
}

/* The wish as a monotonic deadline, 0 for "off". */
static uint64_t deadline_of(uint64_t value, bool absolute, bool real)
{
    uint64_t now = clock_mono_ns();
    if (value == 0)
        return 0;
    if (!absolute)
        return value < DEADLINE_NEVER - now ? now + value : DEADLINE_NEVER;
    uint64_t offset = real ? clock_scale.real_offset_ns : 0;
    return value > offset ? value - offset : 1; // the past: at once
}

int64_t sys_timer_settime(const uint64_t arg[static 6])
{
    struct itimerspec old = {0};
    uint64_t value, interval;
    if (arg[2] == 0)
        return -EINVAL;
    int r = timespec_from_user(arg[2], &interval);
    if (r == 0)
        r = timespec_from_user(arg[2] + sizeof(struct user_timespec), &value);
    if (r < 0)
        return r;
    spin_lock(&timers_lock);
    struct posix_timer *t = timer_of(arg[0]);
    if (t != NULL) {
        read_locked(t, &old);
        t->interval = value != 0 ? interval : 0;
        posix_timer_delivered((int32_t)arg[0], 0);
        t->deadline = deadline_of(value, (int)arg[1] & TIMER_ABSTIME, t->real);
        if (t->deadline != 0)
            ktimer_arm(&t->timer, t->deadline);
        else
            (void)ktimer_stop(&t->timer);
    }
    spin_unlock(&timers_lock);
    if (t == NULL)
        return -EINVAL;
    return arg[3] != 0 ? copy_to_user(arg[3], &old, sizeof(old)) : 0;
}

int64_t sys_timer_gettime(const uint64_t arg[static 6])
{
    struct itimerspec now = {0};
    spin_lock(&timers_lock);
    const struct posix_timer *t = timer_of(arg[0]);
    if (t != NULL)
        read_locked(t, &now);
    spin_unlock(&timers_lock);
    return t != NULL ? copy_to_user(arg[1], &now, sizeof(now)) : -EINVAL;
}

int64_t sys_timer_getoverrun(const uint64_t arg[static 6])
{
    spin_lock(&timers_lock);
    const struct posix_timer *t = timer_of(arg[0]);
    int64_t r = t != NULL ? __atomic_load_n(&t->overrun, __ATOMIC_RELAXED) : -EINVAL;
    spin_unlock(&timers_lock);
    return r;
}

int64_t sys_timer_delete(const uint64_t arg[static 6])
{
    spin_lock(&timers_lock);
    struct posix_timer *t = timer_of(arg[0]);
    if (t != NULL) {
        (void)ktimer_stop(&t->timer);
        t->deadline = 0;
        t->used = false;
    }
    spin_unlock(&timers_lock);
    return t != NULL ? 0 : -EINVAL;
}
