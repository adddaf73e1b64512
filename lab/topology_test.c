// SPDX-License-Identifier: Apache-2.0
#include "lab/topology.h"

#include <errno.h>
#include <string.h>

#include "base/test.h"
#include "lab/rtt.h"

static struct topology topo;

static int parse(const char *text, struct err *err)
{
    return topology_parse("t.yaml", text, strlen(text), &topo, err);
}

static void test_planet(struct test *t)
{
    struct err err = {0};
    CHECK_EQ(t, topology_load(PLANET, &topo, &err), 0);
    CHECK_EQ(t, topo.cities_len, 11);
    CHECK_EQ(t, topo.pops_len, 4);
    CHECK_EQ(t, topo.links_len, 18 + 4 + 6);
    CHECK_EQ(t, topology_link(&topo, "frankfurt-london"), topology_link(&topo, "london-frankfurt"));
    CHECK(t, topology_link(&topo, "london-frankfurt") >= 0);
    CHECK(t, topology_link(&topo, "london-transit") >= 0);
    CHECK(t, topology_link(&topo, "backbone-mumbai-london") >= 0);
    CHECK_EQ(t, topology_link(&topo, "london-sydney"), -ENOENT);
    CHECK_EQ(t, topology_pop(&topo, "mumbai"), 2);
    CHECK_EQ(t, topology_pop(&topo, "tokyo"), -ENOENT);
}

// Each city's nearest POP by path is the nearest by measurement, and exactly as far.
static void test_planet_leads_to_the_nearest(struct test *t)
{
    struct err err = {0};
    CHECK_EQ(t, topology_load(PLANET, &topo, &err), 0);
    for (unsigned c = 0; c < topo.cities_len; c++) {
        unsigned by_path = 0, by_table = 0;
        uint32_t path_us = UINT32_MAX, table_us = UINT32_MAX;
        for (unsigned p = 0; p < topo.pops_len; p++) {
            uint32_t us[CITIES_MAX];
            int measured = rtt_us(topo.cities[c].name, topo.cities[topo.pops[p].city].name);
            topology_distances(&topo, topo.pops[p].city, ROUTING_RTT, us);
            CHECK(t, measured >= 0);
            if (us[c] < path_us) {
                by_path = p;
                path_us = us[c];
            }
            if ((uint32_t)measured < table_us) {
                by_table = p;
                table_us = (uint32_t)measured;
            }
        }
        CHECK_EQ(t, by_path, by_table);
        CHECK_EQ(t, path_us, table_us);
    }
}

#define TWO "cities: [{name: a}, {name: b}]\npops: [{city: a, region: r}]\n"

static void test_settings(struct test *t)
{
    struct err err = {0};
    CHECK_EQ(t,
             parse(TWO "links: [{between: [a, b], rtt_ms: 12.5, jitter_ms: 1, loss_pct: 0.5, "
                       "rate_mbit: 10, queue: 64K}]\nrouting: as-path\nbfd: {interval: 50ms}\n"
                       "service: 10.1.0.0/16\n",
                   &err),
             0);
    const struct link_config *c = &topo.links[0].config;
    CHECK_EQ(t, c->delay_ns, 6250000);
    CHECK_EQ(t, c->jitter_ns, 1000000);
    CHECK_EQ(t, c->loss_ppm, 5000);
    CHECK_EQ(t, c->rate_bps, 10000000);
    CHECK_EQ(t, c->queue_bytes, 65536);
    CHECK_EQ(t, topo.routing, ROUTING_AS_PATH);
    CHECK_EQ(t, topo.bfd_ms, 50);
    CHECK_EQ(t, topo.bfd_multiplier, 3);
    CHECK_EQ(t, topo.service_prefix, 0x0a010000);
    CHECK_EQ(t, topo.service_len, 16);
    CHECK_STR(t, topo.links[0].name, "a-b");
    CHECK_STR(t, topo.links[1].name, "a-transit");
}

