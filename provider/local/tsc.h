// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The frequency of the time stamp counter, which is the guest's too: KVM passes it through, and
 * TCG answers RDTSC with the host's (QEMU 7.2 softmmu/cpu-timers.c, cpu_get_ticks). */
#include "base/base.h"

struct tsc_sample {
    uint64_t ticks;
    uint64_t nanos; // CLOCK_MONOTONIC_RAW
};

NONNULL void tsc_sample_take(struct tsc_sample *ret);

/* kHz, measured since an earlier sample: waits until that is 10 ms ago, which makes the error some
 * 10 ppm, and takes *start anew when it is old, as the machine may have slept since. 0 when the
 * counter is not invariant. */
NONNULL uint32_t tsc_khz_since(struct tsc_sample *start);
