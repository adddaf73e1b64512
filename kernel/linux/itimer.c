// SPDX-License-Identifier: Apache-2.0
/* setitimer(2), getitimer(2), alarm(2): two timers a process. ITIMER_REAL runs on the monotonic
 * clock, ITIMER_PROF on the CPU time of all its threads: a ktimer looks when that can have passed
 * at the earliest, and again for the rest. ITIMER_VIRTUAL is refused, for time in user mode is not
 * counted apart.
 *
 * Lock order: itimer.lock -> process->lock. Signals are sent without itimer.lock. */
#include "base/errno.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/sched/stats.h"

enum { ITIMER_REAL = 0, ITIMER_PROF = 2, ITIMERS = 3, NS_PER_USEC = 1000, USEC_PER_SEC = 1000000 };

struct itimer {
    struct spinlock lock;
    struct ktimer timer;
    uint64_t deadline, interval; // on its own clock; protected by lock; deadline 0: off
};

static void fire(struct ktimer *k);
static struct itimer itimers[ITIMERS] = {
    // of the one program
    [ITIMER_REAL] = {.timer = {.run = fire}},
    [ITIMER_PROF] = {.timer = {.run = fire}},
};

static uint64_t clock_of(const struct itimer *it)
{
    return it == &itimers[ITIMER_PROF] ? stats_process_ns(program) : clock_mono_ns();
}

/* Look again when the deadline can have come. */
static void arm_locked(struct itimer *it, uint64_t its_now)
{
    uint64_t left = it->deadline > its_now ? it->deadline - its_now : 0;
    uint64_t mono = clock_mono_ns();
    ktimer_arm(&it->timer, left < DEADLINE_NEVER - mono ? mono + left : DEADLINE_NEVER);
}

/* SIGPROF goes to the thread that used the time, as far as this CPU knows it. */
static void expired(const struct itimer *it)
{
    struct task *t = current();
    const struct siginfo info = {.signo = it == &itimers[ITIMER_PROF] ? SIGPROF : SIGALRM,
                                 .code = SI_KERNEL};
    if (it == &itimers[ITIMER_PROF] && t->thread != NULL)
        (void)signal_queue_task(t, &info);
    else
        (void)signal_queue_process(program, &info);
}

static void fire(struct ktimer *k)
{
    struct itimer *it = CONTAINER_OF(k, struct itimer, timer);
    spin_lock(&it->lock);
    uint64_t now = clock_of(it);
    bool due = it->deadline != 0 && it->deadline <= now;
    if (due && it->interval != 0) {
        it->deadline += it->interval;
        if (it->deadline <= now) // do not chase what is lost
            it->deadline = now + it->interval;
    } else if (due) {
        it->deadline = 0;
    }
    if (it->deadline != 0)
        arm_locked(it, now);
    spin_unlock(&it->lock);
    if (due)
        expired(it);
}

/* Set (ns 0: off) and tell what was. */
static void exchange(struct itimer *it, uint64_t ns, uint64_t interval, uint64_t *ret_left,
                     uint64_t *ret_interval)
{
    spin_lock(&it->lock);
    uint64_t now = clock_of(it);
    *ret_left = it->deadline == 0 ? 0 : it->deadline > now ? it->deadline - now : NS_PER_USEC;
    *ret_interval = it->interval;
    it->deadline = ns == 0 ? 0 : ns < DEADLINE_NEVER - now ? now + ns : DEADLINE_NEVER;
    it->interval = interval;
    if (it->deadline != 0)
        arm_locked(it, now);
    else
        (void)ktimer_stop(&it->timer);
    spin_unlock(&it->lock);
}

static struct itimer *itimer_of(uint64_t which)
{
    return which == ITIMER_REAL || which == ITIMER_PROF ? &itimers[which] : NULL;
}

struct timeval {
    int64_t sec, usec;
};

struct itimerval {
    struct timeval interval, value;
};

static bool to_ns(struct timeval t, uint64_t *ret_ns)
{
    if (t.sec < 0 || t.usec < 0 || t.usec >= USEC_PER_SEC)
        return false;
    uint64_t sec = MIN((uint64_t)t.sec, DEADLINE_NEVER / NS_PER_SEC / 4);
    *ret_ns = sec * NS_PER_SEC + (uint64_t)t.usec * NS_PER_USEC;
    return true;
}

static struct timeval from_ns(uint64_t ns)
{
    return (struct timeval){.sec = (int64_t)(ns / NS_PER_SEC),
                            .usec = (int64_t)(ns % NS_PER_SEC / NS_PER_USEC)};
}

static int to_user(uint64_t user, uint64_t left, uint64_t interval)
{
    const struct itimerval v = {.interval = from_ns(interval), .value = from_ns(left)};
    return copy_to_user(user, &v, sizeof(v));
}

int64_t sys_getitimer(const uint64_t arg[static 6])
{
    struct itimer *it = itimer_of(arg[0]);
    if (it == NULL)
        return -EINVAL;
    spin_lock(&it->lock);
    uint64_t now = clock_of(it), interval = it->interval;
    uint64_t left = it->deadline == 0 ? 0 : it->deadline > now ? it->deadline - now : NS_PER_USEC;
    spin_unlock(&it->lock);
    return to_user(arg[1], left, interval);
}

int64_t sys_setitimer(const uint64_t arg[static 6])
{
    struct itimerval v = {0};
    uint64_t ns, interval, left, old_interval;
    struct itimer *it = itimer_of(arg[0]);
    if (arg[1] != 0 && copy_from_user(&v, arg[1], sizeof(v)) < 0)
        return -EFAULT;
    if (it == NULL || !to_ns(v.interval, &interval) || !to_ns(v.value, &ns))
        return -EINVAL;
    exchange(it, ns, interval, &left, &old_interval);
    return arg[2] != 0 ? to_user(arg[2], left, old_interval) : 0;
}

int64_t sys_alarm(const uint64_t arg[static 6])
{
    uint64_t left, interval;
    exchange(&itimers[ITIMER_REAL], (arg[0] & UINT32_MAX) * NS_PER_SEC, 0, &left, &interval);
    // To the nearest second, but never 0 while there is time left.
    return left != 0 && left < NS_PER_SEC ? 1 : (int64_t)((left + NS_PER_SEC / 2) / NS_PER_SEC);
}
