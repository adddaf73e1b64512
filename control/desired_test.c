// SPDX-License-Identifier: Apache-2.0
#include "control/desired.h"

#include <errno.h>

#include "base/test.h"

#define DIGEST "sha256:0000000000000000000000000000000000000000000000000000000000000000"
#define INSTANCE(id)                                                                               \
    "{\"id\":\"" id "\",\"image\":\"" DIGEST "\",\"memory\":67108864,\"cpus\":1,\"port\":8080,"    \
    "\"health\":{\"protocol\":\"http\",\"path\":\"/\",\"interval_ms\":500,\"timeout_ms\":1000}}"

static int parse(const char *text, struct desired *d, struct err *e)
{
    json_t *j = json_loads(text, 0, NULL);
    int r = desired_parse(j, "r", d, e);
    json_decref(j);
    return r;
}

static void test_line(struct test *t)
{
    CLEANUP(desired_deinit) struct desired d = {0};
    struct err e = {0};
    CHECK_EQ(t,
             parse("{\"version\":7,\"region\":\"r\",\"future\":1,\"instances\":[" INSTANCE(
                       "a-1") "," INSTANCE("a-2") "]}",
                   &d, &e),
             0);
    CHECK(t, d.version == 7 && d.len == 2);
    CHECK(t, desired_find(&d, "a-2") == &d.instances[1] && desired_find(&d, "a-3") == NULL);
    CHECK(t, d.instances[0].port == 8080 && d.instances[0].health.interval_ms == 500);
}

static void test_bad_line_changes_nothing(struct test *t)
{
    static const char *const cases[] = {
        "[]",
        "{\"version\":1,\"region\":\"other\",\"instances\":[]}",
        "{\"version\":1,\"region\":\"r\"}",
        "{\"region\":\"r\",\"instances\":[]}",
        "{\"version\":1,\"region\":\"r\",\"instances\":[{}]}",
        "{\"version\":1,\"region\":\"r\",\"instances\":[" INSTANCE("../a") "]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct desired d = {.version = 99};
        struct err e = {0};
        CHECK(t, parse(cases[i], &d, &e) < 0);
        CHECK(t, d.version == 99 && d.instances == NULL);
    }
}

static bool taken(const void *ctx, uint32_t address)
{
    return address == *(const uint32_t *)ctx;
}

static bool all_taken(UNUSED const void *ctx, UNUSED uint32_t address)
{
    return true;
}

static void test_addresses_go_round(struct test *t)
{
    struct subnet s;
    struct err e = {0};
    char text[ADDRESS_MAX];
    CHECK_EQ(t, subnet_parse("10.80.2.0/27", "10.80.2.1", &s, &e), 0);
    uint32_t busy = address_of("10.80.2.11");
    address_text(subnet_take(&s, taken, &busy), text);
    CHECK_STR(t, text, "10.80.2.10");
    address_text(subnet_take(&s, taken, &busy), text);
    CHECK_STR(t, text, "10.80.2.12"); // .11 is taken
    for (int i = 13; i <= 30; i++)
        address_text(subnet_take(&s, taken, &busy), text);
    CHECK_STR(t, text, "10.80.2.30"); // .31 is the broadcast address
    address_text(subnet_take(&s, taken, &busy), text);
    CHECK_STR(t, text, "10.80.2.10");
    CHECK_EQ(t, subnet_take(&s, all_taken, NULL), 0);
}

static void test_bad_subnets(struct test *t)
{
    static const char *const cases[][2] = {
        {"10.80.2.0", "10.80.2.1"},     {"10.80.2.5/24", "10.80.2.1"},
        {"10.80.2.0/24", "10.80.3.1"},  {"10.80.2.0/30", "10.80.2.1"},
        {"10.80.2.0/24x", "10.80.2.1"}, {"x/24", "10.80.2.1"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct subnet s;
        struct err e = {0};
        CHECK_EQ(t, subnet_parse(cases[i][0], cases[i][1], &s, &e), -EINVAL);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_line), TEST_CASE(test_bad_line_changes_nothing),
        TEST_CASE(test_addresses_go_round), TEST_CASE(test_bad_subnets)};
    return test_main(cases, ARRAY_LEN(cases));
}
