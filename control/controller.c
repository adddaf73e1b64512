// SPDX-License-Identifier: Apache-2.0
#include "control/controller.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/file.h"
#include "host/json.h"
#include "host/log.h"

enum { ROUNDS_MAX = 16, DRAW_BITS = 20 };

static const char *const phases[] = {"starting", "serving", "draining", "stopping"};

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

static void copy_text(char *to, size_t max, const char *from)
{
    snprintf(to, max, "%s", from);
}

// --- the store ---

// Puts a JSON object; steals j.
static int put_json(struct controller *c, const char *kind, const char *name, json_t *j,
                    struct err *err)
{
    char *text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);
    json_decref(j);
    if (text == NULL)
        return out_of_memory(err);
    int r = store_put(c->store, kind, name, text, err);
    free(text);
    return r;
}

static int save_meta(struct controller *c, struct err *err)
{
    return put_json(c, "meta", "counters",
                    json_pack("{s:I,s:I}", "version", (json_int_t)c->version, "instances",
                              (json_int_t)c->instances_ever),
                    err);
}

static int save_instance(struct controller *c, const struct instance *i, struct err *err)
{
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:I,s:i,s:i,s:s,s:s,s:I,s:I,s:I}", "app", i->app,
                          "region", i->region, "version", i->version, "image", i->digest, "memory",
                          (json_int_t)i->memory_bytes, "cpus", (int)i->cpus, "port", (int)i->port,
                          "address", i->address, "phase", phases[i->phase], "phase_ms",
                          (json_int_t)i->phase_ms, "phase_version", (json_int_t)i->phase_version,
                          "born", (json_int_t)i->born);
    return put_json(c, "instance", i->id, j, err);
}

static int save_app(struct controller *c, const struct app *a, struct err *err)
{
    const struct failure *f = &a->failure;
    json_t *j = json_pack("{s:o,s:I,s:b,s:b}", "spec", spec_to_json(&a->spec), "generation",
                          (json_int_t)a->generation, "halted", a->halted, "leaving", a->leaving);
    if (a->stable.app[0] != '\0')
        json_object_set_new(j, "stable", spec_to_json(&a->stable));
    if (f->version[0] != '\0')
        json_object_set_new(j, "failure",
                            json_pack("{s:s,s:I,s:s,s:s,s:s,s:b}", "version", f->version,
                                      "generation", (json_int_t)f->generation, "instance",
                                      f->instance, "reason", f->reason, "console", f->console,
                                      "rolled_back", f->rolled_back));
    return put_json(c, "app", a->spec.app, j, err);
}

static int grow_instances(struct controller *c)
{
    if (c->instances_len < c->instances_max)
        return 0;
    uint32_t max = MAX(c->instances_max * 2, 64u);
    struct instance **bigger = reallocarray(c->instances, max, sizeof(*bigger));
    if (bigger == NULL)
        return -ENOMEM;
    c->instances = bigger;
    c->instances_max = max;
    return 0;
}

static void take_string(const struct jview *v, const char *key, char *ret, size_t max, int *r,
                        struct err *err)
{
    const char *text = "";
    if (*r == 0)
        *r = jview_string(v, key, JVIEW_REQUIRED, &text, err);
    copy_text(ret, max, text);
}

static uint64_t take_number(const struct jview *v, const char *key, int *r, struct err *err)
{
    uint64_t n = 0;
    if (*r == 0)
        *r = jview_uint(v, key, JVIEW_REQUIRED, 0, INT64_MAX, &n, err);
    return n;
}

static bool take_flag(const struct jview *v, const char *key, int *r, struct err *err)
{
    bool b = false;
    if (*r == 0)
        *r = jview_bool(v, key, JVIEW_REQUIRED, &b, err);
    return b;
}

static int load_instance(void *ctx, const char *name, const char *value, struct err *err)
{
    struct controller *c = ctx;
    json_auto_t *j = NULL;
    int r = json_read_text(value, strlen(value), name, &j, err);
    struct instance *i = calloc(1, sizeof(*i));
    if (i == NULL || grow_instances(c) < 0) {
        free(i);
        return out_of_memory(err);
    }
    struct jview v = jview_of(name, j);
    char phase[16];
    copy_text(i->id, sizeof(i->id), name);
    take_string(&v, "app", i->app, sizeof(i->app), &r, err);
    take_string(&v, "region", i->region, sizeof(i->region), &r, err);
    take_string(&v, "version", i->version, sizeof(i->version), &r, err);
    take_string(&v, "image", i->digest, sizeof(i->digest), &r, err);
    take_string(&v, "address", i->address, sizeof(i->address), &r, err);
    take_string(&v, "phase", phase, sizeof(phase), &r, err);
    i->memory_bytes = take_number(&v, "memory", &r, err);
    i->cpus = (uint32_t)take_number(&v, "cpus", &r, err);
    i->port = (uint16_t)take_number(&v, "port", &r, err);
    i->phase_ms = take_number(&v, "phase_ms", &r, err);
    i->phase_version = take_number(&v, "phase_version", &r, err);
    i->born = take_number(&v, "born", &r, err);
    for (unsigned p = 0; p < ARRAY_LEN(phases); p++)
        if (strcmp(phases[p], phase) == 0)
            i->phase = (enum instance_phase)p;
    if (r < 0) {
        free(i);
        return r;
    }
    uint32_t at = c->instances_len++;
    for (; at > 0 && c->instances[at - 1]->born > i->born; at--)
        c->instances[at] = c->instances[at - 1];
    c->instances[at] = i;
    return 0;
}

