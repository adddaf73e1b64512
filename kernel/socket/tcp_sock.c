// SPDX-License-Identifier: Apache-2.0
/* TCP sockets: Linux's rules (net/ipv4/af_inet.c, tcp.c) over the calls of net/tcp.h. */
#include "net/tcp.h"
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/socket/inet.h"
#include "kernel/socket/stack.h"
#include "kernel/socket/tcp_sock.h"

#define MEMORY_WAIT_NS (10 * 1000000ull) // no packet memory: try again after this

enum { SIGPIPE = 13 };

static const struct sock_ops tcp_ops;

static struct tcp_sock *of(struct sock *s)
{
    return (struct tcp_sock *)(void *)s;
}

static struct tcp_sock *alloc(void)
{
    struct tcp_sock *ts = kmalloc(sizeof(*ts));
    if (ts == NULL)
        return NULL;
    sock_init(&ts->s, &tcp_ops, DOMAIN_INET, SOCK_STREAM, PROTO_TCP);
    ts->t = NULL;
    ts->phase = PHASE_UNCONNECTED;
    ts->sndbuf = ts->rcvbuf = 0;
    return ts;
}

int tcp_sock_new(struct sock **ret)
{
    struct tcp_sock *ts = alloc();
    uint64_t now;
    if (ts == NULL)
        return -ENOMEM;
    struct net_stack *n = stack_enter(&now);
    int r = tcp_open(n, &ts->t);
    if (r == 0)
        tcp_user_set(ts->t, &ts->s);
    stack_leave();
    if (r < 0) {
        kfree(ts);
        return r;
    }
    *ret = &ts->s;
    return 0;
}

static int tcp_sock_bind(struct sock *s, const struct sock_addr *a)
{
    struct net_addr local;
    uint64_t now;
    int r = inet_bind_addr(a, &local);
    if (r < 0)
        return r;
    stack_enter(&now);
    r = tcp_bind(of(s)->t, local);
    stack_leave();
    return r;
}

static int tcp_sock_listen(struct sock *s, uint32_t backlog)
{
    uint64_t now;
    stack_enter(&now);
    int r = of(s)->phase != PHASE_UNCONNECTED ? -EINVAL : tcp_listen(of(s)->t, backlog);
    stack_leave();
    return r;
}

static int tcp_sock_accept(struct sock *s, bool nonblock, struct sock **ret)
{
    struct tcp_sock *new = alloc();
    uint64_t deadline = sock_deadline(s->rcv_ns, nonblock), now;
    int r;
    if (new == NULL)
        return -ENOMEM;
    for (;;) {
        stack_enter(&now);
        r = tcp_accept(of(s)->t, &new->t, now);
        if (r == 0) {
            new->phase = PHASE_CONNECTED;
            new->sndbuf = of(s)->sndbuf;
            new->rcvbuf = of(s)->rcvbuf;
            tcp_user_set(new->t, &new->s);
        }
        stack_leave();
        if (r == -EAGAIN)
            r = sock_wait(s, EV_IN, deadline, true);
        else
            break;
        if (r < 0)
            break;
    }
    if (r < 0) {
        kfree(new);
        return r;
    }
    *ret = &new->s;
    return 0;
}

// ---- connect ----

static bool under_way(const struct tcp *t)
{
    enum tcp_state state = tcp_state(t);
    return state == TCP_SYN_SENT || state == TCP_SYN_RECEIVED;
}

static int connect_begin(struct tcp_sock *ts, const struct sock_addr *a)
{
    uint64_t now;
    if (a->len < INET_ADDR_BYTES)
        return -EINVAL;
    if (addr_family(a) != DOMAIN_INET)
        return -EAFNOSUPPORT;
    struct net_addr peer = inet_addr_get(a);
    if (peer.ip == 0)
        peer.ip = NET_IP_LOOPBACK; // Linux: this host
    if (peer.ip >> 24 != NET_IP_LOOPBACK >> 24 && stack_wait_address() < 0)
        return -ERESTARTSYS;
    stack_enter(&now);
    int r = ts->phase == PHASE_UNCONNECTED ? tcp_connect(ts->t, peer, now) : -EALREADY;
    if (r == -EINPROGRESS)
        ts->phase = PHASE_CONNECTING;
    stack_leave();
    return r;
}

