// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Who is called what and has which address on the simulated planet; pure arithmetic on the
 * topology, so that every process of a lab comes to the same answer. All addresses are in host
 * order.
 *
 *     namespaces   LAB-CITY (clients)   LAB-CITY-rt (router)   LAB-CITY-pop (point of presence)
 *     10.100.C.0/24   city C's clients: .1 the router (device "client"), .2 the client ("eth0")
 *     10.80.N.0/24    region N's instances: .1 the bridge br0 in the POP
 *     10.90.0.N       POP N on the backbone
 *     10.101.x.y      the two ends of public and transit links
 *
 * C and N count from 1 in the order of the file. In a router the device to another city is called
 * after that city, the one to its POP "pop"; in a POP the way out is "transit", the device to
 * another POP is called after that POP's city. */
#include <stdio.h>

#include "base/base.h"
#include "host/netns.h"
#include "host/rtnl.h"
#include "lab/topology.h"

enum {
    LAB_NAME_MAX = 12,    // bytes with NUL
    PLAN_POP_AS = 64500,  // one network for all POPs; RFC 5398
    PLAN_CITY_AS = 65001, // and up: one network a city; RFC 6996
};

enum plan_place { PLACE_CLIENT, PLACE_ROUTER, PLACE_POP };

NONNULL void plan_netns(const char *lab, const char *city, enum plan_place place,
                        char ret[static NETNS_NAME_MAX]);

uint32_t plan_client_net(unsigned city);   // /24
uint32_t plan_region_net(unsigned pop);    // /24
uint32_t plan_backbone_addr(unsigned pop); // /32

// One end of a link: where, which device, its own address and the other end's.
struct plan_end {
    char netns[NETNS_NAME_MAX];
    char dev[RTNL_NAME_MAX];
    uint32_t addr, peer;
};
NONNULL void plan_end(const struct topology *t, const char *lab, unsigned link, bool end_b,
                      struct plan_end *ret);

/* BIRD 2 configurations of a city's router and of a POP. */
NONNULL void plan_bird_router(const struct topology *t, unsigned city, FILE *to);
NONNULL void plan_bird_pop(const struct topology *t, unsigned pop, FILE *to);
