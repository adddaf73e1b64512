// SPDX-License-Identifier: Apache-2.0
/* Connections to instances and POPs: opened when needed, kept when idle, one pool a peer. */
#include <errno.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "edge/session.h"

static void upstream_ready(struct loop_fd *f, uint32_t events)
{
    struct upstream *u = CONTAINER_OF(f, struct upstream, chan.lfd);
    chan_note(&u->chan, events);
    if (u->session == NULL && u->connecting && !u->chan.error && !u->chan.hup) {
        u->connecting = false; // a warm one
        upstream_give(u);
        return;
    }
    if (u->session == NULL) {
        // An idle connection has nothing to say: it was closed, or the peer is out of step.
        if (u->chan.readable)
            upstream_close(u);
        return;
    }
    if (u->connecting && !u->chan.error && (events & EPOLLOUT) != 0)
        u->connecting = false;
    session_step(u->session);
}

static void upstream_expired(struct loop_timer *t)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, timer);
    if (u->session == NULL) {
        upstream_close(u);
    } else if (u->connecting) {
        u->chan.error = true;
        session_step(u->session);
    }
}

static int upstream_connect(struct worker *w, struct peer *p, struct upstream **ret)
{
    const struct addr *to = &p->address;
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int r = connect(fd, &to->sa, to->len) < 0 && errno != EINPROGRESS ? -errno : 0;
    struct upstream *u = r < 0 ? NULL : calloc(1, sizeof(*u));
    if (r == 0)
        r = u == NULL ? -ENOMEM : chan_open(&u->chan, &w->loop, fd, upstream_ready);
    if (r < 0) {
        close(fd);
        free(u);
        return r;
    }
    u->worker = w;
    u->peer = p;
    u->connecting = true;
    list_init(&u->node);
    u->timer.fire = upstream_expired;
    loop_timer_set(&w->loop, &u->timer, w->loop.now_ms + CONNECT_MS);
    COUNT_ADD(w->counts.upstream_opened, 1);
    *ret = u;
    return 0;
}

/* A request that must not be done twice goes over a connection that was just used, or over a new
 * one: a server that closes idle connections could be closing an older one this very moment. */
static bool too_old(const struct session *s, const struct pool *pool)
{
    const struct upstream *newest = LIST_ENTRY(pool->idle.next, struct upstream, node);
    uint64_t idle_since_ms = newest->timer.at_ms - UPSTREAM_IDLE_MS;
    return !http_idempotent(s->x.method) && !newest->peer->is_pop &&
           s->worker->loop.now_ms > idle_since_ms + SURE_MS;
}

int upstream_take(struct session *s, bool fresh)
{
    struct worker *w = s->worker;
    struct peer *p = s->x.peer;
    struct pool *pool = &w->pools[p->slot];
    struct upstream *u = NULL;
    struct list *node =
        fresh || pool->idle_n == 0 || too_old(s, pool) ? NULL : list_pop_front(&pool->idle);
    if (node != NULL) {
        u = LIST_ENTRY(node, struct upstream, node);
        pool->idle_n--;
        u->reused = true;
        COUNT_ADD(w->counts.upstream_reused, 1);
    } else {
        int r = upstream_connect(w, p, &u);
        if (r < 0)
            return r;
    }
    ASSERT(u != NULL);
    u->session = s;
    s->x.up = u;
    return 0;
}

// Nothing may be left to read on a connection that is to be used again.
static bool quiet(struct upstream *u)
{
    char byte;
    if (u->chan.hup || u->chan.error || u->chan.eof || u->chan.pend != NULL || u->in != NULL)
        return false;
    if (!u->chan.readable)
        return true;
    u->chan.readable = false;
    return recv(u->chan.lfd.fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

void upstream_give(struct upstream *u)
{
    struct worker *w = u->worker;
    struct pool *pool = &w->pools[u->peer->slot];
    u->session = NULL;
    if (pool->idle_n >= POOL_MAX || !quiet(u)) {
        upstream_close(u);
        return;
    }
    if (pool->idle_n++ == 0)
        list_init(&pool->idle);
    list_push_front(&pool->idle, &u->node);
    loop_timer_set(&w->loop, &u->timer, w->loop.now_ms + UPSTREAM_IDLE_MS);
}

void upstream_close(struct upstream *u)
{
    struct worker *w = u->worker;
    if (!list_empty(&u->node)) {
        list_remove(&u->node);
        w->pools[u->peer->slot].idle_n--;
    }
    loop_timer_stop(&u->timer);
    buf_give(&w->bufs, &u->in);
    chan_close(&u->chan, &w->loop, &w->bufs);
    free(u);
}

static bool takes_requests(const struct snapshot *snap, const struct peer *p)
{
    for (unsigned i = 0; snap != NULL && i < snap->services_n; i++) {
        const struct snap_service *sv = &snap->services[i];
        for (unsigned j = 0; j < sv->locals_n; j++)
            if (sv->locals[j].peer == p)
                return sv->locals[j].serving;
        for (unsigned j = 0; j < sv->routes_n; j++)
            if (sv->routes[j]->pop == p)
                return true;
    }
    return false;
}

void upstream_sweep(struct worker *w, struct snapshot *snap)
{
    for (unsigned slot = 0; slot < PEERS_MAX; slot++) {
        struct pool *pool = &w->pools[slot];
        if (pool->idle_n == 0)
            continue;
        struct upstream *first = LIST_ENTRY(pool->idle.next, struct upstream, node);
        if (RELAXED_LOAD(first->peer->up) && takes_requests(snap, first->peer))
            continue;
        while (pool->idle_n > 0)
            upstream_close(LIST_ENTRY(pool->idle.next, struct upstream, node));
    }
}

void upstream_warm(struct worker *w, struct snapshot *snap)
{
    for (unsigned i = 0; i < snap->services_n; i++)
        for (unsigned j = 0; j < snap->services[i].routes_n; j++) {
            struct peer *p = snap->services[i].routes[j]->pop;
            struct pool *pool = &w->pools[p->slot];
            struct upstream *u;
            if (!RELAXED_LOAD(p->up) || pool->idle_n > 0 || w->loop.now_ms < pool->warmed_ms)
                continue;
            pool->warmed_ms = w->loop.now_ms + WARM_MS;
            if (upstream_connect(w, p, &u) < 0)
                return; // a request would fail likewise, and say so
        }
}

bool upstream_unread(const struct upstream *u)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(u->chan.lfd.fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return false;
    // The SYN counts as one byte that was acknowledged (RFC 4898 tcpEStatsAppHCThruOctetsAcked).
    return info.tcpi_bytes_acked <= u->sent;
}
