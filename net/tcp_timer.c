// SPDX-License-Identifier: Apache-2.0
/* Deadlines of a connection: retransmission and window probes (RFC 6298, RFC 9293 3.8.6.1), delayed
 * ACK, keepalive and FIN_WAIT_2 (RFC 9293 3.8.4), retries after a lack of memory.
 *
 * All share one timer in the wheel. Moving a deadline back is an assignment: the timer fires at the
 * old time, finds nothing due, and arms itself for the earliest that is left. */
#include "net/tcp_internal.h"

static void tcp_fire(struct net_stack *n, struct timer *timer);

void tcp_timer_init(struct tcp *t)
{
    timer_init(&t->timer, tcp_fire);
    for (unsigned i = 0; i < TIMERS; i++)
        t->deadline[i] = NET_NEVER;
}

void tcp_deadline(struct tcp *t, enum tcp_timer which, uint64_t when)
{
    t->deadline[which] = when;
    if (when != NET_NEVER && (when >> TICK_SHIFT) + 1 < t->timer.wheel.tick)
        timer_arm(t->n, &t->timer, when);
}

uint64_t tcp_rto_now(const struct tcp *t)
{
    return MIN(t->rto << MIN((unsigned)t->backoff, 10u), TCP_RTO_MAX);
}

/* Too long without an answer? The user's limit in time, or a number of retries. */
static bool gave_up(const struct tcp *t, unsigned tries, unsigned tries_max)
{
    if (t->user_timeout != 0 && t->state != TCP_SYN_SENT)
        return t->n->now - t->stalled_at >= t->user_timeout * NET_NS_PER_MS;
    return tries >= tries_max;
}

static void time_out(struct tcp *t)
{
    tcp_done(t, t->soft_error != 0 ? t->soft_error : ETIMEDOUT);
}

static void retransmit_timeout(struct tcp *t)
{
    struct net_stack *n = t->n;
    unsigned most = t->orphan ? TCP_ORPHAN_RETRIES_MAX : TCP_RETRIES_MAX;
    if (t->state == TCP_SYN_SENT)
        most = t->syn_count;
    else if (t->state == TCP_SYN_RECEIVED)
        most = TCP_SYNACK_RETRIES_MAX;
    if (gave_up(t, t->retries, most)) {
        time_out(t);
        return;
    }
    n->count.tcp_timeouts++;
    t->probed = t->probe_armed = false;
    tcp_enter_loss(t);
    if (t->retries < UINT8_MAX)
        t->retries++;
    if (t->backoff < 16)
        t->backoff++;
    struct pkt *head = t->tx.head;
    bool fits = head->len <= t->mss || tcp_packet_split(t, head, t->mss) == 0;
    if (fits && tcp_packet_send(t, head) == 0) {
        n->count.tcp_retransmits++;
        t->total_retrans++;
        if ((head->u.tx.marks & TX_RETRANS) == 0)
            t->retrans_out++;
        head->u.tx.marks |= TX_RETRANS | TX_EVER;
    }
    tcp_deadline(t, TIMER_RETRANSMIT, n->now + tcp_rto_now(t));
}

static void tail_probe(struct tcp *t)
{
    tcp_tail_probe(t);
    t->probe_armed = false;
    tcp_deadline(t, TIMER_RETRANSMIT, t->n->now + tcp_rto_now(t));
}

/* The peer's window is shut, or too small for a whole segment: ask again, or send a part now. */
static void window_probe(struct tcp *t)
{
    struct net_stack *n = t->n;
    struct pkt *p = t->tx_next;
    uint32_t edge = t->snd_una + t->snd_wnd;
    // An orphan that a peer holds off for ever must not live for ever.
    bool orphan_over = t->orphan && tcp_rto_now(t) >= TCP_RTO_MAX;
    if (orphan_over || gave_up(t, t->probes, TCP_RETRIES_MAX)) {
        if (orphan_over)
            tcp_reset(t, ETIMEDOUT);
        else
            time_out(t);
        return;
    }
    t->more = false;
    if (seq_lt(p->u.tx.seq, edge)) { // the sender's override of RFC 9293 3.8.6.2.1
        uint32_t usable = MIN(edge - p->u.tx.seq, (uint32_t)t->mss);
        if (p->len <= usable || tcp_packet_split(t, p, usable) == 0) {
            uint8_t backoff = t->backoff;
            t->snd_wnd_max = MIN(t->snd_wnd_max, usable * 2);
            bool cork = t->cork;
            t->cork = false;
            tcp_output(t);
            t->cork = cork;
            t->backoff = backoff;
            if (t->packets_out > 0)
                return;
        }
    } else {
        tcp_probe_send(t, t->snd_una - 1);
        if (t->probes < UINT8_MAX)
            t->probes++;
    }
    if (t->backoff < 16)
        t->backoff++;
    tcp_deadline(t, TIMER_RETRANSMIT, n->now + MAX(tcp_rto_now(t), TCP_RTO_MIN));
}

