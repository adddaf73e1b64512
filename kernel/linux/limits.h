// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Resource limits (getrlimit(2)). */
#include "base/base.h"
#include "kernel/sched/task.h"

enum {
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_DATA,
    RLIMIT_STACK,
    RLIMIT_CORE,
    RLIMIT_RSS,
    RLIMIT_NPROC,
    RLIMIT_NOFILE,
    RLIMIT_MEMLOCK,
    RLIMIT_AS,
    RLIMIT_LOCKS,
    RLIMIT_SIGPENDING,
    RLIMIT_MSGQUEUE,
    RLIMIT_NICE,
    RLIMIT_RTPRIO,
    RLIMIT_RTTIME,
};

NONNULL struct rlimit rlimit_of(struct process *p, unsigned n);
/* A process with limits of another one's (fork) or a new address space (exec): tell those who
 * enforce them. */
NONNULL void limits_apply(struct process *p);

/* linux/itimer.c: RLIMIT_CPU of p has changed. */
NONNULL void cpu_limit_changed(struct process *p);
