// SPDX-License-Identifier: Apache-2.0
/* Segments in: header, whose it is, and the checks and state changes of RFC 9293 3.10.7. */
#include "net/tcp_internal.h"

// ---- decoding

/* Options behind the fixed header. -EPROTO: malformed; what was decoded before stays. */
int tcp_options_parse(struct seg *s)
{
    const uint8_t *p = (const uint8_t *)(s->hdr + 1);
    size_t left = (size_t)(s->hdr->off >> 4) * 4 - sizeof(*s->hdr);
    while (left > 0) {
        uint8_t kind = p[0];
        if (kind == TCPOPT_END)
            return 0;
        if (kind == TCPOPT_NOP) {
            p++;
            left--;
            continue;
        }
        if (left < 2 || p[1] < 2 || p[1] > left)
            return -EPROTO;
        uint8_t len = p[1];
        if (kind == TCPOPT_TIMESTAMP && len == 10) {
            s->has_stamp = true;
            s->stamp = load_be32(p + 2);
            s->echo = load_be32(p + 6);
        } else if (kind == TCPOPT_SACK && len >= 10 && (len - 2) % 8 == 0) {
            s->sacks = (uint8_t)MIN((len - 2) / 8, (int)TCP_SACK_BLOCKS);
            for (unsigned i = 0; i < s->sacks; i++)
                s->sack[i] = (struct seq_range){load_be32(p + 2 + 8 * i), load_be32(p + 6 + 8 * i)};
        } else if (s->flags & TCP_SYN) {
            if (kind == TCPOPT_MSS && len == 4)
                s->mss = load_be16(p + 2);
            else if (kind == TCPOPT_WSCALE && len == 3)
                s->wscale = (int8_t)MIN(p[2], (uint8_t)TCP_WSCALE_MAX); // RFC 7323 2.3
            else if (kind == TCPOPT_SACK_OK && len == 2)
                s->sack_ok = true;
        }
        p += len;
        left -= len;
    }
    return 0;
}

/* Most segments have no options but time stamps in the layout of RFC 7323 appendix A. */
static int options(struct seg *s)
{
    const uint8_t *p = (const uint8_t *)(s->hdr + 1);
    if (s->hdr->off == 5 << 4)
        return 0;
    if (s->hdr->off == 8 << 4 &&
        load_be32(p) == (TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_TIMESTAMP << 8 | 10)) {
        s->has_stamp = true;
        s->stamp = load_be32(p + 4);
        s->echo = load_be32(p + 8);
        return 0;
    }
    return tcp_options_parse(s);
}

static bool header_valid(const struct pkt *p, const struct ip_rx *rx)
{
    const struct tcp_hdr *h = (const struct tcp_hdr *)p->data;
    if (p->len < sizeof(*h) || h->off >> 4 < 5 || (h->off >> 4) * 4u > p->len)
        return false;
    if (rx->broadcast || rx->src == 0 || h->src == 0 || h->dst == 0)
        return false; // RFC 9293 3.9.2.3
    if (LIKELY((p->flags & (PKT_CSUM_OK | PKT_CSUM_PARTIAL)) != 0))
        return true;
    return csum_fold(
               csum_add(p->data, p->len, csum_pseudo(rx->src, rx->dst, IP_PROTO_TCP, p->len))) == 0;
}

