// SPDX-License-Identifier: Apache-2.0
#include "control/supervise.h"

#include "base/test.h"

static void test_start_health_stop(struct test *t)
{
    struct supervised s;
    supervise_init(&s, 1000);
    CHECK_EQ(t, supervise_step(&s, 1000), SUPERVISE_START);
    supervise_started(&s, 1000);
    CHECK_EQ(t, supervise_step(&s, 1100), SUPERVISE_NOTHING);
    CHECK_EQ(t, supervise_unhealthy_ms(&s, 1500), 500);
    supervise_checked(&s, true, 1500);
    CHECK(t, s.healthy && supervise_unhealthy_ms(&s, 9000) == 0);
    supervise_unwant(&s);
    CHECK_EQ(t, supervise_step(&s, 2000), SUPERVISE_STOP);
    CHECK_EQ(t, supervise_step(&s, 2001), SUPERVISE_NOTHING); // said once
    supervise_ended(&s, 2100);
    CHECK_EQ(t, supervise_step(&s, 2100), SUPERVISE_REMOVE);
}

static void test_back_off_doubles_up_to_its_bound(struct test *t)
{
    static const uint32_t waits[] = {200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    struct supervised s;
    uint64_t now = 0;
    supervise_init(&s, now);
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        CHECK_EQ(t, supervise_step(&s, now), SUPERVISE_START);
        supervise_started(&s, now);
        supervise_ended(&s, now);
        CHECK_EQ(t, s.failures, i + 1);
        CHECK_EQ(t, supervise_step(&s, now + waits[i] - 1), SUPERVISE_NOTHING);
        now += waits[i];
    }
}

static void test_failures_are_forgotten_after_calm(struct test *t)
{
    struct supervised s;
    supervise_init(&s, 0);
    supervise_started(&s, 0);
    supervise_ended(&s, 0);
    supervise_started(&s, 200);
    supervise_checked(&s, true, 300);
    supervise_ended(&s, 5000); // healthy, but not for long
    CHECK_EQ(t, s.failures, 2);
    supervise_started(&s, 6000);
    supervise_checked(&s, true, 6100);
    supervise_ended(&s, 6100 + SUPERVISE_CALM_MS);
    CHECK_EQ(t, s.failures, 1);
}

static void test_one_failed_check_is_no_illness(struct test *t)
{
    struct supervised s;
    supervise_init(&s, 0);
    supervise_started(&s, 0);
    supervise_checked(&s, true, 100);
    for (int i = 0; i < SUPERVISE_FALL - 1; i++)
        supervise_checked(&s, false, 200);
    CHECK(t, s.healthy);
    supervise_checked(&s, false, 300);
    CHECK(t, !s.healthy);
}

static void test_hung_one_is_killed(struct test *t)
{
    struct supervised s;
    supervise_init(&s, 0);
    supervise_started(&s, 0);
    supervise_checked(&s, true, 100);
    for (int i = 0; i < SUPERVISE_FALL; i++)
        supervise_checked(&s, false, 1000);
    CHECK_EQ(t, supervise_step(&s, 1000 + SUPERVISE_HUNG_MS - 1), SUPERVISE_NOTHING);
    CHECK_EQ(t, supervise_wait_ms(&s, 1000 + SUPERVISE_HUNG_MS - 1), 1);
    CHECK_EQ(t, supervise_step(&s, 1000 + SUPERVISE_HUNG_MS), SUPERVISE_KILL);
    CHECK_EQ(t, supervise_step(&s, 1001 + SUPERVISE_HUNG_MS), SUPERVISE_NOTHING);
    supervise_ended(&s, 1100 + SUPERVISE_HUNG_MS);
    CHECK_EQ(t, supervise_step(&s, 1300 + SUPERVISE_HUNG_MS), SUPERVISE_START);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_start_health_stop), TEST_CASE(test_back_off_doubles_up_to_its_bound),
        TEST_CASE(test_failures_are_forgotten_after_calm),
        TEST_CASE(test_one_failed_check_is_no_illness), TEST_CASE(test_hung_one_is_killed)};
    return test_main(cases, ARRAY_LEN(cases));
}
