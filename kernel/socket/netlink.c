// SPDX-License-Identifier: Apache-2.0
/* AF_NETLINK, NETLINK_ROUTE: what programs ask to learn about interfaces and addresses
 * (netlink(7), rtnetlink(7)); Go's net.Interfaces and glibc's getifaddrs. Links and addresses can
 * be read; all else is answered with an error message, as the protocol has it. */
#include "base/cursor.h"
#include "base/list.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/task.h"
#include "kernel/socket/inet.h"
#include "kernel/socket/options.h"
#include "kernel/socket/stack.h"

enum { DOMAIN_INET6 = 10, ADDR_BYTES = 12 };
enum { REQUEST_MAX = 4096, ANSWER_MAX = 1024, QUEUE_LEN_MAX = 64 };
enum { NLMSG_NOOP = 1, NLMSG_ERROR = 2, NLMSG_DONE = 3, NLMSG_TYPES = 16 };
enum { NLM_F_MULTI = 2, NLM_F_ACK = 4, NLM_F_DUMP = 0x300 };
enum { RTM_NEWLINK = 16, RTM_GETLINK = 18, RTM_NEWADDR = 20, RTM_GETADDR = 22 };
enum { IFLA_ADDRESS = 1, IFLA_BROADCAST = 2, IFLA_IFNAME = 3, IFLA_MTU = 4, IFLA_OPERSTATE = 16 };
enum { IFA_ADDRESS = 1, IFA_LOCAL = 2, IFA_LABEL = 3, IFA_BROADCAST = 4, IFA_F_PERMANENT = 0x80 };
enum { OPER_UNKNOWN = 0, OPER_DOWN = 2, OPER_UP = 6, SCOPE_HOST = 254 };

struct nlmsg {
    uint32_t len; // with this header
    uint16_t type, flags;
    uint32_t seq, pid;
};

struct answer {
    struct list link;
    size_t len;
    _Alignas(4) uint8_t data[ANSWER_MAX];
};

struct nl_sock {
    struct sock s;
    struct spinlock lock;
    // Protected by lock.
    struct list queue; // struct answer
    unsigned queue_len;
    uint32_t pid; // our address; 0: none yet
};

static const struct sock_ops nl_ops;

static struct nl_sock *of(struct sock *s)
{
    return (struct nl_sock *)(void *)s;
}

