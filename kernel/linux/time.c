// SPDX-License-Identifier: Apache-2.0
/* Clocks, sleeping and interval timers. */
#include "base/errno.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/linux/timers.h"
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
    CLOCK_REALTIME_ALARM,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_TAI = 11,
    NS_PER_USEC = 1000,
    USEC_PER_SEC = 1000000,
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

int clock_ref_of(int clock, struct clock_ref *ret)
{
    *ret = (struct clock_ref){0};
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI: // the offset of leap seconds is 0 until somebody sets it, as on Linux
        ret->kind = CLOCK_KIND_REAL;
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        ret->kind = CLOCK_KIND_MONO;
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        ret->kind = CLOCK_KIND_PROCESS;
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        ret->kind = CLOCK_KIND_THREAD;
        return 0;
    default:
        break;
    }
    // Negative: a process's or thread's CPU clock, ~id << 3 | 4 (thread) | 0 PROF, 1 VIRT, 2 SCHED:
    // CPU time is not told apart here.
    if (clock >= 0 || (clock & 3) == 3)
        return -EINVAL;
    ret->kind = clock & 4 ? CLOCK_KIND_THREAD : CLOCK_KIND_PROCESS;
    ret->id = ~(clock >> 3);
    return 0;
}

int clock_ref_read(const struct clock_ref *c, struct process *self, uint64_t *ret_ns)
{
    if (c->kind == CLOCK_KIND_MONO || c->kind == CLOCK_KIND_REAL) {
        *ret_ns = c->kind == CLOCK_KIND_MONO ? clock_mono_ns() : clock_real_ns();
        return 0;
    }
    if (c->kind == CLOCK_KIND_PROCESS && (c->id == 0 || c->id == self->pid)) {
        *ret_ns = stats_process_ns(self);
        return 0;
    }
    if (c->kind == CLOCK_KIND_THREAD && c->id == 0) {
        *ret_ns = task_cpu_ns(current());
        return 0;
    }
    struct task *t = task_find(c->id);
    bool thread = c->kind == CLOCK_KIND_THREAD;
    bool ok = t != NULL && (thread ? t->process == self : t->process->pid == c->id);
    if (ok)
        *ret_ns = thread ? task_cpu_ns(t) : stats_process_ns(t->process);
    task_find_end();
    return ok ? 0 : -EINVAL;
}

uint64_t clock_ref_due(const struct clock_ref *c, uint64_t left)
{
    const uint64_t step_min = 20000; // ns: closer than this is not worth another look
    uint64_t now = clock_mono_ns();
    if (c->kind == CLOCK_KIND_PROCESS) // all CPUs may work for it
        left /= cpu_count;
    if (c->kind >= CLOCK_KIND_PROCESS)
        left = MAX(left, step_min);
    return left < DEADLINE_NEVER - now ? now + left : DEADLINE_NEVER;
}

