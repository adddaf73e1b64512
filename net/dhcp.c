// SPDX-License-Identifier: Apache-2.0
#include "net/dhcp.h"

#include "base/cursor.h"
#include "base/siphash.h"

enum {
    BOOTREQUEST = 1,
    BOOTREPLY = 2,
    DHCPDISCOVER = 1,
    DHCPOFFER = 2,
    DHCPREQUEST = 3,
    DHCPACK = 5,
    DHCPNAK = 6,
    OPT_PAD = 0,
    OPT_MASK = 1,
    OPT_ROUTER = 3,
    OPT_DNS = 6,
    OPT_MTU = 26,
    OPT_REQUESTED_IP = 50,
    OPT_LEASE = 51,
    OPT_TYPE = 53,
    OPT_SERVER = 54,
    OPT_PARAMETERS = 55,
    OPT_MAX_SIZE = 57,
    OPT_RENEW = 58,
    OPT_REBIND = 59,
    OPT_CLIENT_ID = 61,
    OPT_END = 255,
    REQUEST_TRIES_MAX = 4,
    BACKOFF_SHIFT_MAX = 6, // 64 s, RFC 2131 4.1
    LEASE_MIN_S = 60,
};
#define MAGIC        0x63825363u // RFC 2131 3
#define IP_BROADCAST UINT32_MAX
#define INFINITE_S   UINT32_MAX
#define RENEW_GAP    (60 * NET_NS_PER_S) // RFC 2131 4.4.5

static uint64_t dhcp_random(struct dhcp *d)
{
    struct siphash_key key = {d->random, 0x64686370};
    d->random = siphash_fast(&key, d->random, d->xid);
    return d->random;
}

/* Exponential, and +-25 % apart, so that a rack that boots together does not ask together. */
static uint64_t backoff(struct dhcp *d)
{
    uint64_t base = NET_NS_PER_S << MIN(d->tries, (uint32_t)BACKOFF_SHIFT_MAX);
    return base - base / 4 + dhcp_random(d) % (base / 2);
}

static void restart(struct dhcp *d, uint64_t at)
{
    d->state = DHCP_SELECTING;
    d->tries = 0;
    d->xid = (uint32_t)dhcp_random(d);
    d->started_at = d->next_at = at;
}

void dhcp_init(struct dhcp *d, const uint8_t mac[6], uint64_t seed, uint64_t now)
{
    *d = (struct dhcp){.random = seed};
    memcpy(d->mac, mac, 6);
    restart(d, now);
}

// ---- what the server says

struct reply {
    uint8_t type;
    struct dhcp_lease lease;
    uint32_t mask, lease_s, renew_s, rebind_s;
};

static int take_addresses(struct cursor *c, uint32_t *ret, uint32_t max, uint32_t *ret_len)
{
    *ret_len = 0;
    while (c->left >= 4 && *ret_len < max) {
        int r = cursor_be32(c, &ret[*ret_len]);
        if (r < 0)
            return r;
        (*ret_len)++;
    }
    return *ret_len > 0 ? 0 : -EPROTO;
}

static int take_option(struct reply *reply, uint8_t code, struct cursor *c)
{
    uint32_t one;
    uint16_t mtu;
    int r = 0;
    switch (code) {
    case OPT_TYPE:
        return cursor_u8(c, &reply->type);
    case OPT_MASK:
        return cursor_be32(c, &reply->mask);
    case OPT_ROUTER:
        return take_addresses(c, &reply->lease.router, 1, &one);
    case OPT_DNS:
        return take_addresses(c, reply->lease.dns, DHCP_DNS_MAX, &reply->lease.dns_len);
    case OPT_SERVER:
        return cursor_be32(c, &reply->lease.server);
    case OPT_LEASE:
        return cursor_be32(c, &reply->lease_s);
    case OPT_RENEW:
        return cursor_be32(c, &reply->renew_s);
    case OPT_REBIND:
        return cursor_be32(c, &reply->rebind_s);
    case OPT_MTU:
        r = cursor_be16(c, &mtu);
        reply->lease.mtu = r == 0 ? mtu : 0;
        return r;
    default:
        return 0;
    }
}

static int take_options(struct reply *reply, struct cursor *c)
{
    uint8_t code, len;
    struct cursor value;
    int r;
    while (c->left > 0) {
        r = cursor_u8(c, &code);
        if (r < 0 || code == OPT_END)
            return r;
        if (code == OPT_PAD)
            continue;
        if ((r = cursor_u8(c, &len)) < 0 || (r = cursor_sub(c, len, &value)) < 0 ||
            (r = take_option(reply, code, &value)) < 0)
            return r;
    }
    return 0; // without an end option: tolerated
}

static bool usable_host(uint32_t ip)
{
    return ip >> 24 != 0 && ip >> 24 != 127 && ip >> 28 < 14;
}

