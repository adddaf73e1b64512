// SPDX-License-Identifier: Apache-2.0
/* Single decisions; whole worlds are in tests/sim/reconcile_sim.c. */
#include "control/reconcile.h"

#include "base/test.h"

static const struct region_spec one_region[] = {{"r", 1}}, two_of[] = {{"r", 2}};

static struct app_want want_of(const struct region_spec *regions, const char *target,
                               const char *stable)
{
    struct app_want w = {.regions = regions, .regions_len = 1, .surge = 1, .timeout_ms = 10000};
    snprintf(w.target, sizeof(w.target), "%s", target);
    snprintf(w.stable, sizeof(w.stable), "%s", stable);
    return w;
}

static struct instance_seen seen_of(const char *version, enum instance_phase phase, bool ready)
{
    struct instance_seen i = {.id = "i",
                              .region = "r",
                              .phase = phase,
                              .agent_fresh = true,
                              .healthy = ready,
                              .edges_fresh = true,
                              .known = ready};
    snprintf(i.version, sizeof(i.version), "%s", version);
    return i;
}

// "create stop0 ..." of what is decided.
static const char *decide(const struct app_want *w, const struct instance_seen *seen, uint32_t n,
                          uint64_t now)
{
    static const char *const names[] = {"create", "serve",   "drain", "stop",
                                        "forget", "promote", "fail",  "end"};
    static struct action actions[RECONCILE_ACTIONS_MAX];
    static char text[512];
    size_t len = 0;
    text[0] = '\0';
    unsigned todo = reconcile(w, seen, n, now, actions);
    for (unsigned i = 0; i < todo; i++) {
        enum action_kind k = actions[i].kind;
        bool plain = k == ACTION_CREATE || k == ACTION_PROMOTE || k == ACTION_END;
        len += (size_t)snprintf(text + len, sizeof(text) - len, i > 0 ? " %s" : "%s", names[k]);
        if (!plain)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%u", actions[i].instance);
    }
    return text;
}

static void test_first_instance(struct test *t)
{
    struct app_want w = want_of(one_region, "v1", "");
    CHECK_STR(t, decide(&w, NULL, 0, 0), "create");
    struct instance_seen i = seen_of("v1", PHASE_STARTING, false);
    CHECK_STR(t, decide(&w, &i, 1, 0), "");
    i.healthy = true;
    CHECK_STR(t, decide(&w, &i, 1, 0), "serve0");
    i.phase = PHASE_SERVING;
    CHECK_STR(t, decide(&w, &i, 1, 0), ""); // the edges do not know it yet
    i.known = true;
    CHECK_STR(t, decide(&w, &i, 1, 0), "promote");
    w = want_of(one_region, "v1", "v1");
    CHECK_STR(t, decide(&w, &i, 1, 0), "");
}

