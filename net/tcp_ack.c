// SPDX-License-Identifier: Apache-2.0
/* Acknowledgements: round-trip time (RFC 6298), congestion control (RFC 5681), recovery from loss
 * with SACK (RFC 6675) and without (RFC 6582), its rate (RFC 6937), and its undoing when it proves
 * to have been needless (RFC 3522, RFC 4015). */
#include "net/tcp_internal.h"

struct acked {
    uint32_t packets;   // left the queue
    uint32_t delivered; // of them and of those newly SACKed, what is news
    bool again;         // one of them had been retransmitted
    uint64_t oldest_ns; // round trip of the first packet sent once, 0: none
    uint64_t newest_ns;
};

// ---- round-trip time

void tcp_rtt_sample(struct tcp *t, uint64_t rtt_ns)
{
    uint32_t rtt = (uint32_t)MIN(MAX(rtt_ns / 1000, 1u), (uint64_t)UINT32_MAX / 16);
    if (t->min_rtt_us == 0 || rtt < t->min_rtt_us)
        t->min_rtt_us = rtt;
    if (t->srtt8 == 0) {
        t->srtt8 = rtt * 8;
        t->rttvar4 = rtt * 2;
    } else {
        int32_t delta = (int32_t)(rtt - t->srtt8 / 8);
        uint32_t away = (uint32_t)(delta < 0 ? -delta : delta);
        t->rttvar4 += away - t->rttvar4 / 4;
        t->srtt8 = (uint32_t)((int32_t)t->srtt8 + delta);
    }
    // The floor is on the margin, not the sum: a delayed ACK must fit in (as Linux does).
    uint64_t margin = MAX((uint64_t)t->rttvar4 * 1000, TCP_RTO_MIN);
    t->rto = MIN((uint64_t)t->srtt8 * 125 + margin, TCP_RTO_MAX);
}

/* Tail probe: when the last packets of a flight are lost, no duplicate ACKs tell of it. Two round
 * trips of silence, well before the time-out, are reason enough to ask (RFC 8985 7.2). */
static uint64_t probe_wait(const struct tcp *t)
{
    bool useful = t->sack && t->ca == CA_OPEN && t->srtt8 != 0 && t->packets_out > 1 &&
                  t->retries == 0 && !t->probed && tcp_connected(t);
    return useful ? MAX((uint64_t)t->srtt8 * 250, TCP_PROBE_MIN) : NET_NEVER;
}

void tcp_rto_restart(struct tcp *t)
{
    uint64_t rto = tcp_rto_now(t), probe = probe_wait(t);
    t->probe_armed = probe < rto;
    tcp_deadline(t, TIMER_RETRANSMIT, t->n->now + MIN(rto, probe));
}

void tcp_probe_arm(struct tcp *t)
{
    uint64_t wait = probe_wait(t);
    if (wait == NET_NEVER)
        return;
    uint64_t at = t->n->now + wait;
    if (t->probe_armed || at < t->deadline[TIMER_RETRANSMIT]) {
        t->probe_armed = true;
        tcp_deadline(t, TIMER_RETRANSMIT, at);
    }
}

// ---- the queue

static void dequeue_head(struct tcp *t, struct acked *a)
{
    struct pkt *p = t->tx.head;
    a->packets++;
    if ((p->u.tx.marks & TX_SACKED) == 0)
        a->delivered++;
    if (p->u.tx.marks & TX_EVER) {
        a->again = true;
    } else {
        a->newest_ns = t->n->now - p->u.tx.sent_at;
        if (a->oldest_ns == 0)
            a->oldest_ns = a->newest_ns;
    }
    tcp_note_delivered(t, p);
    tcp_scoreboard_remove(t, p);
    t->packets_out--;
    t->tx.head = p->next;
    if (p->next != NULL)
        p->next->prev = NULL;
    else
        t->tx.tail = NULL;
    t->tx_mem -= p->size;
    t->n->count.mem -= p->size;
    p->next = p->prev = NULL;
    pkt_put(p);
}

static void clean_queue(struct tcp *t, uint32_t ack, struct acked *a)
{
    struct pkt *p;
    while ((p = t->tx.head) != NULL && p != t->tx_next && seq_le(p->u.tx.end, ack))
        dequeue_head(t, a);
    if (p != NULL && p != t->tx_next && seq_lt(p->u.tx.seq, ack)) {
        pkt_pull(p, MIN(ack - p->u.tx.seq, p->len));
        p->u.tx.seq = ack;
    }
    t->bytes_acked += ack - t->snd_una;
    t->snd_una = ack;
}

// ---- congestion window

