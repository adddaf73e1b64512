// SPDX-License-Identifier: Apache-2.0
#include "lab/link.h"

#include "base/test.h"

#define MS 1000000ULL

static void test_delay_alone(struct test *t)
{
    struct link_config c = {.delay_ns = 70 * MS};
    struct link_state s;
    uint64_t at = 0;
    link_init(&s, 1);
    CHECK_EQ(t, link_enter(&s, &c, 5 * MS, 1500, &at), LINK_ARRIVES);
    CHECK_EQ(t, at, 75 * MS);
    CHECK_EQ(t, link_enter(&s, &c, 5 * MS, 65000, &at), LINK_ARRIVES);
    CHECK_EQ(t, at, 75 * MS);
}

static void test_rate_spaces_packets(struct test *t)
{
    // 12 Mbit/s: 1500 bytes take 1 ms.
    struct link_config c = {.delay_ns = 10 * MS, .rate_bps = 12000000, .queue_bytes = 1000000};
    struct link_state s;
    uint64_t at = 0;
    link_init(&s, 1);
    for (unsigned i = 1; i <= 10; i++) {
        CHECK_EQ(t, link_enter(&s, &c, 0, 1500, &at), LINK_ARRIVES);
        CHECK_EQ(t, at, (10 + i) * MS);
    }
    CHECK_EQ(t, link_backlog(&s, &c, 4 * MS), 6 * 1500);
    CHECK_EQ(t, link_backlog(&s, &c, 10 * MS), 0);
    CHECK_EQ(t, link_enter(&s, &c, 50 * MS, 1500, &at), LINK_ARRIVES);
    CHECK_EQ(t, at, 61 * MS);
}

static void test_queue_is_bounded(struct test *t)
{
    struct link_config c = {.rate_bps = 12000000, .queue_bytes = 4500};
    struct link_state s;
    uint64_t at = 0;
    link_init(&s, 1);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(t, link_enter(&s, &c, 0, 1500, &at), LINK_ARRIVES);
    CHECK_EQ(t, link_enter(&s, &c, 0, 1500, &at), LINK_QUEUE_FULL);
    CHECK_EQ(t, link_enter(&s, &c, 1 * MS, 1500, &at), LINK_ARRIVES);
    CHECK_EQ(t, at, 4 * MS);
    // A packet larger than the queue passes an idle link.
    CHECK_EQ(t, link_enter(&s, &c, 100 * MS, 60000, &at), LINK_ARRIVES);
    CHECK_EQ(t, link_enter(&s, &c, 100 * MS, 1, &at), LINK_QUEUE_FULL);
}

static void test_loss_is_as_asked_and_seeded(struct test *t)
{
    struct link_config c = {.loss_ppm = 20000};
    struct link_state a, b, other;
    unsigned lost = 0, differs = 0;
    link_init(&a, 7);
    link_init(&b, 7);
    link_init(&other, 8);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t at;
        enum link_fate fate = link_enter(&a, &c, i, 100, &at);
        CHECK_EQ(t, fate, link_enter(&b, &c, i, 100, &at));
        differs += fate != link_enter(&other, &c, i, 100, &at);
        lost += fate == LINK_LOST;
    }
    CHECK(t, lost > 1800 && lost < 2200); // 2000 expected, sigma 44
    CHECK(t, differs > 3000);
    c.loss_ppm = 1000000;
    CHECK_EQ(t, link_enter(&a, &c, 200000, 100, &(uint64_t){0}), LINK_LOST);
}

static void test_jitter_keeps_order_unless_asked(struct test *t)
{
    struct link_config c = {.delay_ns = 10 * MS, .jitter_ns = 5 * MS};
    struct link_state s;
    unsigned backwards = 0;
    for (unsigned round = 0; round < 2; round++) {
        uint64_t last = 0;
        link_init(&s, 3);
        c.reorder = round == 1;
        for (uint64_t now = 0; now < 1000 * MS; now += MS) {
            uint64_t at = 0;
            CHECK_EQ(t, link_enter(&s, &c, now, 100, &at), LINK_ARRIVES);
            CHECK(t, at >= now + 10 * MS);
            CHECK(t, at <= now + 15 * MS || round == 0);
            CHECK(t, at <= now + 20 * MS);
            backwards += at < last;
            last = at;
        }
        CHECK(t, (backwards > 0) == (round == 1));
    }
}

static void test_cut(struct test *t)
{
    struct link_config c = {.cut = true, .rate_bps = 1000, .queue_bytes = 1000};
    struct link_state s;
    uint64_t at = 42;
    link_init(&s, 1);
    CHECK_EQ(t, link_enter(&s, &c, 0, 100, &at), LINK_CUT);
    CHECK_EQ(t, at, 42);
    c.cut = false;
    CHECK_EQ(t, link_enter(&s, &c, 0, 125, &at), LINK_ARRIVES);
    CHECK_EQ(t, at, 1000 * MS);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_delay_alone),
        TEST_CASE(test_rate_spaces_packets),
        TEST_CASE(test_queue_is_bounded),
        TEST_CASE(test_loss_is_as_asked_and_seeded),
        TEST_CASE(test_jitter_keeps_order_unless_asked),
        TEST_CASE(test_cut),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
