// SPDX-License-Identifier: Apache-2.0
/* The MMIO transport over fake registers that answer properly until a field of `lie` says
 * otherwise. Every access is checked to lie in the device's window. */
#include "base/test.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/block.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"
#include "kernel/socket/shim_host.h"

/* Devices live until power-off, and here each begins anew: what they leave is no leak. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum { WINDOW = 0x140, QUEUES = 2 };

static struct {
    uint8_t regs[WINDOW];
    unsigned outside; // accesses to nowhere
    uint32_t ready[QUEUES], acknowledged;
} fake;

static struct {
    uint32_t magic, version, id, size_max, interrupts, window;
    bool never_features, never_reset, restless, never_ready, in_use;
} lie;

static volatile void *fake_mmio_map(uint64_t phys UNUSED, size_t bytes)
{
    return bytes <= WINDOW ? fake.regs : NULL;
}

static size_t reg_offset(const volatile uint8_t *at, unsigned bytes)
{
    uintptr_t off = (uintptr_t)at - (uintptr_t)fake.regs;
    if (off <= lie.window - bytes && off % bytes == 0)
        return off;
    fake.outside++;
    return 0x20;
}

static uint32_t reg_read(const volatile uint8_t *where, unsigned bytes)
{
    size_t at = reg_offset(where, bytes);
    uint32_t v = 0, select;
    memcpy(&select, fake.regs + 0x30, 4);
    memcpy(&v, fake.regs + at, bytes);
    switch (at) {
    case 0x00:
        return lie.magic;
    case 0x04:
        return lie.version;
    case 0x08:
        return lie.id;
    case 0x10:
        return fake.regs[0x14] == 0 ? 1u << 2 | 1u << 5 : 1;
    case 0x34:
        return select < QUEUES ? lie.size_max : 0;
    case 0x44:
        return lie.in_use || (select < QUEUES && !lie.never_ready && fake.ready[select] != 0);
    case 0x60:
        return lie.interrupts;
    case 0x70:
        v &= lie.never_features ? ~(uint32_t)VIRTIO_FEATURES_OK : UINT32_MAX;
        return v | (lie.never_reset ? VIRTIO_DRIVER_OK : 0);
    case 0xfc:
        return lie.restless ? (uint32_t)fake.regs[0xfc]++ : 0;
    default:
        return v;
    }
}

static void reg_write(volatile uint8_t *where, uint32_t v)
{
    size_t at = reg_offset(where, 4);
    uint32_t select;
    memcpy(&select, fake.regs + 0x30, 4);
    if (at == 0x44 && select < QUEUES)
        fake.ready[select] = v;
    if (at == 0x64)
        fake.acknowledged = v;
    memcpy(fake.regs + at, &v, 4);
}

#define mmio_read8(at)        ((uint8_t)reg_read(at, 1))
#define mmio_read32(at)       reg_read(at, 4)
#define mmio_write32(at, v)   reg_write(at, v)
#define mmio_map(phys, bytes) fake_mmio_map(phys, bytes)
#include "kernel/drivers/virtio_mmio.c"

void virtio_pci_probe(int (*start)(struct virtio_dev *d, int opened, const char *where) UNUSED)
{
}

static void fake_init(uint32_t id)
{
    memset(&fake, 0, sizeof(fake));
    memset(&lie, 0, sizeof(lie));
    lie.magic = MAGIC;
    lie.version = 2;
    lie.id = id;
    lie.size_max = 64;
    lie.window = WINDOW;
    fake.regs[0x101] = 8; // block: sectors; net: the second byte of the address
    fake.regs[0x10c] = 8;
    shim_console[0] = 0;
}

/* Probe; true when nothing was touched outside the window. */
static bool probe(void)
{
    boot_params.mmio_count = 1;
    boot_params.mmio[0] = (struct param_mmio){.address = 0xfeb00000, .bytes = lie.window, .gsi = 5};
    virtio_probe();
    while (shim_run_work())
        ;
    return fake.outside == 0;
}

