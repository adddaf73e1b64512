// SPDX-License-Identifier: Apache-2.0
#include "lab/wan.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/log.h"
#include "host/netns.h"
#include "host/rtnl.h"
#include "lab/plan.h"

enum {
    NS_PER_S = 1000000000,
    FRAME_MAX = 66 * 1024, // a TSO packet with its virtio header
    HEADER = sizeof(struct virtio_net_hdr_v1),
    MEMORY_MAX = 512 << 20, // bytes in flight over all links
    READ_BATCH = 64,        // packets of one device before the others get their turn
    EVENTS_MAX = 64,
    CLIENTS_MAX = 16,  // control connections at a time
    TUN_QUEUE = 10000, // packets; the kernel's 500 overflow on long paths
    RT_PRIORITY = 10,  // above the routers (lab/supervise.c)
};

struct packet {
    struct packet *next, *prev;
    uint64_t arrival_ns;
    uint32_t len;
    uint8_t bytes[];
};

// One direction: read from tun_in, given to tun_out when the time comes.
struct lane {
    struct link_state state;
    struct packet *head, *tail; // by arrival
    struct wan_counters counters;
    int in, out;
};

struct wan_link {
    struct link_config config;
    struct lane lanes[2]; // 0: from a to b
};

// What an epoll event belongs to.
enum tag { TAG_LANE, TAG_LISTENER, TAG_CLIENT, TAG_SIGNAL };
#define EVENT(tag, index) ((uint64_t)(tag) << 32 | (uint32_t)(index))

