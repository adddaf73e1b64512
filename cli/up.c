// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/control.h"
#include "host/file.h"

int cli_up(int argc, char **argv);

static const char options_text[] = CONTROL_OPTION
    "  --yes              do not ask (asked is only at a terminal)\n"
    "  --timeout SECONDS  give up waiting after so long (default 120); the rollout goes on\n"
    "  --json             print the outcome as JSON\n"
    "\nExit status 0: every region really serves. 1: it does not; the last lines say why.\n";

struct up_options {
    const char *path;
    bool yes, json;
    unsigned timeout_s;
};

// One region's line on the screen.
struct region_view {
    char name[REGION_NAME_MAX];
    char text[256];
    bool done;
    double done_s;
};

struct progress {
    const struct up_options *options;
    json_int_t generation;
    double start;
    struct region_view views[REGIONS_MAX];
    uint32_t views_len, lines_drawn;
    bool live; // a terminal: lines are drawn over
    bool ok, failed, finished;
    char version[VERSION_MAX];
    char failure[ERR_TEXT_MAX];
};

static const char *text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s == NULL ? "" : s;
}

static bool flag(const json_t *j, const char *key)
{
    return json_is_true(json_object_get(j, key));
}

// --- what a region's line says ---

static void describe_instance(const json_t *i, char *ret, size_t max)
{
    const char *state = text(i, "state"), *error = text(i, "error");
    if (flag(i, "healthy"))
        snprintf(ret, max, "healthy, telling the edges");
    else if (strcmp(state, "fetching") == 0)
        snprintf(ret, max, "fetching the image%s%s", error[0] != '\0' ? ": " : "", error);
    else if (strcmp(state, "waiting") == 0)
        snprintf(ret, max, "ended, will start again: %s", error);
    else if (strcmp(state, "unhealthy") == 0)
        snprintf(ret, max, "not healthy: %s", error);
    else if (strcmp(state, "unseen") == 0)
        snprintf(ret, max, "its agent is told");
    else
        snprintf(ret, max, "starting");
}

struct counted {
    size_t wanted, fresh, ready, old;
    const json_t *behind;  // a new one that is not ready
    const json_t *example; // a ready one
};

static struct counted count(const json_t *region, const char *target)
{
    struct counted c = {0};
    size_t n;
    json_t *i;
    c.wanted = (size_t)json_integer_value(json_object_get(region, "count"));
    json_array_foreach (json_object_get(region, "instances"), n, i) {
        bool fresh = strcmp(text(i, "version"), target) == 0;
        bool ready = flag(i, "ready");
        c.old += !fresh;
        c.fresh += fresh;
        c.ready += fresh && ready;
        if (fresh && ready)
            c.example = i;
        else if (fresh)
            c.behind = i;
    }
    return c;
}

static void describe_done(const json_t *state, const struct counted *c, char *ret, size_t max)
{
    double up_ms = (double)json_integer_value(json_object_get(c->example, "up_micros")) / 1000;
    snprintf(ret, max, "serves%s", c->wanted == 0 ? " nothing, as wanted" : "");
    size_t len = strlen(ret);
    if (c->wanted > 1)
        snprintf(ret + len, max - len, ", %zu instances", c->wanted);
    else if (c->example != NULL)
        snprintf(ret + len, max - len, " at %s (program entered after %.0f ms)",
                 text(c->example, "address"), up_ms);
    len = strlen(ret);
    if (json_integer_value(json_object_get(state, "pops")) == 0 && c->wanted > 0)
        snprintf(ret + len, max - len, "; no edge is connected");
}