static int load_failure(const struct jview *app, struct failure *f, struct err *err)
{
    struct jview v;
    int r = jview_object(app, "failure", JVIEW_OPTIONAL, &v, err);
    if (r < 0 || v.value == NULL)
        return r;
    take_string(&v, "version", f->version, sizeof(f->version), &r, err);
    take_string(&v, "instance", f->instance, sizeof(f->instance), &r, err);
    take_string(&v, "reason", f->reason, sizeof(f->reason), &r, err);
    take_string(&v, "console", f->console, sizeof(f->console), &r, err);
    f->generation = take_number(&v, "generation", &r, err);
    f->rolled_back = take_flag(&v, "rolled_back", &r, err);
    return r;
}

static int add_app(struct controller *c, struct app *a, struct err *err)
{
    if (c->apps_len == APPS_MAX)
        return err_set(err, -EUSERS, "there are %d applications already", APPS_MAX);
    struct app **bigger = reallocarray(c->apps, c->apps_len + 1, sizeof(*bigger));
    if (bigger == NULL)
        return out_of_memory(err);
    c->apps = bigger;
    uint32_t at = c->apps_len++;
    for (; at > 0 && strcmp(c->apps[at - 1]->spec.app, a->spec.app) > 0; at--)
        c->apps[at] = c->apps[at - 1];
    c->apps[at] = a;
    return 0;
}

static int load_app(void *ctx, const char *name, const char *value, struct err *err)
{
    struct controller *c = ctx;
    json_auto_t *j = NULL;
    struct app *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return out_of_memory(err);
    int r = json_read_text(value, strlen(value), name, &j, err);
    struct jview v = jview_of(name, j);
    if (r == 0)
        r = spec_from_json(name, json_object_get(j, "spec"), &a->spec, err);
    if (r == 0 && json_object_get(j, "stable") != NULL)
        r = spec_from_json(name, json_object_get(j, "stable"), &a->stable, err);
    a->generation = take_number(&v, "generation", &r, err);
    a->halted = take_flag(&v, "halted", &r, err);
    a->leaving = take_flag(&v, "leaving", &r, err);
    if (r == 0)
        r = load_failure(&v, &a->failure, err);
    if (r == 0)
        r = add_app(c, a, err);
    if (r < 0)
        free(a);
    return r;
}

static int load_meta(void *ctx, const char *name, const char *value, struct err *err)
{
    struct controller *c = ctx;
    json_auto_t *j = NULL;
    int r = json_read_text(value, strlen(value), name, &j, err);
    struct jview v = jview_of(name, j);
    c->version = take_number(&v, "version", &r, err);
    c->instances_ever = take_number(&v, "instances", &r, err);
    return r;
}

struct load_pops {
    struct controller *c;
    uint64_t now_ms;
};

static int load_pop(void *ctx, const char *name, const char *value, struct err *err)
{
    struct load_pops *l = ctx;
    json_auto_t *j = NULL;
    char region[REGION_NAME_MAX], backbone[BACKBONE_MAX];
    int r = json_read_text(value, strlen(value), name, &j, err);
    struct jview v = jview_of(name, j);
    take_string(&v, "region", region, sizeof(region), &r, err);
    take_string(&v, "backbone", backbone, sizeof(backbone), &r, err);
    if (r == 0 && sight_expect_pop(&l->c->sight, name, region, backbone, l->now_ms) < 0)
        r = err_set(err, -EUSERS, "too many POPs in the store");
    return r;
}

static bool digest_in_use(const struct controller *c, const char *digest)
{
    for (uint32_t i = 0; i < c->apps_len; i++)
        if (strcmp(c->apps[i]->spec.digest, digest) == 0 ||
            strcmp(c->apps[i]->stable.digest, digest) == 0)
            return true;
    for (uint32_t i = 0; i < c->instances_len; i++)
        if (strcmp(c->instances[i]->digest, digest) == 0)
            return true;
    return false;
}

