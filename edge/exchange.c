// SPDX-License-Identifier: Apache-2.0
/* One request and its response, from the choice of a peer to the last byte. */
#include "edge/health.h"
#include "edge/session.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fmt.h"

enum { HEAD_EXTRA = 512, SMALL_BODY = 2048, FRAME_MAX = 24 };

uint64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

const uint32_t latency_bounds_us[LATENCY_BUCKETS - 1] = {
    250, 500, 1000, 2500, 5000, 10000, 25000, 100000, 250000, 1000000, 10000000};

// ------------------------------------------------------------------------------- books of one

static void exchange_log(struct session *s, uint64_t duration_us)
{
    const struct exchange *x = &s->x;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct http_slice none = {"-", 1};
    struct log_entry e = {
        .app = x->service->spec->app,
        .peer = x->peer == NULL ? "-" : x->peer->name,
        .region = x->peer == NULL ? "-" : x->peer->region,
        .client = {s->client, s->client_len},
        .method = s->tcp || x->head == NULL ? none : (struct http_slice){x->head->p, x->method_len},
        .target = s->tcp || x->head == NULL
                      ? none
                      : (struct http_slice){x->head->p + x->method_len + 1, x->target_len},
        .status = x->status,
        .bytes = x->bytes_out,
        .duration_us = duration_us,
        .wall_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
        .tries = x->tries,
    };
    if (!log_ring_put(&s->worker->log, &e))
        COUNT_ADD(s->worker->counts.log_dropped, 1);
}

static void exchange_count(struct session *s, uint64_t duration_us)
{
    struct worker *w = s->worker;
    const struct exchange *x = &s->x;
    struct tally_share *t = &x->service->tally->shares[w->index];
    unsigned bucket = 0;
    while (bucket < LATENCY_BUCKETS - 1 && duration_us > latency_bounds_us[bucket])
        bucket++;
    COUNT_ADD(w->counts.latency[bucket], 1);
    COUNT_ADD(w->counts.latency_sum_us, duration_us);
    COUNT_ADD(t->requests, 1);
    COUNT_ADD(t->status[MIN(x->status / 100u, 5u)], 1);
    COUNT_ADD(t->bytes_out, x->bytes_out);
}

void exchange_end(struct session *s, bool up_stays)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    uint64_t duration_us = clock_us() - x->started_us;
    exchange_count(s, duration_us);
    if (w->log.bytes != NULL)
        exchange_log(s, duration_us);
    pick_release(s);
    struct upstream *u = TAKE(x->up);
    if (u != NULL && up_stays && x->up_reusable && x->response.done && x->request.done)
        upstream_give(u);
    else if (u != NULL)
        upstream_close(u);
    buf_give(&w->bufs, &x->head);
    view_unpin(w, TAKE(x->view));
    COUNT_ADD(w->counts.exchanges, (uint32_t)-1);
}

static void exchange_init(struct session *s, struct snap_service *service)
{
    struct worker *w = s->worker;
    s->x = (struct exchange){.view = w->view, .service = service, .started_us = clock_us()};
    w->view->users++;
    COUNT_ADD(w->counts.exchanges, 1);
    s->state = SESSION_REQUEST;
    loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + ANSWER_MS);
    w->retry_tokens = MIN(w->retry_tokens + RETRY_PERCENT, (uint32_t)RETRY_TOKENS_MAX);
}

// ----------------------------------------------------------------------------- the request head

static bool via_pop(const struct exchange *x)
{
    return x->route != NULL;
}

/* Write w->head for the peer that was picked. False when it does not fit. */
static bool head_write(struct session *s, struct writer *out, bool again)
{
    struct exchange *x = &s->x;
    bool from_client = !again && !s->acceptor->backbone;
    struct http_request_edit edit = {
        .via = again ? NULL : s->worker->shared->via,
        .client = {s->client, from_client ? s->client_len : 0},
        .service = via_pop(x) ? x->service->spec->app : NULL,
        .host = x->service->host,
    };
    http_write_request(out, &s->worker->head, &edit);
    return !out->full;
}