static void test_distances_avoid_cuts(struct test *t)
{
    struct err err = {0};
    uint32_t us[CITIES_MAX];
    CHECK_EQ(t,
             parse("cities: [{name: a}, {name: b}, {name: c}]\npops: []\nlinks:\n"
                   "  - {between: [a, b], rtt_ms: 10}\n  - {between: [b, c], rtt_ms: 10}\n"
                   "  - {between: [a, c], rtt_ms: 50}\n",
                   &err),
             0);
    topology_distances(&topo, 0, ROUTING_RTT, us);
    CHECK_EQ(t, us[2], 20000);
    topology_distances(&topo, 0, ROUTING_AS_PATH, us);
    CHECK_EQ(t, us[2], 1);
    topo.links[1].config.cut = true;
    topology_distances(&topo, 0, ROUTING_RTT, us);
    CHECK_EQ(t, us[2], 50000);
    topo.links[2].config.cut = true;
    topology_distances(&topo, 0, ROUTING_RTT, us);
    CHECK_EQ(t, us[2], UINT32_MAX);
}

static void test_errors_name_the_place(struct test *t)
{
    static const struct {
        const char *text, *place, *what;
    } bad[] = {
        {"cities: []\npops: []\nlinks: []\n", "t.yaml:1", "no cities"},
        {"cities: [{name: A}]\npops: []\nlinks: []\n", "t.yaml:1", "'A'"},
        {"cities: [{name: lo}]\npops: []\nlinks: []\n", "t.yaml:1", "device"},
        {"cities: [{name: a}]\npops: []\n", "t.yaml", "links"},
        {"cities:\n  - {name: a}\n  - {name: a}\npops: []\nlinks: []\n", "t.yaml:3", "already"},
        {TWO "links: [{between: [a, b]}]\n", "t.yaml:3", "rtt_ms"},
        {TWO "links: [{between: [a, x], rtt_ms: 1}]\n", "t.yaml:3", "no city 'x'"},
        {TWO "links: [{between: [a, a], rtt_ms: 1}]\n", "t.yaml:3", "different"},
        {TWO "links: [{between: [a], rtt_ms: 1}]\n", "t.yaml:3", "two names"},
        {TWO "links: [{between: [a, b], rtt_ms: 9e9}]\n", "t.yaml:3", "rtt_ms"},
        {TWO "links: [{between: [a, b], delay: 1}]\n", "t.yaml:3", "delay"},
        {TWO "links: []\n", "t.yaml", "no links lead from 'a' to 'b'"},
        {TWO "links:\n  - {between: [a, b], rtt_ms: 1}\n  - {between: [b, a], rtt_ms: 1}\n",
         "t.yaml:5", "already"},
        {TWO "links: [{between: [a, b], rtt_ms: 1}]\nbackbone: [{between: [a, b]}]\n", "t.yaml:4",
         "no POP 'b'"},
        {TWO "links: [{between: [a, b], rtt_ms: 1}]\nservice: 1.2.3.4\n", "t.yaml:4", "prefix"},
        {TWO "links: [{between: [a, b], rtt_ms: 1}]\nservice: 1.2.3.4/24\n", "t.yaml:4", "prefix"},
        {TWO "links: [{between: [a, b], rtt_ms: 1}]\nrouting: fast\n", "t.yaml:4", "routing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        CHECK_EQ(t, parse(bad[i].text, &err), -EINVAL);
        if (strstr(err.text, bad[i].place) == NULL || strstr(err.text, bad[i].what) == NULL)
            printf("# %s\n", err.text);
        CHECK(t, strstr(err.text, bad[i].place) != NULL);
        CHECK(t, strstr(err.text, bad[i].what) != NULL);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_planet),
        TEST_CASE(test_planet_leads_to_the_nearest),
        TEST_CASE(test_settings),
        TEST_CASE(test_distances_avoid_cuts),
        TEST_CASE(test_errors_name_the_place),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
