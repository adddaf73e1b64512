// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The page allocator's core: a binary buddy over an array of struct page. Pure (no locks, no
 * hardware), so that it is tested on the host; mm/page.c wraps it.
 *
 * Ranges of memory are taken into use one largest block at a time, the lowest first: pages behind
 * that frontier are never touched, nor are their struct pages, so that start-up costs nothing a
 * page and an idle guest's memory stays the host's. */
#include "base/base.h"
#include "kernel/mm/kmem.h"

enum { BUDDY_RANGES_MAX = 16, PAGE_FREE = 1, PAGE_SLAB = 2 }; // PAGE_*: struct page.flags

struct buddy_range {
    uint64_t next, end; // page numbers; next: the frontier
};

struct buddy {
    struct page *pages; // by page number; borrowed
    struct list free[PAGE_ORDER_MAX + 1];
    struct buddy_range ranges[BUDDY_RANGES_MAX];
    unsigned range_count;
    uint64_t total_pages, free_pages; // free ones behind the frontier included
};

/* pages[n] describes page number n for every n of every range added, rounded outwards to blocks of
 * 2^PAGE_ORDER_MAX; its contents may be anything. */
NONNULL void buddy_init(struct buddy *b, struct page *pages);
NONNULL void buddy_add(struct buddy *b, uint64_t start, uint64_t end); // page numbers, end excluded
/* 2^order pages with refs = 1, or NULL. */
NONNULL MUST_CHECK struct page *buddy_alloc(struct buddy *b, unsigned order);
NONNULL void buddy_free(struct buddy *b, struct page *p); // by its order; refs are 0
