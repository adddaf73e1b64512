// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Page tables, four levels. A table is named by the physical address of its root. Nothing here
 * locks: the owner of the tables does. SDM volume 3, 4.5. */
#include "base/base.h"
#include "kernel/mm/kmem.h"

enum {
    PTE_PRESENT = 1 << 0,
    PTE_WRITE = 1 << 1,
    PTE_USER = 1 << 2,
    PTE_UNCACHED = 1 << 4,
    PTE_ACCESSED = 1 << 5,
    PTE_DIRTY = 1 << 6,
    PTE_LARGE = 1 << 7,
    PTE_GLOBAL = 1 << 8,
};
#define PTE_NX   (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

/* The entry for this address, NULL when a level is missing and `create` is false or memory is
 * short. */
uint64_t *pt_entry(uint64_t root, uint64_t address, bool create);

/* Calls leaf(entry, address, ctx) for every page in [start, end) whose entry is not 0, skipping
 * what is not there level by level. */
void pt_for_each(uint64_t root, uint64_t start, uint64_t end,
                 void (*leaf)(uint64_t *entry, uint64_t address, void *ctx), void *ctx);

/* Take out the tables that lie wholly in [start, end) of the user half; the pages are gone already.
 * The tables' pages go to `freed` (struct page.link): the caller's to put once no CPU remembers
 * them. */
void pt_free_tables(uint64_t root, uint64_t start, uint64_t end, struct list *freed);

/* A new root with the kernel's half in it, 0 when memory is short; and its end. */
MUST_CHECK uint64_t pt_root_new(void);
void pt_root_free(uint64_t root);

/* The kernel's own map. kmap_init makes the final one (W^X) from the memory map and switches to it.
 * Called once, before any page allocation. */
void kmap_init(void);
/* Map one page at VMAP. False when memory is short. */
MUST_CHECK bool kmap_page(uint64_t address, uint64_t phys, uint64_t flags);
void kmap_clear(uint64_t address);    // the caller flushes: tlb_flush_kernel
uint64_t kmap_phys(uint64_t address); // 0: not mapped
uint64_t pt_kernel_root(void);        // tables without any user half
