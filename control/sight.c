// SPDX-License-Identifier: Apache-2.0
#include "control/sight.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/json.h"

static void copy_text(char *to, size_t max, const char *from)
{
    snprintf(to, max, "%s", from);
}

void agent_report_deinit(struct agent_report *r)
{
    free(r->instances);
    *r = (struct agent_report){0};
}

void edge_report_deinit(struct edge_report *r)
{
    free(r->instances);
    free(r->services);
    *r = (struct edge_report){0};
}

static int get_id(const struct jview *v, const char *key, size_t max, char *ret, struct err *err)
{
    const char *id = "";
    int r = jview_string(v, key, JVIEW_REQUIRED, &id, err);
    if (r == 0 && !name_is_valid(id, max))
        r = jview_err(v, err, -EINVAL, "'%.80s' is no valid %s", id, key);
    if (r == 0)
        copy_text(ret, max, id);
    return r;
}

static int get_text(const struct jview *v, const char *key, char *ret, size_t max, struct err *err)
{
    const char *text = "";
    int r = jview_string(v, key, JVIEW_OPTIONAL, &text, err);
    copy_text(ret, max, text);
    return r;
}

static int get_u32(const struct jview *v, const char *key, uint32_t *ret, struct err *err)
{
    uint64_t n = 0;
    int r = jview_uint(v, key, JVIEW_OPTIONAL, 0, UINT32_MAX, &n, err);
    *ret = (uint32_t)n;
    return r;
}

static int parse_agent_instance(const struct jview *v, struct agent_instance *ret, struct err *err)
{
    int r = jview_as_object(v, err);
    if (r == 0)
        r = get_id(v, "id", sizeof(ret->id), ret->id, err);
    if (r == 0)
        r = get_text(v, "state", ret->state, sizeof(ret->state), err);
    if (r == 0)
        r = get_text(v, "address", ret->address, sizeof(ret->address), err);
    if (r == 0)
        r = get_text(v, "error", ret->error, sizeof(ret->error), err);
    if (r == 0)
        r = jview_bool(v, "healthy", JVIEW_REQUIRED, &ret->healthy, err);
    if (r == 0)
        r = get_u32(v, "failures", &ret->failures, err);
    if (r == 0)
        r = get_u32(v, "restarts", &ret->restarts, err);
    if (r == 0)
        r = get_u32(v, "unhealthy_ms", &ret->unhealthy_ms, err);
    if (r == 0)
        r = jview_uint(v, "up_micros", JVIEW_OPTIONAL, 0, INT64_MAX, &ret->up_micros, err);
    return r;
}

