// SPDX-License-Identifier: Apache-2.0
/* UDP (RFC 768, RFC 1122 4.1): ports, bounded queues, ICMP errors to the socket. */
#include "net/udp_internal.h"

enum {
    UDP_RCVBUF = 256 << 10,
    UDP_RCVBUF_MIN = 2304, // one full frame; Linux: SOCK_MIN_RCVBUF
    UDP_RCVBUF_MAX = 16 << 20,
};
#define MEMORY_RETRY (10 * NET_NS_PER_MS)

static void udp_event(struct udp *u, uint32_t ready)
{
    if (u->sock.user != NULL)
        u->n->cfg.hooks.event(u->n->cfg.ctx, NULL, u, u->sock.user, ready);
}

static void udp_retry(struct net_stack *n, struct timer *timer)
{
    (void)n;
    struct udp *u = CONTAINER_OF(timer, struct udp, retry);
    u->wants_out = false;
    udp_event(u, NET_OUT);
}

int udp_open(struct net_stack *n, struct udp **ret)
{
    if (n->count.udps >= n->cfg.udp_max)
        return -ENOBUFS;
    struct udp *u = net_mem_new(n, sizeof(*u));
    if (u == NULL)
        return -ENOMEM;
    u->n = n;
    u->ttl = 64;
    u->rcvbuf = UDP_RCVBUF;
    list_init(&u->port_node);
    list_push_back(&n->udps, &u->all_node);
    timer_init(&u->retry, udp_retry);
    n->count.udps++;
    *ret = u;
    return 0;
}

static struct list *udp_bucket(struct net_stack *n, uint16_t port)
{
    return &n->udp_ports[port % PORT_BUCKETS];
}

static bool udp_conflicts(const struct udp *u, struct net_addr local)
{
    LIST_FOR_EACH (node, udp_bucket(u->n, local.port)) {
        const struct udp *other = LIST_ENTRY(node, struct udp, port_node);
        if (other == u || other->local.port != local.port || (other->reuse && u->reuse))
            continue;
        if (other->local.ip == 0 || local.ip == 0 || other->local.ip == local.ip)
            return true;
    }
    return false;
}

/* RFC 6056 3.3.1: ports from a random start. */
static int udp_port_choose(struct udp *u, struct net_addr *local)
{
    uint32_t range = PORT_EPHEMERAL_LAST - PORT_EPHEMERAL_FIRST + 1;
    uint32_t start = (uint32_t)(net_random(u->n) % range);
    for (uint32_t i = 0; i < range; i++) {
        local->port = (uint16_t)(PORT_EPHEMERAL_FIRST + (start + i) % range);
        if (!udp_conflicts(u, *local))
            return 0;
    }
    return -EADDRINUSE;
}

static int udp_bind_port(struct udp *u, struct net_addr local)
{
    int r = 0;
    if (local.port == 0)
        r = udp_port_choose(u, &local);
    else if (udp_conflicts(u, local))
        r = -EADDRINUSE;
    if (r < 0)
        return r;
    u->local = local;
    list_push_front(udp_bucket(u->n, local.port), &u->port_node);
    return 0;
}

int udp_bind(struct udp *u, struct net_addr local)
{
    if (u->local.port != 0)
        return -EINVAL;
    if (local.ip != 0 && !ip_is_loopback(local.ip) && !ip_is_own(u->n, local.ip) &&
        !ip_is_broadcast(u->n, local.ip))
        return -EADDRNOTAVAIL;
    int r = udp_bind_port(u, local);
    if (r == 0)
        u->bound_ip = local.ip != 0;
    return r;
}

int udp_connect(struct udp *u, struct net_addr peer)
{
    struct route route;
    if (peer.ip == 0 && peer.port == 0) {
        u->peer = peer;
        if (!u->bound_ip)
            u->local.ip = 0;
        return 0;
    }
    if (peer.port == 0)
        return -EINVAL;
    if (peer.ip == 0)
        peer.ip = NET_IP_LOOPBACK; // as on Linux
    int r = ip_route(u->n, peer.ip, &route);
    if (r < 0)
        return r;
    if (route.kind == ROUTE_BROADCAST && !u->broadcast)
        return -EACCES;
    if (u->local.port == 0)
        r = udp_bind_port(u, (struct net_addr){0});
    if (r < 0)
        return r;
    u->peer = peer;
    if (!u->bound_ip)
        u->local.ip = route.src;
    return 0;
}

