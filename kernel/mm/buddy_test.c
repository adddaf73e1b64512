// SPDX-License-Identifier: Apache-2.0
#include "kernel/mm/buddy.h"

#include <stdlib.h>

#include "base/test.h"

enum { PAGES = 8192, HELD_MAX = 600, ROUNDS = 30000 };

static struct page *pages_new(void)
{
    struct page *pages = malloc(PAGES * sizeof(*pages));
    memset(pages, 0xa5, PAGES * sizeof(*pages)); // the allocator may not trust what is there
    return pages;
}

static unsigned next_random(void)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33);
}

/* Random blocks never overlap, never leave the ranges, and all come together again at the end. */
static void test_random(struct test *t)
{
    struct page *pages = pages_new();
    static uint8_t owner[PAGES];
    static struct page *held[HELD_MAX];
    struct buddy b;
    buddy_init(&b, pages);
    buddy_add(&b, 1500, 2100);
    buddy_add(&b, 2110, 7001);
    memset(owner, 0, sizeof(owner));
    const uint64_t total = 600 + 4891;
    CHECK_EQ(t, b.free_pages, total);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned slot = next_random() % HELD_MAX;
        if (held[slot] != NULL) {
            uint64_t n = (uint64_t)(held[slot] - pages);
            memset(owner + n, 0, 1u << held[slot]->order);
            held[slot]->refs = 0;
            buddy_free(&b, held[slot]);
            held[slot] = NULL;
            continue;
        }
        unsigned order = next_random() % 8 == 0 ? next_random() % 9 : next_random() % 3;
        struct page *p = buddy_alloc(&b, order);
        if (p == NULL)
            continue;
        uint64_t n = (uint64_t)(p - pages), end = n + (1u << order);
        CHECK(t, (n >= 1500 && end <= 2100) || (n >= 2110 && end <= 7001));
        CHECK(t, n % (1u << order) == 0 && p->refs == 1);
        for (uint64_t i = n; i < end; i++) {
            CHECK(t, !owner[i]);
            owner[i] = 1;
        }
        held[slot] = p;
    }
    for (unsigned i = 0; i < HELD_MAX; i++) {
        if (held[i] == NULL)
            continue;
        held[i]->refs = 0;
        buddy_free(&b, held[i]);
        held[i] = NULL;
    }
    CHECK_EQ(t, b.free_pages, total);
    CHECK(t, buddy_alloc(&b, PAGE_ORDER_MAX) != NULL); // nothing stayed in pieces
    free(pages);
}

static void test_exhaust(struct test *t)
{
    struct page *pages = pages_new();
    struct buddy b;
    buddy_init(&b, pages);
    buddy_add(&b, 3, 1030);
    for (int i = 0; i < 1027; i++)
        CHECK(t, buddy_alloc(&b, 0) != NULL);
    CHECK(t, buddy_alloc(&b, 0) == NULL);
    CHECK_EQ(t, b.free_pages, 0);
    free(pages);
}

static void test_frontier_is_lazy(struct test *t)
{
    struct page *pages = pages_new();
    struct buddy b;
    buddy_init(&b, pages);
    buddy_add(&b, 0, PAGES);
    CHECK(t, buddy_alloc(&b, 0) != NULL);
    CHECK_EQ(t, pages[2048].flags, 0xa5); // not described before it is needed
    free(pages);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_random), TEST_CASE(test_exhaust),
                                             TEST_CASE(test_frontier_is_lazy)};
    return test_main(cases, ARRAY_LEN(cases));
}
