// SPDX-License-Identifier: Apache-2.0
#include "edge/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edge/netlink.h"

enum { KIND_BEAT, KIND_SET, STOP_MS = 2000 };

struct message {
    uint32_t kind, seq, n;
    struct guard_addr addrs[GUARD_ADDRS_MAX];
};

struct ack {
    uint32_t seq;
    int32_t error;
};

// ------------------------------------------------------------------------- the guard's own side
// It may be forked from a program with threads: no allocation, no locks, no log from here on.

struct owned {
    struct guard_addr addr; // .announce: the address is on lo now
};

struct owner {
    int netlink;
    bool silent; // the edge is
    unsigned n;
    struct owned owned[GUARD_ADDRS_MAX];
    struct message wanted;
};

static bool same(const struct guard_addr *a, const struct guard_addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static const struct guard_addr *find_wanted(const struct owner *o, const struct guard_addr *a)
{
    for (uint32_t i = 0; i < o->wanted.n; i++)
        if (same(&o->wanted.addrs[i], a))
            return &o->wanted.addrs[i];
    return NULL;
}

static struct owned *find_owned(struct owner *o, const struct guard_addr *a)
{
    for (unsigned i = 0; i < o->n; i++)
        if (same(&o->owned[i].addr, a))
            return &o->owned[i];
    return NULL;
}

static int announce(struct owner *o, struct owned *x, bool on)
{
    if (x->addr.announce == on)
        return 0;
    int r = on ? netlink_addr_add(o->netlink, x->addr.family, x->addr.bytes)
               : netlink_addr_del(o->netlink, x->addr.family, x->addr.bytes);
    if (r == 0)
        x->addr.announce = on;
    return r;
}

// Bring what is owned to what is wanted: withdraw first, then announce.
static int apply(struct owner *o)
{
    int worst = 0;
    for (unsigned i = 0; i < o->n;) {
        struct owned *x = &o->owned[i];
        const struct guard_addr *want = find_wanted(o, &x->addr);
        int r = want == NULL || !want->announce || o->silent ? announce(o, x, false) : 0;
        worst = r < 0 ? r : worst;
        if (want == NULL && r == 0) {
            netlink_route_del(o->netlink, x->addr.family, x->addr.bytes);
            *x = o->owned[--o->n];
            continue;
        }
        i++;
    }
    for (uint32_t i = 0; i < o->wanted.n; i++) {
        const struct guard_addr *want = &o->wanted.addrs[i];
        struct owned *x = find_owned(o, want);
        if (x == NULL) {
            x = &o->owned[o->n++];
            x->addr = *want;
            // It may be there from an edge that was killed together with its guard.
            x->addr.announce = true;
            if (!want->announce)
                worst = MIN(worst, announce(o, x, false));
            x->addr.announce = false;
            worst = MIN(worst, netlink_route_add(o->netlink, want->family, want->bytes));
        }
        int r = want->announce && !o->silent ? announce(o, x, true) : 0;
        worst = r < 0 ? r : worst;
    }
    return worst;
}

static char *title_room;
static size_t title_len;

void guard_title(int argc, char **argv)
{
    title_room = argv[0];
    title_len = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) + 1 - argv[0]);
}

static void title_write(void)
{
    static const char title[] = "skerry-guard";
    if (title_len < sizeof(title))
        return;
    memset(title_room, 0, title_len);
    memcpy(title_room, title, sizeof(title));
}

