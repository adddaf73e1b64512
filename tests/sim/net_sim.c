// SPDX-License-Identifier: Apache-2.0
/* Random worlds of two TCP stacks: long, narrow, lossy links; applications that send, stall, shut
 * down, vanish; floods of SYNs; refused memory. Every byte received must be the byte sent,
 * everything must come to an end in bounded virtual time, and nothing may be left.
 *
 * usage: net_sim [WORLDS [FIRST_SEED]]   (a failed world prints its seed) */
#include <stdlib.h>

#include "base/test.h"
#include "net/wire.h"
#include "net/world_host.h"

enum { CONNS_MAX = 6, PORT = 7000, WORLDS = 300 };
#define WORLD_LIMIT (4ull * 3600 * NET_NS_PER_S)

enum manner { POLITE, CLOSES_EARLY, ABORTS };

struct conn;
struct sim;

struct peer {
    struct conn *conn;
    struct tcp *t;
    struct machine *m;
    enum manner manner;
    uint64_t leaves_at;   // CLOSES_EARLY, ABORTS
    uint64_t total, sent; // to send
    uint64_t got;
    uint64_t stalled_until; // does not read
    uint32_t stalls;        // chance in a million of stalling after a read
    uint32_t read_max, write_max;
    bool server, ready, shut, eof, gone, failed;
};

struct conn {
    struct sim *sim;
    struct peer peer[2]; // client, server
    uint64_t starts_at;
    uint64_t stream; // seeds the content
    bool started;
};

struct sim {
    struct world w;
    uint64_t seed;
    struct tcp *listener;
    struct conn conn[CONNS_MAX];
    unsigned conns;
    uint64_t flood_until, flood_next, flood_gap;
    const char *wrong;
    uint64_t bytes;
    bool few_time_waits;
};

static uint8_t content(uint64_t stream, uint64_t at)
{
    uint64_t x = (at >> 3) * 0x9e3779b97f4a7c15 + stream;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9;
    return (uint8_t)(x >> (8 * (at & 7)));
}

static uint64_t below(struct sim *s, uint64_t n)
{
    return world_random(&s->w) % n;
}

static uint64_t between(struct sim *s, uint64_t low, uint64_t high)
{
    return low + below(s, high - low + 1);
}

static struct peer *other(struct peer *p)
{
    return &p->conn->peer[!p->server];
}

static void wrong(struct sim *s, const char *what)
{
    if (s->wrong == NULL)
        s->wrong = what;
}

// ---- the applications

static void leave(struct peer *p)
{
    if (p->gone)
        return;
    p->gone = true;
    if (p->t == NULL)
        return;
    if (p->manner == ABORTS)
        tcp_abort(p->t, p->m->world->now);
    else
        tcp_close(p->t, p->m->world->now);
    p->t = NULL;
}

static void fail(struct peer *p)
{
    p->failed = true;
    leave(p);
}

static void read_some(struct peer *p)
{
    struct sim *s = p->conn->sim;
    uint8_t buf[4096];
    uint64_t stream = p->conn->stream + !p->server;
    while (!p->eof && s->w.now >= p->stalled_until) {
        size_t want = 1 + below(s, p->read_max);
        bool peek = below(s, 16) == 0;
        int64_t n = tcp_recv(p->t, buf, MIN(want, sizeof(buf)), peek ? TCP_PEEK : 0, s->w.now);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            fail(p);
            return;
        }
        if (n == 0) {
            p->eof = true;
            return;
        }
        for (int64_t i = 0; i < n; i++)
            if (buf[i] != content(stream, p->got + (uint64_t)i)) {
                wrong(s, "a byte received is not the byte sent");
                return;
            }
        if (!peek) {
            p->got += (uint64_t)n;
            s->bytes += (uint64_t)n;
        }
        if (world_chance(&s->w, p->stalls))
            p->stalled_until = s->w.now + between(s, 1, 3000) * NET_NS_PER_MS;
    }
}

static void write_some(struct peer *p)
{
    struct sim *s = p->conn->sim;
    uint8_t buf[4096];
    uint64_t stream = p->conn->stream + p->server;
    while (p->sent < p->total) {
        size_t n = (size_t)MIN(1 + below(s, p->write_max), p->total - p->sent);
        n = MIN(n, sizeof(buf));
        for (size_t i = 0; i < n; i++)
            buf[i] = content(stream, p->sent + i);
        int64_t put = tcp_send(p->t, buf, n, below(s, 8) == 0 ? TCP_MORE : 0, s->w.now);
        if (put == -EAGAIN || put == -ENOMEM)
            return;
        if (put < 0) { // what has arrived is still there to be read
            p->failed = p->shut = true;
            return;
        }
        p->sent += (uint64_t)put;
    }
    if (!p->shut) {
        p->shut = true;
        if (tcp_shutdown(p->t, TCP_SHUT_WR, s->w.now) < 0)
            fail(p);
    }
}