static int head_build(struct session *s)
{
    struct exchange *x = &s->x;
    const struct http_head *h = &s->worker->head;
    x->head = buf_take(&s->worker->bufs, h->len + HEAD_EXTRA);
    if (x->head == NULL)
        return -ENOMEM;
    struct writer out = writer_of(x->head->p, x->head->size);
    if (!head_write(s, &out, false))
        return -EMSGSIZE;
    x->head->end = (uint32_t)out.len;
    x->method_len = h->method_text.len;
    x->target_len = h->target.len;
    // A short body that came along is kept with the head: one write, and it can be sent again.
    struct buf *in = s->in;
    if (x->request.framing == HTTP_BODY_LENGTH) {
        size_t fits = MIN(buf_len(in), buf_room(x->head)), n = MIN(x->request.left, fits);
        memcpy(x->head->p + x->head->end, in->p + in->at, n);
        x->head->end += (uint32_t)n;
        in->at += (uint32_t)n;
        x->request.left -= n;
        x->request.done = x->request.left == 0;
    }
    if (buf_len(in) == 0)
        buf_give(&s->worker->bufs, &s->in);
    return 0;
}

/* The next peer is of the other kind than the one the head was written for: write it again from
 * what we have written. */
static int head_rebuild(struct session *s)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    struct buf *old = x->head;
    int n = http_head_end(old->p, old->end, 0);
    if (n < 0 || http_request(old->p, (size_t)n, &w->head) < 0)
        return -EPROTO;
    struct buf *b = buf_take(&w->bufs, old->end + HEAD_EXTRA);
    if (b == NULL)
        return -ENOMEM;
    struct writer out = writer_of(b->p, b->size);
    bool fits = head_write(s, &out, true);
    writer_bytes(&out, old->p + n, old->end - (uint32_t)n);
    b->end = (uint32_t)out.len;
    if (!fits || out.full) {
        buf_give(&w->bufs, &b);
        return -EMSGSIZE;
    }
    buf_give(&w->bufs, &x->head);
    x->head = b;
    return 0;
}

// What another POP is told to open a TCP connection for us.
static int head_connect(struct session *s)
{
    struct exchange *x = &s->x;
    const char *app = x->service->spec->app;
    if (x->head == NULL)
        x->head = buf_take(&s->worker->bufs, BUF_SMALL);
    if (x->head == NULL)
        return -ENOMEM;
    x->head->at = 0;
    x->head->end = (uint32_t)fmt(x->head->p, x->head->size,
                                 "CONNECT %s HTTP/1.1\r\nHost: %s\r\nX-Skerry-Service: %s\r\n"
                                 "X-Forwarded-For: %.*s\r\n\r\n",
                                 app, app, app, (int)s->client_len, s->client);
    return 0;
}

// ------------------------------------------------------------------------------------ attempts

static void note_failure(struct session *s, bool sure)
{
    struct worker *w = s->worker;
    struct peer *p = s->x.peer;
    COUNT_ADD(p->shares[w->index].failures, 1);
    uint32_t fails = __atomic_add_fetch(&p->fails, 1, __ATOMIC_RELAXED);
    if ((sure || fails >= HEALTH_DOUBT) && !RELAXED_LOAD(p->doubted)) {
        RELAXED_STORE(p->doubted, true);
        w->shared->wake_control(w->shared);
    }
}

static void note_success(struct peer *p)
{
    if (RELAXED_LOAD(p->fails) != 0)
        RELAXED_STORE(p->fails, 0);
}

static int head_for_pick(struct session *s, bool was_pop)
{
    struct exchange *x = &s->x;
    if (s->tcp)
        return via_pop(x) ? head_connect(s) : 0;
    if (x->method == HTTP_CONNECT)
        return 0;
    if (x->head == NULL)
        return head_build(s);
    return was_pop != via_pop(x) ? head_rebuild(s) : 0;
}

