// SPDX-License-Identifier: Apache-2.0
/* Link, IP, ICMP and UDP, frame by frame. */
#include "base/test.h"
#include "net/peer_host.h"

static struct peer p;

static void start(void)
{
    static const struct net_config config = {.rcvbuf = 0};
    peer_init(&p, &config);
}

static struct net_counters counters(void)
{
    struct net_counters c;
    net_counters(p.n, &c);
    return c;
}

static const struct ip_hdr *last_ip(void)
{
    return (const struct ip_hdr *)(p.last + 14);
}

static const struct icmp_hdr *last_icmp(void)
{
    return (const struct icmp_hdr *)(p.last + 34);
}

// ---- checksum

static void test_checksum_of_every_length_and_place(struct test *t)
{
    uint8_t data[200];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 131 + 7);
    for (size_t at = 0; at < 9; at++)
        for (size_t len = 0; len < 150; len++) {
            uint32_t plain = 0; // RFC 1071 4.1, byte by byte
            for (size_t i = 0; i < len; i++)
                plain += i % 2 == 0 ? data[at + i] : (uint32_t)data[at + i] << 8;
            while (plain >> 16 != 0)
                plain = (plain & 0xffff) + (plain >> 16);
            CHECK_EQ(t, csum_fold(csum_add(data + at, len, 0)), (uint16_t)~plain);
        }
    struct ip_hdr h;
    memcpy(&h, data, sizeof(h));
    CHECK_EQ(t, csum_fold(csum_ip_hdr(&h)), csum_fold(csum_add(&h, sizeof(h), 0)));
}

// ---- ARP

static void arp(uint16_t op, uint32_t sender, uint32_t target)
{
    struct {
        struct eth_hdr eth;
        struct arp_msg arp;
    } PACKED a = {.eth = {.dst = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, .type = be16(ETH_TYPE_ARP)},
                  .arp = {.hw = be16(1),
                          .proto = be16(ETH_TYPE_IP),
                          .hw_len = 6,
                          .proto_len = 4,
                          .op = be16(op),
                          .sender_mac = {2, 0, 0, 0, 0, 7},
                          .sender_ip = be32(sender),
                          .target_ip = be32(target)}};
    world_inject(p.m, &a, sizeof(a));
}

static void test_arp_answers_for_own_addresses_only(struct test *t)
{
    start();
    unsigned before = p.other;
    arp(ARP_REQUEST, 0x0a000007, p.m->ip);
    CHECK_EQ(t, p.other, before + 1);
    const struct arp_msg *m = (const struct arp_msg *)(p.last + 14);
    CHECK(t, be16(m->op) == ARP_REPLY && be32(m->sender_ip) == p.m->ip);
    CHECK(t, be32(m->target_ip) == 0x0a000007 && m->target_mac[5] == 7);
    arp(ARP_REQUEST, 0x0a000007, 0x0a000055);
    arp(ARP_REPLY, 0x0a000007, p.m->ip);
    CHECK_EQ(t, p.other, before + 1);
    arp(ARP_REQUEST, 0, p.m->ip); // a probe for conflicts
    CHECK_EQ(t, p.other, before + 2);
    peer_deinit(&p);
}

static void test_arp_asks_holds_packets_and_sends_them_in_order(struct test *t)
{
    start();
    struct udp *u;
    CHECK_EQ(t, udp_open(p.n, &u), 0);
    struct net_addr to = {0x0a000007, 5000};
    unsigned before = p.other;
    for (uint8_t i = 0; i < 20; i++)
        CHECK_EQ(t, udp_send(u, &to, &i, 1, p.w.now), 1);
    CHECK_EQ(t, p.other, before + 1); // one request
    arp(ARP_REPLY, 0x0a000007, p.m->ip);
    CHECK_EQ(t, p.other, before + 1 + 8); // the queue is bounded
    CHECK_EQ(t, p.last[42], 7);
    CHECK_EQ(t, counters().arp_dropped, 12);
    peer_deinit(&p);
}

static void test_arp_silence_ends_in_host_unreachable(struct test *t)
{
    start();
    struct tcp *c;
    CHECK_EQ(t, tcp_open(p.n, &c), 0);
    CHECK_EQ(t, tcp_connect(c, (struct net_addr){0x0a000007, 80}, p.w.now), -EINPROGRESS);
    peer_wait(&p, 5000);
    CHECK_EQ(t, tcp_take_error(c), EHOSTUNREACH);
    peer_deinit(&p);
}