static void peer_run(struct peer *p)
{
    struct sim *s = p->conn->sim;
    p->ready = false;
    if (p->gone || p->t == NULL)
        return;
    if (p->manner != POLITE && s->w.now >= p->leaves_at) {
        leave(p);
        return;
    }
    enum tcp_state state = tcp_state(p->t);
    if (state == TCP_SYN_SENT || state == TCP_SYN_RECEIVED)
        return;
    read_some(p);
    if (!p->gone && !p->failed)
        write_some(p);
    if (!p->gone && p->shut && p->eof)
        leave(p);
}

static void on_event(struct world *w, struct machine *m, struct tcp *t, struct udp *u, void *user,
                     uint32_t ready)
{
    (void)w, (void)m, (void)t, (void)u, (void)ready;
    struct sim *s = w->user;
    if (user != s) // a connection's
        ((struct peer *)user)->ready = true;
}

/* A reset may be lost, and then only keepalive finds out that the other end has gone. */
static void keep_alive(struct peer *p)
{
    struct sim *s = p->conn->sim;
    if (tcp_opt_set(p->t, TCP_OPT_KEEPALIVE, 1, s->w.now) < 0 ||
        tcp_opt_set(p->t, TCP_OPT_KEEPIDLE, 60, s->w.now) < 0 ||
        tcp_opt_set(p->t, TCP_OPT_KEEPINTVL, 10, s->w.now) < 0)
        wrong(s, "keepalive refused");
}

static void accept_all(struct sim *s)
{
    struct tcp *t;
    while (tcp_accept(s->listener, &t, s->w.now) == 0) {
        struct net_addr from;
        struct peer *p = NULL;
        if (tcp_peer(t, &from) == 0)
            for (unsigned i = 0; i < s->conns; i++) {
                struct net_addr local = {0};
                struct peer *client = &s->conn[i].peer[0];
                if (client->t != NULL)
                    tcp_local(client->t, &local);
                if (local.port == from.port && s->conn[i].peer[1].t == NULL)
                    p = &s->conn[i].peer[1];
            }
        if (p == NULL || p->gone) { // its client has left already
            tcp_close(t, s->w.now);
            continue;
        }
        p->t = t;
        tcp_user_set(t, p);
        keep_alive(p);
        p->ready = true;
    }
}

static void conn_start(struct conn *c)
{
    struct sim *s = c->sim;
    struct peer *p = &c->peer[0];
    c->started = true;
    if (tcp_open(p->m->net, &p->t) < 0) {
        p->t = NULL;
        fail(p);
        return;
    }
    tcp_user_set(p->t, p);
    keep_alive(p);
    if (below(s, 3) == 0 && tcp_opt_set(p->t, TCP_OPT_NODELAY, 1, s->w.now) < 0)
        wrong(s, "nodelay refused");
    int r = tcp_connect(p->t, (struct net_addr){s->w.machines[1].ip, PORT}, s->w.now);
    if (r != -EINPROGRESS)
        fail(p);
}

// ---- SYNs from nowhere

static void flood(struct sim *s)
{
    struct machine *victim = &s->w.machines[1];
    struct {
        struct eth_hdr eth;
        struct ip_hdr ip;
        struct tcp_hdr tcp;
    } PACKED f = {0};
    f.eth.dst[0] = 2;
    f.eth.dst[5] = 2;
    f.eth.src[0] = 2;
    f.eth.src[5] = 9;
    f.eth.type = be16(ETH_TYPE_IP);
    uint32_t src = 0x0b000000 | (uint32_t)below(s, 1 << 24);
    f.ip = (struct ip_hdr){.ver_ihl = 0x45,
                           .len = be16(40),
                           .ttl = 64,
                           .proto = IP_PROTO_TCP,
                           .src = be32(src),
                           .dst = be32(victim->ip)};
    f.ip.csum = csum_fold(csum_add(&f.ip, sizeof(f.ip), 0));
    f.tcp = (struct tcp_hdr){.src = be16((uint16_t)between(s, 1, 65535)),
                             .dst = be16(PORT),
                             .seq = (uint32_t)world_random(&s->w),
                             .off = 5 << 4,
                             .flags = below(s, 8) == 0 ? TCP_ACK : TCP_SYN,
                             .wnd = 0xffff};
    f.tcp.csum = csum_fold(
        csum_add(&f.tcp, sizeof(f.tcp), csum_pseudo(src, victim->ip, IP_PROTO_TCP, sizeof(f.tcp))));
    world_inject(victim, &f, sizeof(f));
    s->flood_next = s->w.now + s->flood_gap;
}

