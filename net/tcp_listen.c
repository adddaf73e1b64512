// SPDX-License-Identifier: Apache-2.0
/* Listeners: half-open connections until the handshake is done, then the accept queue. */
#include "net/tcp_internal.h"

void tcp_half_free(struct net_stack *n, struct tcp_half *h)
{
    flow_remove(n, &h->flow);
    timer_disarm(n, &h->timer);
    list_remove(&h->node);
    list_remove(&h->all_node);
    h->listener->halves_len--;
    n->count.half_open--;
    net_mem_free(n, h, sizeof(*h));
}

void tcp_half_from_syn(struct tcp_half *h, struct tcp *listener, const struct seg *s)
{
    struct net_stack *n = listener->n;
    h->listener = listener;
    h->flow.kind = FLOW_HALF;
    h->flow.local_ip = s->ip->dst;
    h->flow.peer_ip = s->ip->src;
    h->flow.local_port = be16(s->hdr->dst);
    h->flow.peer_port = be16(s->hdr->src);
    struct net_addr local = {h->flow.local_ip, h->flow.local_port};
    struct net_addr peer = {h->flow.peer_ip, h->flow.peer_port};
    h->iss = tcp_iss(n, local, peer);
    h->irs = s->seq;
    h->made_at = n->now;
    h->wnd = s->wnd;
    h->mss = tcp_peer_mss(s);
    h->stamps = s->has_stamp;
    h->ts_recent = s->has_stamp ? s->stamp : 0;
    h->sack = s->sack_ok;
    h->wscale = s->wscale >= 0;
    h->snd_wscale = h->wscale ? (uint8_t)s->wscale : 0;
    h->stamp_offset = tcp_stamp_offset(n, local.ip, peer.ip);
}

/* Send the SYN-ACK. */
void tcp_half_answer(struct net_stack *n, struct tcp_half *h)
{
    const struct tcp *listener = h->listener;
    struct pkt *p = net_pkt_new(n, 0);
    struct route route;
    if (p == NULL || ip_route(n, h->flow.peer_ip, &route) < 0) {
        pkt_put(p);
        return;
    }
    struct tcp_out o = {
        .src = {h->flow.local_ip, h->flow.local_port},
        .dst = {h->flow.peer_ip, h->flow.peer_port},
        .seq = h->iss,
        .ack = h->irs + 1,
        .flags = TCP_SYN | TCP_ACK,
        .wnd = (uint16_t)MIN(listener->rcvbuf, 65535u),
        .ttl = listener->ttl,
        .tos = listener->tos,
        .opts_len = 4,
    };
    uint32_t mss = n->cfg.mtu - 40u;
    if (listener->max_seg != 0)
        mss = MIN(mss, (uint32_t)listener->max_seg);
    store_be32(o.opts, (uint32_t)TCPOPT_MSS << 24 | 4 << 16 | mss);
    uint8_t *at = o.opts + 4;
    if (h->stamps) {
        uint32_t stamp = n->now_ms + h->stamp_offset;
        store_be32(at, TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_TIMESTAMP << 8 | 10);
        store_be32(at + 4, h->by_cookie ? tcp_cookie_stamp(h, stamp) : stamp);
        store_be32(at + 8, h->ts_recent);
        at += 12;
    }
    if (h->sack) {
        store_be32(at, TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_SACK_OK << 8 | 2);
        at += 4;
    }
    if (h->wscale) {
        uint32_t scale = tcp_wscale_for(n, listener->rcvbuf);
        store_be32(at, TCPOPT_NOP << 24 | TCPOPT_WSCALE << 16 | 3 << 8 | scale);
        at += 4;
    }
    o.opts_len = (uint8_t)(at - o.opts);
    h->sent_at = n->now;
    tcp_out_send(n, p, &o, &route);
}

static void tcp_half_fire(struct net_stack *n, struct timer *timer)
{
    struct tcp_half *h = CONTAINER_OF(timer, struct tcp_half, timer);
    if (h->tries >= TCP_SYNACK_RETRIES_MAX) {
        tcp_half_free(n, h);
        return;
    }
    h->tries++;
    n->count.tcp_retransmits++;
    tcp_half_answer(n, h);
    timer_arm(n, &h->timer, n->now + (TCP_RTO_INITIAL << h->tries));
}