static void test_arp_cache_is_bounded(struct test *t)
{
    start();
    int64_t packets = p.m->packets, bytes = p.m->bytes;
    for (uint32_t i = 0; i < 5000; i++)
        arp(ARP_REQUEST, 0x0a000000 + 20 + i, p.m->ip);
    CHECK(t, p.m->bytes == bytes && p.m->packets <= packets + 16); // the device holds some
    unsigned before = p.other;
    peer_wait(&p, 600000);
    CHECK_EQ(t, p.other, before); // idle neighbours are not asked for again
    peer_deinit(&p);
}

// ---- routes

static void test_routes(struct test *t)
{
    start();
    struct udp *u;
    CHECK_EQ(t, udp_open(p.n, &u), 0);
    CHECK_EQ(t, udp_send(u, &(struct net_addr){0x08080808, 53}, "x", 1, p.w.now), -ENETUNREACH);
    net_gateway_set(p.n, PEER_IP);
    CHECK_EQ(t, udp_send(u, &(struct net_addr){0x08080808, 53}, "x", 1, p.w.now), 1);
    CHECK(t, be32(last_ip()->dst) == 0x08080808 && p.last[5] == 9); // by way of the gateway
    CHECK(t, be32(last_ip()->src) == p.m->ip);
    CHECK_EQ(t, net_addr_add(p.n, 0xc0a80105, 24, p.w.now), 0);
    CHECK_EQ(t, net_addr_add(p.n, 0xc0a80105, 24, p.w.now), -EEXIST);
    CHECK_EQ(t, net_addr_add(p.n, 0x7f000002, 8, p.w.now), -EINVAL);
    CHECK_EQ(t, udp_send(u, &(struct net_addr){0xc0a80109, 53}, "x", 1, p.w.now), 1);
    const struct arp_msg *m = (const struct arp_msg *)(p.last + 14); // asked with that source
    CHECK(t, be32(m->sender_ip) == 0xc0a80105 && be32(m->target_ip) == 0xc0a80109);
    CHECK_EQ(t, net_addr_del(p.n, 0xc0a80105), 0);
    CHECK_EQ(t, net_addr_del(p.n, 0xc0a80105), -ENOENT);
    uint32_t ip, prefix;
    CHECK_EQ(t, net_addr_get(p.n, 0, &ip, &prefix), 0);
    CHECK(t, ip == p.m->ip && prefix == 24);
    CHECK_EQ(t, net_addr_get(p.n, 1, &ip, &prefix), -ENOENT);
    peer_deinit(&p);
}

static void test_martians_are_dropped(struct test *t)
{
    static const uint32_t sources[] = {0x7f000001, 0xe0000001, 0xffffffff, 0x0a0000ff, 0};
    start();
    uint8_t ping[8] = {8, 0, 0xf7, 0xff};
    unsigned before = p.other;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        peer_send_ip(&p, IP_PROTO_ICMP, sources[i], p.m->ip, ping, 8);
    peer_send_ip(&p, IP_PROTO_ICMP, p.m->ip, p.m->ip, ping, 8);
    peer_send_ip(&p, IP_PROTO_ICMP, PEER_IP, 0x7f000001, ping, 8);
    peer_send_ip(&p, IP_PROTO_ICMP, PEER_IP, 0x0a000002, ping, 8); // not ours
    CHECK_EQ(t, p.other, before);
    CHECK_EQ(t, counters().ip_in_not_ours, 8);
    peer_send_ip(&p, IP_PROTO_ICMP, PEER_IP, p.m->ip, ping, 8);
    CHECK_EQ(t, p.other, before + 1);
    peer_deinit(&p);
}

static void test_bad_headers_are_counted(struct test *t)
{
    start();
    struct {
        struct eth_hdr eth;
        struct ip_hdr ip;
        uint8_t rest[24];
    } PACKED f = {.eth = {.dst = {2, 0, 0, 0, 0, 1}, .type = be16(ETH_TYPE_IP)}};
    const struct ip_hdr good = {.ver_ihl = 0x45,
                                .len = be16(28),
                                .ttl = 9,
                                .proto = 1,
                                .src = be32(PEER_IP),
                                .dst = be32(p.m->ip)};
    f.ip = good;
    world_inject(p.m, &f, sizeof(f)); // checksum missing
    CHECK_EQ(t, counters().ip_in_csum_bad, 1);
    struct ip_hdr bad[4] = {good, good, good, good};
    bad[0].ver_ihl = 0x65;
    bad[1].ver_ihl = 0x44;
    bad[2].len = be16(19);
    bad[3].len = be16(1000);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f.ip = bad[i];
        f.ip.csum = csum_fold(csum_add(&f.ip, 20, 0));
        world_inject(p.m, &f, sizeof(f));
    }
    CHECK_EQ(t, counters().ip_in_bad, 4);
    f.ip = good;
    f.ip.frag = be16(IP_MF);
    f.ip.csum = csum_fold(csum_add(&f.ip, 20, 0));
    world_inject(p.m, &f, sizeof(f));
    CHECK_EQ(t, counters().ip_in_fragments, 1);
    for (size_t len = 0; len < 34; len++) // cut anywhere
        world_inject(p.m, &f, len);
    CHECK_EQ(t, counters().icmp_in, 0);
    peer_deinit(&p);
}

