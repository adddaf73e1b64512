// SPDX-License-Identifier: Apache-2.0
/* Receiving data: reassembly, the window we offer (RFC 9293 3.8.6.2.2), when we acknowledge
 * (RFC 9293 3.8.6.3), which SACK blocks we report (RFC 2018 4). */
#include "net/tcp_internal.h"

// ---- memory

static bool rx_charge(struct tcp *t, const struct pkt *p, uint32_t most)
{
    if (t->rx_mem + p->size > most || !net_mem_fits(t->n, p->size)) {
        t->n->count.mem_refused++;
        return false;
    }
    t->rx_mem += p->size;
    t->n->count.mem += p->size;
    return true;
}

static void rx_drop(struct tcp *t, struct pkt *p)
{
    t->rx_mem -= p->size;
    t->n->count.mem -= p->size;
    pkt_put(p);
}

/* A short segment goes into the room behind its predecessor, so that many of them do not hold a
 * whole buffer each. */
static bool coalesce(struct pkt *last, const struct pkt *p)
{
    if (last == NULL || p->len > pkt_tailroom(last) || !pkt_alone(last))
        return false;
    memcpy(last->data + last->len, p->data, p->len);
    last->len += p->len;
    return true;
}

/* Append the segment's packet to a chain; false: no memory. */
static bool chain_append(struct tcp *t, struct seg *s, struct pkt **first, struct pkt **last,
                         uint32_t most)
{
    struct pkt *p = s->p;
    if (coalesce(*last, p))
        return true; // the packet itself is put by tcp_input()
    if (!rx_charge(t, p, most))
        return false;
    p->next = NULL;
    if (*last == NULL)
        *first = p;
    else
        (*last)->next = p;
    *last = p;
    s->p = NULL;
    return true;
}

bool tcp_rx_take(struct tcp *t, struct seg *s)
{
    uint32_t len = s->p->len;
    if (!chain_append(t, s, &t->rx_first, &t->rx_last, 4 * t->rcvbuf + (64 << 10)))
        return false;
    t->rcv_nxt += len;
    t->rx_queued += len;
    t->bytes_received += len;
    return true;
}

// ---- ranges behind holes

