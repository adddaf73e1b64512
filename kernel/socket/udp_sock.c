// SPDX-License-Identifier: Apache-2.0
/* UDP sockets: Linux's rules (net/ipv4/udp.c) over the calls of net/udp.h. */
#include "net/udp.h"
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/socket/inet.h"
#include "kernel/socket/stack.h"

enum { UDP_LEN_MAX = 65535 };

struct udp_sock {
    struct sock s;
    struct udp *u;          // immutable
    int32_t sndbuf, rcvbuf; // as the program set and sees them (doubled), 0: never set; atomic
};
enum { SNDBUF_DEFAULT = 212992 }; // shown; sends never wait for room

static const struct sock_ops udp_ops;

static struct udp_sock *of(struct sock *s)
{
    return (struct udp_sock *)(void *)s;
}

int udp_sock_new(struct sock **ret)
{
    struct udp_sock *us = kzalloc(sizeof(*us));
    uint64_t now;
    if (us == NULL)
        return -ENOMEM;
    sock_init(&us->s, &udp_ops, DOMAIN_INET, SOCK_DGRAM, PROTO_UDP);
    struct net_stack *n = stack_enter(&now);
    int r = udp_open(n, &us->u);
    if (r == 0)
        udp_user_set(us->u, &us->s);
    stack_leave();
    if (r < 0) {
        kfree(us);
        return r;
    }
    *ret = &us->s;
    return 0;
}

static int udp_sock_bind(struct sock *s, const struct sock_addr *a)
{
    struct net_addr local;
    uint64_t now;
    int r = inet_bind_addr(a, &local);
    if (r < 0)
        return r;
    stack_enter(&now);
    r = udp_bind(of(s)->u, local);
    stack_leave();
    return r;
}

static int wait_address(uint32_t ip)
{
    return ip >> 24 == NET_IP_LOOPBACK >> 24 || ip == UINT32_MAX ? 0 : stack_wait_address();
}

static int udp_sock_connect(struct sock *s, const struct sock_addr *a, bool nonblock UNUSED)
{
    struct net_addr peer = {0};
    uint64_t now;
    if (a->len < sizeof(uint16_t))
        return -EINVAL;
    if (addr_family(a) != DOMAIN_UNSPEC) { // else: take the peer off
        if (a->len < INET_ADDR_BYTES)
            return -EINVAL;
        if (addr_family(a) != DOMAIN_INET)
            return -EAFNOSUPPORT;
        peer = inet_addr_get(a);
        if (peer.ip == 0)
            peer.ip = NET_IP_LOOPBACK;
        if (wait_address(peer.ip) < 0)
            return -ERESTARTSYS;
    }
    stack_enter(&now);
    int r = udp_connect(of(s)->u, peer);
    stack_leave();
    return r;
}

static int udp_sock_listen(struct sock *s UNUSED, uint32_t backlog UNUSED)
{
    return -EOPNOTSUPP;
}

static int udp_sock_accept(struct sock *s UNUSED, bool nonblock UNUSED, struct sock **ret UNUSED)
{
    return -EOPNOTSUPP;
}

static int udp_sock_name(struct sock *s, bool peer, struct sock_addr *ret)
{
    struct net_addr a;
    uint64_t now;
    int r = 0;
    stack_enter(&now);
    if (peer)
        r = udp_peer(of(s)->u, &a);
    else
        udp_local(of(s)->u, &a);
    stack_leave();
    if (r == 0)
        inet_addr_put(ret, a);
    return r;
}

/* Where a datagram goes: 0 (*ret_to NULL: the peer); -EINVAL, -EAFNOSUPPORT. */
static int send_to(const struct sock_msg *m, struct net_addr *addr, const struct net_addr **ret_to)
{
    *ret_to = NULL;
    if (m->addr == NULL || m->addr->len == 0)
        return 0;
    if (m->addr->len < INET_ADDR_BYTES)
        return -EINVAL;
    if (addr_family(m->addr) != DOMAIN_INET && addr_family(m->addr) != DOMAIN_UNSPEC)
        return -EAFNOSUPPORT;
    *addr = inet_addr_get(m->addr);
    if (addr->port == 0)
        return -EINVAL;
    if (addr->ip == 0)
        addr->ip = NET_IP_LOOPBACK;
    if (wait_address(addr->ip) < 0)
        return -ERESTARTSYS;
    *ret_to = addr;
    return 0;
}

