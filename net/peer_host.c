// SPDX-License-Identifier: Apache-2.0
#include "net/peer_host.h"

#include <stdlib.h>
#include <string.h>

static void hear_options(struct heard *h, const uint8_t *p, size_t left, uint32_t iss)
{
    while (left > 0 && p[0] != TCPOPT_END) {
        size_t len = p[0] == TCPOPT_NOP ? 1 : p[1];
        ASSERT(len > 0 && len <= left);
        switch (p[0]) {
        case TCPOPT_MSS:
            h->mss = load_be16(p + 2);
            break;
        case TCPOPT_WSCALE:
            h->wscale = p[2];
            break;
        case TCPOPT_SACK_OK:
            h->sack_ok = true;
            break;
        case TCPOPT_TIMESTAMP:
            h->has_stamp = true;
            h->stamp = load_be32(p + 2);
            h->echo = load_be32(p + 6);
            break;
        case TCPOPT_SACK:
            h->sacks = (unsigned)(len - 2) / 8;
            for (unsigned i = 0; i < 2 * h->sacks; i++)
                h->sack[i] = load_be32(p + 2 + 4 * i) - iss;
            break;
        default:
            break;
        }
        p += len;
        left -= len;
    }
}

static bool tap(struct world *w, struct machine *m, const uint8_t *frame, size_t len)
{
    (void)m;
    struct peer *p = w->user;
    const struct eth_hdr *eth = (const struct eth_hdr *)frame;
    const struct ip_hdr *ip = (const struct ip_hdr *)(eth + 1);
    const struct tcp_hdr *tcp = (const struct tcp_hdr *)(ip + 1);
    memcpy(p->last, frame, MIN(len, sizeof(p->last)));
    p->last_len = len;
    if (be16(eth->type) == ETH_TYPE_ARP && be32(((const struct arp_msg *)ip)->target_ip) == PEER_IP)
        p->arp_asked = true;
    if (be16(eth->type) != ETH_TYPE_IP || ip->proto != IP_PROTO_TCP) {
        p->other++;
        return true;
    }
    // What leaves must be right to the bit.
    uint32_t l4 = be16(ip->len) - 20u;
    ASSERT(len == 34 + l4 && csum_fold(csum_add(ip, 20, 0)) == 0);
    ASSERT(csum_fold(csum_add(tcp, l4,
                              csum_pseudo(be32(ip->src), be32(ip->dst), IP_PROTO_TCP, l4))) == 0);
    ASSERT(p->heard_len < HEARD_MAX);
    struct heard *h = &p->heard[p->heard_len++];
    if (tcp->flags & TCP_SYN)
        p->stack_iss = be32(tcp->seq);
    *h = (struct heard){.at = w->now,
                        .seq = be32(tcp->seq) - p->stack_iss,
                        .ack = be32(tcp->ack) - p->iss,
                        .len = l4 - (tcp->off >> 4) * 4u,
                        .wnd = be16(tcp->wnd),
                        .flags = tcp->flags,
                        .wscale = -1,
                        .src = be16(tcp->src),
                        .dst = be16(tcp->dst)};
    hear_options(h, (const uint8_t *)(tcp + 1), (tcp->off >> 4) * 4u - 20, p->iss);
    if (h->has_stamp)
        p->echo = h->stamp;
    return true;
}

static void on_event(struct world *w, struct machine *m, struct tcp *t, struct udp *u, void *user,
                     uint32_t ready)
{
    (void)m, (void)t, (void)u, (void)user;
    ((struct peer *)w->user)->ready |= ready;
}

/* Our link address, as a request or as an answer: the stack learns from both. */
static void arp_answer(struct peer *p)
{
    struct {
        struct eth_hdr eth;
        struct arp_msg arp;
    } PACKED a = {.eth = {.dst = {2, 0, 0, 0, 0, 1}, .type = be16(ETH_TYPE_ARP)},
                  .arp = {.hw = be16(1),
                          .proto = be16(ETH_TYPE_IP),
                          .hw_len = 6,
                          .proto_len = 4,
                          .op = be16(p->arp_asked ? ARP_REPLY : ARP_REQUEST),
                          .sender_mac = {2, 0, 0, 0, 0, 9},
                          .sender_ip = be32(PEER_IP),
                          .target_ip = be32(p->m->ip)}};
    p->arp_asked = false;
    world_inject(p->m, &a, sizeof(a));
}

void peer_init(struct peer *p, const struct net_config *config)
{
    static const struct link_model link = {0};
    memset(p, 0, sizeof(*p));
    world_init(&p->w, 42, 1, config, &link);
    p->w.user = p;
    p->w.tap = tap;
    p->w.event = on_event;
    p->m = &p->w.machines[0];
    p->n = p->m->net;
    p->iss = 0xfffff000; // so that tests cross the wrap
    p->port = 80;
    p->stamp = 1000;
    arp_answer(p);
}

