// SPDX-License-Identifier: Apache-2.0
#include "lab/tally.h"

#include <errno.h>

#include "base/test.h"

#define MS 1000000ULL

static uint32_t times[TALLY_TIMES_MAX];

static void answer_at(struct tally *t, uint64_t at_ms, const char *pop, const char *body,
                      unsigned status)
{
    struct answer a = {.status = status, .body = body, .body_len = strlen(body)};
    snprintf(a.pop, sizeof(a.pop), "%s", pop);
    tally_add(t, &(struct fetch_done){.sent_ns = (at_ms - 10) * MS,
                                      .first_byte_ns = (at_ms - 5) * MS,
                                      .done_ns = at_ms * MS,
                                      .answer = &a});
}

static void test_gap_and_changes(struct test *t)
{
    struct tally y;
    tally_init(&y, 1000 * MS, times);
    answer_at(&y, 1020, "london", "one\n", 200);
    answer_at(&y, 1040, "london", "one", 200);
    tally_add(&y, &(struct fetch_done){.done_ns = 1300 * MS, .error = -ETIMEDOUT});
    answer_at(&y, 1400, "mumbai", "two", 200);
    answer_at(&y, 1410, "mumbai", "sorry", 503);
    tally_end(&y);
    CHECK_EQ(t, y.sent, 5);
    CHECK_EQ(t, y.failed, 2);
    CHECK_EQ(t, y.gap_ns, 360 * MS);
    CHECK_EQ(t, y.gap_at_ns, 40 * MS);
    CHECK_EQ(t, y.changes_len, 2);
    CHECK_STR(t, y.changes[1].pop, "mumbai");
    CHECK_EQ(t, y.changes[1].at_ns, 400 * MS);
    CHECK_EQ(t, y.bodies.len, 2);
    CHECK_EQ(t, y.bodies.name[0].count, 2);
    CHECK_STR(t, y.errors.name[0].text, "timed out");
    CHECK_STR(t, y.errors.name[1].text, "status 503");
    json_t *j = tally_json(&y);
    CHECK(t, j != NULL);
    CHECK_EQ(t, json_integer_value(json_object_get(json_object_get(j, "pops"), "london")), 2);
    json_decref(j);
}

static void test_silence_to_the_end_counts(struct test *t)
{
    struct tally y;
    tally_init(&y, 0, times);
    answer_at(&y, 20, "", "x", 200);
    tally_add(&y,
              &(struct fetch_done){.sent_ns = 40 * MS, .done_ns = 5000 * MS, .error = -ETIMEDOUT});
    tally_end(&y);
    CHECK_EQ(t, y.gap_ns, 4980 * MS);
    tally_init(&y, 0, times);
    answer_at(&y, 20, "", "x", 200);
    tally_end(&y);
    CHECK_EQ(t, y.gap_ns, 20 * MS);
}

static void test_many_bodies(struct test *t)
{
    struct tally y;
    tally_init(&y, 0, times);
    for (unsigned i = 0; i < 100; i++) {
        char body[16];
        snprintf(body, sizeof(body), "body %u", i);
        answer_at(&y, 20 + i, "x", body, 200);
    }
    CHECK_EQ(t, y.bodies.len, TALLY_NAMES_MAX);
    CHECK_STR(t, y.bodies.name[TALLY_NAMES_MAX - 1].text, "other");
    CHECK_EQ(t, y.bodies.name[TALLY_NAMES_MAX - 1].count, 100 - (TALLY_NAMES_MAX - 1));
}

// One request hangs while all others are answered: that is no silence.
static void test_one_late_failure_is_no_silence(struct test *t)
{
    struct tally y;
    tally_init(&y, 0, times);
    answer_at(&y, 20, "", "x", 200);
    answer_at(&y, 60, "", "x", 200);
    tally_add(&y,
              &(struct fetch_done){.sent_ns = 40 * MS, .done_ns = 5040 * MS, .error = -ETIMEDOUT});
    tally_end(&y);
    CHECK_EQ(t, y.failed, 1);
    CHECK_EQ(t, y.gap_ns, 40 * MS);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_gap_and_changes),
        TEST_CASE(test_silence_to_the_end_counts),
        TEST_CASE(test_one_late_failure_is_no_silence),
        TEST_CASE(test_many_bodies),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
