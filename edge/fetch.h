// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The edge's own small HTTP client, for the control thread's loop: health checks, the backbone's
 * status, the controller's watch and reports. One request at a time; nothing blocks. */
#include "edge/addr.h"
#include "edge/http.h"
#include "host/loop.h"

struct fetch {
    struct loop *loop;
    struct addr to;
    bool keep; // keep the connection for the next request

    /* A piece of the body; may be NULL. */
    void (*data)(struct fetch *f, const char *p, size_t n);
    /* The end, once a request. error 0: f->status and the whole body were received; else negative
     * errno. A new request may be started from here, and f may be freed. */
    void (*done)(struct fetch *f, int error);

    uint16_t status;
    uint32_t rtt_us; // from the request's last byte to the answer's first

    // private
    struct loop_fd lfd;
    struct loop_timer timer;
    enum fetch_state { FETCH_IDLE, FETCH_CONNECT, FETCH_SEND, FETCH_HEAD, FETCH_BODY } state;
    bool reused, up_stays;
    uint32_t timeout_ms;
    uint64_t sent_us;
    char *out; // owned
    size_t out_len, out_at;
    char in[HTTP_HEAD_MAX];
    size_t in_len;
    uint8_t framing;
    uint64_t left;
    struct http_chunks chunks;
};

NONNULL void fetch_init(struct fetch *f, struct loop *loop, const struct addr *to);
NONNULL void fetch_deinit(struct fetch *f);

/* Send a whole request (head and body). It fails with -ETIMEDOUT when nothing is heard for
 * timeout_ms. f must be idle. `done` is never called from within. */
NONNULL void fetch_start(struct fetch *f, const char *request, size_t len, uint32_t timeout_ms);
/* Only connect, and call done. */
NONNULL void fetch_probe(struct fetch *f, uint32_t timeout_ms);
/* Give up without calling done. */
NONNULL void fetch_cancel(struct fetch *f);
NONNULL static inline bool fetch_busy(const struct fetch *f)
{
    return f->state != FETCH_IDLE;
}