struct wan {
    struct wan_link links[LINKS_MAX];
    unsigned links_len;
    int epoll, listener, signals;
    unsigned clients;
    uint64_t memory; // bytes in flight
    bool stop;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

// By arrival, after those with the same; only jitter with reordering ever walks.
static void lane_insert(struct lane *l, struct packet *p)
{
    struct packet *after = l->tail;
    while (after != NULL && after->arrival_ns > p->arrival_ns)
        after = after->prev;
    p->prev = after;
    p->next = after != NULL ? after->next : l->head;
    *(p->prev != NULL ? &p->prev->next : &l->head) = p;
    *(p->next != NULL ? &p->next->prev : &l->tail) = p;
}

static struct packet *lane_take(struct lane *l)
{
    struct packet *p = l->head;
    l->head = p->next;
    *(l->head != NULL ? &l->head->prev : &l->tail) = NULL;
    return p;
}

static void packet_free(struct wan *w, struct packet *p)
{
    w->memory -= sizeof(*p) + p->len;
    free(p);
}

static void lane_clear(struct wan *w, struct lane *l)
{
    while (l->head != NULL) {
        packet_free(w, lane_take(l));
        l->counters.cut++;
    }
}

static void lane_enter(struct wan *w, struct lane *l, const struct link_config *c,
                       const uint8_t *bytes, uint32_t len)
{
    uint64_t arrival = 0;
    switch (link_enter(&l->state, c, now_ns(), len - HEADER, &arrival)) {
    case LINK_LOST:
        l->counters.lost++;
        return;
    case LINK_CUT:
        l->counters.cut++;
        return;
    case LINK_QUEUE_FULL:
        l->counters.queue_full++;
        return;
    case LINK_ARRIVES:
        break;
    }
    struct packet *p = w->memory < MEMORY_MAX ? malloc(sizeof(*p) + len) : NULL;
    if (p == NULL) {
        l->counters.memory_full++;
        return;
    }
    p->arrival_ns = arrival;
    p->len = len;
    memcpy(p->bytes, bytes, len);
    w->memory += sizeof(*p) + len;
    lane_insert(l, p);
}

static void lane_read(struct wan *w, struct lane *l, const struct link_config *c)
{
    static uint8_t frame[FRAME_MAX];
    for (unsigned i = 0; i < READ_BATCH; i++) {
        ssize_t n = read(l->in, frame, sizeof(frame));
        if (n <= (ssize_t)HEADER)
            return; // nothing more for now, or the device is down
        lane_enter(w, l, c, frame, (uint32_t)n);
    }
}

static void lane_deliver(struct wan *w, struct lane *l, uint64_t now)
{
    while (l->head != NULL && l->head->arrival_ns <= now) {
        struct packet *p = lane_take(l);
        if (write(l->out, p->bytes, p->len) == (ssize_t)p->len) {
            l->counters.packets++;
            l->counters.bytes += p->len - HEADER;
        } else {
            l->counters.refused++;
        }
        packet_free(w, p);
    }
}

// Give out what has arrived; returns when the next packet will, 0 for never.
static uint64_t deliver_all(struct wan *w)
{
    uint64_t next = 0, now = now_ns();
    for (unsigned i = 0; i < w->links_len; i++)
        for (unsigned k = 0; k < 2; k++) {
            struct lane *l = &w->links[i].lanes[k];
            lane_deliver(w, l, now);
            if (l->head != NULL && (next == 0 || l->head->arrival_ns < next))
                next = l->head->arrival_ns;
        }
    return next;
}

/* A lost packet of 64 KB would be a burst of 44 losses, and at a low rate it would stand in
 * everyone's way: such links take what a wire would carry. Checksums are left to the receiver in
 * any case. */
static int set_offload(const struct wan_link *l)
{
    bool whole = l->config.loss_ppm == 0 && l->config.rate_bps == 0;
    unsigned long flags = TUN_F_CSUM | (whole ? TUN_F_TSO4 | TUN_F_TSO_ECN : 0);
    for (unsigned k = 0; k < 2; k++)
        if (ioctl(l->lanes[k].in, TUNSETOFFLOAD, flags) < 0)
            return -errno;
    return 0;
}

static int set_carrier(const struct wan_link *l, bool on)
{
    for (unsigned k = 0; k < 2; k++)
        if (ioctl(l->lanes[k].in, TUNSETCARRIER, &(int){on}) < 0)
            return -errno;
    return 0;
}

static int link_set(struct wan *w, struct wan_link *l, const struct link_config *c)
{
    if (c->delay_ns > LINK_DELAY_MAX_NS || c->jitter_ns > LINK_DELAY_MAX_NS)
        return -EINVAL;
    bool was_unplugged = l->config.unplugged;
    l->config = *c;
    if (c->cut || c->unplugged)
        for (unsigned k = 0; k < 2; k++)
            lane_clear(w, &l->lanes[k]); // what is on a cut wire does not arrive
    int r = set_offload(l);
    if (r == 0 && was_unplugged != c->unplugged)
        r = set_carrier(l, !c->unplugged);
    return r;
}

static void serve_client(struct wan *w, int fd)
{
    struct wan_request q;
    struct wan_answer a = {.result = -EINVAL};
    ssize_t n = recv(fd, &q, sizeof(q), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != (ssize_t)sizeof(q)) {
        close(fd); // ended, or not one of ours
        w->clients--;
        return;
    }
    if (q.link < w->links_len && q.verb <= WAN_SET) {
        struct wan_link *l = &w->links[q.link];
        a.result = q.verb == WAN_SET ? link_set(w, l, &q.config) : 0;
        a.config = l->config;
        a.a_to_b = l->lanes[0].counters;
        a.b_to_a = l->lanes[1].counters;
    }
    if (send(fd, &a, sizeof(a), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_warn("answer not taken", "error=%s", strerror(errno));
}

static int watch(struct wan *w, int fd, uint64_t data)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = data};
    return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static void accept_client(struct wan *w)
{
    int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (w->clients == CLIENTS_MAX || watch(w, fd, EVENT(TAG_CLIENT, fd)) < 0)
        close(fd);
    else
        w->clients++;
}

static void handle(struct wan *w, uint64_t event)
{
    uint32_t index = (uint32_t)event;
    switch ((enum tag)(event >> 32)) {
    case TAG_LANE: {
        struct wan_link *l = &w->links[index / 2];
        lane_read(w, &l->lanes[index % 2], &l->config);
        return;
    }
    case TAG_LISTENER:
        accept_client(w);
        return;
    case TAG_CLIENT:
        serve_client(w, (int)index);
        return;
    case TAG_SIGNAL:
        w->stop = true;
        return;
    }
}

static void carry(struct wan *w)
{
    while (!w->stop) {
        uint64_t next = deliver_all(w);
        uint64_t now = now_ns(), wait = next > now ? next - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / NS_PER_S),
                                   .tv_nsec = (long)(wait % NS_PER_S)};
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_pwait2(w->epoll, events, EVENTS_MAX, next == 0 ? NULL : &timeout, NULL);
        for (int i = 0; i < n; i++)
            handle(w, events[i].data.u64);
    }
}

static int open_end(const struct plan_end *end, struct err *err)
{
    struct netns_visit visit;
    int netns = netns_open(end->netns, err);
    if (netns < 0)
        return netns;
    int r = netns_visit(netns, &visit);
    if (r < 0) {
        close(netns);
        return err_set(err, r, "namespace '%s': cannot enter: %s", end->netns, strerror(-r));
    }
    int tun = netns_tun(end->dev, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, err);
    netns_return(&visit);
    if (tun >= 0 && ioctl(tun, TUNSETVNETHDRSZ, &(int){HEADER}) < 0) {
        r = err_set(err, -errno, "device '%s': %s", end->dev, strerror(errno));
        close(tun);
        tun = r;
    }
    close(netns);
    return tun;
}

static int address_end(const struct plan_end *end, struct err *err)
{
    CLEANUP(fd_closep) int netns = netns_open(end->netns, err);
    CLEANUP(rtnl_close) struct rtnl rt = {.fd = -1};
    struct rtnl_change change = {.queue_len = TUN_QUEUE, .up = true};
    int r = netns < 0 ? netns : rtnl_open(netns, &rt, err);
    if (r == 0)
        r = rtnl_change(&rt, end->dev, &change, err);
    if (r == 0)
        r = rtnl_addr_add(&rt, end->dev, end->addr, 32, end->peer, err);
    return r;
}

