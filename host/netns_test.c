// SPDX-License-Identifier: Apache-2.0
/* Namespaces and rtnetlink together, for real where we are allowed to. */
#include "host/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/test.h"
#include "host/fd.h"
#include "host/rtnl.h"

static char name_a[NETNS_NAME_MAX], name_b[NETNS_NAME_MAX], prefix[32];

static int open_netns(const char *name)
{
    struct err err;
    return netns_open(name, &err);
}

static int count(UNUSED const char *name, void *context)
{
    ++*(int *)context;
    return 0;
}

static void test_names(struct test *t)
{
    struct err err;
    CHECK_EQ(t, netns_open("../x", &err), -EINVAL);
    CHECK_EQ(t, netns_open("", &err), -EINVAL);
    CHECK_EQ(t, netns_open(".", &err), -EINVAL);
    CHECK_EQ(t, netns_open("no-such-name", &err), -ENOENT);
    CHECK_EQ(t, netns_delete("no-such-name", &err), 0);
}

struct seen {
    bool gateway_route, peer_route;
};

static void see(const struct rtnl_route_event *e, void *context)
{
    struct seen *seen = context;
    if (e->len == 0)
        seen->gateway_route = !e->gone;
    if (e->len == 32 && e->dst == 0x0a090909)
        seen->peer_route = !e->gone;
}

static void devices(struct test *t, int a, int b)
{
    struct err err;
    CLEANUP(rtnl_close) struct rtnl ra = {.fd = -1}, rb = {.fd = -1}, watch = {.fd = -1};
    struct rtnl_change up = {.up = true};
    char dev[RTNL_NAME_MAX];
    struct seen seen = {0};
    CHECK_EQ(t, rtnl_open(a, &ra, &err), 0);
    CHECK_EQ(t, rtnl_open(b, &rb, &err), 0);
    CHECK_EQ(t, rtnl_veth(&ra, "left", "right", b, &err), 0);
    CHECK_EQ(t, rtnl_veth(&ra, "left", "other", b, &err), -EEXIST);
    CHECK(t, strstr(err.text, "left") != NULL);
    CHECK_EQ(t, rtnl_bridge(&rb, "br0", &err), 0);
    CHECK_EQ(t, rtnl_change(&ra, "left", &up, &err), 0);
    struct rtnl_change join = {.up = true, .master = "br0", .mtu = 1400};
    CHECK_EQ(t, rtnl_change(&rb, "right", &join, &err), 0);
    CHECK_EQ(t, rtnl_change(&rb, "br0", &up, &err), 0);
    CHECK_EQ(t, rtnl_addr_add(&ra, "left", 0x0a090001, 24, 0, &err), 0);
    CHECK_EQ(t, rtnl_addr_add(&ra, "left", 0x0a090001, 24, 0, &err), -EEXIST);
    CHECK_EQ(t, rtnl_addr_add(&ra, "nothing", 1, 24, 0, &err), -ENODEV);
    CHECK_EQ(t, rtnl_watch(a, &watch, &err), 0);
    CHECK_EQ(t, rtnl_watch_read(&watch, see, &seen), 0);
    CHECK(t, !seen.gateway_route);
    CHECK_EQ(t, rtnl_route_get(&ra, 0x0a090909, dev, &err), -ENETUNREACH);
    CHECK_EQ(t, rtnl_route_add(&ra, 0, 0, 0x0a090002, 0, "left", &err), 0);
    CHECK_EQ(t, rtnl_route_add(&ra, 0x0a090909, 32, 0, 0x0a090001, "left", &err), 0);
    CHECK_EQ(t, rtnl_watch_read(&watch, see, &seen), 0);
    CHECK(t, seen.gateway_route && seen.peer_route);
    CHECK_EQ(t, rtnl_route_get(&ra, 0x0a090909, dev, &err), 0);
    CHECK_STR(t, dev, "left");
    CHECK_EQ(t, rtnl_route_get(&ra, 0x0a090001, dev, &err), 0);
    CHECK_STR(t, dev, "lo");
    CHECK_EQ(t, rtnl_addr_delete(&ra, "left", 0x0a090001, 24, &err), 0);
    CHECK_EQ(t, rtnl_watch_read(&watch, see, &seen), 0);
    CHECK_EQ(t, rtnl_delete(&rb, "right", &err), 0);
    CHECK_EQ(t, rtnl_change(&ra, "left", &up, &err), -ENODEV);
}

static void point_to_point(struct test *t, int a)
{
    struct err err;
    struct netns_visit visit;
    CLEANUP(rtnl_close) struct rtnl ra = {.fd = -1};
    CHECK_EQ(t, netns_visit(a, &visit), 0);
    CLEANUP(fd_closep) int tun = netns_tun("wan", IFF_TUN | IFF_NO_PI, &err);
    int written = netns_sysctl("ipv4/ip_forward", "1", &err);
    netns_return(&visit);
    CHECK(t, tun >= 0);
    CHECK_EQ(t, written, 0);
    CHECK_EQ(t, rtnl_open(a, &ra, &err), 0);
    struct rtnl_change c = {.up = true, .queue_len = 10000};
    char dev[RTNL_NAME_MAX];
    CHECK_EQ(t, rtnl_change(&ra, "wan", &c, &err), 0);
    CHECK_EQ(t, rtnl_addr_add(&ra, "wan", 0x0a080001, 32, 0x0a080002, &err), 0);
    CHECK_EQ(t, rtnl_route_get(&ra, 0x0a080002, dev, &err), 0);
    CHECK_STR(t, dev, "wan");
}

static void test_namespaces(struct test *t)
{
    struct err err;
    int seen = 0;
    if (geteuid() != 0)
        SKIP(t, "needs root");
    int r = netns_create(name_a, &err);
    if (r == -EPERM || r == -EACCES)
        SKIP(t, "may not create namespaces");
    CHECK_EQ(t, r, 0);
    CHECK_EQ(t, netns_create(name_a, &err), -EEXIST);
    CHECK_EQ(t, netns_create(name_b, &err), 0);
    netns_each(prefix, count, &seen);
    CLEANUP(fd_closep) int a = open_netns(name_a);
    CLEANUP(fd_closep) int b = open_netns(name_b);
    if (a >= 0 && b >= 0 && seen == 2) {
        devices(t, a, b);
        if (!t->failed)
            point_to_point(t, a);
    } else {
        t->failed = true;
    }
    CHECK_EQ(t, netns_delete(name_a, &err), 0);
    CHECK_EQ(t, netns_delete(name_b, &err), 0);
    CHECK_EQ(t, open_netns(name_a), -ENOENT);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_names), TEST_CASE(test_namespaces)};
    snprintf(prefix, sizeof(prefix), "sktest%d-", getpid());
    snprintf(name_a, sizeof(name_a), "%sa", prefix);
    snprintf(name_b, sizeof(name_b), "%sb", prefix);
    return test_main(cases, ARRAY_LEN(cases));
}