int netlink_sock_new(uint16_t type, struct sock **ret)
{
    struct nl_sock *n = kzalloc(sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    sock_init(&n->s, &nl_ops, DOMAIN_NETLINK, type, 0);
    list_init(&n->queue);
    *ret = &n->s;
    return 0;
}

static void nl_release(struct sock *s)
{
    struct list *l;
    while ((l = list_pop_front(&of(s)->queue)) != NULL)
        kfree(LIST_ENTRY(l, struct answer, link));
    kfree(of(s));
}

// ---- addresses ----

static void addr_put(struct sock_addr *a, uint32_t pid)
{
    struct writer w = writer_of(a->bytes, sizeof(a->bytes));
    writer_le16(&w, DOMAIN_NETLINK);
    writer_le16(&w, 0);
    writer_le32(&w, pid);
    writer_le32(&w, 0); // groups
    a->len = ADDR_BYTES;
}

/* The process's number for its first socket, then others that no process has. */
static void address(struct nl_sock *n, uint32_t wanted)
{
    static uint32_t taken; // atomic
    spin_lock(&n->lock);
    if (n->pid == 0) {
        uint32_t nth = __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
        n->pid = wanted != 0 ? wanted
                 : nth == 0  ? (uint32_t)current()->process->pid
                             : UINT32_MAX - nth;
    }
    spin_unlock(&n->lock);
}

static int nl_bind(struct sock *s, const struct sock_addr *a)
{
    struct cursor c = cursor_of(a->bytes, a->len);
    uint16_t family, pad;
    uint32_t pid, groups;
    if (cursor_le16(&c, &family) < 0 || cursor_le16(&c, &pad) < 0 || cursor_le32(&c, &pid) < 0 ||
        cursor_le32(&c, &groups) < 0 || family != DOMAIN_NETLINK)
        return -EINVAL;
    if (groups != 0)
        return -EOPNOTSUPP; // nothing is ever told to groups
    if (of(s)->pid != 0 && pid != of(s)->pid)
        return -EINVAL;
    address(of(s), pid);
    return 0;
}

static int nl_connect(struct sock *s, const struct sock_addr *a, bool nonblock UNUSED)
{
    if (a->len < ADDR_BYTES || addr_family(a) != DOMAIN_NETLINK)
        return -EINVAL;
    address(of(s), 0);
    return 0; // to the kernel, as ever
}

static int nl_name(struct sock *s, bool peer, struct sock_addr *ret)
{
    addr_put(ret, peer ? 0 : of(s)->pid);
    return 0;
}

// ---- answers ----

static size_t begin(struct writer *w, const struct nlmsg *request, uint32_t pid, uint16_t type,
                    uint16_t flags)
{
    size_t at = w->len;
    writer_le32(w, 0); // length, by end()
    writer_le16(w, type);
    writer_le16(w, flags);
    writer_le32(w, request->seq);
    writer_le32(w, pid);
    return at;
}

static void end(struct writer *w, size_t at)
{
    uint32_t len = (uint32_t)(w->len - at);
    memcpy(w->start + at, &len, sizeof(len));
}

static void attribute(struct writer *w, uint16_t type, const void *data, size_t len)
{
    static const uint8_t zeroes[4];
    writer_le16(w, (uint16_t)(4 + len));
    writer_le16(w, type);
    writer_bytes(w, data, len);
    writer_bytes(w, zeroes, ALIGN_UP(len, (size_t)4) - len);
}

static void link_put(struct writer *w, const struct nlmsg *q, uint32_t pid, int index,
                     const struct stack_if *eth)
{
    struct inet_if i;
    uint8_t broadcast[6];
    inet_if_get(index, eth, &i);
    bool lo = index == INET_IF_LO;
    memset(broadcast, lo ? 0 : 0xff, sizeof(broadcast));
    size_t at = begin(w, q, pid, RTM_NEWLINK, q->flags & NLM_F_DUMP ? NLM_F_MULTI : 0);
    writer_u8(w, DOMAIN_UNSPEC);
    writer_u8(w, 0);
    writer_le16(w, i.hardware);
    writer_le32(w, (uint32_t)index);
    writer_le32(w, i.flags);
    writer_le32(w, 0); // change mask
    attribute(w, IFLA_IFNAME, i.name, strlen(i.name) + 1);
    attribute(w, IFLA_MTU, &i.mtu, sizeof(i.mtu));
    attribute(w, IFLA_ADDRESS, i.mac, sizeof(i.mac));
    attribute(w, IFLA_BROADCAST, broadcast, sizeof(broadcast));
    uint8_t oper = lo ? OPER_UNKNOWN : eth->link ? OPER_UP : OPER_DOWN;
    attribute(w, IFLA_OPERSTATE, &oper, sizeof(oper));
    end(w, at);
}

static void addr_message(struct writer *w, const struct nlmsg *q, uint32_t pid, int index,
                         const struct stack_if *eth)
{
    struct inet_if i;
    inet_if_get(index, eth, &i);
    if (i.ip == 0)
        return;
    uint32_t ip = __builtin_bswap32(i.ip), broadcast = __builtin_bswap32(i.ip | ~i.netmask);
    size_t at = begin(w, q, pid, RTM_NEWADDR, NLM_F_MULTI);
    writer_u8(w, DOMAIN_INET);
    writer_u8(w, i.netmask == 0 ? 0 : (uint8_t)(32 - __builtin_ctz(i.netmask)));
    writer_u8(w, IFA_F_PERMANENT);
    writer_u8(w, index == INET_IF_LO ? SCOPE_HOST : 0);
    writer_le32(w, (uint32_t)index);
    attribute(w, IFA_ADDRESS, &ip, sizeof(ip));
    attribute(w, IFA_LOCAL, &ip, sizeof(ip));
    if (index != INET_IF_LO)
        attribute(w, IFA_BROADCAST, &broadcast, sizeof(broadcast));
    attribute(w, IFA_LABEL, i.name, strlen(i.name) + 1);
    end(w, at);
}

static void error_put(struct writer *w, const struct nlmsg *q, uint32_t pid, int error)
{
    size_t at = begin(w, q, pid, NLMSG_ERROR, 0);
    writer_le32(w, (uint32_t)error);
    writer_bytes(w, q, sizeof(*q));
    end(w, at);
}

static void done_put(struct writer *w, const struct nlmsg *q, uint32_t pid)
{
    size_t at = begin(w, q, pid, NLMSG_DONE, NLM_F_MULTI);
    writer_le32(w, 0);
    end(w, at);
}

/* Answer one request whose body is c. */
static void answer(struct writer *w, const struct nlmsg *q, struct cursor c, uint32_t pid)
{
    struct stack_if eth;
    uint8_t family = 0, pad;
    uint16_t type;
    uint32_t index = 0;
    int error = 0;
    bool dump = (q->flags & NLM_F_DUMP) == NLM_F_DUMP;
    stack_if_get(&eth);
    int last = eth.exists ? INET_IF_ETH : INET_IF_LO;
    if (cursor_u8(&c, &family) < 0 ||
        (!dump &&
         (cursor_u8(&c, &pad) < 0 || cursor_le16(&c, &type) < 0 || cursor_le32(&c, &index) < 0)))
        error = -EINVAL;
    else if (q->type == RTM_GETLINK && !dump && index >= INET_IF_LO && (int)index <= last)
        link_put(w, q, pid, (int)index, &eth);
    else if (q->type == RTM_GETLINK && !dump)
        error = -ENODEV;
    else if ((q->type != RTM_GETLINK && q->type != RTM_GETADDR) || !dump)
        error = -EOPNOTSUPP;
    for (int i = INET_IF_LO; error == 0 && dump && i <= last; i++) {
        if (q->type == RTM_GETLINK)
            link_put(w, q, pid, i, &eth);
        else if (family != DOMAIN_INET6)
            addr_message(w, q, pid, i, &eth);
    }
    if (error == 0 && dump)
        done_put(w, q, pid);
    else if (error != 0 || q->flags & NLM_F_ACK)
        error_put(w, q, pid, error);
}

/* The requests in data, each answered by a message of its own. */
static int requests(struct nl_sock *n, const uint8_t *data, size_t len)
{
    struct cursor c = cursor_of(data, len);
    struct nlmsg q;
    while (cursor_copy(&c, &q, sizeof(q)) == 0) {
        struct cursor body;
        if (q.len < sizeof(q) || cursor_sub(&c, q.len - sizeof(q), &body) < 0)
            return 0; // cut off: Linux stops here too
        size_t pad = MIN(ALIGN_UP(q.len, 4u) - q.len, c.left);
        if (cursor_skip(&c, pad) < 0)
            return 0;
        if (q.type < NLMSG_TYPES)
            continue;
        struct answer *a = kmalloc(sizeof(*a));
        if (a == NULL)
            return -ENOBUFS;
        struct writer w = writer_of(a->data, sizeof(a->data));
        answer(&w, &q, body, n->pid);
        ASSERT(!w.full);
        a->len = w.len;
        spin_lock(&n->lock);
        bool room = n->queue_len < QUEUE_LEN_MAX && a->len > 0;
        if (room) {
            list_push_back(&n->queue, &a->link);
            n->queue_len++;
            sock_event(&n->s, EV_IN);
        }
        spin_unlock(&n->lock);
        if (!room)
            kfree(a);
    }
    return 0;
}

static int64_t nl_send(struct sock *s, struct sock_msg *m)
{
    size_t len = m->u->left;
    if (m->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (len > REQUEST_MAX)
        return -EMSGSIZE;
    uint8_t *data = kmalloc(len + 1);
    if (data == NULL)
        return -ENOBUFS;
    int r = uio_take(m->u, data, len);
    if (r == 0) {
        address(of(s), 0);
        r = requests(of(s), data, len);
    }
    kfree(data);
    return r < 0 ? r : (int64_t)len;
}

/* One try: the message's length, or -EAGAIN, -EFAULT. */
static int64_t recv_try(struct nl_sock *n, struct sock_msg *m)
{
    int64_t r = -EAGAIN;
    spin_lock(&n->lock);
    if (!list_empty(&n->queue)) {
        struct answer *a = LIST_ENTRY(n->queue.next, struct answer, link);
        size_t part = MIN(a->len, m->u->left);
        r = uio_put_atomic(m->u, a->data, part);
        if (r == 0) {
            m->flags_out |= part < a->len ? (uint32_t)MSG_TRUNC : 0;
            r = (int64_t)(m->flags & MSG_TRUNC ? a->len : part);
            if (!(m->flags & MSG_PEEK)) {
                list_remove(&a->link);
                n->queue_len--;
                kfree(a);
            }
        }
    }
    spin_unlock(&n->lock);
    return r;
}

static int64_t nl_recv(struct sock *s, struct sock_msg *m)
{
    uint64_t deadline = sock_deadline(s->rcv_ns, m->flags & MSG_DONTWAIT);
    m->control_len = 0;
    if (m->addr != NULL)
        addr_put(m->addr, 0);
    if (m->flags & MSG_OOB)
        return -EOPNOTSUPP;
    for (unsigned faults = 0;;) {
        int64_t r = recv_try(of(s), m);
        if (r == -EFAULT && faults++ < ATOMIC_RETRIES_MAX) {
            r = uio_fault_in(m->u, m->u->left, true);
            if (r == 0)
                continue;
        }
        if (r != -EAGAIN)
            return r;
        r = sock_wait(s, EV_IN, deadline, false);
        if (r < 0)
            return r;
    }
}

// ---- the rest ----

static int nl_listen(struct sock *s UNUSED, uint32_t backlog UNUSED)
{
    return -EOPNOTSUPP;
}

static int nl_accept(struct sock *s UNUSED, bool nonblock UNUSED, struct sock **ret UNUSED)
{
    return -EOPNOTSUPP;
}

static int nl_shutdown(struct sock *s UNUSED, int how UNUSED)
{
    return -EOPNOTSUPP;
}

static int nl_opt_set(struct sock *s UNUSED, int level UNUSED, int name UNUSED,
                      const struct sock_opt *o UNUSED)
{
    return -ENOPROTOOPT;
}

static int nl_opt_get(struct sock *s UNUSED, int level, int name, struct sock_opt *ret)
{
    if (level == SOL_SOCKET && (name == SO_ERROR || name == SO_ACCEPTCONN))
        return opt_put_int(ret, 0);
    return -ENOPROTOOPT;
}

static uint32_t nl_poll(struct sock *s)
{
    uint32_t out = EV_OUT | EV_WRNORM;
    return list_empty(&of(s)->queue) ? out : out | EV_IN | EV_RDNORM;
}

static int64_t nl_ioctl(struct sock *s UNUSED, uint32_t cmd, uint64_t arg)
{
    return inet_ioctl(cmd, arg);
}

static int nl_pair(struct sock *a UNUSED, struct sock *b UNUSED)
{
    return -EOPNOTSUPP;
}

static const struct sock_ops nl_ops = {
    .bind = nl_bind,
    .connect = nl_connect,
    .listen = nl_listen,
    .accept = nl_accept,
    .name = nl_name,
    .send = nl_send,
    .recv = nl_recv,
    .shutdown = nl_shutdown,
    .opt_set = nl_opt_set,
    .opt_get = nl_opt_get,
    .poll = nl_poll,
    .ioctl = nl_ioctl,
    .pair = nl_pair,
    .release = nl_release,
};
