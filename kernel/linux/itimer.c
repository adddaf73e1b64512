// SPDX-License-Identifier: Apache-2.0
/* setitimer(2), getitimer(2), alarm(2) and RLIMIT_CPU. ITIMER_REAL runs on the monotonic clock, the
 * others on the CPU time of all threads: a ktimer looks when that can have passed at the earliest,
 * and again for the rest. Time in user mode is not counted apart: ITIMER_VIRTUAL counts all of it,
 * as getrusage(2) does.
 *
 * Lock order: process_timers.lock -> process->lock. Signals are sent without process_timers.lock.
 */
#include "base/errno.h"
#include "kernel/linux/limits.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/timers.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/sched/stats.h"

enum { NS_PER_USEC = 1000, USEC_PER_SEC = 1000000 };

static void fire(struct ktimer *k);

struct process_timers *process_timers(struct process *p)
{
    struct process_timers *t = __atomic_load_n(&p->timers, __ATOMIC_ACQUIRE);
    if (t != NULL)
        return t;
    struct process_timers *new = kzalloc(sizeof(*new));
    if (new == NULL)
        return NULL;
    for (unsigned i = 0; i < ITIMERS; i++) {
        ktimer_init(&new->itimers[i].timer, fire);
        new->itimers[i].process = p;
    }
    if (__atomic_compare_exchange_n(&p->timers, &t, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return new;
    kfree(new);
    return t;
}

void timers_exit(struct process *p)
{
    struct process_timers *t = p->timers;
    if (t == NULL)
        return;
    spin_lock(&t->lock);
    t->ended = true;
    spin_unlock(&t->lock);
    for (unsigned i = 0; i < ITIMERS; i++)
        (void)ktimer_cancel(&t->itimers[i].timer);
    posix_timers_clear(p);
    p->timers = NULL;
    kfree(t);
}

static uint64_t clock_of(const struct process_timers *t, const struct itimer *it)
{
    return it == &t->itimers[ITIMER_REAL] ? clock_mono_ns() : stats_process_ns(it->process);
}

/* Look again when the deadline can have come. */
static void arm_locked(struct process_timers *t, struct itimer *it, uint64_t its_now)
{
    const struct clock_ref c = {.kind = it == &t->itimers[ITIMER_REAL] ? CLOCK_KIND_MONO
                                                                       : CLOCK_KIND_PROCESS};
    uint64_t left = it->deadline > its_now ? it->deadline - its_now : 0;
    if (it->interval != 0)
        left = MAX(left, (uint64_t)TIMER_PERIOD_MIN_NS);
    if (!t->ended)
        ktimer_arm(&it->timer, clock_ref_due(&c, left));
}

/* SIGPROF goes to the thread that used the time, as far as this CPU knows it. */
static void expired(struct process *p, unsigned which)
{
    static const int signos[] = {SIGALRM, SIGVTALRM, SIGPROF};
    struct task *t = current();
    const struct siginfo info = {.signo = signos[which], .code = SI_KERNEL};
    if (which != ITIMER_REAL && t->thread != NULL && t->process == p)
        (void)signal_queue_task(t, &info);
    else
        (void)signal_queue_process(p, &info);
}

/* RLIMIT_CPU: SIGXCPU at the soft limit and at each second behind it, SIGKILL at the hard one. */
static void check_cpu_limit(struct process *p)
{
    struct rlimit l = rlimit_of(p, RLIMIT_CPU);
    uint64_t used = stats_process_ns(p) / NS_PER_SEC;
    if (used >= l.hard) {
        signal_send_process(p, SIGKILL);
        return;
    }
    if (used >= l.soft) {
        signal_send_process(p, SIGXCPU);
        spin_lock(&p->lock);
        p->limits.limit[RLIMIT_CPU].soft = MIN(used + 1, l.hard);
        spin_unlock(&p->lock);
    }
    cpu_limit_changed(p);
}

void cpu_limit_changed(struct process *p)
{
    struct rlimit l = rlimit_of(p, RLIMIT_CPU);
    struct process_timers *t = process_timers(p);
    if (t == NULL)
        return;
    struct itimer *it = &t->itimers[ITIMER_CPU_LIMIT];
    const uint64_t seconds = MAX(MIN(l.soft, l.hard), 1ull); // 0 is taken as 1, as Linux does
    spin_lock(&t->lock);
    it->deadline = seconds < DEADLINE_NEVER / NS_PER_SEC ? seconds * NS_PER_SEC : 0;
    if (it->deadline != 0)
        arm_locked(t, it, stats_process_ns(p));
    else
        (void)ktimer_stop(&it->timer);
    spin_unlock(&t->lock);
}

static void fire(struct ktimer *k)
{
    struct itimer *it = CONTAINER_OF(k, struct itimer, timer);
    struct process *p = it->process;
    struct process_timers *t = p->timers;
    const unsigned which = (unsigned)(it - t->itimers);
    spin_lock(&t->lock);
    uint64_t now = clock_of(t, it);
    bool due = it->deadline != 0 && it->deadline <= now;
    if (due && it->interval != 0) {
        it->deadline += it->interval;
        if (it->deadline <= now) // do not chase what is lost
            it->deadline = now + it->interval;
    } else if (due) {
        it->deadline = 0;
    }
    if (it->deadline != 0)
        arm_locked(t, it, now);
    spin_unlock(&t->lock);
    if (due && which == ITIMER_CPU_LIMIT)
        check_cpu_limit(p);
    else if (due)
        expired(p, which);
}

/* Tell what is. */
static void read_locked(const struct process_timers *t, const struct itimer *it, uint64_t *ret_left,
                        uint64_t *ret_interval)
{
    uint64_t now = clock_of(t, it);
    *ret_left = it->deadline == 0 ? 0 : it->deadline > now ? it->deadline - now : NS_PER_USEC;
    *ret_interval = it->interval;
}

/* Set (ns 0: off) and tell what was. */
static int exchange(unsigned which, uint64_t ns, uint64_t interval, uint64_t *ret_left,
                    uint64_t *ret_interval)
{
    struct process_timers *t = process_timers(current()->process);
    if (t == NULL)
        return -ENOMEM;
    struct itimer *it = &t->itimers[which];
    spin_lock(&t->lock);
    uint64_t now = clock_of(t, it);
    read_locked(t, it, ret_left, ret_interval);
    it->deadline = ns == 0 ? 0 : ns < DEADLINE_NEVER - now ? now + ns : DEADLINE_NEVER;
    it->interval = interval;
    if (it->deadline != 0)
        arm_locked(t, it, now);
    else
        (void)ktimer_stop(&it->timer);
    spin_unlock(&t->lock);
    return 0;
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
    const unsigned which = (unsigned)arg[0];
    uint64_t left = 0, interval = 0;
    if (which > ITIMER_PROF)
        return -EINVAL;
    struct process_timers *t = current()->process->timers;
    if (t != NULL) {
        spin_lock(&t->lock);
        read_locked(t, &t->itimers[which], &left, &interval);
        spin_unlock(&t->lock);
    }
    return to_user(arg[1], left, interval);
}

int64_t sys_setitimer(const uint64_t arg[static 6])
{
    struct itimerval v = {0};
    const unsigned which = (unsigned)arg[0];
    uint64_t ns, interval, left, old_interval;
    if (arg[1] != 0 && copy_from_user(&v, arg[1], sizeof(v)) < 0)
        return -EFAULT;
    if (!to_ns(v.interval, &interval) || !to_ns(v.value, &ns) || which > ITIMER_PROF)
        return -EINVAL;
    int r = exchange(which, ns, interval, &left, &old_interval);
    return r < 0 || arg[2] == 0 ? r : to_user(arg[2], left, old_interval);
}

int64_t sys_alarm(const uint64_t arg[static 6])
{
    uint64_t left, interval;
    if (exchange(ITIMER_REAL, (arg[0] & UINT32_MAX) * NS_PER_SEC, 0, &left, &interval) < 0)
        return 0; // alarm(2) cannot fail; nothing was set before either
    // To the nearest second, but never 0 while there is time left.
    return left != 0 && left < NS_PER_SEC ? 1 : (int64_t)((left + NS_PER_SEC / 2) / NS_PER_SEC);
}
