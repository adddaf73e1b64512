// SPDX-License-Identifier: Apache-2.0
/* The DHCP client's place in a stack: a UDP socket of the stack's own, a timer, the own address. */
#include "net/udp_internal.h"

enum { DHCP_PORT_CLIENT = 68, DHCP_PORT_SERVER = 67 };

struct dhcp_client {
    struct dhcp dhcp;
    struct udp *udp;
    struct timer timer;
    uint32_t ip, router; // in use
};

static void address_drop(struct net_stack *n, struct dhcp_client *c)
{
    if (c->ip == 0)
        return;
    int r = net_addr_del(n, c->ip); // -ENOENT: the glue deleted it itself
    if (r == 0 && n->gateway == c->router)
        net_gateway_set(n, 0);
    c->ip = c->router = 0;
}

static void address_take(struct net_stack *n, struct dhcp_client *c)
{
    const struct dhcp_lease *l = &c->dhcp.lease;
    if (l->ip != c->ip)
        address_drop(n, c);
    if (c->ip == 0 && ip_addr_add(n, l->ip, l->prefix_len) < 0)
        return; // no slot: the lease is kept, but unused
    c->ip = l->ip;
    if (l->router != 0) {
        net_gateway_set(n, l->router);
        c->router = l->router;
    }
}

static void client_news(struct net_stack *n, struct dhcp_client *c, enum dhcp_news news)
{
    if (news == DHCP_GOT || news == DHCP_RENEWED)
        address_take(n, c);
    else if (news == DHCP_LOST)
        address_drop(n, c);
}

static void client_send(struct net_stack *n, struct dhcp_client *c, const uint8_t *msg, size_t len,
                        uint32_t to)
{
    struct pkt *p = net_pkt_new(n, (uint32_t)(len + sizeof(struct udp_hdr)));
    struct route route;
    if (p == NULL)
        return;
    bool broadcast = to == UINT32_MAX || ip_route(n, to, &route) < 0;
    if (broadcast) {
        to = UINT32_MAX;
        route = (struct route){.gen = n->route_gen, .kind = ROUTE_BROADCAST};
    }
    // RFC 2131 4.1: a client without an address sends from 0.0.0.0.
    struct ip_tx tx = {.src = c->dhcp.state >= DHCP_BOUND ? c->ip : 0,
                       .dst = to,
                       .proto = IP_PROTO_UDP,
                       .ttl = 64};
    memcpy(p->data, msg, len);
    p->len = (uint32_t)len;
    struct udp_hdr *h = (struct udp_hdr *)pkt_push(p, sizeof(*h));
    *h = (struct udp_hdr){.src = be16(DHCP_PORT_CLIENT),
                          .dst = be16(DHCP_PORT_SERVER),
                          .len = be16((uint16_t)p->len)};
    h->csum = csum_fold(csum_add(h, p->len, csum_pseudo(tx.src, tx.dst, IP_PROTO_UDP, p->len)));
    n->count.udp_out++;
    ip_send(n, p, &tx, &route);
}

static void client_run(struct net_stack *n, struct dhcp_client *c)
{
    uint8_t msg[DHCP_MESSAGE_MAX];
    size_t len;
    uint32_t to;
    client_news(n, c, dhcp_step(&c->dhcp, n->now, msg, &len, &to));
    if (len > 0)
        client_send(n, c, msg, len, to);
    if (c->dhcp.next_at != NET_NEVER)
        timer_arm(n, &c->timer, c->dhcp.next_at);
    else
        timer_disarm(n, &c->timer);
}

static void client_fire(struct net_stack *n, struct timer *timer)
{
    client_run(n, CONTAINER_OF(timer, struct dhcp_client, timer));
}

static void client_receive(struct net_stack *n, const uint8_t *data, size_t len,
                           struct net_addr from)
{
    struct dhcp_client *c = n->dhcp;
    if (from.port != DHCP_PORT_SERVER)
        return;
    client_news(n, c, dhcp_input(&c->dhcp, data, len, n->now));
    client_run(n, c);
}

int net_dhcp_start(struct net_stack *n, uint64_t now)
{
    if (n->dhcp != NULL)
        return -EALREADY;
    struct dhcp_client *c = net_mem_new(n, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    int r = udp_open(n, &c->udp);
    if (r == 0) {
        r = udp_bind(c->udp, (struct net_addr){.port = DHCP_PORT_CLIENT});
        if (r < 0)
            udp_close(c->udp);
    }
    if (r < 0) {
        net_mem_free(n, c, sizeof(*c));
        return r;
    }
    n->dhcp = c;
    c->udp->receive = client_receive;
    timer_init(&c->timer, client_fire);
    net_enter(n, now);
    dhcp_init(&c->dhcp, n->cfg.mac, net_random(n), n->now);
    client_run(n, c);
    net_leave(n);
    return 0;
}

int net_dhcp_lease(const struct net_stack *n, struct dhcp_lease *ret)
{
    if (n->dhcp == NULL || n->dhcp->ip == 0)
        return -EAGAIN;
    *ret = n->dhcp->dhcp.lease;
    return 0;
}

void dhcp_client_deinit(struct net_stack *n)
{
    struct dhcp_client *c = n->dhcp;
    if (c == NULL)
        return;
    n->dhcp = NULL;
    udp_close(c->udp);
    timer_disarm(n, &c->timer);
    net_mem_free(n, c, sizeof(*c));
}
