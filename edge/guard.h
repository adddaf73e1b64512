// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The guard: a tiny process that owns the service addresses on `lo`, because their presence there
 * is what BIRD announces, and because it must end when the edge does, however the edge ends.
 *
 * The edge says which addresses it serves and which of them are announced, and gives a sign of life
 * every GUARD_BEAT_MS. When the edge dies the guard removes everything at once; when the edge is
 * silent for GUARD_SILENCE_MS (stopped, hung) it withdraws the addresses until the edge is back.
 *
 * An address that is served but not announced keeps a local route without the address, so that
 * connections that are still under way are answered while the rest of the world goes elsewhere. */
#include "edge/addr.h"
#include "host/err.h"
#include "host/loop.h"

enum { GUARD_BEAT_MS = 50, GUARD_SILENCE_MS = 300, GUARD_ADDRS_MAX = 256 };

struct guard_addr {
    uint8_t family; // AF_INET or AF_INET6
    bool announce;
    uint8_t bytes[16];
};

struct guard {
    struct loop *loop;
    struct loop_fd lfd;
    int pid;
    const char *lock_path;
    uint32_t seq, acked;              // of settings
    int error;                        // of the last acknowledged setting: 0 or negative errno
    void (*changed)(struct guard *g); // an acknowledgement came
    void (*lost)(struct guard *g);    // the guard process died: start it again and set again
    unsigned addrs_n;
    struct guard_addr addrs[GUARD_ADDRS_MAX]; // as set last
};

/* Where the program's arguments lie: the guard writes its own name there, so that a list of
 * processes does not show a second edge. */
NONNULL void guard_title(int argc, char **argv);

/* Fork the guard. lock_path: held by it while it lives, so that the guard of a killed edge has
 * finished before the next one begins. The first time, call it before there are threads. */
NONNULL MUST_CHECK int guard_start(struct guard *g, struct loop *loop, const char *lock_path,
                                   struct err *err);
/* Set what is served and announced; addresses not named are removed altogether. */
NONNULL void guard_set(struct guard *g, const struct guard_addr *addrs, unsigned n);
NONNULL void guard_beat(struct guard *g);
/* Wait until the last setting was acknowledged: 0 or -ETIMEDOUT. */
NONNULL MUST_CHECK int guard_settle(struct guard *g, int timeout_ms);
/* Have everything removed and wait for the guard's end. */
NONNULL void guard_stop(struct guard *g);