// Our own instances in the other regions are reached over the backbone, not through the world.
static int route_backbone(const struct topology *t, unsigned link, const struct plan_end *end,
                          bool end_b, struct err *err)
{
    const struct link *l = &t->links[link];
    CLEANUP(fd_closep) int netns = netns_open(end->netns, err);
    CLEANUP(rtnl_close) struct rtnl rt = {.fd = -1};
    int r = netns < 0 ? netns : rtnl_open(netns, &rt, err);
    if (r == 0)
        r = rtnl_route_add(&rt, plan_region_net(end_b ? l->a : l->b), 24, 0, 0, end->dev, err);
    return r;
}

static int open_link(struct wan *w, const struct topology *t, const char *lab, unsigned i,
                     struct err *err)
{
    struct wan_link *l = &w->links[i];
    struct plan_end ends[2];
    int r = 0;
    l->config = t->links[i].config;
    for (unsigned k = 0; r >= 0 && k < 2; k++) {
        plan_end(t, lab, i, k == 1, &ends[k]);
        r = open_end(&ends[k], err);
        l->lanes[k].in = l->lanes[!k].out = r;
        link_init(&l->lanes[k].state, t->seed * 2 * LINKS_MAX + 2 * i + k);
    }
    if (r >= 0) {
        r = set_offload(l);
        if (r < 0)
            err_set(err, r, "cannot set offloads: %s", strerror(-r));
    }
    for (unsigned k = 0; r >= 0 && k < 2; k++) {
        r = address_end(&ends[k], err);
        if (r == 0 && t->links[i].kind == LINK_BACKBONE)
            r = route_backbone(t, i, &ends[k], k == 1, err);
        if (r == 0)
            r = watch(w, l->lanes[k].in, EVENT(TAG_LANE, 2 * i + k));
    }
    return r < 0 ? err_prefix(err, "link '%s'", t->links[i].name) : 0;
}

static int address_of(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(ret->sun_path))
        return -ENAMETOOLONG;
    memcpy(ret->sun_path, path, strlen(path));
    return 0;
}

static int listen_at(struct wan *w, const char *path, struct err *err)
{
    struct sockaddr_un addr;
    int r = address_of(path, &addr);
    unlink(path);
    w->listener = r < 0 ? -1 : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->listener < 0 || bind(w->listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        chmod(path, 0600) < 0 || listen(w->listener, CLIENTS_MAX) < 0) {
        r = r < 0 ? r : -errno;
        return err_set(err, r, "%s: %s", path, strerror(-r));
    }
    return watch(w, w->listener, EVENT(TAG_LISTENER, 0));
}

// Without them the links still work, but a busy machine adds delay: say so.
static void become_punctual(void)
{
    struct sched_param param = {.sched_priority = RT_PRIORITY};
    if (sched_setscheduler(0, SCHED_FIFO, &param) < 0)
        log_warn("no real-time priority, delays will be inexact", "error=%s", strerror(errno));
    struct rlimit files = {.rlim_cur = 4 * LINKS_MAX, .rlim_max = 4 * LINKS_MAX};
    setrlimit(RLIMIT_NOFILE, &files);
}

static int start(struct wan *w, const struct topology *t, const char *lab, const char *path,
                 struct err *err)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    become_punctual();
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->signals = signalfd(-1, &stop, SFD_CLOEXEC);
    int r = w->epoll < 0 || w->signals < 0 ? -errno : watch(w, w->signals, EVENT(TAG_SIGNAL, 0));
    if (r < 0)
        return err_set(err, r, "links: %s", strerror(-r));
    for (unsigned i = 0; r == 0 && i < t->links_len; i++, w->links_len++)
        r = open_link(w, t, lab, i, err);
    return r < 0 ? r : listen_at(w, path, err);
}

int wan_run(const struct topology *t, const char *lab, const char *socket_path, int ready_fd,
            struct err *err)
{
    struct wan *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return err_set(err, -ENOMEM, "links: out of memory");
    int r = start(w, t, lab, socket_path, err);
    if (r == 0) {
        log_info("links stand", "links=%u", w->links_len);
        if (ready_fd >= 0)
            close(ready_fd);
        carry(w);
        unlink(socket_path);
    }
    free(w); // descriptors and devices end with the process
    return r;
}

int wan_connect(const char *socket_path, struct err *err)
{
    struct sockaddr_un addr;
    int r = address_of(socket_path, &addr);
    int fd = r < 0 ? -1 : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        r = r < 0 ? r : -errno;
        fd_closep(&fd);
        return err_set(err, r, "no link process at %s (is the lab up?): %s", socket_path,
                       strerror(-r));
    }
    return fd;
}

int wan_ask(int fd, const struct wan_request *q, struct wan_answer *ret, struct err *err)
{
    if (send(fd, q, sizeof(*q), MSG_NOSIGNAL) == (ssize_t)sizeof(*q) &&
        recv(fd, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret)) {
        int r = ret->result;
        return r < 0 ? err_set(err, r, "link not changed: %s", strerror(-r)) : 0;
    }
    return err_set(err, -EIO, "the link process did not answer");
}
