// SPDX-License-Identifier: Apache-2.0
/* Clocks, sleeping and interval timers. */
#include "base/errno.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/mm.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/sched/stats.h"

enum {
    CLOCK_REALTIME,
    CLOCK_MONOTONIC,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID,
    CLOCK_MONOTONIC_RAW,
    CLOCK_REALTIME_COARSE,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_BOOTTIME,
    CLOCK_TAI = 11,
    NS_PER_USEC = 1000,
};

int timespec_from_user(uint64_t user, uint64_t *ret_ns)
{
    struct user_timespec t;
    if (copy_from_user(&t, user, sizeof(t)) < 0)
        return -EFAULT;
    if (t.sec < 0 || t.nsec < 0 || t.nsec >= (int64_t)NS_PER_SEC)
        return -EINVAL;
    *ret_ns = DEADLINE_NEVER;
    if ((uint64_t)t.sec < DEADLINE_NEVER / NS_PER_SEC - 1)
        *ret_ns = (uint64_t)t.sec * NS_PER_SEC + (uint64_t)t.nsec;
    return 0;
}

int timespec_to_user(uint64_t user, uint64_t ns)
{
    const struct user_timespec t = {.sec = (int64_t)(ns / NS_PER_SEC),
                                    .nsec = (int64_t)(ns % NS_PER_SEC)};
    return copy_to_user(user, &t, sizeof(t));
}

static int clock_read(int clock, uint64_t *ret_ns)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI: // the offset of leap seconds is 0 until somebody sets it, as on Linux
        *ret_ns = clock_real_ns();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *ret_ns = clock_mono_ns();
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ret_ns = stats_process_ns(current()->process);
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        *ret_ns = task_cpu_ns(current());
        return 0;
    default:
        break;
    }
    // Negative: a process's or thread's CPU clock, ~id << 3 | 4 (thread) | 2.
    if (clock < 0 && (clock & 3) == 2) {
        int id = ~(clock >> 3);
        struct task *t = id == 0 ? current() : task_find(id);
        int r = t != NULL && t->process == current()->process ? 0 : -EINVAL;
        if (r == 0 && clock & 4)
            *ret_ns = task_cpu_ns(t);
        if (id != 0)
            task_find_end();
        if (r == 0 && !(clock & 4))
            *ret_ns = stats_process_ns(current()->process);
        return r;
    }
    return -EINVAL;
}

int64_t sys_clock_gettime(const uint64_t arg[static 6])
{
    uint64_t ns;
    int r = clock_read((int)arg[0], &ns);
    return r < 0 ? r : timespec_to_user(arg[1], ns);
}

int64_t sys_clock_getres(const uint64_t arg[static 6])
{
    uint64_t ns;
    int r = clock_read((int)arg[0], &ns);
    return r < 0 || arg[1] == 0 ? r : timespec_to_user(arg[1], 1);
}

int64_t sys_gettimeofday(const uint64_t arg[static 6])
{
    uint64_t ns = clock_real_ns();
    const int64_t tv[2] = {(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC / NS_PER_USEC)};
    const int32_t zone[2] = {0, 0};
    if (arg[0] != 0 && copy_to_user(arg[0], tv, sizeof(tv)) < 0)
        return -EFAULT;
    return arg[1] != 0 ? copy_to_user(arg[1], zone, sizeof(zone)) : 0;
}

int64_t sys_time(const uint64_t arg[static 6])
{
    int64_t now = (int64_t)(clock_real_ns() / NS_PER_SEC);
    if (arg[0] != 0 && copy_to_user(arg[0], &now, sizeof(now)) < 0)
        return -EFAULT;
    return now;
}

/* Sleep until a monotonic deadline: 0 or -EINTR. */
static int sleep_until(uint64_t deadline)
{
    for (;;) {
        task_prepare_sleep();
        int r = task_sleep(deadline, true);
        if (r == -ETIMEDOUT)
            return 0;
        if (r < 0)
            return r;
    }
}

