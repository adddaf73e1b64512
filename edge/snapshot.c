// SPDX-License-Identifier: Apache-2.0
/* From a table to what workers use. Peers, routes, tallies and listeners that stay are kept, with
 * their connections and figures; new ones are made, unused ones freed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/edge.h"
#include "host/log.h"

static void copy_name(char to[static TABLE_NAME_MAX], const char *from)
{
    memcpy(to, from, strnlen(from, TABLE_NAME_MAX - 1) + 1);
}

static void *shares_new(const struct edge *e, size_t size)
{
    size_t bytes = size * e->options.workers;
    void *p = aligned_alloc(CACHE_LINE, ALIGN_UP(bytes, (size_t)CACHE_LINE));
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

// ------------------------------------------------------------------------------------- peers

static struct peer *peer_get(struct edge *e, const char *name, const char *region,
                             const struct addr *address, bool is_pop)
{
    unsigned free_slot = PEERS_MAX;
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        struct peer *p = e->peers[i];
        if (p == NULL)
            free_slot = MIN(free_slot, i);
        else if (p->is_pop == is_pop && strcmp(p->name, name) == 0 &&
                 strcmp(p->region, region) == 0 && addr_equal(&p->address, address)) {
            p->refs++;
            return p;
        }
    }
    struct peer *p = free_slot == PEERS_MAX ? NULL : calloc(1, sizeof(*p));
    if (p == NULL || (p->shares = shares_new(e, sizeof(*p->shares))) == NULL) {
        free(p);
        return NULL;
    }
    copy_name(p->name, name);
    copy_name(p->region, region);
    p->address = *address;
    p->is_pop = is_pop;
    p->slot = free_slot;
    p->refs = 1;
    e->peers[free_slot] = p;
    return p;
}

static void peer_put(struct edge *e, struct peer *p)
{
    if (--p->refs > 0)
        return;
    e->peers[p->slot] = NULL;
    free(p->shares);
    free(p);
}

// ------------------------------------------------------- routes, tallies, listeners: small lists

// Room for one more pointer in a growing list. False when memory is out.
static bool grow(void **list, unsigned n)
{
    void *bigger =
        (n & (n - 1)) == 0 ? realloc(*list, (n == 0 ? 1 : n * 2) * sizeof(void *)) : *list;
    if (bigger == NULL)
        return false;
    *list = bigger;
    return true;
}

static struct route *route_get(struct edge *e, const char *app, const struct table_pop *pop)
{
    struct peer *p = peer_get(e, pop->name, pop->region, &pop->backbone, true);
    if (p == NULL)
        return NULL;
    for (unsigned i = 0; i < e->routes_n; i++)
        if (e->routes[i]->pop == p && strcmp(e->routes[i]->app, app) == 0) {
            peer_put(e, p);
            e->routes[i]->refs++;
            return e->routes[i];
        }
    struct route *r = grow((void **)&e->routes, e->routes_n) ? calloc(1, sizeof(*r)) : NULL;
    if (r == NULL || (r->shares = shares_new(e, sizeof(*r->shares))) == NULL) {
        peer_put(e, p);
        free(r);
        return NULL;
    }
    copy_name(r->app, app);
    r->pop = p;
    r->refs = 1;
    e->routes[e->routes_n++] = r;
    return r;
}

static void route_put(struct edge *e, struct route *r)
{
    if (--r->refs > 0)
        return;
    for (unsigned i = 0; i < e->routes_n; i++)
        if (e->routes[i] == r)
            e->routes[i] = e->routes[--e->routes_n];
    peer_put(e, r->pop);
    free(r->shares);
    free(r);
}

static struct tally *tally_get(struct edge *e, const char *app)
{
    for (unsigned i = 0; i < e->tallies_n; i++)
        if (strcmp(e->tallies[i]->app, app) == 0) {
            e->tallies[i]->refs++;
            return e->tallies[i];
        }
    struct tally *t = grow((void **)&e->tallies, e->tallies_n) ? calloc(1, sizeof(*t)) : NULL;
    if (t == NULL || (t->shares = shares_new(e, sizeof(*t->shares))) == NULL) {
        free(t);
        return NULL;
    }
    copy_name(t->app, app);
    t->refs = 1;
    e->tallies[e->tallies_n++] = t;
    return t;
}

static void tally_put(struct edge *e, struct tally *t)
{
    if (--t->refs > 0)
        return;
    for (unsigned i = 0; i < e->tallies_n; i++)
        if (e->tallies[i] == t)
            e->tallies[i] = e->tallies[--e->tallies_n];
    free(t->shares);
    free(t);
}

/* A service's sockets. An address that cannot be bound is said once and leaves the service without
 * a listener, so that it is not announced. */
