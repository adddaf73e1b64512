// SPDX-License-Identifier: Apache-2.0
/* The DHCP client against a scripted server: as a pure core, and inside a stack. */
#include "net/dhcp.h"

#include "base/test.h"
#include "net/peer_host.h"

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };
#define SERVER  0x0a000202u
#define ADDRESS 0x0a00020fu
#define S       NET_NS_PER_S

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

/* A server's answer to the client's message. */
static size_t answer(uint8_t *msg, const uint8_t *asked, uint8_t type, uint32_t lease_s)
{
    memset(msg, 0, 300);
    memcpy(msg, (uint8_t[]){2, 1, 6, 0}, 4);
    memcpy(msg + 4, asked + 4, 4);
    store_be32(msg + 16, type == NAK ? 0 : ADDRESS);
    memcpy(msg + 28, mac, 6);
    const uint8_t head[] = {0x63, 0x82, 0x53, 0x63, 53, 1,   type, 54,  4,  10,
                            0,    2,    2,    1,    4,  255, 255,  255, 0,  0 /* padding */,
                            3,    4,    10,   0,    2,  2,   6,    8,   10, 0,
                            2,    3,    8,    8,    8,  8,   51,   4};
    memcpy(msg + 236, head, sizeof(head));
    uint8_t *at = msg + 236 + sizeof(head);
    store_be32(at, lease_s);
    at[4] = 255;
    return (size_t)(at + 5 - msg);
}

struct out {
    uint8_t msg[DHCP_MESSAGE_MAX];
    size_t len;
    uint32_t to;
    enum dhcp_news news;
};

static struct out step(struct dhcp *d, uint64_t now)
{
    struct out o;
    o.news = dhcp_step(d, now, o.msg, &o.len, &o.to);
    return o;
}

static uint8_t type_of(const struct out *o)
{
    return o->len > 242 && o->msg[240] == 53 ? o->msg[242] : 0;
}

static enum dhcp_news reply(struct dhcp *d, const struct out *o, uint8_t type, uint64_t now)
{
    uint8_t msg[600];
    size_t len = answer(msg, o->msg, type, 3600);
    return dhcp_input(d, msg, len, now);
}

static void test_lease_renewal_rebinding_loss(struct test *t)
{
    struct dhcp d;
    uint64_t now = 5 * S;
    dhcp_init(&d, mac, 1, now);
    struct out o = step(&d, now);
    CHECK(t, type_of(&o) == DISCOVER && o.to == UINT32_MAX && o.len >= 300);
    CHECK(t, (o.msg[10] & 0x80) != 0); // answer by broadcast
    CHECK_EQ(t, reply(&d, &o, OFFER, now), DHCP_NOTHING);
    o = step(&d, now);
    CHECK_EQ(t, type_of(&o), REQUEST);
    CHECK_EQ(t, reply(&d, &o, ACK, now), DHCP_GOT);
    CHECK(t, d.lease.ip == ADDRESS && d.lease.prefix_len == 24 && d.lease.router == SERVER);
    CHECK(t, d.lease.dns_len == 2 && d.lease.dns[1] == 0x08080808 && d.lease.server == SERVER);
    CHECK(t, d.next_at == now + 1800 * S && step(&d, now + S).len == 0);
    now = d.next_at;
    o = step(&d, now);
    CHECK(t, type_of(&o) == REQUEST && o.to == SERVER && load_be32(o.msg + 12) == ADDRESS);
    CHECK_EQ(t, reply(&d, &o, ACK, now), DHCP_RENEWED);
    now = d.lease.renew_at;
    o = step(&d, now); // from here on nobody answers
    unsigned unicast = 1, broadcast = 0;
    while (o.news != DHCP_LOST) {
        CHECK(t, d.next_at > now);
        now = d.next_at;
        o = step(&d, now);
        if (o.news != DHCP_LOST)
            *(o.to == SERVER ? &unicast : &broadcast) += 1;
    }
    CHECK(t, unicast >= 3 && unicast < 12 && broadcast >= 2 && broadcast < 8);
    CHECK(t, now == d.lease.expires_at && type_of(&o) == DISCOVER);
}

static void test_silence_backs_off(struct test *t)
{
    struct dhcp d;
    uint64_t now = 0, last = 0;
    dhcp_init(&d, mac, 9, now);
    for (unsigned i = 0; i < 12; i++) {
        struct out o = step(&d, now);
        CHECK_EQ(t, type_of(&o), DISCOVER);
        uint64_t gap = d.next_at - now, base = S << MIN(i, 6u);
        CHECK(t, gap >= base - base / 4 && gap <= base + base / 4);
        last = now;
        now = d.next_at;
    }
    CHECK(t, now > last);
}

