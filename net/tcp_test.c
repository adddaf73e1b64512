// SPDX-License-Identifier: Apache-2.0
/* TCP, segment by segment: what the RFCs ask for, tried with a scripted peer. */
#include "net/tcp.h"

#include "base/test.h"
#include "net/peer_host.h"

enum { MSS = 1460, MSS_STAMPED = 1448 };

static struct peer p;

#define START(config_init)                                                                         \
    static const struct net_config config_ = config_init;                                          \
    peer_init(&p, &config_);                                                                       \
    struct tcp *l = peer_listen(&p, 16);                                                           \
    CHECK(t, l != NULL)
#define DEFAULTS                                                                                   \
    {                                                                                              \
        .rcvbuf = 0                                                                                \
    }
#define START_CONNECTED(config_init)                                                               \
    START(config_init);                                                                            \
    struct tcp *c = peer_connected(&p, l);                                                         \
    CHECK(t, c != NULL)

static void finish(void)
{
    peer_deinit(&p);
}

// The next segment heard is a pure ACK of `a`.
#define CHECK_ACK(t, a)                                                                            \
    do {                                                                                           \
        const struct heard *h_ = peer_hear(&p);                                                    \
        CHECK(t, h_ != NULL);                                                                      \
        CHECK_EQ(t, h_->flags, TCP_ACK);                                                           \
        CHECK_EQ(t, h_->len, 0);                                                                   \
        CHECK_EQ(t, h_->ack, a);                                                                   \
    } while (0)
#define CHECK_DATA(t, s, n)                                                                        \
    do {                                                                                           \
        const struct heard *h_ = peer_hear(&p);                                                    \
        CHECK(t, h_ != NULL);                                                                      \
        CHECK_EQ(t, h_->seq, s);                                                                   \
        CHECK_EQ(t, h_->len, n);                                                                   \
    } while (0)
#define CHECK_FLAGS(t, f)                                                                          \
    do {                                                                                           \
        const struct heard *h_ = peer_hear(&p);                                                    \
        CHECK(t, h_ != NULL);                                                                      \
        CHECK_EQ(t, h_->flags, f);                                                                 \
    } while (0)
#define CHECK_SILENCE(t) CHECK(t, peer_hear(&p) == NULL)

// ---- opening

static void test_synack_answers_only_what_was_offered(struct test *t)
{
    START(DEFAULTS);
    (void)l;
    peer_send_with(&p, TCP_SYN, 0, 0, 0, 1000, NULL, 0);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h != NULL && h->flags == (TCP_SYN | TCP_ACK) && h->ack == 1);
    CHECK(t, h->mss == MSS && h->wscale == -1 && !h->sack_ok && !h->has_stamp);
    p.stamps = true;
    p.iss += 100000;
    const uint8_t all[20] = {TCPOPT_MSS,
                             4,
                             2,
                             0,
                             TCPOPT_SACK_OK,
                             2,
                             TCPOPT_TIMESTAMP,
                             10,
                             0,
                             0,
                             0,
                             9,
                             0,
                             0,
                             0,
                             0,
                             TCPOPT_NOP,
                             TCPOPT_WSCALE,
                             3,
                             5};
    p.port = 80;
    peer_send_with(&p, TCP_RST, 1u - 100000, 0, 0, 0, NULL, 0); // forget the first one
    peer_send_with(&p, TCP_SYN, 0, 0, 0, 1000, all, sizeof(all));
    h = peer_hear(&p);
    CHECK(t, h != NULL && h->flags == (TCP_SYN | TCP_ACK) && h->ack == 1);
    CHECK(t, h->mss == MSS && h->wscale == 7 && h->sack_ok && h->has_stamp && h->echo == 9);
    finish();
}

static void test_synack_is_repeated_and_given_up(struct test *t)
{
    START(DEFAULTS);
    (void)l;
    peer_send_with(&p, TCP_SYN, 0, 0, 0, 1000, NULL, 0);
    peer_wait(&p, 200000);
    CHECK_EQ(t, p.heard_len, 6);
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK_EQ(t, n.half_open, 0);
    finish();
}

static void test_closed_port_resets(struct test *t)
{
    START(DEFAULTS);
    (void)l;
    p.port = 81;
    p.stack_iss = 0;
    peer_send_with(&p, TCP_SYN, 0, 0, 10, 1000, NULL, 0);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h != NULL && h->flags == (TCP_RST | TCP_ACK) && h->ack == 11 && h->seq == 0);
    peer_send_with(&p, TCP_ACK, 5, 777, 0, 1000, NULL, 0);
    h = peer_hear(&p);
    CHECK(t, h != NULL && h->flags == TCP_RST && h->seq == 777);
    peer_send_with(&p, TCP_RST, 5, 0, 0, 1000, NULL, 0);
    CHECK_SILENCE(t);
    finish();
}

static void test_accept_queue_is_bounded(struct test *t)
{
    START(DEFAULTS);
    CHECK_EQ(t, tcp_listen(l, 1), 0);
    struct tcp *c;
    peer_send_with(&p, TCP_SYN, 0, 0, 0, 1000, NULL, 0);
    peer_send(&p, TCP_ACK, 1, 1, 0);
    peer_forget(&p);
    p.iss += 5000; // a second client would be another port; the same ends after a reset will do
    peer_send(&p, TCP_RST, 1u - 5000, 1, 0);
    peer_send_with(&p, TCP_SYN, 0, 0, 0, 1000, NULL, 0);
    CHECK_SILENCE(t); // the reset one still waits in the queue, as on Linux
    CHECK_EQ(t, tcp_accept(l, &c, p.w.now), 0);
    uint8_t byte;
    CHECK_EQ(t, tcp_recv(c, &byte, 1, 0, p.w.now), -ECONNRESET);
    CHECK_EQ(t, tcp_recv(c, &byte, 1, 0, p.w.now), 0);
    tcp_close(c, p.w.now);
    CHECK_EQ(t, tcp_accept(l, &c, p.w.now), -EAGAIN);
    finish();
}

