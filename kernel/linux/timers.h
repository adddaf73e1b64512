// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Timers of a process: setitimer(2), timer_create(2), RLIMIT_CPU, and the clocks they run on. */
#include "base/base.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/timer.h"

struct process;

enum clock_kind {
    CLOCK_KIND_MONO,
    CLOCK_KIND_REAL,
    CLOCK_KIND_PROCESS, // CPU time of a process
    CLOCK_KIND_THREAD,  // CPU time of a thread
};

struct clock_ref {
    enum clock_kind kind;
    int id; // of the process or thread; 0: the calling one
};

/* linux/time.c. Which clock a clockid_t is: 0 or -EINVAL. Its time: 0 or -EINVAL, its thread is
 * gone; `self` is whom id 0 means. */
NONNULL MUST_CHECK int clock_ref_of(int clock, struct clock_ref *ret);
NONNULL MUST_CHECK int clock_ref_read(const struct clock_ref *c, struct process *self,
                                      uint64_t *ret_ns);
/* When to look again, on the monotonic clock, whether `left` ns of c have passed. */
NONNULL uint64_t clock_ref_due(const struct clock_ref *c, uint64_t left);

/* A timer that repeats fires no more often, so that it leaves the CPU time for something else; what
 * it misses counts as overrun. */
enum { TIMER_PERIOD_MIN_NS = 50 * 1000 };

enum {
    ITIMER_REAL,
    ITIMER_VIRTUAL,
    ITIMER_PROF,
    ITIMER_CPU_LIMIT,
    ITIMERS,
    POSIX_TIMERS_MAX = 256
};

struct itimer { // protected by process_timers.lock
    struct ktimer timer;
    struct process *process;     // immutable
    uint64_t deadline, interval; // on its own clock; deadline 0: off
};

struct process_timers {
    struct spinlock lock;
    bool ended; // protected by lock: nothing is armed any more
    struct itimer itimers[ITIMERS];
    struct posix_timer *posix[POSIX_TIMERS_MAX]; // protected by lock
    int32_t overrun[POSIX_TIMERS_MAX];           // atomic: of the last signal taken
};

/* Those of the process, made at the first call. NULL: out of memory. */
NONNULL struct process_timers *process_timers(struct process *p);

/* The process ends: nothing fires any more after return. Exec: timer_create's are gone. */
NONNULL void timers_exit(struct process *p);
NONNULL void posix_timers_clear(struct process *p);
