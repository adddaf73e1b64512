// SPDX-License-Identifier: Apache-2.0
#include "kernel/socket/inet.h"
#include "base/mem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/socket/stack.h"

int inet_bind_addr(const struct sock_addr *a, struct net_addr *ret)
{
    if (a->len < INET_ADDR_BYTES)
        return -EINVAL;
    *ret = inet_addr_get(a);
    // Old programs leave the family out: taken with the wildcard address only.
    if (addr_family(a) != DOMAIN_INET && !(addr_family(a) == DOMAIN_UNSPEC && ret->ip == 0))
        return -EAFNOSUPPORT;
    return 0;
}

int inet_control_check(const struct sock_msg *m, bool datagram)
{
    struct sock_cmsg c;
    uint64_t at = 0, data;
    int r = 0;
    while (at < m->control_len && (r = sock_cmsg_next(m, &at, &c, &data)) > 0) {
        bool idle = c.level == SOL_SOCKET ? c.type == SCM_RIGHTS || c.type == SCM_CREDENTIALS
                                          : c.level != SOL_IP || !datagram;
        if (!idle)
            return -EINVAL;
    }
    return r < 0 ? r : 0;
}

int opt_ip_value(const struct sock_opt *o, int *ret)
{
    if (o->len >= sizeof(int))
        *ret = opt_int(o);
    else if (o->len >= 1)
        *ret = o->bytes[0];
    else
        return -EINVAL;
    return 0;
}

int64_t inet_buf_clamp(int64_t v, bool force)
{
    enum {
        BUF_MAX = 212992,
        BUF_MIN = 2304
    }; // net.core.rmem_max and wmem_max; SOCK_MIN_SNDBUF / 2
    uint32_t u = (uint32_t)v;
    if (force)
        u = v < 0 ? 0 : MIN(u, (uint32_t)INT32_MAX / 2);
    else
        u = MIN(u, (uint32_t)BUF_MAX);
    return MAX(u, (uint32_t)BUF_MIN);
}

int64_t ioctl_put_int(uint64_t arg, uint64_t v)
{
    int i = v > INT32_MAX ? INT32_MAX : (int)v;
    return copy_to_user(arg, &i, sizeof(i));
}

// ---- interfaces (Linux net/core/dev_ioctl.c, net/ipv4/devinet.c) ----

enum {
    SIOCGIFNAME = 0x8910,
    SIOCGIFCONF = 0x8912,
    SIOCGIFFLAGS = 0x8913,
    SIOCGIFADDR = 0x8915,
    SIOCGIFBRDADDR = 0x8919,
    SIOCGIFNETMASK = 0x891b,
    SIOCGIFMTU = 0x8921,
    SIOCGIFHWADDR = 0x8927,
    SIOCGIFINDEX = 0x8933,
};
enum { LO_MTU = 65536 };
enum {
    IFF_UP = 1,
    IFF_BROADCAST = 2,
    IFF_LOOPBACK = 8,
    IFF_RUNNING = 0x40,
    IFF_MULTICAST = 0x1000
};
enum { ARPHRD_ETHER = 1, ARPHRD_LOOPBACK = 772 };

struct ifreq {
    char name[16];
    union {
        struct inet_addr addr;
        struct {
            uint16_t family;
            uint8_t data[14];
        } hw;
        int16_t flags;
        int32_t number;
        uint8_t pad[24];
    } u;
};
_Static_assert(sizeof(struct ifreq) == 40, "Linux uapi/linux/if.h");

struct ifconf {
    int32_t len;
    uint32_t pad;
    uint64_t req;
};

void inet_if_get(int index, const struct stack_if *eth, struct inet_if *ret)
{
    if (index == INET_IF_LO) {
        *ret = (struct inet_if){.name = "lo",
                                .ip = NET_IP_LOOPBACK,
                                .netmask = 0xff000000,
                                .mtu = LO_MTU,
                                .flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING,
                                .hardware = ARPHRD_LOOPBACK};
        return;
    }
    *ret = (struct inet_if){.name = "eth0",
                            .ip = eth->ip,
                            .netmask = eth->netmask,
                            .mtu = eth->mtu,
                            .flags = IFF_UP | IFF_BROADCAST | IFF_MULTICAST |
                                     (eth->link ? (uint32_t)IFF_RUNNING : 0),
                            .hardware = ARPHRD_ETHER};
    memcpy(ret->mac, eth->mac, sizeof(ret->mac));
}

