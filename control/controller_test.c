// SPDX-License-Identifier: Apache-2.0
/* The controller's state without sockets: asked, reported to, closed and opened again. */
#include "control/controller.h"

#include <errno.h>
#include <stdlib.h>

#include "base/test.h"
#include "host/file.h"

#define DIGEST(c) "sha256:000000000000000000000000000000000000000000000000000000000000000" c

struct fixture {
    char folder[64];
    struct controller c;
    struct times now;
    struct err err;
    bool open;
};

static bool begin(struct fixture *f)
{
    char path[256];
    *f = (struct fixture){.now = {.wall_ms = 1000000, .mono_ms = 5000}};
    snprintf(f->folder, sizeof(f->folder), "/tmp/skerry-control-XXXXXX");
    if (mkdtemp(f->folder) == NULL || controller_open(&f->c, f->folder, f->now, &f->err) < 0)
        return false;
    f->open = true;
    bool ok = true;
    for (char d = '1'; d <= '3'; d++) {
        snprintf(path, sizeof(path), "%s/images/" DIGEST("%c"), f->folder, d);
        ok &= file_replace(path, "x", 1, 0600, &f->err) == 0;
    }
    return ok;
}

static void end(struct fixture *f)
{
    struct err e;
    if (f->open)
        controller_close(&f->c);
    if (file_remove_tree(f->folder, &e) < 0)
        printf("# %s\n", e.text);
}

static struct app_spec spec_of(const char *app, char digest, uint16_t port)
{
    struct app_spec s = {.memory_bytes = 64 << 20,
                         .cpus = 1,
                         .instance_port = 8080,
                         .port = port,
                         .address = "10.0.0.1",
                         .health = {.path = "/", .interval_ms = 500, .timeout_ms = 1000},
                         .regions = {{"r", 1}},
                         .regions_len = 1,
                         .surge = 1,
                         .timeout_ms = 10000};
    snprintf(s.app, sizeof(s.app), "%s", app);
    snprintf(s.digest, sizeof(s.digest), DIGEST("%c"), digest);
    return s;
}

// The agent of region r says that it runs what it is told, healthy or not.
static bool agent_reports(struct fixture *f, bool healthy, unsigned failures)
{
    json_t *state = controller_region_state(&f->c, "r"), *list = json_array(), *i, *answer = NULL;
    size_t n;
    json_array_foreach (json_object_get(state, "instances"), n, i) {
        json_array_append_new(
            list, json_pack("{s:O,s:b,s:s,s:i,s:s,s:{s:i,s:s}}", "id", json_object_get(i, "id"),
                            "healthy", healthy, "address", "10.80.0.10", "failures", (int)failures,
                            "error", "it is so", "console", "offset", 0, "text", "last words\n"));
    }
    json_t *report = json_pack("{s:I,s:o}", "version", (json_int_t)f->c.version, "instances", list);
    int r = controller_agent_report(&f->c, "r", report, f->now, &answer, &f->err);
    json_decref(report);
    json_decref(answer);
    json_decref(state);
    return r == 0 && controller_step(&f->c, f->now, &f->err) == 0;
}

static bool put(struct fixture *f, struct app_spec s)
{
    bool changed;
    return controller_put_app(&f->c, &s, &changed, &f->err) == 0 && changed &&
           controller_step(&f->c, f->now, &f->err) == 0;
}

static bool reopen(struct fixture *f)
{
    controller_close(&f->c);
    f->open = false;
    f->now.mono_ms = 77; // another boot, another clock
    f->open = controller_open(&f->c, f->folder, f->now, &f->err) == 0;
    return f->open;
}

static void test_life(struct test *t)
{
    CLEANUP(end) struct fixture f;
    bool changed = true;
    CHECK(t, begin(&f));
    CHECK(t, put(&f, spec_of("web", '1', 80)));
    CHECK_EQ(t, f.c.instances_len, 1);
    struct app_spec same = spec_of("web", '1', 80);
    CHECK(t, controller_put_app(&f.c, &same, &changed, &f.err) == 0 && !changed);
    CHECK(t, agent_reports(&f, true, 0));
    const struct app *a = controller_app(&f.c, "web");
    CHECK(t, a != NULL && a->steady && a->stable.app[0] != '\0');
    CHECK_STR(t, f.c.instances[0]->address, "10.80.0.10");
    CHECK_EQ(t, controller_delete_app(&f.c, "web", &f.err), 0);
    // drained at once (there is no POP), then the agent must say that it is gone
    CHECK_EQ(t, controller_step(&f.c, f.now, &f.err), 0);
    CHECK_EQ(t, f.c.instances[0]->phase, PHASE_STOPPING);
    CHECK(t, agent_reports(&f, true, 0));
    CHECK(t, f.c.apps_len == 0 && f.c.instances_len == 0);
    CHECK_EQ(t, controller_delete_app(&f.c, "web", &f.err), -ENOENT);
}