static void drop_image(const struct controller *c, const char *digest)
{
    char path[sizeof(c->images_dir) + NAME_MAX];
    snprintf(path, sizeof(path), "%s/%s", c->images_dir, digest);
    if (digest[0] != '\0' && !digest_in_use(c, digest) && unlink(path) == 0)
        log_info("image removed", "digest=%s", digest);
}

// What was uploaded, but never used before we died.
static void sweep_images(const struct controller *c)
{
    DIR *d = opendir(c->images_dir);
    if (d == NULL)
        return;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (digest_is_valid(e->d_name))
            drop_image(c, e->d_name);
    closedir(d);
}

int controller_open(struct controller *c, const char *state_dir, struct times now, struct err *err)
{
    char path[sizeof(c->images_dir)];
    *c = (struct controller){0};
    if ((size_t)snprintf(c->images_dir, sizeof(c->images_dir), "%s/images", state_dir) >
            sizeof(c->images_dir) - 128 ||
        (size_t)snprintf(path, sizeof(path), "%s/control.db", state_dir) >= sizeof(path))
        return err_set(err, -ENAMETOOLONG, "state folder '%.40s...': name too long", state_dir);
    struct load_pops pops = {.c = c, .now_ms = now.mono_ms};
    int r = file_mkdirs(c->images_dir, 0700, err);
    if (r == 0)
        r = store_open(path, &c->store, err);
    if (r < 0)
        return r;
    file_new_sweep(c->images_dir);
    r = store_each(c->store, "meta", load_meta, c, err);
    if (r == 0)
        r = store_each(c->store, "app", load_app, c, err);
    if (r == 0)
        r = store_each(c->store, "instance", load_instance, c, err);
    if (r == 0)
        r = store_each(c->store, "pop", load_pop, &pops, err);
    if (r < 0)
        controller_close(c);
    else
        sweep_images(c);
    return r;
}

static void instance_free(struct instance *i)
{
    console_deinit(&i->console);
    free(i);
}

void controller_close(struct controller *c)
{
    for (uint32_t i = 0; i < c->apps_len; i++)
        free(c->apps[i]);
    for (uint32_t i = 0; i < c->instances_len; i++)
        instance_free(c->instances[i]);
    free(c->apps);
    free(c->instances);
    sight_deinit(&c->sight);
    store_close(c->store);
    *c = (struct controller){0};
}

// --- what people ask ---

struct app *controller_app(const struct controller *c, const char *app)
{
    for (uint32_t i = 0; i < c->apps_len; i++)
        if (strcmp(c->apps[i]->spec.app, app) == 0)
            return c->apps[i];
    return NULL;
}

static int check_image(const struct controller *c, const char *digest, struct err *err)
{
    char path[sizeof(c->images_dir) + DIGEST_MAX];
    snprintf(path, sizeof(path), "%s/%s", c->images_dir, digest);
    if (access(path, R_OK) != 0)
        return err_set(err, -ENOENT, "image %s is not here; upload it first", digest);
    return 0;
}

static int check_address(const struct controller *c, const struct app_spec *s, struct err *err)
{
    for (uint32_t i = 0; i < c->apps_len; i++) {
        const struct app_spec *o = &c->apps[i]->spec;
        if (strcmp(o->app, s->app) != 0 && strcmp(o->address, s->address) == 0 &&
            o->port == s->port)
            return err_set(err, -EEXIST, "app '%s': %s port %u belongs to app '%s'", s->app,
                           s->address, s->port, o->app);
    }
    return 0;
}

static bool same_spec(const struct app_spec *a, const struct app_spec *b)
{
    json_auto_t *ja = spec_to_json(a), *jb = spec_to_json(b);
    return json_equal(ja, jb);
}

static bool same_version(const struct app_spec *a, const struct app_spec *b)
{
    char va[VERSION_MAX], vb[VERSION_MAX];
    spec_version(a, va);
    spec_version(b, vb);
    return strcmp(va, vb) == 0;
}