static int64_t udp_sock_send(struct sock *s, struct sock_msg *m)
{
    struct net_addr addr;
    const struct net_addr *to;
    size_t len = m->u->left;
    uint64_t now;
    if (len > UDP_LEN_MAX)
        return -EMSGSIZE;
    if (m->flags & (MSG_OOB | MSG_MORE))
        return -EOPNOTSUPP; // MSG_MORE: datagrams are not put together from pieces here
    int r = inet_control_check(m, true);
    if (r == 0)
        r = send_to(m, &addr, &to);
    for (unsigned tries = 0; r == 0; tries++) {
        uint8_t *p;
        stack_enter(&now);
        r = udp_tx_begin(of(s)->u, to, len, &p);
        if (r == 0) {
            r = uio_take_atomic(m->u, p, len);
            if (r == 0)
                udp_tx_done(of(s)->u, now);
            else
                udp_tx_cancel(of(s)->u);
            stack_leave();
            if (r == 0)
                return (int64_t)len;
            r = tries < ATOMIC_RETRIES_MAX ? uio_fault_in(m->u, len, false) : -EFAULT;
            continue;
        }
        stack_leave();
    }
    return r == -ENOMEM ? -ENOBUFS : r;
}

/* One try, the stack's lock held: the datagram's length, or -errno. */
static int64_t rx_one(struct udp *u, struct sock_msg *m)
{
    const uint8_t *p;
    struct net_addr from;
    uint32_t to_ip;
    size_t len;
    int r = udp_rx_peek(u, &p, &len, &from, &to_ip);
    if (r < 0)
        return r;
    size_t part = MIN(len, m->u->left);
    if (uio_put_atomic(m->u, p, part) < 0)
        return -EFAULT;
    if (part < len)
        m->flags_out |= MSG_TRUNC;
    if (m->addr != NULL)
        inet_addr_put(m->addr, from);
    if (!(m->flags & MSG_PEEK))
        udp_rx_done(u);
    return (int64_t)(m->flags & MSG_TRUNC ? len : part);
}

