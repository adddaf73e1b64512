// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of the stack: the instance and what its parts ask of each other. Not for users of net/. */
#include "base/list.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "base/wheel.h"
#include "net/dhcp.h"
#include "net/net.h"
#include "net/wire.h"

enum {
    ARP_SETS = 64,
    ARP_WAYS = 4,
    ARP_PENDING_MAX = 8, // packets that wait for one neighbour
    ARP_TRIES_MAX = 3,
    LOOP_MAX = 1024,  // packets on their way to ourselves
    LOOP_BATCH = 256, // of them handled before a call returns
    PORT_BUCKETS = 256,
    LISTEN_BUCKETS = 64,
    FLOW_BUCKETS_MIN = 64,
    PMTU_ENTRIES = 32,
    PORT_EPHEMERAL_FIRST = 32768, // Linux: ip_local_port_range
    PORT_EPHEMERAL_LAST = 60999,
    TICK_SHIFT = 20, // a wheel tick is 2^20 ns = 1.05 ms
};

struct timer {
    struct wheel_timer wheel;
    void (*fire)(struct net_stack *n, struct timer *t);
};

/* What the table of TCP flows holds: full connections, half-open ones, and those in TIME_WAIT. */
enum flow_kind { FLOW_TCP, FLOW_HALF, FLOW_TIME_WAIT };

struct flow {
    struct flow *next;     // hash chain
    struct list port_node; // net_stack.ports
    uint32_t local_ip, peer_ip;
    uint16_t local_port, peer_port;
    uint8_t kind;
    bool hashed;
};

enum arp_state { ARP_FREE, ARP_ASKING, ARP_KNOWN };

struct arp_entry {
    uint32_t ip;
    uint8_t mac[6];
    uint8_t state;
    uint8_t tries;
    uint8_t pending_len;
    struct pkt *pending; // linked by next, newest first
    uint64_t used_at, confirmed_at;
    struct timer timer;
};

struct own_addr {
    uint32_t ip, mask;
};

enum route_kind { ROUTE_NEIGHBOUR, ROUTE_LOOP, ROUTE_BROADCAST };

/* Where packets for an address go. Cached by connections while gen is the stack's. */
struct route {
    uint32_t gen;
    uint32_t src;      // address to send from when none is chosen
    uint32_t next_hop; // on the link
    enum route_kind kind;
    struct arp_entry *arp; // hint, checked by its ip
};

struct pmtu {
    uint32_t ip;
    uint16_t mtu;
    uint64_t until;
};

struct dhcp_client; // net/dhcp_client.c

struct net_stack {
    struct net_config cfg; // immutable, bounds filled in
    uint64_t now;          // ns
    uint32_t now_ms;
    bool working; // inside an entry function: what is queued is handled before it returns
    struct siphash_key hash_key, seq_key, port_key, cookie_key, stamp_key; // immutable
    uint64_t random_state[2];
    struct net_counters count;
    struct wheel wheel;

    struct own_addr addr[NET_ADDRS_MAX];
    uint32_t addrs;
    uint32_t gateway;
    uint32_t route_gen;
    struct arp_entry arp[ARP_SETS][ARP_WAYS];
    struct pmtu pmtu[PMTU_ENTRIES];

    struct pkt *loop_first, *loop_last; // linked by next
    uint32_t loop_len;

    uint64_t icmp_tokens_at; // rate limit of errors we send
    uint32_t icmp_tokens;

    struct flow **flows; // hash table
    uint32_t flow_buckets, flows_len;
    struct list ports[PORT_BUCKETS];       // struct flow.port_node, TCP
    struct list listeners[LISTEN_BUCKETS]; // struct tcp.listen_node
    struct list tcps;                      // struct tcp.all_node
    struct list dead;                      // struct tcp.all_node: freed when the call returns
    struct list time_waits;                // oldest first
    struct list halves;                    // every half-open connection
    uint32_t port_next;

    struct list udp_ports[PORT_BUCKETS]; // struct udp.port_node
    struct list udps;
    uint32_t udp_port_next;

    struct dhcp_client *dhcp; // NULL: not started
};

/* Entry functions of the API stand between these two. */
void net_enter(struct net_stack *n, uint64_t now);
void net_leave(struct net_stack *n);

