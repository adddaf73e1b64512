// SPDX-License-Identifier: Apache-2.0
#include "provider/local/qemu.h"

#include <errno.h>

#include "base/test.h"

static struct qemu_command command;

static struct instance_spec plain_spec(void)
{
    return (struct instance_spec){
        .id = "web-1", .image_path = "/images/a,b\".img", .memory_bytes = 64 << 20, .cpus = 2};
}

static int make(const struct instance_spec *spec, struct err *e)
{
    struct qemu_request q = {.spec = spec,
                             .program = "/usr/bin/qemu",
                             .kernel_path = "/k",
                             .tsc_khz = 2596138,
                             .epoch_seconds = 17,
                             .epoch_nanos = 5,
                             .console = "null",
                             .status = "status",
                             .tap_fd = 9};
    int r = instance_spec_check(spec, e);
    return r < 0 ? r : qemu_command_make(&q, &command, e);
}

/* The word behind an option, or NULL. */
static const char *value_of(const char *option, const char *part)
{
    for (uint32_t i = 0; i + 1 < command.words_n; i++)
        if (strcmp(command.words[i], option) == 0 && strstr(command.words[i + 1], part) != NULL)
            return command.words[i + 1];
    return NULL;
}

static void test_plain(struct test *t)
{
    struct instance_spec s = plain_spec();
    struct err e = {0};
    CHECK_EQ(t, make(&s, &e), 0);
    CHECK_STR(t, command.words[0], "/usr/bin/qemu");
    CHECK(t, command.words[command.words_n] == NULL);
    CHECK_STR(t, value_of("-m", ""), "64M");
    CHECK_STR(t, value_of("-smp", ""), "2");
    CHECK_STR(t, value_of("-kernel", ""), "/k");
    CHECK(t, value_of("-netdev", "") == NULL);
    CHECK(t, value_of("-blockdev", "\"filename\":\"/images/a,b\\\".img\"") != NULL);
    CHECK_STR(t, value_of("-append", ""),
              "skerry.host=web-1 skerry.epoch=17.000000005 skerry.tsc_khz=2596138 skerry.smp=2");
}

static void test_arguments_survive(struct test *t)
{
    static const char *const args[] = {"a b", "", "100%\n"}, *const envs[] = {"K=\xc3\xa9 x"};
    struct instance_spec s = plain_spec();
    struct err e = {0};
    s.args = args;
    s.args_n = ARRAY_LEN(args);
    s.env = envs;
    s.env_n = 1;
    s.trace = true;
    CHECK_EQ(t, make(&s, &e), 0);
    CHECK(t, value_of("-append", " skerry.trace skerry.env=K=\xc3\xa9%20x skerry.arg=a%20b "
                                 "skerry.arg= skerry.arg=100%25%0A") != NULL);
}

static void test_networks(struct test *t)
{
    struct instance_spec s = plain_spec();
    struct err e = {0};
    s.net = (struct instance_net){
        .kind = INSTANCE_NET_USER,
        .forwards = {{{127, 0, 0, 1}, 8080, 80, false}, {{0, 0, 0, 0}, 53, 53, true}},
        .forwards_n = 2};
    CHECK_EQ(t, make(&s, &e), 0);
    CHECK_STR(t, value_of("-netdev", ""),
              "user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:53-:53");
    CHECK(t, value_of("-append", " skerry.ip=10.0.2.15/24,10.0.2.2 skerry.dns=10.0.2.3") != NULL);
    s.net = (struct instance_net){.kind = INSTANCE_NET_BRIDGE,
                                  .bridge = "br0",
                                  .address = {10, 80, 1, 9},
                                  .prefix_len = 24,
                                  .gateway = {10, 80, 1, 1},
                                  .dns = {{9, 9, 9, 9}, {1, 1, 1, 1}},
                                  .dns_n = 2,
                                  .mac = {2, 0, 0, 0, 0, 0xfe}};
    CHECK_EQ(t, make(&s, &e), 0);
    CHECK_STR(t, value_of("-netdev", ""), "tap,id=net,fd=9");
    CHECK(t, value_of("-device", "mac=02:00:00:00:00:fe") != NULL);
    CHECK(t, value_of("-append", " skerry.ip=10.80.1.9/24,10.80.1.1 skerry.dns=9.9.9.9,1.1.1.1") !=
                 NULL);
    s.net.dhcp = true;
    CHECK_EQ(t, make(&s, &e), 0);
    CHECK(t, value_of("-append", " skerry.ip=dhcp") != NULL);
}

static void test_mac_of_id(struct test *t)
{
    struct instance_spec a = plain_spec(), b = plain_spec();
    uint8_t x[6], y[6], z[6];
    b.id = "web-2";
    instance_mac(&a, x);
    instance_mac(&a, y);
    instance_mac(&b, z);
    CHECK_EQ(t, memcmp(x, y, 6), 0);
    CHECK(t, memcmp(x, z, 6) != 0);
    CHECK_EQ(t, x[0] & 3, 2);
}

static void test_refusals(struct test *t)
{
    static const char *const bad_env[] = {"NOVALUE"};
    static char longest[BOOT_CMDLINE_MAX + 1];
    const char *const long_args[] = {longest};
    struct err e = {0};
    memset(longest, 'x', sizeof(longest) - 1);
    struct instance_spec s = plain_spec();
    s.id = "Web";
    CHECK_EQ(t, make(&s, &e), -EINVAL);
    s = plain_spec();
    s.id = "../etc";
    CHECK_EQ(t, make(&s, &e), -EINVAL);
    s = plain_spec();
    s.memory_bytes = (64 << 20) + 1;
    CHECK_EQ(t, make(&s, &e), -EINVAL);
    s = plain_spec();
    s.cpus = 0;
    CHECK_EQ(t, make(&s, &e), -EINVAL);
    s = plain_spec();
    s.env = bad_env;
    s.env_n = 1;
    CHECK_EQ(t, make(&s, &e), -EINVAL);
    s = plain_spec();
    s.args = long_args;
    s.args_n = 1;
    CHECK_EQ(t, make(&s, &e), -E2BIG);
    s = plain_spec();
    s.net = (struct instance_net){.kind = INSTANCE_NET_BRIDGE, .bridge = "br0"};
    CHECK_EQ(t, make(&s, &e), -EINVAL);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_plain),     TEST_CASE(test_arguments_survive), TEST_CASE(test_networks),
        TEST_CASE(test_mac_of_id), TEST_CASE(test_refusals),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
