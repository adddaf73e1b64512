// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Devices, addresses and routes of a network namespace, spoken to the kernel directly
 * (rtnetlink(7)). A handle belongs to the namespace in which it was opened, wherever its user is.
 * One thread at a time. IPv4 addresses are numbers in host order: 10.0.0.1 is 0x0a000001. */
#include "base/base.h"
#include "host/err.h"

enum { RTNL_NAME_MAX = 16 }; // bytes of a device's name with its NUL (IFNAMSIZ)

struct rtnl {
    int fd;
    uint32_t sequence;
};

/* netns: a descriptor (netns_open), or -1 for the calling thread's own. */
NONNULL MUST_CHECK int rtnl_open(int netns, struct rtnl *ret, struct err *err);
NONNULL void rtnl_close(struct rtnl *rt);

// Devices. A veth's other end is made in the namespace peer_netns.
NONNULL MUST_CHECK int rtnl_veth(struct rtnl *rt, const char *dev, const char *peer, int peer_netns,
                                 struct err *err);
NONNULL MUST_CHECK int rtnl_bridge(struct rtnl *rt, const char *dev, struct err *err);
NONNULL MUST_CHECK int rtnl_delete(struct rtnl *rt, const char *dev, struct err *err);

struct rtnl_change {
    uint32_t mtu;       // 0: as it is
    uint32_t queue_len; // 0: as it is
    const char *master; // bridge to join; NULL: as it is
    bool up;            // false: as it is
};
NONNULL MUST_CHECK int rtnl_change(struct rtnl *rt, const char *dev, const struct rtnl_change *c,
                                   struct err *err);

/* peer: the address at the other end of a point-to-point device, 0 for none. -EEXIST: there. */
NONNULL MUST_CHECK int rtnl_addr_add(struct rtnl *rt, const char *dev, uint32_t addr,
                                     unsigned prefix_len, uint32_t peer, struct err *err);
NONNULL MUST_CHECK int rtnl_addr_delete(struct rtnl *rt, const char *dev, uint32_t addr,
                                        unsigned prefix_len, struct err *err);

/* A route to dst/len through dev, by the gateway via unless that is 0, preferring the source
 * address src unless that is 0. -EEXIST: there is such a route. */
NONNULL MUST_CHECK int rtnl_route_add(struct rtnl *rt, uint32_t dst, unsigned len, uint32_t via,
                                      uint32_t src, const char *dev, struct err *err);

/* Where the kernel would send a packet for dst: the device's name. -ENETUNREACH or -EHOSTUNREACH:
 * nowhere (err is set then too). `lo` for an address of its own. */
NONNULL MUST_CHECK int rtnl_route_get(struct rtnl *rt, uint32_t dst, char ret_dev[RTNL_NAME_MAX],
                                      struct err *err);

// A route that came or went (rtnl_watch), of the main table.
struct rtnl_route_event {
    uint32_t dst;
    uint8_t len;
    bool gone;
};

/* Follow the IPv4 routes of a namespace: first all that are there, then changes. ret->fd is
 * readable when there is something to read. */
NONNULL MUST_CHECK int rtnl_watch(int netns, struct rtnl *ret, struct err *err);

/* Call each() for all that is there now. 0, or -ENOBUFS: events were lost, watch anew. */
typedef void rtnl_route_fn(const struct rtnl_route_event *event, void *context);
MUST_CHECK int rtnl_watch_read(struct rtnl *rt, rtnl_route_fn *each, void *context);
