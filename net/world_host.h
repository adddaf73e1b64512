// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A world of stacks in virtual time, for tests and measurements on the host: machines with a stack
 * each, joined by a wire that delays, limits, loses, repeats, reorders and damages frames by a
 * seeded generator. Nothing here knows a real clock, so a world repeats to the bit.
 *
 *     world_init() -> world_step() until it is false or the test has what it wants ->
 * world_deinit()
 */
#include "net/dhcp.h"
#include "net/net.h"
#include "net/tcp.h"
#include "net/udp.h"

enum { WORLD_MACHINES_MAX = 4 };

struct link_model {
    uint64_t delay, jitter;        // ns one way; jitter is uniform and reorders
    uint64_t rate;                 // bits per second, 0: no limit
    uint64_t queue;                // bytes that may wait at the rate limit
    uint32_t loss, repeat, damage; // chances in a million
    uint32_t mtu; // 0: any; a router on the way refuses longer packets and says so (RFC 1191)
};

struct frame; // on its way

struct machine {
    struct world *world;
    struct net_stack *net;
    uint32_t ip;
    struct link_model out; // of frames that it sends
    uint64_t busy_until;   // its side of the wire
    bool completes_csum;   // its device does
    // what its stack holds
    int64_t packets, bytes;
    uint32_t alloc_fail; // chances in a million that memory is refused
    uint64_t frames_out, frames_dropped;
    struct pkt *held[16]; // sent, but the device has not finished with them
};

struct world {
    uint64_t now;
    uint64_t random;
    struct machine machines[WORLD_MACHINES_MAX];
    unsigned machines_len;
    struct frame **heap; // by time of arrival
    size_t heap_len, heap_max;
    uint64_t order;
    // Called for each event of a socket; sockets' user pointers are the test's.
    void (*event)(struct world *w, struct machine *m, struct tcp *t, struct udp *u, void *user,
                  uint32_t ready);
    // Sees each frame that a machine sends; true: the frame is gone. NULL: none.
    bool (*tap)(struct world *w, struct machine *m, const uint8_t *frame, size_t len);
    void *user;
};

/* Machines get the addresses 10.0.0.1, .2, ... /24. `config` is the base of each stack's, may be
 * NULL. */
void world_init(struct world *w, uint64_t seed, unsigned machines, const struct net_config *config,
                const struct link_model *link);
void world_deinit(struct world *w);

/* Go to the next thing that happens before or at `until` and let it happen. False: nothing does,
 * and it is `until` now. */
bool world_step(struct world *w, uint64_t until);

/* Give a machine's stack a frame, as if the wire had. */
void world_inject(struct machine *m, const void *frame, size_t len);

uint64_t world_random(struct world *w);
static inline bool world_chance(struct world *w, uint32_t in_a_million)
{
    return in_a_million != 0 && world_random(w) % 1000000 < in_a_million;
}
