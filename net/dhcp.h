// SPDX-License-Identifier: Apache-2.0
#pragma once
/* DHCPv4 client (RFC 2131, 2132), a pure core: messages and time go in, messages and a lease come
 * out. Below stands the attachment to a stack, which is all that a kernel needs. */
#include "net/net.h"

enum { DHCP_MESSAGE_MAX = 576, DHCP_DNS_MAX = 4 };

struct dhcp_lease {
    uint32_t ip, prefix_len, router, server; // router 0: none
    uint32_t dns[DHCP_DNS_MAX];
    uint32_t dns_len;
    uint32_t mtu;                             // 0: not told
    uint64_t renew_at, rebind_at, expires_at; // ns, NET_NEVER: infinite
};

enum dhcp_state {
    DHCP_SELECTING,  // asking for offers
    DHCP_REQUESTING, // an offer is chosen
    DHCP_BOUND,
    DHCP_RENEWING,  // asking the lease's server
    DHCP_REBINDING, // asking any server
};

struct dhcp {
    enum dhcp_state state;
    uint8_t mac[6];
    uint64_t random; // generator's state
    uint32_t xid;
    uint32_t tries;               // messages sent in this state
    uint64_t started_at, next_at; // ns; next_at: when dhcp_step() has something to do
    struct dhcp_lease lease;      // valid in BOUND, RENEWING and REBINDING
    struct dhcp_lease offer;      // valid in REQUESTING
};

/* Start asking at `now`. seed: entropy for transaction numbers and back-off. */
NONNULL void dhcp_init(struct dhcp *d, const uint8_t mac[6], uint64_t seed, uint64_t now);

/* What happened; DHCP_LOST also when an address is refused (NAK): stop using it at once. */
enum dhcp_news { DHCP_NOTHING, DHCP_GOT, DHCP_RENEWED, DHCP_LOST };

/* A UDP payload that came to port 68. Anything malformed or not for us is DHCP_NOTHING. */
NONNULL enum dhcp_news dhcp_input(struct dhcp *d, const uint8_t *msg, size_t len, uint64_t now);

/* Do what is due at now >= next_at; may write a message to send: *ret_len > 0 bytes to *ret_to_ip
 * (0xffffffff: broadcast from 0.0.0.0), ports 68 -> 67. */
NONNULL enum dhcp_news dhcp_step(struct dhcp *d, uint64_t now, uint8_t ret_msg[DHCP_MESSAGE_MAX],
                                 size_t *ret_len, uint32_t *ret_to_ip);

/* Run a client inside the stack: it adds and deletes the address and the gateway by itself, from
 * net_input() and net_timer(). -EALREADY: runs already; -ENOMEM, -ENOBUFS. */
NONNULL MUST_CHECK int net_dhcp_start(struct net_stack *n, uint64_t now);
/* The lease in use: 0, or -EAGAIN: none (yet). Pure. */
NONNULL MUST_CHECK int net_dhcp_lease(const struct net_stack *n, struct dhcp_lease *ret);
