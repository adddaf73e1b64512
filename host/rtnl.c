// SPDX-License-Identifier: Apache-2.0
#include "host/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cursor.h"
#include "host/fd.h"
#include "host/netns.h"

enum { REQUEST_MAX = 1024, ANSWER_MAX = 32768 };

/* A request under construction; `w` starts with the netlink header. All sizes are small constants,
 * so running out of room is our own bug. */
struct request {
    _Alignas(NLMSG_ALIGNTO) uint8_t bytes[REQUEST_MAX];
    struct writer w;
};

static void put(struct request *q, const void *data, size_t len)
{
    static const uint8_t zeros[NLMSG_ALIGNTO];
    if (len > 0) // data may be NULL then
        writer_bytes(&q->w, data, len);
    writer_bytes(&q->w, zeros, NLMSG_ALIGN(len) - len);
    ASSERT(!q->w.full);
}

static void begin(struct request *q, uint16_t type, uint16_t flags, const void *head, size_t len)
{
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
    q->w = writer_of(q->bytes, sizeof(q->bytes));
    put(q, &h, sizeof(h));
    put(q, head, len);
}

static void attr(struct request *q, uint16_t type, const void *data, size_t len)
{
    struct rtattr a = {.rta_len = (uint16_t)(sizeof(a) + len), .rta_type = type};
    put(q, &a, sizeof(a));
    put(q, data, len);
}

static void attr_u32(struct request *q, uint16_t type, uint32_t v)
{
    attr(q, type, &v, sizeof(v));
}

static void attr_ip(struct request *q, uint16_t type, uint32_t addr)
{
    attr_u32(q, type, htonl(addr));
}

static void attr_text(struct request *q, uint16_t type, const char *s)
{
    attr(q, type, s, strlen(s) + 1);
}

// A nested attribute: open returns where it began, close writes its length there.
static size_t nest_open(struct request *q, uint16_t type)
{
    size_t at = q->w.len;
    attr(q, type, "", 0);
    return at;
}

static void nest_close(struct request *q, size_t at)
{
    uint16_t len = (uint16_t)(q->w.len - at);
    memcpy(q->bytes + at + offsetof(struct rtattr, rta_len), &len, sizeof(len));
}

static int open_socket(int netns, uint32_t groups)
{
    struct netns_visit visit;
    int r = netns >= 0 ? netns_visit(netns, &visit) : 0;
    if (r < 0)
        return r;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (groups != 0 ? SOCK_NONBLOCK : 0),
                    NETLINK_ROUTE);
    r = fd < 0 ? -errno : fd;
    if (netns >= 0)
        netns_return(&visit);
    struct sockaddr_nl me = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (r >= 0 && bind(fd, (struct sockaddr *)&me, sizeof(me)) < 0) {
        r = -errno;
        close(fd);
    }
    return r;
}

int rtnl_open(int netns, struct rtnl *ret, struct err *err)
{
    int fd = open_socket(netns, 0);
    if (fd < 0)
        return err_set(err, fd, "rtnetlink: %s", strerror(-fd));
    *ret = (struct rtnl){.fd = fd};
    return 0;
}

void rtnl_close(struct rtnl *rt)
{
    fd_closep(&rt->fd);
    rt->fd = -1;
}

static int send_request(struct rtnl *rt, struct request *q)
{
    struct nlmsghdr h;
    memcpy(&h, q->bytes, sizeof(h));
    h.nlmsg_len = (uint32_t)q->w.len;
    h.nlmsg_seq = ++rt->sequence;
    memcpy(q->bytes, &h, sizeof(h));
    return send(rt->fd, q->bytes, q->w.len, 0) < 0 ? -errno : 0;
}

/* Send and wait for the answer: the kernel's verdict, or (when reply is given) the message that was
 * asked for, of which *ret_len bytes are kept. */
