// SPDX-License-Identifier: Apache-2.0
#include "lab/topology.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/yaml.h"
#include "lab/rtt.h"

enum { NS_PER_US = 1000, PPM_PER_PCT = 10000 };

static const char *const kind_prefix[] = {
    [LINK_PUBLIC] = "", [LINK_TRANSIT] = "", [LINK_BACKBONE] = "backbone-"};

int topology_city(const struct topology *t, const char *name)
{
    for (unsigned i = 0; i < t->cities_len; i++)
        if (strcmp(t->cities[i].name, name) == 0)
            return (int)i;
    return -ENOENT;
}

int topology_pop(const struct topology *t, const char *city_name)
{
    for (unsigned i = 0; i < t->pops_len; i++)
        if (strcmp(t->cities[t->pops[i].city].name, city_name) == 0)
            return (int)i;
    return -ENOENT;
}

// The city in which end a (or b) of a link stands.
static const char *end_city(const struct topology *t, const struct link *l, bool end_b)
{
    unsigned i = end_b ? l->b : l->a;
    bool is_pop = l->kind == LINK_BACKBONE || (l->kind == LINK_TRANSIT && end_b);
    return t->cities[is_pop ? t->pops[i].city : i].name;
}

static void name_link(const struct topology *t, const struct link *l, bool swapped,
                      char ret[static LINK_NAME_MAX])
{
    if (l->kind == LINK_TRANSIT)
        snprintf(ret, LINK_NAME_MAX, "%s-transit", end_city(t, l, false));
    else
        snprintf(ret, LINK_NAME_MAX, "%s%s-%s", kind_prefix[l->kind], end_city(t, l, swapped),
                 end_city(t, l, !swapped));
}

int topology_link(const struct topology *t, const char *name)
{
    for (unsigned i = 0; i < t->links_len; i++) {
        char other[LINK_NAME_MAX];
        name_link(t, &t->links[i], true, other);
        if (strcmp(t->links[i].name, name) == 0 || strcmp(other, name) == 0)
            return (int)i;
    }
    return -ENOENT;
}

unsigned topology_transit(const struct topology *t, unsigned pop)
{
    unsigned i = 0;
    while (t->links[i].kind != LINK_TRANSIT || t->links[i].b != pop) {
        i++;
        ASSERT(i < t->links_len); // every POP got one when it was read
    }
    return i;
}

bool link_touches_city(const struct link *l, unsigned city)
{
    return (l->kind != LINK_BACKBONE && l->a == city) || (l->kind == LINK_PUBLIC && l->b == city);
}

bool link_touches_pop(const struct link *l, unsigned pop)
{
    return (l->kind == LINK_BACKBONE && l->a == pop) || (l->kind != LINK_PUBLIC && l->b == pop);
}

// Bellman and Ford: at most cities - 1 rounds over all links.
void topology_distances(const struct topology *t, unsigned to, enum routing by,
                        uint32_t ret[static CITIES_MAX])
{
    for (unsigned i = 0; i < CITIES_MAX; i++)
        ret[i] = i == to ? 0 : UINT32_MAX;
    for (bool changed = true; changed;) {
        changed = false;
        for (unsigned i = 0; i < t->links_len; i++) {
            const struct link *l = &t->links[i];
            if (l->kind != LINK_PUBLIC || l->config.cut || l->config.unplugged)
                continue;
            uint64_t cost = by == ROUTING_RTT ? 2 * l->config.delay_ns / NS_PER_US : 1;
            if (ret[l->a] + cost < ret[l->b]) {
                ret[l->b] = (uint32_t)(ret[l->a] + cost);
                changed = true;
            } else if (ret[l->b] + cost < ret[l->a]) {
                ret[l->a] = (uint32_t)(ret[l->b] + cost);
                changed = true;
            }
        }
    }
}

