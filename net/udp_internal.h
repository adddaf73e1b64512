// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of UDP sockets; the DHCP client owns one too. */
#include "net/stack.h"
#include "net/udp.h"

struct udp {
    struct net_sock sock;
    struct net_stack *n;         // immutable
    struct list all_node;        // net_stack.udps
    struct list port_node;       // net_stack.udp_ports, newest first; unlinked: not bound
    struct net_addr local, peer; // peer.port 0: not connected
    bool bound_ip;               // local.ip was chosen by bind, not by connect
    bool reuse, broadcast, shut_rd, shut_wr;
    bool wants_out; // a send was refused for lack of memory
    uint8_t ttl, tos;
    int error;                // positive errno
    uint32_t rcvbuf, queued;  // bytes of packet memory
    struct pkt *first, *last; // received, linked by next
    struct pkt *tx;           // between udp_tx_begin() and udp_tx_done()
    struct net_addr tx_to;
    struct route route; // of the last send, to route_ip
    uint32_t route_ip;
    struct timer retry; // when memory was refused
    // The stack's own client: called for each datagram instead of queueing it.
    void (*receive)(struct net_stack *n, const uint8_t *data, size_t len, struct net_addr from);
};