/* Pick a peer that was not tried and get a connection to it. */
static enum step attempt(struct session *s, bool was_pop)
{
    struct exchange *x = &s->x;
    while (x->tries < TRIES_MAX) {
        int r = pick_peer(s, s->acceptor->backbone);
        if (r == -EAGAIN) {
            COUNT_ADD(x->service->tally->shares[s->worker->index].shed, 1);
            return session_answer(s, 503, "Every instance is busy.");
        }
        if (r < 0)
            break;
        x->tried[x->tries++] = x->peer;
        r = head_for_pick(s, was_pop);
        if (r == -EMSGSIZE)
            return session_answer(s, 431, "The request head is too long.");
        if (r < 0)
            return STEP_DEAD;
        was_pop = via_pop(x);
        x->head_sent = 0;
        r = upstream_take(s, x->tries > 1);
        if (r == 0)
            return STEP_AGAIN;
        // Running out of something ourselves says nothing about the peer.
        if (r == -ECONNREFUSED || r == -ENETUNREACH || r == -EHOSTUNREACH || r == -ETIMEDOUT)
            note_failure(s, true);
        pick_release(s);
    }
    return x->tries == 0 ? session_answer(s, 503, "No instance is healthy.")
                         : session_answer(s, 502, "No instance could be reached.");
}

enum step exchange_start(struct session *s, struct snap_service *service)
{
    const struct http_head *h = &s->worker->head;
    exchange_init(s, service);
    struct exchange *x = &s->x;
    x->method = h->method;
    x->minor = h->minor;
    x->keep_alive = h->keep_alive;
    x->upgrade = h->upgrade;
    x->expect = h->expect;
    x->request.framing = h->framing;
    x->request.left = h->length;
    x->request.done = h->framing == HTTP_BODY_NONE;
    return attempt(s, false);
}

enum step exchange_start_tcp(struct session *s, struct snap_service *service)
{
    exchange_init(s, service);
    struct exchange *x = &s->x;
    x->method = HTTP_CONNECT;
    x->minor = 1;
    x->request.done = true;
    x->keep_alive = true;
    return attempt(s, false);
}

enum step exchange_failed(struct session *s, uint16_t status, const char *why)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    bool nothing_sent = x->head_sent == 0;
    bool race = x->up->reused && !x->answering && status == 502;
    bool again = http_idempotent(x->method) || x->method == HTTP_CONNECT || nothing_sent ||
                 (race && upstream_unread(x->up));
    upstream_close(TAKE(x->up));
    x->up_reusable = false;
    if ((x->answering && !s->tcp) || x->body_taken || !again) {
        note_failure(s, status == 504);
        return session_answer(s, status, why);
    }
    x->answering = false;
    if (race) {
        // It closed while idle, just when we wrote: no failure of the peer. Once more, afresh.
        COUNT_ADD(w->counts.keepalive_races, 1);
        x->head_sent = 0;
        if (upstream_take(s, true) == 0)
            return STEP_AGAIN;
    }
    note_failure(s, nothing_sent);
    if (w->retry_tokens < RETRY_COST)
        return session_answer(s, status, why);
    w->retry_tokens -= RETRY_COST;
    COUNT_ADD(x->service->tally->shares[w->index].retries, 1);
    bool was_pop = via_pop(x);
    pick_release(s);
    return attempt(s, was_pop);
}

// The POP that we sent it to has no room: ask the next one; nothing was done there.
static enum step refused_by_pop(struct session *s)
{
    struct exchange *x = &s->x;
    RELAXED_STORE(x->route->full_until_ms, s->worker->loop.now_ms + REFUSED_MS);
    upstream_close(TAKE(x->up));
    x->answering = false;
    pick_release(s);
    return attempt(s, true);
}

// ---------------------------------------------------------------------------------------- bodies

struct piece {
    struct iovec iov[4];
    int n;
    char frame[FRAME_MAX];
    size_t used; // bytes of the input that belonged to the body
    size_t data; // bytes of content
};

static void piece_add(struct piece *p, const void *bytes, size_t n)
{
    p->iov[p->n++] = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
}

static size_t hex_frame(char *to, uint64_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = 0;
    for (int shift = 60; shift >= 0; shift -= 4)
        if (n >> shift != 0)
            to[len++] = digits[n >> shift & 15];
    to[len++] = '\r';
    to[len++] = '\n';
    return len;
}

/* Take what arrived of a body and lay it out for the other side in `out` framing, after what is in
 * ret->iov already. -EPROTO: not what the framing promised. */
