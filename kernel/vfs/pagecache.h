// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The pages of one object: a file of the tree or the root's block device. Pages come from the disk
 * (clean: can be dropped and read again) or were written (dirty: they are the only copy and stay).
 * Data is read by the device straight into the cache page.
 *
 * Locks: pagecache.lock protects the tree of pages, it is a leaf but for lru_lock, which the
 * shrinker takes first (and then only tries pagecache.lock). No lock is held across I/O. */
#include "base/base.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/wait.h"

struct block_dev;

// struct page.state of a cached page.
enum {
    PG_UPTODATE = 1, // holds the data
    PG_DIRTY = 2,    // the only copy: not dropped
    PG_READING = 4,  // a request is under way; wait for the end
    PG_ERROR = 8,    // reading failed
    PG_USED = 16,    // looked up since the shrinker last saw it
    PG_LRU = 32,     // on the list of pages that may be dropped
    PG_AHEAD = 64,   // who comes here in order wants more soon: read ahead
};

struct pagecache {
    struct spinlock lock;
    void *root;      // protected by lock: a page (height 0) or a node; NULL when empty
    unsigned height; // protected by lock
    uint64_t dirty;  // protected by lock: pages
    struct waitq wait;

    // Where clean pages come from; immutable but for disk_bytes. dev NULL: nowhere.
    struct block_dev *dev;
    uint64_t data_at;     // byte of the device where page 0 is, a multiple of PAGE_SIZE
    uint64_t plain_bytes; // bytes that lie there
    uint64_t tail_at;     // byte of the device where the rest (less than a page) is
    struct pagecache *meta;
    uint64_t disk_bytes; // bytes below it that are not in the cache are on the disk; else zero

    uint64_t read_next; // index that a sequential reader asks for next; a hint, unlocked
    uint32_t read_window;
    void (*io_begin)(struct pagecache *pc); // keeps the object while a request is under way
    void (*io_end)(struct pagecache *pc);   // work context
};

NONNULL void pagecache_init(struct pagecache *pc);
/* Drop all pages; nobody may use the object any more. */
NONNULL void pagecache_deinit(struct pagecache *pc);

/* The page at index with a reference, read from the disk if need be. 0; -ENOENT: it is not in the
 * cache and not on the disk (zeroes); -EIO; -ENOMEM. Task context. */
NONNULL MUST_CHECK int pagecache_get(struct pagecache *pc, uint64_t index, struct page **ret);

/* Start reading the pages first..end-1 that lie on the disk, as far as memory allows without giving
 * anything up; does not wait. */
NONNULL void pagecache_prefetch(struct pagecache *pc, uint64_t first, uint64_t end);

/* The same for writing: the page is made when it is not there and is dirty on return; *ret_new says
 * that it was not dirty before. `whole`: the caller overwrites all of it, so that it need not be
 * read (a new page is zeroed all the same). */
NONNULL MUST_CHECK int pagecache_get_dirty(struct pagecache *pc, uint64_t index, bool whole,
                                           struct page **ret, bool *ret_new);

/* Drop the pages first..last, dirty ones too: how many dirty ones there were. */
NONNULL uint64_t pagecache_drop(struct pagecache *pc, uint64_t first, uint64_t last);

/* First index >= from that is in the cache, or UINT64_MAX. */
NONNULL uint64_t pagecache_next(struct pagecache *pc, uint64_t from);

void pagecache_module_init(void); // registers the shrinker
