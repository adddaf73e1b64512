// SPDX-License-Identifier: Apache-2.0
/* IPv4: own addresses, routes, path MTUs, headers in and out (RFC 791, RFC 1122 3). */
#include "net/stack.h"

#define PMTU_LIFE (600 * NET_NS_PER_S) // RFC 1191 6.3

bool ip_is_own(const struct net_stack *n, uint32_t ip)
{
    for (uint32_t i = 0; i < n->addrs; i++)
        if (n->addr[i].ip == ip)
            return true;
    return false;
}

bool ip_is_broadcast(const struct net_stack *n, uint32_t ip)
{
    if (ip == UINT32_MAX)
        return true;
    for (uint32_t i = 0; i < n->addrs; i++) {
        uint32_t host = ~n->addr[i].mask;
        // RFC 3021: /31 has no broadcast address, nor has /32.
        if (host > 1 && (ip | host) == ip && ((ip ^ n->addr[i].ip) & n->addr[i].mask) == 0)
            return true;
    }
    return false;
}

static uint32_t prefix_mask(uint32_t prefix_len)
{
    return prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
}

int ip_addr_add(struct net_stack *n, uint32_t ip, uint32_t prefix_len)
{
    if (ip == 0 || ip_is_loopback(ip) || ip_is_multicast(ip) || ip == UINT32_MAX || prefix_len > 32)
        return -EINVAL;
    if (ip_is_own(n, ip))
        return -EEXIST;
    if (n->addrs == NET_ADDRS_MAX)
        return -ENOSPC;
    n->addr[n->addrs++] = (struct own_addr){.ip = ip, .mask = prefix_mask(prefix_len)};
    n->route_gen++;
    arp_announce(n, ip);
    return 0;
}

int net_addr_add(struct net_stack *n, uint32_t ip, uint32_t prefix_len, uint64_t now)
{
    net_enter(n, now);
    int r = ip_addr_add(n, ip, prefix_len);
    net_leave(n);
    return r;
}

int net_addr_del(struct net_stack *n, uint32_t ip)
{
    for (uint32_t i = 0; i < n->addrs; i++) {
        if (n->addr[i].ip != ip)
            continue;
        memmove(&n->addr[i], &n->addr[i + 1], (n->addrs - i - 1) * sizeof(n->addr[0]));
        n->addrs--;
        n->route_gen++;
        return 0;
    }
    return -ENOENT;
}

int net_addr_get(const struct net_stack *n, uint32_t i, uint32_t *ret_ip, uint32_t *ret_prefix_len)
{
    if (i >= n->addrs)
        return -ENOENT;
    *ret_ip = n->addr[i].ip;
    uint32_t mask = n->addr[i].mask;
    *ret_prefix_len = mask == 0 ? 0 : 32 - (uint32_t)__builtin_ctz(mask);
    return 0;
}

void net_gateway_set(struct net_stack *n, uint32_t ip)
{
    n->gateway = ip;
    n->route_gen++;
}

uint32_t net_gateway_get(const struct net_stack *n)
{
    return n->gateway;
}

static const struct own_addr *own_prefix_of(const struct net_stack *n, uint32_t ip)
{
    const struct own_addr *best = NULL;
    for (uint32_t i = 0; i < n->addrs; i++)
        if (((ip ^ n->addr[i].ip) & n->addr[i].mask) == 0 &&
            (best == NULL || n->addr[i].mask > best->mask))
            best = &n->addr[i];
    return best;
}

int ip_route(const struct net_stack *n, uint32_t dst, struct route *ret)
{
    struct route r = {.gen = n->route_gen, .kind = ROUTE_NEIGHBOUR, .next_hop = dst};
    const struct own_addr *prefix;
    if (ip_is_loopback(dst)) {
        r.kind = ROUTE_LOOP;
        r.src = NET_IP_LOOPBACK;
    } else if (ip_is_own(n, dst)) {
        r.kind = ROUTE_LOOP;
        r.src = dst;
    } else if (dst == UINT32_MAX || ip_is_multicast(dst)) {
        r.kind = ROUTE_BROADCAST;
        r.src = n->addrs > 0 ? n->addr[0].ip : 0;
    } else if ((prefix = own_prefix_of(n, dst)) != NULL) {
        r.kind = ip_is_broadcast(n, dst) ? ROUTE_BROADCAST : ROUTE_NEIGHBOUR;
        r.src = prefix->ip;
    } else if (n->gateway != 0 && n->addrs > 0) {
        // A gateway outside every prefix is taken as on the link (/32 addresses of clouds).
        prefix = own_prefix_of(n, n->gateway);
        r.src = prefix != NULL ? prefix->ip : n->addr[0].ip;
        r.next_hop = n->gateway;
    } else {
        return -ENETUNREACH;
    }
    *ret = r;
    return 0;
}

static struct pmtu *pmtu_slot(struct net_stack *n, uint32_t dst)
{
    return &n->pmtu[dst * 0x9e3779b1u >> 27]; // 2^27 * PMTU_ENTRIES = 2^32
}

uint32_t ip_mtu(struct net_stack *n, uint32_t dst, const struct route *route)
{
    const struct pmtu *slot = pmtu_slot(n, dst);
    if (route->kind == ROUTE_NEIGHBOUR && slot->ip == dst && slot->until > n->now)
        return MIN((uint32_t)slot->mtu, (uint32_t)n->cfg.mtu);
    return n->cfg.mtu;
}

