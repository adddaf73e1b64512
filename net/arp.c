// SPDX-License-Identifier: Apache-2.0
/* The link: Ethernet headers, and neighbours' addresses (RFC 826, RFC 1122 2.3.2).
 *
 * The cache is a fixed table of sets. An entry is made when we ask, or when a neighbour asks for us
 * (it will get an answer soon); answers that nobody asked for change only what is known already. */
#include "net/stack.h"

#define ARP_RETRY   (1 * NET_NS_PER_S)  // RFC 1122 2.3.2.1: at most one request a second
#define ARP_FRESH   (30 * NET_NS_PER_S) // after this an entry in use is asked for again
#define ARP_EXPIRES (300 * NET_NS_PER_S)

static const uint8_t mac_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void eth_send(struct net_stack *n, struct pkt *p, const uint8_t dst[6], uint16_t type)
{
    struct eth_hdr *eth = (struct eth_hdr *)pkt_push(p, sizeof(*eth));
    memcpy(eth->dst, dst, 6);
    memcpy(eth->src, n->cfg.mac, 6);
    eth->type = be16(type);
    if (p->flags & PKT_CSUM_PARTIAL)
        p->csum_start = (uint16_t)(p->csum_start + sizeof(*eth));
    n->count.frames_out++;
    n->cfg.hooks.transmit(n->cfg.ctx, p);
}

static void arp_transmit(struct net_stack *n, uint16_t op, const uint8_t to[6],
                         const uint8_t target_mac[6], uint32_t sender_ip, uint32_t target_ip)
{
    struct pkt *p = net_pkt_new(n, sizeof(struct arp_msg));
    if (p == NULL)
        return;
    struct arp_msg *m = (struct arp_msg *)p->data;
    p->len = sizeof(*m);
    *m = (struct arp_msg){
        .hw = be16(1),
        .proto = be16(ETH_TYPE_IP),
        .hw_len = 6,
        .proto_len = 4,
        .op = be16(op),
        .sender_ip = be32(sender_ip),
        .target_ip = be32(target_ip),
    };
    memcpy(m->sender_mac, n->cfg.mac, 6);
    memcpy(m->target_mac, target_mac, 6);
    eth_send(n, p, to, ETH_TYPE_ARP);
}

static void arp_ask(struct net_stack *n, const struct arp_entry *e)
{
    static const uint8_t unknown[6];
    struct route route;
    if (ip_route(n, e->ip, &route) < 0)
        return;
    // A known neighbour is asked directly, to spare the others (RFC 1122 2.3.2.1 (2)).
    bool direct = e->state == ARP_KNOWN && e->tries <= 1;
    arp_transmit(n, ARP_REQUEST, direct ? e->mac : mac_broadcast, unknown, route.src, e->ip);
}

void arp_announce(struct net_stack *n, uint32_t ip)
{
    arp_transmit(n, ARP_REQUEST, mac_broadcast, mac_broadcast, ip, ip); // RFC 5227 3
}

static struct arp_entry *arp_set(struct net_stack *n, uint32_t ip)
{
    return n->arp[ip * 0x9e3779b1u >> 26]; // 2^26 * ARP_SETS = 2^32
}

static struct arp_entry *arp_find(struct net_stack *n, uint32_t ip)
{
    struct arp_entry *set = arp_set(n, ip);
    for (unsigned i = 0; i < ARP_WAYS; i++)
        if (set[i].state != ARP_FREE && set[i].ip == ip)
            return &set[i];
    return NULL;
}

/* Forget a neighbour. What waits for it is reported to its sockets when the neighbour is silent. */
static void arp_drop(struct net_stack *n, struct arp_entry *e, bool unreachable)
{
    struct pkt *p = TAKE(e->pending);
    e->state = ARP_FREE;
    e->pending_len = 0;
    timer_disarm(n, &e->timer);
    while (p != NULL) {
        struct pkt *next = p->next;
        if (unreachable)
            icmp_deliver_error(n, p->data, p->len, EHOSTUNREACH, true, 0);
        pkt_put(p);
        p = next;
    }
}

static struct arp_entry *arp_make(struct net_stack *n, uint32_t ip)
{
    struct arp_entry *set = arp_set(n, ip), *e = &set[0];
    for (unsigned i = 0; i < ARP_WAYS; i++) {
        if (set[i].state == ARP_FREE) {
            e = &set[i];
            break;
        }
        if (set[i].used_at < e->used_at)
            e = &set[i];
    }
    if (e->state != ARP_FREE)
        arp_drop(n, e, false);
    e->ip = ip;
    e->tries = 0;
    e->used_at = n->now;
    return e;
}