static void grow(struct tcp *t, uint32_t packets)
{
    bool slow_start = t->cwnd < t->ssthresh;
    // RFC 7661's concern: a window that is not used proves nothing.
    if (slow_start ? t->cwnd >= 2 * t->usage_max : !t->cwnd_limited)
        return;
    if (slow_start) {
        uint32_t step = MIN(packets, t->ssthresh - t->cwnd);
        t->cwnd += step;
        packets -= step;
    }
    t->cwnd_count += packets;
    if (t->cwnd_count >= t->cwnd) {
        t->cwnd_count -= t->cwnd;
        t->cwnd++;
    }
    t->cwnd = MIN(t->cwnd, 1u << 20);
}

static void tune_sndbuf(struct tcp *t)
{
    uint64_t want = 2ull * t->cwnd * t->mss;
    if (!t->sndbuf_fixed && want > t->sndbuf)
        t->sndbuf = (uint32_t)MIN(want, (uint64_t)t->n->cfg.sndbuf_max);
}

/* RFC 6937: send in proportion to what arrives, so that the window has halved when recovery ends.
 */
static void prr_update(struct tcp *t, uint32_t delivered)
{
    uint32_t flight = tcp_in_flight(t);
    int64_t send;
    t->prr_delivered += delivered;
    if (flight > t->ssthresh) {
        uint64_t share =
            ((uint64_t)t->prr_delivered * t->ssthresh + t->prior_cwnd - 1) / MAX(t->prior_cwnd, 1u);
        send = (int64_t)share - t->prr_out;
    } else {
        int64_t limit = MAX((int64_t)t->prr_delivered - t->prr_out, (int64_t)delivered) + 1;
        send = MIN((int64_t)t->ssthresh - flight, limit);
    }
    if (t->prr_out == 0)
        send = MAX(send, (int64_t)1); // the first retransmission goes at once
    t->cwnd = flight + (uint32_t)MAX(send, (int64_t)0);
}

// ---- episodes of loss

static void episode_begin(struct tcp *t)
{
    t->prior_cwnd = t->cwnd;
    t->prior_ssthresh = t->ssthresh;
    t->undo_stamp = tcp_stamp_now(t);
    t->undo_possible = t->stamps;
    t->ssthresh = MAX(t->cwnd / 2, 2u);
    t->high_seq = t->snd_nxt;
    t->cwnd_count = 0;
}

static void enter_recovery(struct tcp *t)
{
    episode_begin(t);
    t->ca = CA_RECOVERY;
    t->prr_delivered = t->prr_out = 0;
    t->n->count.tcp_fast_recoveries++;
    if (!t->sack)
        tcp_mark_lost(t, t->tx.head);
}

void tcp_enter_loss(struct tcp *t)
{
    // RFC 5681 3.1: a retransmission that times out again does not halve again.
    if (t->ca != CA_LOSS)
        episode_begin(t);
    t->ca = CA_LOSS;
    t->high_seq = t->snd_nxt;
    t->cwnd = 1;
    t->cwnd_count = 0;
    struct pkt *head = t->tx.head;
    if (!t->sack || (head->u.tx.marks & TX_SACKED) != 0)
        tcp_sack_forget(t);
    t->retrans_out = 0;
    for (struct pkt *p = head; p != NULL && p != t->tx_next; p = p->next) {
        p->u.tx.marks &= (uint8_t)~TX_RETRANS;
        tcp_mark_lost(t, p);
    }
    t->retrans_hint = NULL;
}

void tcp_retransmit_lost(struct tcp *t)
{
    struct pkt *p = t->retrans_hint != NULL ? t->retrans_hint : t->tx.head;
    for (; p != NULL && p != t->tx_next && t->lost_out > t->retrans_out; p = p->next) {
        if ((p->u.tx.marks & (TX_LOST | TX_RETRANS | TX_SACKED)) != TX_LOST)
            continue;
        if (tcp_in_flight(t) >= t->cwnd)
            break;
        if (p->len > t->mss && tcp_packet_split(t, p, t->mss) < 0)
            break;
        if (tcp_packet_send(t, p) < 0)
            break;
        p->u.tx.marks |= TX_RETRANS | TX_EVER;
        t->retrans_out++;
        t->total_retrans++;
        t->n->count.tcp_retransmits++;
        if (t->ca == CA_RECOVERY)
            t->prr_out++;
        if (p == t->tx.head || t->deadline[TIMER_RETRANSMIT] == NET_NEVER)
            tcp_rto_restart(t);
    }
    t->retrans_hint = p != t->tx_next ? p : NULL;
}