int controller_put_app(struct controller *c, const struct app_spec *spec, bool *ret_changed,
                       struct err *err)
{
    int r = check_image(c, spec->digest, err);
    if (r == 0)
        r = check_address(c, spec, err);
    if (r < 0)
        return r;
    struct app *a = controller_app(c, spec->app);
    *ret_changed = a == NULL || a->leaving || a->halted || !same_spec(&a->spec, spec);
    if (!*ret_changed) {
        if (a->failure.version[0] == '\0')
            return 0;
        a->failure = (struct failure){0}; // wanted as it is after the roll-back: no news any more
        c->version++;
        r = save_app(c, a, err);
        return r < 0 ? r : save_meta(c, err);
    }
    if (a == NULL) {
        a = calloc(1, sizeof(*a));
        if (a == NULL)
            return out_of_memory(err);
        a->spec = *spec;
        r = add_app(c, a, err);
        if (r < 0) {
            free(a);
            return r;
        }
    }
    a->spec = *spec;
    a->generation++;
    a->halted = a->leaving = a->steady = false;
    a->failure = (struct failure){0};
    if (a->stable.app[0] != '\0' && same_version(&a->stable, spec))
        a->stable = *spec; // nothing to try: the same version at other places
    c->version++;
    r = save_app(c, a, err);
    return r < 0 ? r : save_meta(c, err);
}

int controller_delete_app(struct controller *c, const char *app, struct err *err)
{
    struct app *a = controller_app(c, app);
    if (a == NULL)
        return err_set(err, -ENOENT, "there is no app '%s'", app);
    if (a->leaving)
        return 0;
    a->leaving = true;
    a->steady = false;
    a->generation++;
    c->version++;
    int r = save_app(c, a, err);
    return r < 0 ? r : save_meta(c, err);
}

// --- reports ---

static struct instance *find_instance(const struct controller *c, const char *id)
{
    for (uint32_t i = 0; i < c->instances_len; i++)
        if (strcmp(c->instances[i]->id, id) == 0)
            return c->instances[i];
    return NULL;
}

/* Take the console text of a report over; an instance whose earlier output we lack is asked for it
 * in the answer: {"console": {ID: OFFSET}}. */
static void take_console(struct instance *i, json_t *j, json_t *ask)
{
    json_t *console = json_object_get(j, "console");
    const char *text = json_string_value(json_object_get(console, "text"));
    json_int_t offset = json_integer_value(json_object_get(console, "offset"));
    if (text == NULL || offset < 0)
        return;
    if (i->console.data == NULL && offset > 0) {
        json_object_set_new(ask, i->id, json_integer(0));
        console_add(&i->console, (uint64_t)offset, "", 0); // asked once
        return;
    }
    console_add(&i->console, (uint64_t)offset, text, strlen(text));
}

static int take_address(struct controller *c, struct instance *i, const char *address,
                        struct err *err)
{
    if (address[0] == '\0' || strcmp(i->address, address) == 0)
        return 0;
    copy_text(i->address, sizeof(i->address), address);
    c->version++;
    int r = save_instance(c, i, err);
    return r < 0 ? r : save_meta(c, err);
}

int controller_agent_report(struct controller *c, const char *region, json_t *j, struct times now,
                            json_t **ret_answer, struct err *err)
{
    struct agent_report report;
    int r = agent_report_parse(j, &report, err);
    if (r < 0)
        return r;
    json_t *list = json_object_get(j, "instances"), *ask = json_object();
    for (uint32_t n = 0; n < report.instances_len && r == 0; n++) {
        struct instance *i = find_instance(c, report.instances[n].id);
        if (i == NULL || strcmp(i->region, region) != 0)
            continue;
        take_console(i, json_array_get(list, n), ask);
        r = take_address(c, i, report.instances[n].address, err);
    }
    if (r < 0)
        agent_report_deinit(&report);
    else if (sight_agent(&c->sight, region, &report, now.mono_ms) < 0)
        r = err_set(err, -EUSERS, "more than %d regions", SIGHT_REGIONS_MAX);
    if (r < 0) {
        json_decref(ask);
        return r;
    }
    *ret_answer = json_pack("{s:o}", "console", ask);
    return 0;
}

static const struct pop_sight *find_pop(const struct controller *c, const char *pop)
{
    for (uint32_t i = 0; i < c->sight.pops_len; i++)
        if (strcmp(c->sight.pops[i].name, pop) == 0)
            return &c->sight.pops[i];
    return NULL;
}

int controller_edge_report(struct controller *c, const char *pop, json_t *j, struct times now,
                           struct err *err)
{
    struct edge_report report;
    int r = edge_report_parse(j, &report, err);
    if (r < 0)
        return r;
    const struct pop_sight *p = find_pop(c, pop);
    bool fresh_news = p == NULL || strcmp(p->report.region, report.region) != 0 ||
                      strcmp(p->report.backbone, report.backbone) != 0;
    if (fresh_news)
        r = put_json(c, "pop", pop,
                     json_pack("{s:s,s:s}", "region", report.region, "backbone", report.backbone),
                     err);
    if (r == 0 && fresh_news) {
        c->version++;
        r = save_meta(c, err);
    }
    if (r < 0) {
        edge_report_deinit(&report);
        return r;
    }
    if (p == NULL)
        log_info("POP appeared", "pop=%s region=%s backbone=%s", pop, report.region,
                 report.backbone);
    if (sight_edge(&c->sight, pop, &report, now.mono_ms) < 0)
        return err_set(err, -EUSERS, "more than %d POPs", SIGHT_POPS_MAX);
    return 0;
}

