// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The model of one direction of a wide-area link: a queue of bounded bytes drained at a rate, then
 * a wire that delays, jitters and loses. Pure: the time and the packet's length go in, the time of
 * its arrival comes out, and the same seed gives the same fate to the same packets. */
#include "base/base.h"

enum {
    LINK_QUEUE_DEFAULT = 256 * 1024, // bytes in front of a rate, when none is said
    LINK_DELAY_MAX_NS = 2000000000,  // one way
};

// What a link is set to; both directions share it. Replaced as a whole.
struct link_config {
    uint64_t delay_ns;    // one way, <= LINK_DELAY_MAX_NS
    uint64_t jitter_ns;   // added on top: uniform in 0..jitter
    uint64_t rate_bps;    // bits per second; 0: no limit
    uint32_t queue_bytes; // waiting for the rate; a packet that would exceed it is dropped
    uint32_t loss_ppm;    // of packets, on the wire (they have used the rate)
    bool reorder;         // jitter may let packets overtake each other
    bool cut;             // nothing gets through, and nobody is told
    bool unplugged; // the same, but both ends see the carrier go (whoever owns them does that)
};

struct link_state {
    uint64_t random;  // state of the generator, never 0
    uint64_t free_ns; // when the rate has sent what was accepted
    uint64_t last_ns; // the latest arrival promised so far
};

enum link_fate { LINK_ARRIVES, LINK_LOST, LINK_CUT, LINK_QUEUE_FULL };

NONNULL void link_init(struct link_state *s, uint64_t seed);

/* A packet of `bytes` enters at now_ns (never before an earlier call's). LINK_ARRIVES with
 * *ret_arrival_ns; without reordering arrivals never go backwards. */
NONNULL MUST_CHECK enum link_fate link_enter(struct link_state *s, const struct link_config *c,
                                             uint64_t now_ns, uint32_t bytes,
                                             uint64_t *ret_arrival_ns);

/* Bytes that wait for the rate at now_ns. */
NONNULL uint64_t link_backlog(const struct link_state *s, const struct link_config *c,
                              uint64_t now_ns);