static int reply_parse(const struct dhcp *d, const uint8_t *msg, size_t len, struct reply *reply)
{
    struct cursor c = cursor_of(msg, len);
    uint8_t op, hw, hw_len, mac[16];
    uint32_t xid, magic;
    int r;
    *reply = (struct reply){.lease_s = INFINITE_S};
    // RFC 2131 2: op htype hlen hops, xid, secs flags, ciaddr, yiaddr, siaddr giaddr, chaddr, sname
    // file
    if ((r = cursor_u8(&c, &op)) < 0 || (r = cursor_u8(&c, &hw)) < 0 ||
        (r = cursor_u8(&c, &hw_len)) < 0 || (r = cursor_skip(&c, 1)) < 0 ||
        (r = cursor_be32(&c, &xid)) < 0 || (r = cursor_skip(&c, 8)) < 0 ||
        (r = cursor_be32(&c, &reply->lease.ip)) < 0 || (r = cursor_skip(&c, 8)) < 0 ||
        (r = cursor_copy(&c, mac, sizeof(mac))) < 0 || (r = cursor_skip(&c, 64 + 128)) < 0 ||
        (r = cursor_be32(&c, &magic)) < 0)
        return r;
    if (op != BOOTREPLY || hw != 1 || hw_len != 6 || xid != d->xid || magic != MAGIC ||
        memcmp(mac, d->mac, 6) != 0)
        return -EPROTO;
    return take_options(reply, &c);
}

static uint32_t mask_length(uint32_t mask)
{
    // Not popcount, which the freestanding compiler takes from a library.
    uint32_t ones = mask == 0 ? 0 : 32 - (uint32_t)__builtin_ctz(mask);
    bool contiguous = ones == 0 || mask == UINT32_MAX << (32 - ones);
    return contiguous && ones > 0 ? ones : 24;
}

static void lease_times(struct reply *reply, uint64_t now)
{
    struct dhcp_lease *l = &reply->lease;
    l->renew_at = l->rebind_at = l->expires_at = NET_NEVER;
    if (reply->lease_s == INFINITE_S)
        return;
    uint64_t lease = MAX(reply->lease_s, (uint32_t)LEASE_MIN_S);
    uint64_t rebind = reply->rebind_s, renew = reply->renew_s;
    if (rebind == 0 || rebind >= lease)
        rebind = lease * 7 / 8; // RFC 2131 4.4.5
    if (renew == 0 || renew >= rebind)
        renew = MIN(lease / 2, rebind);
    l->renew_at = now + renew * NET_NS_PER_S;
    l->rebind_at = now + rebind * NET_NS_PER_S;
    l->expires_at = now + lease * NET_NS_PER_S;
}

static enum dhcp_news take_ack(struct dhcp *d, struct reply *reply, uint64_t now)
{
    bool had = d->state != DHCP_REQUESTING;
    bool same = had && reply->lease.ip == d->lease.ip;
    if (!usable_host(reply->lease.ip))
        return DHCP_NOTHING;
    if (reply->lease.server == 0)
        reply->lease.server = had ? d->lease.server : d->offer.server;
    lease_times(reply, now);
    reply->lease.prefix_len = mask_length(reply->mask);
    if (!usable_host(reply->lease.router))
        reply->lease.router = 0;
    d->lease = reply->lease;
    d->state = DHCP_BOUND;
    d->tries = 0;
    d->next_at = d->lease.renew_at;
    return same ? DHCP_RENEWED : DHCP_GOT;
}

enum dhcp_news dhcp_input(struct dhcp *d, const uint8_t *msg, size_t len, uint64_t now)
{
    struct reply reply;
    if (reply_parse(d, msg, len, &reply) < 0)
        return DHCP_NOTHING;
    bool asking =
        d->state == DHCP_REQUESTING || d->state == DHCP_RENEWING || d->state == DHCP_REBINDING;
    if (reply.type == DHCPOFFER && d->state == DHCP_SELECTING && usable_host(reply.lease.ip) &&
        reply.lease.server != 0) {
        d->offer = reply.lease;
        d->state = DHCP_REQUESTING;
        d->tries = 0;
        d->next_at = now;
        return DHCP_NOTHING;
    }
    if (reply.type == DHCPACK && asking)
        return take_ack(d, &reply, now);
    if (reply.type == DHCPNAK && asking) {
        bool had = d->state != DHCP_REQUESTING;
        restart(d, now + NET_NS_PER_S); // not at once: a server may refuse again and again
        return had ? DHCP_LOST : DHCP_NOTHING;
    }
    return DHCP_NOTHING;
}

// ---- what we say

static void put_ip_option(struct writer *w, uint8_t code, uint32_t ip)
{
    writer_u8(w, code);
    writer_u8(w, 4);
    writer_be32(w, ip);
}