static void ifreq_ip(struct ifreq *r, uint32_t ip)
{
    memset(&r->u, 0, sizeof(r->u));
    r->u.addr = (struct inet_addr){.family = DOMAIN_INET, .ip = __builtin_bswap32(ip)};
}

static void ifreq_name(struct ifreq *r, const struct inet_if *i)
{
    memset(r->name, 0, sizeof(r->name));
    memcpy(r->name, i->name, strlen(i->name));
}

static int64_t ioctl_ifconf(const struct stack_if *eth, uint64_t arg)
{
    struct ifconf c;
    struct ifreq r;
    struct inet_if i;
    if (copy_from_user(&c, arg, sizeof(c)) < 0)
        return -EFAULT;
    if (c.len < 0)
        return -EINVAL;
    bool has_eth = eth->exists && eth->ip != 0;
    int32_t done = 0;
    for (int index = INET_IF_LO; index <= (has_eth ? INET_IF_ETH : INET_IF_LO); index++) {
        if (c.req != 0) {
            if ((size_t)(c.len - done) < sizeof(r))
                break;
            inet_if_get(index, eth, &i);
            ifreq_name(&r, &i);
            ifreq_ip(&r, i.ip);
            if (copy_to_user(c.req + (uint64_t)done, &r, sizeof(r)) < 0)
                return -EFAULT;
        }
        done += (int32_t)sizeof(r);
    }
    c.len = done;
    return copy_to_user(arg, &c, sizeof(c));
}

static int64_t ifreq_answer(uint32_t cmd, struct ifreq *r, int index, const struct inet_if *i)
{
    switch (cmd) {
    case SIOCGIFNAME:
        ifreq_name(r, i);
        return 0;
    case SIOCGIFFLAGS:
        memset(&r->u, 0, sizeof(r->u));
        r->u.flags = (int16_t)i->flags;
        return 0;
    case SIOCGIFADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFBRDADDR:
        if (i->ip == 0)
            return -EADDRNOTAVAIL;
        if (cmd == SIOCGIFADDR)
            ifreq_ip(r, i->ip);
        else if (cmd == SIOCGIFNETMASK)
            ifreq_ip(r, i->netmask);
        else
            ifreq_ip(r, i->flags & IFF_BROADCAST ? i->ip | ~i->netmask : 0);
        return 0;
    case SIOCGIFMTU:
        r->u.number = (int32_t)i->mtu;
        return 0;
    case SIOCGIFINDEX:
        r->u.number = index;
        return 0;
    default: // SIOCGIFHWADDR
        memset(&r->u, 0, sizeof(r->u));
        r->u.hw.family = i->hardware;
        memcpy(r->u.hw.data, i->mac, sizeof(i->mac));
        return 0;
    }
}

int64_t inet_ioctl(uint32_t cmd, uint64_t arg)
{
    struct stack_if eth;
    struct ifreq r;
    switch (cmd) {
    case SIOCGIFCONF:
        stack_if_get(&eth);
        return ioctl_ifconf(&eth, arg);
    case SIOCGIFNAME:
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFINDEX:
        break;
    default:
        return -ENOTTY;
    }
    if (copy_from_user(&r, arg, sizeof(r)) < 0)
        return -EFAULT;
    stack_if_get(&eth);
    r.name[sizeof(r.name) - 1] = 0;
    int index;
    if (cmd == SIOCGIFNAME)
        index = r.u.number;
    else
        index = strcmp(r.name, "lo") == 0     ? INET_IF_LO
                : strcmp(r.name, "eth0") == 0 ? INET_IF_ETH
                                              : 0;
    if (index != INET_IF_LO && (index != INET_IF_ETH || !eth.exists))
        return -ENODEV;
    struct inet_if i;
    inet_if_get(index, &eth, &i);
    int64_t res = ifreq_answer(cmd, &r, index, &i);
    return res < 0 ? res : copy_to_user(arg, &r, sizeof(r));
}