static void test_rollout_step_by_step(struct test *t)
{
    struct app_want w = want_of(one_region, "v2", "v1");
    struct instance_seen i[2] = {seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v2", PHASE_STARTING, false)};
    CHECK_STR(t, decide(&w, i, 1, 0), "create");
    CHECK_STR(t, decide(&w, i, 2, 0), "");
    i[1] = seen_of("v2", PHASE_SERVING, true);
    i[1].known = false;
    CHECK_STR(t, decide(&w, i, 2, 0), "");
    i[1].known = true;
    CHECK_STR(t, decide(&w, i, 2, 0), "promote drain0");
    i[0].phase = PHASE_DRAINING;
    w = want_of(one_region, "v2", "v2");
    CHECK_STR(t, decide(&w, i, 2, 0), "");
    i[0].drained = true;
    CHECK_STR(t, decide(&w, i, 2, 0), "stop0");
    i[0].phase = PHASE_STOPPING;
    CHECK_STR(t, decide(&w, i, 2, 0), "");
    i[0].gone = true;
    CHECK_STR(t, decide(&w, i, 2, 0), "forget0");
}

static void test_drain_has_an_end(struct test *t)
{
    struct app_want w = want_of(one_region, "v2", "v2");
    struct instance_seen i[2] = {seen_of("v1", PHASE_DRAINING, true),
                                 seen_of("v2", PHASE_SERVING, true)};
    i[0].phase_ms = 1000;
    CHECK_STR(t, decide(&w, i, 2, 1000 + RECONCILE_DRAIN_MS - 1), "");
    CHECK_STR(t, decide(&w, i, 2, 1000 + RECONCILE_DRAIN_MS), "stop0");
    CHECK_STR(t, decide(&w, i, 2, 0), ""); // a clock that was set back does not hurry it
}

static void test_silent_agent_stops_the_rollout(struct test *t)
{
    struct app_want w = want_of(one_region, "v2", "v1");
    struct instance_seen i[2] = {seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v2", PHASE_SERVING, true)};
    i[1].agent_fresh = false;
    i[1].failures = 99;
    CHECK_STR(t, decide(&w, i, 2, 0), "");
}

static void test_without_surge_room_is_made_first(struct test *t)
{
    struct app_want w = want_of(two_of, "v2", "v1");
    w.surge = 0;
    w.unavailable = 1;
    struct instance_seen i[3] = {seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v2", PHASE_STARTING, false)};
    CHECK_STR(t, decide(&w, i, 2, 0), "drain1 create");
    i[1].phase = PHASE_DRAINING;
    CHECK_STR(t, decide(&w, i, 3, 0), "");
}

static void test_failures_condemn_a_version_on_trial_only(struct test *t)
{
    struct app_want w = want_of(one_region, "v2", "v1");
    struct instance_seen i[2] = {seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v2", PHASE_STARTING, false)};
    i[1].failures = RECONCILE_FAILURES_MAX - 1;
    CHECK_STR(t, decide(&w, i, 2, 0), "");
    i[1].failures = RECONCILE_FAILURES_MAX;
    CHECK_STR(t, decide(&w, i, 2, 0), "fail1");
    i[1].failures = 0;
    i[1].unhealthy_ms = w.timeout_ms;
    CHECK_STR(t, decide(&w, i, 2, 0), "fail1");
    w = want_of(one_region, "v1", "v1"); // given up: what never served goes at once
    CHECK_STR(t, decide(&w, i, 2, 0), "stop1");
    i[0].healthy = false;
    i[0].failures = 99; // served everywhere once: it is restarted for ever
    CHECK_STR(t, decide(&w, i, 1, 0), "");
}

static void test_unreachable_for_the_edges(struct test *t)
{
    struct app_want w = want_of(one_region, "v2", "v1");
    struct instance_seen i[2] = {seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v2", PHASE_SERVING, true)};
    i[1].known = false;
    i[1].unknown_ms = w.timeout_ms;
    CHECK_STR(t, decide(&w, i, 2, 0), "fail1");
}

static void test_dead_old_ones_do_not_block(struct test *t)
{
    struct app_want w = want_of(two_of, "v2", "v1");
    struct instance_seen i[3] = {seen_of("v1", PHASE_SERVING, false),
                                 seen_of("v1", PHASE_SERVING, false),
                                 seen_of("v2", PHASE_SERVING, true)};
    CHECK_STR(t, decide(&w, i, 2, 0), "create");
    CHECK_STR(t, decide(&w, i, 3, 0), "drain0 create");
}

static void test_leaving(struct test *t)
{
    struct app_want w = want_of(one_region, "v1", "v1");
    w.regions_len = 0;
    w.leaving = true;
    struct instance_seen i[2] = {seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v1", PHASE_STARTING, false)};
    CHECK_STR(t, decide(&w, i, 2, 0), "drain0 stop1");
    CHECK_STR(t, decide(&w, NULL, 0, 0), "end");
}

static void test_scale_down_takes_the_useless_first(struct test *t)
{
    struct app_want w = want_of(one_region, "v1", "v1");
    struct instance_seen i[3] = {seen_of("v1", PHASE_SERVING, false),
                                 seen_of("v1", PHASE_SERVING, true),
                                 seen_of("v1", PHASE_SERVING, true)};
    CHECK_STR(t, decide(&w, i, 3, 0), "drain0 drain2");
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_first_instance),
        TEST_CASE(test_rollout_step_by_step),
        TEST_CASE(test_drain_has_an_end),
        TEST_CASE(test_silent_agent_stops_the_rollout),
        TEST_CASE(test_without_surge_room_is_made_first),
        TEST_CASE(test_failures_condemn_a_version_on_trial_only),
        TEST_CASE(test_unreachable_for_the_edges),
        TEST_CASE(test_dead_old_ones_do_not_block),
        TEST_CASE(test_leaving),
        TEST_CASE(test_scale_down_takes_the_useless_first)};
    return test_main(cases, ARRAY_LEN(cases));
}
