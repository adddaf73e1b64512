// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What CPUs remember of page tables. A CPU is in the mask of an address space while it may hold
 * translations of it: from the load of its tables until the load of others. Changing an entry comes
 * first, then the flush, then freeing what the entry led to. */
#include "base/base.h"

/* Every CPU of the mask forgets [start, end) of these tables before this returns. Task context. */
NONNULL void tlb_flush(const uint64_t *cpus, uint64_t root, uint64_t start, uint64_t end);
/* The same for the kernel's half, on all CPUs. */
void tlb_flush_kernel(uint64_t start, uint64_t end);
/* Load tables on this CPU, which leaves the mask of the old ones (NULL: none) and enters the new.
 */
void tlb_load(uint64_t *old_cpus, uint64_t *new_cpus, uint64_t root);