static void arp_fire(struct net_stack *n, struct timer *timer)
{
    struct arp_entry *e = CONTAINER_OF(timer, struct arp_entry, timer);
    if (e->state == ARP_KNOWN && e->tries == 0) {
        if (n->now - e->used_at >= ARP_FRESH) { // idle: no need to ask
            if (n->now - e->used_at >= ARP_EXPIRES)
                arp_drop(n, e, false);
            else
                timer_arm(n, &e->timer, n->now + ARP_FRESH);
            return;
        }
    } else if (e->tries >= ARP_TRIES_MAX) {
        arp_drop(n, e, true);
        return;
    }
    e->tries++;
    arp_ask(n, e);
    timer_arm(n, &e->timer, n->now + ARP_RETRY);
}

void arp_init(struct net_stack *n)
{
    for (unsigned set = 0; set < ARP_SETS; set++)
        for (unsigned way = 0; way < ARP_WAYS; way++)
            timer_init(&n->arp[set][way].timer, arp_fire);
}

void arp_deinit(struct net_stack *n)
{
    for (unsigned set = 0; set < ARP_SETS; set++)
        for (unsigned way = 0; way < ARP_WAYS; way++)
            arp_drop(n, &n->arp[set][way], false);
}

static void arp_wait(struct net_stack *n, struct arp_entry *e, struct pkt *p)
{
    if (e->pending_len >= ARP_PENDING_MAX) {
        n->count.arp_dropped++;
        pkt_put(p);
        return;
    }
    if (!pkt_alone(p)) { // its owner may change it meanwhile
        struct pkt *copy = net_pkt_copy(n, p);
        pkt_put(p);
        if (copy == NULL)
            return;
        p = copy;
    }
    p->next = e->pending;
    e->pending = p;
    e->pending_len++;
}

void arp_send(struct net_stack *n, struct pkt *p, struct route *route)
{
    struct arp_entry *e = route->arp;
    if (e == NULL || e->ip != route->next_hop || e->state == ARP_FREE)
        e = route->arp = arp_find(n, route->next_hop);
    if (LIKELY(e != NULL && e->state == ARP_KNOWN)) {
        e->used_at = n->now;
        eth_send(n, p, e->mac, ETH_TYPE_IP);
        return;
    }
    if (e == NULL) {
        e = arp_make(n, route->next_hop);
        e->state = ARP_ASKING;
        e->tries = 1;
        arp_ask(n, e);
        timer_arm(n, &e->timer, n->now + ARP_RETRY);
    }
    e->used_at = n->now;
    arp_wait(n, e, p);
}

static void arp_learn(struct net_stack *n, struct arp_entry *e, const uint8_t mac[6])
{
    memcpy(e->mac, mac, 6);
    e->state = ARP_KNOWN;
    e->tries = 0;
    e->confirmed_at = n->now;
    timer_arm(n, &e->timer, n->now + ARP_FRESH);
    struct pkt *oldest = NULL, *p = TAKE(e->pending);
    e->pending_len = 0;
    while (p != NULL) { // newest first: turn round
        struct pkt *next = p->next;
        p->next = oldest;
        oldest = p;
        p = next;
    }
    while (oldest != NULL) {
        struct pkt *next = oldest->next;
        oldest->next = NULL;
        eth_send(n, oldest, e->mac, ETH_TYPE_IP);
        oldest = next;
    }
}

void arp_input(struct net_stack *n, struct pkt *p)
{
    const struct arp_msg *m = (const struct arp_msg *)p->data;
    n->count.arp_in++;
    if (p->len < sizeof(*m) || be16(m->hw) != 1 || be16(m->proto) != ETH_TYPE_IP ||
        m->hw_len != 6 || m->proto_len != 4 || (m->sender_mac[0] & 1) != 0)
        return;
    uint32_t sender = be32(m->sender_ip), target = be32(m->target_ip);
    bool usable = sender != 0 && !ip_is_loopback(sender) && !ip_is_multicast(sender) &&
                  !ip_is_broadcast(n, sender) && !ip_is_own(n, sender);
    struct arp_entry *e = usable ? arp_find(n, sender) : NULL;
    bool for_us = ip_is_own(n, target);
    if (e == NULL && usable && for_us && be16(m->op) == ARP_REQUEST)
        e = arp_make(n, sender);
    if (e != NULL)
        arp_learn(n, e, m->sender_mac);
    // A sender of 0.0.0.0 probes whether the address is in use: it gets an answer (RFC 5227 2.1.1).
    if (for_us && be16(m->op) == ARP_REQUEST && sender != target)
        arp_transmit(n, ARP_REPLY, m->sender_mac, m->sender_mac, target, sender);
}