/* The first range that ends at or behind seq. */
static unsigned range_find(const struct tcp *t, uint32_t seq)
{
    unsigned low = 0, high = t->ranges_len;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (seq_lt(t->ranges[mid].end, seq))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void range_remove(struct tcp *t, unsigned i)
{
    t->ranges_len--;
    memmove(&t->ranges[i], &t->ranges[i + 1], (t->ranges_len - i) * sizeof(t->ranges[0]));
    if (t->ranges_len == 0) {
        net_mem_free(t->n, t->ranges, t->ranges_max * sizeof(t->ranges[0]));
        t->ranges = NULL;
        t->ranges_max = 0;
        t->recents = 0;
    }
}

static bool ranges_reserve(struct tcp *t)
{
    if (t->ranges_len < t->ranges_max)
        return true;
    unsigned max = t->ranges_max == 0 ? 8 : t->ranges_max * 2u;
    if (max > TCP_RANGES_MAX)
        return false;
    struct rx_range *grown = net_mem_new(t->n, max * sizeof(*grown));
    if (grown == NULL)
        return false;
    if (t->ranges != NULL) {
        memcpy(grown, t->ranges, t->ranges_len * sizeof(*grown));
        net_mem_free(t->n, t->ranges, t->ranges_max * sizeof(*grown));
    }
    t->ranges = grown;
    t->ranges_max = (uint16_t)max;
    return true;
}

/* Drop n bytes at the front of a chain of packets. */
static void chain_trim(struct tcp *t, struct rx_range *r, uint32_t n)
{
    while (n > 0 && r->first != NULL) {
        struct pkt *p = r->first;
        if (n < p->len) {
            pkt_pull(p, n);
            return;
        }
        n -= p->len;
        r->first = p->next;
        rx_drop(t, p);
    }
    if (r->first == NULL)
        r->last = NULL;
}

/* Range i has grown at its end: join what it now touches. */
static void range_join(struct tcp *t, unsigned i)
{
    while (i + 1u < t->ranges_len && seq_le(t->ranges[i + 1].start, t->ranges[i].end)) {
        struct rx_range *r = &t->ranges[i], next = t->ranges[i + 1];
        chain_trim(t, &next, MIN(r->end - next.start, next.end - next.start));
        if (next.first != NULL) {
            r->last->next = next.first;
            r->last = next.last;
            r->end = next.end;
        }
        range_remove(t, i + 1);
    }
}

static void range_new(struct tcp *t, struct seg *s, unsigned i, uint32_t seq, uint32_t end)
{
    struct pkt *p = s->p;
    if (!ranges_reserve(t) || !rx_charge(t, p, 2 * t->rcvbuf + (64 << 10)))
        return;
    memmove(&t->ranges[i + 1], &t->ranges[i], (t->ranges_len - i) * sizeof(t->ranges[0]));
    t->ranges_len++;
    p->next = NULL;
    t->ranges[i] = (struct rx_range){.start = seq, .end = end, .first = p, .last = p};
    s->p = NULL;
}

static void range_prepend(struct tcp *t, struct seg *s, unsigned i, uint32_t seq)
{
    struct rx_range *r = &t->ranges[i];
    struct pkt *p = s->p;
    if (!rx_charge(t, p, 2 * t->rcvbuf + (64 << 10)))
        return;
    p->len = r->start - seq;
    p->next = r->first;
    r->first = p;
    r->start = seq;
    s->p = NULL;
}

/* RFC 2018 4: the block with the newest segment comes first, then others as reported last. */
static void note_recent(struct tcp *t, uint32_t seq)
{
    unsigned at = range_find(t, seq + 1), n = 1;
    if (at >= t->ranges_len || seq_lt(seq, t->ranges[at].start))
        return; // it was refused
    uint32_t kept[TCP_SACK_BLOCKS] = {seq};
    for (unsigned i = 0; i < t->recents && n < TCP_SACK_BLOCKS; i++) {
        uint32_t old = t->recent[i];
        if (seq_lt(old, t->ranges[at].start) || seq_le(t->ranges[at].end, old))
            kept[n++] = old;
    }
    memcpy(t->recent, kept, sizeof(kept));
    t->recents = (uint8_t)n;
}

static void rx_out_of_order(struct tcp *t, struct seg *s, uint32_t seq, uint32_t end)
{
    t->n->count.tcp_out_of_order++;
    unsigned i = range_find(t, seq);
    // Ranges that the segment covers whole give way to it.
    while (i < t->ranges_len && seq_lt(seq, t->ranges[i].start) && seq_le(t->ranges[i].end, end)) {
        chain_trim(t, &t->ranges[i], t->ranges[i].end - t->ranges[i].start);
        range_remove(t, i);
    }
    struct rx_range *r = i < t->ranges_len ? &t->ranges[i] : NULL;
    if (r == NULL || seq_lt(end, r->start)) {
        range_new(t, s, i, seq, end);
    } else if (seq_lt(seq, r->start)) {
        range_prepend(t, s, i, seq);
    } else if (seq_lt(r->end, end)) {
        pkt_pull(s->p, r->end - seq);
        if (chain_append(t, s, &r->first, &r->last, 2 * t->rcvbuf + (64 << 10))) {
            r->end = end;
            range_join(t, i);
        }
    }
    note_recent(t, seq);
}

/* The hole before the first range is filled: its data is in order now. */
static void ranges_drain(struct tcp *t)
{
    while (t->ranges_len > 0 && seq_le(t->ranges[0].start, t->rcv_nxt)) {
        struct rx_range r = t->ranges[0];
        chain_trim(t, &r, MIN(t->rcv_nxt - r.start, r.end - r.start));
        if (r.first != NULL) {
            uint32_t len = r.end - t->rcv_nxt;
            if (t->rx_last == NULL || t->rx_first == NULL)
                t->rx_first = r.first;
            else
                t->rx_last->next = r.first;
            t->rx_last = r.last;
            t->rcv_nxt = r.end;
            t->rx_queued += len;
            t->bytes_received += len;
        }
        range_remove(t, 0);
    }
}

unsigned tcp_sack_blocks(const struct tcp *t, struct seq_range ret[TCP_SACK_BLOCKS])
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->recents; i++) {
        unsigned at = range_find(t, t->recent[i] + 1);
        if (at >= t->ranges_len || seq_lt(t->recent[i], t->ranges[at].start))
            continue;
        bool told = false;
        for (unsigned k = 0; k < n; k++)
            told |= ret[k].start == t->ranges[at].start;
        if (!told)
            ret[n++] = (struct seq_range){t->ranges[at].start, t->ranges[at].end};
    }
    return n;
}

// ---- window and acknowledgements

uint32_t tcp_rx_window(const struct tcp *t)
{
    const struct net_stack *n = t->n;
    uint32_t now = tcp_wnd_now(t), unit = 1u << t->rcv_wscale;
    uint32_t room = t->rcvbuf > t->rx_queued ? t->rcvbuf - t->rx_queued : 0;
    if (n->count.mem > n->cfg.mem_max - n->cfg.mem_max / 4) // short of memory: open no further
        room = MIN(room, MAX(now, t->rcv_mss));
    // RFC 9293 3.8.6.2.2: no small steps.
    if (room < MIN(t->rcvbuf / 2, t->rcv_mss))
        room = 0;
    // What was promised stays (rcv_adv remembers it); to offer a rounded-up rest would let the edge
    // creep forward with each ACK.
    return ALIGN_DOWN(MAX(room, now), unit);
}

