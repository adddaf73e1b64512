// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A planet: cities, points of presence in some of them, links between them. Read from YAML
 * (skerry-lab(1) has the keys), checked as a whole, then immutable. */
#include "base/base.h"
#include "host/err.h"
#include "lab/link.h"

enum {
    CITY_NAME_MAX = 16,   // bytes with NUL: also the name of a device
    REGION_NAME_MAX = 32, // bytes with NUL
    LINK_NAME_MAX = 48,   // bytes with NUL
    CITIES_MAX = 64,
    POPS_MAX = 32,
    LINKS_MAX = 256,
};

enum routing {
    ROUTING_RTT,     // BGP follows the sum of round trips (as MED)
    ROUTING_AS_PATH, // BGP follows the number of networks, as most of the world does
};

struct city {
    char name[CITY_NAME_MAX];
    bool client; // has a client namespace
};

struct pop {
    unsigned city; // index; a POP is called after its city
    char region[REGION_NAME_MAX];
};

enum link_kind {
    LINK_PUBLIC,   // a, b: cities; carries BGP
    LINK_TRANSIT,  // a: city, b: pop; the POP's way into the world
    LINK_BACKBONE, // a, b: pops; our own
};

struct link {
    char name[LINK_NAME_MAX]; // "london-frankfurt", "london-transit", "backbone-london-mumbai"
    enum link_kind kind;
    unsigned a, b;
    struct link_config config; // at the start
};

struct topology {
    uint32_t service_prefix; // addresses that POPs may announce
    unsigned service_len;
    enum routing routing;
    unsigned bfd_ms, bfd_multiplier;
    uint64_t seed; // of loss and jitter
    struct city cities[CITIES_MAX];
    unsigned cities_len;
    struct pop pops[POPS_MAX];
    unsigned pops_len;
    struct link links[LINKS_MAX];
    unsigned links_len;
};

/* 0, or a negative errno with *err naming file, line and key. *ret is whole only after 0. */
NONNULL MUST_CHECK int topology_load(const char *path, struct topology *ret, struct err *err);
NONNULL MUST_CHECK int topology_parse(const char *name, const char *text, size_t len,
                                      struct topology *ret, struct err *err);

/* Index, or -ENOENT. A link is found by its name, with its two cities in either order. */
NONNULL MUST_CHECK int topology_city(const struct topology *t, const char *name);
NONNULL MUST_CHECK int topology_pop(const struct topology *t, const char *city_name);
NONNULL MUST_CHECK int topology_link(const struct topology *t, const char *name);

/* The link by which a POP reaches the world. */
NONNULL unsigned topology_transit(const struct topology *t, unsigned pop);

/* Does the link end in this city's router / this POP? */
NONNULL bool link_touches_city(const struct link *l, unsigned city);
NONNULL bool link_touches_pop(const struct link *l, unsigned pop);

/* From every city to city `to`, by the best path of public links that are not cut: the round trip
 * in microseconds, or for ROUTING_AS_PATH the number of links; UINT32_MAX: none. */
NONNULL void topology_distances(const struct topology *t, unsigned to, enum routing by,
                                uint32_t ret[static CITIES_MAX]);
