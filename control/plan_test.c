// SPDX-License-Identifier: Apache-2.0
#include "control/plan.h"

#include "base/test.h"

static struct app_spec example(void)
{
    return (struct app_spec){.app = "hello",
                             .digest = "sha256:0123456789abcdef",
                             .memory_bytes = 64 << 20,
                             .cpus = 1,
                             .instance_port = 8080,
                             .address = "10.0.0.1",
                             .port = 80,
                             .health = {.path = "/", .interval_ms = 500, .timeout_ms = 1000},
                             .regions = {{"r-a", 1}, {"r-b", 2}},
                             .regions_len = 2,
                             .surge = 1};
}

static void check_lines(struct test *t, const struct app_spec *have, const struct app_spec *want,
                        const char *expected)
{
    static struct plan_line lines[PLAN_LINES_MAX];
    char text[2048] = "";
    size_t len = 0;
    unsigned n = plan_compare(have, want, lines);
    for (unsigned i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%c %s\n", lines[i].sign,
                                lines[i].text);
    CHECK_STR(t, text, expected);
}

static void test_new_app(struct test *t)
{
    struct app_spec want = example();
    check_lines(t, NULL, &want,
                "+ app hello: http 10.0.0.1:80\n"
                "+ image sha256:0123456789ab, 64M of memory, port 8080\n"
                "+ region r-a: 1 instance\n"
                "+ region r-b: 2 instances\n");
}

static void test_no_change(struct test *t)
{
    struct app_spec want = example();
    check_lines(t, &want, &want, "");
}

static void test_changes(struct test *t)
{
    struct app_spec have = example(), want = example();
    snprintf(want.digest, sizeof(want.digest), "sha256:fedcba987654321");
    want.memory_bytes *= 2;
    want.port = 81;
    want.health.interval_ms = 250;
    want.surge = 2;
    want.regions[0].count = 3;
    want.regions[1] = (struct region_spec){"r-c", 1};
    check_lines(t, &have, &want,
                "~ image sha256:0123456789ab -> sha256:fedcba987654\n"
                "~ instance memory 64M -> 128M\n"
                "~ service http 10.0.0.1:80 -> http 10.0.0.1:81\n"
                "~ health / every 500 ms within 1000 ms -> / every 250 ms within 1000 ms\n"
                "~ rollout surge 1 unavailable 0 timeout 0 ms -> 2, 0, 0 ms\n"
                "~ region r-a: 1 -> 3 instances\n"
                "+ region r-c: 1 instance\n"
                "- region r-b: 2 instances\n");
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_new_app), TEST_CASE(test_no_change),
                                             TEST_CASE(test_changes)};
    return test_main(cases, ARRAY_LEN(cases));
}