static void test_options_are_skipped(struct test *t)
{
    start();
    struct {
        struct eth_hdr eth;
        struct ip_hdr ip;
        uint8_t options[4], icmp[8];
    } PACKED f = {.eth = {.dst = {2, 0, 0, 0, 0, 1}, .type = be16(ETH_TYPE_IP)},
                  .ip = {.ver_ihl = 0x46,
                         .len = be16(32),
                         .ttl = 9,
                         .proto = 1,
                         .src = be32(PEER_IP),
                         .dst = be32(p.m->ip)},
                  .options = {1, 1, 1, 0},
                  .icmp = {8, 0, 0xf7, 0xff}};
    f.ip.csum = csum_fold(csum_add(&f.ip, 24, 0));
    unsigned before = p.other;
    world_inject(p.m, &f, sizeof(f));
    CHECK_EQ(t, p.other, before + 1);
    CHECK_EQ(t, last_icmp()->type, ICMP_ECHO_REPLY);
    peer_deinit(&p);
}

// ---- ICMP

static void test_echo_reply_returns_the_data(struct test *t)
{
    start();
    uint8_t ping[64] = {8, 0, 0, 0, 1, 2, 3, 4};
    for (uint8_t i = 8; i < 64; i++)
        ping[i] = i;
    uint16_t csum = csum_fold(csum_add(ping, sizeof(ping), 0));
    peer_send_ip(&p, IP_PROTO_ICMP, PEER_IP, p.m->ip, ping, sizeof(ping)); // bad checksum
    unsigned before = p.other;
    memcpy(ping + 2, &csum, 2);
    peer_send_ip(&p, IP_PROTO_ICMP, PEER_IP, p.m->ip, ping, sizeof(ping));
    CHECK_EQ(t, p.other, before + 1);
    CHECK_EQ(t, last_icmp()->type, ICMP_ECHO_REPLY);
    CHECK(t, memcmp(p.last + 38, ping + 4, 60) == 0);
    CHECK_EQ(t, csum_fold(csum_add(p.last + 34, 64, 0)), 0);
    CHECK(t, be32(last_ip()->dst) == PEER_IP && be32(last_ip()->src) == p.m->ip);
    peer_send_ip(&p, IP_PROTO_ICMP, PEER_IP, 0x0a0000ff, ping, sizeof(ping)); // to all: silence
    CHECK_EQ(t, p.other, before + 1);
    peer_deinit(&p);
}

static void udp_in(uint16_t from, uint16_t to, const char *text)
{
    struct {
        struct udp_hdr h;
        uint8_t data[100];
    } PACKED d = {.h = {.src = be16(from), .dst = be16(to)}};
    size_t len = 8 + strlen(text);
    d.h.len = be16((uint16_t)len);
    memcpy(d.data, text, strlen(text));
    d.h.csum =
        csum_fold(csum_add(&d, len, csum_pseudo(PEER_IP, p.m->ip, IP_PROTO_UDP, (uint32_t)len)));
    peer_send_ip(&p, IP_PROTO_UDP, PEER_IP, p.m->ip, &d, len);
}

static void test_unreachable_is_told_at_a_bounded_rate(struct test *t)
{
    start();
    peer_wait(&p, 1000);
    unsigned before = p.other;
    udp_in(1000, 9, "nobody");
    CHECK(t, last_icmp()->type == ICMP_UNREACHABLE && last_icmp()->code == ICMP_UNREACHABLE_PORT);
    CHECK_EQ(t, memcmp(p.last + 34 + 8 + 28, "nobody", 6), 0); // quotes what offended
    for (int i = 0; i < 1000; i++)
        udp_in(1000, 9, "nobody");
    CHECK_EQ(t, p.other, before + 64);
    peer_send_ip(&p, 99, PEER_IP, p.m->ip, "unknown protocol", 16);
    CHECK_EQ(t, p.other, before + 64);
    peer_wait(&p, 1000);
    peer_send_ip(&p, 99, PEER_IP, p.m->ip, "unknown protocol", 16);
    CHECK_EQ(t, last_icmp()->code, ICMP_UNREACHABLE_PROTO);
    peer_deinit(&p);
}