// --- deciding and acting ---

static void target_of(const struct app *a, char ret[static VERSION_MAX])
{
    ret[0] = '\0';
    if (!a->halted)
        spec_version(&a->spec, ret);
}

static struct app_want want_of(const struct app *a)
{
    struct app_want w = {.regions = a->spec.regions,
                         .regions_len = a->leaving ? 0 : a->spec.regions_len,
                         .surge = a->spec.surge,
                         .unavailable = a->spec.unavailable,
                         .timeout_ms = a->spec.timeout_ms,
                         .leaving = a->leaving};
    target_of(a, w.target);
    if (a->stable.app[0] != '\0')
        spec_version(&a->stable, w.stable);
    return w;
}

// Look at all instances of an app; returns their number, their indices in ret_index.
static uint32_t look(struct controller *c, const struct app *a, struct times now,
                     struct instance_seen *ret, struct instance **ret_of)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->instances_len && n < RECONCILE_INSTANCES_MAX; i++) {
        struct instance *x = c->instances[i];
        if (strcmp(x->app, a->spec.app) != 0)
            continue;
        x->seen = (struct instance_seen){
            .id = x->id, .region = x->region, .phase = x->phase, .phase_ms = x->phase_ms};
        copy_text(x->seen.version, sizeof(x->seen.version), x->version);
        sight_look(&c->sight, &x->seen, x->phase_version, &x->unknown_since, now.mono_ms);
        ret[n] = x->seen;
        ret_of[n++] = x;
    }
    return n;
}

/* A short suffix that never repeats: the counter, its low 20 bits stirred by an odd factor. */
static void draw_suffix(uint64_t counter, char *ret, size_t max)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint64_t low = (counter * 0x9e3b5u) & ((1u << DRAW_BITS) - 1);
    uint64_t v = (counter >> DRAW_BITS << DRAW_BITS) | low;
    size_t n = 0;
    for (; n + 1 < max && (n < DRAW_BITS / 5 || v > 0); v >>= 5)
        ret[n++] = digits[v & 31];
    ret[n] = '\0';
}

static int create(struct controller *c, const struct app *a, const char *region, struct times now,
                  struct err *err)
{
    struct instance *i = calloc(1, sizeof(*i));
    if (i == NULL || grow_instances(c) < 0) {
        free(i);
        return out_of_memory(err);
    }
    char suffix[16];
    i->born = ++c->instances_ever;
    draw_suffix(i->born, suffix, sizeof(suffix));
    snprintf(i->id, sizeof(i->id), "%s-%s-%s", a->spec.app, region, suffix);
    copy_text(i->app, sizeof(i->app), a->spec.app);
    copy_text(i->region, sizeof(i->region), region);
    copy_text(i->digest, sizeof(i->digest), a->spec.digest);
    spec_version(&a->spec, i->version);
    i->memory_bytes = a->spec.memory_bytes;
    i->cpus = a->spec.cpus;
    i->port = a->spec.instance_port;
    i->phase = PHASE_STARTING;
    i->phase_ms = now.wall_ms;
    i->phase_version = c->version;
    c->instances[c->instances_len++] = i;
    log_info("instance created", "id=%s version=%s", i->id, i->version);
    return save_instance(c, i, err);
}

static int set_phase(struct controller *c, struct instance *i, enum instance_phase phase,
                     struct times now, struct err *err)
{
    log_info("instance moves", "id=%s from=%s to=%s", i->id, phases[i->phase], phases[phase]);
    i->phase = phase;
    i->phase_ms = now.wall_ms;
    i->phase_version = c->version;
    return save_instance(c, i, err);
}

static int forget(struct controller *c, struct instance *i, struct err *err)
{
    uint32_t kept = 0;
    int r = store_delete(c->store, "instance", i->id, err);
    log_info("instance gone", "id=%s", i->id);
    for (uint32_t n = 0; n < c->instances_len; n++)
        if (c->instances[n] != i)
            c->instances[kept++] = c->instances[n];
    c->instances_len = kept;
    drop_image(c, i->digest);
    instance_free(i);
    return r;
}