NORETURN static void guard_main(int fd, int lock)
{
    static struct owner o;
    struct sched_param first = {.sched_priority = 2};
    prctl(PR_SET_NAME, "skerry-guard");
    title_write();
    setsid();
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP && s != SIGSEGV && s != SIGABRT && s != SIGBUS)
            signal(s, SIG_IGN);
    sched_setscheduler(0, SCHED_FIFO, &first); // a busy machine must not look like a hung edge
    while (flock(lock, LOCK_EX) < 0 && errno == EINTR)
        ;
    o.netlink = netlink_open();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        static struct message m;
        int n = poll(&p, 1, o.silent ? -1 : GUARD_SILENCE_MS);
        if (n == 0) {
            o.silent = true;
            apply(&o);
            continue;
        }
        ssize_t got = n < 0 ? -1 : recv(fd, &m, sizeof(m), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        bool back = o.silent;
        o.silent = false;
        if (m.kind == KIND_SET)
            o.wanted = m;
        int r = m.kind == KIND_SET || back ? apply(&o) : 0;
        struct ack ack = {.seq = m.seq, .error = r};
        if (m.kind == KIND_SET && send(fd, &ack, sizeof(ack), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            continue; // the edge does not read; it will ask again
    }
    o.wanted.n = 0;
    apply(&o);
    _exit(0);
}

static void keep_only(int a, int b)
{
    unsigned low = (unsigned)MIN(a, b), high = (unsigned)MAX(a, b);
    int null = open("/dev/null", O_RDWR);
    if (null >= 0)
        for (int i = 0; i <= 2; i++)
            dup2(null, i);
    if (low > 3)
        close_range(3, low - 1, 0);
    if (high > low + 1)
        close_range(low + 1, high - 1, 0);
    close_range(high + 1, ~0u, 0);
}

// -------------------------------------------------------------------------------- the edge's side

static void take_ack(struct guard *g, const struct ack *a)
{
    g->acked = a->seq;
    g->error = a->error;
    g->changed(g);
}

static void guard_ready(struct loop_fd *f, UNUSED uint32_t events)
{
    struct guard *g = CONTAINER_OF(f, struct guard, lfd);
    struct ack a;
    for (;;) {
        ssize_t n = recv(f->fd, &a, sizeof(a), MSG_DONTWAIT);
        if (n == (ssize_t)sizeof(a)) {
            take_ack(g, &a);
            continue;
        }
        if (n < 0 && errno == EAGAIN)
            return;
        break;
    }
    int fd = f->fd;
    loop_del(g->loop, f);
    close(fd);
    waitpid(g->pid, NULL, 0);
    g->pid = -1;
    g->lost(g);
}

int guard_start(struct guard *g, struct loop *loop, const char *lock_path, struct err *err)
{
    int pair[2];
    g->loop = loop;
    g->lock_path = lock_path;
    g->lfd = (struct loop_fd){.fd = -1, .ready = guard_ready};
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return err_set(err, -errno, "'%s': %s", lock_path, strerror(errno));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        close(lock);
        return err_set(err, -errno, "guard: %s", strerror(errno));
    }
    g->pid = fork();
    if (g->pid == 0) {
        keep_only(pair[1], lock);
        guard_main(pair[1], lock);
    }
    int r = g->pid < 0 ? -errno : loop_add(loop, &g->lfd, pair[0], EPOLLIN);
    close(pair[1]);
    close(lock);
    if (r < 0) {
        close(pair[0]);
        return err_set(err, r, "guard: %s", strerror(-r));
    }
    return 0;
}

static void tell(struct guard *g, const struct message *m)
{
    size_t len = offsetof(struct message, addrs) + m->n * sizeof(m->addrs[0]);
    // A full queue holds signs of life enough; a lost guard is noticed by its end of file.
    if (g->lfd.fd >= 0 && send(g->lfd.fd, m, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
}

void guard_set(struct guard *g, const struct guard_addr *addrs, unsigned n)
{
    ASSERT(n <= GUARD_ADDRS_MAX);
    struct message m = {.kind = KIND_SET, .seq = ++g->seq, .n = n};
    memmove(g->addrs, addrs, n * sizeof(*addrs));
    g->addrs_n = n;
    memcpy(m.addrs, g->addrs, n * sizeof(*addrs));
    tell(g, &m);
}

void guard_beat(struct guard *g)
{
    struct message m = {.kind = KIND_BEAT};
    tell(g, &m);
}

int guard_settle(struct guard *g, int timeout_ms)
{
    uint64_t end = loop_clock_ms() + (uint64_t)timeout_ms;
    while (g->lfd.fd >= 0 && g->acked != g->seq) {
        uint64_t now = loop_clock_ms();
        struct pollfd p = {.fd = g->lfd.fd, .events = POLLIN};
        if (now >= end || poll(&p, 1, (int)(end - now)) == 0)
            return -ETIMEDOUT;
        struct ack a;
        ssize_t n = recv(g->lfd.fd, &a, sizeof(a), MSG_DONTWAIT);
        if (n == (ssize_t)sizeof(a))
            take_ack(g, &a);
        else if (n == 0)
            return -EPIPE;
    }
    return 0;
}

void guard_stop(struct guard *g)
{
    int fd = g->lfd.fd;
    if (fd < 0)
        return;
    loop_del(g->loop, &g->lfd);
    shutdown(fd, SHUT_WR);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, STOP_MS);
    close(fd);
    waitpid(g->pid, NULL, 0);
}