static int64_t udp_sock_recv(struct sock *s, struct sock_msg *m)
{
    uint64_t deadline = sock_deadline(s->rcv_ns, m->flags & MSG_DONTWAIT), now;
    m->control_len = 0;
    if (m->addr != NULL)
        m->addr->len = 0;
    if (m->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    for (unsigned faults = 0;;) {
        stack_enter(&now);
        int64_t r = rx_one(of(s)->u, m);
        stack_leave();
        if (r == -EFAULT && faults++ < ATOMIC_RETRIES_MAX) {
            r = uio_fault_in(m->u, MIN(m->u->left, (size_t)UDP_LEN_MAX), true);
            if (r == 0)
                continue;
        }
        if (r != -EAGAIN)
            return r;
        if (udp_poll(of(s)->u) & NET_RDHUP)
            return 0; // shut down for reading
        r = sock_wait(s, EV_IN | EV_RDHUP, deadline, false);
        if (r < 0)
            return r;
    }
}

static int udp_sock_shutdown(struct sock *s, int how)
{
    uint64_t now;
    stack_enter(&now);
    int r = udp_shutdown(of(s)->u, how);
    stack_leave();
    return r;
}

// ---- options ----

static int set(struct udp_sock *us, enum udp_opt opt, int64_t v)
{
    uint64_t now;
    stack_enter(&now);
    int r = udp_opt_set(us->u, opt, v);
    stack_leave();
    return r;
}

static int64_t get(struct udp_sock *us, enum udp_opt opt)
{
    uint64_t now;
    stack_enter(&now);
    int64_t v = udp_opt_get(us->u, opt);
    stack_leave();
    return v;
}

static int buf_set(struct udp_sock *us, int name, int v)
{
    bool force = name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE;
    bool rcv = name == SO_RCVBUF || name == SO_RCVBUFFORCE;
    int64_t size = inet_buf_clamp(v, force);
    int r = rcv ? set(us, UDP_OPT_RCVBUF, size * 2) : 0;
    if (r == 0)
        __atomic_store_n(rcv ? &us->rcvbuf : &us->sndbuf, (int32_t)size * 2, __ATOMIC_RELAXED);
    return r;
}

static int ip_set(struct udp_sock *us, int name, const struct sock_opt *o)
{
    int v;
    if (name != OPT_IP_TTL && name != OPT_IP_TOS && name != OPT_IP_MTU_DISCOVER)
        return -ENOPROTOOPT;
    int r = opt_ip_value(o, &v);
    if (r < 0)
        return r;
    if (name == OPT_IP_TTL)
        return set(us, UDP_OPT_TTL, v == -1 ? 64 : v);
    if (name == OPT_IP_TOS)
        return set(us, UDP_OPT_TOS, v & 0xff);
    if (v < 0 || v > 5)
        return -EINVAL;
    return v == PMTUDISC_DO ? 0 : -ENOPROTOOPT; // DF is on every packet, nothing is fragmented
}

static int udp_sock_opt_set(struct sock *s, int level, int name, const struct sock_opt *o)
{
    if (level == SOL_IP)
        return ip_set(of(s), name, o);
    if (level != SOL_SOCKET)
        return -ENOPROTOOPT;
    switch (name) {
    case SO_REUSEADDR:
        return set(of(s), UDP_OPT_REUSEADDR, opt_int(o) != 0);
    case SO_BROADCAST:
        return set(of(s), UDP_OPT_BROADCAST, opt_int(o) != 0);
    case SO_SNDBUF:
    case SO_RCVBUF:
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        return buf_set(of(s), name, opt_int(o));
    default:
        return -ENOPROTOOPT;
    }
}

static int udp_sock_opt_get(struct sock *s, int level, int name, struct sock_opt *ret)
{
    struct udp_sock *us = of(s);
    uint64_t now;
    if (level == SOL_IP && name == OPT_IP_TTL)
        return opt_put_int(ret, get(us, UDP_OPT_TTL));
    if (level == SOL_IP && name == OPT_IP_TOS)
        return opt_put_int(ret, get(us, UDP_OPT_TOS));
    if (level == SOL_IP && name == OPT_IP_MTU_DISCOVER)
        return opt_put_int(ret, PMTUDISC_DO);
    if (level != SOL_SOCKET)
        return level == SOL_IP ? -ENOPROTOOPT : -EOPNOTSUPP; // as Linux
    switch (name) {
    case SO_ERROR:
        stack_enter(&now);
        int error = udp_take_error(us->u);
        stack_leave();
        return opt_put_int(ret, error);
    case SO_REUSEADDR:
        return opt_put_int(ret, get(us, UDP_OPT_REUSEADDR));
    case SO_ACCEPTCONN:
    case SO_KEEPALIVE:
        return opt_put_int(ret, 0);
    case SO_SNDBUF:
        return opt_put_int(ret, us->sndbuf != 0 ? us->sndbuf : SNDBUF_DEFAULT);
    case SO_RCVBUF:
        return opt_put_int(ret, us->rcvbuf != 0 ? us->rcvbuf : get(us, UDP_OPT_RCVBUF));
    default:
        return -ENOPROTOOPT;
    }
}

static uint32_t udp_sock_poll(struct sock *s)
{
    uint32_t ready = udp_poll(of(s)->u);
    return ready | (ready & EV_IN ? EV_RDNORM : 0u) | (ready & EV_OUT ? EV_WRNORM : 0u);
}

static int64_t udp_sock_ioctl(struct sock *s, uint32_t cmd, uint64_t arg)
{
    const uint8_t *p;
    struct net_addr from;
    uint32_t to_ip;
    size_t len = 0;
    uint64_t now;
    if (cmd == IOCTL_OUTQ)
        return ioctl_put_int(arg, 0); // datagrams leave at once
    if (cmd != IOCTL_INQ)
        return inet_ioctl(cmd, arg);
    stack_enter(&now);
    bool ready = udp_poll(of(s)->u) & NET_IN; // else the look would take a pending error
    if (ready && udp_rx_peek(of(s)->u, &p, &len, &from, &to_ip) < 0)
        len = 0;
    stack_leave();
    return ioctl_put_int(arg, len);
}

static int udp_sock_pair(struct sock *a UNUSED, struct sock *b UNUSED)
{
    return -EOPNOTSUPP;
}

static void udp_sock_release(struct sock *s)
{
    uint64_t now;
    stack_enter(&now);
    udp_close(of(s)->u);
    stack_leave();
    kfree(of(s));
}

static const struct sock_ops udp_ops = {
    .bind = udp_sock_bind,
    .connect = udp_sock_connect,
    .listen = udp_sock_listen,
    .accept = udp_sock_accept,
    .name = udp_sock_name,
    .send = udp_sock_send,
    .recv = udp_sock_recv,
    .shutdown = udp_sock_shutdown,
    .opt_set = udp_sock_opt_set,
    .opt_get = udp_sock_opt_get,
    .poll = udp_sock_poll,
    .ioctl = udp_sock_ioctl,
    .pair = udp_sock_pair,
    .release = udp_sock_release,
};
