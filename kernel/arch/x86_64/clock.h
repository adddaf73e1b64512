// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The TSC as a clock: ns = (ticks * mult) >> 32. Its two constants never change after boot, so that
 * every CPU and the vDSO may use them without a lock. */
#include "base/base.h"

struct clock_scale {
    uint64_t tsc_start;      // the kernel's first instruction: monotonic 0
    uint64_t mult;           // nanoseconds per tick, times 2^32
    uint64_t real_offset_ns; // realtime - monotonic
};
extern struct clock_scale clock_scale;

void clock_init(void); // needs apic_init_cpu and boot_params
uint64_t clock_tsc_at(uint64_t mono_ns);
uint64_t clock_tsc_khz(void);