static void syn_input(struct tcp *listener, struct seg *s)
{
    struct net_stack *n = listener->n;
    if (listener->accept_len >= listener->backlog) {
        n->count.tcp_accept_full++;
        return; // the client tries again
    }
    bool full = listener->halves_len >= MAX(listener->backlog, (uint32_t)TCP_BACKLOG_HALF_MIN) ||
                n->count.half_open >= n->cfg.syn_max;
    struct tcp_half *h = full ? NULL : net_mem_new(n, sizeof(*h));
    if (h == NULL) {
        tcp_cookie_send(listener, s);
        return;
    }
    tcp_half_from_syn(h, listener, s);
    timer_init(&h->timer, tcp_half_fire);
    list_push_back(&listener->halves, &h->node);
    list_push_back(&n->halves, &h->all_node);
    listener->halves_len++;
    n->count.half_open++;
    flow_insert(n, &h->flow);
    tcp_half_answer(n, h);
    timer_arm(n, &h->timer, n->now + TCP_RTO_INITIAL);
}

/* RFC 9293 3.10.7.2 */
void tcp_listen_input(struct tcp *listener, struct seg *s)
{
    struct net_stack *n = listener->n;
    struct tcp_half h = {0};
    if (s->flags & TCP_RST)
        return;
    if (s->flags & TCP_ACK) {
        int r = s->flags & TCP_SYN ? -ENOENT : tcp_cookie_check(listener, s, &h);
        if (r == 0 && listener->accept_len < listener->backlog)
            tcp_half_complete(n, &h, s);
        else if (r == 0)
            n->count.tcp_accept_full++;
        else if (r != -EAGAIN)
            tcp_segment_for_nobody(n, s);
    } else if (s->flags & TCP_SYN && (s->flags & TCP_FIN) == 0) {
        syn_input(listener, s);
    }
}

static void inherit(struct tcp *t, const struct tcp *l)
{
    t->nodelay = l->nodelay;
    t->cork = l->cork;
    t->keepalive = l->keepalive;
    t->keep_idle = l->keep_idle;
    t->keep_interval = l->keep_interval;
    t->keep_count = l->keep_count;
    t->user_timeout = l->user_timeout;
    t->linger = l->linger;
    t->reuse = l->reuse;
    t->ttl = l->ttl;
    t->tos = l->tos;
    t->max_seg = l->max_seg;
    t->notsent_lowat = l->notsent_lowat;
    t->rcvbuf = l->rcvbuf;
    t->rcvbuf_fixed = l->rcvbuf_fixed;
    t->sndbuf = l->sndbuf;
    t->sndbuf_fixed = l->sndbuf_fixed;
}

static void adopt_numbers(struct tcp *t, const struct tcp_half *h)
{
    t->iss = h->iss;
    t->irs = h->irs;
    t->snd_una = t->snd_nxt = t->write_seq = t->snd_sml = h->iss + 1;
    t->high_seq = h->iss;
    t->rcv_nxt = t->rcv_acked = h->irs + 1;
    t->rcv_adv = t->rcv_nxt + MIN(t->rcvbuf, 65535u);
    t->snd_wl1 = h->irs;
    t->stamps = h->stamps;
    t->sack = h->sack;
    t->wscale = h->wscale;
    t->snd_wscale = h->snd_wscale;
    t->peer_mss = h->mss;
    t->ts_recent = h->ts_recent;
    t->ts_recent_at = t->n->now;
    t->stamp_offset = h->stamp_offset;
    if (h->wscale)
        t->rcv_wscale = tcp_wscale_for(t->n, t->rcvbuf);
}

