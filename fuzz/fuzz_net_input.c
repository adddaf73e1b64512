// SPDX-License-Identifier: Apache-2.0
/* The whole stack fed with frames: a listener, an established connection that has data both ways, a
 * connection being opened, UDP, DHCP. The input is a list of records:
 *     kind u8 | length u8 | bytes...
 * kind 0: a raw frame. kind 1: bytes over a valid TCP segment of the established connection
 * (payload and header are changed, then checksums are made right, so that the fuzzer gets past
 * them). kind 2: the same to the listener. kind 3: time passes. kind 4: the owner reads, writes,
 * shuts. */
#include <stdlib.h>
#include <string.h>

#include "net/wire.h"
#include "net/world_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUR_PORT = 80, RECORDS_MAX = 400 };

struct fuzz {
    struct world w;
    struct machine *m;
    struct tcp *listener, *open, *opening;
    struct udp *udp;
    uint32_t our_seq, our_ack; // of the last segment that the stack sent to us
};

struct segment {
    struct eth_hdr eth;
    struct ip_hdr ip;
    struct tcp_hdr tcp;
    uint8_t rest[256];
} PACKED;

static bool tap(struct world *w, struct machine *m, const uint8_t *frame, size_t len)
{
    (void)m;
    struct fuzz *f = w->user;
    const struct segment *s = (const struct segment *)frame;
    if (len >= 54 && be16(s->eth.type) == ETH_TYPE_IP && s->ip.proto == IP_PROTO_TCP &&
        be16(s->tcp.src) == OUR_PORT) {
        f->our_seq = be32(s->tcp.seq) + ((s->tcp.flags & (TCP_SYN | TCP_FIN)) != 0);
        f->our_ack = be32(s->tcp.ack);
    }
    return true;
}

/* A segment of the peer 10.0.0.9:9999 with the given payload, checksums right. */
static void segment_send(struct fuzz *f, struct segment *s, size_t rest)
{
    size_t len = sizeof(s->tcp) + rest;
    memcpy(s->eth.dst, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
    memcpy(s->eth.src, (uint8_t[]){2, 0, 0, 0, 0, 9}, 6);
    s->eth.type = be16(ETH_TYPE_IP);
    s->ip = (struct ip_hdr){.ver_ihl = 0x45,
                            .len = be16((uint16_t)(20 + len)),
                            .ttl = 64,
                            .proto = IP_PROTO_TCP,
                            .src = be32(0x0a000009),
                            .dst = be32(f->m->ip)};
    s->ip.csum = csum_fold(csum_add(&s->ip, sizeof(s->ip), 0));
    s->tcp.csum = 0;
    s->tcp.csum = csum_fold(
        csum_add(&s->tcp, len, csum_pseudo(0x0a000009, f->m->ip, IP_PROTO_TCP, (uint32_t)len)));
    world_inject(f->m, s, 34 + len);
}

static struct segment blank(const struct fuzz *f, uint16_t from, uint8_t flags)
{
    struct segment s = {0};
    s.tcp = (struct tcp_hdr){.src = be16(from),
                             .dst = be16(OUR_PORT),
                             .seq = be32(f->our_ack),
                             .ack = be32(f->our_seq),
                             .off = 5 << 4,
                             .flags = flags,
                             .wnd = be16(8192)};
    return s;
}

static void start(struct fuzz *f)
{
    static const struct link_model link = {.delay = NET_NS_PER_MS};
    struct net_config config = {.syn_max = 4, .rcvbuf = 16384, .time_wait_max = 4};
    world_init(&f->w, 1, 1, &config, &link);
    f->m = &f->w.machines[0];
    f->w.user = f;
    f->w.tap = tap;
    struct net_stack *n = f->m->net;
    if (tcp_open(n, &f->listener) < 0 ||
        tcp_bind(f->listener, (struct net_addr){.port = OUR_PORT}) < 0 ||
        tcp_listen(f->listener, 4) < 0 || udp_open(n, &f->udp) < 0 ||
        udp_bind(f->udp, (struct net_addr){.port = 53}) < 0 || tcp_open(n, &f->opening) < 0 ||
        net_dhcp_start(n, f->w.now) < 0)
        abort();
    // An ARP request makes the peer known.
    struct {
        struct eth_hdr eth;
        struct arp_msg arp;
    } PACKED a = {.eth = {.dst = {2, 0, 0, 0, 0, 1}, .type = be16(ETH_TYPE_ARP)},
                  .arp = {.hw = be16(1),
                          .proto = be16(ETH_TYPE_IP),
                          .hw_len = 6,
                          .proto_len = 4,
                          .op = be16(ARP_REQUEST),
                          .sender_mac = {2, 0, 0, 0, 0, 9},
                          .sender_ip = be32(0x0a000009),
                          .target_ip = be32(f->m->ip)}};
    world_inject(f->m, &a, sizeof(a));
    // The handshake of the established connection, with every option.
    static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
                                      0, 1, 0, 0,    0, 0, 1, 3,  3, 7};
    struct segment s = blank(f, 9999, TCP_SYN);
    s.tcp.seq = be32(1000);
    s.tcp.off = 10 << 4;
    memcpy(s.rest, options, sizeof(options));
    segment_send(f, &s, sizeof(options));
    s = blank(f, 9999, TCP_ACK);
    memcpy(s.rest, (uint8_t[]){1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 0}, 12);
    s.tcp.off = 8 << 4;
    segment_send(f, &s, 12);
    if (tcp_accept(f->listener, &f->open, f->w.now) < 0)
        abort();
    static const uint8_t bulk[8000];
    if (tcp_send(f->open, bulk, sizeof(bulk), 0, f->w.now) < 0)
        abort();
    int r = tcp_connect(f->opening, (struct net_addr){0x0a000009, 7}, f->w.now);
    if (r != -EINPROGRESS)
        abort();
}