void ip_pmtu_learn(struct net_stack *n, uint32_t dst, uint32_t mtu)
{
    *pmtu_slot(n, dst) =
        (struct pmtu){.ip = dst, .mtu = (uint16_t)mtu, .until = n->now + PMTU_LIFE};
}

static void multicast_mac(uint32_t ip, uint8_t ret[6])
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    memcpy(ret, all, 6);
    if (!ip_is_multicast(ip))
        return;
    ret[0] = 0x01; // RFC 1112 6.4
    ret[1] = 0x00;
    ret[2] = 0x5e;
    ret[3] = (uint8_t)(ip >> 16 & 0x7f);
    ret[4] = (uint8_t)(ip >> 8);
    ret[5] = (uint8_t)ip;
}

void ip_send(struct net_stack *n, struct pkt *p, const struct ip_tx *tx, struct route *route)
{
    if (UNLIKELY(route->gen != n->route_gen) && ip_route(n, tx->dst, route) < 0) {
        n->count.ip_out_no_route++;
        route->gen = 0;
        pkt_put(p);
        return;
    }
    struct ip_hdr *h = (struct ip_hdr *)pkt_push(p, sizeof(*h));
    *h = (struct ip_hdr){
        .ver_ihl = 0x45,
        .tos = tx->tos,
        .len = be16((uint16_t)p->len),
        .frag = be16(IP_DF), // never fragmented, so the identification may be 0 (RFC 6864 4.1)
        .ttl = tx->ttl,
        .proto = tx->proto,
        .src = be32(tx->src),
        .dst = be32(tx->dst),
    };
    h->csum = csum_fold(csum_ip_hdr(h));
    if (p->flags & PKT_CSUM_PARTIAL)
        p->csum_start = (uint16_t)(p->csum_start + sizeof(*h));
    switch (route->kind) {
    case ROUTE_NEIGHBOUR:
        arp_send(n, p, route);
        return;
    case ROUTE_LOOP:
        net_loop(n, p);
        return;
    case ROUTE_BROADCAST: {
        uint8_t mac[6];
        multicast_mac(tx->dst, mac);
        eth_send(n, p, mac, ETH_TYPE_IP);
        return;
    }
    }
}

/* RFC 1122 3.2.1.3: which sources no datagram from the link may have. */
static bool source_is_martian(const struct net_stack *n, const struct ip_rx *rx)
{
    if (rx->loop)
        return false;
    if (rx->src == 0) // only a client without an address, and only by broadcast
        return !rx->broadcast;
    return ip_is_loopback(rx->src) || ip_is_multicast(rx->src) || ip_is_broadcast(n, rx->src) ||
           ip_is_own(n, rx->src);
}

static bool for_us(const struct net_stack *n, const struct ip_rx *rx)
{
    if (rx->broadcast || ip_is_own(n, rx->dst))
        return true;
    return rx->loop && ip_is_loopback(rx->dst);
}

void ip_input(struct net_stack *n, struct pkt *p, bool loop)
{
    const struct ip_hdr *h = (const struct ip_hdr *)p->data;
    uint32_t hdr_len = 0, len = 0;
    if (p->len >= sizeof(*h)) {
        hdr_len = (h->ver_ihl & 15u) * 4;
        len = be16(h->len);
    }
    if (h->ver_ihl >> 4 != 4 || hdr_len < sizeof(*h) || len < hdr_len || len > p->len) {
        n->count.ip_in_bad++;
        pkt_put(p);
        return;
    }
    bool plain = hdr_len == sizeof(*h);
    if (csum_fold(plain ? csum_ip_hdr(h) : csum_add(h, hdr_len, 0)) != 0) {
        n->count.ip_in_csum_bad++;
        pkt_put(p);
        return;
    }
    struct ip_rx rx = {.hdr = h, .src = be32(h->src), .dst = be32(h->dst), .loop = loop};
    rx.broadcast = !loop && ip_is_broadcast(n, rx.dst);
    if (!for_us(n, &rx) || source_is_martian(n, &rx)) {
        n->count.ip_in_not_ours++;
        pkt_put(p);
        return;
    }
    if ((be16(h->frag) & (IP_MF | IP_OFFSET)) != 0) {
        n->count.ip_in_fragments++;
        pkt_put(p);
        return;
    }
    p->len = len; // without the link's padding
    pkt_pull(p, hdr_len);
    if (LIKELY(h->proto == IP_PROTO_TCP)) {
        tcp_input(n, p, &rx);
    } else if (h->proto == IP_PROTO_UDP) {
        udp_input(n, p, &rx);
    } else if (h->proto == IP_PROTO_ICMP) {
        icmp_input(n, p, &rx);
    } else {
        icmp_send_error(n, &rx, ICMP_UNREACHABLE, ICMP_UNREACHABLE_PROTO);
        pkt_put(p);
    }
}

void net_input(struct net_stack *n, struct pkt *p, uint64_t now)
{
    net_enter(n, now);
    n->count.frames_in++;
    const struct eth_hdr *eth = (const struct eth_hdr *)p->data;
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (p->len < sizeof(*eth) ||
        (memcmp(eth->dst, n->cfg.mac, 6) != 0 && memcmp(eth->dst, all, 6) != 0)) {
        n->count.frames_bad++;
        pkt_put(p);
    } else {
        uint16_t type = be16(eth->type);
        pkt_pull(p, sizeof(*eth));
        if (LIKELY(type == ETH_TYPE_IP)) {
            ip_input(n, p, false);
        } else {
            if (type == ETH_TYPE_ARP)
                arp_input(n, p);
            pkt_put(p);
        }
    }
    net_leave(n);
}