// ---- UDP

static void test_udp_both_ways(struct test *t)
{
    start();
    struct udp *u;
    char buf[10];
    struct net_addr from;
    CHECK_EQ(t, udp_open(p.n, &u), 0);
    CHECK_EQ(t, udp_bind(u, (struct net_addr){.port = 53}), 0);
    udp_user_set(u, &p);
    CHECK_EQ(t, udp_recv(u, buf, 10, &from), -EAGAIN);
    udp_in(1000, 53, "question");
    CHECK(t, p.ready & NET_IN && udp_poll(u) & NET_IN);
    CHECK_EQ(t, udp_recv(u, buf, 4, &from), 8); // the rest is lost, the length told
    CHECK(t, memcmp(buf, "ques", 4) == 0 && from.ip == PEER_IP && from.port == 1000);
    CHECK_EQ(t, udp_send(u, &from, "answer", 6, p.w.now), 6);
    const struct udp_hdr *h = (const struct udp_hdr *)(p.last + 34);
    CHECK(t, be16(h->src) == 53 && be16(h->dst) == 1000 && be16(h->len) == 14);
    CHECK_EQ(t, csum_fold(csum_add(h, 14, csum_pseudo(p.m->ip, PEER_IP, IP_PROTO_UDP, 14))), 0);
    CHECK_EQ(t, udp_send(u, NULL, "x", 1, p.w.now), -EDESTADDRREQ);
    static uint8_t big[2000];
    CHECK_EQ(t, udp_send(u, &from, big, 1473, p.w.now), -EMSGSIZE);
    CHECK_EQ(t, udp_send(u, &from, big, 1472, p.w.now), 1472);
    CHECK_EQ(t, udp_send(u, &(struct net_addr){UINT32_MAX, 9}, "x", 1, p.w.now), -EACCES);
    CHECK_EQ(t, udp_opt_set(u, UDP_OPT_BROADCAST, 1), 0);
    CHECK_EQ(t, udp_send(u, &(struct net_addr){UINT32_MAX, 9}, "x", 1, p.w.now), 1);
    CHECK_EQ(t, p.last[0], 0xff);
    peer_deinit(&p);
}

static void test_udp_best_match_and_queue_bound(struct test *t)
{
    start();
    struct udp *any, *bound, *connected;
    CHECK_EQ(t, udp_open(p.n, &any), 0);
    CHECK_EQ(t, udp_open(p.n, &bound), 0);
    CHECK_EQ(t, udp_open(p.n, &connected), 0);
    CHECK_EQ(t, udp_bind(any, (struct net_addr){.port = 53}), 0);
    CHECK_EQ(t, udp_bind(bound, (struct net_addr){p.m->ip, 53}), -EADDRINUSE);
    CHECK_EQ(t, udp_opt_set(any, UDP_OPT_REUSEADDR, 1), 0);
    CHECK_EQ(t, udp_opt_set(bound, UDP_OPT_REUSEADDR, 1), 0);
    CHECK_EQ(t, udp_opt_set(connected, UDP_OPT_REUSEADDR, 1), 0);
    CHECK_EQ(t, udp_bind(bound, (struct net_addr){p.m->ip, 53}), 0);
    CHECK_EQ(t, udp_bind(connected, (struct net_addr){.port = 53}), 0);
    CHECK_EQ(t, udp_connect(connected, (struct net_addr){PEER_IP, 1000}), 0);
    udp_in(1000, 53, "a");
    udp_in(1001, 53, "b");
    CHECK(t, udp_poll(connected) & NET_IN && udp_poll(bound) & NET_IN);
    CHECK_EQ(t, udp_poll(any) & NET_IN, 0);
    CHECK_EQ(t, udp_opt_set(bound, UDP_OPT_RCVBUF, 10000), 0);
    for (int i = 0; i < 100; i++)
        udp_in(1001, 53, "b");
    CHECK(t, counters().udp_queue_full > 90 && counters().mem <= 20000);
    peer_deinit(&p);
}

