// SPDX-License-Identifier: Apache-2.0
#include "kernel/boot/params.h"

#include "base/errno.h"
#include "base/test.h"

static char line[BOOT_CMDLINE_MAX];
static struct boot_params p;
static const char *bad;

static int parse(const char *text)
{
    snprintf(line, sizeof(line), "%s", text);
    return params_parse(line, &p, &bad);
}

static void test_all(struct test *t)
{
    CHECK_EQ(t,
             parse("console=ttyS0 skerry.ip=10.1.2.3/24,10.1.2.1  skerry.dns=1.1.1.1,8.8.4.4 "
                   "skerry.host=web skerry.epoch=1700000000.5 skerry.tsc_khz=2400000 skerry.smp=4 "
                   "skerry.env=A=b%20c%25 skerry.arg= skerry.arg=-x skerry.trace "
                   "skerry.allow_written_exec skerry.deny_anonymous_exec "
                   "virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0x1000:5"),
             0);
    CHECK(t, !p.dhcp && p.ip == 0x0a010203 && p.gateway == 0x0a010201 && p.prefix_len == 24);
    CHECK(t, p.dns_count == 2 && p.dns[0] == 0x01010101 && p.dns[1] == 0x08080404);
    CHECK_STR(t, p.host, "web");
    CHECK_EQ(t, p.epoch_ns, 1700000000500000000);
    CHECK_EQ(t, p.tsc_khz, 2400000);
    CHECK_EQ(t, p.cpus, 4);
    CHECK(t, p.env_count == 1 && p.arg_count == 2 && p.trace);
    CHECK_STR(t, p.env[0], "A=b c%");
    CHECK_STR(t, p.args[0], "");
    CHECK_STR(t, p.args[1], "-x");
    CHECK(t, p.mmio_count == 2 && p.mmio[0].address == 0xfeb00e00 && p.mmio[0].gsi == 12);
    CHECK(t, p.mmio[0].bytes == 512 && p.mmio[1].bytes == 4096);
}

static void test_default(struct test *t)
{
    CHECK_EQ(t, parse(""), 0);
    CHECK(t, p.dhcp && !p.trace && p.epoch_ns == 0 && p.tsc_khz == 0 && p.cpus == 1);
    CHECK_STR(t, p.host, "skerry");
    CHECK_EQ(t, parse("quiet %zz foo=%"), 0); // others' words are not looked at
}

static void test_bad(struct test *t)
{
    static const char *const lines[] = {
        "skerry.nonsense",
        "skerry.ip=10.0.0.1",
        "skerry.ip=10.0.0.1/33",
        "skerry.ip=10.0.0.256/8",
        "skerry.ip=10.0.0/8",
        "skerry.ip=10.0.0.1/8,",
        "skerry.dns=",
        "skerry.dns=1.1.1.1,",
        "skerry.host=",
        "skerry.epoch=x",
        "skerry.epoch=1.5x",
        "skerry.tsc_khz=0",
        "skerry.smp=0",
        "skerry.smp=65",
        "skerry.smp=4x",
        "skerry.env=A",
        "skerry.env==b",
        "skerry.env=A=%0",
        "skerry.env=A=%00",
        "skerry.traces",
        "virtio_mmio.device=512",
        "virtio_mmio.device=1@2:",
        "skerry.dns=1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4",
        "skerry.epoch=99999999999999999999",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (parse(lines[i]) != -EINVAL)
            printf("# accepted: %s\n", lines[i]);
        CHECK_EQ(t, parse(lines[i]), -EINVAL);
        CHECK(t, bad == line);
    }
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_all), TEST_CASE(test_default),
                                             TEST_CASE(test_bad)};
    return test_main(cases, ARRAY_LEN(cases));
}