// True when the region is as wanted.
static bool describe(const json_t *state, const json_t *region, char *ret, size_t max)
{
    struct counted c = count(region, text(state, "target"));
    if (c.wanted > 0 && !flag(region, "agent"))
        snprintf(ret, max, "no agent reports from this region");
    else if (c.ready < c.wanted && c.behind != NULL)
        describe_instance(c.behind, ret, max);
    else if (c.ready < c.wanted)
        snprintf(ret, max, "waits for its turn");
    else if (c.old > 0)
        snprintf(ret, max, "serves; %zu of another version still leave", c.old);
    else if (c.fresh > c.wanted)
        snprintf(ret, max, "serves; %zu too many still leave", c.fresh - c.wanted);
    else if (c.wanted > 0 && !flag(region, "announced"))
        snprintf(ret, max, "known to the edges, announcing the address");
    else {
        describe_done(state, &c, ret, max);
        return true;
    }
    return false;
}

// --- the screen ---

static struct region_view *view_of(struct progress *p, const char *name)
{
    for (uint32_t i = 0; i < p->views_len; i++)
        if (strcmp(p->views[i].name, name) == 0)
            return &p->views[i];
    if (p->views_len == REGIONS_MAX)
        return NULL;
    struct region_view *v = &p->views[p->views_len++];
    *v = (struct region_view){0};
    snprintf(v->name, sizeof(v->name), "%s", name);
    return v;
}

static void print_view(const struct progress *p, const struct region_view *v)
{
    double at = v->done ? v->done_s : seconds_now() - p->start;
    printf("  %5.1f s  %-20s %s\n", at, v->name, v->text);
}

static void draw_all(struct progress *p)
{
    if (p->lines_drawn > 0)
        printf("\033[%uA", p->lines_drawn);
    for (uint32_t i = 0; i < p->views_len; i++) {
        printf("\033[2K");
        print_view(p, &p->views[i]);
    }
    p->lines_drawn = p->views_len;
}

static bool update_views(struct progress *p, const json_t *state)
{
    size_t n;
    json_t *region;
    bool all_done = true, changed = false;
    json_array_foreach (json_object_get(state, "regions"), n, region) {
        struct region_view *v = view_of(p, text(region, "name"));
        char now[sizeof(v->text)];
        if (v == NULL)
            continue;
        bool done = describe(state, region, now, sizeof(now));
        all_done &= done;
        bool news = strcmp(now, v->text) != 0;
        if (done && !v->done)
            v->done_s = seconds_now() - p->start;
        v->done = done;
        memcpy(v->text, now, sizeof(v->text));
        changed |= news;
        if (news && !p->live && !p->options->json)
            print_view(p, v);
    }
    if (p->live && changed)
        draw_all(p);
    fflush(stdout);
    return all_done;
}

static void tell_failure(struct progress *p, const json_t *f)
{
    p->failed = true;
    snprintf(p->failure, sizeof(p->failure), "version %s failed: instance %s: %s",
             text(f, "version"), text(f, "instance"), text(f, "reason"));
    if (p->options->json)
        return;
    fprintf(stderr, "skerry: %s\n", p->failure);
    const char *console = text(f, "console");
    if (console[0] != '\0')
        fprintf(stderr, "its last lines:\n");
    while (console[0] != '\0') {
        size_t len = strcspn(console, "\n");
        fprintf(stderr, "  | %.*s\n", (int)len, console);
        console += len + (console[len] == '\n');
    }
    fprintf(stderr, flag(f, "rolled_back") ? "rolling back to the version before\n"
                                           : "there is no version before it to go back to\n");
    p->lines_drawn = 0;
    p->views_len = 0;
}

static bool nothing_left(const json_t *state)
{
    size_t n;
    json_t *region;
    json_array_foreach (json_object_get(state, "regions"), n, region) {
        if (json_array_size(json_object_get(region, "instances")) > 0)
            return false;
    }
    return true;
}