static void test_syn_cookie_carries_options(struct test *t)
{
    START({.syn_max = 1});
    // Fill the table from other ports.
    struct tcp_hdr syn = {.src = be16(1234), .dst = be16(80), .off = 5 << 4, .flags = TCP_SYN};
    syn.csum = csum_fold(csum_add(&syn, 20, csum_pseudo(PEER_IP, p.m->ip, IP_PROTO_TCP, 20)));
    peer_send_ip(&p, IP_PROTO_TCP, PEER_IP, p.m->ip, &syn, sizeof(syn));
    p.stamps = true;
    struct tcp *c = peer_connected(&p, l);
    CHECK(t, c != NULL);
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK_EQ(t, n.tcp_syn_cookies_sent, 1);
    CHECK_EQ(t, n.tcp_syn_cookies_ok, 1);
    struct tcp_info_data info;
    tcp_info(c, &info, p.w.now);
    CHECK(t, info.sack && info.timestamps && info.wscale && info.snd_wscale == 2);
    CHECK_EQ(t, info.snd_mss, MSS_STAMPED);
    peer_send(&p, TCP_ACK, 1, 1, 100);
    CHECK_ACK(t, 101);
    finish();
}

static void test_forged_cookie_is_refused(struct test *t)
{
    START({.syn_max = 1});
    struct tcp_hdr syn = {.src = be16(1234), .dst = be16(80), .off = 5 << 4, .flags = TCP_SYN};
    syn.csum = csum_fold(csum_add(&syn, 20, csum_pseudo(PEER_IP, p.m->ip, IP_PROTO_TCP, 20)));
    peer_send_ip(&p, IP_PROTO_TCP, PEER_IP, p.m->ip, &syn, sizeof(syn));
    peer_send(&p, TCP_SYN, 0, 0, 0);
    for (uint32_t guess = 2; guess < 200; guess++)
        peer_send(&p, TCP_ACK, 1, guess << 3, 0);
    struct tcp *c;
    CHECK_EQ(t, tcp_accept(l, &c, p.w.now), -EAGAIN);
    peer_send(&p, TCP_ACK, 1, 1, 0);
    CHECK_EQ(t, tcp_accept(l, &c, p.w.now), 0);
    finish();
}

static void test_connect_retries_and_times_out(struct test *t)
{
    START(DEFAULTS);
    (void)l;
    struct tcp *c;
    CHECK_EQ(t, tcp_open(p.n, &c), 0);
    tcp_user_set(c, &p);
    CHECK_EQ(t, tcp_connect(c, (struct net_addr){PEER_IP, PEER_PORT}, p.w.now), -EINPROGRESS);
    CHECK_EQ(t, tcp_connect(c, (struct net_addr){PEER_IP, PEER_PORT}, p.w.now), -EALREADY);
    peer_wait(&p, 130000);
    CHECK_EQ(t, p.heard_len, 7); // 0 1 3 7 15 31 63 s
    for (unsigned i = 1; i < 7; i++) {
        uint64_t gap = (p.heard[i].at - p.heard[i - 1].at) / NET_NS_PER_MS;
        CHECK(t, gap >= 1000u << (i - 1) && gap <= (1000u << (i - 1)) + 3);
    }
    CHECK(t, tcp_poll(c) & NET_ERR && p.ready & NET_ERR);
    CHECK_EQ(t, tcp_take_error(c), ETIMEDOUT);
    // The socket may try again.
    CHECK_EQ(t, tcp_connect(c, (struct net_addr){PEER_IP, PEER_PORT}, p.w.now), -EINPROGRESS);
    finish();
}

static struct tcp *connect_out(struct peer *peer)
{
    struct tcp *c;
    if (tcp_open(peer->n, &c) < 0)
        return NULL;
    tcp_user_set(c, peer);
    if (tcp_connect(c, (struct net_addr){PEER_IP, PEER_PORT}, peer->w.now) != -EINPROGRESS)
        return NULL;
    peer->port = peer->heard[peer->heard_len - 1].src;
    return c;
}

static void test_connect_is_refused(struct test *t)
{
    START(DEFAULTS);
    (void)l;
    struct tcp *c = connect_out(&p);
    CHECK(t, c != NULL);
    peer_send(&p, TCP_RST | TCP_ACK, 0, 5, 0); // acknowledges nothing of ours: ignored
    CHECK_EQ(t, tcp_state(c), TCP_SYN_SENT);
    peer_send(&p, TCP_RST | TCP_ACK, 0, 1, 0);
    CHECK_EQ(t, tcp_take_error(c), ECONNREFUSED);
    uint8_t b;
    CHECK_EQ(t, tcp_recv(c, &b, 1, 0, p.w.now), -ENOTCONN);
    finish();
}

static void test_simultaneous_open(struct test *t)
{
    START(DEFAULTS);
    (void)l;
    struct tcp *c = connect_out(&p);
    CHECK(t, c != NULL);
    peer_forget(&p);
    peer_send(&p, TCP_SYN, 0, 0, 0);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h != NULL && h->flags == (TCP_SYN | TCP_ACK) && h->seq == 0 && h->ack == 1);
    CHECK_EQ(t, tcp_state(c), TCP_SYN_RECEIVED);
    peer_send(&p, TCP_SYN | TCP_ACK, 0, 1, 0);
    CHECK_EQ(t, tcp_state(c), TCP_ESTABLISHED);
    peer_forget(&p);
    CHECK_EQ(t, peer_stack_sends(&p, c, 10), 10);
    CHECK_DATA(t, 1, 10);
    finish();
}