/* The outcome of a connect that is not under way any more. */
static int connect_end(struct tcp_sock *ts)
{
    uint64_t now;
    stack_enter(&now);
    int r = 0;
    if (tcp_state(ts->t) == TCP_CLOSED) {
        int error = tcp_take_error(ts->t);
        r = error != 0 ? -error : -ECONNABORTED;
        ts->phase = PHASE_UNCONNECTED;
    } else {
        ts->phase = PHASE_CONNECTED;
    }
    stack_leave();
    return r;
}

static int tcp_sock_connect(struct sock *s, const struct sock_addr *a, bool nonblock)
{
    struct tcp_sock *ts = of(s);
    int r;
    if (a->len < sizeof(uint16_t))
        return -EINVAL;
    if (addr_family(a) == DOMAIN_UNSPEC)
        return -EOPNOTSUPP; // Linux would disconnect
    if (ts->phase == PHASE_CONNECTED || tcp_state(ts->t) == TCP_LISTEN)
        return -EISCONN;
    if (ts->phase == PHASE_UNCONNECTED) {
        r = connect_begin(ts, a);
        if (r != -EINPROGRESS)
            return r;
        if (nonblock)
            return r; // also when it was made at once, as on Linux
    } else {
        r = -EALREADY;
    }
    if (under_way(ts->t)) {
        int w = sock_wait(s, EV_OUT, sock_deadline(s->snd_ns, nonblock), false);
        if (w < 0)
            return w == -EAGAIN ? r : w;
    }
    return connect_end(ts);
}

static int tcp_sock_name(struct sock *s, bool peer, struct sock_addr *ret)
{
    struct net_addr a;
    uint64_t now;
    int r = 0;
    stack_enter(&now);
    if (peer)
        r = tcp_peer(of(s)->t, &a);
    else
        tcp_local(of(s)->t, &a);
    stack_leave();
    if (r == 0)
        inet_addr_put(ret, a);
    return r;
}

// ---- data ----

/* One try, the stack's lock held. Moves *done on. 1: finished (all, or end of stream); -EAGAIN: no
 * more for now; -EFAULT: a page is missing; or the socket's error. */
static int64_t rx_some(struct tcp *t, struct sock_msg *m, size_t want, size_t *done, uint64_t now)
{
    bool peek = m->flags & MSG_PEEK;
    do {
        const uint8_t *p;
        uint64_t skip = peek ? *done : 0;
        // An error that waits is not taken while there are bytes to report.
        if (*done > 0 && tcp_rx_ready(t) <= skip)
            return -EAGAIN;
        int64_t n = tcp_rx_span(t, skip, &p);
        if (n == 0)
            return 1;
        if (n < 0)
            return n == -ENOTCONN && under_way(t) ? -EAGAIN : n;
        size_t part = MIN((size_t)n, want - *done);
        if (!(m->flags & MSG_TRUNC) && part > 0 && uio_put_atomic(m->u, p, part) < 0)
            return -EFAULT;
        *done += part;
        if (!peek)
            tcp_rx_done(t, part, now);
    } while (*done < want);
    return 1;
}