/* Change the segment as the record says: a mask of fields, then their new values. */
static void segment_change(struct fuzz *f, uint16_t from, const uint8_t *p, size_t len)
{
    struct segment s = blank(f, from, TCP_ACK);
    struct {
        uint8_t mask, flags, off, wnd;
        uint16_t seq, ack; // added, minus 0x8000
    } PACKED c = {0};
    size_t head = MIN(len, sizeof(c));
    memcpy(&c, p, head);
    if (c.mask & 1)
        s.tcp.flags = c.flags;
    if (c.mask & 2)
        s.tcp.seq = be32(f->our_ack + c.seq - 0x8000);
    if (c.mask & 4)
        s.tcp.ack = be32(f->our_seq + c.ack - 0x8000);
    if (c.mask & 8)
        s.tcp.wnd = be16(c.wnd);
    if (c.mask & 16)
        s.tcp.off = c.off;
    size_t rest = MIN(len - head, sizeof(s.rest));
    memcpy(s.rest, p + head, rest);
    segment_send(f, &s, rest);
}

static void owner_acts(struct fuzz *f, const uint8_t *p, size_t len)
{
    uint8_t buf[2000] = {0};
    uint8_t what = len > 0 ? p[0] : 0;
    struct tcp *t;
    int r = 0;
    switch (what % 8) {
    case 0:
        r = (int)tcp_recv(f->open, buf, sizeof(buf), 0, f->w.now);
        break;
    case 1:
        r = (int)tcp_send(f->open, buf, sizeof(buf), what & 8 ? TCP_MORE : 0, f->w.now);
        break;
    case 2:
        r = tcp_shutdown(f->open, what >> 3 & 1, f->w.now);
        break;
    case 3:
        r = tcp_opt_set(f->open, (enum tcp_opt)(what >> 3), len > 1 ? p[1] : 1, f->w.now);
        break;
    case 4:
        if (tcp_accept(f->listener, &t, f->w.now) == 0)
            tcp_close(t, f->w.now);
        break;
    case 5:
        r = (int)udp_recv(f->udp, buf, sizeof(buf), NULL);
        break;
    case 6:
        r = (int)tcp_recv(f->opening, buf, sizeof(buf), 0, f->w.now);
        break;
    default:
        r = tcp_take_error(f->open);
        break;
    }
    (void)r; // any outcome is fine
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz f;
    memset(&f, 0, sizeof(f));
    start(&f);
    for (unsigned i = 0; i < RECORDS_MAX && size >= 2; i++) {
        uint8_t kind = data[0];
        size_t len = MIN((size_t)data[1], size - 2);
        const uint8_t *p = data + 2;
        data += 2 + len;
        size -= 2 + len;
        switch (kind % 5) {
        case 0:
            world_inject(f.m, p, len);
            break;
        case 1:
            segment_change(&f, 9999, p, len);
            break;
        case 2:
            segment_change(&f, (uint16_t)(1 + kind), p, len);
            break;
        case 3:
            f.w.now += len > 0 ? (1ull << (p[0] % 40)) : NET_NS_PER_MS;
            net_timer(f.m->net, f.w.now);
            break;
        default:
            owner_acts(&f, p, len);
            break;
        }
    }
    tcp_close(f.open, f.w.now);
    tcp_abort(f.opening, f.w.now);
    tcp_close(f.listener, f.w.now);
    for (unsigned i = 0; i < 200; i++) { // nothing may keep a connection for ever
        f.w.now += 60 * NET_NS_PER_S;
        net_timer(f.m->net, f.w.now);
    }
    struct net_counters c;
    net_counters(f.m->net, &c);
    ASSERT(c.tcps == 0 && c.time_waits == 0 && c.half_open == 0);
    world_deinit(&f.w);
    ASSERT(f.m->packets == 0 && f.m->bytes == 0);
    return 0;
}
