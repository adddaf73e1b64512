// SPDX-License-Identifier: Apache-2.0
/* What to send when (Nagle, windows, congestion), and how a segment is built. */
#include "net/tcp_internal.h"

// ---- building segments

static void checksum(struct net_stack *n, struct pkt *p, struct tcp_hdr *h, const struct tcp_out *o)
{
    uint64_t pseudo = csum_pseudo(o->src.ip, o->dst.ip, IP_PROTO_TCP, p->len);
    if (n->cfg.tx_csum) {
        h->csum = (uint16_t)~csum_fold(pseudo);
        p->flags = PKT_CSUM_PARTIAL;
        p->csum_start = 0;
        p->csum_offset = offsetof(struct tcp_hdr, csum);
    } else {
        p->flags = 0;
        h->csum = 0;
        h->csum = csum_fold(csum_add(h, p->len, pseudo));
    }
}

void tcp_out_send(struct net_stack *n, struct pkt *p, const struct tcp_out *o, struct route *route)
{
    uint32_t hdr_len = (uint32_t)sizeof(struct tcp_hdr) + o->opts_len;
    struct tcp_hdr *h = (struct tcp_hdr *)pkt_push(p, hdr_len);
    *h = (struct tcp_hdr){
        .src = be16(o->src.port),
        .dst = be16(o->dst.port),
        .seq = be32(o->seq),
        .ack = be32(o->ack),
        .off = (uint8_t)(hdr_len << 2), // words << 4
        .flags = o->flags,
        .wnd = be16(o->wnd),
    };
    if (o->opts_len == 12) // the common case: time stamps
        memcpy(h + 1, o->opts, 12);
    else
        memcpy(h + 1, o->opts, o->opts_len);
    checksum(n, p, h, o);
    struct ip_tx tx = {
        .src = o->src.ip, .dst = o->dst.ip, .proto = IP_PROTO_TCP, .ttl = o->ttl, .tos = o->tos};
    n->count.tcp_out++;
    ip_send(n, p, &tx, route);
}

uint32_t tcp_stamp_now(const struct tcp *t)
{
    return t->n->now_ms + t->stamp_offset;
}

static void stamp_option(const struct tcp *t, uint8_t *opts)
{
    store_be32(opts, TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_TIMESTAMP << 8 | 10);
    store_be32(opts + 4, tcp_stamp_now(t));
    store_be32(opts + 8, t->ts_recent);
}

/* Options of a SYN: what we offer, or for a SYN-ACK what both have. */
static uint8_t syn_options(const struct tcp *t, bool answer, uint8_t *opts)
{
    uint32_t mss = t->n->cfg.mtu - 40u;
    if (t->max_seg != 0)
        mss = MIN(mss, (uint32_t)t->max_seg);
    uint8_t len = 4;
    store_be32(opts, (uint32_t)TCPOPT_MSS << 24 | 4 << 16 | mss);
    if (!answer || t->stamps) {
        stamp_option(t, opts + len);
        len = (uint8_t)(len + 12);
    }
    if (!answer || t->sack) {
        store_be32(opts + len, TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_SACK_OK << 8 | 2);
        len = (uint8_t)(len + 4);
    }
    if (!answer || t->wscale) {
        store_be32(opts + len, TCPOPT_NOP << 24 | TCPOPT_WSCALE << 16 | 3 << 8 | t->rcv_wscale);
        len = (uint8_t)(len + 4);
    }
    return len;
}

static uint8_t sack_option(const struct tcp *t, uint8_t *opts, uint32_t room)
{
    struct seq_range block[TCP_SACK_BLOCKS];
    unsigned n = room < 12 ? 0 : MIN(tcp_sack_blocks(t, block), (room - 4) / 8);
    if (n == 0)
        return 0;
    store_be32(opts, TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_SACK << 8 | (2 + 8 * n));
    for (unsigned i = 0; i < n; i++) {
        store_be32(opts + 4 + 8 * i, block[i].start);
        store_be32(opts + 8 + 8 * i, block[i].end);
    }
    return (uint8_t)(4 + 8 * n);
}

/* The window to put on the wire; moves the right edge that we have promised. */
static uint16_t window_offer(struct tcp *t, bool syn)
{
    uint32_t wnd = tcp_rx_window(t);
    uint8_t scale = syn ? 0 : t->rcv_wscale;
    uint32_t field = MIN(wnd >> scale, 65535u);
    t->rcv_adv = seq_max(t->rcv_adv, t->rcv_nxt + (field << scale));
    return (uint16_t)field;
}

