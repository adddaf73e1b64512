// SPDX-License-Identifier: Apache-2.0
/* What the TCP stack makes of a long path, in virtual time: goodput over 100 ms at 1 Gbit/s with
 * and without loss, and the time that one response of a given size takes on a new connection.
 *
 * usage: net_world [requests N]   with `requests`: N keep-alive requests on a path without delay,
 * to be counted by an instruction profiler (valgrind --tool=callgrind) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/world_host.h"

enum { PORT = 80, CHUNK = 65536 };

struct transfer {
    struct world w;
    struct tcp *listener, *server, *client;
    uint64_t to_send, sent, got;
    bool ready;
};

static void on_event(struct world *w, struct machine *m, struct tcp *t, struct udp *u, void *user,
                     uint32_t ready)
{
    (void)m, (void)t, (void)u, (void)user, (void)ready;
    ((struct transfer *)w->user)->ready = true;
}

static void must(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "net_world: %s: %d\n", what, r);
        exit(1);
    }
}

/* Let the machines learn each other's link address first: it is not part of what is measured. */
static void neighbours_meet(struct world *w)
{
    struct udp *u;
    must(udp_open(w->machines[0].net, &u), "udp");
    must((int)udp_send(u, &(struct net_addr){w->machines[1].ip, 9}, "", 0, w->now), "udp send");
    world_step(w, w->now);
    while (world_step(w, w->now + 400 * NET_NS_PER_MS))
        if (w->heap_len == 0)
            break;
    udp_close(u);
}

static void transfer_init(struct transfer *x, const struct link_model *link, uint64_t seed)
{
    memset(x, 0, sizeof(*x));
    struct net_config config = {.tx_csum = true};
    world_init(&x->w, seed, 2, &config, link);
    x->w.user = x;
    x->w.event = on_event;
    must(tcp_open(x->w.machines[1].net, &x->listener), "open");
    must(tcp_bind(x->listener, (struct net_addr){.port = PORT}), "bind");
    must(tcp_listen(x->listener, 16), "listen");
    tcp_user_set(x->listener, x);
    neighbours_meet(&x->w);
    must(tcp_open(x->w.machines[0].net, &x->client), "open");
    tcp_user_set(x->client, x);
    int r = tcp_connect(x->client, (struct net_addr){x->w.machines[1].ip, PORT}, x->w.now);
    must(r == -EINPROGRESS ? 0 : r, "connect");
}

/* The server sends as soon as the client is there; the client reads. */
static void transfer_run(struct transfer *x)
{
    static uint8_t buf[CHUNK];
    x->ready = false;
    if (x->server == NULL && tcp_accept(x->listener, &x->server, x->w.now) == 0)
        tcp_user_set(x->server, x);
    while (x->server != NULL && x->sent < x->to_send) {
        size_t n = (size_t)MIN(x->to_send - x->sent, (uint64_t)sizeof(buf));
        int64_t put = tcp_send(x->server, buf, n, 0, x->w.now);
        if (put < 0)
            break;
        x->sent += (uint64_t)put;
    }
    int64_t n;
    while ((n = tcp_recv(x->client, buf, sizeof(buf), 0, x->w.now)) > 0)
        x->got += (uint64_t)n;
}

static void transfer_until(struct transfer *x, uint64_t until, uint64_t bytes)
{
    while (x->w.now < until && x->got < bytes) {
        world_step(&x->w, until);
        if (x->ready)
            transfer_run(x);
    }
}

static struct link_model path(uint64_t rtt_ms, uint32_t loss_ppm)
{
    return (struct link_model){.delay = rtt_ms * NET_NS_PER_MS / 2,
                               .rate = 1000000000,
                               .queue = 8 << 20,
                               .loss = loss_ppm};
}