// ---- receiving

static void test_out_of_order_data_is_sacked_newest_first(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    peer_send(&p, TCP_ACK, 101, 1, 100);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h != NULL && h->ack == 1 && h->sacks == 1 && h->sack[0] == 101 && h->sack[1] == 201);
    peer_send(&p, TCP_ACK, 301, 1, 100);
    h = peer_hear(&p);
    CHECK(t, h != NULL && h->sacks == 2 && h->sack[0] == 301 && h->sack[2] == 101);
    peer_send(&p, TCP_ACK, 151, 1, 100); // touches the first block: it is the newest now
    h = peer_hear(&p);
    CHECK(t, h->sacks == 2 && h->sack[0] == 101 && h->sack[1] == 251 && h->sack[2] == 301);
    peer_send(&p, TCP_ACK, 241, 1, 70); // bridges both
    h = peer_hear(&p);
    CHECK(t, h->sacks == 1 && h->sack[0] == 101 && h->sack[1] == 401);
    CHECK_EQ(t, tcp_rx_ready(c), 0);
    peer_send(&p, TCP_ACK, 1, 1, 120); // fills the hole, overlapping
    CHECK_ACK(t, 401);
    uint8_t buf[500];
    CHECK_EQ(t, tcp_recv(c, buf, sizeof(buf), 0, p.w.now), 400);
    for (uint32_t i = 0; i < 400; i++)
        CHECK_EQ(t, buf[i], (uint8_t)((i + 1) * 7));
    finish();
}

static void test_second_segment_is_acknowledged_at_once_first_after_40ms(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_QUICKACK, 0, p.w.now), 0);
    peer_send(&p, TCP_ACK, 1, 1, MSS);
    peer_send(&p, TCP_ACK, 1 + MSS, 1, MSS);
    CHECK_ACK(t, 1 + 2 * MSS);
    uint64_t then = p.w.now;
    peer_send(&p, TCP_ACK, 1 + 2 * MSS, 1, 10);
    CHECK_SILENCE(t);
    peer_wait(&p, 100);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h != NULL && h->ack == 11 + 2 * MSS);
    CHECK(t, h->at - then >= 40 * NET_NS_PER_MS && h->at - then <= 43 * NET_NS_PER_MS);
    finish();
}

static void test_answer_carries_the_ack(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    uint8_t buf[100];
    peer_send(&p, TCP_ACK, 1, 1, 50); // the first request may be acknowledged at once
    CHECK_EQ(t, tcp_recv(c, buf, 100, 0, p.w.now), 50);
    CHECK_EQ(t, peer_stack_sends(&p, c, 80), 80);
    peer_forget(&p);
    for (uint32_t i = 1; i < 10; i++) {
        peer_send(&p, TCP_ACK, 1 + 50 * i, 1 + 80 * i, 50);
        CHECK_EQ(t, tcp_recv(c, buf, 100, 0, p.w.now), 50);
        CHECK_EQ(t, peer_stack_sends(&p, c, 80), 80);
        const struct heard *h = peer_hear(&p);
        CHECK(t, h != NULL && h->len == 80 && h->ack == 51 + 50 * i);
        CHECK_SILENCE(t);
    }
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK(t, n.tcp_fast_path_data >= 9);
    finish();
}

static void test_window_closes_and_reopens(struct test *t)
{
    START_CONNECTED({.rcvbuf = 8192});
    uint32_t seq = 1;
    const struct heard *h = NULL, *last = NULL;
    while (seq < 1 + 8192) {
        uint32_t n = MIN(1024u, 8193 - seq);
        peer_send(&p, TCP_ACK, seq, 1, n);
        seq += n;
    }
    peer_wait(&p, 100);
    while ((h = peer_hear(&p)) != NULL)
        last = h;
    CHECK(t, last != NULL && last->ack == 8193 && last->wnd == 0);
    peer_send(&p, TCP_ACK, seq, 1, 1); // a probe into the shut window
    CHECK_ACK(t, 8193);
    static uint8_t buf[8192];
    CHECK_EQ(t, tcp_recv(c, buf, 500, 0, p.w.now), 500); // too little to tell
    CHECK_SILENCE(t);
    CHECK_EQ(t, tcp_recv(c, buf, 8192, 0, p.w.now), 7692);
    h = peer_hear(&p);
    CHECK(t, h != NULL && (uint32_t)h->wnd << 7 == 8192);
    finish();
}

static void test_data_beyond_the_window_is_cut(struct test *t)
{
    START_CONNECTED({.rcvbuf = 4096});
    for (uint32_t seq = 1; seq < 6000; seq += 1000)
        peer_send(&p, TCP_ACK, seq, 1, 1000);
    CHECK_EQ(t, tcp_rx_ready(c), 4096);
    finish();
}

static void test_end_of_stream_behind_a_hole(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    peer_send(&p, TCP_FIN | TCP_ACK, 11, 1, 10);
    uint8_t buf[100];
    CHECK_EQ(t, tcp_recv(c, buf, 100, 0, p.w.now), -EAGAIN);
    peer_send(&p, TCP_ACK, 1, 1, 10);
    CHECK(t, p.ready & NET_RDHUP);
    CHECK_EQ(t, tcp_recv(c, buf, 100, TCP_PEEK, p.w.now), 20);
    CHECK_EQ(t, tcp_recv(c, buf, 100, 0, p.w.now), 20);
    CHECK_EQ(t, tcp_recv(c, buf, 100, 0, p.w.now), 0);
    CHECK_EQ(t, tcp_state(c), TCP_CLOSE_WAIT);
    finish();
}

