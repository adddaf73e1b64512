// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of TCP. The parts, in the order a segment meets them:
 *   tcp_input.c   header, demultiplexing, RFC 9293 3.10.7 checks, state changes
 *   tcp_listen.c  listeners, half-open connections      tcp_cookie.c  SYN cookies (RFC 4987)
 *   tcp_ack.c     acknowledgements, round-trip time, congestion control and recovery
 *   tcp_sack.c    scoreboard of what the peer holds     tcp_rx.c      reassembly, windows, ACK
 * policy tcp_output.c  what to send when, and segments       tcp_timer.c   retransmission, probes,
 * keepalive tcp_conn.c    life of a connection, TIME_WAIT       tcp_port.c    table of flows, ports
 *   tcp_sock.c    the functions of net/tcp.h */
#include "net/stack.h"
#include "net/tcp.h"

enum {
    TCP_MSS_DEFAULT = 536, // RFC 9293 3.7.1
    TCP_MSS_MIN = 88,
    TCP_WSCALE_MAX = 14,  // RFC 7323 2.3
    TCP_INIT_CWND = 10,   // RFC 6928
    TCP_DUP_THRESH = 3,   // RFC 5681
    TCP_QUICKACKS = 16,   // segments acknowledged at once at the start; Linux: TCP_MAX_QUICKACKS
    TCP_RETRIES_MAX = 15, // Linux: tcp_retries2
    TCP_ORPHAN_RETRIES_MAX = 8, // Linux: tcp_orphan_retries
    TCP_SYNACK_RETRIES_MAX = 5,
    TCP_SYN_RETRIES_MAX = 6,
    TCP_RANGES_MAX = 256, // holes in what was received
    TCP_SACK_BLOCKS = 4,
    TCP_CHALLENGES_PER_S = 10,  // RFC 5961 7, per connection, so that no one can measure others
    TCP_BACKLOG_HALF_MIN = 128, // half-open connections that every listener may have
};

#define TCP_RTO_INITIAL   (1 * NET_NS_PER_S) // RFC 6298 2.1
#define TCP_RTO_MIN       (200 * NET_NS_PER_MS)
#define TCP_RTO_MAX       (120 * NET_NS_PER_S)
#define TCP_PROBE_MIN     (10 * NET_NS_PER_MS)
#define TCP_DELACK        (40 * NET_NS_PER_MS)
#define TCP_TIME_WAIT_LEN (60 * NET_NS_PER_S)
#define TCP_FIN_WAIT_LEN  (60 * NET_NS_PER_S)
#define TCP_CORK_LEN      (200 * NET_NS_PER_MS)
#define TCP_MEMORY_RETRY  (10 * NET_NS_PER_MS)
#define TCP_PAWS_IDLE     (24ull * 86400 * NET_NS_PER_S) // RFC 7323 5.5

