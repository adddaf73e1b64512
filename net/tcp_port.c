// SPDX-License-Identifier: Apache-2.0
/* The table of TCP flows, and who may use which local port (as Linux's inet_csk_bind_conflict). */
#include "net/tcp_internal.h"

static uint32_t flow_hash(const struct net_stack *n, struct net_addr local, struct net_addr peer)
{
    return (uint32_t)siphash_fast(&n->hash_key, (uint64_t)local.ip << 32 | peer.ip,
                                  (uint64_t)local.port << 32 | peer.port);
}

static struct flow **flow_bucket(const struct net_stack *n, struct net_addr local,
                                 struct net_addr peer)
{
    return &n->flows[flow_hash(n, local, peer) & (n->flow_buckets - 1)];
}

static struct flow **bucket_of(const struct net_stack *n, const struct flow *f)
{
    return flow_bucket(n, (struct net_addr){f->local_ip, f->local_port},
                       (struct net_addr){f->peer_ip, f->peer_port});
}

struct flow *flow_find(const struct net_stack *n, struct net_addr local, struct net_addr peer)
{
    for (struct flow *f = *flow_bucket(n, local, peer); f != NULL; f = f->next)
        if (f->local_ip == local.ip && f->peer_ip == peer.ip && f->local_port == local.port &&
            f->peer_port == peer.port)
            return f;
    return NULL;
}

/* Twice the buckets, when memory allows; chains grow longer otherwise. */
static void flows_grow(struct net_stack *n)
{
    uint32_t old_buckets = n->flow_buckets;
    struct flow **old = n->flows;
    struct flow **grown = net_mem_new(n, old_buckets * 2 * sizeof(struct flow *));
    if (grown == NULL)
        return;
    n->flows = grown;
    n->flow_buckets = old_buckets * 2;
    for (uint32_t i = 0; i < old_buckets; i++) {
        struct flow *next;
        for (struct flow *f = old[i]; f != NULL; f = next) {
            next = f->next;
            struct flow **bucket = bucket_of(n, f);
            f->next = *bucket;
            *bucket = f;
        }
    }
    net_mem_free(n, old, old_buckets * sizeof(struct flow *));
}

void flow_insert(struct net_stack *n, struct flow *f)
{
    ASSERT(!f->hashed);
    if (n->flows_len >= n->flow_buckets)
        flows_grow(n);
    struct flow **bucket = bucket_of(n, f);
    f->next = *bucket;
    *bucket = f;
    f->hashed = true;
    n->flows_len++;
}

void flow_remove(struct net_stack *n, struct flow *f)
{
    if (!f->hashed)
        return;
    struct flow **at = bucket_of(n, f);
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    f->hashed = false;
    n->flows_len--;
}

void port_hold(struct net_stack *n, struct flow *f)
{
    list_push_front(&n->ports[f->local_port % PORT_BUCKETS], &f->port_node);
}

void port_release(struct flow *f)
{
    list_remove(&f->port_node);
}

static bool overlaps(uint32_t a, uint32_t b)
{
    return a == 0 || b == 0 || a == b;
}

static struct tcp *owner_of(struct flow *f) // NULL: TIME_WAIT
{
    return f->kind == FLOW_TCP ? CONTAINER_OF(f, struct tcp, flow) : NULL;
}

bool port_conflicts(const struct tcp *t, struct net_addr local)
{
    LIST_FOR_EACH (node, &t->n->ports[local.port % PORT_BUCKETS]) {
        struct flow *f = LIST_ENTRY(node, struct flow, port_node);
        if (f == &t->flow || f->local_port != local.port || !overlaps(f->local_ip, local.ip))
            continue;
        const struct tcp *owner = owner_of(f);
        bool reuse = owner != NULL ? owner->reuse && owner->state != TCP_LISTEN
                                   : CONTAINER_OF(f, struct tcp_wait, flow)->reuse;
        if (!t->reuse || !reuse)
            return true;
    }
    return false;
}

int port_choose_bind(const struct tcp *t, struct net_addr *local)
{
    uint32_t range = PORT_EPHEMERAL_LAST - PORT_EPHEMERAL_FIRST + 1;
    uint32_t start = (uint32_t)(net_random(t->n) % range);
    for (uint32_t i = 0; i < range; i++) {
        local->port = (uint16_t)(PORT_EPHEMERAL_FIRST + (start + i) % range);
        if (!port_conflicts(t, *local))
            return 0;
    }
    return -EADDRINUSE;
}

/* A port that someone bound is not taken for connections; ports of other connections may be. */
static bool port_is_bound(const struct net_stack *n, struct net_addr local)
{
    LIST_FOR_EACH (node, &n->ports[local.port % PORT_BUCKETS]) {
        struct flow *f = LIST_ENTRY(node, struct flow, port_node);
        const struct tcp *owner = owner_of(f);
        if (f->local_port == local.port && owner != NULL && owner->bound_port &&
            overlaps(f->local_ip, local.ip))
            return true;
    }
    return false;
}

/* RFC 6056 3.3.3: a start that depends on the addresses by a secret, and a counter. */
int port_choose_connect(struct tcp *t, struct net_addr local, struct net_addr peer,
                        uint16_t *ret_port)
{
    struct net_stack *n = t->n;
    uint32_t range = PORT_EPHEMERAL_LAST - PORT_EPHEMERAL_FIRST + 1;
    uint32_t offset =
        (uint32_t)siphash_fast(&n->port_key, (uint64_t)local.ip << 32 | peer.ip, peer.port);
    for (uint32_t i = 0; i < range; i++) {
        uint32_t port = PORT_EPHEMERAL_FIRST + (offset + n->port_next++) % range;
        local.port = (uint16_t)port;
        if (!port_is_bound(n, local) && flow_find(n, local, peer) == NULL) {
            *ret_port = local.port;
            return 0;
        }
    }
    return -EADDRNOTAVAIL;
}

struct tcp *listener_find(struct net_stack *n, struct net_addr local)
{
    struct tcp *any = NULL;
    LIST_FOR_EACH (node, &n->listeners[local.port % LISTEN_BUCKETS]) {
        struct tcp *t = LIST_ENTRY(node, struct tcp, listen_node);
        if (t->flow.local_port != local.port)
            continue;
        if (t->flow.local_ip == local.ip)
            return t;
        if (t->flow.local_ip == 0)
            any = t;
    }
    return any;
}