void tcp_input(struct net_stack *n, struct pkt *p, const struct ip_rx *rx)
{
    const struct tcp_hdr *h = (const struct tcp_hdr *)p->data;
    n->count.tcp_in++;
    if (!header_valid(p, rx)) {
        n->count.tcp_bad++;
        pkt_put(p);
        return;
    }
    struct seg s;
    s.p = p;
    s.hdr = h;
    s.ip = rx;
    s.seq = be32(h->seq);
    s.ack = be32(h->ack);
    s.wnd = be16(h->wnd);
    s.flags = h->flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK);
    s.has_stamp = s.sack_ok = false;
    s.wscale = -1;
    s.sacks = 0;
    s.mss = 0;
    pkt_pull(p, (h->off >> 4) * 4u);
    s.len = p->len;
    struct net_addr local = {rx->dst, be16(h->dst)}, peer = {rx->src, be16(h->src)};
    struct tcp *listener;
    struct flow *f = flow_find(n, local, peer);
    if (UNLIKELY(options(&s) < 0)) {
        n->count.tcp_bad++;
    } else if (LIKELY(f != NULL && f->kind == FLOW_TCP)) {
        tcp_conn_input(CONTAINER_OF(f, struct tcp, flow), &s);
    } else if (f != NULL && f->kind == FLOW_HALF) {
        tcp_half_input(n, CONTAINER_OF(f, struct tcp_half, flow), &s);
    } else if (f != NULL) {
        tcp_wait_input(n, CONTAINER_OF(f, struct tcp_wait, flow), &s);
    } else if ((listener = listener_find(n, local)) != NULL) {
        tcp_listen_input(listener, &s);
    } else {
        tcp_segment_for_nobody(n, &s);
    }
    pkt_put(s.p);
}

/* RFC 9293 3.10.7.1: a reset for what belongs to no connection. */
void tcp_segment_for_nobody(struct net_stack *n, const struct seg *s)
{
    if (s->flags & TCP_RST)
        return;
    struct pkt *p = net_pkt_new(n, 0);
    struct route route;
    if (p == NULL || ip_route(n, s->ip->src, &route) < 0) {
        pkt_put(p);
        return;
    }
    struct tcp_out o = {
        .src = {s->ip->dst, be16(s->hdr->dst)},
        .dst = {s->ip->src, be16(s->hdr->src)},
        .flags = TCP_RST,
        .ttl = 64,
    };
    if (s->flags & TCP_ACK) {
        o.seq = s->ack;
    } else {
        o.ack = s->seq + s->len + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
        o.flags |= TCP_ACK;
    }
    n->count.tcp_rst_out++;
    tcp_out_send(n, p, &o, &route);
}

// ---- SYN_SENT: RFC 9293 3.10.7.3

static void take_syn_options(struct tcp *t, const struct seg *s)
{
    struct net_stack *n = t->n;
    t->peer_mss = tcp_peer_mss(s);
    t->stamps = s->has_stamp;
    t->sack = s->sack_ok;
    t->wscale = s->wscale >= 0;
    t->snd_wscale = t->wscale ? (uint8_t)s->wscale : 0;
    if (!t->wscale)
        t->rcv_wscale = 0;
    if (s->has_stamp) {
        t->ts_recent = s->stamp;
        t->ts_recent_at = n->now;
    }
    t->irs = s->seq;
    t->rcv_nxt = t->rcv_acked = s->seq + 1;
    t->rcv_adv = t->rcv_nxt + MIN(t->rcvbuf, 65535u);
    t->snd_wl1 = s->seq;
    tcp_mss_set(t);
}

static void open_window(struct tcp *t)
{
    // RFC 6928 2, Linux tcp_init_transfer(): one segment when the SYN was lost more than once.
    t->cwnd = t->total_retrans > 1 ? 1 : TCP_INIT_CWND;
    t->ssthresh = INT32_MAX;
    t->ca = CA_OPEN;
    t->undo_possible = false;
    t->high_seq = t->iss;
}

static void syn_sent_input(struct tcp *t, struct seg *s)
{
    bool acked = s->flags & TCP_ACK;
    if (acked && (!seq_lt(t->iss, s->ack) || seq_lt(t->snd_nxt, s->ack))) {
        tcp_segment_for_nobody(t->n, s);
        return;
    }
    if (s->flags & TCP_RST) {
        if (acked)
            tcp_done(t, ECONNREFUSED);
        return;
    }
    if ((s->flags & TCP_SYN) == 0)
        return;
    take_syn_options(t, s);
    if (!acked) { // both ends opened at once: RFC 9293 3.5, figure 8
        tcp_set_state(t, TCP_SYN_RECEIVED);
        t->snd_wnd = t->snd_wnd_max = s->wnd;
        if (tcp_packet_send(t, t->tx.head) == 0)
            t->tx.head->u.tx.marks |= TX_EVER;
        return;
    }
    uint8_t scale = TAKE(t->snd_wscale); // the window of a SYN is never scaled
    tcp_ack(t, s);
    t->snd_wscale = scale;
    open_window(t);
    tcp_established(t);
    t->ack_now = true;
    tcp_event(t, NET_OUT);
    // Data or FIN on a SYN-ACK is left to its retransmission.
    tcp_finish_input(t);
}