void peer_deinit(struct peer *p)
{
    world_deinit(&p->w);
    ASSERT(p->m->packets == 0 && p->m->bytes == 0);
}

void peer_send_ip(struct peer *p, uint8_t proto, uint32_t src, uint32_t dst, const void *data,
                  size_t len)
{
    struct {
        struct eth_hdr eth;
        struct ip_hdr ip;
        uint8_t data[2000];
    } PACKED f = {
        .eth = {.dst = {2, 0, 0, 0, 0, 1}, .src = {2, 0, 0, 0, 0, 9}, .type = be16(ETH_TYPE_IP)}};
    ASSERT(len <= sizeof(f.data));
    f.ip = (struct ip_hdr){.ver_ihl = 0x45,
                           .len = be16((uint16_t)(20 + len)),
                           .ttl = 64,
                           .proto = proto,
                           .src = be32(src),
                           .dst = be32(dst)};
    f.ip.csum = csum_fold(csum_add(&f.ip, sizeof(f.ip), 0));
    memcpy(f.data, data, len);
    world_inject(p->m, &f, 34 + len);
}

void peer_send_with(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len,
                    uint16_t wnd, const uint8_t *opts, uint8_t opts_len)
{
    struct {
        struct tcp_hdr tcp;
        uint8_t rest[1900];
    } PACKED s = {0};
    uint32_t total = (uint32_t)sizeof(s.tcp) + opts_len + len;
    ASSERT(opts_len % 4 == 0 && opts_len + len <= sizeof(s.rest));
    s.tcp = (struct tcp_hdr){.src = be16(PEER_PORT),
                             .dst = be16(p->port),
                             .seq = be32(p->iss + seq),
                             .ack = be32(p->stack_iss + ack),
                             .off = (uint8_t)((20 + opts_len) << 2),
                             .flags = flags,
                             .wnd = be16(wnd)};
    if ((flags & TCP_ACK) == 0)
        s.tcp.ack = 0;
    if (opts_len > 0)
        memcpy(s.rest, opts, opts_len);
    for (uint32_t i = 0; i < len; i++)
        s.rest[opts_len + i] = (uint8_t)((seq + i) * 7);
    s.tcp.csum =
        csum_fold(csum_add(&s, total, csum_pseudo(PEER_IP, p->m->ip, IP_PROTO_TCP, total)));
    peer_send_ip(p, IP_PROTO_TCP, PEER_IP, p->m->ip, &s, total);
}

void peer_send(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
    uint8_t opts[12] = {TCPOPT_NOP, TCPOPT_NOP, TCPOPT_TIMESTAMP, 10};
    store_be32(opts + 4, p->stamp);
    store_be32(opts + 8, p->echo);
    peer_send_with(p, flags, seq, ack, len, 0xffff, opts, p->stamps ? 12 : 0);
}

const struct heard *peer_hear(struct peer *p)
{
    return p->heard_next < p->heard_len ? &p->heard[p->heard_next++] : NULL;
}

void peer_forget(struct peer *p)
{
    p->heard_len = p->heard_next = 0;
}

void peer_wait(struct peer *p, uint64_t ms)
{
    uint64_t until = p->w.now + ms * NET_NS_PER_MS;
    p->stamp += (uint32_t)ms;
    while (world_step(&p->w, until))
        if (p->arp_asked)
            arp_answer(p);
}

struct tcp *peer_listen(struct peer *p, uint32_t backlog)
{
    struct tcp *l;
    if (tcp_open(p->n, &l) < 0 || tcp_bind(l, (struct net_addr){.port = 80}) < 0 ||
        tcp_listen(l, backlog) < 0)
        return NULL;
    tcp_user_set(l, p);
    return l;
}

struct tcp *peer_connected(struct peer *p, struct tcp *listener)
{
    uint8_t opts[20] = {TCPOPT_MSS,       4, 5, 0xb4,           TCPOPT_NOP,
                        TCPOPT_WSCALE,    3, 2, TCPOPT_SACK_OK, 2,
                        TCPOPT_TIMESTAMP, 10};
    struct tcp *t;
    store_be32(opts + 12, p->stamp);
    if (!p->stamps)
        memset(opts + 8, TCPOPT_NOP, 12);
    if (!p->stamps)
        memcpy(opts + 8, (uint8_t[]){TCPOPT_SACK_OK, 2}, 2);
    peer_send_with(p, TCP_SYN, 0, 0, 0, 0xffff, opts, sizeof(opts));
    peer_send(p, TCP_ACK, 1, 1, 0);
    if (tcp_accept(listener, &t, p->w.now) < 0)
        return NULL;
    tcp_user_set(t, p);
    peer_forget(p);
    p->ready = 0;
    return t;
}

int64_t peer_stack_sends(struct peer *p, struct tcp *t, size_t len)
{
    uint8_t *data = malloc(len);
    if (data == NULL)
        abort();
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7);
    int64_t n = tcp_send(t, data, len, 0, p->w.now);
    free(data);
    return n;
}