static void describe_failure(const struct controller *c, const struct instance *i,
                             enum failure_why why, struct times now, struct failure *f)
{
    const struct agent_instance *seen = sight_instance(&c->sight, i->region, i->id, now.mono_ms);
    const char *error = seen != NULL ? seen->error : "";
    copy_text(f->instance, sizeof(f->instance), i->id);
    switch (why) {
    case FAILURE_DIES:
        snprintf(f->reason, sizeof(f->reason), "it ended %u times in a row%s%s", i->seen.failures,
                 error[0] != '\0' ? ": " : "", error);
        break;
    case FAILURE_NOT_HEALTHY:
        snprintf(f->reason, sizeof(f->reason), "it was not healthy within %u s%s%s",
                 i->seen.unhealthy_ms / 1000, error[0] != '\0' ? ": " : "", error);
        break;
    case FAILURE_NOT_REACHED:
        snprintf(f->reason, sizeof(f->reason),
                 "it is healthy, but the edges could not reach it for %u s",
                 i->seen.unknown_ms / 1000);
        break;
    }
    console_last_lines(&i->console, FAILURE_LINES, f->console, sizeof(f->console));
}

static int fail_target(struct controller *c, struct app *a, const struct instance *i,
                       enum failure_why why, struct times now, struct err *err)
{
    struct failure *f = &a->failure;
    *f = (struct failure){.generation = a->generation};
    spec_version(&a->spec, f->version);
    describe_failure(c, i, why, now, f);
    f->rolled_back = a->stable.app[0] != '\0';
    log_warn("version failed", "app=%s version=%s instance=%s back=%s reason=\"%s\"", a->spec.app,
             f->version, f->instance, f->rolled_back ? "yes" : "no", f->reason);
    if (f->rolled_back)
        a->spec = a->stable;
    else
        a->halted = true;
    return save_app(c, a, err);
}

static void forget_app(struct controller *c, struct app *a)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->apps_len; i++)
        if (c->apps[i] != a)
            c->apps[kept++] = c->apps[i];
    c->apps_len = kept;
    drop_image(c, a->spec.digest);
    drop_image(c, a->stable.digest);
    free(a);
}

static int apply(struct controller *c, struct app *a, const struct action *act,
                 struct instance **of, struct times now, struct err *err)
{
    switch (act->kind) {
    case ACTION_CREATE:
        return create(c, a, a->spec.regions[act->region].name, now, err);
    case ACTION_SERVE:
        return set_phase(c, of[act->instance], PHASE_SERVING, now, err);
    case ACTION_DRAIN:
        return set_phase(c, of[act->instance], PHASE_DRAINING, now, err);
    case ACTION_STOP:
        return set_phase(c, of[act->instance], PHASE_STOPPING, now, err);
    case ACTION_FORGET:
        return forget(c, of[act->instance], err);
    case ACTION_PROMOTE:
        log_info("version serves everywhere", "app=%s", a->spec.app);
        a->stable = a->spec;
        return save_app(c, a, err);
    case ACTION_FAIL:
        return fail_target(c, a, of[act->instance], act->why, now, err);
    case ACTION_END:
        log_info("app gone", "app=%s", a->spec.app);
        return store_delete(c->store, "app", a->spec.app, err);
    }
    return 0;
}

static bool is_steady(const struct app *a, const struct instance_seen *seen, uint32_t seen_len)
{
    char target[VERSION_MAX];
    uint32_t ready = 0, wanted = 0;
    target_of(a, target);
    for (uint32_t i = 0; i < seen_len; i++)
        ready += instance_is_ready(&seen[i]) && strcmp(seen[i].version, target) == 0;
    for (uint32_t r = 0; r < a->spec.regions_len && !a->halted; r++)
        wanted += a->spec.regions[r].count;
    return !a->leaving && ready == wanted && seen_len == wanted;
}

// One round for one app: 0 nothing to do; 1 something was done; 2 the app is gone.
static int step_app(struct controller *c, struct app *a, struct times now, struct err *err)
{
    static struct instance_seen seen[RECONCILE_INSTANCES_MAX];
    static struct instance *of[RECONCILE_INSTANCES_MAX];
    static struct action actions[RECONCILE_ACTIONS_MAX];
    uint32_t n = look(c, a, now, seen, of);
    struct app_want want = want_of(a);
    unsigned todo = reconcile(&want, seen, n, now.wall_ms, actions);
    if (todo == 0) {
        a->steady = is_steady(a, seen, n);
        return 0;
    }
    bool ended = false;
    int r = store_begin(c->store, err);
    c->version++;
    for (unsigned i = 0; i < todo && r == 0; i++) {
        r = apply(c, a, &actions[i], of, now, err);
        ended |= actions[i].kind == ACTION_END;
    }
    if (r == 0)
        r = save_meta(c, err);
    if (r == 0)
        r = store_commit(c->store, err);
    if (r < 0)
        return r;
    if (ended)
        forget_app(c, a);
    return ended ? 2 : 1;
}

