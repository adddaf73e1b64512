// SPDX-License-Identifier: Apache-2.0
/* The scoreboard (RFC 2018, RFC 6675): which packets of the send queue the peer holds, which are
 * lost, which were sent again. Marks stand on the packets; struct tcp keeps their counts:
 *
 *     in flight = packets_out - sacked_out - lost_out + retrans_out
 *
 * Walks begin at hints, so that one ACK costs what it changes, not the length of the queue. */
#include "net/tcp_internal.h"

void tcp_note_delivered(struct tcp *t, const struct pkt *p)
{
    // Of a packet sent twice, the newer time counts only when an answer to it is possible.
    if (p->u.tx.marks & TX_EVER && t->n->now - p->u.tx.sent_at < (uint64_t)t->min_rtt_us * 1000)
        return;
    t->newest_delivered_at = MAX(t->newest_delivered_at, p->u.tx.sent_at);
}

void tcp_mark_lost(struct tcp *t, struct pkt *p)
{
    if (p->u.tx.marks & (TX_LOST | TX_SACKED))
        return;
    p->u.tx.marks |= TX_LOST;
    t->lost_out++;
    if (t->retrans_hint != NULL && seq_lt(p->u.tx.seq, t->retrans_hint->u.tx.seq))
        t->retrans_hint = p;
}

static void unmark(struct tcp *t, struct pkt *p)
{
    if (p->u.tx.marks & TX_LOST)
        t->lost_out--;
    if (p->u.tx.marks & TX_RETRANS)
        t->retrans_out--;
    p->u.tx.marks &= (uint8_t) ~(TX_LOST | TX_RETRANS);
}

void tcp_scoreboard_remove(struct tcp *t, struct pkt *p)
{
    if (p->u.tx.marks & TX_SACKED) {
        t->sacked_out--;
        if (t->lost_hint != NULL && t->lost_hint_sacked > 0 && p != t->lost_hint)
            t->lost_hint_sacked--;
    }
    unmark(t, p);
    if (t->sack_hint == p)
        t->sack_hint = NULL;
    if (t->retrans_hint == p)
        t->retrans_hint = NULL; // from the head on
    if (t->lost_hint == p) {
        t->lost_hint = NULL;
        t->lost_hint_sacked = 0;
    }
}

/* The packet that holds sequence number seq, from the hint in either direction. */
static struct pkt *seek(struct tcp *t, uint32_t seq)
{
    struct pkt *p = t->sack_hint != NULL ? t->sack_hint : t->tx.head;
    while (p != t->tx_next && p != NULL && seq_le(p->u.tx.end, seq))
        p = p->next;
    while (p != NULL && p->prev != NULL && seq_lt(seq, p->u.tx.seq))
        p = p->prev;
    return p != t->tx_next ? p : NULL;
}

static uint32_t mark_block(struct tcp *t, struct seq_range block, uint32_t from)
{
    uint32_t newly = 0;
    struct pkt *p = seek(t, from), *last = NULL;
    for (; p != NULL && p != t->tx_next && seq_lt(p->u.tx.seq, block.end); p = p->next) {
        last = p;
        if (seq_lt(p->u.tx.seq, block.start) || seq_lt(block.end, p->u.tx.end) ||
            p->u.tx.marks & TX_SACKED)
            continue;
        unmark(t, p);
        p->u.tx.marks |= TX_SACKED;
        t->sacked_out++;
        if (t->lost_hint != NULL && seq_lt(p->u.tx.seq, t->lost_hint->u.tx.seq))
            t->lost_hint_sacked++;
        tcp_note_delivered(t, p);
        newly++;
    }
    if (last != NULL)
        t->sack_hint = last;
    return newly;
}

/* Where the news of a block begins: what an earlier ACK told need not be walked again. */
static uint32_t news_of(const struct tcp *t, struct seq_range block)
{
    for (unsigned i = 0; i < t->sack_cached; i++) {
        struct seq_range old = t->sack_cache[i];
        if (seq_le(old.start, block.start) && seq_lt(block.start, old.end))
            return seq_le(block.end, old.end) ? block.end : old.end;
    }
    return block.start;
}

uint32_t tcp_sack_input(struct tcp *t, const struct seg *s)
{
    struct seq_range valid[TCP_SACK_BLOCKS];
    uint8_t valid_len = 0;
    uint32_t newly = 0;
    for (unsigned i = 0; i < s->sacks; i++) {
        struct seq_range block = s->sack[i];
        // Below the ACK: a duplicate reported (RFC 2883). Beyond what was sent: a lie.
        if (!seq_lt(block.start, block.end) || seq_lt(t->snd_nxt, block.end) ||
            seq_lt(block.start, s->ack) || seq_lt(block.start, t->snd_una))
            continue;
        uint32_t from = news_of(t, block);
        if (seq_lt(from, block.end))
            newly += mark_block(t, block, from);
        valid[valid_len++] = block;
    }
    memcpy(t->sack_cache, valid, valid_len * sizeof(valid[0]));
    t->sack_cached = valid_len;
    return newly;
}

/* Fewer duplicates must do when too few packets are out to cause three (RFC 5827 3.1). */
unsigned tcp_dup_thresh(const struct tcp *t)
{
    if (t->packets_out > 1 && t->packets_out <= TCP_DUP_THRESH && t->tx_next == NULL)
        return t->packets_out - 1;
    return TCP_DUP_THRESH;
}

/* RFC 6675 IsLost(): a packet is lost when DupThresh packets above it were SACKed. */
void tcp_sack_find_lost(struct tcp *t)
{
    struct pkt *p = t->lost_hint != NULL ? t->lost_hint : t->tx.head;
    uint32_t below = t->lost_hint != NULL ? t->lost_hint_sacked : 0;
    unsigned thresh = tcp_dup_thresh(t);
    for (; p != NULL && p != t->tx_next && t->sacked_out >= below + thresh; p = p->next) {
        if (p->u.tx.marks & TX_SACKED)
            below++;
        else if ((p->u.tx.marks & TX_RETRANS) == 0)
            tcp_mark_lost(t, p);
    }
    t->lost_hint = p != t->tx_next ? p : NULL;
    t->lost_hint_sacked = below;
    if (t->lost_hint == NULL)
        t->lost_hint_sacked = 0;
}

/* A retransmission is lost, too, when something sent clearly later has arrived (RFC 8985's idea).
 * After a tail probe the same holds for every packet: the probe is what was sent later. */
void tcp_sack_find_lost_again(struct tcp *t)
{
    uint64_t margin = (uint64_t)t->min_rtt_us * 1000 / 4 + NET_NS_PER_MS;
    uint32_t left = t->retrans_out;
    for (struct pkt *p = t->tx.head; p != NULL && p != t->tx_next; p = p->next) {
        bool again = p->u.tx.marks & TX_RETRANS;
        if (left == 0 && !t->probed)
            break;
        if ((!again && !t->probed) || (p->u.tx.marks & TX_SACKED) != 0)
            continue;
        left -= again;
        if (p->u.tx.sent_at + margin >= t->newest_delivered_at)
            continue;
        unmark(t, p);
        tcp_mark_lost(t, p);
    }
}

void tcp_sack_forget(struct tcp *t)
{
    for (struct pkt *p = t->tx.head; p != NULL && p != t->tx_next; p = p->next)
        p->u.tx.marks &= (uint8_t)~TX_SACKED;
    t->sacked_out = 0;
    t->sack_hint = t->lost_hint = NULL;
    t->lost_hint_sacked = 0;
    t->sack_cached = 0;
}
