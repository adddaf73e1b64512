// SPDX-License-Identifier: Apache-2.0
/* Configuration spaces as QEMU shows them, and damaged ones. */
#include "kernel/drivers/pci.h"

#include "base/mem.h"
#include "base/test.h"

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static void put_cap(uint8_t *cap, uint8_t kind, uint8_t bytes, uint8_t next, uint8_t bar,
                    uint32_t offset, uint32_t length)
{
    cap[0] = 9;
    cap[1] = next;
    cap[2] = bytes;
    cap[3] = kind;
    cap[4] = bar;
    put32(cap + 8, offset);
    put32(cap + 12, length);
}

/* virtio-net-pci: MSI-X in BAR 1, everything else in BAR 4. */
static void net_config(uint8_t c[static PCI_CONFIG_BYTES])
{
    memset(c, 0, PCI_CONFIG_BYTES);
    put32(c, 0x10411af4);
    c[PCI_STATUS] = 0x10;
    c[PCI_CAPS] = 0x98;
    c[0x98] = 0x11;
    c[0x99] = 0x84;
    c[0x9a] = 2; // 3 vectors
    put32(c + 0x9c, 1);
    put_cap(c + 0x84, 5, 20, 0x70, 0, 0, 0);
    put_cap(c + 0x70, 2, 20, 0x60, 4, 0x3000, 0x1000);
    put32(c + 0x80, 4);
    put_cap(c + 0x60, 4, 16, 0x50, 4, 0x2000, 0x1000);
    put_cap(c + 0x50, 1, 16, 0x00, 4, 0, 0x1000);
}

static void test_modern(struct test *t)
{
    uint8_t c[PCI_CONFIG_BYTES];
    struct pci_virtio v;
    net_config(c);
    CHECK_EQ(t, pci_virtio_parse(c, &v), 0);
    CHECK_EQ(t, v.id, 1);
    CHECK_EQ(t, v.common.bar, 4);
    CHECK_EQ(t, v.notify.offset, 0x3000);
    CHECK_EQ(t, v.notify_multiplier, 4);
    CHECK_EQ(t, v.device.offset, 0x2000);
    CHECK_EQ(t, v.msix, 0x98);
    CHECK_EQ(t, v.msix_vectors, 3);
    CHECK_EQ(t, v.msix_table.bar, 1);
    CHECK_EQ(t, v.msix_table.bytes, 48);
}

static void test_transitional(struct test *t)
{
    uint8_t c[PCI_CONFIG_BYTES];
    struct pci_virtio v;
    net_config(c);
    c[PCI_DEVICE] = 0x01; // 0x1001, told by the subsystem
    c[PCI_DEVICE + 1] = 0x10;
    c[PCI_SUBSYSTEM] = 2;
    CHECK_EQ(t, pci_virtio_parse(c, &v), 0);
    CHECK_EQ(t, v.id, 2);
}

static void test_first_of_a_kind(struct test *t)
{
    uint8_t c[PCI_CONFIG_BYTES];
    struct pci_virtio v;
    net_config(c);
    put_cap(c + 0xb0, 1, 16, 0, 2, 0, 0x1000); // a second common structure
    c[0x51] = 0xb0;
    CHECK_EQ(t, pci_virtio_parse(c, &v), 0);
    CHECK_EQ(t, v.common.bar, 4);
    c[0x50 + 4] = 7; // the first in a BAR that cannot be: reserved, to be passed over
    CHECK_EQ(t, pci_virtio_parse(c, &v), 0);
    CHECK_EQ(t, v.common.bar, 2);
}

