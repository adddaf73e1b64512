// SPDX-License-Identifier: Apache-2.0
/* ICMP (RFC 792, RFC 1122 3.2.2): echo, errors to peers (rate-limited), errors from routers. */
#include "net/stack.h"

enum {
    ICMP_TOKENS_MAX = 64,    // errors in a burst
    ICMP_TOKENS_PER_S = 200, // and in the long run
    ICMP_QUOTE_MAX = 548,    // bytes of the offending datagram: RFC 1812 4.3.2.3, 576 - 20 - 8
    MTU_MIN = 552,           // Linux: net.ipv4.route.min_pmtu; RFC 1191 allows 68
};

static bool icmp_allowed(struct net_stack *n)
{
    uint64_t earned = (n->now - n->icmp_tokens_at) / (NET_NS_PER_S / ICMP_TOKENS_PER_S);
    if (earned > 0) {
        n->icmp_tokens = (uint32_t)MIN(n->icmp_tokens + earned, (uint64_t)ICMP_TOKENS_MAX);
        n->icmp_tokens_at = n->now;
    }
    if (n->icmp_tokens == 0) {
        n->count.icmp_limited++;
        return false;
    }
    n->icmp_tokens--;
    return true;
}

static void icmp_send(struct net_stack *n, struct pkt *p, uint32_t src, uint32_t dst)
{
    struct icmp_hdr *h = (struct icmp_hdr *)p->data;
    struct route route;
    if (ip_route(n, dst, &route) < 0) {
        pkt_put(p);
        return;
    }
    h->csum = 0;
    h->csum = csum_fold(csum_add(h, p->len, 0));
    struct ip_tx tx = {.src = src, .dst = dst, .proto = IP_PROTO_ICMP, .ttl = 64};
    n->count.icmp_out++;
    ip_send(n, p, &tx, &route);
}

void icmp_send_error(struct net_stack *n, const struct ip_rx *rx, uint8_t type, uint8_t code)
{
    // RFC 1122 3.2.2: never about broadcasts, nor to anything that is not one host.
    if (rx->broadcast || rx->src == 0 || !icmp_allowed(n))
        return;
    uint32_t quote = MIN((uint32_t)be16(rx->hdr->len), (uint32_t)ICMP_QUOTE_MAX);
    struct pkt *p = net_pkt_new(n, (uint32_t)sizeof(struct icmp_hdr) + quote);
    if (p == NULL)
        return;
    struct icmp_hdr *h = (struct icmp_hdr *)p->data;
    *h = (struct icmp_hdr){.type = type, .code = code};
    memcpy(h + 1, rx->hdr, quote);
    p->len = (uint32_t)sizeof(*h) + quote;
    icmp_send(n, p, rx->dst, rx->src);
}

static void echo_reply(struct net_stack *n, const struct pkt *p, const struct ip_rx *rx)
{
    struct pkt *reply = rx->broadcast ? NULL : net_pkt_copy(n, p);
    if (reply == NULL)
        return;
    reply->flags = 0;
    struct icmp_hdr *h = (struct icmp_hdr *)reply->data;
    h->type = ICMP_ECHO_REPLY;
    h->code = 0;
    icmp_send(n, reply, rx->dst, rx->src);
}

/* RFC 1122 4.2.3.9 and Linux's icmp_err_convert: which errno, and whether it is final. */
static int unreachable_error(uint8_t code, bool *ret_hard)
{
    static const struct {
        int error;
        bool hard;
    } table[] = {
        {ENETUNREACH, false},  {EHOSTUNREACH, false}, {ENOPROTOOPT, true},  {ECONNREFUSED, true},
        {EMSGSIZE, false},     {EOPNOTSUPP, false},   {ENETUNREACH, true},  {EHOSTDOWN, true},
        {ENETUNREACH, true},   {ENETUNREACH, true},   {EHOSTUNREACH, true}, {ENETUNREACH, false},
        {EHOSTUNREACH, false}, {EHOSTUNREACH, true},  {EHOSTUNREACH, true}, {EHOSTUNREACH, true},
    };
    if (code >= ARRAY_LEN(table))
        code = 1;
    *ret_hard = table[code].hard;
    return table[code].error;
}

void icmp_deliver_error(struct net_stack *n, const uint8_t *packet, size_t len, int error,
                        bool hard, uint32_t mtu)
{
    const struct ip_hdr *ip = (const struct ip_hdr *)packet;
    if (len < sizeof(*ip) || ip->ver_ihl >> 4 != 4)
        return;
    size_t hdr_len = (ip->ver_ihl & 15u) * 4;
    if (hdr_len < sizeof(*ip) || len < hdr_len + 8 || (be16(ip->frag) & IP_OFFSET) != 0)
        return;
    const uint8_t *l4 = packet + hdr_len;
    struct net_addr local = {be32(ip->src), load_be16(l4)};
    struct net_addr peer = {be32(ip->dst), load_be16(l4 + 2)};
    if (ip->proto == IP_PROTO_TCP)
        tcp_icmp_error(n, local, peer, load_be32(l4 + 4), error, hard, mtu);
    else if (ip->proto == IP_PROTO_UDP)
        udp_icmp_error(n, local, peer, error, hard);
}

/* RFC 1191 7.1: a router of the old kind names no MTU; take the next plateau below the length. */
static uint32_t plateau_below(uint32_t len)
{
    static const uint16_t plateau[] = {8166, 4352, 2002, 1492, 1006};
    for (size_t i = 0; i < ARRAY_LEN(plateau); i++)
        if (plateau[i] < len)
            return plateau[i];
    return MTU_MIN;
}

static void error_input(struct net_stack *n, const struct pkt *p, const struct icmp_hdr *h)
{
    const uint8_t *quote = p->data + sizeof(*h);
    size_t quote_len = p->len - sizeof(*h);
    bool hard = false;
    int error = EHOSTUNREACH; // time exceeded
    uint32_t mtu = 0;
    if (h->type == ICMP_UNREACHABLE)
        error = unreachable_error(h->code, &hard);
    else if (h->type == ICMP_PARAMETER)
        error = EPROTO;
    if (h->type == ICMP_UNREACHABLE && h->code == ICMP_FRAG_NEEDED) {
        if (quote_len < sizeof(struct ip_hdr))
            return;
        mtu = be32(h->rest) & 0xffff;
        if (mtu == 0)
            mtu = plateau_below(be16(((const struct ip_hdr *)quote)->len));
        mtu = MAX(mtu, (uint32_t)MTU_MIN);
    }
    icmp_deliver_error(n, quote, quote_len, error, hard, mtu);
}

void icmp_input(struct net_stack *n, struct pkt *p, const struct ip_rx *rx)
{
    const struct icmp_hdr *h = (const struct icmp_hdr *)p->data;
    n->count.icmp_in++;
    if (p->len >= sizeof(*h) && csum_fold(csum_add(p->data, p->len, 0)) == 0) {
        if (h->type == ICMP_ECHO)
            echo_reply(n, p, rx);
        else if (h->type == ICMP_UNREACHABLE || h->type == ICMP_TIME_EXCEEDED ||
                 h->type == ICMP_PARAMETER)
            error_input(n, p, h);
    }
    pkt_put(p);
}
