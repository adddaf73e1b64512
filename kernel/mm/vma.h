// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The set of mappings of one address space: intervals that never overlap, ordered by address. Pure:
 * no locks, no allocation, no page tables; tested on the host. */
#include "base/base.h"
#include "base/rbtree.h"

struct file;

struct vma {
    struct rb_node node;
    uint64_t start, end; // end excluded; whole pages
    uint64_t offset;     // in the file, of start
    struct file *file;   // NULL: anonymous. The set's owner holds a reference for each vma
    const char *name;    // static text for /proc/self/maps, or NULL
    uint8_t prot;        // MM_*
    uint8_t max_prot;    // what mprotect may give
    bool shared;
    bool grows_down;
    uint8_t fork; // FORK_*
};

// What a fork makes of a mapping, if not a copy.
enum { FORK_NOT = 1, FORK_WIPE = 2 };

struct vma_set {
    struct rb_tree tree;
    unsigned count;
    uint64_t bytes;
    struct vma *last; // atomic: what vma_find_again found; NULL after a removal
};

/* The first mapping that ends above address (it may start above it too), or NULL. */
NONNULL struct vma *vma_find(const struct vma_set *s, uint64_t address);
/* The same, quicker when it is the mapping that the last such call found. */
NONNULL struct vma *vma_find_again(struct vma_set *s, uint64_t address);
NONNULL struct vma *vma_next(const struct vma *v);
NONNULL struct vma *vma_prev(const struct vma *v);
/* True when nothing is mapped in [start, end). */
NONNULL bool vma_free_range(const struct vma_set *s, uint64_t start, uint64_t end);

NONNULL void vma_insert(struct vma_set *s, struct vma *v); // asserts that its range is free
NONNULL void vma_remove(struct vma_set *s, struct vma *v);
/* Cut v at `at` (inside it): v keeps the lower part, *upper (the caller's storage) becomes the
 * rest and is inserted. Its file reference is the caller's to take. */
NONNULL void vma_split(struct vma_set *s, struct vma *v, uint64_t at, struct vma *upper);
NONNULL void vma_resize(struct vma_set *s, struct vma *v, uint64_t start, uint64_t end);
/* If v and the one before it could be one mapping, extend the one before, take v out of the set and
 * return true: v is the caller's to free, with its file reference. */
NONNULL bool vma_merge(struct vma_set *s, struct vma *v);

/* The highest free place of `bytes` in [low, high), or 0. */
NONNULL uint64_t vma_gap(const struct vma_set *s, uint64_t bytes, uint64_t low, uint64_t high);
