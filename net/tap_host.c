// SPDX-License-Identifier: Apache-2.0
/* The stack on a TAP device, face to face with Linux: small servers, or one client.
 *
 * usage: tap_host TAP ADDRESS PREFIX_LEN                     serve: TCP and UDP echo on 7, discard
 *                                                            on 9, HTTP on 80 (GET /N: N bytes)
 *        tap_host TAP ADDRESS PREFIX_LEN PEER PORT BYTES     send BYTES of a pattern, shut down,
 *                                                            read to the end, print what came
 *        tap_host TAP dhcp                                   print the lease that a server gives
 * SIGTERM ends it; it then prints its counters. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "net/dhcp.h"
#include "net/tcp.h"
#include "net/udp.h"

enum { FRAME_MAX = 2048, LINE_MAX_BYTES = 4096, BATCH = 64 };
enum service { SERVICE_LISTENER, SERVICE_ECHO, SERVICE_DISCARD, SERVICE_HTTP, SERVICE_CLIENT };

struct conn {
    enum service service;
    enum service gives; // of a listener: what its connections get
    struct tcp *t;
    struct conn *next_ready;
    bool ready, shut;
    uint64_t to_send, sent, got;
    bool pattern_ok;
    char line[LINE_MAX_BYTES]; // HTTP request head
    size_t line_len;
};

static int tap_fd;
static struct net_stack *net;
static struct conn *ready_list;
static struct udp *udp_echo;
static bool udp_ready, done;
static int status;
static volatile sig_atomic_t stopping;

static uint64_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NET_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

// ---- hooks

static void packet_free(struct pkt *p)
{
    free(p);
}

static struct pkt *hook_pkt_alloc(void *ctx, uint32_t size)
{
    (void)ctx;
    struct pkt *p = malloc(sizeof(*p) + size);
    if (p != NULL)
        pkt_init(p, p + 1, size, packet_free);
    return p;
}

static void *hook_mem_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return calloc(1, size);
}

static void hook_mem_free(void *ctx, void *p, size_t size)
{
    (void)ctx, (void)size;
    free(p);
}

static void hook_transmit(void *ctx, struct pkt *p)
{
    (void)ctx;
    if (write(tap_fd, p->data, p->len) < 0 && stopping == 0)
        perror("tap write"); // the frame is lost, as on any wire
    pkt_put(p);
}

static void hook_event(void *ctx, struct tcp *t, struct udp *u, void *user, uint32_t ready)
{
    (void)ctx, (void)t, (void)ready;
    if (u != NULL) {
        udp_ready = true;
        return;
    }
    struct conn *c = user;
    if (c->ready)
        return;
    c->ready = true;
    c->next_ready = ready_list;
    ready_list = c;
}

// ---- services

static struct conn *conn_new(struct tcp *t, enum service service)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (c == NULL)
        abort();
    c->t = t;
    c->service = service;
    c->pattern_ok = true;
    tcp_user_set(t, c);
    hook_event(NULL, t, NULL, c, 0);
    return c;
}

static void conn_end(struct conn *c)
{
    tcp_close(c->t, clock_now());
    for (struct conn **at = &ready_list; *at != NULL; at = &(*at)->next_ready)
        if (*at == c) {
            *at = c->next_ready;
            break;
        }
    free(c);
}

/* Send up to the pattern's end. */
static int send_pattern(struct conn *c)
{
    while (c->sent < c->to_send) {
        uint8_t *p;
        int64_t n = tcp_tx_span(c->t, c->to_send - c->sent, &p);
        if (n < 0) {
            tcp_tx_push(c->t, false, clock_now());
            return (int)n;
        }
        for (int64_t i = 0; i < n; i++)
            p[i] = pattern(c->sent + (uint64_t)i);
        tcp_tx_done(c->t, (uint32_t)n);
        c->sent += (uint64_t)n;
    }
    tcp_tx_push(c->t, false, clock_now());
    return 0;
}

static void shut(struct conn *c)
{
    if (!c->shut && tcp_shutdown(c->t, TCP_SHUT_WR, clock_now()) == 0)
        c->shut = true;
}

/* Each service: 0 keep the connection, <0 it is over. */
static int serve_echo(struct conn *c)
{
    const uint8_t *from;
    uint8_t *to;
    for (;;) {
        int64_t n = tcp_rx_span(c->t, 0, &from);
        if (n == 0) {
            shut(c);
            return -EPIPE;
        }
        if (n < 0)
            return (int)n;
        int64_t room = tcp_tx_span(c->t, (uint64_t)n, &to);
        if (room < 0)
            return (int)room;
        memcpy(to, from, (size_t)room);
        tcp_tx_done(c->t, (uint32_t)room);
        tcp_tx_push(c->t, false, clock_now());
        tcp_rx_done(c->t, (uint64_t)room, clock_now());
    }
}

