// SPDX-License-Identifier: Apache-2.0
#pragma once
/* TCP sockets: listeners and connections. Rules common to all: net/net.h. Results follow what the
 * Linux system call of the same name gives (tcp(7)), as 0 or negative errno.
 *
 *     server  tcp_open  tcp_bind  tcp_listen  (NET_IN)  tcp_accept -> connection
 *     client  tcp_open  [tcp_bind]  tcp_connect -> -EINPROGRESS  (NET_OUT: made, NET_ERR: failed)
 *     read    tcp_rx_span + copy + tcp_rx_done, or tcp_recv
 *     write   tcp_tx_span + copy + tcp_tx_done ... tcp_tx_push, or tcp_send
 *     end     tcp_shutdown (half), tcp_close (polite; the stack finishes alone), tcp_abort (RST)
 *
 * A struct tcp is valid from open/accept until tcp_close() or tcp_abort(). */
#include "net/net.h"

/* -ENOBUFS: net_config.tcp_max reached; -ENOMEM. `user` comes back in events. */
NONNULL MUST_CHECK int tcp_open(struct net_stack *n, struct tcp **ret);
NONNULL static inline void tcp_user_set(struct tcp *t, void *user);
NONNULL static inline void *tcp_user(const struct tcp *t);

/* Bind to an own address, 127/8 or 0. Port 0: an ephemeral one is chosen now.
 * -EADDRNOTAVAIL: not an own address; -EADDRINUSE: taken, by Linux's rules: a wildcard collides
 * with every address of that port; two sockets may share it only if both have TCP_OPT_REUSEADDR and
 * neither listens (a connection in TIME_WAIT does not stop a bind with REUSEADDR); -EINVAL: bound
 * already. */
NONNULL MUST_CHECK int tcp_bind(struct tcp *t, struct net_addr local);

/* Become a listener (unbound: an ephemeral port is chosen), or change the backlog of one: the
 * number of made connections that wait for accept. 0 counts as 1. -EADDRINUSE; -EINVAL: connected.
 */
NONNULL MUST_CHECK int tcp_listen(struct tcp *t, uint32_t backlog);

/* -EINPROGRESS when the SYN is on its way; then tcp_poll() tells: NET_OUT made; NET_ERR failed
 * (tcp_take_error: ECONNREFUSED ETIMEDOUT EHOSTUNREACH ENETUNREACH ...), after which a new
 * tcp_connect() may be tried. -EALREADY: under way; -EISCONN: made or a listener; -ENETUNREACH: no
 * route; -EADDRNOTAVAIL: no ephemeral port is left; -EINVAL: port 0; -ENETUNREACH: broadcast. */
NONNULL MUST_CHECK int tcp_connect(struct tcp *t, struct net_addr peer, uint64_t now);

/* Take a made connection: -EAGAIN none; -EINVAL not a listener. Options are inherited as on Linux
 * (buffers, nodelay, keepalive, linger, user timeout...). Events begin with tcp_user_set(). */
NONNULL MUST_CHECK int tcp_accept(struct tcp *listener, struct tcp **ret, uint64_t now);

/* Readiness now: NET_* bits. Pure. */
NONNULL uint32_t tcp_poll(const struct tcp *t);

/* SO_ERROR: the pending error as a positive errno, cleared by this; 0 none. */
NONNULL int tcp_take_error(struct tcp *t);

/* READING. The stream's next bytes lie in packets. tcp_rx_span() gives the contiguous run that
 * starts `skip` bytes behind the first unread one: >0 bytes at *ret_p, valid until the next call
 * that takes `now`; 0: end of stream; -EAGAIN: nothing there yet; -ENOTCONN; or the pending error
 * (ECONNRESET, ETIMEDOUT ...), reported once data before it is read, and cleared. Walk with skip to
 * peek (PEEK). tcp_rx_done() drops n read bytes and reopens the window when that is due. */
NONNULL int64_t tcp_rx_span(struct tcp *t, uint64_t skip, const uint8_t **ret_p);
NONNULL void tcp_rx_done(struct tcp *t, uint64_t n, uint64_t now);
/* Bytes that can be read now (FIONREAD). Pure. */
NONNULL uint64_t tcp_rx_ready(const struct tcp *t);

/* WRITING. tcp_tx_span() gives room for up to `want` (>0) bytes: >0 bytes at *ret_p; -EAGAIN: the
 * send buffer is full (NET_OUT will come); -EPIPE: shut down, over, or never connected;
 * -ENOMEM: no packet (wait as for EAGAIN; NET_OUT comes); or the pending error, cleared.
 * tcp_tx_done() appends the n <= span bytes now written there. Nothing else may be called on this
 * socket between the two. tcp_tx_push() sends what may be sent (Nagle, windows); `more` promises
 * that more follows at once (MSG_MORE): a last short segment waits for it, 200 ms at most. */
NONNULL int64_t tcp_tx_span(struct tcp *t, uint64_t want, uint8_t **ret_p);
NONNULL void tcp_tx_done(struct tcp *t, uint32_t n);
NONNULL void tcp_tx_push(struct tcp *t, bool more, uint64_t now);
/* Bytes sent or to send that the peer has not acknowledged (SIOCOUTQ), FIN included. Pure. */
NONNULL uint64_t tcp_tx_queued(const struct tcp *t);

/* The same with the caller's memory: bytes moved (may be fewer than len), or the codes above. */
enum { TCP_PEEK = 1, TCP_MORE = 2 };
NONNULL int64_t tcp_recv(struct tcp *t, void *to, size_t len, uint32_t flags, uint64_t now);
NONNULL int64_t tcp_send(struct tcp *t, const void *from, size_t len, uint32_t flags, uint64_t now);

