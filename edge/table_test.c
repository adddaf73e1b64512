// SPDX-License-Identifier: Apache-2.0
#include "edge/table.h"

#include <errno.h>

#include "base/test.h"

#define INSTANCE                                                                                   \
    "{\"id\":\"a\",\"region\":\"r\",\"address\":\"10.0.0.1\",\"port\":8080,\"state\":\"serving\"}"
#define SERVICE(more)                                                                              \
    "{\"app\":\"x\",\"protocol\":\"http\",\"address\":\"198.51.100.1\",\"port\":80,"               \
    "\"health\":{\"path\":\"/\"},\"instances\":[" INSTANCE "]" more "}"
#define TABLE(services, pops)                                                                      \
    "{\"version\":7,\"services\":[" services "],\"pops\":[" pops "],\"later\":1}"

static void test_good(struct test *t)
{
    static const char text[] =
        TABLE(SERVICE(",\"unknown\":[]"),
              "{\"name\":\"p\",\"region\":\"r\",\"backbone\":\"[2001:db8::1]:7070\"}");
    CLEANUP(table_freep) struct table *table = NULL;
    struct err e;
    CHECK_EQ(t, table_load(text, sizeof(text) - 1, &table, &e), 0);
    CHECK_EQ(t, table->version, 7);
    const struct table_service *s = &table->services[0];
    CHECK_STR(t, s->app, "x");
    CHECK_EQ(t, s->health.interval_ms, 500);
    CHECK_EQ(t, s->instances[0].capacity, TABLE_CAPACITY_DEFAULT);
    CHECK(t, s->instances[0].serving);
    char buf[ADDR_TEXT_MAX];
    CHECK_STR(t, addr_text(&s->address, buf), "198.51.100.1:80");
    CHECK_STR(t, addr_text(&table->pops[0].backbone, buf), "[2001:db8::1]:7070");
}

static void test_bad(struct test *t)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "edge table:1:0"},
        {"[]", "must be an object"},
        {"{\"version\":-1}", "version: must be between"},
        {"{\"version\":\"1\"}", "version: must be an integer"},
        {"{\"version\":1,\"version\":2}", "duplicate"},
        {"{\"version\":1}", "key 'services' is missing"},
        {"{\"version\":1,\"services\":{}}", "services: must be an array"},
        {TABLE("5", ""), "services[0]: must be an object"},
        {TABLE("{}", ""), "services[0]: key 'app' is missing"},
        {TABLE(SERVICE("") "," SERVICE(""), ""), "services[1]: address and port of 'x' again"},
        {TABLE("{\"app\":\"a b\"}", ""), "services[0]: app is not a name"},
        {TABLE("{\"app\":\"a\\u0000b\"}", ""), "edge table:1"},
        {TABLE("{\"app\":\"a\",\"protocol\":\"udp\"}", ""),
         "services[0]: protocol is neither 'http' nor 'tcp'"},
        {TABLE("{\"app\":\"a\",\"protocol\":\"tcp\",\"address\":\"nowhere\",\"port\":1}", ""),
         "services[0]: address 'nowhere' is not an IP address"},
        {TABLE("{\"app\":\"a\",\"protocol\":\"tcp\",\"address\":\"1.2.3.4\",\"port\":0}", ""),
         "services[0].port: must be between 1 and 65535, not 0"},
        {TABLE("", "{\"name\":\"p\",\"region\":\"r\",\"backbone\":\"1.2.3.4\"}"),
         "pops[0]: backbone '1.2.3.4' is not ADDRESS:PORT"},
        {TABLE("", "{\"name\":\"p\",\"region\":\"r\",\"backbone\":\"unix:/x\"}"),
         "pops[0]: backbone"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct table *table = NULL;
        struct err e = {0};
        CHECK(t, table_load(cases[i].text, strlen(cases[i].text), &table, &e) < 0);
        CHECK(t, table == NULL);
        if (strstr(e.text, cases[i].error) == NULL)
            printf("# case %zu: '%s' lacks '%s'\n", i, e.text, cases[i].error);
        CHECK(t, strstr(e.text, cases[i].error) != NULL);
    }
}

static void test_addresses(struct test *t)
{
    static const char *const bad[] = {"",         ":80",         "1.2.3.4",
                                      "1.2.3.4:", "1.2.3.4:x",   "1.2.3.4:65536",
                                      "1.2.3:80", "host:80",     "1.2.3.4:-1",
                                      "unix:",    "[1.2.3.4:80", "1.2.3.4:99999999999999999999"};
    static const char *const good[] = {"1.2.3.4:80", "[::1]:65535", "unix:/run/x.sock"};
    struct addr a;
    char buf[ADDR_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_EQ(t, addr_parse(bad[i], &a), -EINVAL);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CHECK_EQ(t, addr_parse(good[i], &a), 0);
        CHECK_STR(t, addr_text(&a, buf), good[i]);
    }
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_good), TEST_CASE(test_bad),
                                             TEST_CASE(test_addresses)};
    return test_main(cases, ARRAY_LEN(cases));
}
