// SPDX-License-Identifier: Apache-2.0
#include "edge/netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LO_INDEX = 1,        // lo is the first interface of every network namespace
    ROUTE_METRIC = 4096, // beside the route that the kernel makes for an address
};

struct request {
    struct nlmsghdr head;
    union {
        struct ifaddrmsg addr;
        struct rtmsg route;
    };
    uint8_t attrs[96];
};

int netlink_open(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return fd < 0 ? -errno : fd;
}

static void attr(struct request *q, unsigned short type, const void *data, size_t len)
{
    size_t at = NLMSG_ALIGN(q->head.nlmsg_len);
    struct rtattr a = {.rta_len = (unsigned short)RTA_LENGTH(len), .rta_type = type};
    ASSERT(at + RTA_LENGTH(len) <= sizeof(*q));
    memcpy((uint8_t *)q + at, &a, sizeof(a));
    memcpy((uint8_t *)q + at + RTA_LENGTH(0), data, len);
    q->head.nlmsg_len = (uint32_t)(at + RTA_LENGTH(len));
}

// Send and wait for the kernel's verdict.
static int talk(int fd, struct request *q)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr err;
        uint8_t rest[512];
    } answer;
    if (fd < 0)
        return fd;
    q->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    if (send(fd, q, q->head.nlmsg_len, 0) < 0)
        return -errno;
    ssize_t n;
    do {
        n = recv(fd, &answer, sizeof(answer), 0);
    } while (n < 0 && errno == EINTR);
    if (n < (ssize_t)(sizeof(answer.head) + sizeof(answer.err)))
        return n < 0 ? -errno : -EPROTO;
    return answer.head.nlmsg_type == NLMSG_ERROR ? answer.err.error : -EPROTO;
}

static size_t addr_len(uint8_t family)
{
    return family == AF_INET ? 4 : 16;
}

static int addr_do(int fd, uint16_t type, uint16_t flags, uint8_t family, const uint8_t bytes[16])
{
    size_t len = addr_len(family);
    struct request q = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(q.addr)),
                 .nlmsg_type = type,
                 .nlmsg_flags = flags},
        .addr = {.ifa_family = family,
                 .ifa_prefixlen = (uint8_t)(len * 8),
                 .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
                 .ifa_index = LO_INDEX},
    };
    attr(&q, IFA_LOCAL, bytes, len);
    attr(&q, IFA_ADDRESS, bytes, len);
    return talk(fd, &q);
}

static int route_do(int fd, uint16_t type, uint16_t flags, uint8_t family, const uint8_t bytes[16])
{
    size_t len = addr_len(family);
    uint32_t oif = LO_INDEX, metric = ROUTE_METRIC;
    struct request q = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(q.route)),
                 .nlmsg_type = type,
                 .nlmsg_flags = flags},
        .route = {.rtm_family = family,
                  .rtm_dst_len = (uint8_t)(len * 8),
                  .rtm_table = RT_TABLE_LOCAL,
                  .rtm_protocol = RTPROT_STATIC,
                  .rtm_scope = RT_SCOPE_HOST,
                  .rtm_type = RTN_LOCAL},
    };
    attr(&q, RTA_DST, bytes, len);
    attr(&q, RTA_OIF, &oif, sizeof(oif));
    attr(&q, RTA_PRIORITY, &metric, sizeof(metric));
    return talk(fd, &q);
}

static int but(int r, int harmless)
{
    return r == -harmless ? 0 : r;
}

int netlink_addr_add(int fd, uint8_t family, const uint8_t bytes[16])
{
    return but(addr_do(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, family, bytes), EEXIST);
}

int netlink_addr_del(int fd, uint8_t family, const uint8_t bytes[16])
{
    return but(addr_do(fd, RTM_DELADDR, 0, family, bytes), EADDRNOTAVAIL);
}

int netlink_route_add(int fd, uint8_t family, const uint8_t bytes[16])
{
    return but(route_do(fd, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, family, bytes), EEXIST);
}

int netlink_route_del(int fd, uint8_t family, const uint8_t bytes[16])
{
    return but(route_do(fd, RTM_DELROUTE, 0, family, bytes), ESRCH);
}