static int64_t tcp_sock_recv(struct sock *s, struct sock_msg *m)
{
    struct tcp *t = of(s)->t;
    size_t want = m->u->left, done = 0;
    uint64_t deadline = UINT64_MAX - 1, now; // not computed yet
    unsigned faults = 0;
    int64_t r;

    if (m->addr != NULL)
        m->addr->len = 0;
    m->control_len = 0;
    if (m->flags & MSG_OOB)
        return -EINVAL; // there never is urgent data
    if (m->flags & MSG_ERRQUEUE)
        return -EAGAIN; // nor are errors queued
    for (;;) {
        stack_enter(&now);
        r = rx_some(t, m, want, &done, now);
        stack_leave();
        if (r == -EFAULT && faults++ < ATOMIC_RETRIES_MAX) {
            r = uio_fault_in(m->u, MIN(m->u->left, (size_t)FAULT_IN_BYTES), true);
            if (r == 0)
                continue;
        }
        if (r != -EAGAIN || (done > 0 && (!(m->flags & MSG_WAITALL) || m->flags & MSG_PEEK)))
            break;
        if (deadline == UINT64_MAX - 1)
            deadline = sock_deadline(s->rcv_ns, m->flags & MSG_DONTWAIT);
        r = sock_wait(s, EV_IN | EV_RDHUP, deadline, false);
        if (r < 0)
            break;
    }
    if (done > 0 || r == 1)
        return (int64_t)done;
    return r;
}

/* One try, the stack's lock held: as rx_some. */
static int64_t tx_some(struct tcp *t, struct uio *u, size_t *done)
{
    while (u->left > 0) {
        uint8_t *p;
        int64_t n = tcp_tx_span(t, u->left, &p);
        if (n < 0)
            return n == -ENOTCONN && under_way(t) ? -EAGAIN : n;
        size_t part = MIN((size_t)n, u->left);
        int r = uio_take_atomic(u, p, part);
        tcp_tx_done(t, r < 0 ? 0 : (uint32_t)part);
        if (r < 0)
            return -EFAULT;
        *done += part;
    }
    return 1;
}

static int64_t tx_wait(struct sock *s, uint64_t deadline, bool no_memory)
{
    if (!no_memory)
        return sock_wait(s, EV_OUT, deadline, false);
    // Memory comes back without an event of this socket.
    uint64_t retry = clock_mono_ns() + MEMORY_WAIT_NS;
    if (deadline <= retry)
        return -EAGAIN;
    task_prepare_sleep();
    int r = task_sleep(retry, true);
    task_cancel_sleep();
    return r == -EINTR ? -ERESTARTSYS : 0;
}

/* A send of nothing still tells whether the direction is open (Linux tcp_sendmsg_locked). */
static int64_t tx_nothing(struct tcp *t)
{
    enum tcp_state state = tcp_state(t);
    return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT ? 0 : -EPIPE;
}

static int64_t tx_loop(struct sock *s, struct sock_msg *m, size_t *done)
{
    struct tcp *t = of(s)->t;
    uint64_t deadline = UINT64_MAX - 1, now;
    unsigned faults = 0;
    for (;;) {
        size_t before = *done;
        stack_enter(&now);
        int64_t r = tx_some(t, m->u, done);
        if (*done > before)
            tcp_tx_push(t, r == 1 && m->flags & MSG_MORE, now);
        stack_leave();
        if (r == -EFAULT && faults++ < ATOMIC_RETRIES_MAX) {
            r = uio_fault_in(m->u, MIN(m->u->left, (size_t)FAULT_IN_BYTES), false);
            if (r == 0)
                continue;
        }
        if (r != -EAGAIN && r != -ENOMEM)
            return r;
        if (deadline == UINT64_MAX - 1)
            deadline = sock_deadline(s->snd_ns, m->flags & MSG_DONTWAIT);
        r = tx_wait(s, deadline, r == -ENOMEM);
        if (r < 0)
            return r;
    }
}

static int64_t tcp_sock_send(struct sock *s, struct sock_msg *m)
{
    size_t done = 0;
    if (m->flags & (MSG_OOB | MSG_FASTOPEN))
        return -EOPNOTSUPP;
    if (UNLIKELY(m->control_len > 0)) {
        int error = inet_control_check(m, false);
        if (error < 0)
            return error;
    }
    int64_t r = m->u->left > 0 ? tx_loop(s, m, &done) : tx_nothing(of(s)->t);
    if (done > 0)
        return (int64_t)done;
    if (r == -ENOTCONN)
        r = -EPIPE; // as Linux, where a fresh socket cannot send
    if (r == -EPIPE && !(m->flags & MSG_NOSIGNAL))
        signal_send_task(current(), SIGPIPE);
    return r;
}

