// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Address spaces: VMA tree plus page tables. The interface that system calls, the loader and /proc
 * use. Lock order: mm->lock (mutex) -> page cache -> page tables' spinlock. */
#include "base/base.h"
#include "kernel/mm/kmem.h"

struct mm;
struct file;

enum { // as Linux PROT_*
    MM_READ = 1,
    MM_WRITE = 2,
    MM_EXEC = 4,
};

/* What /proc/self/maps shows of one mapping. */
struct vma_info {
    uint64_t start, end, offset;
    uint32_t prot;
    bool shared;
    const char *name; // path, "[heap]", "[stack]", "[vdso]" or ""
    uint64_t resident_bytes;
};
/* Calls fn for each mapping in address order until it returns non-zero; returns that or 0. */
NONNULL int mm_for_each(struct mm *mm, int (*fn)(const struct vma_info *v, void *ctx), void *ctx);

/* Memory is short: unmap private pages of files that were not written, so that the page cache can
 * drop them. True when there were some: try again. Takes mm->lock: not from within a fault. */
NONNULL bool mm_give_back(struct mm *mm);

/* Bytes of any address space, as its own program would read them: 0, -EFAULT, -ENOMEM. May sleep.
 */
NONNULL MUST_CHECK int mm_read(struct mm *mm, uint64_t from, void *to, size_t n);
void mm_put(struct mm *mm); // one user less; NULL is fine

struct mm_stats {
    uint64_t virtual_bytes, resident_bytes, data_bytes, stack_bytes, text_bytes;
};
NONNULL void mm_stats_get(struct mm *mm, struct mm_stats *ret);