static int udp_pending_error(struct udp *u)
{
    int error = TAKE(u->error);
    return -error;
}

int udp_tx_begin(struct udp *u, const struct net_addr *to, size_t len, uint8_t **ret_p)
{
    struct net_stack *n = u->n;
    ASSERT(u->tx == NULL);
    struct net_addr dst = to != NULL ? *to : u->peer;
    int r = udp_pending_error(u);
    if (r < 0)
        return r;
    if (u->shut_wr)
        return -EPIPE;
    if (to == NULL && dst.port == 0)
        return -EDESTADDRREQ;
    if (dst.port == 0)
        return -EINVAL;
    if (len > n->cfg.mtu - sizeof(struct ip_hdr) - sizeof(struct udp_hdr))
        return -EMSGSIZE;
    if (dst.ip == 0)
        dst.ip = NET_IP_LOOPBACK;
    if (u->route.gen != n->route_gen || u->route_ip != dst.ip) {
        r = ip_route(n, dst.ip, &u->route);
        if (r < 0)
            return r;
        u->route_ip = dst.ip;
    }
    if (u->route.kind == ROUTE_BROADCAST && !ip_is_multicast(dst.ip) && !u->broadcast)
        return -EACCES;
    if (u->local.port == 0)
        r = udp_bind_port(u, (struct net_addr){0});
    if (r < 0)
        return r == -EADDRINUSE ? -EAGAIN : r;
    struct pkt *p = net_pkt_new(n, (uint32_t)(len + sizeof(struct udp_hdr)));
    if (p == NULL) {
        u->wants_out = true;
        timer_arm(n, &u->retry, n->now + MEMORY_RETRY);
        return -ENOMEM;
    }
    p->len = (uint32_t)len;
    u->tx = p;
    u->tx_to = dst;
    *ret_p = p->data;
    return 0;
}

void udp_tx_cancel(struct udp *u)
{
    pkt_put(TAKE(u->tx));
}

void udp_tx_done(struct udp *u, uint64_t now)
{
    struct net_stack *n = u->n;
    struct pkt *p = TAKE(u->tx);
    ASSERT(p != NULL);
    net_enter(n, now);
    // A wildcard socket sends from the route's address; a broadcast listener cannot send from it.
    bool chosen = u->local.ip != 0 && !ip_is_broadcast(n, u->local.ip);
    struct ip_tx tx = {.src = chosen ? u->local.ip : u->route.src,
                       .dst = u->tx_to.ip,
                       .proto = IP_PROTO_UDP,
                       .ttl = u->ttl,
                       .tos = u->tos};
    struct udp_hdr *h = (struct udp_hdr *)pkt_push(p, sizeof(*h));
    h->src = be16(u->local.port);
    h->dst = be16(u->tx_to.port);
    h->len = be16((uint16_t)p->len);
    uint64_t pseudo = csum_pseudo(tx.src, tx.dst, IP_PROTO_UDP, p->len);
    if (n->cfg.tx_csum) {
        h->csum = (uint16_t)~csum_fold(pseudo);
        p->flags |= PKT_CSUM_PARTIAL;
        p->csum_start = 0;
        p->csum_offset = offsetof(struct udp_hdr, csum);
    } else {
        h->csum = 0;
        h->csum = csum_fold(csum_add(h, p->len, pseudo));
        if (h->csum == 0)
            h->csum = 0xffff; // RFC 768: 0 means none
    }
    n->count.udp_out++;
    ip_send(n, p, &tx, &u->route);
    net_leave(n);
}