static void test_ranges_are_bounded(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    (void)c;
    for (uint32_t i = 0; i < 1000; i++) {
        peer_send(&p, TCP_ACK, 10 + 20 * i, 1, 1);
        peer_forget(&p);
    }
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK(t, n.mem <= 256 * 4096);
    finish();
}

// ---- sending

static void test_initial_window_is_ten_segments(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK(t, peer_stack_sends(&p, c, 60000) >= 10 * MSS);
    for (uint32_t i = 0; i < 10; i++)
        CHECK_DATA(t, 1 + MSS * i, MSS);
    CHECK_SILENCE(t);
    peer_send(&p, TCP_ACK, 1, 1 + 2 * MSS, 0); // slow start: two acknowledged, four more
    for (uint32_t i = 10; i < 14; i++)
        CHECK_DATA(t, 1 + MSS * i, MSS);
    CHECK_SILENCE(t);
    finish();
}

static void test_nagle_nodelay_cork(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, peer_stack_sends(&p, c, 10), 10);
    CHECK_DATA(t, 1, 10);
    CHECK_EQ(t, peer_stack_sends(&p, c, 10), 10); // waits for the ACK
    CHECK_EQ(t, peer_stack_sends(&p, c, 10), 10);
    CHECK_SILENCE(t);
    peer_send(&p, TCP_ACK, 1, 11, 0);
    CHECK_DATA(t, 11, 20);
    CHECK_EQ(t, peer_stack_sends(&p, c, 10), 10);
    CHECK_SILENCE(t);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_NODELAY, 1, p.w.now), 0);
    CHECK_DATA(t, 31, 10);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_CORK, 1, p.w.now), 0);
    CHECK_EQ(t, peer_stack_sends(&p, c, 10), 10);
    CHECK_SILENCE(t);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_CORK, 0, p.w.now), 0);
    CHECK_DATA(t, 41, 10);
    finish();
}

static void test_more_waits_200ms_at_most(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, tcp_send(c, "abc", 3, TCP_MORE, p.w.now), 3);
    CHECK_SILENCE(t);
    uint64_t then = p.w.now;
    peer_wait(&p, 300);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h != NULL && h->len == 3 && h->at - then <= 203 * NET_NS_PER_MS);
    finish();
}

static void test_fast_retransmit_with_sack(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK(t, peer_stack_sends(&p, c, 60000) > 0);
    peer_forget(&p);
    uint8_t sack[12] = {TCPOPT_NOP, TCPOPT_NOP, TCPOPT_SACK, 10};
    for (uint32_t i = 2; i <= 4; i++) { // the first segment is missing
        store_be32(sack + 4, p.stack_iss + 1 + MSS);
        store_be32(sack + 8, p.stack_iss + 1 + i * MSS);
        peer_send_with(&p, TCP_ACK, 1, 1, 0, 0xffff, sack, sizeof(sack));
        if (i < 4) // RFC 3042: limited transmit
            CHECK_DATA(t, 1 + (8 + i) * MSS, MSS);
    }
    CHECK_DATA(t, 1, MSS); // fast retransmit
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK_EQ(t, n.tcp_fast_recoveries, 1);
    struct tcp_info_data info;
    tcp_info(c, &info, p.w.now);
    CHECK(t, info.snd_ssthresh == 5 && info.ca_state == 3);
    CHECK_EQ(t, n.tcp_timeouts, 0);
    finish();
}

static void test_fast_retransmit_without_sack(struct test *t)
{
    START(DEFAULTS);
    struct tcp *c;
    peer_send_with(&p, TCP_SYN, 0, 0, 0, 60000, (uint8_t[]){TCPOPT_MSS, 4, 5, 0xb4}, 4);
    peer_send(&p, TCP_ACK, 1, 1, 0);
    CHECK_EQ(t, tcp_accept(l, &c, p.w.now), 0);
    CHECK(t, peer_stack_sends(&p, c, 40000) > 0);
    peer_forget(&p);
    for (int i = 0; i < 2; i++)
        peer_send(&p, TCP_ACK, 1, 1, 0);
    CHECK_DATA(t, 1 + 10 * MSS, MSS); // limited transmit
    CHECK_DATA(t, 1 + 11 * MSS, MSS);
    peer_send(&p, TCP_ACK, 1, 1, 0);
    CHECK_DATA(t, 1, MSS);
    CHECK_SILENCE(t);
    peer_send(&p, TCP_ACK, 1, 1 + 3 * MSS, 0); // a partial ACK shows the next hole
    CHECK_DATA(t, 1 + 3 * MSS, MSS);
    finish();
}

static void sack_one(uint32_t ack, uint32_t start, uint32_t end)
{
    uint8_t sack[12] = {TCPOPT_NOP, TCPOPT_NOP, TCPOPT_SACK, 10};
    store_be32(sack + 4, p.stack_iss + start);
    store_be32(sack + 8, p.stack_iss + end);
    peer_send_with(&p, TCP_ACK, 1, ack, 0, 0xffff, sack, sizeof(sack));
}

static void test_lost_tail_is_probed_before_the_timer(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, peer_stack_sends(&p, c, 4000), 4000);
    peer_forget(&p);
    peer_wait(&p, 20); // nothing arrived; two round trips are over
    CHECK_DATA(t, 1 + 2 * MSS, 4000 - 2 * MSS);
    CHECK_SILENCE(t);
    sack_one(1, 1 + 2 * MSS, 4001); // the probe arrived, so what was sent before it is lost
    CHECK_DATA(t, 1, MSS);
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK(t, n.tcp_tail_probes == 1 && n.tcp_timeouts == 0 && n.tcp_fast_recoveries == 1);
    finish();
}