static int forget_silent_pops(struct controller *c, struct times now, struct err *err)
{
    int r = 0;
    for (uint32_t i = 0; i < c->sight.pops_len && r == 0; i++)
        if (now.mono_ms - c->sight.pops[i].heard_ms >= SIGHT_POP_FORGET_MS)
            r = store_delete(c->store, "pop", c->sight.pops[i].name, err);
    if (r == 0 && sight_forget_pops(&c->sight, now.mono_ms) > 0) {
        c->version++;
        r = save_meta(c, err);
    }
    return r;
}

int controller_step(struct controller *c, struct times now, struct err *err)
{
    int r = forget_silent_pops(c, now, err);
    for (uint32_t i = 0; i < c->apps_len && r >= 0;) {
        r = 1;
        for (unsigned round = 0; round < ROUNDS_MAX && r == 1; round++)
            r = step_app(c, c->apps[i], now, err);
        if (r != 2) // 2: the app is gone, the next one has its place
            i++;
    }
    return MIN(r, 0);
}

// --- what is told ---

static json_t *health_json(const struct app_spec *s)
{
    return json_pack("{s:s,s:i,s:i,s:i,s:i}", "path", s->health.path, "interval_ms",
                     (int)s->health.interval_ms, "timeout_ms", (int)s->health.timeout_ms, "rise", 1,
                     "fall", 2);
}

static const char *protocol_name(const struct app_spec *s)
{
    return s->protocol == PROTOCOL_TCP ? "tcp" : "http";
}

static json_t *edge_instances(const struct controller *c, const struct app *a)
{
    json_t *list = json_array();
    for (uint32_t n = 0; n < c->instances_len; n++) {
        const struct instance *i = c->instances[n];
        if (strcmp(i->app, a->spec.app) != 0 || i->address[0] == '\0' ||
            (i->phase != PHASE_SERVING && i->phase != PHASE_DRAINING))
            continue;
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:i,s:s}", "id", i->id, "region",
                                              i->region, "address", i->address, "port",
                                              (int)i->port, "state", phases[i->phase]));
    }
    return list;
}

json_t *controller_edge_table(const struct controller *c, UNUSED struct times now)
{
    json_t *services = json_array(), *pops = json_array();
    for (uint32_t i = 0; i < c->apps_len; i++) {
        const struct app *a = c->apps[i];
        json_array_append_new(services,
                              json_pack("{s:s,s:s,s:s,s:i,s:o,s:o}", "app", a->spec.app, "protocol",
                                        protocol_name(&a->spec), "address", a->spec.address, "port",
                                        (int)a->spec.port, "health", health_json(&a->spec),
                                        "instances", edge_instances(c, a)));
    }
    for (uint32_t i = 0; i < c->sight.pops_len; i++) {
        const struct pop_sight *p = &c->sight.pops[i];
        json_array_append_new(pops, json_pack("{s:s,s:s,s:s}", "name", p->name, "region",
                                              p->report.region, "backbone", p->report.backbone));
    }
    return json_pack("{s:o,s:o}", "services", services, "pops", pops);
}

json_t *controller_region_state(const struct controller *c, const char *region)
{
    json_t *list = json_array();
    for (uint32_t n = 0; n < c->instances_len; n++) {
        const struct instance *i = c->instances[n];
        const struct app *a = controller_app(c, i->app);
        if (strcmp(i->region, region) != 0 || i->phase == PHASE_STOPPING || a == NULL)
            continue;
        json_t *health = health_json(&a->spec);
        json_object_set_new(health, "protocol", json_string(protocol_name(&a->spec)));
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:I,s:i,s:i,s:o}", "id", i->id, "app",
                                              i->app, "image", i->digest, "memory",
                                              (json_int_t)i->memory_bytes, "cpus", (int)i->cpus,
                                              "port", (int)i->port, "health", health));
    }
    return json_pack("{s:s,s:o}", "region", region, "instances", list);
}

static json_t *instance_state(const struct controller *c, const struct instance *i,
                              struct times now)
{
    const struct agent_instance *seen = sight_instance(&c->sight, i->region, i->id, now.mono_ms);
    json_t *j =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:b,s:b,s:b}", "id", i->id, "version", i->version,
                  "phase", phases[i->phase], "state", seen != NULL ? seen->state : "unseen",
                  "address", i->address, "port", (int)i->port, "healthy", i->seen.healthy, "known",
                  i->seen.edges_fresh && i->seen.known, "ready", instance_is_ready(&i->seen));
    if (seen != NULL) {
        json_object_set_new(j, "restarts", json_integer(seen->restarts));
        json_object_set_new(j, "up_micros", json_integer((json_int_t)seen->up_micros));
        if (seen->error[0] != '\0')
            json_object_set_new(j, "error", json_string(seen->error));
    }
    return j;
}