static int clock_read(int clock, uint64_t *ret_ns)
{
    struct clock_ref c;
    int r = clock_ref_of(clock, &c);
    return r < 0 ? r : clock_ref_read(&c, current()->process, ret_ns);
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

/* Sleep until the process's CPU time is `until`: what others of its threads use. */
static int64_t sleep_cpu(const struct clock_ref *c, uint64_t until)
{
    struct process *p = current()->process;
    for (;;) {
        uint64_t now;
        if (clock_ref_read(c, p, &now) < 0)
            return -EINVAL;
        if (now >= until)
            return 0;
        if (sleep_until(clock_ref_due(c, until - now)) < 0)
            return -EINTR;
    }
}

static int64_t sleep_cpu_relative(const struct clock_ref *c, uint64_t until, uint64_t left);

static int64_t sleep_cpu_again(struct restart *r)
{
    const struct clock_ref c = {.kind = CLOCK_KIND_PROCESS, .id = (int)r->arg[2]};
    return sleep_cpu_relative(&c, r->arg[0], r->arg[1]);
}

static int64_t sleep_cpu_relative(const struct clock_ref *c, uint64_t until, uint64_t left)
{
    uint64_t now;
    int64_t r = sleep_cpu(c, until);
    if (r != -EINTR)
        return r;
    if (left != 0 && clock_ref_read(c, current()->process, &now) == 0 &&
        timespec_to_user(left, until > now ? until - now : 0) < 0)
        return -EFAULT;
    current()->thread->restart =
        (struct restart){.call = sleep_cpu_again, .arg = {until, left, (uint64_t)c->id}};
    return -ERESTART_RESTARTBLOCK;
}

int64_t sys_clock_nanosleep(const uint64_t arg[static 6])
{
    enum { TIMER_ABSTIME = 1 };
    const int clock = (int)arg[0];
    const bool absolute = (int)arg[1] & TIMER_ABSTIME;
    struct clock_ref c;
    uint64_t ns, now = 0;
    int r = clock_ref_of(clock, &c);
    if (r < 0)
        return r;
    if (clock >= CLOCK_MONOTONIC_RAW && clock <= CLOCK_MONOTONIC_COARSE)
        return -EOPNOTSUPP;
    if (clock == CLOCK_THREAD_CPUTIME_ID)
        return -EOPNOTSUPP;
    r = timespec_from_user(arg[2], &ns);
    if (r < 0)
        return r;
    if (c.kind == CLOCK_KIND_THREAD && (c.id == 0 || c.id == current()->tid))
        return -EINVAL; // one's own time stands still meanwhile
    if (c.kind >= CLOCK_KIND_PROCESS) {
        r = clock_ref_read(&c, current()->process, &now);
        if (r < 0)
            return r;
        int64_t slept =
            absolute ? sleep_cpu(&c, ns) : sleep_cpu_relative(&c, add_saturated(now, ns), arg[3]);
        return slept == -EINTR ? -ERESTARTNOHAND : slept;
    }
    if (!absolute)
        return sleep_relative(add_saturated(clock_mono_ns(), ns), arg[3]);
    uint64_t offset = c.kind == CLOCK_KIND_REAL ? clock_scale.real_offset_ns : 0;
    r = sleep_until(ns == DEADLINE_NEVER ? ns : ns > offset ? ns - offset : 0);
    return r < 0 ? -ERESTARTNOHAND : 0;
}

/* The clock comes from outside and nobody may set it: who asks correctly learns that he may not
 * (no CAP_SYS_TIME). */
int64_t sys_clock_settime(const uint64_t arg[static 6])
{
    const int clock = (int)arg[0];
    struct clock_ref c;
    uint64_t ns;
    if (clock_ref_of(clock, &c) < 0 ||
        (clock != CLOCK_REALTIME && clock >= 0 && c.kind < CLOCK_KIND_PROCESS))
        return -EINVAL;
    int r = timespec_from_user(arg[1], &ns);
    if (r == -EFAULT)
        return r;
    return r < 0 && clock == CLOCK_REALTIME ? r : -EPERM;
}

int64_t sys_settimeofday(const uint64_t arg[static 6])
{
    int64_t tv[2];
    int32_t zone[2];
    if (arg[0] != 0 && copy_from_user(tv, arg[0], sizeof(tv)) < 0)
        return -EFAULT;
    if (arg[0] != 0 && (tv[1] < 0 || tv[1] > USEC_PER_SEC || tv[0] < 0))
        return -EINVAL;
    if (arg[1] != 0 && copy_from_user(zone, arg[1], sizeof(zone)) < 0)
        return -EFAULT;
    return -EPERM;
}

struct timex {
    uint32_t modes, pad0;
    int64_t offset, freq, maxerror, esterror;
    int32_t status, pad1;
    int64_t constant, precision, tolerance, time[2], tick, ppsfreq, jitter;
    int32_t shift, pad2;
    int64_t stabil, jitcnt, calcnt, errcnt, stbcnt;
    int32_t tai, rest[11];
};
_Static_assert(sizeof(struct timex) == 208, "Linux struct __kernel_timex");

/* Nobody disciplines this clock: it says so. */
static int64_t adjust(uint64_t user)
{
    enum { STA_UNSYNC = 0x40, TIME_ERROR = 5, ERROR_MAX_US = 16000000, TICK_US = 10000 };
    struct timex t;
    if (copy_from_user(&t, user, sizeof(t)) < 0)
        return -EFAULT;
    const uint32_t OFFSET_SS_READ = 0xa001;
    if (t.modes != 0 && t.modes != OFFSET_SS_READ)
        return -EPERM;
    const uint64_t ns = clock_real_ns();
    t = (struct timex){
        .modes = t.modes,
        .maxerror = ERROR_MAX_US,
        .esterror = ERROR_MAX_US,
        .status = STA_UNSYNC,
        .constant = 2,
        .precision = 1,
        .tolerance = 500 << 16, // ppm
        .time = {(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC / NS_PER_USEC)},
        .tick = TICK_US};
    return copy_to_user(user, &t, sizeof(t)) < 0 ? -EFAULT : TIME_ERROR;
}

int64_t sys_adjtimex(const uint64_t arg[static 6])
{
    return adjust(arg[0]);
}

int64_t sys_clock_adjtime(const uint64_t arg[static 6])
{
    struct clock_ref c;
    if (clock_ref_of((int)arg[0], &c) < 0)
        return -EINVAL;
    return (int)arg[0] == CLOCK_REALTIME ? adjust(arg[1]) : -EOPNOTSUPP;
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
