// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A worker: one thread pinned to one core with its own event loop, listeners, connections, pools
 * and counters. It shares nothing with other workers but `struct edge_shared`. */
#include "edge/accesslog.h"
#include "edge/buf.h"
#include "edge/http.h"
#include "edge/state.h"
#include "host/loop.h"

enum {
    RELAY_MAX = 65536,  // bytes moved by one read
    SPLICE_MIN = 65536, // bytes of a body still to come that make splice(2) pay
    LATENCY_BUCKETS = 12,
    SESSIONS_MAX = 65536, // client connections of one worker, if there are descriptors enough
};

// Upper bounds of the latency histogram in microseconds; the last bucket is open.
extern const uint32_t latency_bounds_us[LATENCY_BUCKETS - 1];

// Written by the worker, read by the control thread.
struct worker_counts {
    uint64_t accepted, refused; // client connections taken; closed at once for want of room
    uint64_t bad_requests;      // 4xx of our own for malformed requests
    uint64_t upstream_opened, upstream_reused, keepalive_races;
    uint64_t client_aborts, log_dropped;
    uint64_t latency[LATENCY_BUCKETS], latency_sum_us;
    uint32_t sessions, exchanges; // now open; now in progress
};

struct pool {
    struct list idle; // newest first
    unsigned idle_n;
    uint64_t warmed_ms; // no new connection in advance before
};

/* A snapshot as this worker uses it: exchanges pin it without touching the shared count. */
struct view {
    struct list node;
    struct snapshot *snap;
    unsigned users;
};

// Where connections come in: a service's listener, or the backbone's (service NULL).
struct acceptor {
    struct list node;
    struct loop_fd lfd;
    struct worker *worker;
    struct listener *listener;    // identity only; NULL for the backbone
    struct snap_service *service; // of the current view; NULL when it is gone
    unsigned sessions;
    bool backbone, closed;
    bool paused; // out of descriptors: until the next tick
};

struct worker {
    struct loop loop;
    struct edge_shared *shared;
    unsigned index;
    pthread_t thread;
    struct view *view; // the current one, NULL before the first table
    struct list views; // older ones, still used
    struct list acceptors;
    struct list sessions; // all client connections
    struct list again;    // sessions that gave way and go on in the next round
    struct pool *pools;   // by peer slot, PEERS_MAX of them
    struct buf_pool bufs;
    struct log_ring log;
    struct worker_counts counts;
    uint32_t sessions_max;
    uint64_t random;
    uint32_t retry_tokens; // hundredths of a retry
    struct loop_timer tick;
    uint64_t date_s;                // the second that `date` shows
    char date[32];                  // "Sun, 06 Nov 1994 08:49:37 GMT"
    uint64_t generation;            // atomic: of the snapshot that is in use here; 0: none
    uint64_t alive_ms;              // atomic: last sign of life
    uint32_t order;                 // atomic: enum worker_order
    int pipe[2];                    // empty between uses: bodies pass through it uncopied
    int backbone_fd;                // a SO_REUSEPORT socket of its own
    struct http_head head;          // of the message being looked at
    char scratch[RELAY_MAX];        // what was just read
    char out[HTTP_HEAD_MAX + 4096]; // a response head being written
};

enum worker_order { WORKER_SERVE, WORKER_STOP_ACCEPTING, WORKER_QUIT };

/* Start the thread. backbone_fd < 0: none. The worker owns it from then on. */
NONNULL MUST_CHECK int worker_start(struct worker *w, struct edge_shared *sh, unsigned index,
                                    bool pin, int backbone_fd, struct err *err);
/* Tell it that a snapshot was published or that an order changed. Any thread. */
NONNULL void worker_wake(struct worker *w);
NONNULL void worker_order(struct worker *w, enum worker_order order);
NONNULL void worker_join(struct worker *w);
