// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Kernel memory. Everything allocated here is in the direct map and physically contiguous, so that
 * it can be given to a device: phys_of(). */
#include "base/base.h"
#include "base/list.h"

enum { PAGE_SHIFT = 12, PAGE_SIZE = 1 << PAGE_SHIFT, PAGE_ORDER_MAX = 10 };

/* From 16 bytes to 128 KiB, 16-byte aligned (a power of two >= 64 is aligned to itself, up to
 * 4096). NULL when memory is short: answer -ENOMEM. */
MUST_CHECK void *kmalloc(size_t bytes);
MUST_CHECK void *kzalloc(size_t bytes);
void kfree(void *p); // NULL is fine

/* One per page frame. */
struct page {
    uint32_t refs;    // atomic; 0: free
    uint8_t order;    // of the block, while free or allocated as a block
    uint8_t flags;    // private to mm
    uint16_t state;   // owner's; atomic
    struct list link; // owner's: free list, page cache ...
    void *owner;      // owner's: page cache object ...
    uint64_t index;   // owner's: page index in the file ...
};

/* 2^order pages, refs = 1, contents undefined (page_alloc_zero: zeroed). NULL when short. */
MUST_CHECK struct page *page_alloc(unsigned order);
MUST_CHECK struct page *page_alloc_zero(unsigned order);
NONNULL void page_get(struct page *p);
NONNULL void page_put(struct page *p); // frees at 0
NONNULL void *page_virt(const struct page *p);
NONNULL uint64_t page_phys(const struct page *p);
NONNULL struct page *page_of(const void *direct_map_address);
NONNULL uint64_t phys_of(const void *direct_map_address);
void *virt_of(uint64_t phys); // RAM only; device memory: mmio_map

/* Map device registers (uncached). phys and bytes need no alignment. NULL when out of room. */
MUST_CHECK volatile void *mmio_map(uint64_t phys, size_t bytes);

struct mem_stats {
    uint64_t total_bytes, free_bytes, cache_bytes; // cache: clean page cache that can be dropped
};
NONNULL void mem_stats_get(struct mem_stats *ret);

/* When memory is short the allocator asks these to give back about `pages` pages (the page cache
 * registers itself). Must not sleep, must not allocate. Returns how many it freed. */
struct shrinker {
    size_t (*shrink)(size_t pages);
    struct list link; // private
};
NONNULL void shrinker_register(struct shrinker *s);
