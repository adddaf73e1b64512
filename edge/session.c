// SPDX-License-Identifier: Apache-2.0
#include "edge/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fmt.h"

enum { ACCEPT_BATCH = 64 };

// ------------------------------------------------------------------------------- life of one

void session_free(struct session *s)
{
    struct worker *w = s->worker;
    struct acceptor *a = s->acceptor;
    if (s->x.view != NULL)
        exchange_end(s, false);
    loop_timer_stop(&s->timer);
    list_remove(&s->node);
    list_remove(&s->again);
    buf_give(&w->bufs, &s->in);
    chan_close(&s->chan, &w->loop, &w->bufs);
    COUNT_ADD(w->counts.sessions, (uint32_t)-1);
    free(s);
    acceptor_left(a);
}

enum step session_yield(struct session *s)
{
    if (list_empty(&s->again))
        list_push_back(&s->worker->again, &s->again);
    return STEP_WAIT;
}

static void session_ready(struct loop_fd *f, uint32_t events)
{
    struct session *s = CONTAINER_OF(f, struct session, chan.lfd);
    chan_note(&s->chan, events);
    session_step(s);
}

static void session_expired(struct loop_timer *t)
{
    struct session *s = CONTAINER_OF(t, struct session, timer);
    enum step r = STEP_DEAD;
    if (s->state == SESSION_HEAD && s->in != NULL) {
        r = session_answer(s, 408, "The request did not arrive in time.");
    } else if (s->state == SESSION_REQUEST) {
        exchange_timeout(s);
        return;
    }
    if (r == STEP_DEAD)
        session_free(s);
    else
        session_step(s);
}

static void client_text(struct session *s, const struct sockaddr_storage *from)
{
    const struct sockaddr_in *in = (const void *)from;
    const struct sockaddr_in6 *in6 = (const void *)from;
    if (from->ss_family == AF_INET) {
        const uint8_t *b = (const void *)&in->sin_addr;
        s->client_len =
            (uint8_t)fmt(s->client, sizeof(s->client), "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
    } else if (inet_ntop(AF_INET6, &in6->sin6_addr, s->client, sizeof(s->client)) != NULL) {
        s->client_len = (uint8_t)strlen(s->client);
    }
}

static void session_new(struct acceptor *a, int fd, const struct sockaddr_storage *from)
{
    struct worker *w = a->worker;
    struct session *s =
        RELAXED_LOAD(w->counts.sessions) < w->sessions_max ? calloc(1, sizeof(*s)) : NULL;
    if (s == NULL || chan_open(&s->chan, &w->loop, fd, session_ready) < 0) {
        COUNT_ADD(w->counts.refused, 1);
        close(fd);
        free(s);
        return;
    }
    s->worker = w;
    s->acceptor = a;
    a->sessions++;
    s->timer.fire = session_expired;
    list_push_back(&w->sessions, &s->node);
    list_init(&s->again);
    client_text(s, from);
    COUNT_ADD(w->counts.accepted, 1);
    COUNT_ADD(w->counts.sessions, 1);
    loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + CLIENT_HEAD_MS);
    if (!a->backbone && a->service != NULL && a->service->spec->protocol == TABLE_TCP) {
        s->tcp = true;
        if (exchange_start_tcp(s, a->service) == STEP_DEAD) {
            session_free(s);
            return;
        }
    } else {
        s->chan.readable = true; // the request is often there already
    }
    session_step(s);
}

void session_accept(struct acceptor *a)
{
    struct worker *w = a->worker;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof(from);
        int fd = accept4(a->lfd.fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            session_new(a, fd, &from);
            continue;
        }
        // Out of descriptors: leave them in the queue until the next tick.
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            a->paused = loop_change(&w->loop, &a->lfd, 0) == 0;
            return;
        }
        if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO)
            return;
    }
}

// -------------------------------------------------------------------------------- our answers

