// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Figures of CPUs, processes and limits, for /proc and /sys. */
#include "base/base.h"

struct process;
struct task;

unsigned stats_cpus(void);        // started ones, numbered from 0
uint64_t stats_cpu_busy_ns(void); // of all CPUs together, since boot: work for tasks
NONNULL uint64_t stats_process_ns(struct process *p); // CPU time of all its threads
/* The vendor, model and flags lines of /proc/cpuinfo, for one CPU. Returns the length. */
NONNULL size_t stats_cpu_text(char *to, size_t max);
/* Limit n of getrlimit(2): false behind the last one. */
NONNULL bool stats_rlimit(unsigned n, uint64_t *ret_soft, uint64_t *ret_hard);