// An array member of at most max elements, and zeroed room for them.
static int get_array(const struct jview *v, const char *key, size_t max, size_t element,
                     struct jview *ret, void *ret_room, uint32_t *ret_len, struct err *err)
{
    int r = jview_array(v, key, JVIEW_OPTIONAL, ret, err);
    if (r < 0)
        return r;
    size_t n = jview_count(ret);
    if (n > max)
        return jview_err(ret, err, -EINVAL, "more than %zu elements", max);
    void *room = calloc(MAX(n, (size_t)1), element);
    if (room == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    memcpy(ret_room, &room, sizeof(room));
    *ret_len = (uint32_t)n;
    return 0;
}

int agent_report_parse(json_t *j, struct agent_report *ret, struct err *err)
{
    CLEANUP(agent_report_deinit) struct agent_report a = {0};
    struct jview top = jview_of("report", j), list;
    int r = jview_as_object(&top, err);
    if (r == 0)
        r = jview_uint(&top, "version", JVIEW_REQUIRED, 0, INT64_MAX, &a.version, err);
    if (r == 0)
        r = get_array(&top, "instances", REPORT_INSTANCES_MAX, sizeof(*a.instances), &list,
                      &a.instances, &a.instances_len, err);
    for (uint32_t i = 0; r == 0 && i < a.instances_len; i++) {
        struct jview item = jview_item(&list, i);
        r = parse_agent_instance(&item, &a.instances[i], err);
    }
    if (r == 0)
        *ret = TAKE(a);
    return r;
}

static int parse_edge_instances(const struct jview *service, struct edge_report *e, struct err *err)
{
    struct jview list;
    int r = jview_array(service, "instances", JVIEW_OPTIONAL, &list, err);
    size_t n = r == 0 ? jview_count(&list) : 0;
    if (n + e->instances_len > REPORT_INSTANCES_MAX)
        return jview_err(&list, err, -EINVAL, "more than %d instances", REPORT_INSTANCES_MAX);
    struct edge_instance *bigger =
        reallocarray(e->instances, e->instances_len + n + 1, sizeof(*bigger));
    if (bigger == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    e->instances = bigger;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct jview item = jview_item(&list, i);
        struct edge_instance *x = &e->instances[e->instances_len];
        *x = (struct edge_instance){0};
        r = jview_as_object(&item, err);
        if (r == 0)
            r = get_id(&item, "id", sizeof(x->id), x->id, err);
        if (r == 0)
            r = jview_bool(&item, "healthy", JVIEW_REQUIRED, &x->healthy, err);
        if (r == 0)
            r = jview_uint(&item, "in_flight", JVIEW_OPTIONAL, 0, INT64_MAX, &x->in_flight, err);
        e->instances_len++;
    }
    return r;
}

int edge_report_parse(json_t *j, struct edge_report *ret, struct err *err)
{
    CLEANUP(edge_report_deinit) struct edge_report e = {0};
    struct jview top = jview_of("report", j), list;
    int r = jview_as_object(&top, err);
    if (r == 0)
        r = jview_uint(&top, "version", JVIEW_REQUIRED, 0, INT64_MAX, &e.version, err);
    if (r == 0)
        r = get_id(&top, "region", sizeof(e.region), e.region, err);
    if (r == 0)
        r = get_text(&top, "backbone", e.backbone, sizeof(e.backbone), err);
    if (r == 0)
        r = get_array(&top, "services", REPORT_SERVICES_MAX, sizeof(*e.services), &list,
                      &e.services, &e.services_len, err);
    for (uint32_t i = 0; r == 0 && i < e.services_len; i++) {
        struct jview item = jview_item(&list, i);
        r = jview_as_object(&item, err);
        if (r == 0)
            r = get_id(&item, "app", APP_NAME_MAX, e.services[i].app, err);
        if (r == 0)
            r = jview_bool(&item, "announced", JVIEW_REQUIRED, &e.services[i].announced, err);
        if (r == 0)
            r = parse_edge_instances(&item, &e, err);
    }
    if (r == 0)
        *ret = TAKE(e);
    return r;
}

void sight_deinit(struct sight *s)
{
    for (uint32_t i = 0; i < s->agents_len; i++)
        agent_report_deinit(&s->agents[i].report);
    for (uint32_t i = 0; i < s->pops_len; i++)
        edge_report_deinit(&s->pops[i].report);
    *s = (struct sight){0};
}

const struct agent_sight *sight_find_agent(const struct sight *s, const char *region)
{
    for (uint32_t i = 0; i < s->agents_len; i++)
        if (strcmp(s->agents[i].region, region) == 0)
            return &s->agents[i];
    return NULL;
}

int sight_agent(struct sight *s, const char *region, struct agent_report *r, uint64_t now)
{
    const struct agent_sight *found = sight_find_agent(s, region);
    uint32_t at = found != NULL ? (uint32_t)(found - s->agents) : s->agents_len;
    if (at == SIGHT_REGIONS_MAX) {
        agent_report_deinit(r);
        return -EUSERS;
    }
    struct agent_sight *a = &s->agents[at];
    if (found == NULL) {
        *a = (struct agent_sight){0};
        copy_text(a->region, sizeof(a->region), region);
        s->agents_len++;
    }
    agent_report_deinit(&a->report);
    a->report = TAKE(*r);
    a->heard_ms = now;
    return 0;
}

static struct pop_sight *pop_slot(struct sight *s, const char *pop)
{
    for (uint32_t i = 0; i < s->pops_len; i++)
        if (strcmp(s->pops[i].name, pop) == 0)
            return &s->pops[i];
    if (s->pops_len == SIGHT_POPS_MAX)
        return NULL;
    struct pop_sight *p = &s->pops[s->pops_len++];
    *p = (struct pop_sight){0};
    copy_text(p->name, sizeof(p->name), pop);
    return p;
}

int sight_edge(struct sight *s, const char *pop, struct edge_report *r, uint64_t now)
{
    struct pop_sight *p = pop_slot(s, pop);
    if (p == NULL) {
        edge_report_deinit(r);
        return -EUSERS;
    }
    edge_report_deinit(&p->report);
    p->report = TAKE(*r);
    p->reported = true;
    p->heard_ms = now;
    return 0;
}

int sight_expect_pop(struct sight *s, const char *pop, const char *region, const char *backbone,
                     uint64_t now)
{
    struct edge_report r = {0};
    copy_text(r.region, sizeof(r.region), region);
    copy_text(r.backbone, sizeof(r.backbone), backbone);
    struct pop_sight *p = pop_slot(s, pop);
    if (p == NULL)
        return -EUSERS;
    edge_report_deinit(&p->report);
    p->report = r;
    p->heard_ms = now;
    return 0;
}

uint32_t sight_forget_pops(struct sight *s, uint64_t now)
{
    uint32_t kept = 0, before = s->pops_len;
    for (uint32_t i = 0; i < before; i++) {
        if (now - s->pops[i].heard_ms >= SIGHT_POP_FORGET_MS)
            edge_report_deinit(&s->pops[i].report);
        else
            s->pops[kept++] = s->pops[i];
    }
    s->pops_len = kept;
    return before - kept;
}

bool sight_agent_fresh(const struct sight *s, const char *region, uint64_t now)
{
    const struct agent_sight *a = sight_find_agent(s, region);
    return a != NULL && now - a->heard_ms < SIGHT_FRESH_MS;
}

bool sight_pop_fresh(const struct pop_sight *p, uint64_t now)
{
    return now - p->heard_ms < SIGHT_FRESH_MS;
}

static const struct agent_instance *find_instance(const struct agent_report *r, const char *id)
{
    for (uint32_t i = 0; i < r->instances_len; i++)
        if (strcmp(r->instances[i].id, id) == 0)
            return &r->instances[i];
    return NULL;
}

const struct agent_instance *sight_instance(const struct sight *s, const char *region,
                                            const char *id, uint64_t now)
{
    if (!sight_agent_fresh(s, region, now))
        return NULL;
    return find_instance(&sight_find_agent(s, region)->report, id);
}

static bool announces(const struct pop_sight *p, const char *app)
{
    for (uint32_t i = 0; i < p->report.services_len; i++)
        if (strcmp(p->report.services[i].app, app) == 0)
            return p->report.services[i].announced;
    return false;
}

bool sight_announced(const struct sight *s, const char *app, const char *region, uint64_t now)
{
    bool here = false, here_announces = false, any = false;
    for (uint32_t i = 0; i < s->pops_len; i++) {
        const struct pop_sight *p = &s->pops[i];
        bool yes = sight_pop_fresh(p, now) && announces(p, app);
        bool in_region = strcmp(p->report.region, region) == 0;
        here |= in_region;
        here_announces |= in_region && yes;
        any |= yes;
    }
    if (s->pops_len == 0)
        return true;
    return here ? here_announces : any;
}

static void look_at_agent(const struct sight *s, struct instance_seen *i, uint64_t phase_version,
                          uint64_t now)
{
    const struct agent_instance *a = sight_instance(s, i->region, i->id, now);
    i->agent_fresh = sight_agent_fresh(s, i->region, now);
    i->healthy = a != NULL && a->healthy;
    i->failures = a != NULL ? a->failures : 0;
    i->unhealthy_ms = a != NULL ? a->unhealthy_ms : 0;
    i->gone = i->agent_fresh && a == NULL &&
              sight_find_agent(s, i->region)->report.version >= phase_version;
}

static const struct edge_instance *find_at_edge(const struct edge_report *r, const char *id)
{
    for (uint32_t n = 0; n < r->instances_len; n++)
        if (strcmp(r->instances[n].id, id) == 0)
            return &r->instances[n];
    return NULL;
}

static bool stands_in(const struct pop_sight *p, const char *region)
{
    return strcmp(p->report.region, region) == 0;
}

/* Every fresh POP must have the table; whether the instance is well is said by the POPs of its own
 * region, through which all others reach it (by all, when no POP stands there). */
static void look_at_edges(const struct sight *s, struct instance_seen *i, uint64_t phase_version,
                          uint64_t now)
{
    uint32_t fresh = 0, applied = 0, drained = 0, judges = 0, content = 0;
    bool has_own = false;
    for (uint32_t n = 0; n < s->pops_len; n++)
        has_own |= stands_in(&s->pops[n], i->region);
    for (uint32_t n = 0; n < s->pops_len; n++) {
        const struct pop_sight *p = &s->pops[n];
        if (!sight_pop_fresh(p, now))
            continue;
        const struct edge_instance *e = find_at_edge(&p->report, i->id);
        bool current = p->reported && p->report.version >= phase_version;
        bool judge = !has_own || stands_in(p, i->region);
        fresh++;
        applied += current;
        drained += current && (e == NULL || e->in_flight == 0);
        judges += judge;
        content += judge && e != NULL && e->healthy;
    }
    i->edges_fresh = judges > 0 || s->pops_len == 0;
    i->known = i->edges_fresh && applied == fresh && content == judges;
    i->drained = i->edges_fresh && drained == fresh;
}

void sight_look(const struct sight *s, struct instance_seen *i, uint64_t phase_version,
                uint64_t *unknown_since, uint64_t now)
{
    look_at_agent(s, i, phase_version, now);
    look_at_edges(s, i, phase_version, now);
    bool unknown =
        i->phase == PHASE_SERVING && i->agent_fresh && i->healthy && i->edges_fresh && !i->known;
    if (!unknown)
        *unknown_since = 0;
    else if (*unknown_since == 0)
        *unknown_since = now;
    i->unknown_ms = unknown ? (uint32_t)(now - *unknown_since) : 0;
}