static int body_take(struct body *b, uint8_t out, char *p, size_t n, struct piece *ret)
{
    char *data = p;
    ret->data = ret->used = n;
    if (b->framing == HTTP_BODY_LENGTH) {
        ret->data = ret->used = MIN(n, b->left);
        b->left -= ret->used;
        b->done = b->left == 0;
    } else if (b->framing == HTTP_BODY_CHUNKED) {
        int r = http_chunks_decode(&b->chunks, p, n, &ret->used, &data, &ret->data);
        if (r < 0)
            return r;
        b->done = r == 1;
    }
    bool chunked = out == HTTP_BODY_CHUNKED;
    if (ret->data > 0) {
        if (chunked)
            piece_add(ret, ret->frame, hex_frame(ret->frame, ret->data));
        piece_add(ret, data, ret->data);
    }
    if (chunked && ret->data > 0)
        piece_add(ret, "\r\n0\r\n\r\n", b->done ? 7 : 2);
    else if (chunked && b->done)
        piece_add(ret, "0\r\n\r\n", 5);
    return 0;
}

// -------------------------------------------------------------------------------- request's way

/* The instance does not take the request any more. What it has answered is still worth reading. */
static enum step request_cut(struct session *s)
{
    struct exchange *x = &s->x;
    x->body_taken |= !x->request.done;
    x->request.framing = HTTP_BODY_NONE;
    x->request.done = true;
    x->keep_alive = x->keep_alive && !x->body_taken;
    x->up_reusable = false;
    x->up->chan.error = true;
    x->up->chan.readable = true;
    return STEP_WAIT;
}

static enum step request_head_pump(struct session *s)
{
    struct exchange *x = &s->x;
    struct upstream *u = x->up;
    size_t left = x->head->end - x->head_sent;
    ssize_t n = send(u->chan.lfd.fd, x->head->p + x->head_sent, left, MSG_NOSIGNAL);
    if (n < 0) {
        // Broken already; what was answered before that, if anything, is found by reading.
        u->chan.error |= errno != EAGAIN;
        u->chan.readable |= u->chan.error;
        return STEP_WAIT;
    }
    x->head_sent += (uint32_t)n;
    u->sent += (uint64_t)n;
    return (size_t)n == left ? STEP_AGAIN : STEP_WAIT;
}

// One piece of the request's body. WAIT: nothing there now.
static enum step request_body_pump(struct session *s)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    struct piece piece = {0};
    char *p = w->scratch;
    size_t n;
    bool buffered = s->in != NULL;
    if (buffered) {
        p = s->in->p + s->in->at;
        n = buf_len(s->in);
    } else {
        ssize_t got = s->chan.readable ? chan_recv(&s->chan, p, RELAY_MAX) : -EAGAIN;
        if (got == -EAGAIN)
            return STEP_WAIT;
        if (got <= 0) {
            COUNT_ADD(w->counts.client_aborts, 1);
            return STEP_DEAD;
        }
        n = (size_t)got;
    }
    x->body_taken = true;
    if (body_take(&x->request, x->request.framing, p, n, &piece) < 0) {
        upstream_close(TAKE(x->up));
        COUNT_ADD(w->counts.bad_requests, 1);
        return x->head_out ? STEP_DEAD : session_answer(s, 400, "A malformed chunked body.");
    }
    for (int i = 0; i < piece.n; i++)
        x->up->sent += piece.iov[i].iov_len;
    bool cut = chan_send(&x->up->chan, &w->bufs, piece.iov, piece.n) < 0;
    loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + CLIENT_STALL_MS);
    // What follows the body is the next request.
    if (buffered) {
        s->in->at += (uint32_t)piece.used;
        if (buf_len(s->in) == 0)
            buf_give(&w->bufs, &s->in);
    } else if (piece.used < n) {
        s->in = buf_take(&w->bufs, n - piece.used);
        if (s->in == NULL)
            return STEP_DEAD;
        memcpy(s->in->p, p + piece.used, n - piece.used);
        s->in->end = (uint32_t)(n - piece.used);
    }
    if (x->request.done)
        loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + ANSWER_MS);
    return cut ? request_cut(s) : STEP_AGAIN;
}