static const char *reason_of(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {400, "Bad Request"},
                   {404, "Not Found"},
                   {408, "Request Timeout"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {417, "Expectation Failed"},
                   {431, "Request Header Fields Too Large"},
                   {501, "Not Implemented"},
                   {502, "Bad Gateway"},
                   {503, "Service Unavailable"},
                   {504, "Gateway Timeout"},
                   {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

static enum step send_answer(struct session *s, uint16_t status, const char *type, const char *text,
                             size_t text_len, bool stay)
{
    struct worker *w = s->worker;
    const struct edge_shared *sh = w->shared;
    size_t n =
        fmt(w->out, sizeof(w->out),
            "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nDate: %s\r\n"
            "%s%s%s%s%s%s\r\n",
            status, reason_of(status), type, text_len, worker_date(w),
            s->acceptor->backbone ? "" : "X-Skerry-Pop: ", s->acceptor->backbone ? "" : sh->pop,
            s->acceptor->backbone ? "" : "\r\n",
            status == 503 && s->acceptor->backbone ? "X-Skerry-Full: 1\r\n" : "",
            status == 503 ? "Retry-After: 1\r\n" : "", stay ? "" : "Connection: close\r\n");
    struct iovec iov[2] = {{.iov_base = w->out, .iov_len = n},
                           {.iov_base = (void *)(uintptr_t)text, .iov_len = text_len}};
    bool body = s->x.view == NULL || s->x.method != HTTP_HEAD;
    if (s->chan.pend != NULL || chan_send(&s->chan, &w->bufs, iov, body ? 2 : 1) < 0)
        return STEP_DEAD;
    return session_finish(s, stay);
}

/* A request that never became an exchange is in the log all the same, without its target: there may
 * not have been one. */
static void log_refused(struct session *s, uint16_t status, size_t bytes)
{
    struct worker *w = s->worker;
    struct snap_service *sv = s->acceptor->service;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct log_entry e = {
        .app = sv == NULL ? "-" : sv->spec->app,
        .peer = "-",
        .region = "-",
        .client = {s->client, s->client_len},
        .method = {"-", 1},
        .target = {"-", 1},
        .status = status,
        .bytes = bytes,
        .wall_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
    };
    if (w->log.bytes != NULL && !log_ring_put(&w->log, &e))
        COUNT_ADD(w->counts.log_dropped, 1);
}

enum step session_answer(struct session *s, uint16_t status, const char *text)
{
    struct worker *w = s->worker;
    struct exchange *x = &s->x;
    char body[512];
    bool stay =
        x->view != NULL && x->request.done && x->keep_alive && !RELAXED_LOAD(w->shared->draining);
    if (x->view == NULL && status < 500)
        COUNT_ADD(w->counts.bad_requests, 1);
    x->status = status;
    if (s->tcp)
        return STEP_DEAD;
    size_t n = fmt(body, sizeof(body), "%u %s: %s (skerry, %s)\n", status, reason_of(status), text,
                   w->shared->pop);
    if (x->view == NULL)
        log_refused(s, status, n);
    x->bytes_out += n;
    return send_answer(s, status, "text/plain", body, MIN(n, sizeof(body) - 1), stay);
}

// What the backbone says to other POPs about itself.
static enum step backbone_status(struct session *s)
{
    struct edge_shared *sh = s->worker->shared;
    bool stay = s->worker->head.keep_alive;
    pthread_mutex_lock(&sh->status_lock);
    size_t n = MIN(sh->status_len, (size_t)RELAY_MAX);
    memcpy(s->worker->scratch, sh->status_text, n);
    pthread_mutex_unlock(&sh->status_lock);
    return send_answer(s, 200, "application/json", s->worker->scratch, n, stay);
}

// ----------------------------------------------------------------------------------- requests

static enum step request_begin(struct session *s)
{
    struct worker *w = s->worker;
    const struct http_head *h = &w->head;
    struct snap_service *sv = s->acceptor->service;
    if (s->acceptor->backbone) {
        if (h->service.len == 0 && h->method == HTTP_GET && h->framing == HTTP_BODY_NONE)
            return backbone_status(s);
        sv = w->view == NULL ? NULL : snapshot_service(w->view->snap, h->service.p, h->service.len);
        if (sv != NULL && h->method == HTTP_CONNECT)
            return exchange_start_tcp(s, sv);
    }
    if (h->method == HTTP_CONNECT)
        return session_answer(s, 501, "CONNECT is not for this server.");
    if (sv == NULL || sv->spec->protocol != TABLE_HTTP)
        return session_answer(s, 503, "No such service here.");
    return exchange_start(s, sv);
}

/* One head out of s->in: AGAIN when a request began or was answered, WAIT for more bytes. */
static enum step request_parse(struct session *s)
{
    struct worker *w = s->worker;
    struct buf *b = s->in;
    const char *p = b->p + b->at;
    int n = http_head_end(p, buf_len(b), s->scanned);
    if (n == -EPROTO)
        return session_answer(s, 400, "This is not an HTTP request.");
    if (n < 0) {
        s->scanned = (uint32_t)buf_len(b);
        return buf_len(b) < HTTP_HEAD_MAX ? STEP_WAIT
                                          : session_answer(s, 431, "The request head is too long.");
    }
    if (http_request(p, (size_t)n, &w->head) < 0)
        return session_answer(s, w->head.status, w->head.why);
    b->at += (uint32_t)n;
    s->scanned = 0;
    return request_begin(s);
}

// Room for more of a head behind what is there. False when memory is out.
static bool make_room(struct session *s)
{
    struct buf_pool *pool = &s->worker->bufs;
    struct buf *b = s->in;
    if (b != NULL && buf_room(b) > 0)
        return true;
    size_t used = b == NULL ? 0 : buf_len(b);
    struct buf *bigger = buf_take(pool, used < BUF_SMALL ? BUF_SMALL : BUF_MEDIUM);
    if (bigger == NULL)
        return false;
    if (used > 0)
        memcpy(bigger->p, b->p + b->at, used);
    bigger->end = (uint32_t)used;
    buf_give(pool, &s->in);
    s->in = bigger;
    return true;
}

static enum step request_step(struct session *s)
{
    struct worker *w = s->worker;
    for (;;) {
        if (s->in != NULL && buf_len(s->in) > 0) {
            enum step r = request_parse(s);
            if (r != STEP_WAIT || s->state != SESSION_HEAD)
                return r;
        } else if (s->in != NULL) {
            s->in->at = s->in->end = 0;
        }
        if (!s->chan.readable)
            break;
        if (!make_room(s))
            return STEP_DEAD;
        ssize_t n = chan_recv(&s->chan, s->in->p + s->in->end, buf_room(s->in));
        if (n == -EAGAIN)
            break;
        if (n <= 0)
            return STEP_DEAD;
        s->in->end += (uint32_t)n;
    }
    if (s->in != NULL && buf_len(s->in) == 0)
        buf_give(&w->bufs, &s->in);
    if (s->in == NULL)
        return STEP_WAIT;
    // The time for a head runs from its first byte and is not pushed on by the next ones.
    if (s->timer.at_ms > w->loop.now_ms + CLIENT_HEAD_MS)
        loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + CLIENT_HEAD_MS);
    return STEP_WAIT;
}

// ---------------------------------------------------------------------------------------- end

enum step session_finish(struct session *s, bool stay)
{
    struct worker *w = s->worker;
    bool unread = (s->x.view != NULL && !s->x.request.done) || s->in != NULL || s->chan.readable;
    if (s->x.view != NULL)
        exchange_end(s, true);
    if (stay) {
        s->state = s->chan.pend != NULL ? SESSION_FLUSH : SESSION_HEAD;
        loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + CLIENT_IDLE_MS);
        return STEP_AGAIN;
    }
    if (s->chan.pend == NULL && !unread)
        return STEP_DEAD;
    // Closing with bytes unread would reset the connection and could take the answer with it.
    s->state = SESSION_LINGER;
    loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + CLIENT_STALL_MS);
    return STEP_AGAIN;
}

