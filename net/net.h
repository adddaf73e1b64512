// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The TCP/IP stack as a pure core: packets, calls and time go in; packets and events come out.
 *
 *     net_new() -> net_addr_add(), net_gateway_set()   (or net_dhcp_start(), net/dhcp.h)
 *     frame received:   net_input(n, p, now)
 *     time passes:      sleep until net_next_deadline(n), then net_timer(n, now)
 *     sockets:          net/tcp.h, net/udp.h; never block, -EAGAIN instead
 *     hooks:            transmit a frame, tell of a socket's readiness, memory
 *
 * TIME is nanoseconds of one monotonic clock, an argument named `now`. A value lower than an
 * earlier one is taken as the earlier one.
 *
 * LOCKING is the glue's: one owner or one lock per struct net_stack. Every function here and in
 * tcp.h/udp.h/dhcp.h that takes a stack or a socket of it must be called under that lock; hooks are
 * called with it held. Exception: pkt_put(). Stacks share nothing, so several may run side by side;
 * flows can later be spread over several stacks by a hash of addresses and ports.
 *
 * HOOKS may be called from within any function that takes `now` (a send to 127.0.0.1 may make
 * another socket readable before it returns). A hook must not call back into the stack, except
 * pkt_get(), pkt_put() and the functions marked "pure".
 *
 * ADDRESSES and ports are host byte order: 10.0.2.15 is 0x0a00020f.
 *
 * WHAT IT SPEAKS: Ethernet II, ARP (RFC 826, 5227 announcements), IPv4 (RFC 791, 1122: options
 * skipped, fragments refused and counted, never sent: DF is always set), ICMP (RFC 792, 1191),
 * UDP (RFC 768), TCP (RFC 9293, 7323, 2018, 6675, 6298, 5681, 6528, 5961, 4987). Nothing a peer
 * sends can assert, hang, or make the memory in use exceed the bounds in struct net_config. */
#include "base/base.h"
#include "base/errno.h"
#include "net/pkt.h"

struct net_stack;
struct tcp;
struct udp;

#define NET_NS_PER_MS 1000000ull
#define NET_NS_PER_S  1000000000ull
#define NET_NEVER     UINT64_MAX // a deadline that does not come

struct net_addr {
    uint32_t ip;   // 0: any
    uint16_t port; // 0: any
};

enum { NET_IP_LOOPBACK = 0x7f000001 };

/* Readiness, with the values of Linux's EPOLL* bits, and the meaning that tcp(7) and epoll(7) give.
 */
enum net_ready {
    NET_IN = 0x001,     // data, end of stream, or a connection to accept
    NET_OUT = 0x004,    // room to send
    NET_ERR = 0x008,    // an error is pending: tcp_take_error()
    NET_HUP = 0x010,    // both directions are over
    NET_RDHUP = 0x2000, // the peer will send no more
};

struct net_hooks {
    /* A packet with a buffer of at least `size` bytes (pkt_init), or NULL: no memory. Sizes asked
     * for are PKT_HEADROOM + MTU + 14 at most, rounded up to a multiple of 64. */
    struct pkt *(*pkt_alloc)(void *ctx, uint32_t size);
    /* Memory for sockets and tables: zeroed, 16-byte aligned, or NULL. mem_free gets the same size.
     */
    void *(*mem_alloc)(void *ctx, size_t size);
    void (*mem_free)(void *ctx, void *p, size_t size);
    /* Send a frame; takes the reference. When the device is full, keep it in a queue (dev_next) or
     * drop it (pkt_put). The device may be told once per batch: after net_input() of all received
     * frames, and after a socket call returns. */
    void (*transmit)(void *ctx, struct pkt *p);
    /* Something happened to a socket: `ready` has the bits that are news (edges: NET_IN comes for
     * every arrival of data, NET_OUT when room appears after tcp_tx_span()/udp_tx_begin() had
     * refused or a connection is made). `user` is the socket's; never called with user == NULL.
     * Exactly one of t and u is not NULL. The level is tcp_poll()/udp_poll(), both pure. */
    void (*event)(void *ctx, struct tcp *t, struct udp *u, void *user, uint32_t ready);
};

