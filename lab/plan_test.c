// SPDX-License-Identifier: Apache-2.0
#include "lab/plan.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/test.h"
#include "host/proc.h"

static struct topology topo;

static bool load(void)
{
    struct err err;
    return topology_load(PLANET, &topo, &err) == 0;
}

// The two ends of every link are each other's peers; no address and no device is given out twice.
static void test_ends_match(struct test *t)
{
    CHECK(t, load());
    struct plan_end seen[2 * LINKS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < topo.links_len; i++) {
        struct plan_end *a = &seen[n], *b = &seen[n + 1];
        plan_end(&topo, "sk", i, false, a);
        plan_end(&topo, "sk", i, true, b);
        CHECK_EQ(t, a->addr, b->peer);
        CHECK_EQ(t, b->addr, a->peer);
        CHECK(t, strcmp(a->netns, b->netns) != 0);
        for (unsigned k = 0; k < n; k++) {
            bool same_place = strcmp(seen[k].netns, a->netns) == 0;
            CHECK(t, !same_place || strcmp(seen[k].dev, a->dev) != 0);
            CHECK(t, seen[k].addr != a->addr || same_place);
        }
        n += 2;
    }
}

static void test_names_and_addresses(struct test *t)
{
    char name[NETNS_NAME_MAX];
    struct plan_end end;
    CHECK(t, load());
    plan_netns("sk", "london", PLACE_POP, name);
    CHECK_STR(t, name, "sk-london-pop");
    CHECK_EQ(t, plan_client_net(0), 0x0a640100);
    CHECK_EQ(t, plan_region_net(1), 0x0a500200);
    CHECK_EQ(t, plan_backbone_addr(1), 0x0a5a0002);
    plan_end(&topo, "sk", (unsigned)topology_link(&topo, "backbone-london-mumbai"), false, &end);
    CHECK_STR(t, end.netns, "sk-london-pop");
    CHECK_STR(t, end.dev, "mumbai");
    CHECK_EQ(t, end.peer, 0x0a5a0003);
    plan_end(&topo, "sk", topology_transit(&topo, 1), false, &end);
    CHECK_STR(t, end.netns, "sk-london-rt");
    CHECK_STR(t, end.dev, "pop");
}

// BIRD itself judges what we write for it.
static void check_with_bird(struct test *t, unsigned i, bool is_pop)
{
    char path[] = "/tmp/skerry-bird-XXXXXX", out[2048];
    struct err err;
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    CHECK(t, f != NULL);
    if (is_pop)
        plan_bird_pop(&topo, i, f);
    else
        plan_bird_router(&topo, i, f);
    fclose(f);
    const char *const argv[] = {"/usr/sbin/bird", "-p", "-c", path, NULL};
    int status = proc_run(argv, 5000, out, sizeof(out), &err);
    unlink(path);
    if (status != 0)
        printf("# %s\n", status < 0 ? err.text : out);
    CHECK_EQ(t, status, 0);
}

static void test_bird_accepts(struct test *t)
{
    if (access("/usr/sbin/bird", X_OK) != 0)
        SKIP(t, "no bird");
    CHECK(t, load());
    for (unsigned mode = 0; mode < 2 && !t->failed; mode++) {
        topo.routing = mode == 0 ? ROUTING_RTT : ROUTING_AS_PATH;
        for (unsigned i = 0; i < topo.cities_len && !t->failed; i++)
            check_with_bird(t, i, false);
        for (unsigned i = 0; i < topo.pops_len && !t->failed; i++)
            check_with_bird(t, i, true);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_ends_match),
        TEST_CASE(test_names_and_addresses),
        TEST_CASE(test_bird_accepts),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