/* The segment size went down (RFC 1191): send again at once what was too large. */
void tcp_mss_shrunk(struct tcp *t)
{
    for (struct pkt *p = t->tx.head; p != NULL && p != t->tx_next; p = p->next) {
        if (p->len <= t->mss || (p->u.tx.marks & TX_SACKED) != 0)
            continue;
        if (p->u.tx.marks & TX_RETRANS) {
            p->u.tx.marks &= (uint8_t)~TX_RETRANS;
            t->retrans_out--;
        }
        tcp_mark_lost(t, p);
    }
    t->retrans_hint = NULL;
    if (t->lost_out > 0)
        tcp_retransmit_lost(t);
}

static void undo(struct tcp *t)
{
    t->cwnd = MAX(t->cwnd, t->prior_cwnd);
    t->ssthresh = t->prior_ssthresh;
    t->undo_possible = false;
    t->n->count.tcp_spurious_undone++;
}

static void unmark_lost(struct tcp *t)
{
    for (struct pkt *p = t->tx.head; p != NULL && p != t->tx_next; p = p->next)
        p->u.tx.marks &= (uint8_t) ~(TX_LOST | TX_RETRANS);
    t->lost_out = t->retrans_out = 0;
    t->retrans_hint = t->lost_hint = NULL;
    t->lost_hint_sacked = 0;
}

/* An ACK that moved on: was it the original that arrived, and not what we sent again? */
static void judge_episode(struct tcp *t, const struct seg *s, const struct acked *a)
{
    if (!t->undo_possible || !s->has_stamp)
        return;
    bool original = (int32_t)(s->echo - t->undo_stamp) < 0;
    if (!original && a->again)
        t->undo_possible = false;
    if (original && t->ca == CA_LOSS && a->packets > 0) { // the time-out was too early
        undo(t);
        unmark_lost(t);
        t->ca = CA_OPEN;
    }
}

static void leave_episode(struct tcp *t, bool original)
{
    if (t->ca == CA_RECOVERY) {
        t->cwnd = MAX(MIN(t->cwnd, t->ssthresh), 2u);
        if (t->undo_possible && original)
            undo(t);
        else
            t->cwnd = MAX(t->ssthresh, 2u);
    }
    if (!t->sack)
        t->sacked_out = 0;
    t->undo_possible = false;
    t->ca = t->sacked_out > 0 ? CA_DISORDER : CA_OPEN;
}

/* Without SACK, a duplicate ACK says that some packet above the hole arrived (RFC 6582). */
static uint32_t reno_count(struct tcp *t, const struct acked *a, bool duplicate)
{
    if (a->packets > 0)
        t->sacked_out -= MIN(t->sacked_out, a->packets - 1);
    else if (duplicate && t->ca != CA_LOSS)
        t->sacked_out++;
    uint32_t holes = MAX(t->lost_out, 1u);
    if (t->sacked_out + holes > t->packets_out)
        t->sacked_out = t->packets_out > holes ? t->packets_out - holes : 0;
    return duplicate && t->ca != CA_LOSS ? 1 : 0;
}

static void find_losses(struct tcp *t, bool advanced)
{
    if (t->sack) {
        if (t->sacked_out > 0)
            tcp_sack_find_lost(t);
        if (t->retrans_out > 0 || (t->probed && t->sacked_out > 0))
            tcp_sack_find_lost_again(t);
    } else if (t->ca == CA_RECOVERY && advanced && t->packets_out > 0) {
        tcp_mark_lost(t, t->tx.head); // RFC 6582 3.2: a partial ACK shows the next hole
    }
}

static bool must_recover(const struct tcp *t)
{
    if (t->ca == CA_RECOVERY || t->ca == CA_LOSS)
        return false;
    if (t->sack)
        return t->lost_out > 0;
    // RFC 6582 3.2 (1): duplicates caused by our own retransmissions start no new recovery.
    return t->sacked_out >= tcp_dup_thresh(t) && t->packets_out > 0 &&
           seq_lt(t->high_seq, t->snd_una);
}

static void congestion_step(struct tcp *t, const struct seg *s, const struct acked *a,
                            uint32_t delivered, bool advanced)
{
    bool episode = t->ca == CA_RECOVERY || t->ca == CA_LOSS;
    if (episode && advanced)
        judge_episode(t, s, a);
    episode = t->ca == CA_RECOVERY || t->ca == CA_LOSS;
    if (episode && !seq_lt(t->snd_una, t->high_seq))
        leave_episode(t, s->has_stamp && (int32_t)(s->echo - t->undo_stamp) < 0);
    find_losses(t, advanced);
    if (must_recover(t)) {
        enter_recovery(t);
        delivered = 0;
    } else if (t->ca == CA_OPEN || t->ca == CA_DISORDER) {
        t->ca = t->sacked_out > 0 ? CA_DISORDER : CA_OPEN;
    }
    if (t->ca == CA_RECOVERY)
        prr_update(t, delivered);
    else if (a->packets > 0)
        grow(t, t->ca == CA_LOSS ? MAX(delivered, 1u) : a->packets);
}

