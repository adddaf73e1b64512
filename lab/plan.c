// SPDX-License-Identifier: Apache-2.0
#include "lab/plan.h"

#include <string.h>

enum {
    CLIENT_NETS = 0x0a640000,  // 10.100.0.0
    REGION_NETS = 0x0a500000,  // 10.80.0.0
    BACKBONE_NET = 0x0a5a0000, // 10.90.0.0
    LINK_NETS = 0x0a650000,    // 10.101.0.0
    MED_PER_MS = 10,           // so that tenths of a millisecond decide
    MED_DRAINING = 100000,     // farther than any city
    US_PER_MS = 1000,
};

#define QUAD(a) (a) >> 24, ((a) >> 16) & 255, ((a) >> 8) & 255, (a)&255

void plan_netns(const char *lab, const char *city, enum plan_place place,
                char ret[static NETNS_NAME_MAX])
{
    static const char *const suffix[] = {
        [PLACE_CLIENT] = "", [PLACE_ROUTER] = "-rt", [PLACE_POP] = "-pop"};
    snprintf(ret, NETNS_NAME_MAX, "%s-%s%s", lab, city, suffix[place]);
}

uint32_t plan_client_net(unsigned city)
{
    return CLIENT_NETS + ((city + 1) << 8);
}

uint32_t plan_region_net(unsigned pop)
{
    return REGION_NETS + ((pop + 1) << 8);
}

uint32_t plan_backbone_addr(unsigned pop)
{
    return BACKBONE_NET + pop + 1;
}

static uint32_t link_addr(unsigned link, bool end_b)
{
    return LINK_NETS + 2 * link + end_b;
}

static const char *pop_city(const struct topology *t, unsigned pop)
{
    return t->cities[t->pops[pop].city].name;
}

void plan_end(const struct topology *t, const char *lab, unsigned link, bool end_b,
              struct plan_end *ret)
{
    const struct link *l = &t->links[link];
    unsigned here = end_b ? l->b : l->a, there = end_b ? l->a : l->b;
    const char *city = NULL, *dev = NULL;
    enum plan_place place = PLACE_POP;
    *ret = (struct plan_end){.addr = link_addr(link, end_b), .peer = link_addr(link, !end_b)};
    switch (l->kind) {
    case LINK_PUBLIC:
        city = t->cities[here].name;
        dev = t->cities[there].name;
        place = PLACE_ROUTER;
        break;
    case LINK_TRANSIT:
        city = end_b ? pop_city(t, here) : t->cities[here].name;
        dev = end_b ? "transit" : "pop";
        place = end_b ? PLACE_POP : PLACE_ROUTER;
        break;
    case LINK_BACKBONE:
        city = pop_city(t, here);
        dev = pop_city(t, there);
        ret->addr = plan_backbone_addr(here);
        ret->peer = plan_backbone_addr(there);
        break;
    }
    plan_netns(lab, city, place, ret->netns);
    snprintf(ret->dev, sizeof(ret->dev), "%s", dev);
}

/* Every router speaks to every neighbour over a session of its own, watched by BFD. A route costs
 * the sum of its links' round trips, carried in MED and compared across networks; or, when the
 * planet routes by AS path, what BGP's own rules say. */
static void bird_common(const struct topology *t, uint32_t router_id, unsigned as, FILE *to)
{
    fprintf(to,
            "router id %u.%u.%u.%u;\n"
            "log stderr all;\n"
            "protocol device { scan time 60; }\n"
            "protocol kernel { scan time 60; ipv4 { import none; export where source = RTS_BGP; };"
            " }\n"
            "protocol bfd { interface \"*\" { interval %u ms; idle tx interval 1 s; multiplier %u;"
            " }; }\n"
            "template bgp neighbour {\n"
            "  local as %u; direct; bfd on; hold time 9; keepalive time 3;\n"
            "  connect delay time 1; connect retry time 1; error wait time 1, 4;\n",
            QUAD(router_id), t->bfd_ms, t->bfd_multiplier, as);
    if (t->routing == ROUTING_RTT)
        fprintf(to, "  path metric off; med metric on;\n");
    fprintf(to, "  ipv4 { import all; export all; next hop self; };\n}\n");
}

static void bird_neighbour(const struct topology *t, unsigned link, bool end_b, unsigned as,
                           FILE *to)
{
    struct plan_end end;
    plan_end(t, "", link, end_b, &end);
    fprintf(to, "protocol bgp '%s' from neighbour {\n  neighbor %u.%u.%u.%u as %u;\n", end.dev,
            QUAD(end.peer), as);
    if (t->routing == ROUTING_RTT) {
        uint64_t rtt_us = t->links[link].config.delay_ns / 500;
        unsigned cost = (unsigned)(rtt_us * MED_PER_MS / US_PER_MS);
        fprintf(to,
                "  ipv4 { export filter {\n"
                "    if defined(bgp_med) then bgp_med = bgp_med + %u; else bgp_med = %u;\n"
                "    accept;\n  }; };\n",
                cost, cost);
    }
    fprintf(to, "}\n");
}

void plan_bird_router(const struct topology *t, unsigned city, FILE *to)
{
    bird_common(t, plan_client_net(city) + 1, PLAN_CITY_AS + city, to);
    fprintf(to, "protocol direct { ipv4; interface \"client\"; }\n");
    for (unsigned i = 0; i < t->links_len; i++) {
        const struct link *l = &t->links[i];
        if (!link_touches_city(l, city))
            continue;
        bool end_b = l->kind == LINK_PUBLIC && l->b == city;
        unsigned other = end_b ? l->a : l->b;
        bird_neighbour(t, i, end_b, l->kind == LINK_TRANSIT ? PLAN_POP_AS : PLAN_CITY_AS + other,
                       to);
    }
}

/* Service addresses are announced while they are on `lo`; on `drain` they are announced as the last
 * resort. Nothing else of lo gets out. */
void plan_bird_pop(const struct topology *t, unsigned pop, FILE *to)
{
    unsigned city = t->pops[pop].city;
    bird_common(t, plan_backbone_addr(pop), PLAN_POP_AS, to);
    fprintf(to,
            "protocol direct region { ipv4; interface \"br0\"; }\n"
            "filter service { if net ~ [ %u.%u.%u.%u/%u{32,32} ] then accept; reject; }\n"
            "protocol direct serving { ipv4 { import filter service; }; interface \"lo\"; }\n"
            "protocol direct draining { ipv4 { import filter service; preference 100; };"
            " interface \"drain\"; }\n"
            "protocol bgp transit from neighbour {\n"
            "  neighbor %u.%u.%u.%u as %u;\n"
            "  ipv4 { export filter {\n"
            "    if source = RTS_BGP then reject;\n"
            "    if proto = \"draining\" then {\n"
            "      bgp_med = %u;\n"
            "      bgp_path.prepend(%u); bgp_path.prepend(%u); bgp_path.prepend(%u);\n"
            "    }\n"
            "    accept;\n  }; };\n}\n",
            QUAD(t->service_prefix), t->service_len,
            QUAD(link_addr(topology_transit(t, pop), false)), PLAN_CITY_AS + city, MED_DRAINING,
            PLAN_POP_AS, PLAN_POP_AS, PLAN_POP_AS);
}