static int ask(struct rtnl *rt, struct request *q, void *reply, size_t reply_max, size_t *ret_len)
{
    _Alignas(NLMSG_ALIGNTO) uint8_t answer[ANSWER_MAX];
    int r = send_request(rt, q);
    while (r == 0) {
        ssize_t n = recv(rt->fd, answer, sizeof(answer), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < (ssize_t)sizeof(struct nlmsghdr))
            return n < 0 ? -errno : -EIO;
        struct nlmsghdr h;
        memcpy(&h, answer, sizeof(h));
        if (h.nlmsg_seq != rt->sequence)
            continue; // left over from a request that was given up
        if (h.nlmsg_type == NLMSG_ERROR && n >= (ssize_t)(sizeof(h) + sizeof(struct nlmsgerr))) {
            struct nlmsgerr e;
            memcpy(&e, answer + sizeof(h), sizeof(e));
            return e.error;
        }
        if (reply != NULL) {
            *ret_len = MIN((size_t)n, reply_max);
            memcpy(reply, answer, *ret_len);
            return 0;
        }
    }
    return r;
}

static int ask_verdict(struct rtnl *rt, struct request *q)
{
    return ask(rt, q, NULL, 0, NULL);
}

// Find attribute `type` after a message head of head_len bytes; its payload as a cursor.
static int find_attr(const uint8_t *message, size_t len, size_t head_len, uint16_t type,
                     struct cursor *ret)
{
    struct cursor c = cursor_of(message, len);
    int r = cursor_skip(&c, NLMSG_ALIGN(sizeof(struct nlmsghdr)) + NLMSG_ALIGN(head_len));
    while (r == 0 && c.left >= sizeof(struct rtattr)) {
        struct rtattr a;
        r = cursor_copy(&c, &a, sizeof(a));
        if (r < 0 || a.rta_len < sizeof(a))
            return -EPROTO;
        size_t body = a.rta_len - sizeof(a);
        r = cursor_sub(&c, body, ret);
        if (r == 0 && (a.rta_type & NLA_TYPE_MASK) == type)
            return 0;
        if (r == 0)
            r = cursor_skip(&c, MIN(NLMSG_ALIGN(body) - body, c.left));
    }
    return r < 0 ? r : -ENOENT;
}

static int device_index(struct rtnl *rt, const char *dev)
{
    struct request q;
    struct ifinfomsg head = {0};
    _Alignas(NLMSG_ALIGNTO) uint8_t reply[sizeof(struct nlmsghdr) + sizeof(head)];
    size_t len;
    begin(&q, RTM_GETLINK, NLM_F_ACK, &head, sizeof(head));
    attr_text(&q, IFLA_IFNAME, dev);
    int r = ask(rt, &q, reply, sizeof(reply), &len);
    if (r == 0 && len < sizeof(reply))
        r = -EIO;
    if (r < 0)
        return r;
    memcpy(&head, reply + sizeof(struct nlmsghdr), sizeof(head));
    return head.ifi_index;
}

static int fail(struct err *err, int r, const char *verb, const char *what)
{
    return r < 0 ? err_set(err, r, "cannot %s '%s': %s", verb, what, strerror(-r)) : 0;
}

