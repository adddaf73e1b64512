// SPDX-License-Identifier: Apache-2.0
#include "control/sight.h"

#include <errno.h>

#include "base/test.h"

static bool agent_says(struct sight *s, const char *text, uint64_t now)
{
    struct agent_report r;
    struct err e = {0};
    json_t *j = json_loads(text, 0, NULL);
    bool ok = agent_report_parse(j, &r, &e) == 0 && sight_agent(s, "r", &r, now) == 0;
    json_decref(j);
    return ok;
}

static bool pop_says(struct sight *s, const char *pop, const char *text, uint64_t now)
{
    struct edge_report r;
    struct err e = {0};
    json_t *j = json_loads(text, 0, NULL);
    bool ok = edge_report_parse(j, &r, &e) == 0 && sight_edge(s, pop, &r, now) == 0;
    json_decref(j);
    return ok;
}

static struct instance_seen look(const struct sight *s, enum instance_phase phase, uint64_t version,
                                 uint64_t now)
{
    struct instance_seen i = {.id = "a-1", .region = "r", .phase = phase};
    uint64_t unknown = 0;
    sight_look(s, &i, version, &unknown, now);
    return i;
}

#define POP(version, healthy, flight)                                                              \
    "{\"version\":" #version ",\"region\":\"r\",\"backbone\":\"10.0.0.1:7\",\"services\":["        \
    "{\"app\":\"a\",\"announced\":true,\"instances\":[{\"id\":\"a-1\",\"healthy\":" #healthy       \
    ",\"in_flight\":" #flight "}]}]}"

static void test_agent(struct test *t)
{
    CLEANUP(sight_deinit) struct sight s = {0};
    CHECK(t, !look(&s, PHASE_STARTING, 5, 100).agent_fresh);
    CHECK(t,
          agent_says(&s, "{\"version\":5,\"instances\":[{\"id\":\"a-1\",\"healthy\":true}]}", 100));
    struct instance_seen i = look(&s, PHASE_SERVING, 5, 200);
    CHECK(t, i.agent_fresh && i.healthy && !i.gone);
    CHECK(t, !look(&s, PHASE_SERVING, 5, 100 + SIGHT_FRESH_MS).agent_fresh);
    CHECK(t, agent_says(&s, "{\"version\":5,\"instances\":[]}", 300));
    CHECK(t, look(&s, PHASE_STOPPING, 5, 300).gone);
    CHECK(t, !look(&s, PHASE_STOPPING, 6, 300).gone); // it has not heard of that yet
}

static void test_known_needs_every_fresh_pop(struct test *t)
{
    CLEANUP(sight_deinit) struct sight s = {0};
    CHECK(t, look(&s, PHASE_SERVING, 5, 0).known); // no POP at all: nobody to tell
    CHECK(t, pop_says(&s, "p", POP(5, true, 0), 100));
    CHECK(t, look(&s, PHASE_SERVING, 5, 100).known);
    CHECK(t, pop_says(&s, "q", "{\"version\":5,\"region\":\"r\",\"services\":[]}", 100));
    CHECK(t, !look(&s, PHASE_SERVING, 5, 100).known);
    CHECK(t, pop_says(&s, "q", POP(5, true, 0), 2000));
    CHECK(t, look(&s, PHASE_SERVING, 5, 2000).known);
    CHECK(t, pop_says(&s, "q", POP(5, false, 0), 3000));
    CHECK(t, !look(&s, PHASE_SERVING, 5, 3000).known);
    // q is silent: p alone counts. Then nobody is there, and nothing is known.
    CHECK(t, pop_says(&s, "p", POP(5, true, 0), 6500));
    CHECK(t, look(&s, PHASE_SERVING, 5, 6500).known);
    struct instance_seen i = look(&s, PHASE_SERVING, 5, 20000);
    CHECK(t, !i.edges_fresh && !i.known && !i.drained);
}