static void test_udp_hears_of_refusal_when_connected(struct test *t)
{
    start();
    struct udp *u;
    char buf[4];
    CHECK_EQ(t, udp_open(p.n, &u), 0);
    CHECK_EQ(t, udp_connect(u, (struct net_addr){PEER_IP, 9}), 0);
    CHECK_EQ(t, udp_send(u, NULL, "x", 1, p.w.now), 1);
    struct {
        struct icmp_hdr icmp;
        uint8_t quote[28];
    } PACKED e = {.icmp = {.type = ICMP_UNREACHABLE, .code = ICMP_UNREACHABLE_PORT}};
    memcpy(e.quote, p.last + 14, sizeof(e.quote));
    e.icmp.csum = csum_fold(csum_add(&e, sizeof(e), 0));
    peer_send_ip(&p, IP_PROTO_ICMP, PEER_IP, p.m->ip, &e, sizeof(e));
    CHECK(t, udp_poll(u) & NET_ERR);
    CHECK_EQ(t, udp_recv(u, buf, 4, NULL), -ECONNREFUSED);
    CHECK_EQ(t, udp_recv(u, buf, 4, NULL), -EAGAIN);
    peer_deinit(&p);
}

static void test_udp_loopback(struct test *t)
{
    start();
    struct udp *a, *b;
    char buf[4];
    struct net_addr from;
    CHECK_EQ(t, udp_open(p.n, &a), 0);
    CHECK_EQ(t, udp_open(p.n, &b), 0);
    CHECK_EQ(t, udp_bind(a, (struct net_addr){NET_IP_LOOPBACK, 53}), 0);
    unsigned before = p.other;
    CHECK_EQ(t, udp_send(b, &(struct net_addr){NET_IP_LOOPBACK, 53}, "hi", 2, p.w.now), 2);
    CHECK_EQ(t, udp_recv(a, buf, 4, &from), 2);
    CHECK(t, from.ip == NET_IP_LOOPBACK && p.other == before);
    CHECK_EQ(t, udp_connect(b, (struct net_addr){NET_IP_LOOPBACK, 54}), 0);
    CHECK_EQ(t, udp_send(b, NULL, "hi", 2, p.w.now), 2);
    CHECK_EQ(t, udp_recv(b, buf, 4, &from), -ECONNREFUSED);
    peer_deinit(&p);
}

static void test_bad_udp_is_dropped(struct test *t)
{
    start();
    struct udp *u;
    CHECK_EQ(t, udp_open(p.n, &u), 0);
    CHECK_EQ(t, udp_bind(u, (struct net_addr){.port = 53}), 0);
    struct udp_hdr h = {.src = be16(1), .dst = be16(53), .len = be16(8), .csum = 0x1234};
    peer_send_ip(&p, IP_PROTO_UDP, PEER_IP, p.m->ip, &h, sizeof(h)); // wrong checksum
    h.csum = 0;
    h.len = be16(7);
    peer_send_ip(&p, IP_PROTO_UDP, PEER_IP, p.m->ip, &h, sizeof(h));
    h.len = be16(9);
    peer_send_ip(&p, IP_PROTO_UDP, PEER_IP, p.m->ip, &h, sizeof(h));
    peer_send_ip(&p, IP_PROTO_UDP, PEER_IP, p.m->ip, &h, 5);
    CHECK_EQ(t, counters().udp_bad, 4);
    h.len = be16(8);
    peer_send_ip(&p, IP_PROTO_UDP, PEER_IP, p.m->ip, &h, sizeof(h)); // none: allowed, and empty
    CHECK_EQ(t, udp_recv(u, &h, 1, NULL), 0);
    peer_deinit(&p);
}

static void test_config_bounds(struct test *t)
{
    start();
    struct net_config c = {.mtu = 500};
    struct net_stack *n;
    CHECK_EQ(t, net_new(&c, &n), -EINVAL);
    c.mtu = 1500;
    c.rcvbuf = 2 << 20;
    c.rcvbuf_max = 1 << 20;
    CHECK_EQ(t, net_new(&c, &n), -EINVAL);
    peer_deinit(&p);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_checksum_of_every_length_and_place),
        TEST_CASE(test_arp_answers_for_own_addresses_only),
        TEST_CASE(test_arp_asks_holds_packets_and_sends_them_in_order),
        TEST_CASE(test_arp_silence_ends_in_host_unreachable),
        TEST_CASE(test_arp_cache_is_bounded),
        TEST_CASE(test_routes),
        TEST_CASE(test_martians_are_dropped),
        TEST_CASE(test_bad_headers_are_counted),
        TEST_CASE(test_options_are_skipped),
        TEST_CASE(test_echo_reply_returns_the_data),
        TEST_CASE(test_unreachable_is_told_at_a_bounded_rate),
        TEST_CASE(test_udp_both_ways),
        TEST_CASE(test_udp_best_match_and_queue_bound),
        TEST_CASE(test_udp_hears_of_refusal_when_connected),
        TEST_CASE(test_udp_loopback),
        TEST_CASE(test_bad_udp_is_dropped),
        TEST_CASE(test_config_bounds),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