static struct listener *listener_get(struct edge *e, const struct table_service *spec)
{
    char text[ADDR_TEXT_MAX];
    for (unsigned i = 0; i < e->listeners_n; i++)
        if (addr_equal(&e->listeners[i]->address, &spec->address)) {
            e->listeners[i]->refs++;
            return e->listeners[i];
        }
    struct listener *l =
        grow((void **)&e->listeners, e->listeners_n) ? calloc(1, sizeof(*l)) : NULL;
    if (l == NULL)
        return NULL;
    l->address = spec->address;
    l->refs = 1;
    for (; l->fds_n < e->options.workers; l->fds_n++) {
        int fd = addr_listen(&spec->address, true);
        if (fd < 0) {
            log_error("cannot listen", "app=%s address=%s error=\"%s\"", spec->app,
                      addr_text(&spec->address, text), strerror(-fd));
            while (l->fds_n > 0)
                close(l->fds[--l->fds_n]);
            free(l);
            return NULL;
        }
        l->fds[l->fds_n] = fd;
    }
    e->listeners[e->listeners_n++] = l;
    return l;
}

static void listener_put(struct edge *e, struct listener *l)
{
    if (--l->refs > 0)
        return;
    for (unsigned i = 0; i < e->listeners_n; i++)
        if (e->listeners[i] == l)
            e->listeners[i] = e->listeners[--e->listeners_n];
    while (l->fds_n > 0)
        close(l->fds[--l->fds_n]);
    free(l);
}

// ------------------------------------------------------------------------------------- building

static void service_free(struct edge *e, struct snap_service *sv)
{
    for (unsigned i = 0; i < sv->locals_n; i++)
        peer_put(e, sv->locals[i].peer);
    for (unsigned i = 0; i < sv->routes_n; i++)
        route_put(e, sv->routes[i]);
    if (sv->listener != NULL)
        listener_put(e, sv->listener);
    if (sv->tally != NULL)
        tally_put(e, sv->tally);
    free(sv->locals);
    free(sv->routes);
}

static void snapshot_free(struct edge *e, struct snapshot *s)
{
    for (unsigned i = 0; i < s->services_n; i++)
        service_free(e, &s->services[i]);
    free(s->services);
    table_free(s->table);
    free(s);
}

static bool has_instances_in(const struct table_service *spec, const char *region)
{
    for (unsigned i = 0; i < spec->instances_n; i++)
        if (spec->instances[i].serving && strcmp(spec->instances[i].region, region) == 0)
            return true;
    return false;
}

static int build_locals(struct edge *e, struct snap_service *sv)
{
    const struct table_service *spec = sv->spec;
    sv->locals = calloc(spec->instances_n + 1, sizeof(*sv->locals));
    if (sv->locals == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < spec->instances_n; i++) {
        const struct table_instance *ti = &spec->instances[i];
        if (strcmp(ti->region, e->options.region) != 0)
            continue;
        struct peer *p = peer_get(e, ti->id, ti->region, &ti->address, false);
        if (p == NULL)
            return -ENOMEM;
        sv->locals[sv->locals_n++] =
            (struct snap_instance){.peer = p, .capacity = ti->capacity, .serving = ti->serving};
    }
    return 0;
}