/* The handshake is done: the half becomes a connection, which takes the segment. */
void tcp_half_complete(struct net_stack *n, struct tcp_half *h, struct seg *s)
{
    struct tcp *l = h->listener;
    struct tcp *t = n->count.tcps < n->cfg.tcp_max ? tcp_new(n) : NULL;
    if (t == NULL || ip_route(n, h->flow.peer_ip, &t->route) < 0) {
        n->count.tcp_accept_full++;
        if (t != NULL)
            tcp_release(t);
        return;
    }
    inherit(t, l);
    adopt_numbers(t, h);
    t->flow.local_ip = h->flow.local_ip;
    t->flow.local_port = h->flow.local_port;
    t->flow.peer_ip = h->flow.peer_ip;
    t->flow.peer_port = h->flow.peer_port;
    t->mtu = ip_mtu(n, h->flow.peer_ip, &t->route);
    tcp_mss_set(t);
    if (h->tries == 0 && h->sent_at != 0)
        tcp_rtt_sample(t, n->now - h->sent_at);
    if (h->tries > 1)
        t->cwnd = 1;
    if (h->flow.hashed)
        tcp_half_free(n, h);
    flow_insert(n, &t->flow);
    port_hold(n, &t->flow);
    t->snd_wnd = t->snd_wnd_max = (uint32_t)s->wnd << t->snd_wscale;
    tcp_established(t);
    t->parent = l;
    list_push_back(&l->accept_queue, &t->accept_node);
    l->accept_len++;
    n->count.tcp_passive_opens++;
    tcp_conn_input(t, s);
    tcp_event(l, NET_IN);
}

static bool half_stale(struct net_stack *n, struct tcp_half *h, const struct seg *s)
{
    if (h->stamps && s->has_stamp && (int32_t)(s->stamp - h->ts_recent) < 0) {
        n->count.tcp_paws_dropped++;
        return true;
    }
    return false;
}

/* Answer a repeated SYN, but not a flood of them. */
static void half_answer_again(struct net_stack *n, struct tcp_half *h)
{
    if (n->now - h->sent_at >= TCP_RTO_MIN) {
        if (h->tries == 0)
            h->tries = 1; // its round trip is ambiguous now
        tcp_half_answer(n, h);
    }
}

void tcp_half_input(struct net_stack *n, struct tcp_half *h, struct seg *s)
{
    struct tcp *l = h->listener;
    uint32_t edge = h->irs + 1 + MIN(l->rcvbuf, 65535u);
    if (s->flags & TCP_RST) { // RFC 5961 3.2
        if (s->seq == h->irs + 1)
            tcp_half_free(n, h);
        return;
    }
    if (s->flags & TCP_SYN) {
        if (s->seq == h->irs && (s->flags & TCP_ACK) == 0)
            half_answer_again(n, h);
        return;
    }
    if (half_stale(n, h, s) || (s->flags & TCP_ACK) == 0)
        return;
    if (s->ack != h->iss + 1) {
        tcp_segment_for_nobody(n, s);
        return;
    }
    if (seq_lt(s->seq, h->irs + 1) || seq_lt(edge, s->seq)) {
        half_answer_again(n, h);
        return;
    }
    if (l->accept_len >= l->backlog) {
        n->count.tcp_accept_full++;
        return; // the SYN-ACK's timer asks again
    }
    bool bare = s->len == 0 && (s->flags & TCP_FIN) == 0;
    if (l->defer_accept != 0 && bare && n->now - h->made_at < l->defer_accept * NET_NS_PER_S)
        return;
    tcp_half_complete(n, h, s);
}

void tcp_listener_stop(struct tcp *t)
{
    struct net_stack *n = t->n;
    LIST_FOR_EACH_SAFE (node, &t->halves)
        tcp_half_free(n, LIST_ENTRY(node, struct tcp_half, node));
    LIST_FOR_EACH_SAFE (node, &t->accept_queue) {
        struct tcp *child = LIST_ENTRY(node, struct tcp, accept_node);
        child->orphan = true;
        if (child->state == TCP_CLOSED)
            tcp_release(child);
        else
            tcp_reset(child, 0);
    }
    list_remove(&t->listen_node);
    tcp_set_state(t, TCP_CLOSED);
}
