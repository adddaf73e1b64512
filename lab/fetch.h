// SPDX-License-Identifier: Apache-2.0
#pragma once
/* An HTTP client that asks on a schedule of its own (it does not wait for one answer before the
 * next question), so that a silence shows in its full length. Runs in the calling thread's
 * namespace. */
#include "base/base.h"
#include "host/err.h"
#include "lab/answer.h"

enum {
    FETCH_IN_FLIGHT_MAX = 512, // requests; beyond it a request fails with -EBUSY
    FETCH_PATH_MAX = 512,
};

struct fetch_url {
    uint32_t addr; // host order
    uint16_t port;
    char host[64]; // as written, with the port
    char path[FETCH_PATH_MAX];
};

/* http://A.B.C.D[:PORT][/PATH]; the lab has no name service. */
NONNULL MUST_CHECK int fetch_url_parse(const char *text, struct fetch_url *ret, struct err *err);

struct fetch_plan {
    struct fetch_url url;
    uint64_t every_ns;   // between requests
    uint64_t count;      // requests
    uint32_t timeout_ms; // of each
    bool keep_alive;     // use connections again; otherwise a new one each time
    int stop_fd;         // send no more once it is readable; -1: none
};

// One request's end. Times on CLOCK_MONOTONIC, 0 when that point was not reached.
struct fetch_done {
    uint64_t sent_ns; // connection begun, or request written to one that stood
    uint64_t connected_ns, first_byte_ns, done_ns;
    int error;    // 0, or negative errno: -ETIMEDOUT, -ECONNREFUSED, -EPROTO ...
    bool retried; // a kept connection had ended meanwhile, so it was asked again on a new one
    const struct answer *answer; // valid when error is 0, during the call
};

/* Run to the end: calls done() once a request, in the order in which they end. */
typedef void fetch_done_fn(const struct fetch_done *done, void *context);
__attribute__((nonnull(1, 2, 4))) MUST_CHECK int
fetch_run(const struct fetch_plan *plan, fetch_done_fn *done, void *context, struct err *err);
