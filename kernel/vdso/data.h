// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The page that the kernel shows every program right before the vDSO's code. Written once. */
#include "base/base.h"

struct vdso_data {
    uint64_t tsc_start, mult; // arch/x86_64/clock.h: ns = (tsc - tsc_start) * mult >> 32
    uint64_t real_offset_ns;  // CLOCK_REALTIME - CLOCK_MONOTONIC
    uint32_t has_rdtscp;      // and IA32_TSC_AUX holds the number of the CPU
    uint32_t reserved;
};