static void test_own_region_judges(struct test *t)
{
    CLEANUP(sight_deinit) struct sight s = {0};
    static const char elsewhere[] = "{\"version\":%d,\"region\":\"far\",\"services\":[]}";
    char text[128];
    CHECK(t, pop_says(&s, "p", POP(5, true, 0), 100));
    snprintf(text, sizeof(text), elsewhere, 4);
    CHECK(t, pop_says(&s, "q", text, 100));
    CHECK(t, !look(&s, PHASE_SERVING, 5, 100).known); // q has not got that table yet
    snprintf(text, sizeof(text), elsewhere, 5);
    CHECK(t, pop_says(&s, "q", text, 100));
    CHECK(t, look(&s, PHASE_SERVING, 5, 100).known); // what q thinks of it does not matter
    CHECK(t, pop_says(&s, "q", text, 9000));
    struct instance_seen i = look(&s, PHASE_SERVING, 5, 9000); // p is silent
    CHECK(t, !i.edges_fresh && !i.known);
}

static void test_drained(struct test *t)
{
    CLEANUP(sight_deinit) struct sight s = {0};
    CHECK(t, pop_says(&s, "p", POP(5, true, 0), 100));
    CHECK(t, !look(&s, PHASE_DRAINING, 6, 100).drained); // that table is not applied yet
    CHECK(t, pop_says(&s, "p", POP(6, true, 2), 100));
    CHECK(t, !look(&s, PHASE_DRAINING, 6, 100).drained);
    CHECK(t, pop_says(&s, "p", POP(6, true, 0), 100));
    CHECK(t, look(&s, PHASE_DRAINING, 6, 100).drained);
}

static void test_remembered_pop_counts_until_it_is_stale(struct test *t)
{
    CLEANUP(sight_deinit) struct sight s = {0};
    CHECK_EQ(t, sight_expect_pop(&s, "p", "r", "10.0.0.1:7", 0), 0);
    struct instance_seen i = look(&s, PHASE_SERVING, 0, 100);
    CHECK(t, i.edges_fresh && !i.known && !i.drained);
    CHECK(t, !look(&s, PHASE_SERVING, 0, SIGHT_FRESH_MS).edges_fresh);
    CHECK_EQ(t, sight_forget_pops(&s, SIGHT_POP_FORGET_MS - 1), 0);
    CHECK_EQ(t, sight_forget_pops(&s, SIGHT_POP_FORGET_MS), 1);
}

static void test_announced(struct test *t)
{
    CLEANUP(sight_deinit) struct sight s = {0};
    CHECK(t, sight_announced(&s, "a", "r", 0));
    CHECK(t, pop_says(&s, "p", POP(5, true, 0), 0));
    CHECK(t, sight_announced(&s, "a", "r", 10));
    CHECK(t, sight_announced(&s, "a", "elsewhere", 10)); // no POP there: another one will do
    CHECK(t, !sight_announced(&s, "b", "r", 10));
    CHECK(t, !sight_announced(&s, "a", "r", SIGHT_FRESH_MS));
}

static void test_bad_reports(struct test *t)
{
    static const char *const cases[] = {
        "[]",
        "{\"instances\":[]}",
        "{\"version\":-1,\"instances\":[]}",
        "{\"version\":1,\"instances\":[{\"id\":\"a-1\"}]}",
        "{\"version\":1,\"instances\":[{\"id\":\"\",\"healthy\":true}]}",
        "{\"version\":1,\"services\":[]}",
        "{\"version\":1,\"region\":\"r\",\"services\":[{\"app\":\"a\"}]}",
        "{\"version\":1,\"region\":\"r\",\"services\":[{\"app\":\"a\",\"announced\":1}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct agent_report a = {0};
        struct edge_report b = {0};
        struct err e = {0};
        json_t *j = json_loads(cases[i], 0, NULL);
        int ra = i < 5 ? agent_report_parse(j, &a, &e) : -EINVAL;
        int rb = edge_report_parse(j, &b, &e);
        json_decref(j);
        CHECK(t, ra < 0 && rb < 0 && e.text[0] != '\0');
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_agent),
        TEST_CASE(test_known_needs_every_fresh_pop),
        TEST_CASE(test_own_region_judges),
        TEST_CASE(test_drained),
        TEST_CASE(test_remembered_pop_counts_until_it_is_stale),
        TEST_CASE(test_announced),
        TEST_CASE(test_bad_reports)};
    return test_main(cases, ARRAY_LEN(cases));
}
