// SPDX-License-Identifier: Apache-2.0
#include "base/wheel.h"

#include "base/test.h"

enum { TIMERS = 200, STEPS = 20000 };

static uint64_t state = 1;

static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void test_fires_in_order_at_its_tick(struct test *t)
{
    static struct wheel w;
    static const uint64_t at[] = {5, 64, 63, 4097, 1000000, 70, 1ull << 40};
    struct wheel_timer timer[ARRAY_LEN(at)];
    wheel_init(&w, 0);
    CHECK(t, wheel_next(&w) == WHEEL_NEVER);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        wheel_timer_init(&timer[i]);
        wheel_arm(&w, &timer[i], at[i]);
    }
    uint64_t last = 0;
    for (size_t fired = 0; fired < ARRAY_LEN(at);) {
        uint64_t next = wheel_next(&w);
        CHECK(t, next != WHEEL_NEVER);
        struct wheel_timer *x = wheel_pop(&w, next);
        if (x == NULL)
            continue;
        CHECK_EQ(t, at[x - timer], next);
        CHECK(t, next > last);
        last = next;
        fired++;
    }
    CHECK(t, wheel_pop(&w, 1ull << 41) == NULL);
}

static void test_past_becomes_next_tick(struct test *t)
{
    static struct wheel w;
    struct wheel_timer timer;
    wheel_init(&w, 100);
    wheel_timer_init(&timer);
    wheel_arm(&w, &timer, 7);
    CHECK(t, wheel_pop(&w, 100) == NULL);
    CHECK(t, wheel_pop(&w, 101) == &timer);
    CHECK(t, wheel_pop(&w, 101) == NULL);
}

/* Random arming, moving and disarming, compared with a plain array. */
static void test_against_model(struct test *t)
{
    static struct wheel w;
    static struct wheel_timer timer[TIMERS];
    static uint64_t want[TIMERS];
    uint64_t now = rnd() >> 20;
    wheel_init(&w, now);
    for (size_t i = 0; i < TIMERS; i++) {
        wheel_timer_init(&timer[i]);
        want[i] = WHEEL_NEVER;
    }
    for (int step = 0; step < STEPS; step++) {
        size_t i = rnd() % TIMERS;
        if (rnd() % 4 == 0) {
            wheel_disarm(&w, &timer[i]);
            want[i] = WHEEL_NEVER;
        } else {
            want[i] = now + 1 + (rnd() >> (44 + rnd() % 20));
            wheel_arm(&w, &timer[i], want[i]);
        }
        uint64_t first = WHEEL_NEVER;
        for (size_t k = 0; k < TIMERS; k++)
            first = MIN(first, want[k]);
        CHECK(t, wheel_next(&w) <= first);
        now += rnd() >> (48 + rnd() % 16);
        struct wheel_timer *x;
        while ((x = wheel_pop(&w, now)) != NULL) {
            CHECK(t, want[x - timer] <= now);
            want[x - timer] = WHEEL_NEVER;
        }
        for (size_t k = 0; k < TIMERS; k++)
            CHECK(t, want[k] > now);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_fires_in_order_at_its_tick),
        TEST_CASE(test_past_becomes_next_tick),
        TEST_CASE(test_against_model),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
