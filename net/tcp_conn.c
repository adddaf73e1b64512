// SPDX-License-Identifier: Apache-2.0
/* Life of a connection: made, established, over, TIME_WAIT, freed. */
#include "net/tcp_internal.h"

static void tcp_listen_init(struct tcp *t)
{
    list_init(&t->listen_node);
    list_init(&t->accept_node);
    list_init(&t->accept_queue);
    list_init(&t->halves);
}

struct tcp *tcp_new(struct net_stack *n)
{
    struct tcp *t = net_mem_new(n, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->n = n;
    t->state = TCP_CLOSED;
    t->flow.kind = FLOW_TCP;
    list_init(&t->flow.port_node);
    list_push_back(&n->tcps, &t->all_node);
    tcp_listen_init(t);
    t->linger = -1;
    t->ttl = 64;
    t->keep_idle = 7200;
    t->keep_interval = 75;
    t->keep_count = 9;
    t->syn_count = TCP_SYN_RETRIES_MAX;
    t->rcvbuf = n->cfg.rcvbuf;
    t->sndbuf = n->cfg.sndbuf;
    t->peer_mss = TCP_MSS_DEFAULT;
    t->rto = TCP_RTO_INITIAL;
    t->cwnd = TCP_INIT_CWND;
    t->ssthresh = INT32_MAX;
    t->quickacks = TCP_QUICKACKS;
    t->rcv_mss = TCP_MSS_DEFAULT;
    tcp_timer_init(t);
    n->count.tcps++;
    return t;
}

void tcp_event(struct tcp *t, uint32_t ready)
{
    if (t->sock.user != NULL)
        t->n->cfg.hooks.event(t->n->cfg.ctx, t, NULL, t->sock.user, ready);
}

void tcp_set_state(struct tcp *t, enum tcp_state state)
{
    t->state = (uint8_t)state;
}

/* RFC 6528 3: a clock of 4 us steps and a keyed hash of the addresses. */
uint32_t tcp_iss(const struct net_stack *n, struct net_addr local, struct net_addr peer)
{
    uint64_t hash = siphash_fast(&n->seq_key, (uint64_t)local.ip << 32 | peer.ip,
                                 (uint64_t)local.port << 32 | peer.port);
    return (uint32_t)hash + (uint32_t)(n->now >> 12);
}

/* The same for all connections between two hosts: time stamps grow from one to the next, which lets
 * a TIME_WAIT be reused (RFC 6191). */
uint32_t tcp_stamp_offset(const struct net_stack *n, uint32_t local, uint32_t peer)
{
    return (uint32_t)siphash_fast(&n->stamp_key, local, peer);
}

uint16_t tcp_peer_mss(const struct seg *syn)
{
    if (syn->mss == 0)
        return TCP_MSS_DEFAULT;
    return syn->mss < TCP_MSS_MIN ? (uint16_t)TCP_MSS_MIN : syn->mss;
}

void tcp_mss_set(struct tcp *t)
{
    uint32_t room = t->mtu - (uint32_t)(sizeof(struct ip_hdr) + sizeof(struct tcp_hdr));
    uint32_t mss = MIN(room, (uint32_t)t->peer_mss);
    if (t->max_seg != 0)
        mss = MIN(mss, (uint32_t)t->max_seg);
    mss = MAX(mss, (uint32_t)TCP_MSS_MIN);
    t->mss = (uint16_t)(mss - (t->stamps ? 12u : 0u)); // RFC 6691: options count
}

uint8_t tcp_wscale_for(const struct net_stack *n, uint32_t rcvbuf)
{
    uint8_t scale = 0;
    uint32_t most = MAX(rcvbuf, n->cfg.rcvbuf_max);
    while (scale < TCP_WSCALE_MAX && most >> scale > 65535)
        scale++;
    return scale;
}

void tcp_established(struct tcp *t)
{
    // A shutdown may have come before the handshake was done.
    tcp_set_state(t, t->tx_shut ? TCP_FIN_WAIT_1 : TCP_ESTABLISHED);
    t->ever = true;
    t->backoff = t->retries = 0;
    t->rto = MAX(t->rto, TCP_RTO_MIN);
    t->copied_seq = t->rcv_nxt;
    t->tune_at = t->n->now;
    t->tune_copied = t->rcv_nxt;
    t->tune_space = t->rcvbuf / 2;
    t->any_rcv_at = t->n->now;
    t->usage_seq = t->snd_nxt;
    tcp_keepalive_start(t);
}

void tcp_rx_purge(struct tcp *t)
{
    struct net_stack *n = t->n;
    while (t->rx_first != NULL) {
        struct pkt *p = t->rx_first;
        t->rx_first = p->next;
        pkt_put(p);
    }
    for (unsigned i = 0; i < t->ranges_len; i++) {
        struct pkt *next;
        for (struct pkt *p = t->ranges[i].first; p != NULL; p = next) {
            next = p->next;
            pkt_put(p);
        }
    }
    if (t->ranges != NULL)
        net_mem_free(n, t->ranges, t->ranges_max * sizeof(*t->ranges));
    t->ranges = NULL;
    t->ranges_len = t->ranges_max = 0;
    t->rx_queued = 0;
    n->count.mem -= t->rx_mem;
    t->rx_mem = 0;
}

void tcp_tx_purge(struct tcp *t)
{
    struct pkt *next;
    for (struct pkt *p = t->tx.head; p != NULL; p = next) {
        next = p->next;
        pkt_put(p);
    }
    pkt_put(TAKE(t->tx_open));
    t->n->count.mem -= t->tx_mem;
    t->tx_mem = 0;
    t->tx = (struct pktq){0};
    t->tx_next = t->sack_hint = t->lost_hint = t->retrans_hint = NULL;
    t->packets_out = t->sacked_out = t->lost_out = t->retrans_out = 0;
    t->lost_hint_sacked = 0;
    t->sack_cached = 0;
    t->snd_una = t->snd_nxt = t->write_seq;
}

void tcp_done(struct tcp *t, int error)
{
    struct net_stack *n = t->n;
    bool was = t->state != TCP_CLOSED;
    tcp_set_state(t, TCP_CLOSED);
    flow_remove(n, &t->flow);
    if (!t->bound_port)
        port_release(&t->flow);
    for (unsigned i = 0; i < TIMERS; i++)
        t->deadline[i] = NET_NEVER;
    timer_disarm(n, &t->timer);
    tcp_tx_purge(t);
    t->fin_wanted = false;
    t->rx_shut = t->tx_shut = true;
    if (error != 0)
        t->error = error;
    if (t->orphan)
        tcp_release(t);
    else if (was)
        tcp_event(t, NET_IN | NET_OUT | NET_RDHUP | NET_HUP | (error != 0 ? (uint32_t)NET_ERR : 0));
}

void tcp_reset(struct tcp *t, int error)
{
    tcp_rst_send(t);
    tcp_done(t, error);
}

void tcp_release(struct tcp *t)
{
    struct net_stack *n = t->n;
    if (t->dead)
        return;
    t->dead = true;
    t->sock.user = NULL;
    flow_remove(n, &t->flow);
    port_release(&t->flow);
    timer_disarm(n, &t->timer);
    if (t->parent != NULL) {
        list_remove(&t->accept_node);
        t->parent->accept_len--;
        t->parent = NULL;
    }
    tcp_rx_purge(t);
    tcp_tx_purge(t);
    list_remove(&t->all_node);
    list_push_back(&n->dead, &t->all_node);
}

void tcp_free_dead(struct net_stack *n)
{
    struct list *node;
    while ((node = list_pop_front(&n->dead)) != NULL) {
        struct tcp *t = LIST_ENTRY(node, struct tcp, all_node);
        n->count.tcps--;
        net_mem_free(n, t, sizeof(*t));
    }
}

void tcp_deinit(struct net_stack *n)
{
    while (!list_empty(&n->tcps)) {
        struct tcp *t = LIST_ENTRY(n->tcps.next, struct tcp, all_node);
        if (t->state == TCP_LISTEN) {
            LIST_FOR_EACH_SAFE (node, &t->accept_queue)
                tcp_release(LIST_ENTRY(node, struct tcp, accept_node));
            LIST_FOR_EACH_SAFE (node, &t->halves)
                tcp_half_free(n, LIST_ENTRY(node, struct tcp_half, node));
            list_remove(&t->listen_node);
        }
        tcp_release(t);
    }
    while (!list_empty(&n->time_waits))
        tcp_wait_free(n, LIST_ENTRY(n->time_waits.next, struct tcp_wait, node));
    tcp_free_dead(n);
}

// ---- TIME_WAIT: a few numbers instead of a connection

void tcp_wait_free(struct net_stack *n, struct tcp_wait *w)
{
    flow_remove(n, &w->flow);
    port_release(&w->flow);
    timer_disarm(n, &w->timer);
    list_remove(&w->node);
    n->count.time_waits--;
    net_mem_free(n, w, sizeof(*w));
}

static void tcp_wait_fire(struct net_stack *n, struct timer *timer)
{
    tcp_wait_free(n, CONTAINER_OF(timer, struct tcp_wait, timer));
}

void tcp_time_wait(struct tcp *t)
{
    struct net_stack *n = t->n;
    if (n->count.time_waits >= n->cfg.time_wait_max) {
        n->count.tcp_time_wait_full++;
        tcp_wait_free(n, LIST_ENTRY(n->time_waits.next, struct tcp_wait, node));
    }
    struct tcp_wait *w = net_mem_new(n, sizeof(*w));
    if (w == NULL) {
        tcp_done(t, 0);
        return;
    }
    w->flow.kind = FLOW_TIME_WAIT;
    w->flow.local_ip = t->flow.local_ip;
    w->flow.local_port = t->flow.local_port;
    w->flow.peer_ip = t->flow.peer_ip;
    w->flow.peer_port = t->flow.peer_port;
    list_init(&w->flow.port_node);
    w->snd_nxt = t->snd_nxt;
    w->rcv_nxt = t->rcv_nxt;
    w->rcv_wnd = tcp_wnd_now(t);
    w->stamps = t->stamps;
    w->ts_recent = t->ts_recent;
    w->ts_recent_at = t->ts_recent_at;
    w->stamp_offset = t->stamp_offset;
    w->reuse = t->reuse;
    timer_init(&w->timer, tcp_wait_fire);
    tcp_done(t, 0);
    flow_insert(n, &w->flow);
    port_hold(n, &w->flow);
    list_push_back(&n->time_waits, &w->node);
    n->count.time_waits++;
    timer_arm(n, &w->timer, n->now + TCP_TIME_WAIT_LEN);
}

static void tcp_wait_ack(struct net_stack *n, struct tcp_wait *w)
{
    // At most two a second, so that two ends in disagreement do not feed each other.
    if (w->acked_at != 0 && n->now - w->acked_at < NET_NS_PER_S / 2)
        return;
    struct pkt *p = net_pkt_new(n, 0);
    struct route route;
    if (p == NULL || ip_route(n, w->flow.peer_ip, &route) < 0) {
        pkt_put(p);
        return;
    }
    w->acked_at = n->now;
    struct tcp_out o = {
        .src = {w->flow.local_ip, w->flow.local_port},
        .dst = {w->flow.peer_ip, w->flow.peer_port},
        .seq = w->snd_nxt,
        .ack = w->rcv_nxt,
        .flags = TCP_ACK,
        .ttl = 64,
    };
    if (w->stamps) {
        o.opts_len = 12;
        store_be32(o.opts, TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_TIMESTAMP << 8 | 10);
        store_be32(o.opts + 4, n->now_ms + w->stamp_offset);
        store_be32(o.opts + 8, w->ts_recent);
    }
    tcp_out_send(n, p, &o, &route);
}

void tcp_wait_input(struct net_stack *n, struct tcp_wait *w, struct seg *s)
{
    bool newer_stamp = w->stamps && s->has_stamp && (int32_t)(s->stamp - w->ts_recent) > 0;
    bool older_stamp = w->stamps && s->has_stamp && (int32_t)(s->stamp - w->ts_recent) < 0 &&
                       n->now - w->ts_recent_at < TCP_PAWS_IDLE;
    if (s->flags & TCP_RST)
        return; // RFC 1337: an old RST must not end the wait
    bool syn = (s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    if (syn && !older_stamp && (newer_stamp || seq_lt(w->rcv_nxt, s->seq))) {
        // RFC 6191 and RFC 1122 4.2.2.13: a new connection between the same ends
        struct net_addr local = {w->flow.local_ip, w->flow.local_port};
        struct tcp *listener = listener_find(n, local);
        if (listener != NULL) {
            tcp_wait_free(n, w);
            tcp_listen_input(listener, s);
            return;
        }
    }
    if (s->flags & TCP_FIN && !older_stamp)
        timer_arm(n, &w->timer, n->now + TCP_TIME_WAIT_LEN);
    if (s->seq != w->rcv_nxt || s->len > 0 || (s->flags & (TCP_SYN | TCP_FIN)) != 0)
        tcp_wait_ack(n, w);
}