static void test_few_packets_need_fewer_duplicates(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, peer_stack_sends(&p, c, 4000), 4000);
    peer_forget(&p);
    sack_one(1, 1 + MSS, 1 + 2 * MSS);
    CHECK_SILENCE(t);
    sack_one(1, 1 + MSS, 4001);
    CHECK_DATA(t, 1, MSS);
    finish();
}

static void test_retransmission_timer_backs_off(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, peer_stack_sends(&p, c, 100), 100);
    peer_forget(&p);
    uint64_t then = p.w.now;
    peer_wait(&p, 7000);
    for (unsigned i = 0; i < 5; i++) {
        const struct heard *h = peer_hear(&p);
        CHECK(t, h != NULL && h->seq == 1 && h->len == 100);
        uint64_t gap = (h->at - then) / NET_NS_PER_MS, want = 200u << i;
        CHECK(t, gap >= want && gap <= want + want / 20 + 3);
        then = h->at;
    }
    CHECK_SILENCE(t);
    peer_wait(&p, 1200000);
    CHECK_EQ(t, tcp_take_error(c), ETIMEDOUT);
    finish();
}

static void test_user_timeout(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_USER_TIMEOUT, 3000, p.w.now), 0);
    CHECK_EQ(t, peer_stack_sends(&p, c, 100), 100);
    peer_wait(&p, 2500);
    CHECK_EQ(t, tcp_state(c), TCP_ESTABLISHED);
    peer_wait(&p, 5000);
    CHECK_EQ(t, tcp_state(c), TCP_CLOSED);
    CHECK_EQ(t, tcp_take_error(c), ETIMEDOUT);
    finish();
}

static void test_zero_window_is_probed(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    peer_send_with(&p, TCP_ACK, 1, 1, 1, 0, NULL, 0); // window 0
    peer_forget(&p);
    CHECK_EQ(t, peer_stack_sends(&p, c, 5000), 5000);
    CHECK_SILENCE(t);
    peer_wait(&p, 1500);
    CHECK(t, p.heard_len >= 2 && p.heard_len <= 3);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h->seq == 0 && h->len == 0); // an old number: must be answered
    peer_forget(&p);
    peer_send(&p, TCP_ACK, 2, 1, 0); // the window opens
    CHECK_DATA(t, 1, MSS);
    finish();
}

static void test_spurious_timeout_is_undone(struct test *t)
{
    p.stamps = false;
    static const struct net_config config = {.rcvbuf = 0};
    peer_init(&p, &config);
    p.stamps = true;
    struct tcp *l = peer_listen(&p, 16), *c;
    CHECK(t, l != NULL && (c = peer_connected(&p, l)) != NULL);
    CHECK(t, peer_stack_sends(&p, c, 60000) > 0);
    uint32_t echo = p.echo;
    peer_wait(&p, 300); // the time-out strikes
    struct tcp_info_data info;
    tcp_info(c, &info, p.w.now);
    CHECK(t, info.ca_state == 4 && info.snd_cwnd == 1);
    p.echo = echo; // but it is the first transmission that arrived
    peer_send(&p, TCP_ACK, 1, 1 + 2 * MSS_STAMPED, 0);
    tcp_info(c, &info, p.w.now);
    CHECK(t, info.ca_state == 0 && info.snd_cwnd >= 10);
    finish();
}

static void test_frag_needed_shrinks_segments(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK(t, peer_stack_sends(&p, c, 5000) > 0);
    struct {
        struct icmp_hdr icmp;
        struct ip_hdr ip;
        struct tcp_hdr tcp;
    } PACKED e = {.icmp = {.type = ICMP_UNREACHABLE, .code = ICMP_FRAG_NEEDED, .rest = be32(1000)}};
    memcpy(&e.ip, p.last + 14, sizeof(e.ip) + sizeof(e.tcp));
    e.icmp.csum = csum_fold(csum_add(&e, sizeof(e), 0));
    peer_forget(&p);
    peer_send_ip(&p, IP_PROTO_ICMP, 0x0a0000fe, p.m->ip, &e, sizeof(e));
    CHECK_DATA(t, 1, 960);
    struct tcp_info_data info;
    tcp_info(c, &info, p.w.now);
    CHECK_EQ(t, info.pmtu, 1000);
    // A forged one that quotes a number we never sent is ignored.
    e.ip.len = be16(1500);
    e.tcp.seq = be32(p.stack_iss + 90000);
    e.icmp.rest = be32(600);
    e.icmp.csum = 0;
    e.icmp.csum = csum_fold(csum_add(&e, sizeof(e), 0));
    peer_send_ip(&p, IP_PROTO_ICMP, 0x0a0000fe, p.m->ip, &e, sizeof(e));
    tcp_info(c, &info, p.w.now);
    CHECK_EQ(t, info.pmtu, 1000);
    finish();
}

// ---- attacks: RFC 5961, RFC 7323

static void test_reset_must_be_exact(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    peer_send(&p, TCP_RST, 100, 1, 0); // in the window only
    CHECK_ACK(t, 1);
    CHECK_EQ(t, tcp_state(c), TCP_ESTABLISHED);
    peer_send(&p, TCP_RST, 1u << 30, 1, 0); // outside
    CHECK_SILENCE(t);
    peer_send(&p, TCP_RST, 1, 1, 0);
    CHECK_EQ(t, tcp_state(c), TCP_CLOSED);
    CHECK(t, p.ready & NET_HUP && p.ready & NET_ERR);
    uint8_t b;
    CHECK_EQ(t, tcp_recv(c, &b, 1, 0, p.w.now), -ECONNRESET);
    CHECK_EQ(t, tcp_recv(c, &b, 1, 0, p.w.now), 0);
    CHECK_EQ(t, tcp_send(c, &b, 1, 0, p.w.now), -EPIPE);
    finish();
}