// ---- one world

static void plan_peer(struct sim *s, struct peer *p)
{
    bool rude = below(s, 6) == 0;
    p->manner = !rude ? POLITE : below(s, 2) == 0 ? CLOSES_EARLY : ABORTS;
    p->leaves_at = p->conn->starts_at + between(s, 0, 5000) * NET_NS_PER_MS;
    p->total = below(s, 4) == 0 ? below(s, 200) : below(s, 200000);
    p->read_max = (uint32_t)(below(s, 3) == 0 ? between(s, 1, 100) : 4096);
    p->write_max = (uint32_t)(below(s, 3) == 0 ? between(s, 1, 300) : 4096);
    p->stalls = below(s, 3) == 0 && p->read_max > 20 ? 20000 : 0;
    struct peer *o = other(p);
    if (p->write_max < 4096 || o->read_max < 4096) // keep slow ones short
        p->total = MIN(p->total, 20000u);
    if (p->read_max < 4096)
        o->total = MIN(o->total, 20000u);
}

static void plan(struct sim *s, uint64_t seed)
{
    uint64_t dice = seed;
    struct world plan_world = {.random = dice};
    struct world *r = &plan_world;
    struct link_model link = {
        .delay = (1 + world_random(r) % 300) * NET_NS_PER_MS / 2,
        .jitter = world_random(r) % 3 == 0 ? world_random(r) % (30 * NET_NS_PER_MS) : 0,
        .rate = world_random(r) % 2 == 0 ? 1000000ull << world_random(r) % 11 : 0,
        .queue = 16384ull << world_random(r) % 7,
        .loss = world_random(r) % 2 == 0 ? (uint32_t)(world_random(r) % 100000) : 0,
        .repeat = world_random(r) % 4 == 0 ? (uint32_t)(world_random(r) % 50000) : 0,
        .damage = world_random(r) % 4 == 0 ? (uint32_t)(world_random(r) % 20000) : 0,
        .mtu = world_random(r) % 5 == 0 ? 552 + (uint32_t)(world_random(r) % 1000) : 0,
    };
    struct net_config config = {
        .mtu = (uint16_t)(world_random(r) % 4 == 0 ? 576 + world_random(r) % 8000 : 1500),
        .tx_csum = world_random(r) % 2,
        .rcvbuf = 4096u << world_random(r) % 7,
        .sndbuf = 4096u << world_random(r) % 6,
        .syn_max = world_random(r) % 3 == 0 ? 4 : 0,
        .time_wait_max = world_random(r) % 4 == 0 ? 2 : 0,
        .mem_max = world_random(r) % 8 == 0 ? 1 << 20 : 0,
    };
    s->few_time_waits = config.time_wait_max != 0;
    world_init(&s->w, world_random(r), 2, &config, &link);
    s->w.user = s;
    s->w.event = on_event;
    if (below(s, 8) == 0)
        s->w.machines[0].alloc_fail = s->w.machines[1].alloc_fail = (uint32_t)below(s, 20000);
    if (below(s, 5) == 0) {
        s->flood_until = s->w.now + 3 * NET_NS_PER_S;
        s->flood_gap = between(s, 1, 20) * NET_NS_PER_MS;
        s->flood_next = s->w.now;
        net_gateway_set(s->w.machines[1].net, s->w.machines[0].ip);
    }
    s->conns = (unsigned)between(s, 1, CONNS_MAX);
    for (unsigned i = 0; i < s->conns; i++) {
        struct conn *c = &s->conn[i];
        c->sim = s;
        c->starts_at = s->w.now + below(s, 4000) * NET_NS_PER_MS;
        c->stream = world_random(&s->w);
        for (unsigned k = 0; k < 2; k++) {
            c->peer[k].conn = c;
            c->peer[k].server = k;
            c->peer[k].m = &s->w.machines[k];
            c->peer[k].read_max = 4096;
        }
        plan_peer(s, &c->peer[0]);
        plan_peer(s, &c->peer[1]);
    }
}

static int open_listener(struct sim *s)
{
    struct net_stack *n = s->w.machines[1].net;
    for (int i = 0; i < 1000; i++) // memory may be refused
        if (tcp_open(n, &s->listener) == 0)
            break;
    if (s->listener == NULL || tcp_bind(s->listener, (struct net_addr){.port = PORT}) < 0 ||
        tcp_listen(s->listener, (uint32_t)between(s, 1, 8)) < 0)
        return -1;
    tcp_user_set(s->listener, s);
    return 0;
}