// ---- the other states: RFC 9293 3.10.7.4

/* RFC 7323 5.3. False: the segment is a leftover. */
static bool paws_ok(struct tcp *t, const struct seg *s)
{
    if (s->flags & TCP_RST)
        return true;
    if (!s->has_stamp)
        return false; // RFC 7323 3.2: dropped without a word
    if ((int32_t)(s->stamp - t->ts_recent) >= 0 || t->n->now - t->ts_recent_at >= TCP_PAWS_IDLE)
        return true;
    t->n->count.tcp_paws_dropped++;
    tcp_challenge_ack(t);
    return false;
}

static bool sequence_ok(struct tcp *t, const struct seg *s)
{
    uint32_t end = s->seq + s->len + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
    // Wider than RFC 9293's test by what is not acknowledged yet; the data is cut to fit later.
    if (!seq_lt(end, t->rcv_acked) && seq_le(s->seq, t->rcv_nxt + tcp_wnd_now(t)))
        return true;
    if (s->flags & TCP_RST)
        return false;
    if (s->len > 0 || s->flags & TCP_FIN)
        tcp_ack_send(t);
    else
        tcp_challenge_ack(t);
    return false;
}

static int reset_error(const struct tcp *t)
{
    if (t->state == TCP_SYN_RECEIVED)
        return ECONNREFUSED;
    if (t->state == TCP_CLOSE_WAIT)
        return EPIPE; // as Linux tcp_reset()
    return ECONNRESET;
}

/* Steps 1 to 5: false when the segment has been dealt with. */
static bool segment_acceptable(struct tcp *t, const struct seg *s)
{
    if (t->stamps && !paws_ok(t, s))
        return false;
    if (!sequence_ok(t, s))
        return false;
    if (s->flags & TCP_RST) { // RFC 5961 3.2
        t->n->count.tcp_rst_in++;
        if (s->seq == t->rcv_nxt)
            tcp_done(t, reset_error(t));
        else
            tcp_challenge_ack(t);
        return false;
    }
    if (s->flags & TCP_SYN) { // RFC 5961 4.2; RFC 9293 3.5: the other half of a simultaneous open
        bool same = t->state == TCP_SYN_RECEIVED && s->seq == t->irs;
        if (!same)
            tcp_challenge_ack(t);
        return same && (s->flags & TCP_ACK) != 0;
    }
    return s->flags & TCP_ACK;
}

/* RFC 7323 4.3: the stamp to echo is that of the segment at the left edge of what is
 * unacknowledged. */
static void note_stamp(struct tcp *t, const struct seg *s)
{
    if (s->has_stamp && seq_le(s->seq, t->rcv_acked) && (int32_t)(s->stamp - t->ts_recent) >= 0) {
        t->ts_recent = s->stamp;
        t->ts_recent_at = t->n->now;
    }
}

/* Our FIN is acknowledged. False: the connection is over. */
static bool fin_acked(struct tcp *t)
{
    switch (t->state) {
    case TCP_FIN_WAIT_1:
        tcp_set_state(t, TCP_FIN_WAIT_2);
        if (t->orphan)
            tcp_deadline(t, TIMER_KEEP, t->n->now + TCP_FIN_WAIT_LEN);
        return true;
    case TCP_CLOSING:
        if (t->ack_now)
            tcp_ack_send(t);
        tcp_time_wait(t);
        return false;
    case TCP_LAST_ACK:
        tcp_done(t, 0);
        return false;
    default:
        return true;
    }
}