/* Send p (its content: the payload) in the name of t; takes the reference. */
static void tcp_emit(struct tcp *t, struct pkt *p, uint32_t seq, uint8_t flags)
{
    struct tcp_out o;
    o.src = tcp_addr_local(t);
    o.dst = tcp_addr_peer(t);
    o.seq = seq;
    o.ack = flags & TCP_ACK ? t->rcv_nxt : 0;
    o.flags = flags;
    o.ttl = t->ttl;
    o.tos = t->tos;
    o.wnd = window_offer(t, flags & TCP_SYN);
    if (UNLIKELY(flags & TCP_SYN)) {
        o.opts_len = syn_options(t, flags & TCP_ACK, o.opts);
    } else {
        o.opts_len = 0;
        if (t->stamps) {
            stamp_option(t, o.opts);
            o.opts_len = 12;
        }
        if (UNLIKELY(t->ranges_len > 0 && t->sack)) {
            uint32_t used = 40u + o.opts_len + p->len;
            uint32_t room = MIN(t->mtu > used ? t->mtu - used : 0, 40u - o.opts_len);
            o.opts_len = (uint8_t)(o.opts_len + sack_option(t, o.opts + o.opts_len, room));
        }
    }
    if (flags & TCP_ACK) { // whatever carries an ACK settles the debt
        t->rcv_acked = t->rcv_nxt;
        t->ack_now = false;
        if (t->ack_delayed) {
            t->ack_delayed = false;
            t->deadline[TIMER_DELACK] = NET_NEVER;
        }
        if (t->quickacks > 0)
            t->quickacks--;
    }
    t->segs_out++;
    tcp_out_send(t->n, p, &o, &t->route);
}

void tcp_ack_send(struct tcp *t)
{
    struct pkt *p = net_pkt_new(t->n, 0);
    if (p == NULL) { // later
        t->ack_now = false;
        t->ack_delayed = true;
        tcp_deadline(t, TIMER_DELACK, t->n->now + TCP_DELACK);
        return;
    }
    tcp_emit(t, p, t->snd_nxt, TCP_ACK);
}

void tcp_challenge_ack(struct tcp *t)
{
    struct net_stack *n = t->n;
    if (n->now - t->challenge_at >= NET_NS_PER_S) {
        t->challenge_at = n->now;
        t->challenges = 0;
    }
    if (t->challenges >= TCP_CHALLENGES_PER_S)
        return;
    t->challenges++;
    n->count.tcp_challenge_acks++;
    tcp_ack_send(t);
}

void tcp_rst_send(struct tcp *t)
{
    struct pkt *p = net_pkt_new(t->n, 0);
    if (p == NULL)
        return;
    t->n->count.tcp_rst_out++;
    tcp_emit(t, p, t->snd_nxt, TCP_RST | TCP_ACK);
}

void tcp_probe_send(struct tcp *t, uint32_t seq)
{
    struct pkt *p = net_pkt_new(t->n, 0);
    if (p != NULL)
        tcp_emit(t, p, seq, TCP_ACK);
}

// ---- the send queue

void tcp_queue_append(struct tcp *t, struct pkt *p)
{
    p->next = NULL;
    p->prev = t->tx.tail;
    if (t->tx.tail == NULL)
        t->tx.head = p;
    else
        t->tx.tail->next = p;
    t->tx.tail = p;
    if (t->tx_next == NULL)
        t->tx_next = p;
    t->write_seq = p->u.tx.end;
    t->tx_mem += p->size;
    t->n->count.mem += p->size;
}