static int serve_discard(struct conn *c)
{
    const uint8_t *from;
    int64_t n;
    while ((n = tcp_rx_span(c->t, 0, &from)) > 0) {
        c->got += (uint64_t)n;
        tcp_rx_done(c->t, (uint64_t)n, clock_now());
    }
    return n == 0 ? -EPIPE : (int)n;
}

static int http_answer(struct conn *c)
{
    char head[128];
    unsigned long long bytes = 0;
    bool ok = sscanf(c->line, "GET /%llu HTTP/1.1", &bytes) == 1;
    int len = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %llu\r\n\r\n",
                       ok ? "200 OK" : "404 Not Found", ok ? bytes : 0);
    int64_t n = tcp_send(c->t, head, (size_t)len, TCP_MORE, clock_now());
    if (n != len)
        return -EPIPE; // the buffer of a keep-alive connection has room for a head
    c->sent = 0;
    c->to_send = ok ? bytes : 0;
    return 0;
}

static int serve_http(struct conn *c)
{
    for (;;) {
        int r = send_pattern(c);
        if (r < 0)
            return r;
        char *end;
        while ((end = memmem(c->line, c->line_len, "\r\n\r\n", 4)) == NULL) {
            size_t room = sizeof(c->line) - 1 - c->line_len;
            if (room == 0)
                return -EPIPE;
            int64_t n = tcp_recv(c->t, c->line + c->line_len, room, 0, clock_now());
            if (n <= 0)
                return n == 0 ? -EPIPE : (int)n;
            c->line_len += (size_t)n;
            c->line[c->line_len] = 0;
        }
        r = http_answer(c);
        if (r < 0)
            return r;
        c->line_len -= (size_t)(end + 4 - c->line);
        memmove(c->line, end + 4, c->line_len);
    }
}

static int run_client(struct conn *c)
{
    const uint8_t *p;
    int64_t n;
    int r = send_pattern(c);
    if (r == 0)
        shut(c);
    else if (r != -EAGAIN)
        return r;
    while ((n = tcp_rx_span(c->t, 0, &p)) > 0) {
        for (int64_t i = 0; i < n; i++)
            c->pattern_ok &= p[i] == pattern(c->got + (uint64_t)i);
        c->got += (uint64_t)n;
        tcp_rx_done(c->t, (uint64_t)n, clock_now());
    }
    return n == 0 ? -EPIPE : (int)n;
}

static void client_report(const struct conn *c, int error)
{
    bool ended = error == -EPIPE;
    printf("client: sent %llu received %llu pattern %s%s%s\n", (unsigned long long)c->sent,
           (unsigned long long)c->got, c->pattern_ok ? "ok" : "wrong", ended ? "" : " error ",
           ended ? "" : strerror(-error));
    status = ended && c->pattern_ok ? 0 : 1;
    done = true;
}

static void accept_all(struct conn *listener)
{
    struct tcp *t;
    while (tcp_accept(listener->t, &t, clock_now()) == 0)
        conn_new(t, listener->gives);
}

static void conn_run(struct conn *c)
{
    int r = 0;
    c->ready = false;
    switch (c->service) {
    case SERVICE_LISTENER:
        accept_all(c);
        return;
    case SERVICE_ECHO:
        r = serve_echo(c);
        break;
    case SERVICE_DISCARD:
        r = serve_discard(c);
        break;
    case SERVICE_HTTP:
        r = serve_http(c);
        break;
    case SERVICE_CLIENT:
        r = run_client(c);
        break;
    }
    if (r == 0 || r == -EAGAIN || r == -ENOMEM)
        return;
    if (c->service == SERVICE_CLIENT)
        client_report(c, r);
    conn_end(c);
}

static void udp_run(void)
{
    uint8_t buf[FRAME_MAX];
    struct net_addr from;
    int64_t n;
    udp_ready = false;
    while ((n = udp_recv(udp_echo, buf, sizeof(buf), &from)) != -EAGAIN)
        if (n >= 0 && udp_send(udp_echo, &from, buf, (size_t)n, clock_now()) < 0)
            fputs("udp echo: not sent\n", stderr);
}

static int serve(uint16_t port, enum service gives)
{
    struct tcp *t;
    int r;
    if ((r = tcp_open(net, &t)) < 0 || (r = tcp_bind(t, (struct net_addr){.port = port})) < 0 ||
        (r = tcp_listen(t, 128)) < 0)
        return r;
    conn_new(t, SERVICE_LISTENER)->gives = gives;
    return 0;
}

static int serve_all(void)
{
    int r;
    if ((r = serve(7, SERVICE_ECHO)) < 0 || (r = serve(9, SERVICE_DISCARD)) < 0 ||
        (r = serve(80, SERVICE_HTTP)) < 0 || (r = udp_open(net, &udp_echo)) < 0)
        return r;
    udp_user_set(udp_echo, &udp_echo);
    return udp_bind(udp_echo, (struct net_addr){.port = 7});
}

