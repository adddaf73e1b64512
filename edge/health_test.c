// SPDX-License-Identifier: Apache-2.0
#include "edge/health.h"

#include "base/test.h"

static void test_first_success_is_enough(struct test *t)
{
    struct health h = {0};
    CHECK_EQ(t, health_interval(&h, 500), HEALTH_FIRST_MS);
    CHECK(t, !health_checked(&h, false, 2, 2));
    CHECK(t, health_checked(&h, true, 2, 2) && h.healthy);
    CHECK_EQ(t, health_interval(&h, 500), 500);
}

static void test_rise_and_fall(struct test *t)
{
    struct health h = {0};
    CHECK(t, health_checked(&h, true, 2, 3));
    CHECK(t, !health_checked(&h, false, 2, 3));
    CHECK_EQ(t, health_interval(&h, 500), HEALTH_SUSPECT_MS);
    CHECK(t, !health_checked(&h, true, 2, 3)); // starts anew
    CHECK(t, !health_checked(&h, false, 2, 3) && !health_checked(&h, false, 2, 3));
    CHECK(t, health_checked(&h, false, 2, 3) && !h.healthy);
    CHECK_EQ(t, health_interval(&h, 500), 500);
    CHECK(t, !health_checked(&h, true, 2, 3));
    CHECK_EQ(t, health_interval(&h, 500), HEALTH_SUSPECT_MS);
    CHECK(t, health_checked(&h, true, 2, 3) && h.healthy);
}

static void test_doubt(struct test *t)
{
    struct health h = {0};
    CHECK(t, !health_doubted(&h));
    CHECK(t, health_checked(&h, true, 2, 2));
    CHECK(t, health_doubted(&h) && !h.healthy);
    CHECK(t, !health_checked(&h, true, 2, 2));
    CHECK(t, health_checked(&h, true, 2, 2) && h.healthy);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_first_success_is_enough),
                                             TEST_CASE(test_rise_and_fall), TEST_CASE(test_doubt)};
    return test_main(cases, ARRAY_LEN(cases));
}