// ---- one ACK

static bool window_update(struct tcp *t, const struct seg *s)
{
    uint32_t wnd = (uint32_t)s->wnd << t->snd_wscale;
    bool fresh = seq_lt(t->snd_una, s->ack) || seq_lt(t->snd_wl1, s->seq) ||
                 (t->snd_wl1 == s->seq && (wnd > t->snd_wnd || wnd == 0));
    if (!fresh)
        return false;
    t->snd_wl1 = s->seq;
    bool changed = wnd != t->snd_wnd;
    t->snd_wnd = wnd;
    t->snd_wnd_max = MAX(t->snd_wnd_max, wnd);
    return changed;
}

static void progress(struct tcp *t, const struct seg *s, const struct acked *a)
{
    t->retries = t->backoff = 0;
    t->soft_error = 0;
    t->stalled_at = t->n->now;
    if (a->oldest_ns != 0) {
        if (t->min_rtt_us == 0 || a->newest_ns / 1000 < t->min_rtt_us)
            t->min_rtt_us = (uint32_t)MAX(a->newest_ns / 1000, 1u);
        tcp_rtt_sample(t, a->oldest_ns);
    } else if (t->stamps && s->has_stamp && s->echo != 0 && a->packets > 0) {
        uint32_t ms = tcp_stamp_now(t) - s->echo; // RFC 7323 4: good for retransmissions, too
        if (ms < 600000)
            tcp_rtt_sample(t, MAX(ms, 1u) * NET_NS_PER_MS);
    }
    if (t->packets_out > 0)
        tcp_rto_restart(t);
    else
        t->deadline[TIMER_RETRANSMIT] = NET_NEVER;
}

static void space_events(struct tcp *t)
{
    uint32_t queued = t->write_seq - t->snd_una;
    if (t->want_out && tcp_poll(t) & NET_OUT) {
        t->want_out = false;
        tcp_event(t, NET_OUT);
    }
    if (t->drained_owed && queued == 0) {
        t->drained_owed = false;
        tcp_event(t, NET_OUT);
    }
}

/* Was it the probe that repaired the tail? Then a packet was lost, and the rate was too high. */
static void judge_probe(struct tcp *t, const struct seg *s)
{
    if (seq_lt(s->ack, t->probe_end))
        return;
    t->probed = false;
    bool by_probe = s->has_stamp && (int32_t)(s->echo - t->probe_stamp) >= 0;
    if (t->probe_again && by_probe && (t->ca == CA_OPEN || t->ca == CA_DISORDER)) {
        t->ssthresh = MAX(t->cwnd / 2, 2u);
        t->cwnd = t->ssthresh;
    }
}

int tcp_ack(struct tcp *t, const struct seg *s)
{
    uint32_t una = t->snd_una;
    if (seq_lt(t->snd_nxt, s->ack) || seq_lt(s->ack, una - MAX(t->snd_wnd_max, 1u))) {
        tcp_challenge_ack(t); // RFC 5961 5.2
        return -EPROTO;
    }
    t->probes = t->keep_probes = 0;
    if (seq_lt(s->ack, una))
        return 0; // old, its data may be news
    struct acked a = {0};
    bool window_changed = window_update(t, s);
    bool advanced = s->ack != una;
    bool duplicate = !advanced && t->packets_out > 0 && s->len == 0 && !window_changed &&
                     (s->flags & (TCP_SYN | TCP_FIN)) == 0;
    if (s->sacks > 0 && t->sack && t->packets_out > 0)
        a.delivered = tcp_sack_input(t, s);
    if (advanced) {
        clean_queue(t, s->ack, &a);
        progress(t, s, &a);
    }
    if (duplicate)
        t->n->count.tcp_dup_acks++;
    if (!t->sack)
        a.delivered += reno_count(t, &a, duplicate);
    if (advanced || duplicate || a.delivered > 0 || t->ca != CA_OPEN)
        congestion_step(t, s, &a, a.delivered, advanced);
    if (advanced) {
        if (t->probed)
            judge_probe(t, s);
        tune_sndbuf(t);
        space_events(t);
    }
    return 0;
}