static int on_line(void *ctx, const char *line, size_t len)
{
    struct progress *p = ctx;
    json_auto_t *state = json_loadb(line, len, 0, NULL);
    const json_t *failure = json_object_get(state, "failure");
    if (json_integer_value(json_object_get(state, "generation")) < p->generation)
        return 0;
    bool mine = failure != NULL &&
                json_integer_value(json_object_get(failure, "generation")) == p->generation;
    if (mine && !p->failed)
        tell_failure(p, failure);
    const char *name = text(state, "state");
    if (strcmp(name, "leaving") == 0 || strcmp(name, "gone") == 0) {
        snprintf(p->failure, sizeof(p->failure), "the app was taken down meanwhile");
        p->failed = p->finished = true;
        return 1;
    }
    bool all_done = update_views(p, state);
    if (strcmp(name, "steady") == 0 && all_done)
        p->finished = true;
    if (strcmp(name, "failed") == 0 && nothing_left(state))
        p->finished = true;
    snprintf(p->version, sizeof(p->version), "%s", text(state, "target"));
    p->ok = p->finished && !p->failed;
    return p->finished;
}

// --- the steps ---

static int watch(const struct http_base *base, const char *app, struct progress *p, struct err *err)
{
    char path[64];
    CLEANUP(fd_closep) int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec when = {.it_value.tv_sec = (time_t)p->options->timeout_s};
    snprintf(path, sizeof(path), "/v1/apps/%s/watch", app);
    if (timer < 0 || timerfd_settime(timer, 0, &when, NULL) != 0)
        return err_set(err, -errno, "timer: %s", strerror(errno));
    struct http_watch w = {.base = base, .path = path, .stop_fd = timer, .line = on_line, .ctx = p};
    int r = http_watch(&w, err);
    if (r < 0 || p->finished)
        return r;
    size_t len = (size_t)snprintf(err->text, sizeof(err->text),
                                  "app '%s' does not serve everywhere after %u s", app,
                                  p->options->timeout_s);
    for (uint32_t i = 0; i < p->views_len && len < sizeof(err->text); i++)
        if (!p->views[i].done)
            len += (size_t)snprintf(err->text + len, sizeof(err->text) - len, "; %s: %s",
                                    p->views[i].name, p->views[i].text);
    return err->code = -ETIMEDOUT;
}

static int upload(const struct http_base *base, const struct prepared *p, bool force,
                  struct err *err)
{
    char path[128];
    CLEANUP(http_answer_free) struct http_answer a = {0};
    snprintf(path, sizeof(path), "/v1/images/%s", p->file.spec.digest);
    struct http_request q = {.method = "HEAD", .path = path, .timeout_ms = CONTROL_TIMEOUT_MS};
    int r = force ? 0 : control_hint(http_do(base, &q, &a, err), err);
    if (r < 0 || a.status == 200)
        return r;
    http_answer_free(&a);
    q = (struct http_request){.method = "PUT",
                              .path = path,
                              .body_fd = p->image_fd,
                              .body_bytes = p->image_bytes,
                              .content_type = "application/octet-stream"};
    r = control_hint(http_do(base, &q, &a, err), err);
    return r < 0 ? r : http_check(&a, err);
}

static int put_app(const struct http_base *base, const struct prepared *p, bool *ret_changed,
                   json_int_t *ret_generation, struct err *err)
{
    char path[64];
    json_auto_t *body = spec_to_json(&p->file.spec), *answer = NULL;
    snprintf(path, sizeof(path), "/v1/apps/%s", p->file.spec.app);
    int r = upload(base, p, false, err);
    if (r == 0)
        r = control_call(base, "PUT", path, body, &answer, err);
    if (r == -ENOENT && (r = upload(base, p, true, err)) == 0) // removed in between
        r = control_call(base, "PUT", path, body, &answer, err);
    *ret_changed = flag(answer, "changed");
    *ret_generation = json_integer_value(json_object_get(answer, "generation"));
    return r;
}

