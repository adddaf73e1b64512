// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What TCP and UDP sockets share. */
#include "kernel/socket/options.h"
#include "kernel/socket/socket.h"
#include "net/net.h"

enum { INET_ADDR_BYTES = 16, ATOMIC_RETRIES_MAX = 64, FAULT_IN_BYTES = 65536 };

struct inet_addr { // struct sockaddr_in
    uint16_t family;
    uint16_t port; // big-endian
    uint32_t ip;   // big-endian
    uint8_t zero[8];
};
_Static_assert(sizeof(struct inet_addr) == INET_ADDR_BYTES, "Linux uapi/linux/in.h");

NONNULL static inline uint16_t addr_family(const struct sock_addr *a)
{
    return ((const struct inet_addr *)(const void *)a->bytes)->family;
}

NONNULL static inline struct net_addr inet_addr_get(const struct sock_addr *a)
{
    const struct inet_addr *in = (const void *)a->bytes;
    return (struct net_addr){__builtin_bswap32(in->ip), __builtin_bswap16(in->port)};
}

NONNULL static inline void inet_addr_put(struct sock_addr *a, struct net_addr from)
{
    *(struct inet_addr *)(void *)a->bytes = (struct inet_addr){.family = DOMAIN_INET,
                                                               .port = __builtin_bswap16(from.port),
                                                               .ip = __builtin_bswap32(from.ip)};
    a->len = INET_ADDR_BYTES;
}

/* The address of bind(2): 0; -EINVAL, -EAFNOSUPPORT (Linux __inet_bind). */
NONNULL MUST_CHECK int inet_bind_addr(const struct sock_addr *a, struct net_addr *ret);

/* Control messages of a send over IP: none that asks for something is honoured, so -EINVAL says so
 * (Linux __sock_cmsg_send, ip_cmsg_send; what it ignores is ignored). datagram: SOL_IP counts. */
NONNULL MUST_CHECK int inet_control_check(const struct sock_msg *m, bool datagram);

/* The interfaces as programs see them: lo and eth0. index must exist. */
enum { INET_IF_LO = 1, INET_IF_ETH = 2 };
struct stack_if;
struct inet_if {
    const char *name;
    uint32_t ip, netmask; // host byte order; ip 0: none yet
    uint32_t mtu;
    uint32_t flags;    // IFF_*
    uint16_t hardware; // ARPHRD_*
    uint8_t mac[6];
};
NONNULL void inet_if_get(int index, const struct stack_if *eth, struct inet_if *ret);

/* ioctl on an interface: -ENOTTY when cmd is none of these. The only interfaces are lo and eth0. */
MUST_CHECK int64_t inet_ioctl(uint32_t cmd, uint64_t arg);
enum { IOCTL_INQ = 0x541b, IOCTL_OUTQ = 0x5411, IOCTL_ATMARK = 0x8905 };
MUST_CHECK int64_t ioctl_put_int(uint64_t arg, uint64_t v);

/* The buffer sizes that the program sees (Linux doubles what it is told): clamps v as SO_SNDBUF and
 * SO_RCVBUF do. */
int64_t inet_buf_clamp(int64_t v, bool force);