static void test_refusals(struct test *t)
{
    CLEANUP(end) struct fixture f;
    bool changed;
    CHECK(t, begin(&f));
    CHECK(t, put(&f, spec_of("web", '1', 80)));
    struct app_spec clash = spec_of("other", '1', 80), absent = spec_of("other", '9', 81);
    CHECK_EQ(t, controller_put_app(&f.c, &clash, &changed, &f.err), -EEXIST);
    CHECK_STR(t, f.err.text, "app 'other': 10.0.0.1 port 80 belongs to app 'web'");
    CHECK_EQ(t, controller_put_app(&f.c, &absent, &changed, &f.err), -ENOENT);
}

static char *told(const struct fixture *f)
{
    json_t *edges = controller_edge_table(&f->c, f->now);
    json_t *region = controller_region_state(&f->c, "r");
    json_t *both = json_pack("[o,o]", edges, region);
    char *text = json_dumps(both, JSON_COMPACT);
    json_decref(both);
    return text;
}

static void test_restart_tells_the_same(struct test *t)
{
    CLEANUP(end) struct fixture f;
    CHECK(t, begin(&f));
    CHECK(t, put(&f, spec_of("web", '1', 80)) && agent_reports(&f, true, 0));
    CHECK(t, put(&f, spec_of("web", '2', 80))); // in the middle of a rollout
    CHECK_EQ(t, f.c.instances_len, 2);
    uint64_t version = f.c.version;
    char *before = told(&f);
    CHECK(t, reopen(&f));
    CHECK_EQ(t, controller_step(&f.c, f.now, &f.err), 0);
    char *after = told(&f);
    bool same = before != NULL && after != NULL && strcmp(before, after) == 0;
    free(before);
    free(after);
    CHECK(t, same);
    CHECK_EQ(t, f.c.version, version);
    CHECK(t, agent_reports(&f, true, 0) && agent_reports(&f, true, 0));
    CHECK(t, f.c.instances_len == 1 && controller_app(&f.c, "web")->steady);
}

static void test_failure_goes_back_and_says_why(struct test *t)
{
    CLEANUP(end) struct fixture f;
    CHECK(t, begin(&f));
    CHECK(t, put(&f, spec_of("web", '1', 80)) && agent_reports(&f, true, 0));
    CHECK(t, put(&f, spec_of("web", '2', 80)));
    // Only the new one is sick; the report below says it of both, which is as good here.
    CHECK(t, agent_reports(&f, false, RECONCILE_FAILURES_MAX));
    CHECK(t, reopen(&f));
    const struct app *a = controller_app(&f.c, "web");
    CHECK_STR(t, a->spec.digest, DIGEST("1"));
    CHECK(t, a->failure.rolled_back && a->failure.generation == a->generation);
    CHECK_STR(t, a->failure.reason, "it ended 3 times in a row: it is so");
    CHECK_STR(t, a->failure.console, "last words\n");
}

static void test_first_failure_halts(struct test *t)
{
    CLEANUP(end) struct fixture f;
    CHECK(t, begin(&f));
    CHECK(t, put(&f, spec_of("web", '3', 80)));
    CHECK(t, agent_reports(&f, false, RECONCILE_FAILURES_MAX));
    CHECK(t, controller_app(&f.c, "web")->halted);
    CHECK(t, agent_reports(&f, false, 0)); // stopped: gone
    CHECK_EQ(t, f.c.instances_len, 0);
    CHECK(t, put(&f, spec_of("web", '3', 80))); // the same wish is a new try
    CHECK_EQ(t, f.c.instances_len, 1);
}

static void test_count_alone_is_no_trial(struct test *t)
{
    CLEANUP(end) struct fixture f;
    CHECK(t, begin(&f));
    CHECK(t, put(&f, spec_of("web", '1', 80)) && agent_reports(&f, true, 0));
    struct app_spec more = spec_of("web", '1', 80);
    more.regions[0].count = 2;
    CHECK(t, put(&f, more));
    CHECK_EQ(t, f.c.instances_len, 2);
    CHECK(t, agent_reports(&f, false, RECONCILE_FAILURES_MAX));
    CHECK(t, controller_app(&f.c, "web")->failure.version[0] == '\0');
    CHECK_EQ(t, controller_app(&f.c, "web")->spec.regions[0].count, 2);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_life),
                                             TEST_CASE(test_refusals),
                                             TEST_CASE(test_restart_tells_the_same),
                                             TEST_CASE(test_failure_goes_back_and_says_why),
                                             TEST_CASE(test_first_failure_halts),
                                             TEST_CASE(test_count_alone_is_no_trial)};
    return test_main(cases, ARRAY_LEN(cases));
}
