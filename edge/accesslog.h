// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The access log: workers put lines into a ring of their own and never wait; one thread writes them
 * out. A line that finds no room is counted and dropped. */
#include "base/base.h"
#include "edge/http.h"
#include "host/err.h"

enum {
    LOG_RING_BYTES = 1 << 20,
    LOG_LINE_MAX = 2048, // longer request targets are cut
    LOG_FLUSH_MS = 100,
};

// One producer (the worker), one consumer (the writing thread).
struct log_ring {
    char *bytes;   // LOG_RING_BYTES, NULL: no log wanted
    uint64_t head; // atomic: written up to here; release by the producer
    uint64_t tail; // atomic: read up to here; release by the consumer
};

struct log_entry {
    const char *app, *peer, *region; // never NULL; "-" when there is none
    struct http_slice client, method, target;
    uint16_t status;
    uint64_t bytes, duration_us;
    uint64_t wall_ms;
    unsigned tries;
};

NONNULL MUST_CHECK int log_ring_init(struct log_ring *r);
NONNULL void log_ring_deinit(struct log_ring *r);
/* False when there was no room. */
NONNULL bool log_ring_put(struct log_ring *r, const struct log_entry *e);

struct access_log;
/* Write to path ("-": standard output), opened for appending.
 * The rings stay the caller's, the list of them is copied. */
NONNULL MUST_CHECK int access_log_start(const char *path, struct log_ring **rings, unsigned n,
                                        struct access_log **ret, struct err *err);
/* Open the file again after it was rotated. */
NONNULL void access_log_reopen(struct access_log *l);
/* Write what is there, stop the thread. */
void access_log_stop(struct access_log *l);
