// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The process that carries all links: a TUN device at each end of each link, a queue in each
 * direction. It owns those devices with their addresses, and makes them when it starts. Others ask
 * it to change a link over a socket of packets (SOCK_SEQPACKET), both sides from the same build. */
#include "base/base.h"
#include "host/err.h"
#include "lab/link.h"
#include "lab/topology.h"

enum wan_verb { WAN_READ, WAN_SET };

struct wan_request {
    uint32_t verb; // enum wan_verb
    uint32_t link; // index in the topology
    struct link_config config;
};

struct wan_counters {        // of one direction
    uint64_t packets, bytes; // delivered
    uint64_t lost;           // by the link's loss
    uint64_t cut;            // while the link was cut, those in flight included
    uint64_t queue_full;     // by the link's queue
    uint64_t memory_full;    // by this process's own bound: raise it if this ever grows
    uint64_t refused;        // by the device at the other end
};

struct wan_answer {
    int32_t result; // 0 or negative errno
    struct link_config config;
    struct wan_counters a_to_b, b_to_a;
};

/* Carry the links of t until SIGTERM. Says "ready" by closing ready_fd (-1: to nobody) once all
 * devices stand and the socket listens. Returns 0, or a negative errno with *err. */
NONNULL MUST_CHECK int wan_run(const struct topology *t, const char *lab, const char *socket_path,
                               int ready_fd, struct err *err);

/* The other side: a connection (CLOEXEC), and one exchange over it. */
NONNULL MUST_CHECK int wan_connect(const char *socket_path, struct err *err);
NONNULL MUST_CHECK int wan_ask(int fd, const struct wan_request *q, struct wan_answer *ret,
                               struct err *err);
