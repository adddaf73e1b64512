// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the control thread and the workers share.
 *
 * The control thread builds an immutable `struct snapshot` from each table and publishes it;
 * workers take a reference, switch over, and requests pin the snapshot they began with. Peers,
 * routes and listeners live across snapshots; only the control thread creates and frees them, when
 * no snapshot names them any more. Fields that both sides touch are atomic and relaxed: each is a
 * single number that nothing else is ordered by, except where said otherwise. */
#include <pthread.h>

#include "edge/addr.h"
#include "edge/table.h"

enum {
    WORKERS_MAX = 64,
    PEERS_MAX = 8192, // instances and POPs that an edge talks to
    CACHE_LINE = 64,
    STATUS_TEXT_MAX = 1 << 20, // what the backbone tells other POPs
};

#define RELAXED_LOAD(x)     __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define RELAXED_STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
// For counters with one writer.
#define COUNT_ADD(x, n) RELAXED_STORE(x, RELAXED_LOAD(x) + (n))

// One worker's share of a peer's figures; written by that worker only.
struct share {
    uint32_t in_flight;
    uint64_t requests, failures;
} __attribute__((aligned(CACHE_LINE)));

// Something that we open connections to: an instance of our region, or another POP's backbone.
struct peer {
    char name[TABLE_NAME_MAX]; // immutable from here on
    char region[TABLE_NAME_MAX];
    struct addr address;
    bool is_pop;
    unsigned slot;        // index of its pool in every worker
    unsigned refs;        // control thread
    bool up;              // atomic: takes requests (written by the control thread)
    uint32_t fails;       // atomic: requests failed in a row (written by workers)
    bool doubted;         // atomic: a worker asks for a check now
    struct share *shares; // one a worker
};

// One service's way over one POP.
struct route {
    char app[TABLE_NAME_MAX]; // immutable
    struct peer *pop;         // immutable, a reference
    unsigned refs;            // control thread
    bool usable;              // atomic: that POP has a healthy instance of it
    bool full;                // atomic: hysteresis
    uint32_t capacity;        // atomic: of the region
    uint32_t others;          // atomic: requests in flight there that are not ours
    uint32_t rtt_us;          // atomic
    uint64_t full_until_ms;   // atomic: it has just refused one of ours
    struct share *shares;
};

// A service's figures and hysteresis, kept across snapshots.
struct tally {
    char app[TABLE_NAME_MAX];
    unsigned refs; // control thread
    bool full;     // atomic: our own region is full
    struct tally_share {
        uint64_t requests, status[6], retries, spilled, shed, bytes_out;
    } __attribute__((aligned(CACHE_LINE))) * shares;
};

// One SO_REUSEPORT socket a worker, all bound to a service's address and port.
struct listener {
    struct addr address;
    unsigned refs; // control thread
    unsigned fds_n;
    int fds[WORKERS_MAX];
};

struct snap_instance {
    struct peer *peer;
    uint32_t capacity;
    bool serving;
};

struct snap_service {
    const struct table_service *spec;
    struct tally *tally;
    struct listener *listener; // NULL: could not be bound
    char host[ADDR_TEXT_MAX];  // Host for requests without one
    unsigned locals_n, routes_n;
    struct snap_instance *locals; // of our own region
    struct route **routes;
};

struct snapshot {
    unsigned refs;       // atomic; acquire/release: the last user's reads precede the free
    uint64_t generation; // 1, 2, ...: which one it is
    struct table *table;
    unsigned services_n;
    struct snap_service *services; // sorted by app
};

// What the whole process has once; immutable unless said otherwise.
struct edge_shared {
    char pop[TABLE_NAME_MAX], region[TABLE_NAME_MAX];
    char via[TABLE_NAME_MAX + 8];
    unsigned workers_n;
    bool draining;                // atomic: say Connection: close
    struct snapshot *published;   // atomic, release/acquire: the snapshot's contents
    pthread_mutex_t publish_lock; // protects the step from reading `published` to holding it
    pthread_mutex_t status_lock;  // protects status_text
    size_t status_len;
    char *status_text; // JSON for other POPs
    void (*wake_control)(struct edge_shared *sh);
};

NONNULL uint32_t shares_in_flight(const struct share *shares, unsigned n);

/* A reference to the newest snapshot (NULL before the first). */
NONNULL struct snapshot *snapshot_take(struct edge_shared *sh);
NONNULL void snapshot_drop(struct snapshot *s);

/* The service of that name or NULL. */
NONNULL struct snap_service *snapshot_service(struct snapshot *s, const char *app, size_t app_len);
