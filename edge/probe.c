// SPDX-License-Identifier: Apache-2.0
/* Health: checks of our own region's instances, polls of other POPs, and what we tell them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "edge/edge.h"
#include "host/log.h"

// -------------------------------------------------------------------------------- instances

static void verdict(struct edge *e, struct peer *p, const struct health *h, const char *why)
{
    RELAXED_STORE(p->up, h->healthy);
    RELAXED_STORE(p->fails, 0);
    log_info(h->healthy ? "peer up" : "peer down", "name=%s region=%s why=\"%s\"", p->name,
             p->region, why);
    workers_wake(e);
    status_publish(e);
    edge_decide(e);
}

static void check_done(struct fetch *f, int error)
{
    struct checker *c = CONTAINER_OF(f, struct checker, fetch);
    bool ok = error == 0 && (c->tcp || (f->status >= 200 && f->status < 400));
    char why[64];
    if (error < 0)
        snprintf(why, sizeof(why), "%s", strerror(-error));
    else
        snprintf(why, sizeof(why), c->tcp ? "connected" : "status %u", f->status);
    uint64_t next = c->began_ms + health_interval(&c->health, c->spec.interval_ms);
    if (health_checked(&c->health, ok, c->spec.rise, c->spec.fall)) {
        verdict(c->edge, c->peer, &c->health, why);
        next = c->began_ms + health_interval(&c->health, c->spec.interval_ms);
    }
    loop_timer_set(&c->edge->loop, &c->timer, MAX(next, c->edge->loop.now_ms));
}

static void check_start(struct checker *c)
{
    char request[TABLE_PATH_MAX + ADDR_TEXT_MAX + 96], host[ADDR_TEXT_MAX];
    c->began_ms = c->edge->loop.now_ms;
    if (c->tcp) {
        fetch_probe(&c->fetch, c->spec.timeout_ms);
        return;
    }
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: skerry-health\r\n"
                     "Connection: close\r\n\r\n",
                     c->spec.path, addr_text(&c->peer->address, host));
    fetch_start(&c->fetch, request, (size_t)n, c->spec.timeout_ms);
}

static void check_due(struct loop_timer *t)
{
    struct checker *c = CONTAINER_OF(t, struct checker, timer);
    if (!fetch_busy(&c->fetch))
        check_start(c);
}

static struct checker *checker_find(const struct edge *e, const struct peer *p)
{
    LIST_FOR_EACH (node, &e->checkers) {
        struct checker *c = LIST_ENTRY(node, struct checker, node);
        if (c->peer == p)
            return c;
    }
    return NULL;
}

const struct checker *checker_of(const struct edge *e, const struct peer *p)
{
    return checker_find(e, p);
}

static void checker_free(struct checker *c)
{
    fetch_deinit(&c->fetch);
    loop_timer_stop(&c->timer);
    list_remove(&c->node);
    free(c);
}

static void checker_want(struct edge *e, struct peer *p, const struct table_service *spec)
{
    struct checker *c = checker_find(e, p);
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        if (c == NULL)
            return; // never up, so never used; the next table tries again
        c->edge = e;
        c->peer = p;
        c->timer.fire = check_due;
        fetch_init(&c->fetch, &e->loop, &p->address);
        c->fetch.done = check_done;
        list_push_back(&e->checkers, &c->node);
        loop_timer_set(&e->loop, &c->timer, e->loop.now_ms);
    }
    c->spec = spec->health;
    c->tcp = spec->protocol == TABLE_TCP || spec->health.path[0] == '\0';
    c->wanted = true;
}

// --------------------------------------------------------------------------------------- POPs

static void routes_update(struct poller *p)
{
    struct edge *e = p->edge;
    for (unsigned i = 0; i < e->routes_n; i++) {
        struct route *r = e->routes[i];
        if (r->pop != p->peer)
            continue;
        const json_t *sv = json_object_get(json_object_get(p->status, "services"), r->app);
        int64_t capacity = json_integer_value(json_object_get(sv, "capacity"));
        int64_t load = json_integer_value(json_object_get(sv, "in_flight"));
        int64_t ours = shares_in_flight(r->shares, e->options.workers);
        bool sane = capacity > 0 && capacity <= UINT32_MAX && load >= 0 && load <= UINT32_MAX;
        RELAXED_STORE(r->capacity, sane ? (uint32_t)capacity : 0);
        RELAXED_STORE(r->others, sane && load > ours ? (uint32_t)(load - ours) : 0);
        RELAXED_STORE(r->rtt_us, poller_rtt(p));
        RELAXED_STORE(r->usable, sane && p->health.healthy);
    }
}

uint32_t poller_rtt(const struct poller *p)
{
    uint32_t least = 0;
    for (unsigned i = 0; i < RTT_SAMPLES; i++)
        if (p->rtt_us[i] != 0 && (least == 0 || p->rtt_us[i] < least))
            least = p->rtt_us[i];
    return least;
}

static void poll_data(struct fetch *f, const char *bytes, size_t n)
{
    struct poller *p = CONTAINER_OF(f, struct poller, fetch);
    char *bigger = p->body_len + n > STATUS_TEXT_MAX ? NULL : realloc(p->body, p->body_len + n);
    if (bigger == NULL)
        return; // cut short, so it will not be JSON
    p->body = bigger;
    memcpy(p->body + p->body_len, bytes, n);
    p->body_len += n;
}

static void poll_done(struct fetch *f, int error)
{
    struct poller *p = CONTAINER_OF(f, struct poller, fetch);
    json_t *status = error == 0 && f->status == 200 && p->body != NULL
                         ? json_loadb(p->body, p->body_len, JSON_REJECT_DUPLICATES, NULL)
                         : NULL;
    bool ok = json_is_object(status);
    if (ok) {
        // A connection's first answer carries the handshake's stray delays: only later ones count,
        // unless there is nothing else.
        if (f->reused || poller_rtt(p) == 0)
            p->rtt_us[p->rtt_at++ % RTT_SAMPLES] = MAX(f->rtt_us, 1u);
        json_decref(p->status);
        p->status = status;
    } else {
        json_decref(status);
    }
    bool changed = health_checked(&p->health, ok, POLL_RISE, POLL_FALL);
    routes_update(p);
    if (changed)
        verdict(p->edge, p->peer, &p->health, ok ? "answers" : strerror(error < 0 ? -error : EIO));
    else
        edge_decide(p->edge);
    uint32_t wait = health_interval(&p->health, POLL_MS);
    loop_timer_set(&p->edge->loop, &p->timer, p->edge->loop.now_ms + wait);
}

static void poll_due(struct loop_timer *t)
{
    struct poller *p = CONTAINER_OF(t, struct poller, timer);
    char request[TABLE_NAME_MAX + 96];
    if (fetch_busy(&p->fetch))
        return;
    p->body_len = 0;
    int n = snprintf(request, sizeof(request),
                     "GET /status HTTP/1.1\r\nHost: %s\r\nUser-Agent: skerry-edge/%s\r\n\r\n",
                     p->peer->name, p->edge->options.pop);
    // The first on a connection needs a round trip to make it: 757 ms from Mumbai to Santiago.
    uint32_t timeout_ms = p->fetch.lfd.fd < 0 ? 2 * POLL_TIMEOUT_MS : POLL_TIMEOUT_MS;
    fetch_start(&p->fetch, request, (size_t)n, timeout_ms);
}

static void poller_free(struct poller *p)
{
    fetch_deinit(&p->fetch);
    loop_timer_stop(&p->timer);
    list_remove(&p->node);
    json_decref(p->status);
    free(p->body);
    free(p);
}

static void poller_want(struct edge *e, struct peer *peer)
{
    LIST_FOR_EACH (node, &e->pollers) {
        struct poller *p = LIST_ENTRY(node, struct poller, node);
        if (p->peer == peer) {
            p->wanted = true;
            routes_update(p);
            return;
        }
    }
    struct poller *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return;
    p->edge = e;
    p->peer = peer;
    p->wanted = true;
    p->timer.fire = poll_due;
    fetch_init(&p->fetch, &e->loop, &peer->address);
    p->fetch.keep = true;
    p->fetch.data = poll_data;
    p->fetch.done = poll_done;
    list_push_back(&e->pollers, &p->node);
    loop_timer_set(&e->loop, &p->timer, e->loop.now_ms);
}

bool remote_healthy(const struct edge *e, const char *app, const struct table_instance *ti)
{
    LIST_FOR_EACH (node, &e->pollers) {
        const struct poller *p = LIST_ENTRY(node, struct poller, node);
        if (!p->health.healthy || strcmp(p->peer->region, ti->region) != 0)
            continue;
        const json_t *sv = json_object_get(json_object_get(p->status, "services"), app);
        if (json_is_true(json_object_get(json_object_get(sv, "instances"), ti->id)))
            return true;
    }
    return false;
}

// ---------------------------------------------------------------------------------------- all

static void free_unwanted(struct edge *e)
{
    LIST_FOR_EACH_SAFE (node, &e->checkers) {
        struct checker *c = LIST_ENTRY(node, struct checker, node);
        if (!c->wanted)
            checker_free(c);
        else
            c->wanted = false;
    }
    LIST_FOR_EACH_SAFE (node, &e->pollers) {
        struct poller *p = LIST_ENTRY(node, struct poller, node);
        if (!p->wanted)
            poller_free(p);
        else
            p->wanted = false;
    }
}

void probes_follow(struct edge *e)
{
    for (unsigned i = 0; i < e->current->services_n; i++) {
        struct snap_service *sv = &e->current->services[i];
        for (unsigned j = 0; j < sv->locals_n; j++)
            checker_want(e, sv->locals[j].peer, sv->spec);
        for (unsigned j = 0; j < sv->routes_n; j++)
            poller_want(e, sv->routes[j]->pop);
    }
    free_unwanted(e);
    status_publish(e);
}

void probes_free(struct edge *e)
{
    free_unwanted(e); // no one is wanted
}

static void doubt(struct edge *e, struct peer *p, struct health *h, struct loop_timer *t)
{
    if (!RELAXED_LOAD(p->doubted))
        return;
    RELAXED_STORE(p->doubted, false);
    if (RELAXED_LOAD(p->fails) >= HEALTH_DOUBT && health_doubted(h))
        verdict(e, p, h, "requests fail");
    loop_timer_set(&e->loop, t, e->loop.now_ms);
}

void probes_doubt(struct edge *e)
{
    LIST_FOR_EACH (node, &e->checkers) {
        struct checker *c = LIST_ENTRY(node, struct checker, node);
        doubt(e, c->peer, &c->health, &c->timer);
    }
    LIST_FOR_EACH (node, &e->pollers) {
        struct poller *p = LIST_ENTRY(node, struct poller, node);
        doubt(e, p->peer, &p->health, &p->timer);
        routes_update(p);
    }
}

static json_t *status_service(const struct edge *e, const struct snap_service *sv)
{
    uint64_t capacity = 0, load = 0;
    json_t *instances = json_object();
    for (unsigned i = 0; i < sv->locals_n; i++) {
        const struct snap_instance *si = &sv->locals[i];
        bool up = RELAXED_LOAD(si->peer->up);
        uint32_t in_flight = shares_in_flight(si->peer->shares, e->options.workers);
        json_object_set_new(instances, si->peer->name, json_boolean(up));
        capacity += up && si->serving ? si->capacity : 0;
        load += up && si->serving ? in_flight : 0;
    }
    return json_pack("{s:I, s:I, s:o}", "capacity", (json_int_t)capacity, "in_flight",
                     (json_int_t)load, "instances", instances);
}

void status_publish(struct edge *e)
{
    if (e->current == NULL)
        return;
    json_t *services = json_object();
    for (unsigned i = 0; i < e->current->services_n; i++)
        json_object_set_new(services, e->current->services[i].spec->app,
                            status_service(e, &e->current->services[i]));
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:o}", "pop", e->options.pop, "region", e->options.region,
                  "version", (json_int_t)e->current->table->version, "services", services);
    size_t n = json_dumpb(o, NULL, 0, JSON_COMPACT);
    pthread_mutex_lock(&e->shared.status_lock);
    if (n <= STATUS_TEXT_MAX)
        e->shared.status_len = json_dumpb(o, e->shared.status_text, n, JSON_COMPACT);
    pthread_mutex_unlock(&e->shared.status_lock);
    json_decref(o);
}