/* The best match: connected before bound to the address before any; the newest of equals. */
static struct udp *udp_find(struct net_stack *n, struct net_addr local, struct net_addr peer)
{
    struct udp *best = NULL;
    int best_score = 0;
    LIST_FOR_EACH (node, udp_bucket(n, local.port)) {
        struct udp *u = LIST_ENTRY(node, struct udp, port_node);
        if (u->local.port != local.port || (u->local.ip != 0 && u->local.ip != local.ip))
            continue;
        bool connected = u->peer.port != 0;
        if (connected && (u->peer.ip != peer.ip || u->peer.port != peer.port))
            continue;
        int score = 1 + 2 * connected + (u->local.ip != 0);
        if (score > best_score) {
            best = u;
            best_score = score;
        }
    }
    return best;
}

static bool udp_valid(const struct pkt *p, const struct ip_rx *rx)
{
    const struct udp_hdr *h = (const struct udp_hdr *)p->data;
    if (p->len < sizeof(*h) || be16(h->len) < sizeof(*h) || be16(h->len) > p->len || h->dst == 0)
        return false;
    if (h->csum == 0 || (p->flags & (PKT_CSUM_OK | PKT_CSUM_PARTIAL)) != 0)
        return true;
    uint32_t len = be16(h->len);
    return csum_fold(csum_add(h, len, csum_pseudo(rx->src, rx->dst, IP_PROTO_UDP, len))) == 0;
}

void udp_input(struct net_stack *n, struct pkt *p, const struct ip_rx *rx)
{
    const struct udp_hdr *h = (const struct udp_hdr *)p->data;
    if (!udp_valid(p, rx)) {
        n->count.udp_bad++;
        pkt_put(p);
        return;
    }
    struct net_addr from = {rx->src, be16(h->src)};
    struct udp *u = udp_find(n, (struct net_addr){rx->dst, be16(h->dst)}, from);
    if (u == NULL) {
        n->count.udp_no_port++;
        icmp_send_error(n, rx, ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT);
        pkt_put(p);
        return;
    }
    n->count.udp_in++;
    p->len = be16(h->len);
    pkt_pull(p, sizeof(*h));
    if (u->receive != NULL) {
        u->receive(n, p->data, p->len, from);
        pkt_put(p);
        return;
    }
    bool fits = u->queued + p->size <= u->rcvbuf || u->first == NULL;
    if (u->shut_rd || !fits || !net_mem_fits(n, p->size)) {
        n->count.udp_queue_full++;
        pkt_put(p);
        return;
    }
    p->u.from.ip = from.ip;
    p->u.from.port = from.port;
    p->u.from.to_ip = rx->dst;
    p->next = NULL;
    if (u->first == NULL)
        u->first = p;
    else
        u->last->next = p;
    u->last = p;
    u->queued += p->size;
    n->count.mem += p->size;
    udp_event(u, NET_IN);
}

int udp_rx_peek(struct udp *u, const uint8_t **ret_p, size_t *ret_len, struct net_addr *ret_from,
                uint32_t *ret_to_ip)
{
    int r = udp_pending_error(u);
    if (r < 0)
        return r;
    const struct pkt *p = u->first;
    if (p == NULL)
        return -EAGAIN;
    *ret_p = p->data;
    *ret_len = p->len;
    *ret_from = (struct net_addr){p->u.from.ip, p->u.from.port};
    *ret_to_ip = p->u.from.to_ip;
    return 0;
}

void udp_rx_done(struct udp *u)
{
    struct pkt *p = u->first;
    ASSERT(p != NULL);
    u->first = p->next;
    u->queued -= p->size;
    u->n->count.mem -= p->size;
    pkt_put(p);
}

int64_t udp_send(struct udp *u, const struct net_addr *to, const void *data, size_t len,
                 uint64_t now)
{
    uint8_t *room;
    int r = udp_tx_begin(u, to, len, &room);
    if (r < 0)
        return r;
    memcpy(room, data, len);
    udp_tx_done(u, now);
    return (int64_t)len;
}