static enum step request_pump(struct session *s)
{
    struct exchange *x = &s->x;
    struct chan *up = &x->up->chan;
    if (up->pend != NULL) {
        int r = chan_flush(up, &s->worker->bufs);
        if (r < 0)
            return r == -EAGAIN ? STEP_WAIT : request_cut(s);
    }
    enum step r = STEP_AGAIN;
    if (x->head_sent < x->head->end)
        r = request_head_pump(s);
    // The body may turn out malformed and end the exchange, connection and all.
    for (int i = 0; r == STEP_AGAIN && s->state == SESSION_REQUEST && x->up != NULL &&
                    !x->request.done && up->pend == NULL;
         i++)
        r = i < READS_MAX ? request_body_pump(s) : session_yield(s);
    return r;
}

// -------------------------------------------------------------------------------- response's way

static enum step response_over(struct session *s)
{
    struct exchange *x = &s->x;
    return session_finish(s, x->keep_alive && x->request.done);
}

// The response broke off in the middle: the client must be able to see that.
static enum step response_truncated(struct session *s)
{
    struct linger abort = {.l_onoff = 1, .l_linger = 0};
    if (s->x.out_framing == HTTP_BODY_CLOSE)
        setsockopt(s->chan.lfd.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
    note_failure(s, false);
    s->x.keep_alive = false;
    s->x.up_reusable = false;
    return s->x.out_framing == HTTP_BODY_CLOSE ? STEP_DEAD : session_finish(s, false);
}

/* Bytes of the body, `head` bytes of w->out in front of them. */
static enum step response_body(struct session *s, size_t head, char *p, size_t n)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    struct piece piece = {0};
    if (head > 0)
        piece_add(&piece, w->out, head);
    if (!x->response.done && n > 0 && body_take(&x->response, x->out_framing, p, n, &piece) < 0)
        return response_truncated(s);
    x->bytes_out += piece.data;
    x->up_reusable &= piece.used == n; // bytes beyond the end: not to be trusted again
    if (piece.n == 2 && head > 0 && piece.iov[1].iov_len <= SMALL_BODY &&
        head + piece.iov[1].iov_len <= sizeof(w->out)) {
        memcpy(w->out + head, piece.iov[1].iov_base, piece.iov[1].iov_len);
        piece.iov[0].iov_len += piece.iov[1].iov_len;
        piece.n = 1;
    }
    if (chan_send(&s->chan, &w->bufs, piece.iov, piece.n) < 0) {
        COUNT_ADD(w->counts.client_aborts, 1);
        return STEP_DEAD;
    }
    loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + ANSWER_MS);
    return x->response.done ? response_over(s) : STEP_AGAIN;
}

// What the final response head means for both connections; written into out.
static void response_decide(struct session *s, struct writer *out)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    const struct http_head *h = &w->head;
    x->status = h->status;
    x->response = (struct body){
        .framing = h->framing, .left = h->length, .done = h->framing == HTTP_BODY_NONE};
    x->out_framing = h->framing;
    if (h->framing == HTTP_BODY_CLOSE || h->framing == HTTP_BODY_CHUNKED)
        x->out_framing = x->minor >= 1 ? HTTP_BODY_CHUNKED : HTTP_BODY_CLOSE;
    x->keep_alive =
        x->keep_alive && x->out_framing != HTTP_BODY_CLOSE && !RELAXED_LOAD(w->shared->draining);
    x->up_reusable = h->keep_alive && h->framing != HTTP_BODY_CLOSE && !x->up->chan.error;
    struct http_response_edit edit = {
        .pop = s->acceptor->backbone ? NULL : w->shared->pop,
        .region = via_pop(x) ? NULL : w->shared->region,
        .date = worker_date(w),
        .framing = x->out_framing,
        .close = !x->keep_alive,
        .say_alive = x->minor == 0 && x->keep_alive,
    };
    http_write_response(out, h, &edit);
    x->head_out = true;
}

static enum step become_tunnel(struct session *s, char *rest, size_t n)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    buf_give(&w->bufs, &x->up->in);
    if (n > 0) {
        x->up->in = buf_take(&w->bufs, n);
        if (x->up->in == NULL)
            return STEP_DEAD;
        memcpy(x->up->in->p, rest, n);
        x->up->in->end = (uint32_t)n;
    }
    x->head_out = x->response.done = x->answering = true;
    x->up_reusable = false;
    s->state = SESSION_TUNNEL;
    return STEP_AGAIN;
}

