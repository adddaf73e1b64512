// SPDX-License-Identifier: Apache-2.0
#include "lab/settle.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "host/fd.h"
#include "lab/way.h"

enum { ROUTERS_MAX = CITIES_MAX + POPS_MAX };

struct watches {
    struct rtnl routes[ROUTERS_MAX]; // only to hear of changes
    unsigned len;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void watches_close(struct watches *w)
{
    for (unsigned i = 0; i < w->len; i++)
        rtnl_close(&w->routes[i]);
}

static int watch(struct watches *w, const char *lab, const char *city, enum plan_place place,
                 struct err *err)
{
    char name[NETNS_NAME_MAX];
    plan_netns(lab, city, place, name);
    CLEANUP(fd_closep) int fd = netns_open(name, err);
    int r = fd < 0 ? fd : rtnl_watch(fd, &w->routes[w->len], err);
    w->len += r == 0;
    return r;
}

static void ignore_route(UNUSED const struct rtnl_route_event *e, UNUSED void *context)
{
}

// Take what made us wake. Whether events were lost is no matter: all routes are looked at anyway.
static void take_events(struct watches *w, const struct pollfd *fds)
{
    for (unsigned i = 0; i < w->len; i++)
        if (fds[i].revents != 0) {
            int lost = rtnl_watch_read(&w->routes[i], ignore_route, NULL);
            (void)lost;
        }
}

struct wish {
    const uint32_t *addrs;
    unsigned n;
};

static bool is_settled(struct way_finder *ways, const struct wish *wish,
                       char ret_example[static WAY_EXAMPLE_MAX])
{
    if (!way_all_best(ways, ret_example))
        return false;
    for (unsigned i = 0; i < wish->n; i++)
        if (!way_anycast_best(ways, wish->addrs[i], ret_example))
            return false;
    return true;
}

static int wait_settled(struct watches *w, struct way_finder *ways, const struct wish *wish,
                        int stop_fd, unsigned timeout_ms, struct err *err)
{
    int64_t deadline = now_ms() + timeout_ms;
    char example[WAY_EXAMPLE_MAX];
    while (!is_settled(ways, wish, example)) {
        struct pollfd fds[ROUTERS_MAX + 1];
        for (unsigned i = 0; i < w->len; i++)
            fds[i] = (struct pollfd){.fd = w->routes[i].fd, .events = POLLIN};
        fds[w->len] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
        int n = poll(fds, w->len + 1, (int)MAX(deadline - now_ms(), (int64_t)0));
        if (n == 0)
            return err_set(err, -ETIMEDOUT, "BGP did not settle in %u s: a way %s",
                           timeout_ms / 1000, example);
        if (n > 0 && fds[w->len].revents != 0)
            return err_set(err, -EINTR, "interrupted");
        if (n > 0)
            take_events(w, fds);
    }
    return 0;
}

int settle(const struct lab *lab, const struct topology *t, const uint32_t *addrs, unsigned n,
           int stop_fd, unsigned timeout_ms, struct err *err)
{
    static struct watches watches;
    static struct way_finder ways;
    watches.len = 0;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < t->cities_len; i++)
        r = watch(&watches, lab->name, t->cities[i].name, PLACE_ROUTER, err);
    for (unsigned i = 0; r == 0 && i < t->pops_len; i++)
        r = watch(&watches, lab->name, t->cities[t->pops[i].city].name, PLACE_POP, err);
    if (r == 0)
        r = way_open(&ways, t, lab->name, err);
    if (r == 0) {
        r = wait_settled(&watches, &ways, &(const struct wish){addrs, n}, stop_fd, timeout_ms, err);
        way_close(&ways);
    }
    watches_close(&watches);
    return r;
}

int lab_settle(const struct lab *lab, const uint32_t *addrs, unsigned n, unsigned timeout_ms,
               struct err *err)
{
    static struct topology topo; // too large for a stack
    int r = lab_privileges(err);
    if (r == 0)
        r = lab_topology(lab, &topo, err);
    if (r == 0)
        r = lab_link_state(lab, &topo, NULL, err);
    return r < 0 ? r : settle(lab, &topo, addrs, n, -1, timeout_ms, err);
}