static int start_client(uint32_t ip, uint16_t port, uint64_t bytes)
{
    struct tcp *t;
    int r = tcp_open(net, &t);
    if (r < 0)
        return r;
    struct conn *c = conn_new(t, SERVICE_CLIENT);
    c->to_send = bytes;
    r = tcp_connect(t, (struct net_addr){ip, port}, clock_now());
    return r == -EINPROGRESS ? 0 : r;
}

// ---- the loop

static void read_frames(void)
{
    for (int i = 0; i < BATCH; i++) {
        struct pkt *p = hook_pkt_alloc(NULL, FRAME_MAX);
        if (p == NULL)
            return;
        p->data += PKT_DEV_HEADROOM;
        ssize_t n = read(tap_fd, p->data, FRAME_MAX - PKT_DEV_HEADROOM);
        if (n <= 0) {
            pkt_put(p);
            return;
        }
        p->len = (uint32_t)n;
        net_input(net, p, clock_now());
    }
}

static void run_ready(void)
{
    struct conn *c;
    while ((c = ready_list) != NULL) {
        ready_list = c->next_ready;
        conn_run(c);
    }
    if (udp_ready)
        udp_run();
}

static int wait_ms(void)
{
    uint64_t next = net_next_deadline(net), now = clock_now();
    if (next == NET_NEVER)
        return 1000;
    return next <= now ? 0 : (int)MIN((next - now) / NET_NS_PER_MS + 1, (uint64_t)1000);
}

static bool print_lease(void)
{
    struct dhcp_lease l;
    if (net_dhcp_lease(net, &l) < 0)
        return false;
    printf("lease: ip %08x/%u router %08x dns %08x\n", l.ip, l.prefix_len, l.router,
           l.dns_len > 0 ? l.dns[0] : 0);
    return true;
}

static void loop(bool dhcp)
{
    uint64_t quiet_at = NET_NEVER; // let the last ACKs go out
    while (stopping == 0 && clock_now() < quiet_at) {
        struct pollfd fd = {.fd = tap_fd, .events = POLLIN};
        run_ready();
        if (poll(&fd, 1, done ? 10 : wait_ms()) > 0)
            read_frames();
        net_timer(net, clock_now());
        done |= dhcp && print_lease();
        if (done && quiet_at == NET_NEVER)
            quiet_at = clock_now() + 50 * NET_NS_PER_MS;
    }
}

static void print_counters(void)
{
    struct net_counters c;
    net_counters(net, &c);
#define PRINT_COUNTER(name)                                                                        \
    if (c.name != 0)                                                                               \
        printf("%s %llu\n", #name, (unsigned long long)c.name);
    NET_COUNTERS(PRINT_COUNTER)
    printf("tcps %u\n", c.tcps);
}

static int tap_open(const char *name)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void on_term(int sig)
{
    (void)sig;
    stopping = 1;
}

static uint32_t address(const char *text)
{
    struct in_addr a;
    return inet_pton(AF_INET, text, &a) == 1 ? ntohl(a.s_addr) : 0;
}

static int stack_new(void)
{
    struct net_config c = {
        .hooks = {hook_pkt_alloc, hook_mem_alloc, hook_mem_free, hook_transmit, hook_event},
        .mac = {0x02, 0x73, 0x6b, 0x00, 0x00, 0x01},
        .mtu = 1500,
    };
    if (getrandom(c.secret, sizeof(c.secret), 0) != (ssize_t)sizeof(c.secret))
        return -EIO;
    return net_new(&c, &net);
}

static int start(int argc, char **argv)
{
    if (strcmp(argv[2], "dhcp") == 0)
        return net_dhcp_start(net, clock_now());
    if (argc != 4 && argc != 7)
        return -EINVAL;
    int r = net_addr_add(net, address(argv[2]), (uint32_t)strtoul(argv[3], NULL, 10), clock_now());
    if (r < 0)
        return r;
    if (argc == 4)
        return serve_all();
    return start_client(address(argv[4]), (uint16_t)strtoul(argv[5], NULL, 10),
                        strtoull(argv[6], NULL, 10));
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: tap_host TAP ADDRESS PREFIX_LEN [PEER PORT BYTES] | TAP dhcp\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, on_term);
    tap_fd = tap_open(argv[1]);
    if (tap_fd < 0) {
        perror(argv[1]);
        return 1;
    }
    int r = stack_new();
    if (r == 0)
        r = start(argc, argv);
    if (r < 0) {
        fprintf(stderr, "tap_host: %s\n", strerror(-r));
        return 1;
    }
    puts("ready");
    loop(strcmp(argv[2], "dhcp") == 0);
    print_counters();
    net_free(net);
    return status;
}
