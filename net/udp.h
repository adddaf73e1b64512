// SPDX-License-Identifier: Apache-2.0
#pragma once
/* UDP sockets. Rules common to all: net/net.h. A struct udp is valid until udp_close(). */
#include "net/net.h"
#include "net/tcp.h"

NONNULL MUST_CHECK int udp_open(struct net_stack *n, struct udp **ret); // -ENOBUFS, -ENOMEM
NONNULL static inline void udp_user_set(struct udp *u, void *user)
{
    ((struct net_sock *)(void *)u)->user = user;
}
NONNULL static inline void *udp_user(const struct udp *u)
{
    return ((const struct net_sock *)(const void *)u)->user;
}

/* As tcp_bind(). With UDP_OPT_REUSEADDR on both, two sockets may share an address and port; the
 * newest one gets the datagrams. */
NONNULL MUST_CHECK int udp_bind(struct udp *u, struct net_addr local);

/* Fix the peer: only its datagrams are received, its ICMP errors reported. {0, 0} takes it off.
 * Binds when unbound. -ENETUNREACH, -EADDRNOTAVAIL. */
NONNULL MUST_CHECK int udp_connect(struct udp *u, struct net_addr peer);

/* Sending: room for one datagram of len bytes at *ret_p; write it, then udp_tx_done() sends it.
 * `to` NULL: the connected peer. Nothing else may be called on the socket between the two;
 * udp_tx_cancel() instead of udp_tx_done() takes it back.
 * -EMSGSIZE: len > MTU - 28; -EDESTADDRREQ: no peer; -ENETUNREACH; -EACCES: a broadcast address
 * without UDP_OPT_BROADCAST; -EINVAL: port 0; -ENOMEM; or the pending error, cleared. */
MUST_CHECK int udp_tx_begin(struct udp *u, const struct net_addr *to, size_t len, uint8_t **ret_p)
    __attribute__((nonnull(1, 4)));
NONNULL void udp_tx_done(struct udp *u, uint64_t now);
NONNULL void udp_tx_cancel(struct udp *u);

/* Receiving: the first queued datagram, left in the queue: 0 with its bytes, length and sender (and
 * own address it was sent to); -EAGAIN; or the pending error, cleared. udp_rx_done() drops it. */
NONNULL MUST_CHECK int udp_rx_peek(struct udp *u, const uint8_t **ret_p, size_t *ret_len,
                                   struct net_addr *ret_from, uint32_t *ret_to_ip);
NONNULL void udp_rx_done(struct udp *u);

/* The same with the caller's memory. recv: the datagram's length (what did not fit is lost: then it
 * is more than max), from may be NULL. */
int64_t udp_send(struct udp *u, const struct net_addr *to, const void *data, size_t len,
                 uint64_t now) __attribute__((nonnull(1, 3)));
int64_t udp_recv(struct udp *u, void *to, size_t max, struct net_addr *ret_from)
    __attribute__((nonnull(1, 2)));

NONNULL uint32_t udp_poll(const struct udp *u);              // pure
NONNULL int udp_take_error(struct udp *u);                   // SO_ERROR: positive errno, cleared
NONNULL MUST_CHECK int udp_shutdown(struct udp *u, int how); // TCP_SHUT_*; -ENOTCONN: no peer
NONNULL void udp_close(struct udp *u);
NONNULL void udp_local(const struct udp *u, struct net_addr *ret);          // pure
NONNULL MUST_CHECK int udp_peer(const struct udp *u, struct net_addr *ret); // pure; -ENOTCONN

enum udp_opt {
    UDP_OPT_BROADCAST, // 0/1
    UDP_OPT_REUSEADDR, // 0/1
    UDP_OPT_RCVBUF,    // bytes of packet memory queued at most [256 KiB]
    UDP_OPT_TTL,       // 1..255 [64]
    UDP_OPT_TOS,       // 0..255
};
NONNULL MUST_CHECK int udp_opt_set(struct udp *u, enum udp_opt opt, int64_t value);
NONNULL int64_t udp_opt_get(const struct udp *u, enum udp_opt opt);