/* Cut p after len bytes of payload; the rest becomes a packet behind it. -ENOMEM. */
int tcp_packet_split(struct tcp *t, struct pkt *p, uint32_t len)
{
    ASSERT(len > 0 && len < p->len);
    uint32_t rest_len = p->len - len;
    struct pkt *rest = net_pkt_new(t->n, rest_len);
    if (rest == NULL)
        return -ENOMEM;
    memcpy(rest->data, p->data + len, rest_len);
    rest->len = rest_len;
    rest->u.tx = p->u.tx;
    rest->u.tx.seq = p->u.tx.seq + len;
    p->u.tx.tcp_flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    p->u.tx.end = rest->u.tx.seq;
    p->len = len;
    rest->prev = p;
    rest->next = p->next;
    if (rest->next != NULL)
        rest->next->prev = rest;
    else
        t->tx.tail = rest;
    p->next = rest;
    t->tx_mem += rest->size;
    t->n->count.mem += rest->size;
    if (seq_lt(p->u.tx.seq, t->snd_nxt)) { // sent already: the scoreboard counts one more
        t->packets_out++;
        t->sacked_out += (rest->u.tx.marks & TX_SACKED) != 0;
        t->lost_out += (rest->u.tx.marks & TX_LOST) != 0;
        t->retrans_out += (rest->u.tx.marks & TX_RETRANS) != 0;
    }
    return 0;
}

bool tcp_fin_queue(struct tcp *t)
{
    struct pkt *tail = t->tx.tail;
    if (tail != NULL && t->tx_next != NULL && (tail->u.tx.tcp_flags & TCP_SYN) == 0) {
        tail->u.tx.tcp_flags |= TCP_FIN;
        tail->u.tx.end++;
        t->write_seq++;
        return true;
    }
    struct pkt *p = net_pkt_new(t->n, 0);
    if (p == NULL)
        return false;
    p->u.tx.seq = t->write_seq;
    p->u.tx.end = t->write_seq + 1;
    p->u.tx.tcp_flags = TCP_FIN;
    p->u.tx.marks = p->u.tx.sends = 0;
    tcp_queue_append(t, p);
    return true;
}

int tcp_syn_queue(struct tcp *t)
{
    struct pkt *p = net_pkt_new(t->n, 0);
    if (p == NULL)
        return -ENOBUFS;
    p->u.tx.seq = t->iss;
    p->u.tx.end = t->iss + 1;
    p->u.tx.tcp_flags = TCP_SYN;
    p->u.tx.marks = p->u.tx.sends = 0;
    tcp_queue_append(t, p);
    return 0;
}

int tcp_packet_send(struct tcp *t, struct pkt *p)
{
    struct net_stack *n = t->n;
    struct pkt *frame = p;
    if (LIKELY(pkt_alone(p))) {
        pkt_get(p);
    } else { // the device still reads the last transmission
        frame = net_pkt_copy(n, p);
        if (frame == NULL)
            return -ENOMEM;
    }
    uint8_t flags = p->u.tx.tcp_flags;
    if (t->state != TCP_SYN_SENT)
        flags |= TCP_ACK;
    if (p->next == NULL && p->len > 0)
        flags |= TCP_PSH;
    p->u.tx.sent_at = n->now;
    if (p->u.tx.sends < UINT8_MAX)
        p->u.tx.sends++;
    uint8_t *data = p->data;
    uint32_t len = p->len;
    if (len > 0 && n->now - t->rcv_at < TCP_DELACK)
        t->pingpong = true; // we answer: the ACK rides along
    tcp_emit(t, frame, p->u.tx.seq, flags);
    if (frame == p) { // the headers before the payload are the device's now
        p->data = data;
        p->len = len;
    }
    return 0;
}

// ---- what may go

/* RFC 5681 4.1 with RFC 2861's gentler decay: after idle time the window is worth less. */
static void idle_restart(struct tcp *t)
{
    uint64_t idle = t->n->now - t->sent_at;
    if (t->sent_at == 0 || idle < t->rto)
        return;
    for (; idle >= t->rto && t->cwnd > TCP_INIT_CWND; idle -= t->rto) {
        t->ssthresh = MAX(t->ssthresh, t->cwnd / 2 + t->cwnd / 4);
        t->cwnd = MAX(t->cwnd / 2, (uint32_t)TCP_INIT_CWND);
    }
    t->cwnd_count = 0;
}

/* RFC 1122 4.2.3.4, as Minshall refined it: a short segment waits while another short one is out.
 */
static bool short_may_go(const struct tcp *t, const struct pkt *p)
{
    if (p->next != NULL || (p->u.tx.tcp_flags & (TCP_FIN | TCP_SYN)) != 0)
        return true;
    if (t->cork || t->more)
        return false;
    return t->nodelay || t->packets_out == 0 || seq_le(t->snd_sml, t->snd_una);
}

