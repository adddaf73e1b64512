// SPDX-License-Identifier: Apache-2.0
/* What a lab looks like now: links from the link process, routes as the routers' kernels have them,
 * processes from the supervisor's file. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/json.h"
#include "lab/lab.h"
#include "lab/rtt.h"
#include "lab/way.h"

enum { SERVICES_MAX = 16 };

struct view {
    const struct lab *lab;
    struct topology topo; // with the links' present configuration
    struct wan_answer links[LINKS_MAX];
    struct way_finder ways;
};

// Every address that some POP announces, as some router's kernel has it.
struct services {
    const struct topology *t;
    uint32_t addr[SERVICES_MAX];
    unsigned len;
};

static void note_service(const struct rtnl_route_event *e, void *context)
{
    struct services *s = context;
    uint32_t mask = ~0U << (32 - s->t->service_len);
    if (e->len != 32 || (e->dst & mask) != s->t->service_prefix || s->len == SERVICES_MAX)
        return;
    for (unsigned i = 0; i < s->len; i++)
        if (s->addr[i] == e->dst)
            return;
    s->addr[s->len++] = e->dst;
}

static int find_services(struct view *v, struct services *ret, struct err *err)
{
    *ret = (struct services){.t = &v->topo};
    int r = 0;
    for (unsigned i = 0; r == 0 && i < v->topo.cities_len; i++) {
        char name[NETNS_NAME_MAX];
        CLEANUP(rtnl_close) struct rtnl watch = {.fd = -1};
        plan_netns(v->lab->name, v->topo.cities[i].name, PLACE_ROUTER, name);
        CLEANUP(fd_closep) int fd = netns_open(name, err);
        r = fd < 0 ? fd : rtnl_watch(fd, &watch, err);
        if (r == 0)
            r = rtnl_watch_read(&watch, note_service, ret);
        if (r < 0 && err->code == 0)
            err_set(err, r, "%s: routes: %s", name, strerror(-r));
    }
    return r;
}

static json_t *routes_json(struct view *v, unsigned city)
{
    json_t *routes = json_array();
    for (unsigned p = 0; p < v->topo.pops_len; p++) {
        struct way way = way_follow(&v->ways, city, plan_region_net(p) + 1);
        unsigned to = v->topo.pops[p].city;
        int measured = rtt_us(v->topo.cities[city].name, v->topo.cities[to].name);
        bool there = way.arrives && way.to_pop && way.city == to;
        json_array_append_new(routes,
                              json_pack("{s:s, s:s, s:o, s:o}", "region", v->topo.pops[p].region,
                                        "pop", v->topo.cities[to].name, "rtt_ms",
                                        there ? json_real((double)way.rtt_us / 1e3) : json_null(),
                                        "measured_ms",
                                        measured < 0 ? json_null() : json_real(measured / 1e3)));
    }
    return routes;
}

static json_t *services_json(struct view *v, const struct services *s, unsigned city)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < s->len; i++) {
        struct way way = way_follow(&v->ways, city, s->addr[i]);
        char text[20];
        snprintf(text, sizeof(text), "%u.%u.%u.%u", s->addr[i] >> 24, (s->addr[i] >> 16) & 255,
                 (s->addr[i] >> 8) & 255, s->addr[i] & 255);
        json_array_append_new(list, json_pack("{s:s, s:s?, s:f}", "address", text, "pop",
                                              way.arrives ? v->topo.cities[way.city].name : NULL,
                                              "rtt_ms", (double)way.rtt_us / 1e3));
    }
    return list;
}

static json_t *counters_json(const struct wan_counters *c)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "packets", (json_int_t)c->packets,
                     "bytes", (json_int_t)c->bytes, "lost", (json_int_t)c->lost, "cut",
                     (json_int_t)c->cut, "queue_full", (json_int_t)c->queue_full, "memory_full",
                     (json_int_t)c->memory_full, "refused", (json_int_t)c->refused);
}

static const char *link_condition(const struct link_config *c)
{
    return c->unplugged ? "unplugged" : c->cut ? "cut" : "up";
}

static json_t *links_json(const struct view *v)
{
    json_t *links = json_array();
    for (unsigned i = 0; i < v->topo.links_len; i++) {
        const struct link_config *c = &v->links[i].config;
        json_array_append_new(
            links,
            json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:o, s:o}", "name", v->topo.links[i].name,
                      "state", link_condition(c), "rtt_ms", (double)c->delay_ns / 5e5, "jitter_ms",
                      (double)c->jitter_ns / 1e6, "loss_pct", c->loss_ppm / 1e4, "rate_mbit",
                      (double)c->rate_bps / 1e6, "a_to_b", counters_json(&v->links[i].a_to_b),
                      "b_to_a", counters_json(&v->links[i].b_to_a)));
    }
    return links;
}

static json_t *cities_json(struct view *v, const struct services *s)
{
    json_t *cities = json_array();
    for (unsigned i = 0; i < v->topo.cities_len; i++)
        json_array_append_new(cities,
                              json_pack("{s:s, s:b, s:o, s:o}", "name", v->topo.cities[i].name,
                                        "client", v->topo.cities[i].client, "routes",
                                        routes_json(v, i), "services", services_json(v, s, i)));
    return cities;
}

// The supervisor's list, with who is really there.
static json_t *processes_json(const struct lab *lab)
{
    char path[LAB_PATH_MAX];
    struct err ignored;
    json_t *root = NULL, *list, *p;
    size_t i;
    lab_path(lab, "processes.json", path);
    if (json_read_file(path, &root, &ignored) < 0)
        return json_array();
    list = json_incref(json_object_get(root, "processes"));
    json_decref(root);
    json_array_foreach (list, i, p) {
        char proc[64];
        json_int_t pid = json_integer_value(json_object_get(p, "pid"));
        snprintf(proc, sizeof(proc), "/proc/%lld", (long long)pid);
        json_object_set_new(p, "running", json_boolean(pid > 0 && access(proc, F_OK) == 0));
    }
    return list != NULL ? list : json_array();
}

static void print_cities(const json_t *cities, const struct topology *t, FILE *to)
{
    const json_t *c, *way;
    size_t i, k;
    fprintf(to, "%-14s", "RTT ms from");
    for (unsigned p = 0; p < t->pops_len; p++)
        fprintf(to, "  %-18.18s", t->pops[p].region);
    fprintf(to, "  service\n");
    json_array_foreach (cities, i, c) {
        fprintf(to, "%-14s", json_string_value(json_object_get(c, "name")));
        json_array_foreach (json_object_get(c, "routes"), k, way) {
            const json_t *rtt = json_object_get(way, "rtt_ms");
            const json_t *measured = json_object_get(way, "measured_ms");
            char text[48], note[24] = "";
            double off = json_real_value(rtt) - json_real_value(measured);
            if (json_is_real(rtt) && json_is_real(measured) && (off > 0.5 || off < -0.5))
                snprintf(note, sizeof(note), " (%.1f)", json_real_value(measured));
            if (json_is_real(rtt))
                snprintf(text, sizeof(text), "%6.1f%s", json_real_value(rtt), note);
            else
                snprintf(text, sizeof(text), "%6s", "-");
            fprintf(to, "  %-18s", text);
        }
        json_array_foreach (json_object_get(c, "services"), k, way) {
            const char *pop = json_string_value(json_object_get(way, "pop"));
            fprintf(to, "  %s -> %s", json_string_value(json_object_get(way, "address")),
                    pop != NULL ? pop : "nowhere");
        }
        fprintf(to, "\n");
    }
    fprintf(to, "In brackets: the measured round trip, where the route's differs.\n\n");
}

static void print_links(const struct view *v, FILE *to)
{
    fprintf(to, "%-28s %-9s %8s %8s %8s %10s %12s %9s\n", "LINK", "STATE", "RTT ms", "JITTER",
            "LOSS %", "MBIT/S", "PACKETS", "DROPPED");
    for (unsigned i = 0; i < v->topo.links_len; i++) {
        const struct link_config *c = &v->links[i].config;
        const struct wan_counters *a = &v->links[i].a_to_b, *b = &v->links[i].b_to_a;
        uint64_t dropped = a->lost + a->cut + a->queue_full + a->memory_full + a->refused +
                           b->lost + b->cut + b->queue_full + b->memory_full + b->refused;
        char rate[24] = "-";
        if (c->rate_bps > 0)
            snprintf(rate, sizeof(rate), "%.6g", (double)c->rate_bps / 1e6);
        fprintf(to, "%-28s %-9s %8.1f %8.1f %8.2f %10s %12llu %9llu\n", v->topo.links[i].name,
                link_condition(c), (double)c->delay_ns / 5e5, (double)c->jitter_ns / 1e6,
                c->loss_ppm / 1e4, rate, (unsigned long long)(a->packets + b->packets),
                (unsigned long long)dropped);
    }
}

static void print_processes(const json_t *processes, FILE *to)
{
    const json_t *p;
    size_t i;
    fprintf(to, "\n%-24s %-24s %8s %-8s %s\n", "PROCESS", "NAMESPACE", "PID", "STATE", "RESTARTS");
    json_array_foreach (processes, i, p)
        fprintf(to, "%-24s %-24s %8lld %-8s %lld\n", json_string_value(json_object_get(p, "name")),
                json_string_value(json_object_get(p, "netns")),
                (long long)json_integer_value(json_object_get(p, "pid")),
                json_is_true(json_object_get(p, "running")) ? "running" : "ended",
                (long long)json_integer_value(json_object_get(p, "restarts")));
}

int lab_status(const struct lab *lab, bool json, FILE *to, struct err *err)
{
    static struct view v;
    struct services services = {0};
    v = (struct view){.lab = lab};
    int r = lab_privileges(err);
    if (r == 0)
        r = lab_topology(lab, &v.topo, err);
    if (r == 0)
        r = lab_link_state(lab, &v.topo, v.links, err);
    if (r == 0)
        r = way_open(&v.ways, &v.topo, lab->name, err);
    err->code = 0;
    if (r == 0)
        r = find_services(&v, &services, err);
    if (r < 0)
        return r;
    json_t *cities = cities_json(&v, &services), *processes = processes_json(lab);
    if (json) {
        json_t *root = json_pack("{s:s, s:O, s:o, s:O}", "name", lab->name, "cities", cities,
                                 "links", links_json(&v), "processes", processes);
        json_dumpf(root, to, JSON_INDENT(1));
        fprintf(to, "\n");
        json_decref(root);
    } else {
        print_cities(cities, &v.topo, to);
        print_links(&v, to);
        print_processes(processes, to);
    }
    json_decref(cities);
    json_decref(processes);
    return 0;
}
