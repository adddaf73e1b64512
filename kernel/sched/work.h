// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Deferred work: what an interrupt or timer causes, run in work context (see sched/lock.h). Work
 * must not sleep. Raising work that is raised already is free; work raised while it runs runs
 * again. It never runs on two CPUs at once. */
#include "base/base.h"

struct work {
    void (*run)(struct work *w); // immutable
    struct work *next;           // protected by the CPU's work list
    uint32_t state;              // atomic, WORK_*
};

/* From any context, also interrupts. Runs on the raising CPU, or if it runs already there. */
NONNULL void work_raise(struct work *w);
