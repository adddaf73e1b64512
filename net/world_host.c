// SPDX-License-Identifier: Apache-2.0
#include "net/world_host.h"

#include <stdlib.h>
#include <string.h>

#include "net/wire.h"

struct frame {
    uint64_t at, order;
    struct machine *to;
    bool csum_ok;
    uint32_t len;
    uint8_t data[];
};

uint64_t world_random(struct world *w)
{
    w->random += 0x9e3779b97f4a7c15; // splitmix64
    uint64_t z = w->random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

// ---- memory

static void packet_free(struct pkt *p)
{
    struct machine *m = (struct machine *)(uintptr_t)p->dev;
    m->packets--;
    free(p);
}

static struct pkt *packet_new(struct machine *m, uint32_t size)
{
    struct pkt *p = malloc(sizeof(*p) + size);
    if (p == NULL)
        abort();
    pkt_init(p, p + 1, size, packet_free);
    p->dev = (uintptr_t)m;
    m->packets++;
    return p;
}

static struct pkt *hook_pkt_alloc(void *ctx, uint32_t size)
{
    struct machine *m = ctx;
    return world_chance(m->world, m->alloc_fail) ? NULL : packet_new(m, size);
}

static void *hook_mem_alloc(void *ctx, size_t size)
{
    struct machine *m = ctx;
    if (world_chance(m->world, m->alloc_fail))
        return NULL;
    m->bytes += (int64_t)size;
    return calloc(1, size);
}

static void hook_mem_free(void *ctx, void *p, size_t size)
{
    struct machine *m = ctx;
    m->bytes -= (int64_t)size;
    free(p);
}

// ---- the wire

static bool earlier(const struct frame *a, const struct frame *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct world *w, struct frame *f)
{
    if (w->heap_len == w->heap_max) {
        w->heap_max = w->heap_max == 0 ? 256 : 2 * w->heap_max;
        w->heap = realloc(w->heap, w->heap_max * sizeof(struct frame *));
        if (w->heap == NULL)
            abort();
    }
    size_t i = w->heap_len++;
    for (; i > 0 && earlier(f, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = f;
}

static struct frame *heap_pop(struct world *w)
{
    struct frame *first = w->heap[0], *last = w->heap[--w->heap_len];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < w->heap_len) {
        if (child + 1 < w->heap_len && earlier(w->heap[child + 1], w->heap[child]))
            child++;
        if (!earlier(w->heap[child], last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

static void frame_send(struct machine *from, struct machine *to, const uint8_t *data, uint32_t len,
                       uint64_t at, bool csum_ok)
{
    struct world *w = from->world;
    struct frame *f = malloc(sizeof(*f) + len);
    if (f == NULL)
        abort();
    uint64_t jitter = from->out.jitter != 0 ? world_random(w) % from->out.jitter : 0;
    *f = (struct frame){
        .at = at + from->out.delay + jitter, .order = w->order++, .to = to, .len = len};
    f->csum_ok = csum_ok;
    memcpy(f->data, data, len);
    // A damaged Ethernet frame would be dropped for its FCS; what checksums must find lies behind.
    if (len > 14 && load_be16(data + 12) == ETH_TYPE_IP && world_chance(w, from->out.damage)) {
        f->data[14 + world_random(w) % (len - 14)] ^= (uint8_t)(1u << world_random(w) % 8);
        f->csum_ok = false;
    }
    heap_push(w, f);
}

/* When the frame has left the sender's device; false: its queue is full. */
static bool wire_enter(struct machine *m, uint32_t len, uint64_t *ret_at)
{
    uint64_t now = m->world->now;
    *ret_at = now;
    if (m->out.rate == 0)
        return true;
    uint64_t start = MAX(now, m->busy_until);
    uint64_t waiting = (start - now) * (m->out.rate / 1000) / 8000000; // bytes: ns x kbit/s / 8e6
    if (m->out.queue != 0 && waiting + len > m->out.queue)
        return false;
    m->busy_until = start + (uint64_t)len * 8 * NET_NS_PER_S / m->out.rate;
    *ret_at = m->busy_until;
    return true;
}

/* What the router in between answers to a packet that is too long. */
static void refuse_long(struct machine *m, const uint8_t *data)
{
    struct {
        struct eth_hdr eth;
        struct ip_hdr ip;
        struct icmp_hdr icmp;
        uint8_t quote[28];
    } PACKED f = {
        .eth = {.type = be16(ETH_TYPE_IP)},
        .ip = {.ver_ihl = 0x45,
               .len = be16(56),
               .ttl = 64,
               .proto = IP_PROTO_ICMP,
               .src = be32(0x0a0000fe),
               .dst = be32(m->ip)},
        .icmp = {.type = ICMP_UNREACHABLE, .code = ICMP_FRAG_NEEDED, .rest = be32(m->out.mtu)}};
    memcpy(f.eth.dst, data + 6, 6);
    memcpy(f.quote, data + 14, sizeof(f.quote));
    f.ip.csum = csum_fold(csum_add(&f.ip, sizeof(f.ip), 0));
    f.icmp.csum = csum_fold(csum_add(&f.icmp, sizeof(f.icmp) + sizeof(f.quote), 0));
    frame_send(m, m, (const uint8_t *)&f, sizeof(f), m->world->now, false);
}

static void wire_send(struct machine *m, const uint8_t *data, uint32_t len, bool csum_ok)
{
    struct world *w = m->world;
    uint64_t at;
    m->frames_out++;
    if (w->tap != NULL && w->tap(w, m, data, len))
        return;
    // Neighbour discovery gives up after three tries: its frames are spared.
    bool ip = len > 14 && load_be16(data + 12) == ETH_TYPE_IP;
    if (ip && m->out.mtu != 0 && len > m->out.mtu + 14) {
        refuse_long(m, data);
        return;
    }
    if (!wire_enter(m, len, &at) || (ip && world_chance(w, m->out.loss))) {
        m->frames_dropped++;
        return;
    }
    unsigned copies = world_chance(w, m->out.repeat) ? 2 : 1;
    for (unsigned c = 0; c < copies; c++)
        for (unsigned i = 0; i < w->machines_len; i++)
            if (&w->machines[i] != m)
                frame_send(m, &w->machines[i], data, len, at, csum_ok);
}

static void hook_transmit(void *ctx, struct pkt *p)
{
    struct machine *m = ctx;
    ASSERT(pkt_headroom(p) >= PKT_DEV_HEADROOM);
    if (p->flags & PKT_CSUM_PARTIAL) { // what the device does
        ASSERT(m->completes_csum && p->csum_start + p->csum_offset + 2u <= p->len);
        uint8_t copy[10240];
        ASSERT(p->len <= sizeof(copy));
        memcpy(copy, p->data, p->len);
        uint16_t csum = csum_fold(csum_add(copy + p->csum_start, p->len - p->csum_start, 0));
        memcpy(copy + p->csum_start + p->csum_offset, &csum, 2);
        wire_send(m, copy, p->len, true);
    } else {
        wire_send(m, p->data, p->len, false);
    }
    if (world_random(m->world) % 4 == 0) { // a device finishes some time later
        struct pkt **slot = &m->held[world_random(m->world) % ARRAY_LEN(m->held)];
        pkt_put(*slot);
        *slot = p;
    } else {
        pkt_put(p);
    }
}

static void hook_event(void *ctx, struct tcp *t, struct udp *u, void *user, uint32_t ready)
{
    struct machine *m = ctx;
    if (m->world->event != NULL)
        m->world->event(m->world, m, t, u, user, ready);
}

static void deliver(struct machine *m, const uint8_t *data, uint32_t len, bool csum_ok)
{
    struct pkt *p = packet_new(m, MAX(len + PKT_DEV_HEADROOM, (uint32_t)PKT_SIZE_DEFAULT));
    p->data += PKT_DEV_HEADROOM;
    memcpy(p->data, data, len);
    p->len = len;
    p->flags = csum_ok ? PKT_CSUM_OK : 0;
    net_input(m->net, p, m->world->now);
}

void world_inject(struct machine *m, const void *frame, size_t len)
{
    deliver(m, frame, (uint32_t)len, false);
}

// ---- the world

void world_init(struct world *w, uint64_t seed, unsigned machines, const struct net_config *config,
                const struct link_model *link)
{
    *w = (struct world){.random = seed, .machines_len = machines};
    w->now = NET_NS_PER_S;
    for (unsigned i = 0; i < machines; i++) {
        struct machine *m = &w->machines[i];
        struct net_config c = config != NULL ? *config : (struct net_config){0};
        c.hooks = (struct net_hooks){hook_pkt_alloc, hook_mem_alloc, hook_mem_free, hook_transmit,
                                     hook_event};
        c.ctx = m;
        c.mtu = c.mtu != 0 ? c.mtu : 1500;
        c.mac[0] = 2;
        c.mac[5] = (uint8_t)(i + 1);
        for (size_t k = 0; k < sizeof(c.secret); k++)
            c.secret[k] = (uint8_t)world_random(w);
        *m = (struct machine){.world = w, .out = *link, .completes_csum = c.tx_csum};
        m->ip = 0x0a000001 + i;
        if (net_new(&c, &m->net) < 0 || net_addr_add(m->net, m->ip, 24, w->now) < 0)
            abort();
    }
}

bool world_step(struct world *w, uint64_t until)
{
    uint64_t next = w->heap_len > 0 ? w->heap[0]->at : NET_NEVER;
    struct machine *sleeper = NULL;
    for (unsigned i = 0; i < w->machines_len; i++) {
        uint64_t at = net_next_deadline(w->machines[i].net);
        if (at < next) {
            next = at;
            sleeper = &w->machines[i];
        }
    }
    if (next > until) {
        w->now = MAX(w->now, until);
        return false;
    }
    w->now = MAX(w->now, next);
    if (sleeper != NULL) {
        net_timer(sleeper->net, w->now);
        return true;
    }
    struct frame *f = heap_pop(w);
    deliver(f->to, f->data, f->len, f->csum_ok);
    free(f);
    return true;
}

void world_deinit(struct world *w)
{
    for (unsigned i = 0; i < w->machines_len; i++)
        net_free(TAKE(w->machines[i].net));
    for (unsigned i = 0; i < w->machines_len; i++)
        for (size_t k = 0; k < ARRAY_LEN(w->machines[i].held); k++)
            pkt_put(TAKE(w->machines[i].held[k]));
    for (size_t i = 0; i < w->heap_len; i++)
        free(w->heap[i]);
    free(w->heap);
    w->heap = NULL;
    w->heap_len = 0;
}
