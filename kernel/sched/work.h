// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Deferred work: what an interrupt or timer causes, run in work context (see sched/lock.h). Work
 * must not sleep. Raising work that is raised already is free; work raised while it runs runs
 * again. */
#include "base/base.h"

struct work {
    void (*run)(struct work *w); // immutable
    struct work *next;           // protected by the CPU's work list
    uint32_t raised;             // atomic
};

/* From any context, also interrupts. Runs on the raising CPU. */
NONNULL void work_raise(struct work *w);