static void test_refusal_starts_over(struct test *t)
{
    struct dhcp d;
    dhcp_init(&d, mac, 1, 0);
    struct out o = step(&d, 0);
    CHECK_EQ(t, reply(&d, &o, OFFER, 0), DHCP_NOTHING);
    o = step(&d, 0);
    CHECK_EQ(t, reply(&d, &o, NAK, 0), DHCP_NOTHING);
    CHECK(t, d.state == DHCP_SELECTING && d.next_at >= S);
    o = step(&d, d.next_at);
    CHECK_EQ(t, type_of(&o), DISCOVER);
}

static void test_foreign_messages_are_ignored(struct test *t)
{
    struct dhcp d;
    uint8_t msg[600];
    dhcp_init(&d, mac, 1, 0);
    struct out o = step(&d, 0);
    size_t len = answer(msg, o.msg, OFFER, 60);
    for (size_t cut = 0; cut < len - 5; cut++) { // every cut either parses or does not
        struct dhcp copy = d;
        (void)dhcp_input(&copy, msg, cut, 0);
        CHECK(t, cut > 236 || copy.state == DHCP_SELECTING);
    }
    msg[4] ^= 1; // another transaction
    CHECK(t, dhcp_input(&d, msg, len, 0) == DHCP_NOTHING && d.state == DHCP_SELECTING);
    msg[4] ^= 1;
    msg[33] ^= 1; // another client
    CHECK(t, dhcp_input(&d, msg, len, 0) == DHCP_NOTHING && d.state == DHCP_SELECTING);
    msg[33] ^= 1;
    msg[16] = 127; // no address for a host
    CHECK(t, dhcp_input(&d, msg, len, 0) == DHCP_NOTHING && d.state == DHCP_SELECTING);
}

static struct peer p;

static void server_says(uint8_t type)
{
    struct {
        struct udp_hdr h;
        uint8_t msg[600];
    } PACKED d = {.h = {.src = be16(67), .dst = be16(68)}};
    size_t len = 8 + answer(d.msg, p.last + 42, type, 3600);
    d.h.len = be16((uint16_t)len);
    struct {
        struct eth_hdr eth;
        struct ip_hdr ip;
        uint8_t rest[700];
    } PACKED f = {.eth = {.dst = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, .type = be16(ETH_TYPE_IP)},
                  .ip = {.ver_ihl = 0x45,
                         .len = be16((uint16_t)(20 + len)),
                         .ttl = 9,
                         .proto = IP_PROTO_UDP,
                         .src = be32(SERVER),
                         .dst = UINT32_MAX}};
    f.ip.csum = csum_fold(csum_add(&f.ip, 20, 0));
    memcpy(f.rest, &d, len);
    world_inject(p.m, &f, 34 + len);
}

static void test_client_in_a_stack(struct test *t)
{
    static const struct net_config config = {.rcvbuf = 0};
    struct dhcp_lease lease;
    peer_init(&p, &config);
    CHECK_EQ(t, net_addr_del(p.n, p.m->ip), 0);
    CHECK_EQ(t, net_dhcp_start(p.n, p.w.now), 0);
    CHECK_EQ(t, net_dhcp_start(p.n, p.w.now), -EALREADY);
    const struct ip_hdr *ip = (const struct ip_hdr *)(p.last + 14);
    CHECK(t, p.last[0] == 0xff && ip->src == 0 && ip->dst == UINT32_MAX);
    CHECK_EQ(t, net_dhcp_lease(p.n, &lease), -EAGAIN);
    server_says(OFFER);
    server_says(ACK);
    CHECK_EQ(t, net_dhcp_lease(p.n, &lease), 0);
    CHECK(t, lease.ip == ADDRESS && net_gateway_get(p.n) == SERVER);
    uint32_t own, prefix;
    CHECK_EQ(t, net_addr_get(p.n, 0, &own, &prefix), 0);
    CHECK(t, own == ADDRESS && prefix == 24);
    peer_wait(&p, 3700 * 1000); // the server is gone: the address goes, too
    CHECK_EQ(t, net_dhcp_lease(p.n, &lease), -EAGAIN);
    CHECK_EQ(t, net_addr_get(p.n, 0, &own, &prefix), -ENOENT);
    CHECK_EQ(t, net_gateway_get(p.n), 0);
    peer_deinit(&p);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_lease_renewal_rebinding_loss),
        TEST_CASE(test_silence_backs_off),
        TEST_CASE(test_refusal_starts_over),
        TEST_CASE(test_foreign_messages_are_ignored),
        TEST_CASE(test_client_in_a_stack),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
