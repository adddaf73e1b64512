// SPDX-License-Identifier: Apache-2.0
#include "kernel/mm/vma.h"

#include <stdlib.h>

#include "base/test.h"

enum { P = 4096, SLOTS = 256, ROUNDS = 20000 };

static struct vma *map(struct vma_set *s, unsigned first, unsigned count, uint8_t prot)
{
    struct vma *v = calloc(1, sizeof(*v));
    v->start = first * (uint64_t)P;
    v->end = v->start + count * (uint64_t)P;
    v->prot = prot;
    vma_insert(s, v);
    return v;
}

static void clear(struct vma_set *s)
{
    for (struct vma *v; (v = vma_find(s, 0)) != NULL;) {
        vma_remove(s, v);
        free(v);
    }
}

static void test_find(struct test *t)
{
    struct vma_set s = {0};
    struct vma *a = map(&s, 10, 5, 1), *b = map(&s, 20, 1, 1);
    CHECK(t, vma_find(&s, 0) == a && vma_find(&s, 14 * P + 1) == a);
    CHECK(t, vma_find(&s, 15 * P) == b && vma_find(&s, 21 * P) == NULL);
    CHECK(t, vma_free_range(&s, 15 * P, 20 * P) && !vma_free_range(&s, 14 * P, 20 * P));
    CHECK(t, vma_next(a) == b && vma_prev(b) == a && s.bytes == 6 * P);
    CHECK(t, vma_find_again(&s, 12 * P) == a && vma_find_again(&s, 13 * P) == a);
    CHECK(t, vma_find_again(&s, 15 * P) == b && vma_find_again(&s, 20 * P) == b);
    vma_remove(&s, b);
    CHECK(t, vma_find_again(&s, 20 * P) == NULL);
    free(b);
    clear(&s);
}

static void test_gap(struct test *t)
{
    struct vma_set s = {0};
    CHECK_EQ(t, vma_gap(&s, 2 * P, P, 100 * P), 98 * P);
    map(&s, 90, 5, 1);
    CHECK_EQ(t, vma_gap(&s, 5 * P, P, 100 * P), 95 * P);
    CHECK_EQ(t, vma_gap(&s, 6 * P, P, 100 * P), 84 * P);
    CHECK_EQ(t, vma_gap(&s, 2 * P, P, 92 * P), 88 * P); // high lies inside a mapping
    CHECK_EQ(t, vma_gap(&s, 90 * P, P, 100 * P), 0);
    CHECK_EQ(t, vma_gap(&s, 89 * P, P, 100 * P), P);
    clear(&s);
}

static void test_split_merge(struct test *t)
{
    struct vma_set s = {0};
    struct vma *a = map(&s, 10, 10, 3), *upper = calloc(1, sizeof(*upper));
    a->file = (struct file *)(void *)&s;
    a->offset = 7 * P;
    vma_split(&s, a, 14 * P, upper);
    CHECK(t, a->end == 14 * P && upper->start == 14 * P && upper->offset == 11 * P);
    CHECK(t, s.count == 2 && s.bytes == 10 * P);
    upper->prot = 1;
    CHECK(t, !vma_merge(&s, upper));
    upper->prot = 3;
    upper->offset++;
    CHECK(t, !vma_merge(&s, upper));
    upper->offset--;
    CHECK(t, vma_merge(&s, upper));
    CHECK(t, a->end == 20 * P && s.count == 1 && s.bytes == 10 * P);
    free(upper);
    clear(&s);
}

static unsigned next_random(void)
{
    static uint64_t state = 3;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(state >> 33);
}

/* Against a plain array of pages. */
static void test_model(struct test *t)
{
    struct vma_set s = {0};
    bool model[SLOTS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        unsigned first = next_random() % SLOTS, count = 1 + next_random() % 16;
        if (first + count > SLOTS)
            continue;
        bool is_free = true;
        for (unsigned i = first; i < first + count; i++)
            is_free &= !model[i];
        CHECK_EQ(t, vma_free_range(&s, first * P, (first + count) * P), is_free);
        if (is_free) {
            struct vma *v = map(&s, first, count, 1);
            if (vma_merge(&s, v))
                free(v);
        } else { // cut [first, first + count) out
            uint64_t start = first * (uint64_t)P, end = start + count * (uint64_t)P;
            for (struct vma *v; (v = vma_find(&s, start)) != NULL && v->start < end;) {
                struct vma *upper = calloc(1, sizeof(*upper));
                if (v->start < start) {
                    vma_split(&s, v, start, upper);
                } else if (v->end > end) {
                    vma_split(&s, v, end, upper);
                } else {
                    free(upper);
                    vma_remove(&s, v);
                    free(v);
                }
            }
        }
        for (unsigned i = first; i < first + count; i++)
            model[i] = is_free;
        uint64_t want = 0, gap = 0, run = 0;
        for (unsigned i = 0; i < SLOTS; i++) {
            want += model[i] ? P : 0;
            run = model[i] ? 0 : run + 1;
            if (run >= 5)
                gap = (i + 1 - 5) * (uint64_t)P;
        }
        CHECK_EQ(t, s.bytes, want);
        CHECK_EQ(t, vma_gap(&s, 5 * P, 0, SLOTS * P), gap);
    }
    clear(&s);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_find), TEST_CASE(test_gap),
                                             TEST_CASE(test_split_merge), TEST_CASE(test_model)};
    return test_main(cases, ARRAY_LEN(cases));
}