struct net_config {
    struct net_hooks hooks;
    void *ctx;          // first argument of every hook
    uint8_t secret[32]; // entropy: sequence numbers, ports, hashes; must not repeat between boots
    uint8_t mac[6];
    uint16_t mtu; // IP bytes per frame, 576..9000
    bool tx_csum; // the device completes PKT_CSUM_PARTIAL
    // Bounds. 0 means the default in brackets.
    uint32_t tcp_max;       // connections and listeners [16384]
    uint32_t time_wait_max; // connections remembered in TIME_WAIT [4096]; the oldest goes first
    uint32_t syn_max;       // half-open connections of all listeners [1024]; beyond: SYN cookies
    uint32_t udp_max;       // sockets [1024]
    uint32_t rcvbuf,
        rcvbuf_max; // bytes, where a receive buffer starts [128 KiB], may grow to [4 MiB]
    uint32_t sndbuf, sndbuf_max; // the same for sending [64 KiB], [4 MiB]
    uint64_t mem_max;            // bytes of packet memory in all socket queues together [64 MiB]
};

/* -EINVAL: a bound or the MTU makes no sense; -ENOMEM. net_free() closes nothing gracefully: it
 * releases every socket and packet the stack holds; the sockets' pointers are dead after it. */
NONNULL MUST_CHECK int net_new(const struct net_config *config, struct net_stack **ret);
void net_free(struct net_stack *n);

/* One received frame: [data, data + len) from the Ethernet header on, without FCS. Takes the
 * reference in every case. */
NONNULL void net_input(struct net_stack *n, struct pkt *p, uint64_t now);

/* Do what is due. Call it when net_next_deadline() has passed; early or late is harmless. */
NONNULL void net_timer(struct net_stack *n, uint64_t now);

/* When net_timer() wants to be called next (may be before anything is really due), or NET_NEVER. It
 * can become earlier in every call that takes `now`: ask after each batch. Pure, O(1). */
NONNULL uint64_t net_next_deadline(const struct net_stack *n);

enum { NET_ADDRS_MAX = 8 };

/* Own addresses. The first one added is the default source. prefix_len 0..32; /32 has no
 * neighbours. Announces itself by gratuitous ARP. -EEXIST, -ENOSPC (NET_ADDRS_MAX), -EINVAL
 * (loopback, multicast, 0). */
NONNULL MUST_CHECK int net_addr_add(struct net_stack *n, uint32_t ip, uint32_t prefix_len,
                                    uint64_t now);
/* Connections of that address end with -ETIMEDOUT in their time, as with Linux. -ENOENT. */
NONNULL MUST_CHECK int net_addr_del(struct net_stack *n, uint32_t ip);
/* The i-th own address; -ENOENT past the last. Pure. */
NONNULL MUST_CHECK int net_addr_get(const struct net_stack *n, uint32_t i, uint32_t *ret_ip,
                                    uint32_t *ret_prefix_len);
/* Next hop for everything that no own prefix covers; 0: none (-ENETUNREACH). */
NONNULL void net_gateway_set(struct net_stack *n, uint32_t ip);
NONNULL uint32_t net_gateway_get(const struct net_stack *n);

/* Counters since net_new(), for metrics and tests. Names follow RFC 4022/4113/4293 where they have
 * one. */
// clang-format off
#define NET_COUNTERS(X)                                                                            \
    X(frames_in) X(frames_out) X(frames_bad) X(arp_in)                                             \
    X(arp_dropped) X(ip_in_bad) X(ip_in_csum_bad) X(ip_in_fragments)                               \
    X(ip_in_not_ours) X(ip_out_no_route) X(icmp_in) X(icmp_out)                                    \
    X(icmp_limited) X(udp_in) X(udp_out) X(udp_no_port)                                            \
    X(udp_queue_full) X(udp_bad) X(tcp_in) X(tcp_out)                                              \
    X(tcp_bad) X(tcp_active_opens) X(tcp_passive_opens) X(tcp_rst_in)                              \
    X(tcp_rst_out) X(tcp_retransmits) X(tcp_timeouts) X(tcp_fast_recoveries)                       \
    X(tcp_dup_acks) X(tcp_out_of_order) X(tcp_paws_dropped) X(tcp_challenge_acks)                  \
    X(tcp_syn_cookies_sent) X(tcp_syn_cookies_ok) X(tcp_syn_cookies_bad) X(tcp_accept_full)        \
    X(tcp_time_wait_full) X(tcp_fast_path_data) X(tcp_fast_path_ack) X(mem_refused)                \
    X(tcp_spurious_undone) X(tcp_tail_probes)
// clang-format on

struct net_counters {
#define NET_COUNTER_FIELD(name) uint64_t name;
    NET_COUNTERS(NET_COUNTER_FIELD)
#undef NET_COUNTER_FIELD
    // Gauges.
    uint64_t mem;  // bytes of packet memory in socket queues
    uint32_t tcps; // connections and listeners, closed by their owner or not
    uint32_t half_open, time_waits, udps;
};
NONNULL void net_counters(const struct net_stack *n, struct net_counters *ret);