static int send_new(struct tcp *t, struct pkt *p)
{
    struct net_stack *n = t->n;
    if (t->packets_out == 0) {
        idle_restart(t);
        t->stalled_at = n->now;
    }
    int r = tcp_packet_send(t, p);
    if (r < 0)
        return r;
    t->tx_next = p->next;
    t->snd_nxt = p->u.tx.end;
    if (p->len < t->mss)
        t->snd_sml = p->u.tx.end;
    t->sent_at = n->now;
    if (t->ca == CA_RECOVERY)
        t->prr_out++;
    if (t->packets_out++ == 0) {
        t->probes = 0;
        t->backoff = 0;
        tcp_rto_restart(t);
    }
    return 0;
}

/* How much of p the peer's window lets through: its length, or less, or 0: wait. */
static uint32_t window_share(const struct tcp *t, const struct pkt *p)
{
    uint32_t edge = t->snd_una + t->snd_wnd;
    if (!seq_lt(edge, p->u.tx.seq + p->len))
        return p->len;
    uint32_t usable = seq_lt(p->u.tx.seq, edge) ? edge - p->u.tx.seq : 0;
    // RFC 9293 3.8.6.2.1: a part only when it is at least half the largest window seen.
    return usable > 0 && usable >= t->snd_wnd_max / 2 ? usable : 0;
}

/* RFC 8985 7.3: new data if the window has room for it, else the last packet again. */
void tcp_tail_probe(struct tcp *t)
{
    struct pkt *p = t->tx_next;
    t->probe_stamp = tcp_stamp_now(t);
    t->probed = true; // one is enough
    t->probe_again = false;
    t->n->count.tcp_tail_probes++;
    bool sent = p != NULL && p->len > 0 && p->len <= t->mss && window_share(t, p) == p->len &&
                send_new(t, p) == 0;
    if (!sent) {
        p = p != NULL ? p->prev : t->tx.tail;
        bool may = p != NULL && (p->u.tx.marks & TX_SACKED) == 0 && p->len <= t->mss;
        if (may && tcp_packet_send(t, p) == 0) {
            p->u.tx.marks |= TX_EVER;
            t->probe_again = true;
            t->total_retrans++;
            t->n->count.tcp_retransmits++;
        }
    }
    t->probe_end = t->snd_nxt;
}

static void note_usage(struct tcp *t)
{
    if (t->packets_out > t->usage_max || !seq_lt(t->snd_una, t->usage_seq)) {
        t->usage_max = t->packets_out;
        t->usage_seq = t->snd_nxt;
    }
}

void tcp_output(struct tcp *t)
{
    struct pkt *p;
    uint32_t before = t->snd_nxt;
    bool limited = false;
    if (t->lost_out > t->retrans_out)
        tcp_retransmit_lost(t);
    while ((p = t->tx_next) != NULL) {
        if (tcp_in_flight(t) >= t->cwnd) {
            limited = true;
            break;
        }
        if (p->len > t->mss && tcp_packet_split(t, p, t->mss) < 0)
            break;
        uint32_t share = window_share(t, p);
        if (share < p->len) {
            if (share == 0 || tcp_packet_split(t, p, share) < 0)
                break;
        } else if (p->len < t->mss && !short_may_go(t, p)) {
            break;
        }
        if (send_new(t, p) < 0)
            break;
    }
    if (t->snd_nxt != before)
        tcp_probe_arm(t);
    t->cwnd_limited = limited;
    note_usage(t);
    // RFC 9293 3.8.6.1: nothing in flight will bring an ACK, so the window must be probed.
    if (t->tx_next != NULL && t->packets_out == 0 && t->deadline[TIMER_RETRANSMIT] == NET_NEVER) {
        t->backoff = 0;
        t->stalled_at = t->n->now;
        bool corked = window_share(t, t->tx_next) == t->tx_next->len && (t->cork || t->more);
        tcp_deadline(t, TIMER_RETRANSMIT,
                     t->n->now + (corked ? TCP_CORK_LEN : MAX(tcp_rto_now(t), TCP_RTO_MIN)));
    }
}

void tcp_finish_input(struct tcp *t)
{
    if (t->tx_next != NULL || t->lost_out > t->retrans_out)
        tcp_output(t);
    if (t->ack_now)
        tcp_ack_send(t);
}
