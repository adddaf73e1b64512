// SPDX-License-Identifier: Apache-2.0
#include "provider/local/tsc.h"

#include <cpuid.h>
#include <time.h>

enum { SAMPLES = 16, BASELINE_NANOS = 10 * 1000 * 1000, OLD_NANOS = 1000 * 1000 * 1000 };

static uint64_t now_nanos(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The pair that was read with the least between its two halves. */
void tsc_sample_take(struct tsc_sample *ret)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < SAMPLES; i++) {
        uint64_t before = __builtin_ia32_rdtsc();
        uint64_t nanos = now_nanos();
        uint64_t after = __builtin_ia32_rdtsc();
        if (after - before < best) {
            best = after - before;
            *ret = (struct tsc_sample){.ticks = before + best / 2, .nanos = nanos};
        }
    }
}

static bool is_invariant(void)
{
    unsigned a, b, c, d; // AMD64 volume 3, CPUID Fn8000_0007 EDX bit 8
    return __get_cpuid(0x80000007, &a, &b, &c, &d) == 1 && (d & 1u << 8) != 0;
}

uint32_t tsc_khz_since(struct tsc_sample *start)
{
    if (!is_invariant())
        return 0;
    uint64_t passed = now_nanos() - start->nanos;
    if (passed > OLD_NANOS) {
        tsc_sample_take(start);
        passed = 0;
    }
    if (passed < BASELINE_NANOS) {
        struct timespec rest = {.tv_nsec = (long)(BASELINE_NANOS - passed)};
        nanosleep(&rest, NULL);
    }
    struct tsc_sample end;
    tsc_sample_take(&end);
    unsigned __int128 ticks = end.ticks - start->ticks;
    return (uint32_t)(ticks * 1000000u / (end.nanos - start->nanos));
}