int rtnl_veth(struct rtnl *rt, const char *dev, const char *peer, int peer_netns, struct err *err)
{
    struct request q;
    struct ifinfomsg head = {0};
    begin(&q, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
    attr_text(&q, IFLA_IFNAME, dev);
    size_t info = nest_open(&q, IFLA_LINKINFO);
    attr_text(&q, IFLA_INFO_KIND, "veth");
    size_t data = nest_open(&q, IFLA_INFO_DATA);
    size_t other = nest_open(&q, VETH_INFO_PEER);
    put(&q, &head, sizeof(head));
    attr_text(&q, IFLA_IFNAME, peer);
    attr_u32(&q, IFLA_NET_NS_FD, (uint32_t)peer_netns);
    nest_close(&q, other);
    nest_close(&q, data);
    nest_close(&q, info);
    return fail(err, ask_verdict(rt, &q), "create device", dev);
}

int rtnl_bridge(struct rtnl *rt, const char *dev, struct err *err)
{
    struct request q;
    struct ifinfomsg head = {0};
    begin(&q, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
    attr_text(&q, IFLA_IFNAME, dev);
    size_t info = nest_open(&q, IFLA_LINKINFO);
    attr_text(&q, IFLA_INFO_KIND, "bridge");
    nest_close(&q, info);
    return fail(err, ask_verdict(rt, &q), "create bridge", dev);
}

int rtnl_delete(struct rtnl *rt, const char *dev, struct err *err)
{
    struct request q;
    struct ifinfomsg head = {0};
    begin(&q, RTM_DELLINK, NLM_F_ACK, &head, sizeof(head));
    attr_text(&q, IFLA_IFNAME, dev);
    return fail(err, ask_verdict(rt, &q), "delete device", dev);
}

int rtnl_change(struct rtnl *rt, const char *dev, const struct rtnl_change *c, struct err *err)
{
    struct request q;
    struct ifinfomsg head = {0};
    int master = c->master != NULL ? device_index(rt, c->master) : 0;
    if (master < 0)
        return fail(err, master, "find device", c->master);
    if (c->up)
        head.ifi_flags = head.ifi_change = IFF_UP;
    begin(&q, RTM_NEWLINK, NLM_F_ACK, &head, sizeof(head));
    attr_text(&q, IFLA_IFNAME, dev);
    if (c->mtu != 0)
        attr_u32(&q, IFLA_MTU, c->mtu);
    if (c->queue_len != 0)
        attr_u32(&q, IFLA_TXQLEN, c->queue_len);
    if (master > 0)
        attr_u32(&q, IFLA_MASTER, (uint32_t)master);
    return fail(err, ask_verdict(rt, &q), "change device", dev);
}

static int addr_request(struct rtnl *rt, uint16_t type, uint16_t flags, const char *dev,
                        uint32_t addr, unsigned prefix_len, uint32_t peer)
{
    int index = device_index(rt, dev);
    if (index < 0)
        return index;
    struct request q;
    struct ifaddrmsg head = {
        .ifa_family = AF_INET, .ifa_prefixlen = (uint8_t)prefix_len, .ifa_index = (uint32_t)index};
    begin(&q, type, (uint16_t)(NLM_F_ACK | flags), &head, sizeof(head));
    attr_ip(&q, IFA_LOCAL, addr);
    attr_ip(&q, IFA_ADDRESS, peer != 0 ? peer : addr);
    return ask_verdict(rt, &q);
}

int rtnl_addr_add(struct rtnl *rt, const char *dev, uint32_t addr, unsigned prefix_len,
                  uint32_t peer, struct err *err)
{
    int r = addr_request(rt, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, dev, addr, prefix_len, peer);
    return fail(err, r, "add an address to", dev);
}

int rtnl_addr_delete(struct rtnl *rt, const char *dev, uint32_t addr, unsigned prefix_len,
                     struct err *err)
{
    int r = addr_request(rt, RTM_DELADDR, 0, dev, addr, prefix_len, 0);
    return fail(err, r, "take an address off", dev);
}

int rtnl_route_add(struct rtnl *rt, uint32_t dst, unsigned len, uint32_t via, uint32_t src,
                   const char *dev, struct err *err)
{
    int index = device_index(rt, dev);
    if (index < 0)
        return fail(err, index, "find device", dev);
    struct request q;
    struct rtmsg head = {.rtm_family = AF_INET,
                         .rtm_dst_len = (uint8_t)len,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC,
                         .rtm_scope = via != 0 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                         .rtm_type = RTN_UNICAST};
    begin(&q, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
    if (len > 0)
        attr_ip(&q, RTA_DST, dst);
    if (via != 0)
        attr_ip(&q, RTA_GATEWAY, via);
    if (src != 0)
        attr_ip(&q, RTA_PREFSRC, src);
    attr_u32(&q, RTA_OIF, (uint32_t)index);
    return fail(err, ask_verdict(rt, &q), "add a route through", dev);
}

static int device_name(struct rtnl *rt, int index, char ret[RTNL_NAME_MAX])
{
    struct request q;
    struct ifinfomsg head = {.ifi_index = index};
    uint8_t reply[ANSWER_MAX];
    size_t len;
    begin(&q, RTM_GETLINK, NLM_F_ACK, &head, sizeof(head));
    int r = ask(rt, &q, reply, sizeof(reply), &len);
    struct cursor name;
    if (r == 0)
        r = find_attr(reply, len, sizeof(head), IFLA_IFNAME, &name);
    if (r < 0)
        return r;
    memset(ret, 0, RTNL_NAME_MAX);
    memcpy(ret, name.p, MIN(name.left, (size_t)RTNL_NAME_MAX - 1));
    return 0;
}

// The acknowledgement that follows a reply is skipped by the next ask, which has another number.
int rtnl_route_get(struct rtnl *rt, uint32_t dst, char ret_dev[RTNL_NAME_MAX], struct err *err)
{
    struct request q;
    struct rtmsg head = {.rtm_family = AF_INET, .rtm_dst_len = 32};
    uint8_t reply[ANSWER_MAX];
    size_t len;
    struct cursor oif;
    int32_t index = 0;
    begin(&q, RTM_GETROUTE, 0, &head, sizeof(head));
    attr_ip(&q, RTA_DST, dst);
    int r = ask(rt, &q, reply, sizeof(reply), &len);
    if (r == 0)
        r = find_attr(reply, len, sizeof(head), RTA_OIF, &oif);
    if (r == 0)
        r = cursor_copy(&oif, &index, sizeof(index));
    if (r == 0)
        r = device_name(rt, index, ret_dev);
    if (r < 0)
        return err_set(err, r, "no route to %u.%u.%u.%u: %s", dst >> 24, (dst >> 16) & 255,
                       (dst >> 8) & 255, dst & 255, strerror(-r));
    return 0;
}

int rtnl_watch(int netns, struct rtnl *ret, struct err *err)
{
    int fd = open_socket(netns, RTMGRP_IPV4_ROUTE);
    if (fd < 0)
        return err_set(err, fd, "rtnetlink: %s", strerror(-fd));
    struct rtnl rt = {.fd = fd};
    struct request q;
    struct rtmsg head = {.rtm_family = AF_INET};
    begin(&q, RTM_GETROUTE, NLM_F_DUMP, &head, sizeof(head));
    int r = send_request(&rt, &q);
    if (r < 0) {
        close(fd);
        return err_set(err, r, "rtnetlink: %s", strerror(-r));
    }
    *ret = rt;
    return 0;
}

static bool read_route(const uint8_t *message, size_t len, struct rtnl_route_event *ret)
{
    struct nlmsghdr h;
    struct rtmsg m;
    struct cursor dst;
    uint32_t addr = 0;
    memcpy(&h, message, sizeof(h));
    if ((h.nlmsg_type != RTM_NEWROUTE && h.nlmsg_type != RTM_DELROUTE) ||
        len < sizeof(h) + sizeof(m))
        return false;
    memcpy(&m, message + sizeof(h), sizeof(m));
    if (m.rtm_table != RT_TABLE_MAIN || m.rtm_type != RTN_UNICAST)
        return false;
    if (m.rtm_dst_len > 0 &&
        (find_attr(message, len, sizeof(m), RTA_DST, &dst) < 0 || cursor_be32(&dst, &addr) < 0))
        return false;
    *ret = (struct rtnl_route_event){
        .dst = addr, .len = m.rtm_dst_len, .gone = h.nlmsg_type == RTM_DELROUTE};
    return true;
}

int rtnl_watch_read(struct rtnl *rt, rtnl_route_fn *each, void *context)
{
    for (;;) {
        _Alignas(NLMSG_ALIGNTO) uint8_t bytes[ANSWER_MAX];
        ssize_t n = recv(rt->fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        struct cursor c = cursor_of(bytes, (size_t)n);
        while (c.left >= sizeof(struct nlmsghdr)) {
            struct nlmsghdr h;
            struct rtnl_route_event event;
            memcpy(&h, c.p, sizeof(h));
            if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > c.left)
                return -EPROTO;
            if (read_route(c.p, h.nlmsg_len, &event))
                each(&event, context);
            int r = cursor_skip(&c, MIN((size_t)NLMSG_ALIGN(h.nlmsg_len), c.left));
            ASSERT(r == 0);
        }
    }
}