// 101 to the client, then the tunnel; or, for plain TCP, the other POP's consent.
static enum step response_switch(struct session *s, char *rest, size_t n)
{
    struct worker *w = s->worker;
    s->x.status = w->head.status;
    if (!s->tcp) {
        struct writer out = writer_of(w->out, sizeof(w->out));
        struct http_response_edit edit = {
            .pop = s->acceptor->backbone ? NULL : w->shared->pop,
            .region = via_pop(&s->x) ? NULL : w->shared->region,
            .date = worker_date(w),
        };
        http_write_response(&out, &w->head, &edit);
        struct iovec iov = {.iov_base = w->out, .iov_len = out.len};
        if (s->chan.pend != NULL || chan_send(&s->chan, &w->bufs, &iov, 1) < 0)
            return STEP_DEAD;
    }
    return become_tunnel(s, rest, n);
}

static enum step keep_partial(struct session *s, const char *p, size_t n)
{
    struct upstream *u = s->x.up;
    if (u->in != NULL && p == u->in->p + u->in->at)
        return STEP_AGAIN; // it stays where it is
    struct buf *b = buf_take(&s->worker->bufs, BUF_LARGE);
    if (b == NULL)
        return STEP_DEAD;
    memcpy(b->p, p, n);
    b->end = (uint32_t)n;
    buf_give(&s->worker->bufs, &u->in);
    u->in = b;
    return STEP_AGAIN;
}

/* Bytes that begin with a response head: interim heads, the final one, the body's first bytes. */
static enum step response_heads(struct session *s, char *p, size_t n)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    struct writer out = writer_of(w->out, sizeof(w->out));
    static const char *bad = "The instance sent a malformed answer.";
    for (;;) {
        int e = n == 0 ? -EAGAIN : http_head_end(p, n, 0);
        if (e == -EAGAIN && n <= HTTP_HEAD_MAX)
            break;
        if (e < 0 || http_response(p, (size_t)e, x->method, &w->head) < 0)
            return exchange_failed(s, 502, bad);
        const struct http_head *h = &w->head;
        p += e;
        n -= (size_t)e;
        if (via_pop(x) && h->full && h->status == 503 && !x->body_taken)
            return refused_by_pop(s);
        if (s->tcp)
            return h->status == 200 ? response_switch(s, p, n) : exchange_failed(s, 502, bad);
        if (h->status == 101)
            return x->upgrade && h->upgrade_to.len > 0 ? response_switch(s, p, n)
                                                       : exchange_failed(s, 502, bad);
        if (h->status >= 200) {
            note_success(x->peer);
            response_decide(s, &out);
            return out.full ? STEP_DEAD : response_body(s, out.len, p, n);
        }
        if (x->minor >= 1) {
            struct http_response_edit edit = {0};
            http_write_response(&out, h, &edit);
        }
        if (out.full)
            return exchange_failed(s, 502, bad);
    }
    if (out.len > 0) {
        struct iovec iov = {.iov_base = w->out, .iov_len = out.len};
        if (chan_send(&s->chan, &w->bufs, &iov, 1) < 0)
            return STEP_DEAD;
    }
    if (n > 0)
        return keep_partial(s, p, n);
    buf_give(&w->bufs, &x->up->in);
    return STEP_AGAIN;
}

static enum step response_ended(struct session *s, bool clean)
{
    struct exchange *x = &s->x;
    if (!x->head_out)
        return exchange_failed(s, 502, "The instance closed the connection without an answer.");
    if (!clean || x->response.framing != HTTP_BODY_CLOSE)
        return response_truncated(s);
    x->response.done = true;
    size_t last = x->out_framing == HTTP_BODY_CHUNKED ? 5 : 0;
    memcpy(s->worker->out, "0\r\n\r\n", last);
    return response_body(s, last, NULL, 0);
}