static uint64_t next_wake(const struct sim *s)
{
    uint64_t next = s->flood_next < s->flood_until ? s->flood_next : NET_NEVER;
    for (unsigned i = 0; i < s->conns; i++) {
        const struct conn *c = &s->conn[i];
        if (!c->started)
            next = MIN(next, c->starts_at);
        for (unsigned k = 0; c->started && k < 2; k++) {
            const struct peer *p = &c->peer[k];
            if (p->gone || p->t == NULL)
                continue;
            if (p->stalled_until > s->w.now)
                next = MIN(next, p->stalled_until);
            if (p->manner != POLITE)
                next = MIN(next, MAX(p->leaves_at, s->w.now));
        }
    }
    return next;
}

static void run_due(struct sim *s)
{
    if (s->flood_next <= s->w.now && s->flood_next < s->flood_until)
        flood(s);
    accept_all(s);
    for (unsigned i = 0; i < s->conns; i++) {
        struct conn *c = &s->conn[i];
        if (!c->started && s->w.now >= c->starts_at)
            conn_start(c);
        for (unsigned k = 0; k < 2; k++) {
            struct peer *p = &c->peer[k];
            bool wakes = p->stalled_until != 0 && p->stalled_until <= s->w.now;
            if (wakes)
                p->stalled_until = 0;
            if (p->ready || wakes || (p->manner != POLITE && s->w.now >= p->leaves_at))
                peer_run(p);
        }
    }
}

static bool all_gone(const struct sim *s)
{
    for (unsigned i = 0; i < s->conns; i++) {
        const struct peer *client = &s->conn[i].peer[0], *server = &s->conn[i].peer[1];
        // A server peer without a connection waits for a client that may have failed to come.
        if (!s->conn[i].started || !client->gone || (server->t != NULL && !server->gone))
            return false;
    }
    return s->flood_next >= s->flood_until;
}

static void judge(struct sim *s)
{
    for (unsigned i = 0; i < s->conns; i++)
        for (unsigned k = 0; k < 2; k++) {
            struct peer *p = &s->conn[i].peer[k], *o = other(p);
            bool polite = p->manner == POLITE && o->manner == POLITE;
            // When TIME_WAITs must give way, a lost last ACK may end in a reset behind all data.
            bool unfinished = p->failed && !s->few_time_waits;
            if (p->got > o->sent)
                wrong(s, "more was received than sent");
            if (polite && s->w.machines[0].alloc_fail == 0 && (unfinished || p->got != o->total))
                wrong(s, "a polite connection did not finish its work");
        }
}

static bool quiet(struct sim *s)
{
    for (unsigned i = 0; i < 2; i++) {
        struct net_counters c;
        net_counters(s->w.machines[i].net, &c);
        if (c.tcps != i || c.time_waits != 0 || c.half_open != 0 || c.mem != 0)
            return false;
    }
    return true;
}

static void run(struct sim *s, uint64_t seed)
{
    s->seed = seed;
    plan(s, seed);
    if (open_listener(s) < 0) {
        wrong(s, "no listener");
        return;
    }
    while (s->wrong == NULL && !all_gone(s)) {
        world_step(&s->w, MIN(next_wake(s), WORLD_LIMIT));
        run_due(s);
        if (s->w.now >= WORLD_LIMIT)
            wrong(s, "a connection is stuck");
    }
    judge(s);
    uint64_t limit = s->w.now + 3600 * NET_NS_PER_S;
    while (s->wrong == NULL && !quiet(s)) {
        world_step(&s->w, limit);
        accept_all(s);
        if (s->w.now >= limit)
            wrong(s, "a connection is left over");
    }
    tcp_close(s->listener, s->w.now);
}

static const char *world_run(uint64_t seed, uint64_t *ret_bytes)
{
    struct sim *s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    run(s, seed);
    world_deinit(&s->w);
    for (unsigned i = 0; i < 2; i++)
        if (s->w.machines[i].packets != 0 || s->w.machines[i].bytes != 0)
            wrong(s, "memory is left over");
    const char *result = s->wrong;
    *ret_bytes += s->bytes;
    free(s);
    return result;
}

int main(int argc, char **argv)
{
    uint64_t worlds = argc > 1 ? strtoull(argv[1], NULL, 10) : WORLDS;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t bytes = 0, bad = 0;
    for (uint64_t i = 0; i < worlds; i++) {
        const char *what = world_run(first + i, &bytes);
        if (what != NULL) {
            printf("# world %llu: %s\n", (unsigned long long)(first + i), what);
            bad++;
        }
    }
    printf("TAP version 13\n1..1\n%s 1 - %llu worlds, %llu bytes\n", bad == 0 ? "ok" : "not ok",
           (unsigned long long)worlds, (unsigned long long)bytes);
    return bad == 0 ? 0 : 1;
}