static bool confirmed(const struct up_options *o)
{
    if (o->yes || o->json || isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)
        return true;
    char answer[16] = "";
    printf("Do it? [y/N] ");
    fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

static void print_json(const struct progress *p, const char *app, bool changed, const char *error)
{
    json_t *regions = json_array();
    for (uint32_t i = 0; i < p->views_len; i++)
        json_array_append_new(regions, json_pack("{s:s,s:b,s:f,s:s}", "name", p->views[i].name,
                                                 "serves", p->views[i].done, "seconds",
                                                 p->views[i].done_s, "state", p->views[i].text));
    json_t *j =
        json_pack("{s:s,s:b,s:b,s:s,s:f,s:o}", "app", app, "ok", p->ok, "changed", changed,
                  "version", p->version, "seconds", seconds_now() - p->start, "regions", regions);
    if (error[0] != '\0')
        json_object_set_new(j, "error", json_string(error));
    json_dumpf(j, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(j);
}

static int finish(const struct progress *p, const struct app_spec *s, bool changed, int r,
                  const struct err *err)
{
    if (p->options->json) {
        print_json(p, s->app, changed, r < 0 ? err->text : p->failure);
    } else if (r < 0) {
        return cli_fail(err);
    } else if (p->ok) {
        printf("%s serves at %s:%u from %u region%s (%.1f s)\n", s->app, s->address, s->port,
               s->regions_len, s->regions_len == 1 ? "" : "s", seconds_now() - p->start);
    } else if (p->version[0] != '\0') {
        printf("version %s serves again (%.1f s)\n", p->version, seconds_now() - p->start);
    }
    return r == 0 && p->ok ? CLI_OK : CLI_FAILED;
}

static int up(const struct http_base *base, const struct up_options *o)
{
    static struct plan_line lines[PLAN_LINES_MAX];
    static struct progress p;
    struct err err = {0};
    CLEANUP(prepared_deinit) struct prepared made = {.image_fd = -1};
    json_auto_t *state = NULL;
    struct app_spec have;
    bool changed = false;
    // The controller first: who has none should not wait for a build to hear it.
    int r = control_call(base, "GET", "/v1/status", NULL, NULL, &err);
    if (r == 0)
        r = prepare(o->path, o->json ? NULL : stdout, &made, &err);
    const struct app_spec *spec = &made.file.spec;
    if (r == 0)
        r = control_app(base, spec->app, &state, &have, &err);
    if (r < 0)
        return cli_fail(&err);
    unsigned n = plan_compare(state == NULL ? NULL : &have, spec, lines);
    if (!o->json && n > 0)
        puts("plan:");
    if (!o->json)
        plan_print(stdout, lines, n);
    if (!o->json && n == 0)
        printf("no change: %s is wanted as %s says\n", spec->app, o->path);
    if (n > 0 && !confirmed(o))
        return CLI_FAILED;
    p = (struct progress){.options = o, .start = seconds_now()};
    p.live = isatty(STDOUT_FILENO) == 1 && !o->json;
    fflush(stdout);
    r = put_app(base, &made, &changed, &p.generation, &err);
    if (r == 0)
        r = watch(base, spec->app, &p, &err);
    return finish(&p, spec, changed, r, &err);
}

int cli_up(int argc, char **argv)
{
    static const struct option options[] = {
        {"control", required_argument, NULL, 'C'}, {"timeout", required_argument, NULL, 't'},
        {"yes", no_argument, NULL, 'y'},           {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},          {0}};
    struct up_options o = {.timeout_s = 120};
    const char *control = NULL;
    unsigned long timeout_s;
    char *end = NULL;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":y", options, NULL)) != -1;) {
        if (c == 'h')
            return cli_help("up", options_text);
        if (c == 'C')
            control = optarg;
        else if (c == 'j')
            o.json = true;
        else if (c == 'y')
            o.yes = true;
        else if (c == 't' && (timeout_s = strtoul(optarg, &end, 10)) > 0 && timeout_s < 86400 &&
                 *end == '\0')
            o.timeout_s = (unsigned)timeout_s;
        else
            return cli_usage("up", "wrong option '%s'", argv[optind - 1]);
    }
    if (optind + 1 != argc)
        return cli_usage("up", "one FILE is needed");
    o.path = argv[optind];
    struct http_base base;
    struct err err = {0};
    return control_base(control, &base, &err) < 0 ? cli_fail(&err) : up(&base, &o);
}