/* A piece of a long body of known length, uncopied. */
static enum step response_splice(struct session *s)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    size_t want = MIN(x->response.left, (uint64_t)RELAY_MAX);
    ssize_t n = chan_splice(&x->up->chan, &s->chan, &w->bufs, w->pipe, want);
    if (n == -EAGAIN)
        return STEP_WAIT;
    if (n == -EPIPE && s->chan.error) {
        COUNT_ADD(w->counts.client_aborts, 1);
        return STEP_DEAD;
    }
    if (n <= 0)
        return response_truncated(s);
    x->response.left -= (uint64_t)n;
    x->bytes_out += (uint64_t)n;
    x->response.done = x->response.left == 0;
    loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + ANSWER_MS);
    return x->response.done ? response_over(s) : STEP_AGAIN;
}

// One read from the instance. WAIT: nothing there now.
static enum step response_read(struct session *s)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    if (x->head_out && x->response.framing == HTTP_BODY_LENGTH && x->response.left >= SPLICE_MIN &&
        w->pipe[0] >= 0)
        return response_splice(s);
    struct buf *part = x->up->in;
    char *to = part == NULL ? w->scratch : part->p + part->end;
    size_t room = part == NULL ? RELAY_MAX : buf_room(part);
    ssize_t n = chan_recv(&x->up->chan, to, room);
    if (n == -EAGAIN)
        return STEP_WAIT;
    if (n <= 0)
        return response_ended(s, n == 0);
    x->answering = true;
    if (x->head_out)
        return response_body(s, 0, to, (size_t)n);
    if (part == NULL)
        return response_heads(s, to, (size_t)n);
    part->end += (uint32_t)n;
    enum step r = response_heads(s, part->p + part->at, buf_len(part));
    if (x->up != NULL && x->head_out)
        buf_give(&w->bufs, &x->up->in);
    return r;
}

static enum step response_pump(struct session *s)
{
    struct exchange *x = &s->x;
    if (s->chan.pend != NULL) {
        int r = chan_flush(&s->chan, &s->worker->bufs);
        if (r < 0)
            return r == -EAGAIN ? STEP_WAIT : STEP_DEAD;
    }
    for (int i = 0; x->up->chan.readable && s->chan.pend == NULL; i++) {
        if (i == READS_MAX)
            return session_yield(s);
        enum step r = response_read(s);
        if (r != STEP_AGAIN || s->state != SESSION_REQUEST || x->up == NULL)
            return r;
        if (x->up->connecting)
            return STEP_WAIT;
    }
    return STEP_WAIT;
}

// ------------------------------------------------------------------------------------------ all

/* A raw TCP client, or another POP's CONNECT, whose instance has just been reached. */
static enum step tunnel_open(struct session *s)
{
    static const char consent[] = "HTTP/1.1 200 OK\r\n\r\n";
    s->x.status = 200;
    note_success(s->x.peer);
    if (!s->tcp) {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)consent, .iov_len = sizeof(consent) - 1};
        if (chan_send(&s->chan, &s->worker->bufs, &iov, 1) < 0)
            return STEP_DEAD;
    }
    return become_tunnel(s, NULL, 0);
}

enum step exchange_step(struct session *s)
{
    struct exchange *x = &s->x;
    if (s->chan.error) {
        COUNT_ADD(s->worker->counts.client_aborts, 1);
        return STEP_DEAD;
    }
    if (x->up->connecting)
        return x->up->chan.error ? exchange_failed(s, 502, "No instance could be reached.")
                                 : STEP_WAIT;
    if (x->method == HTTP_CONNECT && !via_pop(x))
        return tunnel_open(s);
    struct upstream *before = x->up;
    enum step r = request_pump(s);
    if (r == STEP_DEAD || s->state != SESSION_REQUEST || x->up != before)
        return r;
    return response_pump(s);
}

void exchange_timeout(struct session *s)
{
    struct exchange *x = &s->x;
    enum step r = STEP_DEAD;
    if (!x->head_out && !x->request.done && x->up->chan.pend == NULL && !x->up->connecting) {
        upstream_close(TAKE(x->up));
        r = session_answer(s, 408, "The request's body did not arrive in time.");
    } else if (!x->head_out) {
        note_failure(s, true);
        upstream_close(TAKE(x->up));
        r = session_answer(s, 504, "The instance did not answer in time.");
    }
    if (r == STEP_DEAD)
        session_free(s);
    else
        session_step(s);
}
