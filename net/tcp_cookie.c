// SPDX-License-Identifier: Apache-2.0
/* SYN cookies (RFC 4987 3.6): when too many half-open connections wait, the answer's sequence
 * number carries the state, and a connection is made of the ACK that returns it.
 *
 *     sequence number   5 bits minute | 3 bits MSS class | 24 bits keyed hash of it all
 *     time stamp        low 6 bits: SACK 1 | window scale 4 (15: none) | 1: options are present
 *
 * Without time stamps the connection has neither window scaling nor SACK. */
#include "net/tcp_internal.h"

enum { COOKIE_AGE_MAX = 2, STAMP_BITS = 6 }; // ages of 64 s

static const uint16_t mss_class[8] = {TCP_MSS_MIN, 536, 1200, 1300, 1380, 1440, 1460, 8960};

static uint32_t cookie_clock(const struct net_stack *n)
{
    return (uint32_t)(n->now / (64 * NET_NS_PER_S));
}

static uint32_t cookie_hash(const struct net_stack *n, const struct seg *s, uint32_t peer_isn,
                            uint32_t clock, uint32_t class)
{
    struct {
        uint32_t src, dst, ports, isn, clock, class;
    } in = {s->ip->src, s->ip->dst, (uint32_t)s->hdr->src << 16 | s->hdr->dst,
            peer_isn,   clock,      class};
    return (uint32_t)(siphash(&n->cookie_key, &in, sizeof(in)) & 0xffffff);
}

void tcp_cookie_send(struct tcp *listener, const struct seg *s)
{
    struct net_stack *n = listener->n;
    struct tcp_half h = {0};
    tcp_half_from_syn(&h, listener, s);
    uint32_t class = 0, clock = cookie_clock(n);
    while (class + 1 < ARRAY_LEN(mss_class) && mss_class[class + 1] <= h.mss)
        class ++;
    h.iss = (clock & 31) << 27 | class << 24 | cookie_hash(n, s, s->seq, clock, class);
    h.by_cookie = true;
    if (!h.stamps)
        h.sack = h.wscale = false;
    n->count.tcp_syn_cookies_sent++;
    listener->cookie_at = n->now;
    tcp_half_answer(n, &h);
}

/* The stamp of a SYN-ACK that carries the options; see tcp_half_answer(). */
static uint32_t options_of(const struct tcp_half *h)
{
    return 1u | (uint32_t)h->sack << 1 | (h->wscale ? h->snd_wscale & 15u : 15u) << 2;
}

uint32_t tcp_cookie_stamp(const struct tcp_half *h, uint32_t stamp)
{
    uint32_t with = (stamp & ~((1u << STAMP_BITS) - 1)) | options_of(h);
    return (int32_t)(with - stamp) > 0 ? with - (1u << STAMP_BITS) : with; // never in the future
}

int tcp_cookie_check(struct tcp *listener, const struct seg *s, struct tcp_half *ret)
{
    struct net_stack *n = listener->n;
    if (listener->cookie_at == 0 ||
        n->now - listener->cookie_at > (COOKIE_AGE_MAX + 1) * 64 * NET_NS_PER_S)
        return -ENOENT; // none was sent lately
    uint32_t cookie = s->ack - 1, class = cookie >> 24 & 7, now = cookie_clock(n);
    uint32_t age = (now - (cookie >> 27)) & 31;
    if (age > COOKIE_AGE_MAX || age > now) {
        n->count.tcp_syn_cookies_bad++;
        return -ENOENT;
    }
    if (cookie_hash(n, s, s->seq - 1, now - age, class) != (cookie & 0xffffff)) {
        n->count.tcp_syn_cookies_bad++;
        // It may be later data of a connection whose first segments were lost: they will come
        // again.
        return -EAGAIN;
    }
    struct seg syn = *s;
    syn.seq = s->seq - 1;
    syn.mss = mss_class[class];
    syn.wscale = -1;
    syn.sack_ok = false;
    syn.has_stamp = false;
    if (s->has_stamp && s->echo != 0) {
        uint32_t options = s->echo & ((1u << STAMP_BITS) - 1);
        if ((options & 1) == 0) {
            n->count.tcp_syn_cookies_bad++;
            return -ENOENT;
        }
        syn.has_stamp = true;
        syn.sack_ok = options >> 1 & 1;
        syn.wscale = (options >> 2 & 15) == 15 ? -1 : (int8_t)(options >> 2 & 15);
    }
    tcp_half_from_syn(ret, listener, &syn);
    ret->iss = cookie;
    n->count.tcp_syn_cookies_ok++;
    return 0;
}
