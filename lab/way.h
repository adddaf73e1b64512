// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Where packets go, as far as the routers of a running lab know: their kernels' routes followed
 * from city to city. */
#include "base/base.h"
#include "host/err.h"
#include "host/rtnl.h"
#include "lab/topology.h"

struct way_finder {
    const struct topology *topo;     // borrowed; its links' delays are those that count
    struct rtnl routers[CITIES_MAX]; // by city
    struct rtnl pops[POPS_MAX];      // by POP
};

struct way {
    bool arrives;
    bool to_pop;     // it ends in a POP (of city), else among the clients of city
    unsigned city;   // where it ends
    unsigned hops;   // public links on it
    uint64_t rtt_us; // there and back by the links' delays
};

/* Open the routers of a lab. On failure nothing is left open. */
NONNULL MUST_CHECK int way_open(struct way_finder *f, const struct topology *t, const char *lab,
                                struct err *err);
NONNULL void way_close(struct way_finder *f);

/* From a city's router to addr (host order). */
NONNULL struct way way_follow(struct way_finder *f, unsigned city, uint32_t addr);

/* Do all routes of all cities, to every city's clients and every region, cost no more than BGP can
 * make them cost with the links as they are, and does every POP know all clients? Then routing has
 * settled. If not, ret_example says where. What is cut off is not asked for. */
enum { WAY_EXAMPLE_MAX = 96 };
NONNULL bool way_all_best(struct way_finder *f, char ret_example[static WAY_EXAMPLE_MAX]);

/* The same of an anycast address (host order): does every city's route to it end in the nearest POP
 * of those that have it on their own loopback now? */
NONNULL bool way_anycast_best(struct way_finder *f, uint32_t addr,
                              char ret_example[static WAY_EXAMPLE_MAX]);
