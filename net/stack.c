// SPDX-License-Identifier: Apache-2.0
/* The instance: its memory, its clock and timers, and the frame that all entry functions share. */
#include "net/stack.h"

static uint64_t key_half(const uint8_t *secret)
{
    uint64_t v;
    memcpy(&v, secret, sizeof(v));
    return v;
}

/* Keys for separate purposes come from the one secret, so that one leaked value tells nothing of
 * the others. */
static struct siphash_key derive_key(const uint8_t secret[32], uint8_t purpose)
{
    struct siphash_key first = {key_half(secret), key_half(secret + 8)};
    struct siphash_key second = {key_half(secret + 16), key_half(secret + 24)};
    return (struct siphash_key){siphash(&first, &purpose, 1) ^ second.k0,
                                siphash(&second, &purpose, 1) ^ first.k1};
}

static void default_u32(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static int config_complete(struct net_config *c)
{
    default_u32(&c->tcp_max, 16384);
    default_u32(&c->time_wait_max, 4096);
    default_u32(&c->syn_max, 1024);
    default_u32(&c->udp_max, 1024);
    default_u32(&c->rcvbuf, 128 << 10);
    default_u32(&c->rcvbuf_max, MAX(4u << 20, c->rcvbuf));
    default_u32(&c->sndbuf, 64 << 10);
    default_u32(&c->sndbuf_max, MAX(4u << 20, c->sndbuf));
    if (c->mem_max == 0)
        c->mem_max = 64 << 20;
    // RFC 7323 2.3: a window is at most 65535 << 14 bytes.
    if (c->mtu < 576 || c->mtu > 9000 || c->rcvbuf < 4096 || c->rcvbuf > c->rcvbuf_max ||
        c->rcvbuf_max > 65535u << 14 || c->sndbuf < 4096 || c->sndbuf > c->sndbuf_max ||
        c->sndbuf_max > 1u << 30)
        return -EINVAL;
    return 0;
}

static void lists_init(struct net_stack *n)
{
    for (unsigned i = 0; i < PORT_BUCKETS; i++) {
        list_init(&n->ports[i]);
        list_init(&n->udp_ports[i]);
    }
    for (unsigned i = 0; i < LISTEN_BUCKETS; i++)
        list_init(&n->listeners[i]);
    list_init(&n->tcps);
    list_init(&n->dead);
    list_init(&n->time_waits);
    list_init(&n->halves);
    list_init(&n->udps);
}

int net_new(const struct net_config *config, struct net_stack **ret)
{
    struct net_config c = *config;
    int r = config_complete(&c);
    if (r < 0)
        return r;
    struct net_stack *n = c.hooks.mem_alloc(c.ctx, sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    n->cfg = c;
    n->flow_buckets = FLOW_BUCKETS_MIN;
    n->flows = net_mem_new(n, n->flow_buckets * sizeof(struct flow *));
    if (n->flows == NULL) {
        c.hooks.mem_free(c.ctx, n, sizeof(*n));
        return -ENOMEM;
    }
    n->hash_key = derive_key(c.secret, 'h');
    n->seq_key = derive_key(c.secret, 's');
    n->port_key = derive_key(c.secret, 'p');
    n->cookie_key = derive_key(c.secret, 'c');
    n->stamp_key = derive_key(c.secret, 't');
    struct siphash_key random = derive_key(c.secret, 'r');
    n->random_state[0] = random.k0;
    n->random_state[1] = random.k1;
    n->port_next = (uint32_t)net_random(n);
    n->udp_port_next = (uint32_t)net_random(n);
    n->route_gen = 1;
    wheel_init(&n->wheel, 0);
    lists_init(n);
    arp_init(n);
    *ret = n;
    return 0;
}

void net_free(struct net_stack *n)
{
    if (n == NULL)
        return;
    n->working = true;
    dhcp_client_deinit(n);
    tcp_deinit(n);
    udp_deinit(n);
    arp_deinit(n);
    while (n->loop_first != NULL) {
        struct pkt *p = n->loop_first;
        n->loop_first = p->next;
        pkt_put(p);
    }
    net_mem_free(n, n->flows, n->flow_buckets * sizeof(struct flow *));
    net_mem_free(n, n, sizeof(*n));
}

void net_enter(struct net_stack *n, uint64_t now)
{
    ASSERT(!n->working); // a hook called back, or the glue's lock was not held
    n->working = true;
    if (now > n->now) {
        n->now = now;
        n->now_ms = (uint32_t)(now / NET_NS_PER_MS);
    }
}

static void loop_run(struct net_stack *n)
{
    for (unsigned i = 0; i < LOOP_BATCH && n->loop_first != NULL; i++) {
        struct pkt *p = n->loop_first;
        n->loop_first = p->next;
        n->loop_len--;
        p->next = NULL;
        ip_input(n, p, true);
    }
}

void net_leave(struct net_stack *n)
{
    if (UNLIKELY(n->loop_first != NULL))
        loop_run(n);
    if (!list_empty(&n->dead))
        tcp_free_dead(n);
    n->working = false;
}

void net_loop(struct net_stack *n, struct pkt *p)
{
    if (n->loop_len >= LOOP_MAX) {
        pkt_put(p);
        return;
    }
    if (!pkt_alone(p)) { // a segment that stays in its send queue, too
        struct pkt *copy = net_pkt_copy(n, p);
        pkt_put(p);
        if (copy == NULL)
            return;
        p = copy;
    }
    p->flags = PKT_CSUM_OK;
    p->next = NULL;
    if (n->loop_first == NULL)
        n->loop_first = p;
    else
        n->loop_last->next = p;
    n->loop_last = p;
    n->loop_len++;
}

void timer_init(struct timer *t, void (*fire)(struct net_stack *, struct timer *))
{
    wheel_timer_init(&t->wheel);
    t->fire = fire;
}

void timer_arm(struct net_stack *n, struct timer *t, uint64_t deadline)
{
    wheel_arm(&n->wheel, &t->wheel, (deadline >> TICK_SHIFT) + 1);
}

void timer_disarm(struct net_stack *n, struct timer *t)
{
    wheel_disarm(&n->wheel, &t->wheel);
}

void net_timer(struct net_stack *n, uint64_t now)
{
    net_enter(n, now);
    struct wheel_timer *w;
    while ((w = wheel_pop(&n->wheel, n->now >> TICK_SHIFT)) != NULL) {
        struct timer *t = CONTAINER_OF(w, struct timer, wheel);
        t->fire(n, t);
    }
    net_leave(n);
}

uint64_t net_next_deadline(const struct net_stack *n)
{
    if (n->loop_first != NULL)
        return n->now;
    uint64_t tick = wheel_next(&n->wheel);
    return tick == WHEEL_NEVER ? NET_NEVER : tick << TICK_SHIFT;
}

uint64_t net_random(struct net_stack *n)
{
    struct siphash_key key = {n->random_state[0], 0x6e65742d72616e64};
    return siphash_fast(&key, n->random_state[1]++, n->now);
}

struct pkt *net_pkt_new(struct net_stack *n, uint32_t room)
{
    struct pkt *p = n->cfg.hooks.pkt_alloc(n->cfg.ctx, ALIGN_UP(PKT_HEADROOM + room, 64));
    if (p != NULL) {
        ASSERT(p->size >= PKT_HEADROOM + room);
        p->data = p->buf + PKT_HEADROOM;
        p->len = 0;
    }
    return p;
}

struct pkt *net_pkt_copy(struct net_stack *n, const struct pkt *p)
{
    struct pkt *copy = net_pkt_new(n, p->len);
    if (copy == NULL)
        return NULL;
    memcpy(copy->data, p->data, p->len);
    copy->len = p->len;
    copy->flags = p->flags;
    copy->csum_start = p->csum_start;
    copy->csum_offset = p->csum_offset;
    return copy;
}

void net_counters(const struct net_stack *n, struct net_counters *ret)
{
    *ret = n->count;
}