static inline bool seq_lt(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline bool seq_le(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
    return seq_lt(a, b) ? b : a;
}

struct seq_range {
    uint32_t start, end;
};

/* Packets of the send queue, linked by next and prev. */
struct pktq {
    struct pkt *head, *tail;
};

// pkt.u.tx.marks
enum {
    TX_SACKED = 1,  // the peer holds it
    TX_LOST = 2,    // taken as lost
    TX_RETRANS = 4, // a retransmission is in flight
    TX_EVER = 8,    // was retransmitted at some time: no round-trip sample (RFC 6298 3)
};

/* A received segment, decoded. */
struct seg {
    struct pkt *p; // data: the payload. NULL once a queue has taken it
    const struct tcp_hdr *hdr;
    const struct ip_rx *ip;
    uint32_t seq, ack;
    uint32_t len; // payload bytes
    uint16_t wnd; // as on the wire
    uint8_t flags;
    // options
    bool has_stamp, sack_ok;
    int8_t wscale; // -1: none
    uint8_t sacks;
    uint16_t mss; // 0: none
    uint32_t stamp, echo;
    struct seq_range sack[TCP_SACK_BLOCKS];
};

/* Contiguous data received behind a hole. */
struct rx_range {
    uint32_t start, end;
    struct pkt *first, *last; // linked by next
};

enum tcp_timer { TIMER_RETRANSMIT, TIMER_DELACK, TIMER_KEEP, TIMER_MISC, TIMERS };
enum tcp_ca { CA_OPEN = 0, CA_DISORDER = 1, CA_RECOVERY = 3, CA_LOSS = 4 };

struct tcp {
    struct net_sock sock;
    struct flow flow;     // local and peer address; in the table while the connection lives
    struct net_stack *n;  // immutable
    struct list all_node; // net_stack.tcps, or .dead

    uint8_t state;             // enum tcp_state
    uint8_t ca;                // enum tcp_ca
    bool orphan;               // its owner let go
    bool dead;                 // waits to be freed
    bool ever;                 // was established
    bool bound_port, bound_ip; // chosen by bind
    bool reuse;
    // agreed options
    bool stamps, sack, wscale;
    uint8_t snd_wscale, rcv_wscale;
    // what the owner set
    bool nodelay, cork, keepalive, rcvbuf_fixed, sndbuf_fixed;
    uint8_t ttl, tos, keep_count, syn_count;
    int32_t linger;   // -1 off
    uint16_t max_seg; // 0: by the MTU
    uint32_t keep_idle, keep_interval, user_timeout, defer_accept, notsent_lowat;

    // ---- receiving
    uint32_t rcv_nxt;               // next byte expected
    uint32_t rcv_acked;             // rcv_nxt when we last sent an ACK
    uint32_t rcv_adv;               // right edge of the window that we last offered
    uint32_t rcv_mss;               // largest segment seen
    uint32_t rcvbuf;                // bytes of unread payload allowed
    uint32_t rx_queued;             // bytes in order and unread
    uint32_t rx_mem;                // packet memory of both receive queues
    struct pkt *rx_first, *rx_last; // in order, linked by next
    struct rx_range *ranges;        // sorted; capacity ranges_max, NULL at first
    uint16_t ranges_len, ranges_max;
    uint32_t recent[TCP_SACK_BLOCKS]; // a byte of each range to report, newest first
    uint8_t recents;
    bool ack_now, ack_delayed, pingpong, fin_seen, rx_shut, fin_done;
    uint8_t quickacks;
    uint32_t fin_seq; // when fin_seen
    uint32_t ts_recent;
    uint64_t ts_recent_at, rcv_at; // rcv_at: newest data
    uint64_t any_rcv_at;           // newest segment
    // receive buffer tuning: bytes read per round trip
    uint64_t tune_at;
    uint32_t tune_copied, tune_space;
    uint32_t rcv_rtt_us;
    uint32_t copied_seq; // next byte the owner reads

    // ---- sending
    uint32_t iss, irs;
    uint32_t snd_una, snd_nxt, write_seq;
    uint32_t snd_wnd, snd_wnd_max, snd_wl1;
    uint32_t snd_sml;  // end of the newest short segment sent (Nagle)
    uint16_t mss;      // payload bytes per segment
    uint16_t peer_mss; // as announced
    uint32_t mtu;
    uint32_t sndbuf; // bytes of unacknowledged payload allowed
    uint32_t tx_mem; // packet memory of the send queue
    struct pktq tx;
    struct pkt *tx_next; // first packet never sent
    struct pkt *tx_open; // given out by tcp_tx_span(), not in the queue
    bool tx_shut;        // FIN is queued, or wanted
    bool fin_wanted;     // FIN waits for memory
    bool want_out;       // NET_OUT is owed
    bool more;           // MSG_MORE
    bool drained_owed;   // NET_OUT is owed when the queue becomes empty
    struct route route;
    uint32_t stamp_offset;
    // scoreboard, in packets
    uint32_t packets_out, sacked_out, lost_out, retrans_out;
    struct pkt *sack_hint, *lost_hint, *retrans_hint;
    uint32_t lost_hint_sacked; // SACKed packets before lost_hint
    struct seq_range sack_cache[TCP_SACK_BLOCKS];
    uint8_t sack_cached;
    uint64_t newest_delivered_at; // newest time of sending among delivered packets
    // congestion control, in packets
    uint32_t cwnd, cwnd_count, ssthresh;
    uint32_t high_seq;                               // recovery ends here
    uint32_t prior_cwnd, prior_ssthresh, undo_stamp; // before the present episode
    bool undo_possible;
    uint32_t prr_delivered, prr_out;
    bool probe_armed; // the retransmission timer stands for a tail probe (RFC 8985 7)
    bool probed;      // one was sent and all data up to probe_end is not acknowledged
    bool probe_again; // and it was an old packet
    uint32_t probe_end, probe_stamp;
    uint32_t usage_seq, usage_max;
    bool cwnd_limited;
    // round trip, microseconds (srtt x 8, rttvar x 4)
    uint32_t srtt8, rttvar4, min_rtt_us;
    uint64_t rto; // ns, without back-off
    uint8_t backoff, retries, probes, keep_probes;
    uint64_t sent_at;      // newest data segment
    uint64_t stalled_at;   // when the oldest outstanding data was first sent, for the user time-out
    uint64_t challenge_at; // start of the second in which challenges are counted
    uint8_t challenges;
    int error, soft_error; // positive errno
    uint32_t total_retrans;
    uint64_t bytes_acked, bytes_received, segs_in, segs_out;

    uint64_t deadline[TIMERS]; // ns or NET_NEVER
    struct timer timer;        // armed no later than the earliest deadline

    // ---- listening
    struct list listen_node; // net_stack.listeners
    struct list accept_node; // embryo: in its listener's queue
    struct list accept_queue;
    struct list halves; // struct tcp_half.node
    struct tcp *parent; // embryo: its listener
    uint32_t accept_len, backlog, halves_len;
    uint64_t cookie_at; // when a cookie was last sent
};

/* SYN received, SYN-ACK sent. */
struct tcp_half {
    struct flow flow;
    struct list node;     // tcp.halves
    struct list all_node; // net_stack.halves
    struct tcp *listener;
    struct timer timer;
    uint64_t made_at, sent_at;
    uint32_t iss, irs, ts_recent, stamp_offset;
    uint32_t wnd; // the peer's, unscaled
    uint16_t mss;
    uint8_t snd_wscale, tries;
    bool wscale, sack, stamps, by_cookie;
};

struct tcp_wait {
    struct flow flow;
    struct list node; // net_stack.time_waits
    struct timer timer;
    uint32_t snd_nxt, rcv_nxt, rcv_wnd, ts_recent, stamp_offset;
    uint64_t ts_recent_at, acked_at;
    bool stamps, reuse;
};

/* A segment to send: everything but the payload. */
struct tcp_out {
    struct net_addr src, dst;
    uint32_t seq, ack;
    uint16_t wnd;
    uint8_t flags, ttl, tos;
    uint8_t opts_len; // multiple of 4
    uint8_t opts[40];
};

static inline uint32_t tcp_in_flight(const struct tcp *t)
{
    return t->packets_out - t->sacked_out - t->lost_out + t->retrans_out;
}

static inline uint32_t tcp_wnd_now(const struct tcp *t) // of ours, as the peer sees it
{
    return seq_lt(t->rcv_nxt, t->rcv_adv) ? t->rcv_adv - t->rcv_nxt : 0;
}

static inline struct net_addr tcp_addr_local(const struct tcp *t)
{
    return (struct net_addr){t->flow.local_ip, t->flow.local_port};
}

static inline struct net_addr tcp_addr_peer(const struct tcp *t)
{
    return (struct net_addr){t->flow.peer_ip, t->flow.peer_port};
}

static inline bool tcp_connected(const struct tcp *t) // data may still come or go
{
    return t->state == TCP_ESTABLISHED || t->state == TCP_CLOSE_WAIT ||
           t->state == TCP_FIN_WAIT_1 || t->state == TCP_FIN_WAIT_2 || t->state == TCP_CLOSING ||
           t->state == TCP_LAST_ACK;
}

// ---- tcp_port.c
struct flow *flow_find(const struct net_stack *n, struct net_addr local, struct net_addr peer);
void flow_insert(struct net_stack *n, struct flow *f);
void flow_remove(struct net_stack *n, struct flow *f);
void port_hold(struct net_stack *n, struct flow *f); // f->local_port is taken from now on
void port_release(struct flow *f);
bool port_conflicts(const struct tcp *t, struct net_addr local);
int port_choose_bind(const struct tcp *t, struct net_addr *local);
int port_choose_connect(struct tcp *t, struct net_addr local_ip, struct net_addr peer,
                        uint16_t *ret_port);
struct tcp *listener_find(struct net_stack *n, struct net_addr local);

// ---- tcp_conn.c
struct tcp *tcp_new(struct net_stack *n);
void tcp_event(struct tcp *t, uint32_t ready);
void tcp_set_state(struct tcp *t, enum tcp_state state);
uint32_t tcp_iss(const struct net_stack *n, struct net_addr local, struct net_addr peer);
uint32_t tcp_stamp_offset(const struct net_stack *n, uint32_t local, uint32_t peer);
uint16_t tcp_peer_mss(const struct seg *syn);
void tcp_mss_set(struct tcp *t); // from MTU, peer's MSS and options
uint8_t tcp_wscale_for(const struct net_stack *n, uint32_t rcvbuf);
void tcp_established(struct tcp *t);
void tcp_done(struct tcp *t, int error);  // the connection is over; error 0: politely
void tcp_reset(struct tcp *t, int error); // tcp_done after sending RST
void tcp_release(struct tcp *t);          // free when the call returns
void tcp_time_wait(struct tcp *t);
void tcp_wait_input(struct net_stack *n, struct tcp_wait *w, struct seg *s);
void tcp_wait_free(struct net_stack *n, struct tcp_wait *w);
void tcp_rx_purge(struct tcp *t);
void tcp_tx_purge(struct tcp *t);

// ---- tcp_input.c
int tcp_options_parse(struct seg *s);
void tcp_conn_input(struct tcp *t, struct seg *s);
void tcp_segment_for_nobody(struct net_stack *n, const struct seg *s); // RST where one is due

// ---- tcp_listen.c
void tcp_listen_input(struct tcp *listener, struct seg *s);
void tcp_half_input(struct net_stack *n, struct tcp_half *h, struct seg *s);
void tcp_half_free(struct net_stack *n, struct tcp_half *h);
void tcp_half_from_syn(struct tcp_half *h, struct tcp *listener, const struct seg *s);
void tcp_half_answer(struct net_stack *n, struct tcp_half *h);
void tcp_half_complete(struct net_stack *n, struct tcp_half *h, struct seg *s);
void tcp_listener_stop(struct tcp *t);

// ---- tcp_cookie.c
uint32_t tcp_cookie_stamp(const struct tcp_half *h, uint32_t stamp);
void tcp_cookie_send(struct tcp *listener, const struct seg *s);
/* Is this ACK the answer to a cookie? 0 with *ret; -EAGAIN: no, but say nothing; -ENOENT: no. */
int tcp_cookie_check(struct tcp *listener, const struct seg *s, struct tcp_half *ret);

// ---- tcp_ack.c
int tcp_ack(struct tcp *t, const struct seg *s); // <0: drop the segment
void tcp_rtt_sample(struct tcp *t, uint64_t rtt_ns);
void tcp_enter_loss(struct tcp *t);
void tcp_retransmit_lost(struct tcp *t);
void tcp_mss_shrunk(struct tcp *t);
void tcp_rto_restart(struct tcp *t);
void tcp_probe_arm(struct tcp *t); // after new data: the tail probe counts from the newest

// ---- tcp_sack.c
uint32_t tcp_sack_input(struct tcp *t, const struct seg *s); // packets newly SACKed
void tcp_mark_lost(struct tcp *t, struct pkt *p);
void tcp_sack_find_lost(struct tcp *t);
unsigned tcp_dup_thresh(const struct tcp *t);
void tcp_sack_find_lost_again(struct tcp *t);
void tcp_sack_forget(struct tcp *t); // the peer may drop what it only SACKed (RFC 2018 8)
void tcp_scoreboard_remove(struct tcp *t, struct pkt *p); // p leaves the queue
void tcp_note_delivered(struct tcp *t, const struct pkt *p);

// ---- tcp_rx.c
void tcp_rx_data(struct tcp *t, struct seg *s);
uint32_t tcp_rx_window(const struct tcp *t);    // bytes to offer now
bool tcp_rx_take(struct tcp *t, struct seg *s); // in-order payload into the queue; false: no memory
void tcp_ack_schedule(struct tcp *t);
void tcp_rx_finish(struct tcp *t); // FIN reached
unsigned tcp_sack_blocks(const struct tcp *t, struct seq_range ret[TCP_SACK_BLOCKS]);

// ---- tcp_output.c
void tcp_out_send(struct net_stack *n, struct pkt *p, const struct tcp_out *o, struct route *route);
void tcp_output(struct tcp *t);
void tcp_finish_input(struct tcp *t); // send what the segment made due
void tcp_ack_send(struct tcp *t);
void tcp_challenge_ack(struct tcp *t);
void tcp_rst_send(struct tcp *t);
void tcp_tail_probe(struct tcp *t);
int tcp_packet_send(struct tcp *t, struct pkt *p); // of the queue, again or for the first time
int tcp_packet_split(struct tcp *t, struct pkt *p, uint32_t len);
bool tcp_fin_queue(struct tcp *t);
int tcp_syn_queue(struct tcp *t);
void tcp_probe_send(struct tcp *t, uint32_t seq);
uint32_t tcp_stamp_now(const struct tcp *t);
void tcp_queue_append(struct tcp *t, struct pkt *p);

// ---- tcp_timer.c
void tcp_timer_init(struct tcp *t);
void tcp_deadline(struct tcp *t, enum tcp_timer which, uint64_t when); // NET_NEVER: off
void tcp_keepalive_start(struct tcp *t);
uint64_t tcp_rto_now(const struct tcp *t);