static void test_syn_on_open_connection_is_challenged_at_a_bounded_rate(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    for (int i = 0; i < 50; i++)
        peer_send(&p, TCP_SYN, 1, 1, 0);
    CHECK_EQ(t, tcp_state(c), TCP_ESTABLISHED);
    CHECK_EQ(t, p.heard_len, 10);
    finish();
}

static void test_ack_of_the_future_and_far_past_is_refused(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    peer_send(&p, TCP_ACK, 1, 500, 10);
    CHECK_ACK(t, 1);
    peer_send(&p, TCP_ACK, 1, 1u - (1 << 20), 10);
    CHECK_ACK(t, 1);
    CHECK_EQ(t, tcp_rx_ready(c), 0);
    finish();
}

static void test_old_time_stamp_is_dropped(struct test *t)
{
    static const struct net_config config = {.rcvbuf = 0};
    peer_init(&p, &config);
    p.stamps = true;
    struct tcp *l = peer_listen(&p, 16), *c;
    CHECK(t, l != NULL && (c = peer_connected(&p, l)) != NULL);
    p.stamp += 50;
    peer_send(&p, TCP_ACK, 1, 1, 10);
    CHECK_ACK(t, 11);
    p.stamp -= 20;
    peer_send(&p, TCP_ACK, 11, 1, 10);
    CHECK_ACK(t, 11);
    CHECK_EQ(t, tcp_rx_ready(c), 10);
    p.stamps = false; // RFC 7323 3.2: no stamp, no segment
    peer_send(&p, TCP_ACK, 11, 1, 10);
    CHECK_EQ(t, tcp_rx_ready(c), 10);
    finish();
}

// ---- ending

static void test_polite_close_by_us_and_time_wait(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    tcp_close(c, p.w.now);
    CHECK_FLAGS(t, TCP_FIN | TCP_ACK);
    peer_send(&p, TCP_ACK, 1, 2, 0);
    peer_send(&p, TCP_FIN | TCP_ACK, 1, 2, 0);
    CHECK_ACK(t, 2);
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK(t, n.time_waits == 1 && n.tcps == 1);
    peer_wait(&p, 1000);
    peer_send(&p, TCP_FIN | TCP_ACK, 1, 2, 0); // our ACK was lost
    CHECK_ACK(t, 2);
    peer_wait(&p, 62000);
    net_counters(p.n, &n);
    CHECK_EQ(t, n.time_waits, 0);
    finish();
}

static void test_time_wait_gives_way_to_a_newer_connection(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    tcp_close(c, p.w.now);
    peer_send(&p, TCP_FIN | TCP_ACK, 1, 2, 0);
    peer_forget(&p);
    peer_send(&p, TCP_SYN, 0, 0, 0); // an old duplicate
    CHECK_ACK(t, 2);
    peer_send(&p, TCP_SYN, 100000, 0, 0);
    CHECK_FLAGS(t, TCP_SYN | TCP_ACK);
    finish();
}

static void test_simultaneous_close(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, tcp_shutdown(c, TCP_SHUT_WR, p.w.now), 0);
    peer_send(&p, TCP_FIN | TCP_ACK, 1, 1, 0); // crosses ours
    CHECK_EQ(t, tcp_state(c), TCP_CLOSING);
    peer_send(&p, TCP_ACK, 2, 2, 0);
    CHECK_EQ(t, tcp_state(c), TCP_CLOSED); // for its owner; TIME_WAIT stands in the table
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK_EQ(t, n.time_waits, 1);
    finish();
}

static void test_half_close_goes_on_receiving(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, tcp_shutdown(c, TCP_SHUT_WR, p.w.now), 0);
    CHECK_EQ(t, tcp_send(c, "x", 1, 0, p.w.now), -EPIPE);
    peer_send(&p, TCP_ACK, 1, 2, 100);
    uint8_t buf[100];
    CHECK_EQ(t, tcp_recv(c, buf, 100, 0, p.w.now), 100);
    CHECK_EQ(t, tcp_state(c), TCP_FIN_WAIT_2);
    finish();
}

static void test_close_by_the_peer_first(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    peer_send(&p, TCP_FIN | TCP_ACK, 1, 1, 0);
    CHECK_ACK(t, 2);
    tcp_close(c, p.w.now);
    CHECK_FLAGS(t, TCP_FIN | TCP_ACK);
    peer_send(&p, TCP_ACK, 2, 2, 0);
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK(t, n.tcps == 1 && n.time_waits == 0);
    finish();
}

static void test_close_with_unread_data_resets(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    peer_send(&p, TCP_ACK, 1, 1, 10);
    peer_forget(&p);
    tcp_close(c, p.w.now);
    CHECK_FLAGS(t, TCP_RST | TCP_ACK);
    finish();
}

static void test_data_after_close_resets(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    tcp_close(c, p.w.now);
    peer_forget(&p);
    peer_send(&p, TCP_ACK, 1, 2, 10);
    CHECK_FLAGS(t, TCP_RST | TCP_ACK);
    finish();
}

static void test_linger_zero_and_abort_reset(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_LINGER, 0, p.w.now), 0);
    tcp_close(c, p.w.now);
    CHECK_FLAGS(t, TCP_RST | TCP_ACK);
    p.iss += 1000;
    c = peer_connected(&p, l);
    CHECK(t, c != NULL);
    tcp_abort(c, p.w.now);
    CHECK_FLAGS(t, TCP_RST | TCP_ACK);
    finish();
}

static void test_orphan_in_fin_wait_2_ends(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    tcp_close(c, p.w.now);
    peer_send(&p, TCP_ACK, 1, 2, 0);
    peer_wait(&p, 59000);
    struct net_counters n;
    net_counters(p.n, &n);
    CHECK_EQ(t, n.tcps, 2);
    peer_wait(&p, 2000);
    net_counters(p.n, &n);
    CHECK_EQ(t, n.tcps, 1);
    finish();
}