/* A relative sleep; what is left goes to user memory `left` (0: nowhere) when interrupted. */
static int64_t sleep_relative(uint64_t deadline, uint64_t left);

static int64_t sleep_again(struct restart *r)
{
    return sleep_relative(r->arg[0], r->arg[1]);
}

static int64_t sleep_relative(uint64_t deadline, uint64_t left)
{
    int r = sleep_until(deadline);
    if (r == 0)
        return 0;
    uint64_t now = clock_mono_ns();
    if (left != 0 && timespec_to_user(left, deadline > now ? deadline - now : 0) < 0)
        return -EFAULT;
    current()->thread->restart = (struct restart){.call = sleep_again, .arg = {deadline, left}};
    return -ERESTART_RESTARTBLOCK;
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return b < DEADLINE_NEVER - a ? a + b : DEADLINE_NEVER;
}

int64_t sys_nanosleep(const uint64_t arg[static 6])
{
    uint64_t ns;
    int r = timespec_from_user(arg[0], &ns);
    return r < 0 ? r : sleep_relative(add_saturated(clock_mono_ns(), ns), arg[1]);
}

int64_t sys_clock_nanosleep(const uint64_t arg[static 6])
{
    enum { TIMER_ABSTIME = 1 };
    int clock = (int)arg[0];
    uint64_t ns;
    bool real = clock == CLOCK_REALTIME || clock == CLOCK_TAI;
    if (!real && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return clock == CLOCK_PROCESS_CPUTIME_ID ||
                       (clock >= CLOCK_MONOTONIC_RAW && clock <= CLOCK_MONOTONIC_COARSE)
                   ? -EOPNOTSUPP
                   : -EINVAL;
    int r = timespec_from_user(arg[2], &ns);
    if (r < 0)
        return r;
    if (!((int)arg[1] & TIMER_ABSTIME))
        return sleep_relative(add_saturated(clock_mono_ns(), ns), arg[3]);
    uint64_t offset = real ? clock_scale.real_offset_ns : 0;
    r = sleep_until(ns == DEADLINE_NEVER ? ns : ns > offset ? ns - offset : 0);
    return r < 0 ? -ERESTARTNOHAND : 0;
}

static const uint64_t CLK_TCK_NS = NS_PER_SEC / 100;

int64_t sys_times(const uint64_t arg[static 6])
{
    // User and system time are not told apart: all is the program's.
    const uint64_t t[4] = {stats_process_ns(current()->process) / CLK_TCK_NS, 0, 0, 0};
    if (arg[0] != 0 && copy_to_user(arg[0], t, sizeof(t)) < 0)
        return -EFAULT;
    return (int64_t)(clock_mono_ns() / CLK_TCK_NS);
}

int64_t sys_getrusage(const uint64_t arg[static 6])
{
    enum { SELF = 0, CHILDREN = -1, THREAD = 1 };
    struct {
        int64_t user[2], system[2], max_rss_kib, unused[11], wanted, forced;
    } u = {0};
    _Static_assert(sizeof(u) == 144, "Linux struct rusage");
    int who = (int)arg[0];
    struct task *t = current();
    if (who != SELF && who != CHILDREN && who != THREAD)
        return -EINVAL;
    if (who != CHILDREN) {
        uint64_t ns = who == THREAD ? task_cpu_ns(t) : stats_process_ns(t->process);
        struct mm_stats m;
        mm_stats_get(t->process->mm, &m);
        u.user[0] = (int64_t)(ns / NS_PER_SEC);
        u.user[1] = (int64_t)(ns % NS_PER_SEC / NS_PER_USEC);
        u.max_rss_kib = (int64_t)(m.resident_bytes >> 10);
        u.wanted = (int64_t)t->sched->switches_wanted;
        u.forced = (int64_t)t->sched->switches_forced;
    } else {
        u.user[0] = (int64_t)(t->process->children_cpu_ns / NS_PER_SEC);
        u.user[1] = (int64_t)(t->process->children_cpu_ns % NS_PER_SEC / NS_PER_USEC);
    }
    return copy_to_user(arg[1], &u, sizeof(u));
}
