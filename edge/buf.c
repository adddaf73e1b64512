// SPDX-License-Identifier: Apache-2.0
#include "edge/buf.h"

#include <stdlib.h>

static const uint32_t sizes[BUF_CLASSES] = {BUF_SMALL, BUF_MEDIUM, BUF_LARGE};

struct buf *buf_take(struct buf_pool *pool, size_t size)
{
    ASSERT(size <= BUF_LARGE);
    uint32_t class = size <= BUF_SMALL ? 0 : size <= BUF_MEDIUM ? 1 : 2;
    struct buf *b = pool->free[class];
    if (b != NULL) {
        pool->free[class] = b->next;
        pool->free_n[class]--;
    } else {
        b = malloc(sizeof(*b) + sizes[class]);
        if (b == NULL)
            return NULL;
        b->class = class;
        b->size = sizes[class];
    }
    b->next = NULL;
    b->at = b->end = 0;
    return b;
}

void buf_give(struct buf_pool *pool, struct buf **at)
{
    struct buf *b = *at;
    *at = NULL;
    if (b == NULL)
        return;
    if (pool->free_n[b->class] >= BUF_KEEP) {
        free(b);
        return;
    }
    b->next = pool->free[b->class];
    pool->free[b->class] = b;
    pool->free_n[b->class]++;
}

void buf_pool_deinit(struct buf_pool *pool)
{
    for (unsigned i = 0; i < BUF_CLASSES; i++)
        while (pool->free[i] != NULL) {
            struct buf *b = pool->free[i];
            pool->free[i] = b->next;
            free(b);
        }
}
