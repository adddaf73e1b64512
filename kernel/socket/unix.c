// SPDX-License-Identifier: Apache-2.0
/* AF_UNIX sockets (unix(7), Linux net/unix/af_unix.c): streams, packets in sequence, datagrams;
 * pairs, names in the tree of files and abstract ones, passing of descriptors.
 *
 * One lock for all of them: unix_lock -> a socket's waitq. User memory is touched under it by the
 * *_atomic copies only. */
#include "kernel/socket/unix.h"
#include "base/list.h"
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/socket/inet.h"
#include "kernel/socket/options.h"

enum {
    SIGPIPE = 13,
    QUEUE_MAX = 212992,      // bytes in one receive queue (net.core.wmem_default)
    STREAM_PART = 32 * 1024, // bytes of a stream in one message
    PACKET_MAX = 130000,     // bytes of a datagram: what kmalloc gives, less the head
    AUTOBIND_TRIES = 1000,
    EV_WRBAND = 0x200,
    EV_ROOM = 0x4000, // of our own: room in this socket's queue or backlog, for who sends there
};

enum unix_phase { PHASE_FRESH, PHASE_LISTENING, PHASE_CONNECTED };

struct unix_msg {
    struct list link;
    struct unix_rights *rights; // NULL: none
    struct sock_addr from;
    size_t len, done;
    uint8_t data[];
};

struct unix_sock {
    struct sock s;
    // Protected by unix_lock.
    uint32_t refs; // the file, and each socket whose peer this is
    bool closed;   // its file is gone
    enum unix_phase phase;
    struct unix_sock *peer; // referenced; NULL: none
    bool rx_shut, tx_shut;
    int error;           // pending, positive
    struct list queue;   // struct unix_msg
    size_t queued;       // bytes in it
    struct list backlog; // of a listener: sockets to accept, by link
    uint32_t backlog_len, backlog_max;
    struct list link;      // in a listener's backlog
    struct list name_link; // in names, while bound
    struct sock_addr addr; // len 2: none
    struct inode *inode;   // of a name in the tree; referenced
    struct creds creds, peer_creds;
};

static const struct sock_ops unix_ops;
static struct spinlock unix_lock;
static struct list names = {&names, &names}; // bound sockets; protected by unix_lock

static struct unix_sock *of(struct sock *s)
{
    return (struct unix_sock *)(void *)s;
}

static bool connected_kind(const struct unix_sock *u)
{
    return u->s.type != SOCK_DGRAM;
}

int unix_sock_new(uint16_t type, struct sock **ret)
{
    struct unix_sock *u = kzalloc(sizeof(*u));
    if (u == NULL)
        return -ENOMEM;
    sock_init(&u->s, &unix_ops, DOMAIN_UNIX, type, PROTO_ANY);
    u->refs = 1;
    list_init(&u->queue);
    list_init(&u->backlog);
    list_init(&u->link);
    list_init(&u->name_link);
    u->addr.len = 2;
    *(uint16_t *)(void *)u->addr.bytes = DOMAIN_UNIX;
    u->creds = current()->process->creds;
    *ret = &u->s;
    return 0;
}

static void wake(struct unix_sock *u, uint32_t ready)
{
    sock_event(&u->s, ready);
}

static void unref(struct unix_sock *u) // unix_lock held
{
    if (--u->refs == 0)
        kfree(u);
}

static void msg_free(struct unix_msg *m)
{
    unix_rights_free(m->rights);
    kfree(m);
}

/* Linux unix_writable: there is room before the queue is full, so that a writer that was told so
 * gets rid of a good piece. */
static bool writable(const struct unix_sock *u)
{
    return u->phase != PHASE_LISTENING && (u->peer == NULL || u->peer->queued * 4 <= QUEUE_MAX);
}

static bool queue_room(const struct unix_sock *to, size_t n)
{
    return to->queued == 0 || to->queued + n <= QUEUE_MAX;
}