static void test_damaged(struct test *t)
{
    static const struct {
        unsigned at;
        uint8_t value;
        int r;
    } cases[] = {
        {PCI_VENDOR, 0xf5, -ENODEV},                        // another vendor
        {PCI_DEVICE, 0x90, -ENODEV},                        // behind virtio's range
        {PCI_HEADER, 0x01, -EINVAL},                        // a bridge
        {PCI_STATUS, 0x00, -EINVAL},                        // no list
        {PCI_CAPS, 0x20, -EINVAL},                          // the list starts in the header
        {0x51, 0x98, -EINVAL},                              // the list has no end
        {0x51, 0x04, -EINVAL},                              // the list runs into the header
        {0x50, 0x05, -EINVAL},                              // no common structure
        {0x52, 15, -EINVAL},                                // too short a capability
        {0x50 + 13, 0, -EINVAL},                            // too short a structure
        {0x70 + 2, 16, -EINVAL},                            // no room for the multiplier
        {0x80, 3, -EINVAL},                                 // bells at odd places
        {0x80, 1, -EINVAL},          {0x98, 0x05, -EINVAL}, // MSI only
        {0x9c, 6, -EINVAL},                                 // MSI-X in no BAR
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t c[PCI_CONFIG_BYTES];
        struct pci_virtio v;
        net_config(c);
        c[cases[i].at] = cases[i].value;
        CHECK_EQ(t, pci_virtio_parse(c, &v), cases[i].r);
    }
}

static void test_cap_at_the_end(struct test *t)
{
    uint8_t c[PCI_CONFIG_BYTES];
    struct pci_virtio v;
    net_config(c);
    put_cap(c + 0xf0, 1, 16, 0, 2, 0, 0x1000); // fits to the byte
    c[0x51] = 0xf0;
    c[0x50] = 0x05;
    CHECK_EQ(t, pci_virtio_parse(c, &v), 0);
    CHECK_EQ(t, v.common.bar, 2);
    c[0xf2] = 20; // claims four more
    CHECK_EQ(t, pci_virtio_parse(c, &v), -EINVAL);
}

static void test_bars(struct test *t)
{
    static const struct {
        uint32_t found[2], sized[2];
        int r;
        uint64_t address, bytes;
    } cases[] = {
        {{0xfebd1000, 0}, {0xfffff000, 0}, 0, 0xfebd1000, 0x1000},
        {{0xc, 0x8}, {0xffffc00c, UINT32_MAX}, 0, 0x800000000, 0x4000},
        {{0xc, 0}, {0xffffc00c, UINT32_MAX}, 0, 0, 0x4000},
        {{0x6001, 0}, {0xffffffe1, 0}, -EINVAL, 0, 0}, // ports
        {{0, 0}, {0, 0}, -EINVAL, 0, 0},               // nothing
        {{4, 0}, {4, UINT32_MAX}, -EINVAL, 0, 0},      // 4 GiB
        {{0, 0}, {0xff0ff000, 0}, -EINVAL, 0, 0},      // no power of two
        {{0, 0}, {0xf0000000, 0}, -EINVAL, 0, 0},      // 256 MiB
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pci_bar bar = {0};
        CHECK_EQ(t, pci_bar_decode(cases[i].found, cases[i].sized, &bar), cases[i].r);
        CHECK(t, bar.address == cases[i].address && bar.bytes == cases[i].bytes);
    }
}

static void test_regions(struct test *t)
{
    struct pci_region r = {.offset = 0x3000, .bytes = 0x1000};
    CHECK(t, pci_region_in(&r, 0x4000, 4));
    CHECK(t, !pci_region_in(&r, 0x3fff, 4));
    CHECK(t, !pci_region_in(&r, 0x2000, 4));
    r.offset = 0xfffffffc;
    CHECK(t, !pci_region_in(&r, 0x4000, 4));
    r = (struct pci_region){.offset = 2, .bytes = 4};
    CHECK(t, !pci_region_in(&r, 0x4000, 4));
    CHECK(t, pci_region_in(&r, 0x4000, 2));
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_modern),  TEST_CASE(test_transitional),   TEST_CASE(test_first_of_a_kind),
        TEST_CASE(test_damaged), TEST_CASE(test_cap_at_the_end), TEST_CASE(test_bars),
        TEST_CASE(test_regions),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