static void delayed_ack(struct tcp *t)
{
    t->ack_delayed = false;
    t->pingpong = false; // we do not answer that fast
    tcp_ack_send(t);
}

void tcp_keepalive_start(struct tcp *t)
{
    if (t->keepalive && tcp_connected(t))
        tcp_deadline(t, TIMER_KEEP, MAX(t->any_rcv_at, t->n->now) + t->keep_idle * NET_NS_PER_S);
}

static void keep_timeout(struct tcp *t)
{
    struct net_stack *n = t->n;
    if (t->orphan && t->state == TCP_FIN_WAIT_2) {
        tcp_done(t, 0); // Linux: tcp_fin_timeout
        return;
    }
    if (!t->keepalive || !tcp_connected(t))
        return;
    uint64_t idle_ends = t->any_rcv_at + t->keep_idle * NET_NS_PER_S;
    if (t->packets_out > 0 || t->tx_next != NULL || n->now < idle_ends) {
        t->keep_probes = 0; // other timers watch the peer, or it has spoken
        tcp_deadline(t, TIMER_KEEP, MAX(idle_ends, n->now + t->keep_interval * NET_NS_PER_S));
        return;
    }
    bool over = t->user_timeout != 0 ? n->now - t->any_rcv_at >= t->user_timeout * NET_NS_PER_MS &&
                                           t->keep_probes > 0
                                     : t->keep_probes >= t->keep_count;
    if (over) {
        tcp_reset(t, ETIMEDOUT);
        return;
    }
    t->keep_probes++;
    tcp_probe_send(t, t->snd_nxt - 1);
    tcp_deadline(t, TIMER_KEEP, n->now + t->keep_interval * NET_NS_PER_S);
}

static void misc_timeout(struct tcp *t)
{
    if (t->fin_wanted) {
        if (!tcp_fin_queue(t)) {
            tcp_deadline(t, TIMER_MISC, t->n->now + TCP_MEMORY_RETRY);
            return;
        }
        t->fin_wanted = false;
        tcp_output(t);
    }
    if (t->want_out) {
        t->want_out = false;
        tcp_event(t, NET_OUT);
    }
}

static void tcp_due(struct tcp *t, enum tcp_timer which)
{
    t->deadline[which] = NET_NEVER;
    switch (which) {
    case TIMER_RETRANSMIT:
        if (t->packets_out > 0 && t->probe_armed)
            tail_probe(t);
        else if (t->packets_out > 0)
            retransmit_timeout(t);
        else if (t->tx_next != NULL)
            window_probe(t);
        return;
    case TIMER_DELACK:
        delayed_ack(t);
        return;
    case TIMER_KEEP:
        keep_timeout(t);
        return;
    case TIMER_MISC:
        misc_timeout(t);
        return;
    case TIMERS:
        return;
    }
}

static void tcp_fire(struct net_stack *n, struct timer *timer)
{
    struct tcp *t = CONTAINER_OF(timer, struct tcp, timer);
    uint64_t next = NET_NEVER;
    for (unsigned i = 0; i < TIMERS; i++) {
        if (t->deadline[i] <= n->now)
            tcp_due(t, (enum tcp_timer)i);
        if (t->dead)
            return;
    }
    for (unsigned i = 0; i < TIMERS; i++)
        next = MIN(next, t->deadline[i]);
    if (next != NET_NEVER)
        timer_arm(n, &t->timer, next);
}