static bool backlog_room(const struct unix_sock *listener)
{
    return listener->backlog_len <= listener->backlog_max;
}

/* Sleep at another socket until there is room or it is no longer what it was. As sock_wait. */
static int wait_room(struct unix_sock *u, struct unix_sock *at, size_t n, uint64_t deadline)
{
    if (deadline == 0)
        return -EAGAIN;
    int r = WAIT_EVENT(&at->s.waitq, EV_ROOM | EV_HUP,
                       at->closed || at->rx_shut || u->tx_shut ||
                           (at->phase == PHASE_LISTENING ? backlog_room(at) : queue_room(at, n)),
                       deadline, true);
    if (r == -EINTR)
        return deadline == DEADLINE_NEVER ? -ERESTARTSYS : -EINTR;
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

// ---- names ----

/* What the program calls us: bytes after the family. A path counts up to its NUL. */
static int addr_decode(const struct sock_addr *a, struct sock_addr *ret)
{
    if (a->len <= 2 || a->len > UNIX_ADDR_BYTES || addr_family(a) != DOMAIN_UNIX)
        return -EINVAL;
    *ret = *a;
    if (a->bytes[2] != 0) {
        uint32_t n = (uint32_t)strnlen((const char *)a->bytes + 2, a->len - 2);
        ret->bytes[2 + n] = 0;
        ret->len = 2 + n + 1;
    }
    return 0;
}

static struct unix_sock *name_find(const struct sock_addr *a, const struct inode *inode)
{
    LIST_FOR_EACH (node, &names) {
        struct unix_sock *u = LIST_ENTRY(node, struct unix_sock, name_link);
        if (inode != NULL ? u->inode == inode
                          : u->inode == NULL && u->addr.len == a->len &&
                                memcmp(u->addr.bytes, a->bytes, a->len) == 0)
            return u;
    }
    return NULL;
}

/* The socket with this name, referenced: 0; -ECONNREFUSED, or why the path leads nowhere. */
static int name_lookup(const struct sock_addr *user, struct unix_sock **ret)
{
    struct sock_addr a;
    struct inode *inode = NULL;
    int r = addr_decode(user, &a);
    if (r == 0 && a.bytes[2] != 0)
        r = unix_node_find((const char *)a.bytes + 2, &inode);
    if (r < 0)
        return r;
    spin_lock(&unix_lock);
    *ret = name_find(&a, inode);
    if (*ret != NULL)
        (*ret)->refs++;
    spin_unlock(&unix_lock);
    if (inode != NULL)
        unix_node_put(inode);
    return *ret != NULL ? 0 : -ECONNREFUSED;
}

/* Linux's autobind: an abstract name of five hex digits. */
static int autobind(struct unix_sock *u)
{
    static uint32_t next; // protected by unix_lock
    struct sock_addr a = {.len = 8};
    *(uint16_t *)(void *)a.bytes = DOMAIN_UNIX;
    int r = -ENOSPC;
    spin_lock(&unix_lock);
    for (int i = 0; i < AUTOBIND_TRIES && r < 0 && u->addr.len == 2; i++, next++) {
        for (int d = 0; d < 5; d++)
            a.bytes[3 + d] = (uint8_t) "0123456789abcdef"[next >> (16 - 4 * d) & 15];
        if (name_find(&a, NULL) != NULL)
            continue;
        u->addr = a;
        list_push_back(&names, &u->name_link);
        r = 0;
    }
    spin_unlock(&unix_lock);
    return u->addr.len > 2 ? 0 : r;
}

static int unix_bind(struct sock *s, const struct sock_addr *user)
{
    struct unix_sock *u = of(s);
    struct sock_addr a;
    struct inode *inode = NULL;
    if (user->len == 2 && addr_family(user) == DOMAIN_UNIX)
        return autobind(u);
    int r = addr_decode(user, &a);
    if (r < 0)
        return r;
    if (u->addr.len > 2)
        return -EINVAL;
    if (a.bytes[2] != 0) {
        r = unix_node_make((const char *)a.bytes + 2, &inode);
        if (r < 0)
            return r == -EEXIST ? -EADDRINUSE : r;
    }
    spin_lock(&unix_lock);
    if (u->addr.len > 2) {
        r = -EINVAL;
    } else if (inode == NULL && name_find(&a, NULL) != NULL) {
        r = -EADDRINUSE;
    } else {
        u->addr = a;
        u->inode = TAKE(inode);
        list_push_back(&names, &u->name_link);
    }
    spin_unlock(&unix_lock);
    if (inode != NULL)
        unix_node_put(inode);
    return r;
}

static int unix_name(struct sock *s, bool peer, struct sock_addr *ret)
{
    struct unix_sock *u = of(s);
    int r = 0;
    spin_lock(&unix_lock);
    if (!peer)
        *ret = u->addr;
    else if (u->peer != NULL)
        *ret = u->peer->addr;
    else
        r = -ENOTCONN;
    spin_unlock(&unix_lock);
    return r;
}

// ---- connections ----

static void join(struct unix_sock *a, struct unix_sock *b) // unix_lock held, or not yet known
{
    a->peer = b;
    b->peer = a;
    a->refs++;
    b->refs++;
    a->peer_creds = b->creds;
    b->peer_creds = a->creds;
    a->phase = b->phase = PHASE_CONNECTED;
}

static int unix_pair(struct sock *a, struct sock *b)
{
    join(of(a), of(b));
    return 0;
}

static int unix_listen(struct sock *s, uint32_t backlog)
{
    struct unix_sock *u = of(s);
    int r = 0;
    spin_lock(&unix_lock);
    if (!connected_kind(u)) {
        r = -EOPNOTSUPP;
    } else if (u->addr.len <= 2 || u->phase == PHASE_CONNECTED) {
        r = -EINVAL;
    } else {
        u->phase = PHASE_LISTENING;
        u->backlog_max = backlog;
    }
    spin_unlock(&unix_lock);
    return r;
}

/* Datagrams: the peer is where they go, nothing more. */
static int dgram_connect(struct unix_sock *u, const struct sock_addr *a)
{
    struct unix_sock *other = NULL;
    if (addr_family(a) != DOMAIN_UNSPEC) {
        int r = name_lookup(a, &other);
        if (r < 0)
            return r;
    }
    spin_lock(&unix_lock);
    int r = other != NULL && connected_kind(other) ? -EPROTOTYPE : 0;
    struct unix_sock *old = other;
    if (r == 0) {
        old = u->peer;
        u->peer = other;
        u->phase = other != NULL ? PHASE_CONNECTED : PHASE_FRESH;
    }
    if (old != NULL)
        unref(old);
    spin_unlock(&unix_lock);
    return r;
}

/* One try: 0; -EAGAIN: the backlog is full. new becomes the other end. unix_lock held. */
static int connect_try(struct unix_sock *u, struct unix_sock *listener, struct unix_sock *new)
{
    if (listener->s.type != u->s.type)
        return -EPROTOTYPE;
    if (listener->phase != PHASE_LISTENING || listener->closed || listener->rx_shut)
        return -ECONNREFUSED;
    if (u->phase != PHASE_FRESH)
        return u->phase == PHASE_CONNECTED ? -EISCONN : -EINVAL;
    if (!backlog_room(listener))
        return -EAGAIN;
    new->addr = listener->addr;
    new->creds = listener->creds;
    join(u, new);
    list_push_back(&listener->backlog, &new->link);
    listener->backlog_len++;
    wake(listener, EV_IN);
    return 0;
}

static int unix_connect(struct sock *s, const struct sock_addr *a, bool nonblock)
{
    struct unix_sock *u = of(s), *listener;
    struct sock *new;
    if (a->len < 2)
        return -EINVAL;
    if (!connected_kind(u))
        return dgram_connect(u, a);
    int r = name_lookup(a, &listener);
    if (r < 0)
        return r;
    uint64_t deadline = sock_deadline(s->snd_ns, nonblock);
    r = unix_sock_new(s->type, &new);
    bool made = r == 0;
    while (r == 0) {
        spin_lock(&unix_lock);
        r = connect_try(u, listener, of(new));
        spin_unlock(&unix_lock);
        if (r == 0)
            made = false; // the listener's now
        if (r != -EAGAIN)
            break;
        r = wait_room(u, listener, 0, deadline);
    }
    if (made)
        new->ops->release(new);
    spin_lock(&unix_lock);
    unref(listener);
    spin_unlock(&unix_lock);
    return r;
}

static int unix_accept(struct sock *s, bool nonblock, struct sock **ret)
{
    struct unix_sock *u = of(s);
    uint64_t deadline = sock_deadline(s->rcv_ns, nonblock);
    if (!connected_kind(u))
        return -EOPNOTSUPP;
    for (;;) {
        spin_lock(&unix_lock);
        struct list *first = NULL;
        int r = u->phase != PHASE_LISTENING || u->rx_shut ? -EINVAL : 0;
        if (r == 0) {
            first = list_pop_front(&u->backlog);
            r = first == NULL ? -EAGAIN : 0;
        }
        if (r == 0) {
            u->backlog_len--;
            wake(u, EV_ROOM);
        }
        spin_unlock(&unix_lock);
        if (r == 0) {
            *ret = &LIST_ENTRY(first, struct unix_sock, link)->s;
            return 0;
        }
        if (r == -EAGAIN)
            r = sock_wait(s, EV_IN, deadline, true);
        if (r < 0)
            return r;
    }
}

/* Both directions of a stream as shutdown(2) wants; the peer sees the mirror image. */
static void shut(struct unix_sock *u, bool rx, bool tx) // unix_lock held
{
    u->rx_shut |= rx;
    u->tx_shut |= tx;
    wake(u, EV_IN | EV_OUT | EV_ROOM | EV_RDHUP | (u->rx_shut && u->tx_shut ? EV_HUP : 0u));
    struct unix_sock *p = u->peer;
    if (p == NULL || !connected_kind(u))
        return;
    p->rx_shut |= tx;
    p->tx_shut |= rx;
    wake(p, EV_IN | EV_OUT | EV_ROOM | EV_RDHUP | (p->rx_shut && p->tx_shut ? EV_HUP : 0u));
}

static int unix_shutdown(struct sock *s, int how)
{
    spin_lock(&unix_lock);
    shut(of(s), how != SHUT_WRITE, how != SHUT_READ);
    spin_unlock(&unix_lock);
    return 0;
}

static void unix_release(struct sock *s)
{
    struct unix_sock *u = of(s);
    struct list msgs, waiting;
    list_init(&msgs);
    list_init(&waiting);
    spin_lock(&unix_lock);
    u->closed = true;
    list_remove(&u->name_link);
    struct inode *inode = TAKE(u->inode);
    bool unread = !list_empty(&u->queue);
    while (!list_empty(&u->queue))
        list_push_back(&msgs, list_pop_front(&u->queue));
    while (!list_empty(&u->backlog))
        list_push_back(&waiting, list_pop_front(&u->backlog));
    struct unix_sock *peer = TAKE(u->peer);
    if (peer != NULL) {
        if (connected_kind(u)) {
            peer->rx_shut = peer->tx_shut = true;
            peer->error = unread ? ECONNRESET : peer->error;
            wake(peer, EV_IN | EV_OUT | EV_RDHUP | EV_HUP | (unread ? EV_ERR : 0u));
        }
        unref(peer);
    }
    wake(u, EV_ROOM | EV_HUP); // whoever waits to connect or to send here
    unref(u);
    spin_unlock(&unix_lock);
    while (!list_empty(&msgs))
        msg_free(LIST_ENTRY(list_pop_front(&msgs), struct unix_msg, link));
    while (!list_empty(&waiting))
        unix_release(&LIST_ENTRY(list_pop_front(&waiting), struct unix_sock, link)->s);
    if (inode != NULL)
        unix_node_put(inode);
}

// ---- sending ----

/* A message of n bytes from the buffers: 0, -ENOMEM, -EFAULT. */
static int msg_new(struct uio *u, size_t n, struct unix_msg **ret)
{
    struct unix_msg *m = kmalloc(sizeof(*m) + n);
    if (m == NULL)
        return -ENOMEM;
    m->rights = NULL;
    m->len = n;
    m->done = 0;
    int r = uio_take(u, m->data, n);
    if (r < 0)
        kfree(m);
    else
        *ret = m;
    return r;
}

/* Where a send goes: 0 with a referenced socket. */
static int target_find(struct unix_sock *u, const struct sock_msg *m, struct unix_sock **ret)
{
    bool named = m->addr != NULL && m->addr->len > 0;
    if (named && u->s.type == SOCK_STREAM)
        return u->phase == PHASE_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    if (named && u->s.type == SOCK_DGRAM)
        return name_lookup(m->addr, ret);
    spin_lock(&unix_lock);
    *ret = u->peer;
    int r = u->peer == NULL ? -ENOTCONN : 0;
    if (connected_kind(u) && u->tx_shut && u->phase == PHASE_CONNECTED)
        r = -EPIPE; // also when the peer is gone
    if (r == 0)
        u->peer->refs++;
    spin_unlock(&unix_lock);
    return r;
}

/* One try to put m into the queue of `to`: 0; -EAGAIN: full. unix_lock held. */
static int put_try(struct unix_sock *u, struct unix_sock *to, struct unix_msg *m)
{
    if (u->tx_shut || to->rx_shut)
        return -EPIPE;
    if (to->closed)
        return connected_kind(u) ? -EPIPE : -ECONNREFUSED;
    if (connected_kind(to) != connected_kind(u))
        return -EPROTOTYPE;
    if (!queue_room(to, m->len))
        return -EAGAIN;
    m->from = u->addr;
    list_push_back(&to->queue, &m->link);
    to->queued += m->len;
    wake(to, EV_IN);
    return 0;
}

static int put(struct unix_sock *u, struct unix_sock *to, struct unix_msg *m, uint64_t deadline)
{
    for (;;) {
        spin_lock(&unix_lock);
        int r = put_try(u, to, m);
        spin_unlock(&unix_lock);
        if (r != -EAGAIN)
            return r;
        r = wait_room(u, to, m->len, deadline);
        if (r < 0)
            return r;
    }
}

static int64_t send_all(struct unix_sock *u, struct unix_sock *to, struct sock_msg *m,
                        struct unix_rights **rights)
{
    uint64_t deadline = sock_deadline(u->s.snd_ns, m->flags & MSG_DONTWAIT);
    bool stream = u->s.type == SOCK_STREAM;
    size_t max = stream ? STREAM_PART : PACKET_MAX, done = 0;
    if (!stream && m->u->left > max)
        return -EMSGSIZE;
    do {
        struct unix_msg *msg;
        size_t n = MIN(m->u->left, max);
        int r = n == 0 && stream ? -EAGAIN : msg_new(m->u, n, &msg);
        if (r == -EAGAIN)
            return 0; // a stream has no empty messages
        if (r == 0) {
            msg->rights = TAKE(*rights);
            r = put(u, to, msg, deadline);
            if (r < 0) {
                *rights = TAKE(msg->rights);
                kfree(msg);
            }
        }
        if (r < 0)
            return done > 0 ? (int64_t)done : r;
        done += n;
    } while (m->u->left > 0);
    return (int64_t)done;
}

static int64_t unix_send(struct sock *s, struct sock_msg *m)
{
    struct unix_sock *u = of(s), *to;
    struct unix_rights *rights = NULL;
    if (m->flags & MSG_OOB)
        return -EOPNOTSUPP;
    int r = m->control_len > 0 ? unix_rights_take(m, &rights) : 0;
    if (r < 0)
        return r;
    int64_t n = target_find(u, m, &to);
    if (n == 0) {
        n = send_all(u, to, m, &rights);
        spin_lock(&unix_lock);
        unref(to);
        spin_unlock(&unix_lock);
    }
    unix_rights_free(rights);
    if (n == -EPIPE && s->type == SOCK_STREAM && !(m->flags & MSG_NOSIGNAL))
        signal_send_task(current(), SIGPIPE);
    return n;
}

// ---- receiving ----

/* What one receive has gathered. */
struct gather {
    size_t want, done;
    struct unix_rights *rights;
    struct list spent; // emptied messages, to free
};

/* Take from the first message: 1 go on, 0 finished, -EFAULT. unix_lock held, queue not empty. */
static int take_first(struct unix_sock *u, struct sock_msg *m, struct gather *g, struct list *at)
{
    struct unix_msg *msg = LIST_ENTRY(at, struct unix_msg, link);
    bool stream = u->s.type == SOCK_STREAM, peek = m->flags & MSG_PEEK;
    size_t left = msg->len - msg->done, part = MIN(left, g->want - g->done);
    if (part > 0 && uio_put_atomic(m->u, msg->data + msg->done, part) < 0)
        return -EFAULT;
    g->done += part;
    if (m->addr != NULL && !stream)
        *m->addr = msg->from.len > 2 ? msg->from : (struct sock_addr){.len = 0};
    if (!stream && part < left) {
        m->flags_out |= MSG_TRUNC;
        if (m->flags & MSG_TRUNC)
            g->done = left;
    }
    if (peek)
        return stream && g->done < g->want;
    bool files = msg->rights != NULL;
    g->rights = files ? TAKE(msg->rights) : g->rights;
    msg->done += part;
    u->queued -= stream ? part : msg->len;
    if (!stream || msg->done == msg->len) {
        list_remove(&msg->link);
        list_push_back(&g->spent, &msg->link);
    }
    return stream && !files && g->done < g->want;
}

/* One try: 1 finished; -EAGAIN: nothing there; -EFAULT; or an error. unix_lock held. */
static int recv_try(struct unix_sock *u, struct sock_msg *m, struct gather *g)
{
    if (connected_kind(u) && u->phase != PHASE_CONNECTED)
        return u->s.type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
    if (list_empty(&u->queue)) {
        if (u->error != 0)
            return -TAKE(u->error);
        return u->rx_shut ? 1 : -EAGAIN;
    }
    int r = 1;
    for (struct list *at = u->queue.next; at != &u->queue && r > 0;) {
        struct list *next = at->next;
        r = take_first(u, m, g, at);
        at = next;
    }
    if (!(m->flags & MSG_PEEK)) {
        if (u->peer != NULL && u->peer->peer == u && writable(u->peer))
            wake(u->peer, EV_OUT);
        wake(u, EV_ROOM);
    }
    if (r < 0)
        return r;
    return u->s.type == SOCK_STREAM && m->flags & MSG_WAITALL && g->done < g->want &&
                   g->rights == NULL && !u->rx_shut && !(m->flags & MSG_PEEK)
               ? -EAGAIN
               : 1;
}

static int64_t unix_recv(struct sock *s, struct sock_msg *m)
{
    struct unix_sock *u = of(s);
    struct gather g = {.want = m->u->left};
    uint64_t deadline = sock_deadline(s->rcv_ns, m->flags & MSG_DONTWAIT);
    uint64_t control_len = m->control_len;
    int r;
    list_init(&g.spent);
    if (m->addr != NULL)
        m->addr->len = 0;
    if (m->flags & MSG_OOB)
        return -EOPNOTSUPP;
    for (unsigned faults = 0;;) {
        spin_lock(&unix_lock);
        r = recv_try(u, m, &g);
        spin_unlock(&unix_lock);
        if (r == -EFAULT && faults++ < ATOMIC_RETRIES_MAX) {
            r = uio_fault_in(m->u, MIN(m->u->left, (size_t)FAULT_IN_BYTES), true);
            if (r == 0)
                continue;
        }
        if (r != -EAGAIN)
            break;
        r = sock_wait(s, EV_IN | EV_RDHUP, deadline, false);
        if (r < 0)
            break;
    }
    while (!list_empty(&g.spent))
        msg_free(LIST_ENTRY(list_pop_front(&g.spent), struct unix_msg, link));
    m->control_len = g.rights != NULL ? control_len : 0;
    if (g.rights != NULL)
        unix_rights_give(m, g.rights);
    return g.done > 0 || r >= 0 ? (int64_t)g.done : r;
}

// ---- the rest ----

static uint32_t unix_poll(struct sock *s)
{
    struct unix_sock *u = of(s);
    uint32_t ready = 0;
    spin_lock(&unix_lock);
    if (u->error != 0)
        ready |= EV_ERR;
    if ((u->rx_shut && u->tx_shut) || (connected_kind(u) && u->phase == PHASE_FRESH))
        ready |= EV_HUP;
    if (u->rx_shut)
        ready |= EV_RDHUP | EV_IN | EV_RDNORM;
    if (!list_empty(&u->queue) || !list_empty(&u->backlog))
        ready |= EV_IN | EV_RDNORM;
    if (writable(u))
        ready |= EV_OUT | EV_WRNORM | EV_WRBAND;
    spin_unlock(&unix_lock);
    return ready;
}

static int64_t unix_ioctl(struct sock *s, uint32_t cmd, uint64_t arg)
{
    struct unix_sock *u = of(s);
    uint64_t v = 0;
    int r = 0;
    if (cmd != IOCTL_INQ && cmd != IOCTL_OUTQ)
        return inet_ioctl(cmd, arg);
    spin_lock(&unix_lock);
    if (u->phase == PHASE_LISTENING)
        r = -EINVAL;
    else if (cmd == IOCTL_OUTQ)
        v = u->peer != NULL && connected_kind(u) ? u->peer->queued : 0;
    else if (connected_kind(u))
        v = u->queued;
    else if (!list_empty(&u->queue))
        v = LIST_ENTRY(u->queue.next, struct unix_msg, link)->len;
    spin_unlock(&unix_lock);
    return r < 0 ? r : ioctl_put_int(arg, v);
}

static int unix_opt_set(struct sock *s UNUSED, int level, int name, const struct sock_opt *o UNUSED)
{
    return level == SOL_SOCKET && name == SO_REUSEADDR ? 0 : // means nothing here, also on Linux
               -ENOPROTOOPT;
}

static int unix_opt_get(struct sock *s, int level, int name, struct sock_opt *ret)
{
    struct unix_sock *u = of(s);
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    switch (name) {
    case SO_ERROR:
        spin_lock(&unix_lock);
        opt_put_int(ret, TAKE(u->error));
        spin_unlock(&unix_lock);
        return 0;
    case SO_ACCEPTCONN:
        return opt_put_int(ret, u->phase == PHASE_LISTENING);
    case SO_SNDBUF:
    case SO_RCVBUF:
        return opt_put_int(ret, QUEUE_MAX);
    case SO_PEERCRED: {
        bool known = u->phase == PHASE_CONNECTED && connected_kind(u);
        int cred[3] = {known ? current()->process->pid : 0, known ? (int)u->peer_creds.euid : -1,
                       known ? (int)u->peer_creds.egid : -1};
        memcpy(ret->bytes, cred, sizeof(cred));
        ret->len = sizeof(cred);
        return 0;
    }
    default:
        return -ENOPROTOOPT;
    }
}

static const struct sock_ops unix_ops = {
    .bind = unix_bind,
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .name = unix_name,
    .send = unix_send,
    .recv = unix_recv,
    .shutdown = unix_shutdown,
    .opt_set = unix_opt_set,
    .opt_get = unix_opt_get,
    .poll = unix_poll,
    .ioctl = unix_ioctl,
    .pair = unix_pair,
    .release = unix_release,
};