enum { TCP_SHUT_RD = 0, TCP_SHUT_WR = 1, TCP_SHUT_RDWR = 2 };
/* -ENOTCONN when not connected. On a listener RD or RDWR stops listening, as on Linux. */
NONNULL MUST_CHECK int tcp_shutdown(struct tcp *t, int how, uint64_t now);

/* The owner lets go: t is dead for it. Unread data: RST (RFC 2525 2.17); TCP_OPT_LINGER 0: RST;
 * otherwise what is queued is still sent, then FIN, and the stack sees the connection through, at
 * most 60 s in FIN_WAIT_2 and until the retransmission limit in the other states. A lingering
 * close(2) waits in the glue: shut down, wait for NET_HUP or tcp_tx_queued() == 0 (NET_OUT is
 * raised when the queue becomes empty after shutdown), then close. Connections not yet accepted are
 * reset. */
NONNULL void tcp_close(struct tcp *t, uint64_t now);
NONNULL void tcp_abort(struct tcp *t, uint64_t now);

/* Before power-off: end every connection of the stack as tcp_close() would, and tell how many have
 * something that the peer has not acknowledged yet. Call it again, with input and timers between,
 * until it is 0 or patience is over. The sockets stay valid. */
NONNULL uint32_t tcp_finish_all(struct net_stack *n, uint64_t now);

/* getsockname and getpeername. Peer: -ENOTCONN. Pure. */
NONNULL void tcp_local(const struct tcp *t, struct net_addr *ret);
NONNULL MUST_CHECK int tcp_peer(const struct tcp *t, struct net_addr *ret);

enum tcp_opt {
    TCP_OPT_NODELAY,       // 0/1
    TCP_OPT_CORK,          // 0/1; taking it off pushes
    TCP_OPT_QUICKACK,      // 0/1; as on Linux not permanent
    TCP_OPT_KEEPALIVE,     // 0/1 (SO_KEEPALIVE)
    TCP_OPT_KEEPIDLE,      // seconds 1..32767 [7200]
    TCP_OPT_KEEPINTVL,     // seconds 1..32767 [75]
    TCP_OPT_KEEPCNT,       // 1..127 [9]
    TCP_OPT_USER_TIMEOUT,  // ms, 0: by the number of retransmissions
    TCP_OPT_SYNCNT,        // SYN retransmissions, 1..127 [6]
    TCP_OPT_DEFER_ACCEPT,  // seconds, 0: off; listener: accept only when data is there
    TCP_OPT_MAXSEG,        // bytes 88..32767, 0: by the MTU. Get: the segment size in use
    TCP_OPT_RCVBUF,        // bytes; set fixes the size (bounded by rcvbuf_max), as set: no doubling
    TCP_OPT_SNDBUF,        // bytes
    TCP_OPT_REUSEADDR,     // 0/1
    TCP_OPT_LINGER,        // -1: off; 0: reset on close; >0 seconds: kept for the glue
    TCP_OPT_TTL,           // 1..255 [64]
    TCP_OPT_TOS,           // 0..255
    TCP_OPT_NOTSENT_LOWAT, // bytes not yet sent above which NET_OUT is withheld, 0: off
};
/* -EINVAL: the value is out of range; -EISCONN: too late for this one. */
NONNULL MUST_CHECK int tcp_opt_set(struct tcp *t, enum tcp_opt opt, int64_t value, uint64_t now);
NONNULL int64_t tcp_opt_get(const struct tcp *t, enum tcp_opt opt);

/* RFC 9293 3.3.2, with the numbers that Linux shows in TCP_INFO. */
enum tcp_state {
    TCP_ESTABLISHED = 1,
    TCP_SYN_SENT,
    TCP_SYN_RECEIVED,
    TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2,
    TCP_TIME_WAIT,
    TCP_CLOSED,
    TCP_CLOSE_WAIT,
    TCP_LAST_ACK,
    TCP_LISTEN,
    TCP_CLOSING,
};
NONNULL enum tcp_state tcp_state(const struct tcp *t); // pure

/* What TCP_INFO shows. Pure. */
struct tcp_info_data {
    uint8_t state;       // enum tcp_state
    uint8_t ca_state;    // 0 open, 1 disorder, 3 recovery, 4 loss
    uint8_t retransmits; // consecutive time-outs
    uint8_t probes, backoff;
    uint8_t snd_wscale, rcv_wscale;
    bool timestamps, sack, wscale;
    uint32_t rto_us, ato_us, rtt_us, rttvar_us, min_rtt_us;
    uint32_t snd_mss, rcv_mss, advmss, pmtu;
    uint32_t unacked, sacked, lost, retrans; // segments
    uint32_t last_data_sent_ms, last_data_recv_ms, last_ack_recv_ms;
    uint32_t snd_ssthresh, snd_cwnd;      // segments
    uint32_t rcv_space, rcv_wnd, snd_wnd; // bytes
    uint32_t total_retrans, notsent_bytes;
    uint64_t bytes_acked, bytes_received, segs_out, segs_in;
    uint32_t accept_queue, accept_queue_max; // of a listener
};
NONNULL void tcp_info(const struct tcp *t, struct tcp_info_data *ret, uint64_t now);

/* The first member of every socket, so that the user pointer costs no call. */
struct net_sock {
    void *user; // the owner's, NULL: no events
};
NONNULL static inline void tcp_user_set(struct tcp *t, void *user)
{
    ((struct net_sock *)(void *)t)->user = user;
}
NONNULL static inline void *tcp_user(const struct tcp *t)
{
    return ((const struct net_sock *)(const void *)t)->user;
}