static void test_keepalive(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_KEEPIDLE, 10, p.w.now), 0);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_KEEPINTVL, 2, p.w.now), 0);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_KEEPCNT, 3, p.w.now), 0);
    CHECK_EQ(t, tcp_opt_set(c, TCP_OPT_KEEPALIVE, 1, p.w.now), 0);
    peer_wait(&p, 9900);
    CHECK_SILENCE(t);
    peer_wait(&p, 200);
    const struct heard *h = peer_hear(&p);
    CHECK(t, h != NULL && h->seq == 0 && h->len == 0);
    peer_send(&p, TCP_ACK, 1, 1, 0); // alive
    peer_wait(&p, 9000);
    CHECK_SILENCE(t);
    peer_wait(&p, 20000);
    CHECK_EQ(t, p.heard_len, 5); // one, then three and the reset
    CHECK_EQ(t, p.heard[4].flags, TCP_RST | TCP_ACK);
    CHECK_EQ(t, tcp_take_error(c), ETIMEDOUT);
    // And ours answers a keepalive of the peer.
    finish();
}

static void test_keepalive_of_the_peer_is_answered(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    (void)c;
    peer_send(&p, TCP_ACK, 0, 1, 0);
    CHECK_ACK(t, 1);
    finish();
}

static void test_deferred_accept_waits_for_data(struct test *t)
{
    START(DEFAULTS);
    struct tcp *c;
    CHECK_EQ(t, tcp_opt_set(l, TCP_OPT_DEFER_ACCEPT, 5, p.w.now), 0);
    peer_send(&p, TCP_SYN, 0, 0, 0);
    peer_send(&p, TCP_ACK, 1, 1, 0);
    CHECK_EQ(t, tcp_accept(l, &c, p.w.now), -EAGAIN);
    peer_send(&p, TCP_ACK, 1, 1, 20);
    CHECK_EQ(t, tcp_accept(l, &c, p.w.now), 0);
    CHECK_EQ(t, tcp_rx_ready(c), 20);
    finish();
}

// ---- names, ports, loopback

static void test_loopback_connection(struct test *t)
{
    START(DEFAULTS);
    struct tcp *c, *s;
    CHECK_EQ(t, tcp_open(p.n, &c), 0);
    CHECK_EQ(t, tcp_connect(c, (struct net_addr){NET_IP_LOOPBACK, 80}, p.w.now), -EINPROGRESS);
    CHECK_EQ(t, tcp_state(c), TCP_ESTABLISHED); // all within the call
    CHECK_EQ(t, tcp_accept(l, &s, p.w.now), 0);
    CHECK_EQ(t, tcp_send(c, "hello", 5, 0, p.w.now), 5);
    uint8_t buf[10];
    CHECK_EQ(t, tcp_recv(s, buf, 10, 0, p.w.now), 5);
    CHECK(t, memcmp(buf, "hello", 5) == 0 && p.heard_len == 0);
    struct net_addr a, b;
    tcp_local(c, &a);
    CHECK_EQ(t, tcp_peer(s, &b), 0);
    CHECK(t, a.ip == NET_IP_LOOPBACK && a.ip == b.ip && a.port == b.port);
    CHECK_EQ(t, tcp_connect(c, (struct net_addr){NET_IP_LOOPBACK, 80}, p.w.now), -EISCONN);
    finish();
}

static void test_bind_rules(struct test *t)
{
    START(DEFAULTS);
    struct tcp *a, *b, *any;
    CHECK_EQ(t, tcp_open(p.n, &a), 0);
    CHECK_EQ(t, tcp_open(p.n, &b), 0);
    CHECK_EQ(t, tcp_open(p.n, &any), 0);
    CHECK_EQ(t, tcp_bind(a, (struct net_addr){.port = 80}), -EADDRINUSE); // a wildcard listens
    CHECK_EQ(t, tcp_bind(a, (struct net_addr){p.m->ip, 80}), -EADDRINUSE);
    CHECK_EQ(t, tcp_bind(a, (struct net_addr){0x08080808, 90}), -EADDRNOTAVAIL);
    CHECK_EQ(t, tcp_bind(a, (struct net_addr){p.m->ip, 90}), 0);
    CHECK_EQ(t, tcp_bind(a, (struct net_addr){p.m->ip, 91}), -EINVAL);
    CHECK_EQ(t, tcp_bind(b, (struct net_addr){NET_IP_LOOPBACK, 90}), 0); // another address
    CHECK_EQ(t, tcp_bind(any, (struct net_addr){.port = 90}), -EADDRINUSE);
    CHECK_EQ(t, tcp_opt_set(any, TCP_OPT_REUSEADDR, 1, p.w.now), 0);
    CHECK_EQ(t, tcp_bind(any, (struct net_addr){.port = 90}), -EADDRINUSE); // both must ask
    CHECK_EQ(t, tcp_opt_set(a, TCP_OPT_REUSEADDR, 1, p.w.now), 0);
    CHECK_EQ(t, tcp_opt_set(b, TCP_OPT_REUSEADDR, 1, p.w.now), 0);
    CHECK_EQ(t, tcp_bind(any, (struct net_addr){.port = 90}), 0);
    CHECK_EQ(t, tcp_listen(any, 1), 0);
    CHECK_EQ(t, tcp_listen(a, 1), -EADDRINUSE);
    tcp_close(any, p.w.now);
    CHECK_EQ(t, tcp_listen(a, 1), 0);
    (void)l;
    finish();
}

