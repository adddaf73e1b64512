// SPDX-License-Identifier: Apache-2.0
#include "kernel/mm/buddy.h"

#include "base/mem.h"

enum { CHUNK = 1 << PAGE_ORDER_MAX };

static struct page *page_at(const struct buddy *b, uint64_t number)
{
    return &b->pages[number];
}

static uint64_t number_of(const struct buddy *b, const struct page *p)
{
    return (uint64_t)(p - b->pages);
}

void buddy_init(struct buddy *b, struct page *pages)
{
    *b = (struct buddy){.pages = pages};
    for (unsigned i = 0; i <= PAGE_ORDER_MAX; i++)
        list_init(&b->free[i]);
}

void buddy_add(struct buddy *b, uint64_t start, uint64_t end)
{
    ASSERT(start < end && b->range_count < BUDDY_RANGES_MAX);
    b->ranges[b->range_count++] = (struct buddy_range){.next = start, .end = end};
    b->total_pages += end - start;
    b->free_pages += end - start;
}

/* Put a free block on its list, joined with its free buddies. */
static void insert_free(struct buddy *b, uint64_t number, unsigned order)
{
    while (order < PAGE_ORDER_MAX) {
        uint64_t buddy = number ^ (1ull << order);
        struct page *p = page_at(b, buddy);
        if (p->flags != PAGE_FREE || p->order != order)
            break;
        list_remove(&p->link);
        p->flags = 0;
        number = MIN(number, buddy);
        order++;
    }
    struct page *p = page_at(b, number);
    p->flags = PAGE_FREE;
    p->order = (uint8_t)order;
    list_push_front(&b->free[order], &p->link);
}

/* Take the next block behind a frontier into use. False when there is none. */
static bool advance_frontier(struct buddy *b)
{
    for (unsigned i = 0; i < b->range_count; i++) {
        struct buddy_range *r = &b->ranges[i];
        if (r->next == r->end)
            continue;
        uint64_t chunk = ALIGN_DOWN(r->next, (uint64_t)CHUNK);
        uint64_t end = MIN(chunk + CHUNK, r->end);
        // Two ranges that share a chunk: only the first may clear its descriptions.
        uint64_t from = i > 0 && b->ranges[i - 1].end > chunk ? r->next : chunk;
        memset(page_at(b, from), 0, (chunk + CHUNK - from) * sizeof(struct page));
        for (uint64_t n = r->next; n < end;) {
            unsigned order = MIN((unsigned)__builtin_ctzll(n | CHUNK), (unsigned)PAGE_ORDER_MAX);
            while (n + (1ull << order) > end)
                order--;
            insert_free(b, n, order);
            n += 1ull << order;
        }
        r->next = end;
        return true;
    }
    return false;
}

struct page *buddy_alloc(struct buddy *b, unsigned order)
{
    ASSERT(order <= PAGE_ORDER_MAX);
    for (;;) {
        unsigned have = order;
        while (have <= PAGE_ORDER_MAX && list_empty(&b->free[have]))
            have++;
        if (have > PAGE_ORDER_MAX) {
            if (!advance_frontier(b))
                return NULL;
            continue;
        }
        struct page *p = LIST_ENTRY(list_pop_front(&b->free[have]), struct page, link);
        while (have > order) { // give the upper halves back
            have--;
            struct page *upper = p + (1u << have);
            upper->flags = PAGE_FREE;
            upper->order = (uint8_t)have;
            list_push_front(&b->free[have], &upper->link);
        }
        *p = (struct page){.refs = 1, .order = (uint8_t)order};
        list_init(&p->link);
        b->free_pages -= 1ull << order;
        return p;
    }
}

void buddy_free(struct buddy *b, struct page *p)
{
    ASSERT(p->refs == 0 && p->flags != PAGE_FREE);
    p->flags = 0;
    b->free_pages += 1ull << p->order;
    insert_free(b, number_of(b, p), p->order);
}