static enum step flush_step(struct session *s)
{
    int r = chan_flush(&s->chan, &s->worker->bufs);
    if (r == -EAGAIN)
        return STEP_WAIT;
    s->state = SESSION_HEAD;
    return r < 0 ? STEP_DEAD : STEP_AGAIN;
}

static enum step linger_step(struct session *s)
{
    struct worker *w = s->worker;
    int r = chan_flush(&s->chan, &w->bufs);
    if (r == -EAGAIN)
        return STEP_WAIT;
    if (r < 0)
        return STEP_DEAD;
    buf_give(&w->bufs, &s->in);
    if (!s->chan.shut) {
        chan_shut(&s->chan);
        loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + LINGER_MS);
    }
    for (int i = 0; s->chan.readable; i++) {
        if (i == READS_MAX)
            return session_yield(s);
        ssize_t n = chan_recv(&s->chan, w->scratch, RELAY_MAX);
        if (n == -EAGAIN)
            break;
        if (n <= 0)
            return STEP_DEAD;
    }
    return STEP_WAIT;
}

void session_step(struct session *s)
{
    enum step r = STEP_WAIT;
    do {
        switch ((enum session_state)s->state) {
        case SESSION_HEAD:
            r = request_step(s);
            break;
        case SESSION_REQUEST:
            r = exchange_step(s);
            break;
        case SESSION_TUNNEL:
            r = tunnel_step(s);
            break;
        case SESSION_FLUSH:
            r = flush_step(s);
            break;
        case SESSION_LINGER:
            r = linger_step(s);
            break;
        }
    } while (r == STEP_AGAIN);
    if (r == STEP_DEAD)
        session_free(s);
}