void timer_init(struct timer *t, void (*fire)(struct net_stack *, struct timer *));
void timer_arm(struct net_stack *n, struct timer *t, uint64_t deadline); // ns
void timer_disarm(struct net_stack *n, struct timer *t);

uint64_t net_random(struct net_stack *n);

/* A packet for `room` bytes of content behind PKT_HEADROOM; NULL: no memory. */
struct pkt *net_pkt_new(struct net_stack *n, uint32_t room);
/* A copy of the content, with the whole headroom. */
struct pkt *net_pkt_copy(struct net_stack *n, const struct pkt *p);

static inline void *net_mem_new(struct net_stack *n, size_t size)
{
    return n->cfg.hooks.mem_alloc(n->cfg.ctx, size);
}

static inline void net_mem_free(struct net_stack *n, void *p, size_t size)
{
    n->cfg.hooks.mem_free(n->cfg.ctx, p, size);
}

// Packet memory of socket queues, against net_config.mem_max.
static inline bool net_mem_fits(const struct net_stack *n, uint32_t size)
{
    return n->count.mem + size <= n->cfg.mem_max;
}

// ---- addresses and routes: net/ip.c

static inline bool ip_is_loopback(uint32_t ip)
{
    return ip >> 24 == 127;
}

static inline bool ip_is_multicast(uint32_t ip)
{
    return ip >> 28 == 14;
}

int ip_addr_add(struct net_stack *n, uint32_t ip, uint32_t prefix_len); // as net_addr_add()
bool ip_is_own(const struct net_stack *n, uint32_t ip);                 // without 127/8
bool ip_is_broadcast(const struct net_stack *n, uint32_t ip); // limited or of an own prefix
int ip_route(const struct net_stack *n, uint32_t dst, struct route *ret); // -ENETUNREACH
uint32_t ip_mtu(struct net_stack *n, uint32_t dst, const struct route *route);
void ip_pmtu_learn(struct net_stack *n, uint32_t dst, uint32_t mtu);

struct ip_tx {
    uint32_t src, dst;
    uint8_t proto, ttl, tos;
};

/* Put IP and link headers before the content and send; takes the reference. */
void ip_send(struct net_stack *n, struct pkt *p, const struct ip_tx *tx, struct route *route);

/* A received datagram: the packet's data stands behind the IP header. */
struct ip_rx {
    const struct ip_hdr *hdr;
    uint32_t src, dst;
    bool loop, broadcast;
};

void ip_input(struct net_stack *n, struct pkt *p, bool loop);
void net_loop(struct net_stack *n, struct pkt *p);

// ---- net/arp.c
void arp_init(struct net_stack *n);
void arp_deinit(struct net_stack *n);
void arp_input(struct net_stack *n, struct pkt *p);
/* The packet starts with its IP header. */
void arp_send(struct net_stack *n, struct pkt *p, struct route *route);
void arp_announce(struct net_stack *n, uint32_t ip);
void eth_send(struct net_stack *n, struct pkt *p, const uint8_t dst[6], uint16_t type);

// ---- net/icmp.c
void icmp_input(struct net_stack *n, struct pkt *p, const struct ip_rx *rx);
void icmp_send_error(struct net_stack *n, const struct ip_rx *rx, uint8_t type, uint8_t code);
/* A packet of ours, from its IP header on, will not arrive: tell its socket. */
void icmp_deliver_error(struct net_stack *n, const uint8_t *packet, size_t len, int error,
                        bool hard, uint32_t mtu);

// ---- upper protocols
void tcp_input(struct net_stack *n, struct pkt *p, const struct ip_rx *rx);
void tcp_icmp_error(struct net_stack *n, struct net_addr local, struct net_addr peer, uint32_t seq,
                    int error, bool hard, uint32_t mtu);
void tcp_deinit(struct net_stack *n);
void tcp_free_dead(struct net_stack *n);
void udp_input(struct net_stack *n, struct pkt *p, const struct ip_rx *rx);
void udp_icmp_error(struct net_stack *n, struct net_addr local, struct net_addr peer, int error,
                    bool hard);
void udp_deinit(struct net_stack *n);
void dhcp_client_deinit(struct net_stack *n);
