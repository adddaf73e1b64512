// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Byte buffers of three sizes from free lists of one worker's own: the last one returned is the
 * next one given, so it is still in the cache. A connection that is idle holds none. */
#include "base/base.h"

enum {
    BUF_SMALL = 2048,
    BUF_MEDIUM = 20480, // a head of HTTP_HEAD_MAX with what we add
    BUF_LARGE = 98304,  // one read of RELAY_MAX with a head in front
    BUF_CLASSES = 3,
    BUF_KEEP = 256, // free buffers kept of each size
};

struct buf {
    struct buf *next;
    uint32_t class;
    uint32_t size;    // bytes in p
    uint32_t at, end; // p[at..end) is used
    char p[];
};

struct buf_pool {
    struct buf *free[BUF_CLASSES];
    unsigned free_n[BUF_CLASSES];
};

/* An empty buffer of at least size bytes (at most BUF_LARGE); NULL when memory is out. */
NONNULL struct buf *buf_take(struct buf_pool *pool, size_t size);
/* Give *b back, if there is one, and set it to NULL. */
NONNULL void buf_give(struct buf_pool *pool, struct buf **b);
NONNULL void buf_pool_deinit(struct buf_pool *pool);

NONNULL static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->at;
}

NONNULL static inline size_t buf_room(const struct buf *b)
{
    return b->size - b->end;
}
