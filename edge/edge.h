// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The control thread of skerry-edge: it follows the controller's table, checks instances and POPs,
 * decides what is announced, and reports. Workers never wait for it. */
#include <jansson.h>

#include "edge/accesslog.h"
#include "edge/fetch.h"
#include "edge/guard.h"
#include "edge/health.h"
#include "edge/worker.h"

enum {
    REPORT_MS = 1000,
    STATUS_MS = 100, // between looks at everything: status text, announcements
    POLL_MS = 250,   // of another POP over the backbone
    POLL_TIMEOUT_MS = 1500, // a new connection takes two round trips, and the longest is 380 ms
    POLL_RISE = 1,
    POLL_FALL = 2,
    WATCH_SILENCE_MS = 15000,
    WATCH_LINE_MAX = 8 << 20,
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 2000,
    WORKER_HUNG_MS = 2000,
    DRAIN_GRACE_MS = 1000, // from withdrawal to closed listeners: routers need some of it
    RTT_SAMPLES = 8,
    DEAD_SNAPSHOTS_MAX = 64,
};

struct edge_options {
    const char *pop, *region, *control, *backbone, *admin, *access_log, *state_dir;
    unsigned workers, drain_s;
    bool pin;
};

struct edge;

// Checks one instance of our own region.
struct checker {
    struct list node;
    struct edge *edge;
    struct peer *peer;
    struct table_health spec;
    struct health health;
    struct fetch fetch;
    struct loop_timer timer;
    uint64_t began_ms;
    bool tcp, wanted;
};

// Asks another POP how it fares.
struct poller {
    struct list node;
    struct edge *edge;
    struct peer *peer;
    struct health health;
    struct fetch fetch;
    struct loop_timer timer;
    uint32_t rtt_us[RTT_SAMPLES]; // 0: none yet
    unsigned rtt_at;
    json_t *status; // its last answer or NULL
    char *body;     // of the answer being received
    size_t body_len;
    bool wanted;
};

struct edge {
    struct loop loop;
    struct edge_shared shared;
    struct edge_options options;
    struct addr control;
    struct worker *workers; // options.workers of them
    struct access_log *log;
    struct guard guard;
    struct snapshot *current;
    uint64_t generations;                      // made so far
    struct snapshot *dead[DEAD_SNAPSHOTS_MAX]; // replaced, maybe still pinned
    unsigned dead_n;
    struct peer *peers[PEERS_MAX]; // by slot
    struct list checkers, pollers;
    struct route **routes;
    struct tally **tallies;
    struct listener **listeners;
    unsigned routes_n, tallies_n, listeners_n;

    struct fetch watch, report;
    struct loop_timer watch_again, report_timer, status_timer, beat_timer, drain_timer;
    uint32_t watch_backoff_ms;
    char *line; // of the watch, being received
    size_t line_len;
    bool connected;    // the controller's watch stands
    uint64_t reported; // generation of the last report
    uint64_t told;     // what the last report said, in short (see report_gist)
    uint64_t set_ms;   // when the guard was last told
    bool leaving;      // SIGTERM came
    uint64_t leave_ms;
    int signal_fd;
    struct loop_fd signals, admin;
    uint64_t started_ms;
};

// snapshot.c
/* Build a snapshot from a table (taken over) and make it the current one. */
NONNULL MUST_CHECK int edge_apply(struct edge *e, struct table *t, struct err *err);
/* Free what no worker uses any more. */
NONNULL void edge_reap(struct edge *e);
NONNULL void edge_free_all(struct edge *e);
/* Whether there is a current snapshot and every worker has switched to it. */
NONNULL bool edge_applied(const struct edge *e);

// probe.c
NONNULL void probes_follow(struct edge *e);
NONNULL void probes_doubt(struct edge *e); // workers have reported failures
NONNULL void probes_free(struct edge *e);
NONNULL const struct checker *checker_of(const struct edge *e, const struct peer *p);
/* What other POPs say of an instance of their region. */
NONNULL bool remote_healthy(const struct edge *e, const char *app, const struct table_instance *i);
NONNULL uint32_t poller_rtt(const struct poller *p); // least of the last ones, 0: none
NONNULL void status_publish(struct edge *e);
NONNULL void workers_wake(struct edge *e);

// admin.c
NONNULL MUST_CHECK int admin_open(struct edge *e, const struct addr *at, struct err *err);

// edge.c
NONNULL MUST_CHECK int edge_run(const struct edge_options *o, struct err *err);
NONNULL bool edge_can_serve(const struct edge *e, const struct snap_service *sv);
NONNULL bool edge_announced(const struct edge *e, const struct snap_service *sv);
NONNULL void edge_decide(struct edge *e); // what is announced