void tcp_ack_schedule(struct tcp *t)
{
    uint32_t unacked = t->rcv_nxt - t->rcv_acked;
    if ((t->quickacks > 0 && !t->pingpong) || unacked > t->rcv_mss || t->ranges_len > 0) {
        t->ack_now = true;
    } else if (!t->ack_delayed) {
        t->ack_delayed = true;
        tcp_deadline(t, TIMER_DELACK, t->n->now + TCP_DELACK);
    }
}

static void note_arrival(struct tcp *t, const struct seg *s)
{
    uint64_t now = t->n->now;
    if (now - t->rcv_at > t->rto && !t->pingpong)
        t->quickacks = TCP_QUICKACKS; // after a pause the sender starts slowly again
    t->rcv_at = now;
    t->rcv_mss = MAX(t->rcv_mss, MIN(s->len, (uint32_t)t->n->cfg.mtu));
    if (s->has_stamp && s->echo != 0 && s->len >= t->rcv_mss) {
        uint32_t us = MIN(tcp_stamp_now(t) - s->echo, 10000u) * 1000;
        t->rcv_rtt_us = t->rcv_rtt_us == 0 ? us : t->rcv_rtt_us - t->rcv_rtt_us / 8 + us / 8;
    }
}

void tcp_rx_finish(struct tcp *t)
{
    t->rcv_nxt++;
    t->fin_done = true;
    t->rx_shut = true;
    t->ack_now = true;
    uint32_t news = NET_IN | NET_RDHUP | (t->tx_shut ? (uint32_t)NET_HUP : 0);
    if (t->state == TCP_ESTABLISHED) {
        tcp_set_state(t, TCP_CLOSE_WAIT);
    } else if (t->state == TCP_FIN_WAIT_1) {
        tcp_set_state(t, TCP_CLOSING);
    } else if (t->state == TCP_FIN_WAIT_2) {
        tcp_ack_send(t);
        tcp_time_wait(t);
        return; // the event came from there
    }
    tcp_event(t, news);
}

/* Cut the segment to the window. False: nothing of it is new. */
static bool rx_trim(struct tcp *t, struct seg *s, uint32_t *seq, bool *fin)
{
    struct pkt *p = s->p;
    if (seq_lt(*seq, t->rcv_nxt)) {
        uint32_t old = t->rcv_nxt - *seq;
        if (old > p->len || (old == p->len && !*fin))
            return false;
        pkt_pull(p, old);
        *seq = t->rcv_nxt;
    }
    uint32_t edge = seq_max(t->rcv_adv, t->rcv_nxt);
    if (seq_lt(edge, *seq + p->len)) {
        if (!seq_lt(*seq, edge))
            return false;
        p->len = edge - *seq;
        *fin = false;
    }
    return true;
}

void tcp_rx_data(struct tcp *t, struct seg *s)
{
    bool fin = s->flags & TCP_FIN;
    uint32_t seq = s->seq;
    if (s->p->len == 0 && !fin)
        return;
    bool receiving =
        t->state == TCP_ESTABLISHED || t->state == TCP_FIN_WAIT_1 || t->state == TCP_FIN_WAIT_2;
    if (!receiving || !rx_trim(t, s, &seq, &fin)) {
        t->ack_now = true; // RFC 9293 3.10.7.4: an unacceptable segment is answered
        return;
    }
    uint32_t len = s->p->len, end = seq + len;
    if (t->orphan && len > 0) { // nobody will read this (RFC 2525 2.17)
        tcp_reset(t, 0);
        return;
    }
    if (fin && !t->fin_seen &&
        (t->ranges_len == 0 || seq_le(t->ranges[t->ranges_len - 1].end, end))) {
        t->fin_seen = true;
        t->fin_seq = end;
    }
    if (t->fin_seen && seq_lt(t->fin_seq, end)) // data behind the end: refused
        return;
    note_arrival(t, s);
    if (seq == t->rcv_nxt) {
        if (len > 0 && !tcp_rx_take(t, s)) {
            t->ack_now = true;
            return;
        }
        if (t->ranges_len > 0) {
            t->ack_now = true; // RFC 5681 4.2: the hole is (partly) filled
            ranges_drain(t);
        }
        tcp_ack_schedule(t);
        if (t->fin_seen && t->rcv_nxt == t->fin_seq)
            tcp_rx_finish(t);
        else if (len > 0)
            tcp_event(t, NET_IN);
    } else {
        t->ack_now = true;
        if (len > 0)
            rx_out_of_order(t, s, seq, end);
    }
}