static json_t *region_state(const struct controller *c, const struct app *a, const char *region,
                            uint32_t wanted, struct times now)
{
    json_t *list = json_array();
    for (uint32_t n = 0; n < c->instances_len; n++) {
        const struct instance *i = c->instances[n];
        if (strcmp(i->app, a->spec.app) == 0 && strcmp(i->region, region) == 0)
            json_array_append_new(list, instance_state(c, i, now));
    }
    return json_pack("{s:s,s:i,s:b,s:b,s:o}", "name", region, "count", (int)wanted, "agent",
                     sight_agent_fresh(&c->sight, region, now.mono_ms), "announced",
                     sight_announced(&c->sight, a->spec.app, region, now.mono_ms), "instances",
                     list);
}

// Regions that are not wanted any more, but still have instances, are told too.
static void add_left_regions(const struct controller *c, const struct app *a, struct times now,
                             json_t *regions)
{
    for (uint32_t n = 0; n < c->instances_len; n++) {
        const struct instance *i = c->instances[n];
        if (strcmp(i->app, a->spec.app) != 0 || spec_region(&a->spec, i->region) != NULL)
            continue;
        bool told = false;
        size_t at;
        json_t *r;
        json_array_foreach (regions, at, r) {
            told |= strcmp(json_string_value(json_object_get(r, "name")), i->region) == 0;
        }
        if (!told)
            json_array_append_new(regions, region_state(c, a, i->region, 0, now));
    }
}

static const char *state_name(const struct app *a)
{
    if (a->leaving)
        return "leaving";
    if (a->halted)
        return "failed";
    return a->steady ? "steady" : "rolling";
}

json_t *controller_app_state(const struct controller *c, const struct app *a, struct times now)
{
    json_t *regions = json_array();
    char target[VERSION_MAX];
    target_of(a, target);
    for (uint32_t r = 0; r < a->spec.regions_len; r++)
        json_array_append_new(
            regions, region_state(c, a, a->spec.regions[r].name,
                                  a->halted || a->leaving ? 0 : a->spec.regions[r].count, now));
    add_left_regions(c, a, now, regions);
    json_t *j = json_pack("{s:s,s:I,s:s,s:s,s:i,s:b,s:o,s:o}", "app", a->spec.app, "generation",
                          (json_int_t)a->generation, "state", state_name(a), "target", target,
                          "pops", (int)c->sight.pops_len, "stable", a->stable.app[0] != '\0',
                          "spec", spec_to_json(&a->spec), "regions", regions);
    const struct failure *f = &a->failure;
    if (f->version[0] != '\0')
        json_object_set_new(j, "failure",
                            json_pack("{s:s,s:I,s:s,s:s,s:s,s:b}", "version", f->version,
                                      "generation", (json_int_t)f->generation, "instance",
                                      f->instance, "reason", f->reason, "console", f->console,
                                      "rolled_back", f->rolled_back));
    return j;
}

static json_t *pops_status(const struct controller *c, struct times now)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < c->sight.pops_len; i++) {
        const struct pop_sight *p = &c->sight.pops[i];
        json_t *services = json_array();
        for (uint32_t s = 0; s < p->report.services_len; s++)
            json_array_append_new(services,
                                  json_pack("{s:s,s:b}", "app", p->report.services[s].app,
                                            "announced", p->report.services[s].announced));
        json_array_append_new(
            list,
            json_pack("{s:s,s:s,s:s,s:I,s:b,s:I,s:o}", "name", p->name, "region", p->report.region,
                      "backbone", p->report.backbone, "version", (json_int_t)p->report.version,
                      "fresh", p->reported && sight_pop_fresh(p, now.mono_ms), "silent_ms",
                      (json_int_t)(now.mono_ms - p->heard_ms), "services", services));
    }
    return list;
}

json_t *controller_status(const struct controller *c, struct times now)
{
    json_t *apps = json_array(), *regions = json_array();
    for (uint32_t i = 0; i < c->apps_len; i++)
        json_array_append_new(apps, controller_app_state(c, c->apps[i], now));
    for (uint32_t i = 0; i < c->sight.agents_len; i++) {
        const struct agent_sight *a = &c->sight.agents[i];
        json_array_append_new(regions,
                              json_pack("{s:s,s:b,s:I,s:I}", "name", a->region, "fresh",
                                        sight_agent_fresh(&c->sight, a->region, now.mono_ms),
                                        "version", (json_int_t)a->report.version, "silent_ms",
                                        (json_int_t)(now.mono_ms - a->heard_ms)));
    }
    return json_pack("{s:I,s:o,s:o,s:o}", "version", (json_int_t)c->version, "apps", apps,
                     "regions", regions, "pops", pops_status(c, now));
}
