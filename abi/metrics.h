// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a guest says of itself when the host asks (BOOT_CONSOLE_METRICS): a line "metrics " on the
 * status channel with these bytes in hexadecimal, as they lie in memory (little-endian). `bytes`
 * says how many there are: only the CPUs that run are told. A later version only appends in front
 * of cpu_busy_ns and raises `version`. */
#include "base/base.h"

enum { METRICS_VERSION = 1, METRICS_CPUS_MAX = 64 };

struct guest_metrics {
    uint16_t version;
    uint16_t bytes;                         // of all that is told
    uint32_t cpus;                          // that run
    uint64_t uptime_ns;                     // since the kernel's first instruction
    uint64_t memory_bytes;                  // that the guest manages
    uint64_t free_bytes;                    // of them: that hold nothing
    uint64_t cache_bytes;                   // of them: files that can be read again
    uint32_t tasks;                         // threads of all processes
    uint32_t runnable;                      // of them: that run or want to
    uint64_t cpu_busy_ns[METRICS_CPUS_MAX]; // each CPU's time with a task
};
_Static_assert(sizeof(struct guest_metrics) == 48 + 8 * METRICS_CPUS_MAX, "no holes");
_Static_assert(offsetof(struct guest_metrics, cpu_busy_ns) == 48, "both sides agree");