static bool finish_simultaneous_open(struct tcp *t, struct seg *s)
{
    if (!seq_lt(t->snd_una, s->ack) || seq_lt(t->snd_nxt, s->ack)) {
        tcp_segment_for_nobody(t->n, s);
        return false;
    }
    if (s->flags & TCP_SYN) {
        // This SYN has been taken already; what is left is its ACK.
        s->seq++;
        s->flags &= (uint8_t)~TCP_SYN;
        uint8_t scale = TAKE(t->snd_wscale);
        tcp_ack(t, s);
        t->snd_wscale = scale;
    } else {
        tcp_ack(t, s);
    }
    open_window(t);
    tcp_established(t);
    tcp_event(t, NET_OUT);
    return true;
}

static void slow_input(struct tcp *t, struct seg *s)
{
    if (!segment_acceptable(t, s))
        return;
    t->any_rcv_at = t->n->now;
    note_stamp(t, s);
    if (t->state == TCP_SYN_RECEIVED) {
        if (!finish_simultaneous_open(t, s))
            return;
    } else if (tcp_ack(t, s) < 0) {
        return;
    }
    bool fin_is_out = t->tx_shut && !t->fin_wanted && t->snd_una == t->write_seq;
    if (fin_is_out && !fin_acked(t))
        return;
    tcp_rx_data(t, s);
    if (t->state != TCP_CLOSED)
        tcp_finish_input(t);
}

/* Header prediction (Jacobson): what an open connection in good order receives nearly always. */
static bool fast_input(struct tcp *t, struct seg *s)
{
    if (t->state != TCP_ESTABLISHED || (s->flags & ~TCP_PSH) != TCP_ACK || s->seq != t->rcv_nxt ||
        (uint32_t)s->wnd << t->snd_wscale != t->snd_wnd || s->has_stamp != t->stamps ||
        s->sacks > 0 || t->ca != CA_OPEN || t->ranges_len > 0 || t->fin_seen || t->tx_shut ||
        t->orphan)
        return false;
    if (t->stamps && (int32_t)(s->stamp - t->ts_recent) < 0)
        return false;
    if (seq_lt(s->ack, t->snd_una) || seq_lt(t->snd_nxt, s->ack))
        return false;
    if (s->len == 0 ? s->ack == t->snd_una : s->len > tcp_wnd_now(t))
        return false;
    t->any_rcv_at = t->n->now;
    if (s->len == 0) {
        note_stamp(t, s);
        tcp_ack(t, s);
        t->n->count.tcp_fast_path_ack++;
    } else {
        note_stamp(t, s);
        t->snd_wl1 = s->seq;
        if (s->ack != t->snd_una)
            tcp_ack(t, s);
        tcp_rx_data(t, s);
        t->n->count.tcp_fast_path_data++;
    }
    tcp_finish_input(t);
    return true;
}

void tcp_conn_input(struct tcp *t, struct seg *s)
{
    t->segs_in++;
    if (LIKELY(fast_input(t, s)))
        return;
    if (t->state == TCP_SYN_SENT)
        syn_sent_input(t, s);
    else
        slow_input(t, s);
}

// ---- errors from routers

void tcp_icmp_error(struct net_stack *n, struct net_addr local, struct net_addr peer, uint32_t seq,
                    int error, bool hard, uint32_t mtu)
{
    struct flow *f = flow_find(n, local, peer);
    if (f == NULL || f->kind != FLOW_TCP)
        return;
    struct tcp *t = CONTAINER_OF(f, struct tcp, flow);
    // RFC 5927 4.1: only about what is in flight. A guess must hit the window.
    if (t->packets_out == 0 || seq_lt(seq, t->snd_una) || !seq_lt(seq, t->snd_nxt))
        return;
    if (mtu != 0) {
        if (mtu < t->mtu) {
            ip_pmtu_learn(n, peer.ip, mtu);
            t->mtu = mtu;
            tcp_mss_set(t);
            tcp_mss_shrunk(t);
        }
    } else if (t->state == TCP_SYN_SENT || (t->state == TCP_SYN_RECEIVED && hard)) {
        tcp_done(t, error);
    } else {
        t->soft_error = error; // RFC 5927 5.2: an open connection is not torn down
    }
}
