// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What stands on the wire: fixed headers, as bytes in network order, and the Internet checksum. */
#include "base/base.h"
#include "base/mem.h"

static inline uint16_t be16(uint16_t v)
{
    return __builtin_bswap16(v);
}

static inline uint32_t be32(uint32_t v)
{
    return __builtin_bswap32(v);
}

static inline uint32_t load_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return be32(v);
}

static inline uint16_t load_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return be16(v);
}

static inline void store_be32(void *p, uint32_t v)
{
    v = be32(v);
    memcpy(p, &v, sizeof(v));
}

enum { ETH_TYPE_IP = 0x0800, ETH_TYPE_ARP = 0x0806 };

struct eth_hdr {
    uint8_t dst[6], src[6];
    uint16_t type;
} PACKED;
_Static_assert(sizeof(struct eth_hdr) == 14, "IEEE 802.3");

enum { ARP_REQUEST = 1, ARP_REPLY = 2 };

struct arp_msg { // RFC 826 for Ethernet and IPv4
    uint16_t hw, proto;
    uint8_t hw_len, proto_len;
    uint16_t op;
    uint8_t sender_mac[6];
    uint32_t sender_ip;
    uint8_t target_mac[6];
    uint32_t target_ip;
} PACKED;
_Static_assert(sizeof(struct arp_msg) == 28, "RFC 826");

enum { IP_PROTO_ICMP = 1, IP_PROTO_TCP = 6, IP_PROTO_UDP = 17 };
enum { IP_DF = 0x4000, IP_MF = 0x2000, IP_OFFSET = 0x1fff };

struct ip_hdr { // RFC 791 3.1
    uint8_t ver_ihl, tos;
    uint16_t len, id, frag;
    uint8_t ttl, proto;
    uint16_t csum;
    uint32_t src, dst;
} PACKED;
_Static_assert(sizeof(struct ip_hdr) == 20, "RFC 791");

enum {
    ICMP_ECHO_REPLY = 0,
    ICMP_UNREACHABLE = 3,
    ICMP_ECHO = 8,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAMETER = 12,
};
enum { ICMP_UNREACHABLE_PROTO = 2, ICMP_UNREACHABLE_PORT = 3, ICMP_FRAG_NEEDED = 4 };

struct icmp_hdr { // RFC 792; the last 16 bits of `rest` are the next hop's MTU in RFC 1191
    uint8_t type, code;
    uint16_t csum;
    uint32_t rest;
} PACKED;
_Static_assert(sizeof(struct icmp_hdr) == 8, "RFC 792");

struct udp_hdr { // RFC 768
    uint16_t src, dst, len, csum;
} PACKED;
_Static_assert(sizeof(struct udp_hdr) == 8, "RFC 768");

enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_PSH = 0x08, TCP_ACK = 0x10 };

struct tcp_hdr { // RFC 9293 3.1
    uint16_t src, dst;
    uint32_t seq, ack;
    uint8_t off; // header words << 4
    uint8_t flags;
    uint16_t wnd, csum, urgent;
} PACKED;
_Static_assert(sizeof(struct tcp_hdr) == 20, "RFC 9293");

enum {
    TCPOPT_END = 0,
    TCPOPT_NOP = 1,
    TCPOPT_MSS = 2,
    TCPOPT_WSCALE = 3,
    TCPOPT_SACK_OK = 4,
    TCPOPT_SACK = 5,
    TCPOPT_TIMESTAMP = 8,
};

/* RFC 1071: the ones' complement sum of bytes in memory order, not folded. */
NONNULL uint64_t csum_add(const void *data, size_t len, uint64_t sum);

/* The same of an IP header without options: 20 bytes. */
static inline uint64_t csum_ip_hdr(const struct ip_hdr *h)
{
    uint64_t a, b;
    uint32_t c;
    memcpy(&a, h, 8);
    memcpy(&b, (const uint8_t *)h + 8, 8);
    memcpy(&c, (const uint8_t *)h + 16, 4);
    return (a & 0xffffffff) + (a >> 32) + (b & 0xffffffff) + (b >> 32) + c;
}

/* The 16 bits to store: complement of the folded sum. */
static inline uint16_t csum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* The pseudo-header of TCP and UDP; addresses in host order. */
static inline uint64_t csum_pseudo(uint32_t src, uint32_t dst, uint8_t proto, uint32_t len)
{
    return (uint64_t)be32(src) + be32(dst) + be16((uint16_t)len) + ((uint32_t)proto << 8);
}