// Names become parts of file, namespace and device names.
static bool name_is_good(const char *s, size_t max)
{
    static const char *const taken[] = {"lo", "br0", "client", "pop", "transit", "drain"};
    size_t len = strlen(s);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        if (strcmp(s, taken[i]) == 0)
            return false;
    return len > 0 && len < max && s[0] >= 'a' && s[0] <= 'z' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static int read_name(const struct yaml_node *map, const char *key, size_t max, char *ret,
                     struct err *err)
{
    const char *s = "";
    int r = yaml_str(map, key, &s, err);
    if (r < 0)
        return r;
    if (!name_is_good(s, max))
        return yaml_error(yaml_get(map, key), err,
                          "'%.40s' must be 1 to %zu of a-z, 0-9 and '-', start with a letter, and "
                          "not be a device's name",
                          s, max - 1);
    memcpy(ret, s, strlen(s) + 1);
    return 0;
}

static int read_city(struct topology *t, const struct yaml_node *n, struct err *err)
{
    static const struct yaml_key keys[] = {{"name", true}, {"client", false}};
    struct city c = {.client = true};
    int r = yaml_keys(n, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = read_name(n, "name", sizeof(c.name), c.name, err);
    if (r == 0)
        r = yaml_bool(n, "client", &c.client, err);
    if (r < 0)
        return r;
    if (topology_city(t, c.name) >= 0)
        return yaml_error(yaml_get(n, "name"), err, "city '%s' is there already", c.name);
    if (t->cities_len == CITIES_MAX)
        return yaml_error(n, err, "more than %d cities", CITIES_MAX);
    t->cities[t->cities_len++] = c;
    return 0;
}

static int read_pop(struct topology *t, const struct yaml_node *n, struct err *err)
{
    static const struct yaml_key keys[] = {{"city", true}, {"region", true}};
    struct pop p = {0};
    const char *name = "";
    int r = yaml_keys(n, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_str(n, "city", &name, err);
    if (r == 0)
        r = read_name(n, "region", sizeof(p.region), p.region, err);
    if (r < 0)
        return r;
    int city = topology_city(t, name);
    if (city < 0)
        return yaml_error(yaml_get(n, "city"), err, "no city '%.40s'", name);
    for (unsigned i = 0; i < t->pops_len; i++)
        if (t->pops[i].city == (unsigned)city || strcmp(t->pops[i].region, p.region) == 0)
            return yaml_error(n, err, "city or region has a POP already");
    if (t->pops_len == POPS_MAX)
        return yaml_error(n, err, "more than %d POPs", POPS_MAX);
    p.city = (unsigned)city;
    t->pops[t->pops_len++] = p;
    return 0;
}

static int read_config(const struct yaml_node *n, int measured_us, struct link_config *ret,
                       struct err *err)
{
    const double delay_max_ms = (double)LINK_DELAY_MAX_NS / 1e6;
    double rtt_ms = measured_us / 1000.0, jitter_ms = 0, loss_pct = 0, rate_mbit = 0;
    uint64_t queue = LINK_QUEUE_DEFAULT;
    int r = yaml_double(n, "rtt_ms", 0, 2 * delay_max_ms, &rtt_ms, err);
    if (r == 0)
        r = yaml_double(n, "jitter_ms", 0, delay_max_ms, &jitter_ms, err);
    if (r == 0)
        r = yaml_double(n, "loss_pct", 0, 100, &loss_pct, err);
    if (r == 0)
        r = yaml_double(n, "rate_mbit", 0.001, 1e6, &rate_mbit, err);
    if (r == 0)
        r = yaml_size(n, "queue", 1500, 1 << 30, &queue, err);
    *ret = (struct link_config){.delay_ns = (uint64_t)(rtt_ms * 1e6 / 2),
                                .jitter_ns = (uint64_t)(jitter_ms * 1e6),
                                .rate_bps = (uint64_t)(rate_mbit * 1e6),
                                .queue_bytes = (uint32_t)queue,
                                .loss_ppm = (uint32_t)(loss_pct * PPM_PER_PCT)};
    return r;
}

static int add_link(struct topology *t, const struct yaml_node *n, struct link l, struct err *err)
{
    name_link(t, &l, false, l.name);
    if (topology_link(t, l.name) >= 0)
        return yaml_error(n, err, "link '%s' is there already", l.name);
    if (t->links_len == LINKS_MAX)
        return yaml_error(n, err, "more than %d links", LINKS_MAX);
    t->links[t->links_len++] = l;
    return 0;
}

static int read_end(const struct topology *t, const struct yaml_node *n, enum link_kind kind,
                    unsigned *ret, struct err *err)
{
    const char *name = "";
    int r = yaml_as_str(n, &name, err);
    if (r < 0)
        return r;
    int i = kind == LINK_PUBLIC ? topology_city(t, name) : topology_pop(t, name);
    if (i < 0)
        return yaml_error(n, err, "no %s '%.40s'", kind == LINK_PUBLIC ? "city" : "POP", name);
    *ret = (unsigned)i;
    return 0;
}

static int read_link(struct topology *t, const struct yaml_node *n, enum link_kind kind,
                     struct err *err)
{
    static const struct yaml_key keys[] = {{"between", true},    {"rtt_ms", false},
                                           {"jitter_ms", false}, {"loss_pct", false},
                                           {"rate_mbit", false}, {"queue", false}};
    struct link l = {.kind = kind};
    const struct yaml_node *ends = NULL;
    int r = yaml_keys(n, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_child(n, "between", YAML_SEQUENCE, &ends, err);
    if (r < 0)
        return r;
    if (ends == NULL || yaml_count(ends) != 2)
        return yaml_error(yaml_get(n, "between"), err, "must be two names");
    r = read_end(t, yaml_at(ends, 0), kind, &l.a, err);
    if (r == 0)
        r = read_end(t, yaml_at(ends, 1), kind, &l.b, err);
    if (r < 0)
        return r;
    if (l.a == l.b)
        return yaml_error(ends, err, "a link needs two different ends");
    int us = rtt_us(end_city(t, &l, false), end_city(t, &l, true));
    if (us < 0 && yaml_get(n, "rtt_ms") == NULL)
        return yaml_error(n, err, "no measured round trip between '%s' and '%s': add rtt_ms",
                          end_city(t, &l, false), end_city(t, &l, true));
    r = read_config(n, MAX(us, 0), &l.config, err);
    return r < 0 ? r : add_link(t, n, l, err);
}

static int read_links(struct topology *t, const struct yaml_node *root, const char *key,
                      enum link_kind kind, struct err *err)
{
    const struct yaml_node *list = NULL;
    int r = yaml_child(root, key, YAML_SEQUENCE, &list, err);
    for (size_t i = 0; r == 0 && list != NULL && i < yaml_count(list); i++)
        r = read_link(t, yaml_at(list, i), kind, err);
    return r;
}

// Every POP hangs on its city's router by a link of its own, so that it can be cut off.
static int add_transits(struct topology *t, const struct yaml_node *root, struct err *err)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < t->pops_len; i++)
        r = add_link(t, root,
                     (struct link){.kind = LINK_TRANSIT,
                                   .a = t->pops[i].city,
                                   .b = i,
                                   .config.queue_bytes = LINK_QUEUE_DEFAULT},
                     err);
    return r;
}

static int read_service(struct topology *t, const struct yaml_node *root, struct err *err)
{
    const char *s = "198.51.100.0/24"; // TEST-NET-2, RFC 5737
    int r = yaml_str(root, "service", &s, err);
    if (r < 0)
        return r;
    char text[INET_ADDRSTRLEN] = "";
    const char *slash = strchr(s, '/');
    struct in_addr a;
    char *end = NULL;
    long len = slash != NULL ? strtol(slash + 1, &end, 10) : -1;
    if (slash != NULL && (size_t)(slash - s) < sizeof(text))
        memcpy(text, s, (size_t)(slash - s));
    if (end == NULL || *end != '\0' || slash[1] < '0' || slash[1] > '9' || len < 8 || len > 32 ||
        inet_pton(AF_INET, text, &a) != 1 || (len < 32 && (ntohl(a.s_addr) << len) != 0))
        return yaml_error(yaml_get(root, "service"), err,
                          "'%.40s' is no prefix like 198.51.100.0/24", s);
    t->service_prefix = ntohl(a.s_addr);
    t->service_len = (unsigned)len;
    return 0;
}

static int read_settings(struct topology *t, const struct yaml_node *root, struct err *err)
{
    static const char *const routings[] = {[ROUTING_RTT] = "rtt", [ROUTING_AS_PATH] = "as-path"};
    static const struct yaml_key bfd_keys[] = {{"interval", false}, {"multiplier", false}};
    uint64_t interval = 100, multiplier = 3, seed = 1;
    unsigned routing = ROUTING_RTT;
    const struct yaml_node *bfd = NULL;
    int r = read_service(t, root, err);
    if (r == 0)
        r = yaml_choice(root, "routing", routings, ARRAY_LEN(routings), &routing, err);
    if (r == 0)
        r = yaml_uint(root, "seed", 0, INT64_MAX, &seed, err);
    if (r == 0)
        r = yaml_child(root, "bfd", YAML_MAPPING, &bfd, err);
    if (r == 0 && bfd != NULL)
        r = yaml_keys(bfd, bfd_keys, ARRAY_LEN(bfd_keys), err);
    if (r == 0 && bfd != NULL)
        r = yaml_duration_ms(bfd, "interval", 10, 60000, &interval, err);
    if (r == 0 && bfd != NULL)
        r = yaml_uint(bfd, "multiplier", 1, 255, &multiplier, err);
    t->routing = routing;
    t->seed = seed;
    t->bfd_ms = (unsigned)interval;
    t->bfd_multiplier = (unsigned)multiplier;
    return r;
}

static int check_connected(const struct topology *t, const struct yaml_node *root, struct err *err)
{
    uint32_t us[CITIES_MAX];
    topology_distances(t, 0, ROUTING_RTT, us);
    for (unsigned i = 0; i < t->cities_len; i++)
        if (us[i] == UINT32_MAX)
            return yaml_error(root, err, "no links lead from '%s' to '%s'", t->cities[0].name,
                              t->cities[i].name);
    return 0;
}

static int read_root(struct topology *t, const struct yaml_node *root, struct err *err)
{
    static const struct yaml_key keys[] = {{"cities", true},    {"pops", true},    {"links", true},
                                           {"backbone", false}, {"bfd", false},    {"seed", false},
                                           {"service", false},  {"routing", false}};
    const struct yaml_node *cities = NULL, *pops = NULL;
    int r = yaml_keys(root, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = read_settings(t, root, err);
    if (r == 0)
        r = yaml_child(root, "cities", YAML_SEQUENCE, &cities, err);
    for (size_t i = 0; r == 0 && cities != NULL && i < yaml_count(cities); i++)
        r = read_city(t, yaml_at(cities, i), err);
    if (r == 0 && t->cities_len == 0)
        r = yaml_error(root, err, "no cities");
    if (r == 0)
        r = yaml_child(root, "pops", YAML_SEQUENCE, &pops, err);
    for (size_t i = 0; r == 0 && pops != NULL && i < yaml_count(pops); i++)
        r = read_pop(t, yaml_at(pops, i), err);
    if (r == 0)
        r = read_links(t, root, "links", LINK_PUBLIC, err);
    if (r == 0)
        r = add_transits(t, root, err);
    if (r == 0)
        r = read_links(t, root, "backbone", LINK_BACKBONE, err);
    return r < 0 ? r : check_connected(t, root, err);
}

int topology_parse(const char *name, const char *text, size_t len, struct topology *ret,
                   struct err *err)
{
    CLEANUP(yaml_freep) struct yaml *y = NULL;
    memset(ret, 0, sizeof(*ret));
    int r = yaml_load(name, text, len, &y, err);
    return r < 0 ? r : read_root(ret, yaml_root(y), err);
}

int topology_load(const char *path, struct topology *ret, struct err *err)
{
    CLEANUP(yaml_freep) struct yaml *y = NULL;
    memset(ret, 0, sizeof(*ret));
    int r = yaml_load_file(path, &y, err);
    return r < 0 ? r : read_root(ret, yaml_root(y), err);
}
