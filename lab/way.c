// SPDX-License-Identifier: Apache-2.0
#include "lab/way.h"

#include <stdio.h>
#include <string.h>

#include "host/fd.h"
#include "lab/plan.h"

enum { ROUNDING_US = 100 }; // of a link's cost in MED: a tenth of a millisecond

void way_close(struct way_finder *f)
{
    for (unsigned i = 0; i < f->topo->cities_len; i++)
        rtnl_close(&f->routers[i]);
    for (unsigned i = 0; i < f->topo->pops_len; i++)
        rtnl_close(&f->pops[i]);
}

static int open_one(const char *lab, const char *city, enum plan_place place, struct rtnl *ret,
                    struct err *err)
{
    char name[NETNS_NAME_MAX];
    plan_netns(lab, city, place, name);
    CLEANUP(fd_closep) int fd = netns_open(name, err);
    return fd < 0 ? fd : rtnl_open(fd, ret, err);
}

int way_open(struct way_finder *f, const struct topology *t, const char *lab, struct err *err)
{
    int r = 0;
    f->topo = t;
    for (unsigned i = 0; i < CITIES_MAX; i++)
        f->routers[i].fd = -1;
    for (unsigned i = 0; i < POPS_MAX; i++)
        f->pops[i].fd = -1;
    for (unsigned i = 0; r == 0 && i < t->cities_len; i++)
        r = open_one(lab, t->cities[i].name, PLACE_ROUTER, &f->routers[i], err);
    for (unsigned i = 0; r == 0 && i < t->pops_len; i++)
        r = open_one(lab, t->cities[t->pops[i].city].name, PLACE_POP, &f->pops[i], err);
    if (r < 0)
        way_close(f);
    return r;
}

static const struct link *link_through(const struct topology *t, unsigned city, const char *dev)
{
    char name[LINK_NAME_MAX];
    snprintf(name, sizeof(name), "%s-%.*s", t->cities[city].name, RTNL_NAME_MAX,
             strcmp(dev, "pop") == 0 ? "transit" : dev);
    int i = topology_link(t, name);
    return i < 0 ? NULL : &t->links[i];
}

// At most every city once: a loop, which BGP passes through while it settles, does not arrive.
struct way way_follow(struct way_finder *f, unsigned city, uint32_t addr)
{
    struct way way = {.city = city};
    for (unsigned i = 0; i <= f->topo->cities_len; i++) {
        char dev[RTNL_NAME_MAX];
        struct err ignored;
        if (rtnl_route_get(&f->routers[way.city], addr, dev, &ignored) < 0)
            return way;
        if (strcmp(dev, "client") == 0) {
            way.arrives = true;
            return way;
        }
        const struct link *l = link_through(f->topo, way.city, dev);
        if (l == NULL)
            return way;
        way.rtt_us += l->config.delay_ns / 500;
        if (l->kind == LINK_TRANSIT) {
            way.arrives = way.to_pop = true;
            return way;
        }
        way.hops++;
        way.city = l->a == way.city ? l->b : l->a;
    }
    return way;
}

// Than `best` of topology_distances, but for the rounding of MEDs.
static bool costs_no_more(const struct way_finder *f, const struct way *w, uint32_t best)
{
    return f->topo->routing == ROUTING_RTT
               ? w->rtt_us <= (uint64_t)best + (uint64_t)ROUNDING_US * w->hops
               : w->hops <= best;
}

// From all cities to addr, which is in city `to`.
static bool all_best_to(struct way_finder *f, unsigned to, uint32_t addr, char *ret_example)
{
    uint32_t best[CITIES_MAX];
    topology_distances(f->topo, to, f->topo->routing, best);
    for (unsigned i = 0; i < f->topo->cities_len; i++) {
        struct way way = way_follow(f, i, addr);
        if (best[i] == UINT32_MAX ||
            (way.arrives && way.city == to && costs_no_more(f, &way, best[i])))
            continue;
        snprintf(ret_example, WAY_EXAMPLE_MAX, "from %s to %s %s", f->topo->cities[i].name,
                 f->topo->cities[to].name, way.arrives ? "by a longer way" : "there is none");
        return false;
    }
    return true;
}

static bool pop_knows_clients(struct way_finder *f, unsigned pop, char *ret_example)
{
    const struct topology *t = f->topo;
    uint32_t reach[CITIES_MAX];
    topology_distances(t, t->pops[pop].city, ROUTING_AS_PATH, reach);
    for (unsigned i = 0; i < t->cities_len; i++) {
        char dev[RTNL_NAME_MAX];
        struct err ignored;
        if (!t->cities[i].client || reach[i] == UINT32_MAX ||
            rtnl_route_get(&f->pops[pop], plan_client_net(i) + 2, dev, &ignored) == 0)
            continue;
        snprintf(ret_example, WAY_EXAMPLE_MAX, "from the POP in %s to %s there is none",
                 t->cities[t->pops[pop].city].name, t->cities[i].name);
        return false;
    }
    return true;
}

static bool pop_is_cut(const struct topology *t, unsigned pop)
{
    const struct link_config *c = &t->links[topology_transit(t, pop)].config;
    return c->cut || c->unplugged;
}

static bool pop_has(struct way_finder *f, unsigned pop, uint32_t addr)
{
    char dev[RTNL_NAME_MAX];
    struct err ignored;
    return !pop_is_cut(f->topo, pop) && rtnl_route_get(&f->pops[pop], addr, dev, &ignored) == 0 &&
           strcmp(dev, "lo") == 0;
}

bool way_anycast_best(struct way_finder *f, uint32_t addr, char ret_example[static WAY_EXAMPLE_MAX])
{
    const struct topology *t = f->topo;
    uint32_t best[CITIES_MAX];
    for (unsigned i = 0; i < t->cities_len; i++)
        best[i] = UINT32_MAX;
    for (unsigned i = 0; i < t->pops_len; i++) {
        uint32_t to_this[CITIES_MAX];
        if (!pop_has(f, i, addr))
            continue;
        topology_distances(t, t->pops[i].city, t->routing, to_this);
        for (unsigned c = 0; c < t->cities_len; c++)
            best[c] = MIN(best[c], to_this[c]);
    }
    for (unsigned i = 0; i < t->cities_len; i++) {
        struct way way = way_follow(f, i, addr);
        bool reachable = best[i] != UINT32_MAX;
        if (reachable ? way.to_pop && costs_no_more(f, &way, best[i]) : !way.to_pop)
            continue;
        snprintf(ret_example, WAY_EXAMPLE_MAX, "from %s to the service address %s",
                 t->cities[i].name,
                 !reachable   ? "leads to a POP that does not announce it"
                 : way.to_pop ? "does not end at the nearest POP"
                              : "there is none");
        return false;
    }
    return true;
}

bool way_all_best(struct way_finder *f, char ret_example[static WAY_EXAMPLE_MAX])
{
    const struct topology *t = f->topo;
    for (unsigned i = 0; i < t->pops_len; i++) {
        if (pop_is_cut(t, i))
            continue;
        if (!pop_knows_clients(f, i, ret_example) ||
            !all_best_to(f, t->pops[i].city, plan_region_net(i) + 1, ret_example))
            return false;
    }
    for (unsigned i = 0; i < t->cities_len; i++)
        if (t->cities[i].client && !all_best_to(f, i, plan_client_net(i) + 2, ret_example))
            return false;
    return true;
}