static size_t message_build(struct dhcp *d, uint8_t type, uint64_t now,
                            uint8_t ret_msg[DHCP_MESSAGE_MAX])
{
    static const uint8_t zeros[202]; // hardware address padding 10, sname 64, file 128
    static const uint8_t wanted[] = {OPT_MASK,  OPT_ROUTER, OPT_DNS,   OPT_MTU,
                                     OPT_LEASE, OPT_RENEW,  OPT_REBIND};
    bool has_ip = d->state == DHCP_RENEWING || d->state == DHCP_REBINDING;
    struct writer w = writer_of(ret_msg, DHCP_MESSAGE_MAX);
    writer_u8(&w, BOOTREQUEST);
    writer_u8(&w, 1); // Ethernet
    writer_u8(&w, 6);
    writer_u8(&w, 0);
    writer_be32(&w, d->xid);
    writer_be16(&w, (uint16_t)MIN((now - d->started_at) / NET_NS_PER_S, (uint64_t)UINT16_MAX));
    writer_be16(&w, has_ip ? 0 : 0x8000); // answer by broadcast: no address yet
    writer_be32(&w, has_ip ? d->lease.ip : 0);
    writer_be32(&w, 0);
    writer_be32(&w, 0);
    writer_be32(&w, 0);
    writer_bytes(&w, d->mac, 6);
    writer_bytes(&w, zeros, sizeof(zeros));
    writer_be32(&w, MAGIC);
    writer_u8(&w, OPT_TYPE);
    writer_u8(&w, 1);
    writer_u8(&w, type);
    writer_u8(&w, OPT_CLIENT_ID);
    writer_u8(&w, 7);
    writer_u8(&w, 1);
    writer_bytes(&w, d->mac, 6);
    writer_u8(&w, OPT_MAX_SIZE);
    writer_u8(&w, 2);
    writer_be16(&w, 1500);
    if (d->state == DHCP_REQUESTING) {
        put_ip_option(&w, OPT_REQUESTED_IP, d->offer.ip);
        put_ip_option(&w, OPT_SERVER, d->offer.server);
    }
    writer_u8(&w, OPT_PARAMETERS);
    writer_u8(&w, sizeof(wanted));
    writer_bytes(&w, wanted, sizeof(wanted));
    writer_u8(&w, OPT_END);
    while (w.len < 300) // RFC 1542 2.1: some relays drop shorter ones
        writer_u8(&w, OPT_PAD);
    ASSERT(!w.full);
    return w.len;
}

/* Half of what is left, at least a minute (RFC 2131 4.4.5), but never past the end. */
static uint64_t renew_retry(uint64_t now, uint64_t end)
{
    uint64_t left = end > now ? end - now : 0;
    return MIN(now + MAX(left / 2, RENEW_GAP), end);
}

enum dhcp_news dhcp_step(struct dhcp *d, uint64_t now, uint8_t ret_msg[DHCP_MESSAGE_MAX],
                         size_t *ret_len, uint32_t *ret_to_ip)
{
    enum dhcp_news news = DHCP_NOTHING;
    *ret_len = 0;
    *ret_to_ip = IP_BROADCAST;
    if (now < d->next_at)
        return DHCP_NOTHING;
    bool has_lease = d->state >= DHCP_BOUND;
    if (has_lease && now >= d->lease.expires_at) {
        restart(d, now);
        news = DHCP_LOST;
    } else if (has_lease && now >= d->lease.rebind_at) {
        d->state = DHCP_REBINDING;
    } else if (d->state == DHCP_BOUND) {
        d->state = DHCP_RENEWING;
        d->started_at = now;
        d->xid = (uint32_t)dhcp_random(d);
    } else if (d->state == DHCP_REQUESTING && d->tries >= REQUEST_TRIES_MAX) {
        restart(d, now);
    }
    switch (d->state) {
    case DHCP_SELECTING:
        *ret_len = message_build(d, DHCPDISCOVER, now, ret_msg);
        d->next_at = now + backoff(d);
        break;
    case DHCP_REQUESTING:
        *ret_len = message_build(d, DHCPREQUEST, now, ret_msg);
        d->next_at = now + backoff(d);
        break;
    case DHCP_RENEWING:
        *ret_to_ip = d->lease.server;
        *ret_len = message_build(d, DHCPREQUEST, now, ret_msg);
        d->next_at = renew_retry(now, d->lease.rebind_at);
        break;
    case DHCP_REBINDING:
        *ret_len = message_build(d, DHCPREQUEST, now, ret_msg);
        d->next_at = renew_retry(now, d->lease.expires_at);
        break;
    case DHCP_BOUND:
        break;
    }
    d->tries++;
    return news;
}