int64_t udp_recv(struct udp *u, void *to, size_t max, struct net_addr *ret_from)
{
    const uint8_t *p;
    size_t len;
    struct net_addr from;
    uint32_t to_ip;
    int r = udp_rx_peek(u, &p, &len, &from, &to_ip);
    if (r < 0)
        return r;
    memcpy(to, p, MIN(len, max));
    if (ret_from != NULL)
        *ret_from = from;
    udp_rx_done(u);
    return (int64_t)len;
}

void udp_icmp_error(struct net_stack *n, struct net_addr local, struct net_addr peer, int error,
                    bool hard)
{
    struct udp *u = udp_find(n, local, peer);
    // Linux: without IP_RECVERR only a connected socket hears, and only of final errors.
    if (u == NULL || u->peer.port == 0 || !hard)
        return;
    u->error = error;
    udp_event(u, NET_ERR | NET_IN | NET_OUT);
}

uint32_t udp_poll(const struct udp *u)
{
    uint32_t ready = u->wants_out ? 0 : NET_OUT;
    if (u->first != NULL || u->shut_rd)
        ready |= NET_IN;
    if (u->shut_rd)
        ready |= NET_RDHUP;
    if (u->shut_rd && u->shut_wr)
        ready |= NET_HUP;
    if (u->error != 0)
        ready |= NET_ERR;
    return ready;
}

int udp_take_error(struct udp *u)
{
    return TAKE(u->error);
}

int udp_shutdown(struct udp *u, int how)
{
    if (how < TCP_SHUT_RD || how > TCP_SHUT_RDWR)
        return -EINVAL;
    if (u->peer.port == 0)
        return -ENOTCONN;
    u->shut_rd |= how != TCP_SHUT_WR;
    u->shut_wr |= how != TCP_SHUT_RD;
    udp_event(u, udp_poll(u));
    return 0;
}

void udp_close(struct udp *u)
{
    struct net_stack *n = u->n;
    while (u->first != NULL)
        udp_rx_done(u);
    udp_tx_cancel(u);
    timer_disarm(n, &u->retry);
    list_remove(&u->port_node);
    list_remove(&u->all_node);
    n->count.udps--;
    net_mem_free(n, u, sizeof(*u));
}

void udp_deinit(struct net_stack *n)
{
    while (!list_empty(&n->udps))
        udp_close(LIST_ENTRY(n->udps.next, struct udp, all_node));
}

void udp_local(const struct udp *u, struct net_addr *ret)
{
    *ret = u->local;
}

int udp_peer(const struct udp *u, struct net_addr *ret)
{
    if (u->peer.port == 0)
        return -ENOTCONN;
    *ret = u->peer;
    return 0;
}

int udp_opt_set(struct udp *u, enum udp_opt opt, int64_t value)
{
    switch (opt) {
    case UDP_OPT_BROADCAST:
        u->broadcast = value != 0;
        return 0;
    case UDP_OPT_REUSEADDR:
        u->reuse = value != 0;
        return 0;
    case UDP_OPT_RCVBUF:
        if (value < 0)
            return -EINVAL;
        u->rcvbuf = (uint32_t)MIN(MAX(value, (int64_t)UDP_RCVBUF_MIN), (int64_t)UDP_RCVBUF_MAX);
        return 0;
    case UDP_OPT_TTL:
        if (value < 1 || value > 255)
            return -EINVAL;
        u->ttl = (uint8_t)value;
        return 0;
    case UDP_OPT_TOS:
        if (value < 0 || value > 255)
            return -EINVAL;
        u->tos = (uint8_t)value;
        return 0;
    }
    return -ENOPROTOOPT;
}

int64_t udp_opt_get(const struct udp *u, enum udp_opt opt)
{
    switch (opt) {
    case UDP_OPT_BROADCAST:
        return u->broadcast;
    case UDP_OPT_REUSEADDR:
        return u->reuse;
    case UDP_OPT_RCVBUF:
        return u->rcvbuf;
    case UDP_OPT_TTL:
        return u->ttl;
    case UDP_OPT_TOS:
        return u->tos;
    }
    return -ENOPROTOOPT;
}
