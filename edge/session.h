// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside a worker: client connections, their exchanges, upstream connections and tunnels.
 *
 * Everything is driven by session_step: an event sets flags in a `struct chan`, then the session
 * goes on from where it stands until nothing can move. Steps say what comes next and never free the
 * session themselves; session_step does, at one place. */
#include "edge/chan.h"
#include "edge/worker.h"

enum {
    CLIENT_IDLE_MS = 65000,  // between requests
    CLIENT_HEAD_MS = 10000,  // from the first byte of a head to its last: 408
    CLIENT_STALL_MS = 30000, // without a byte of a body or room for one: 408
    ANSWER_MS = 60000,       // for an instance's response head: 504
    TUNNEL_IDLE_MS = 3600000,
    LINGER_MS = 1000, // after our last byte, for the client to take it
    CONNECT_MS = 1000,
    UPSTREAM_IDLE_MS = 60000,
    WARM_MS = 1000, // between connections opened in advance to one POP
    SURE_MS = 1000, // a connection idle for less is taken to be open still
    POOL_MAX = 256, // idle connections to one peer
    READS_MAX = 16, // in a row from one connection, then others get their turn
    TRIES_MAX = 4,  // one request on so many peers
    RETRY_PERCENT = 20,
    RETRY_COST = 100,
    RETRY_TOKENS_MAX = RETRY_COST * 100,
    REFUSED_MS = 200, // a POP that had no room is not asked again for so long
};

enum step { STEP_WAIT, STEP_AGAIN, STEP_DEAD };

enum session_state {
    SESSION_HEAD,    // waits for a request
    SESSION_REQUEST, // an exchange is in progress
    SESSION_TUNNEL,  // bytes both ways
    SESSION_FLUSH,   // the response is complete, its last bytes wait
    SESSION_LINGER,  // closed on our side; reads what still comes
};

struct upstream {
    struct chan chan;
    struct worker *worker;
    struct peer *peer;
    struct session *session; // NULL: idle in the pool
    struct list node;        // in the pool
    struct loop_timer timer; // connecting, or idle
    bool connecting, reused;
    uint64_t sent;  // bytes over its life
    struct buf *in; // part of a response head
};

// The body of one direction on its way in.
struct body {
    uint8_t framing; // enum http_framing
    bool done;
    uint64_t left; // HTTP_BODY_LENGTH
    struct http_chunks chunks;
};

struct exchange {
    struct view *view; // pinned
    struct snap_service *service;
    struct peer *peer;   // in flight on it
    struct route *route; // likewise, when peer is a POP
    struct upstream *up;
    struct buf *head; // the request as sent, body bytes that came along included; kept for retries
    uint32_t head_sent; // of head
    uint32_t capacity;
    uint8_t method, minor, tries;
    bool keep_alive; // the client wants it
    bool upgrade, expect;
    bool body_taken;  // bytes of the request are gone that head does not hold
    bool answering;   // a response byte has been read
    bool head_out;    // the final response head has been written to the client
    bool up_reusable; // by what the response head said
    uint8_t out_framing;
    struct body request, response;
    uint16_t status;
    uint64_t bytes_out, started_us;
    uint32_t method_len, target_len; // in head
    struct peer *tried[TRIES_MAX];
};

struct session {
    struct chan chan;
    struct worker *worker;
    struct acceptor *acceptor;
    struct list node;
    struct list again; // in the worker's list of those
    struct loop_timer timer;
    uint8_t state;    // enum session_state
    bool tcp;         // plain TCP mode
    struct buf *in;   // bytes read but not used
    uint32_t scanned; // of in, looked at for the end of a head
    uint8_t client_len;
    char client[46]; // the client's address
    struct exchange x;
};

// session.c: client connections and their requests
NONNULL void session_accept(struct acceptor *a);
NONNULL void session_step(struct session *s);
NONNULL void session_free(struct session *s);
/* Go on in the next round, after others; returns STEP_WAIT. */
NONNULL enum step session_yield(struct session *s);
/* Answer with a short text of our own; the exchange, if there is one, ends. */
NONNULL enum step session_answer(struct session *s, uint16_t status, const char *text);
/* The exchange is over: tidy up and see what the client connection does next. */
NONNULL enum step session_finish(struct session *s, bool client_may_stay);

// exchange.c: one request and its response
NONNULL enum step exchange_start(struct session *s, struct snap_service *service);
NONNULL enum step exchange_start_tcp(struct session *s, struct snap_service *service);
NONNULL enum step exchange_step(struct session *s);
NONNULL void exchange_end(struct session *s, bool up_stays);
/* Its upstream connection failed or took too long: try another or give up with `status`. */
NONNULL enum step exchange_failed(struct session *s, uint16_t status, const char *why);
NONNULL void exchange_timeout(struct session *s);

// pick.c: the live figures put before edge/choose.h
/* Choose a peer for the exchange: 0; -EAGAIN: all full; -EHOSTUNREACH: none. local_only: no POPs.
 */
NONNULL MUST_CHECK int pick_peer(struct session *s, bool local_only);
NONNULL void pick_release(struct session *s); // no longer in flight there
/* There is a peer that was not tried and takes requests, room or not. */
NONNULL bool pick_has_other(const struct session *s);

// upstream.c
/* A connection to x.peer: idle from the pool, or a new one on its way. 0 or negative errno. */
NONNULL MUST_CHECK int upstream_take(struct session *s, bool fresh);
NONNULL void upstream_give(struct upstream *u);
NONNULL void upstream_close(struct upstream *u);
/* Close idle connections to peers that are down or that the snapshot sends no requests to (NULL:
 * all). */
void upstream_sweep(struct worker *w, struct snapshot *s);
/* See that there is an idle connection to every POP that requests may be sent to: a handshake costs
 * a long round trip. */
NONNULL void upstream_warm(struct worker *w, struct snapshot *s);
/* The peer's TCP never acknowledged what was sent last, so its program cannot have read it. */
NONNULL bool upstream_unread(const struct upstream *u);

// tunnel.c
NONNULL enum step tunnel_step(struct session *s);

// worker.c
NONNULL const char *worker_date(struct worker *w);
NONNULL uint64_t worker_random(struct worker *w);
NONNULL void view_unpin(struct worker *w, struct view *v);
NONNULL void acceptor_left(struct acceptor *a);
uint64_t clock_us(void);