static void goodput(uint32_t loss_ppm)
{
    enum { SEEDS = 5, SECONDS = 30 };
    double sum = 0;
    uint64_t timeouts = 0, again = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct transfer x;
        struct link_model link = path(100, loss_ppm);
        transfer_init(&x, &link, seed);
        x.to_send = UINT64_MAX;
        transfer_until(&x, x.w.now + SECONDS * NET_NS_PER_S, UINT64_MAX);
        struct net_counters c;
        net_counters(x.w.machines[1].net, &c);
        timeouts += c.tcp_timeouts;
        again += c.tcp_retransmits;
        sum += (double)x.got * 8 / SECONDS / 1e6;
        world_deinit(&x.w);
    }
    printf("%9.1f %% %10.1f %12.1f %10.1f\n", loss_ppm / 1e4, sum / SEEDS, (double)again / SEEDS,
           (double)timeouts / SEEDS);
}

/* ms from connect() to the last byte, or to the end of patience. */
static double response_time(uint64_t bytes, uint32_t loss_ppm, uint64_t seed)
{
    struct transfer x;
    struct link_model link = path(100, loss_ppm);
    transfer_init(&x, &link, seed);
    uint64_t start = x.w.now;
    x.to_send = bytes;
    transfer_until(&x, start + 60 * NET_NS_PER_S, bytes);
    double ms = (double)(x.w.now - start) / 1e6;
    world_deinit(&x.w);
    return ms;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void response(uint64_t bytes)
{
    enum { SEEDS = 1000 };
    static const uint32_t losses[] = {0, 10000, 30000};
    static double ms[SEEDS];
    printf("%9llu B", (unsigned long long)bytes);
    for (size_t i = 0; i < ARRAY_LEN(losses); i++) {
        double sum = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++)
            sum += ms[seed] = response_time(bytes, losses[i], seed);
        qsort(ms, SEEDS, sizeof(ms[0]), by_size);
        printf(" %7.0f / %-5.0f", sum / SEEDS, ms[SEEDS * 99 / 100]);
    }
    puts("");
}

static void requests(unsigned n)
{
    static const char ask[] = "GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n"
                                 "Welcome to my website!";
    char buf[256];
    struct transfer x;
    struct link_model link = {.delay = 100000};
    transfer_init(&x, &link, 1);
    unsigned done = 0;
    bool asked = false;
    while (done < n) {
        world_step(&x.w, NET_NEVER - 1);
        if (x.server == NULL && tcp_accept(x.listener, &x.server, x.w.now) == 0)
            tcp_user_set(x.server, &x);
        if (x.server == NULL)
            continue;
        if (!asked) {
            asked = true;
            must((int)tcp_send(x.client, ask, sizeof(ask) - 1, 0, x.w.now), "ask");
        }
        if (tcp_rx_ready(x.server) > 0) {
            must((int)tcp_recv(x.server, buf, sizeof(buf), 0, x.w.now), "read");
            must((int)tcp_send(x.server, answer, sizeof(answer) - 1, 0, x.w.now), "answer");
        }
        if (tcp_rx_ready(x.client) > 0) {
            must((int)tcp_recv(x.client, buf, sizeof(buf), 0, x.w.now), "read");
            asked = false;
            done++;
        }
    }
    struct net_counters c;
    net_counters(x.w.machines[1].net, &c);
    printf("%u requests; server: %llu frames in, %llu out\n", done, (unsigned long long)c.frames_in,
           (unsigned long long)c.frames_out);
    world_deinit(&x.w);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "requests") == 0) {
        requests((unsigned)strtoul(argv[2], NULL, 10));
        return 0;
    }
    puts(
        "TCP, 1 Gbit/s, 100 ms round trip, 30 s, mean of 5 seeds (lwIP on the same path: 17 Mbit/s "
        "without loss)");
    printf("%11s %10s %12s %10s\n", "loss", "Mbit/s", "sent again", "time-outs");
    static const uint32_t losses[] = {0, 1000, 10000};
    for (size_t i = 0; i < ARRAY_LEN(losses); i++)
        goodput(losses[i]);
    puts("\nTime from connect() to the last byte of a response, 100 ms round trip: mean / 99 % in "
         "ms");
    printf("%11s %10s %15s %15s\n", "size", "no loss", "1 % loss", "3 % loss");
    static const uint64_t sizes[] = {100, 14000, 100000, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        response(sizes[i]);
    return 0;
}