static bool unusable(int error)
{
    char line[64];
    snprintf(line, sizeof(line), "0xfeb00000: not usable (error %d)", -error);
    return strstr(shim_console, line) != NULL && (fake.regs[0x70] & VIRTIO_DRIVER_OK) == 0;
}

static void test_honest(struct test *t)
{
    static const uint32_t ids[] = {VIRTIO_ID_NET, VIRTIO_ID_BLOCK, VIRTIO_ID_RNG};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        fake_init(ids[i]);
        CHECK(t, probe());
        CHECK_STR(t, shim_console, "");
        CHECK_EQ(t, fake.regs[0x70], 15);
    }
}

static void test_identity(struct test *t)
{
    fake_init(VIRTIO_ID_RNG);
    lie.magic = 0x74726977;
    CHECK(t, probe() && unusable(-EINVAL));
    fake_init(VIRTIO_ID_RNG);
    lie.version = 1;
    CHECK(t, probe() && unusable(-EINVAL));
    fake_init(0); // an empty slot: nothing is said
    CHECK(t, probe());
    CHECK_STR(t, shim_console, "");
    fake_init(0xffffffff); // a kind that nobody knows
    CHECK(t, probe());
    CHECK_EQ(t, fake.regs[0x70], VIRTIO_FAILED);
}

static void test_short_window(struct test *t)
{
    static const uint32_t ids[] = {VIRTIO_ID_NET, VIRTIO_ID_BLOCK, VIRTIO_ID_RNG};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        for (uint32_t window = 0xfc; window < 0x110; window += 4) {
            fake_init(ids[i]);
            lie.window = window; // the configuration ends early, or there is none
            CHECK(t, probe());
            CHECK(t, window >= 0x100 || unusable(-EINVAL));
        }
    }
}

static void test_queues(struct test *t)
{
    static const uint32_t sizes[] = {1, 3, 100, 0x10000, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        fake_init(VIRTIO_ID_RNG);
        lie.size_max = sizes[i];
        CHECK(t, probe());
        CHECK_EQ(t, fake.regs[0x70], 15);
        uint32_t size;
        memcpy(&size, fake.regs + 0x38, 4);
        CHECK(t, size > 0 && size <= MIN(sizes[i], 8u) && (size & (size - 1)) == 0);
    }
    fake_init(VIRTIO_ID_BLOCK);
    lie.size_max = 2; // no room for a request
    CHECK(t, probe() && unusable(-EINVAL));
    fake_init(VIRTIO_ID_RNG);
    lie.never_ready = true;
    CHECK(t, probe() && unusable(-EIO));
    fake_init(VIRTIO_ID_RNG);
    lie.in_use = true;
    CHECK(t, probe());
    CHECK_EQ(t, fake.regs[0x70], VIRTIO_FAILED);
}

static void test_status(struct test *t)
{
    fake_init(VIRTIO_ID_BLOCK);
    lie.never_features = true;
    CHECK(t, probe() && unusable(-EIO));
    fake_init(VIRTIO_ID_BLOCK);
    lie.never_reset = true;
    CHECK(t, probe() && unusable(-EIO));
    CHECK(t, strstr(shim_console, "cannot be reset") != NULL);
    fake_init(VIRTIO_ID_BLOCK);
    lie.restless = true;
    CHECK(t, probe() && unusable(-EIO));
}

static void test_interrupts(struct test *t)
{
    static const uint32_t what[] = {0, 1, 2, 3, 4, 0xffffffff};
    fake_init(VIRTIO_ID_NET);
    CHECK(t, probe());
    for (size_t i = 0; i < ARRAY_LEN(what); i++) { // for nothing, and with bits that mean nothing
        lie.interrupts = what[i];
        fake.acknowledged = 0;
        shim_irq();
        while (shim_run_work())
            ;
        CHECK_EQ(t, fake.acknowledged, what[i] & 3);
    }
    CHECK_STR(t, shim_console, "");
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_honest), TEST_CASE(test_identity), TEST_CASE(test_short_window),
        TEST_CASE(test_queues), TEST_CASE(test_status),   TEST_CASE(test_interrupts),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