// ---- the rest ----

static int tcp_sock_shutdown(struct sock *s, int how)
{
    uint64_t now;
    stack_enter(&now);
    bool listening = tcp_state(of(s)->t) == TCP_LISTEN;
    int r = listening && how == SHUT_WRITE ? 0 : tcp_shutdown(of(s)->t, how, now);
    stack_leave();
    return r;
}

static uint32_t tcp_sock_poll(struct sock *s)
{
    // Without the lock: reads words that change one at a time; an event follows each change.
    uint32_t ready = tcp_poll(of(s)->t);
    return ready | (ready & EV_IN ? EV_RDNORM : 0u) | (ready & EV_OUT ? EV_WRNORM : 0u);
}

static int64_t tcp_sock_ioctl(struct sock *s, uint32_t cmd, uint64_t arg)
{
    struct tcp *t = of(s)->t;
    uint64_t now, v = 0;
    if (cmd != IOCTL_INQ && cmd != IOCTL_OUTQ && cmd != IOCTL_ATMARK)
        return inet_ioctl(cmd, arg);
    stack_enter(&now);
    bool listening = tcp_state(t) == TCP_LISTEN;
    if (cmd == IOCTL_INQ)
        v = tcp_rx_ready(t);
    else if (cmd == IOCTL_OUTQ && !under_way(t))
        v = tcp_tx_queued(t);
    stack_leave();
    return listening && cmd != IOCTL_ATMARK ? -EINVAL : ioctl_put_int(arg, v);
}

static bool all_sent(struct tcp *t)
{
    uint64_t now;
    stack_enter(&now);
    bool sent = tcp_tx_queued(t) == 0 || tcp_state(t) == TCP_CLOSED;
    stack_leave();
    return sent;
}

/* close(2) with SO_LINGER and a time: wait until the peer has all, so long at most. */
static void linger(struct tcp_sock *ts, int64_t seconds)
{
    uint64_t now, deadline = clock_mono_ns() + (uint64_t)seconds * NS_PER_SEC;
    stack_enter(&now);
    int r = tcp_shutdown(ts->t, TCP_SHUT_WR, now);
    stack_leave();
    if (r == 0)
        r = WAIT_EVENT(&ts->s.waitq, EV_OUT | EV_HUP | EV_ERR, all_sent(ts->t), deadline, true);
    (void)r; // time over, a signal or an error: then it is closed anyway
}

static void tcp_sock_release(struct sock *s)
{
    struct tcp_sock *ts = of(s);
    uint64_t now;
    int64_t seconds = tcp_opt_get(ts->t, TCP_OPT_LINGER);
    if (seconds > 0)
        linger(ts, seconds);
    stack_enter(&now);
    tcp_close(ts->t, now);
    stack_leave();
    kfree(ts);
}

static int tcp_sock_pair(struct sock *a UNUSED, struct sock *b UNUSED)
{
    return -EOPNOTSUPP;
}

static const struct sock_ops tcp_ops = {
    .bind = tcp_sock_bind,
    .connect = tcp_sock_connect,
    .listen = tcp_sock_listen,
    .accept = tcp_sock_accept,
    .name = tcp_sock_name,
    .send = tcp_sock_send,
    .recv = tcp_sock_recv,
    .shutdown = tcp_sock_shutdown,
    .opt_set = tcp_sock_opt_set,
    .opt_get = tcp_sock_opt_get,
    .poll = tcp_sock_poll,
    .ioctl = tcp_sock_ioctl,
    .pair = tcp_sock_pair,
    .release = tcp_sock_release,
};