static void test_reuseaddr_binds_over_time_wait(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    tcp_close(c, p.w.now);
    peer_send(&p, TCP_FIN | TCP_ACK, 1, 2, 0);
    tcp_close(l, p.w.now);
    struct tcp *again;
    CHECK_EQ(t, tcp_open(p.n, &again), 0);
    CHECK_EQ(t, tcp_bind(again, (struct net_addr){.port = 80}), -EADDRINUSE);
    CHECK_EQ(t, tcp_opt_set(again, TCP_OPT_REUSEADDR, 1, p.w.now), 0);
    // Linux asks both for REUSEADDR; the listener that this TIME_WAIT came from had not.
    CHECK_EQ(t, tcp_bind(again, (struct net_addr){.port = 80}), -EADDRINUSE);
    peer_wait(&p, 61000);
    CHECK_EQ(t, tcp_bind(again, (struct net_addr){.port = 80}), 0);
    finish();
}

static void test_poll_of_each_state(struct test *t)
{
    START_CONNECTED(DEFAULTS);
    struct tcp *fresh;
    CHECK_EQ(t, tcp_open(p.n, &fresh), 0);
    CHECK_EQ(t, tcp_poll(fresh), NET_OUT | NET_HUP); // as Linux
    CHECK_EQ(t, tcp_poll(l), 0);
    CHECK_EQ(t, tcp_poll(c), NET_OUT);
    peer_send(&p, TCP_ACK, 1, 1, 1);
    CHECK_EQ(t, tcp_poll(c), NET_IN | NET_OUT);
    peer_send(&p, TCP_FIN | TCP_ACK, 2, 1, 0);
    CHECK_EQ(t, tcp_poll(c), NET_IN | NET_OUT | NET_RDHUP);
    CHECK_EQ(t, tcp_shutdown(c, TCP_SHUT_WR, p.w.now), 0);
    CHECK_EQ(t, tcp_poll(c), NET_IN | NET_OUT | NET_RDHUP | NET_HUP);
    finish();
}

static void test_out_event_comes_when_room_appears(struct test *t)
{
    START_CONNECTED({.sndbuf = 8192});
    int64_t n = peer_stack_sends(&p, c, 60000);
    CHECK(t, n >= 8192 && n < 60000);
    CHECK_EQ(t, peer_stack_sends(&p, c, 1), -EAGAIN);
    CHECK_EQ(t, tcp_poll(c) & NET_OUT, 0);
    p.ready = 0;
    peer_send(&p, TCP_ACK, 1, 1 + (uint32_t)n, 0);
    CHECK(t, p.ready & NET_OUT && tcp_poll(c) & NET_OUT);
    CHECK_EQ(t, tcp_tx_queued(c), 0);
    finish();
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_synack_answers_only_what_was_offered),
        TEST_CASE(test_synack_is_repeated_and_given_up),
        TEST_CASE(test_closed_port_resets),
        TEST_CASE(test_accept_queue_is_bounded),
        TEST_CASE(test_syn_cookie_carries_options),
        TEST_CASE(test_forged_cookie_is_refused),
        TEST_CASE(test_connect_retries_and_times_out),
        TEST_CASE(test_connect_is_refused),
        TEST_CASE(test_simultaneous_open),
        TEST_CASE(test_out_of_order_data_is_sacked_newest_first),
        TEST_CASE(test_second_segment_is_acknowledged_at_once_first_after_40ms),
        TEST_CASE(test_answer_carries_the_ack),
        TEST_CASE(test_window_closes_and_reopens),
        TEST_CASE(test_data_beyond_the_window_is_cut),
        TEST_CASE(test_end_of_stream_behind_a_hole),
        TEST_CASE(test_ranges_are_bounded),
        TEST_CASE(test_initial_window_is_ten_segments),
        TEST_CASE(test_nagle_nodelay_cork),
        TEST_CASE(test_more_waits_200ms_at_most),
        TEST_CASE(test_fast_retransmit_with_sack),
        TEST_CASE(test_fast_retransmit_without_sack),
        TEST_CASE(test_lost_tail_is_probed_before_the_timer),
        TEST_CASE(test_few_packets_need_fewer_duplicates),
        TEST_CASE(test_retransmission_timer_backs_off),
        TEST_CASE(test_user_timeout),
        TEST_CASE(test_zero_window_is_probed),
        TEST_CASE(test_spurious_timeout_is_undone),
        TEST_CASE(test_frag_needed_shrinks_segments),
        TEST_CASE(test_reset_must_be_exact),
        TEST_CASE(test_syn_on_open_connection_is_challenged_at_a_bounded_rate),
        TEST_CASE(test_ack_of_the_future_and_far_past_is_refused),
        TEST_CASE(test_old_time_stamp_is_dropped),
        TEST_CASE(test_polite_close_by_us_and_time_wait),
        TEST_CASE(test_time_wait_gives_way_to_a_newer_connection),
        TEST_CASE(test_simultaneous_close),
        TEST_CASE(test_half_close_goes_on_receiving),
        TEST_CASE(test_close_by_the_peer_first),
        TEST_CASE(test_close_with_unread_data_resets),
        TEST_CASE(test_data_after_close_resets),
        TEST_CASE(test_linger_zero_and_abort_reset),
        TEST_CASE(test_orphan_in_fin_wait_2_ends),
        TEST_CASE(test_keepalive),
        TEST_CASE(test_keepalive_of_the_peer_is_answered),
        TEST_CASE(test_deferred_accept_waits_for_data),
        TEST_CASE(test_loopback_connection),
        TEST_CASE(test_bind_rules),
        TEST_CASE(test_reuseaddr_binds_over_time_wait),
        TEST_CASE(test_poll_of_each_state),
        TEST_CASE(test_out_event_comes_when_room_appears),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