static int build_service(struct edge *e, const struct table *t, const struct table_service *spec,
                         struct snap_service *sv)
{
    sv->spec = spec;
    addr_host(&spec->address, sv->host);
    sv->routes = calloc(t->pops_n + 1, sizeof(struct route *));
    sv->tally = tally_get(e, spec->app);
    int r = sv->routes == NULL || sv->tally == NULL ? -ENOMEM : build_locals(e, sv);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < t->pops_n; i++) {
        const struct table_pop *pop = &t->pops[i];
        if (strcmp(pop->name, e->options.pop) == 0 || strcmp(pop->region, e->options.region) == 0 ||
            !has_instances_in(spec, pop->region))
            continue;
        struct route *route = route_get(e, spec->app, pop);
        if (route == NULL)
            return -ENOMEM;
        sv->routes[sv->routes_n++] = route;
    }
    sv->listener = listener_get(e, spec);
    return 0;
}

static int by_app(const void *a, const void *b)
{
    const struct table_service *const *x = a, *const *y = b;
    return strcmp((*x)->app, (*y)->app);
}

static int build(struct edge *e, struct table *t, struct snapshot *s)
{
    const struct table_service **order = calloc(t->services_n + 1, sizeof(*order));
    s->services = calloc(t->services_n + 1, sizeof(*s->services));
    int r = order == NULL || s->services == NULL ? -ENOMEM : 0;
    for (unsigned i = 0; r == 0 && i < t->services_n; i++)
        order[i] = &t->services[i];
    if (r == 0)
        qsort(order, t->services_n, sizeof(*order), by_app);
    for (unsigned i = 0; r == 0 && i < t->services_n; i++) {
        s->services_n = i + 1;
        r = build_service(e, t, order[i], &s->services[i]);
    }
    free(order);
    return r;
}

int edge_apply(struct edge *e, struct table *t, struct err *err)
{
    struct snapshot *s = calloc(1, sizeof(*s));
    edge_reap(e);
    if (s == NULL || e->dead_n == DEAD_SNAPSHOTS_MAX) {
        free(s);
        table_free(t);
        return err_set(err, -EBUSY, "too many tables in use; the next one will be taken");
    }
    s->table = t;
    s->refs = 1;
    s->generation = ++e->generations;
    int r = build(e, t, s);
    if (r < 0) {
        snapshot_free(e, s);
        return err_set(err, r, "table %llu: out of memory", (unsigned long long)t->version);
    }
    struct snapshot *old = e->current;
    e->current = s;
    pthread_mutex_lock(&e->shared.publish_lock);
    e->shared.published = s;
    pthread_mutex_unlock(&e->shared.publish_lock);
    if (old != NULL)
        e->dead[e->dead_n++] = old;
    probes_follow(e);
    workers_wake(e);
    return 0;
}

void edge_reap(struct edge *e)
{
    for (unsigned i = 0; i < e->dead_n;) {
        // Acquire pairs with snapshot_drop's release.
        if (__atomic_load_n(&e->dead[i]->refs, __ATOMIC_ACQUIRE) == 1) {
            snapshot_free(e, e->dead[i]);
            e->dead[i] = e->dead[--e->dead_n];
        } else {
            i++;
        }
    }
}

void edge_free_all(struct edge *e)
{
    if (e->current != NULL)
        e->dead[e->dead_n++] = TAKE(e->current);
    e->shared.published = NULL;
    edge_reap(e);
    free(e->routes);
    free(e->tallies);
    free(e->listeners);
}

bool edge_applied(const struct edge *e)
{
    if (e->current == NULL)
        return false;
    for (unsigned i = 0; i < e->options.workers; i++)
        if (__atomic_load_n(&e->workers[i].generation, __ATOMIC_ACQUIRE) != e->current->generation)
            return false;
    return true;
}
