// SPDX-License-Identifier: Apache-2.0
#pragma once
/* One-shot timers and clocks. Tickless: the hardware is armed for the earliest deadline only. */
#include "base/base.h"
#include "base/rbtree.h"

#define NS_PER_SEC     1000000000ull
#define DEADLINE_NEVER UINT64_MAX

uint64_t clock_mono_ns(void); // CLOCK_MONOTONIC: since boot
uint64_t clock_real_ns(void); // CLOCK_REALTIME: since 1970; boot time from skerry.epoch

/* Runs `run` in work context once clock_mono_ns() >= deadline. */
struct ktimer {
    void (*run)(struct ktimer *t);
    uint64_t deadline_ns; // immutable while armed
    struct rb_node node;  // private
    uint32_t cpu;         // private
    uint8_t state;        // private
};

NONNULL void ktimer_init(struct ktimer *t, void (*run)(struct ktimer *t));
/* Arm or re-arm. A deadline in the past fires at the next opportunity. */
NONNULL void ktimer_arm(struct ktimer *t, uint64_t deadline_ns);
/* Not armed any more, but a run may be in progress on another CPU: for use under a lock that the
 * run takes too. True when it was armed. */
NONNULL bool ktimer_stop(struct ktimer *t);
/* After return it is not armed and will not run; true when it was armed. From task context it also
 * waits for a run in progress on another CPU. */
NONNULL bool ktimer_cancel(struct ktimer *t);
