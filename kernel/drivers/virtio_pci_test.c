// SPDX-License-Identifier: Apache-2.0
/* The PCI transport over a fake bus: one function whose configuration space, BARs and registers
 * answer properly until a field of `lie` says otherwise. Every access is checked to lie in what the
 * function has. */
#include "base/mem.h"
#include "base/test.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/boot/memory.h"
#include "kernel/drivers/block.h"
#include "kernel/drivers/pci.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"
#include "kernel/socket/shim_host.h"

struct boot_memory boot_memory;

/* Devices live until power-off, and here each begins anew: what they leave is no leak. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum {
    AT_COMMON = 0,
    AT_DEVICE = 0x1000,
    AT_NOTIFY = 0x2000,
    AT_MSIX = 0x3000,
    BAR_BYTES = 0x4000,
    NO_VECTOR = 0xffff,
    IRQS_MAX = 32,
};
#define BAR_AT 0xe1000000ull

static struct {
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t bar[BAR_BYTES];
    uint32_t address; // port 0xcf8
    unsigned outside; // accesses to nowhere
    unsigned irqs;
    void (*handler[IRQS_MAX])(void *ctx);
    void *ctx[IRQS_MAX];
    uint16_t enabled[8];
} fake;

static struct {
    uint16_t queue_size, notify_off, vector_max; // vectors above it are refused
    bool size_sticks, never_features, never_reset, restless, never_enables, no_version;
    int irqs_max;
} lie;

// ---- the bus ----

static void fake_outl(uint16_t port, uint32_t v)
{
    uint32_t at = fake.address & 0xfc;
    if (port == 0xcf8)
        fake.address = v;
    else if (at >= PCI_BAR && at < PCI_BAR + 8) // BAR 0, 64 bits wide
        memcpy(fake.config + at,
               &(uint32_t){at == PCI_BAR ? (v & ~(uint32_t)(BAR_BYTES - 1)) | 4 : v}, 4);
    else if (at < PCI_BAR || at >= PCI_BAR + 24)
        memcpy(fake.config + at, &v, 4);
}

static uint32_t fake_inl(uint16_t port)
{
    uint32_t v;
    if (port == 0xcf8)
        return fake.address;
    if ((fake.address & 0xffff00) != 0)
        return UINT32_MAX; // the only function is 0.0
    memcpy(&v, fake.config + (fake.address & 0xfc), 4);
    return v;
}

static volatile void *fake_mmio_map(uint64_t phys, size_t bytes)
{
    uint64_t at = phys - BAR_AT;
    if (at < BAR_BYTES && bytes <= BAR_BYTES - at)
        return fake.bar + at;
    fake.outside++;
    return NULL;
}

static int fake_irq_register_msi(void (*handler)(void *ctx), void *ctx, struct irq_msi *ret)
{
    if ((int)fake.irqs >= lie.irqs_max)
        return -EBUSY;
    fake.handler[fake.irqs] = handler;
    fake.ctx[fake.irqs++] = ctx;
    *ret = (struct irq_msi){.address = 0xfee00000, .data = 0x40};
    return 0;
}

static size_t bar_offset(const volatile uint8_t *at, unsigned bytes)
{
    uintptr_t off = (uintptr_t)at - (uintptr_t)fake.bar;
    if (off <= BAR_BYTES - bytes && off % bytes == 0)
        return off;
    fake.outside++;
    return 0x0f00;
}

static uint32_t reg_read(const volatile uint8_t *where, unsigned bytes)
{
    size_t at = bar_offset(where, bytes);
    uint32_t v = 0;
    uint16_t select;
    memcpy(&select, fake.bar + 22, 2);
    memcpy(&v, fake.bar + at, bytes);
    switch (at) {
    case 4: // device features
        v = fake.bar[0] == 0 ? 1u << 2 | 1u << 5 : !lie.no_version;
        break;
    case 20: // status
        v &= lie.never_features ? ~(uint32_t)VIRTIO_FEATURES_OK : UINT32_MAX;
        v |= lie.never_reset ? VIRTIO_DRIVER_OK : 0;
        break;
    case 21: // generation
        fake.bar[21] = (uint8_t)(fake.bar[21] + lie.restless);
        break;
    case 24:
        v = lie.size_sticks || v == 0 ? lie.queue_size : v;
        break;
    case 28:
        v = select < 8 && !lie.never_enables ? fake.enabled[select] : 0;
        break;
    case 30:
        v = lie.notify_off;
        break;
    default:
        break;
    }
    return v;
}

static void reg_write(volatile uint8_t *where, unsigned bytes, uint32_t v)
{
    size_t at = bar_offset(where, bytes);
    uint16_t select;
    memcpy(&select, fake.bar + 22, 2);
    if ((at == 26 || at == 16) && v > lie.vector_max)
        v = NO_VECTOR;
    if (at == 28 && select < 8)
        fake.enabled[select] = (uint16_t)v;
    if (at == 20 && v == 0)
        memset(fake.enabled, 0, sizeof(fake.enabled));
    memcpy(fake.bar + at, &v, bytes);
    if (at == 22)
        memset(fake.bar + 24, 0, 2); // each queue begins with its largest size
}

#define mmio_read8(at)            ((uint8_t)reg_read(at, 1))
#define mmio_read16(at)           ((uint16_t)reg_read(at, 2))
#define mmio_read32(at)           reg_read(at, 4)
#define mmio_write8(at, v)        reg_write(at, 1, v)
#define mmio_write16(at, v)       reg_write(at, 2, v)
#define mmio_write32(at, v)       reg_write(at, 4, v)
#define outl(port, v)             fake_outl(port, v)
#define inl(port)                 fake_inl(port)
#define mmio_map(phys, bytes)     fake_mmio_map(phys, bytes)
#define irq_register_msi(h, c, r) fake_irq_register_msi(h, c, r)
#include "kernel/drivers/virtio_pci.c"

// ---- the function ----

static void cap(unsigned at, uint8_t kind, uint8_t next, uint32_t offset, uint32_t bytes)
{
    uint8_t *c = fake.config + at;
    c[0] = 9;
    c[1] = next;
    c[2] = kind == 2 ? 20 : 16;
    c[3] = kind;
    memcpy(c + 8, &offset, 4);
    memcpy(c + 12, &bytes, 4);
    c[16] = 4; // the multiplier of kind 2
}

static void fake_init(uint32_t id)
{
    memset(&fake, 0, sizeof(fake));
    memset(&lie, 0, sizeof(lie));
    lie.queue_size = 64;
    lie.vector_max = 8;
    lie.irqs_max = IRQS_MAX;
    boot_memory = (struct boot_memory){.ram = {{0, 64 << 20}}, .ram_count = 1};
    window_next = WINDOW_START;
    shim_console[0] = 0;
    memcpy(fake.config, &(uint32_t){0x10401af4 + (id << 16)}, 4);
    fake.config[PCI_STATUS] = 0x10;
    memcpy(fake.config + PCI_BAR, &(uint32_t){(uint32_t)BAR_AT | 4}, 4);
    fake.config[PCI_CAPS] = 0x40;
    cap(0x40, 1, 0x54, AT_COMMON, 56);
    cap(0x54, 4, 0x68, AT_DEVICE, 64);
    cap(0x68, 2, 0x7c, AT_NOTIFY, 0x100);
    fake.config[0x7c] = 0x11; // MSI-X, 4 vectors
    fake.config[0x7e] = 3;
    memcpy(fake.config + 0x80, &(uint32_t){AT_MSIX}, 4);
    fake.bar[18] = 3;            // queues
    fake.bar[AT_DEVICE + 1] = 8; // block: sectors; net: the second byte of the address
    fake.bar[AT_DEVICE + 12] = 8;
}

/* Probe; true when nothing was touched that is not the function's. */
static bool probe(void)
{
    virtio_probe();
    for (unsigned i = 0; i < fake.irqs; i++)
        fake.handler[i](fake.ctx[i]); // also the ones of a device that was given up
    while (shim_run_work())
        ;
    return fake.outside == 0;
}

static bool unusable(int error)
{
    char line[64];
    snprintf(line, sizeof(line), "pci 0.0: not usable (error %d)", -error);
    return strstr(shim_console, line) != NULL && (fake.bar[20] & VIRTIO_DRIVER_OK) == 0 &&
           (fake.config[PCI_COMMAND] & PCI_COMMAND_MASTER) == 0;
}

static void test_honest(struct test *t)
{
    fake_init(VIRTIO_ID_BLOCK);
    CHECK(t, probe());
    CHECK_STR(t, shim_console, "");
    CHECK_EQ(t, fake.irqs, 2);
    CHECK_EQ(t, fake.bar[20], 15);
    CHECK_EQ(t, block_dev_get(0)->bytes, 8 << 8 << 9);
    fake_init(VIRTIO_ID_NET);
    CHECK(t, probe());
    CHECK_STR(t, shim_console, "");
    CHECK_EQ(t, fake.irqs, 3);
    fake_init(VIRTIO_ID_RNG);
    CHECK(t, probe());
    CHECK_STR(t, shim_console, "");
    CHECK_EQ(t, fake.bar[20], 15);
}

static void test_bars(struct test *t)
{
    static const uint32_t high[] = {0xffffffff, 0x80000000, 0x00100000}; // beyond the CPU's reach
    for (size_t i = 0; i < ARRAY_LEN(high); i++) {
        fake_init(VIRTIO_ID_BLOCK);
        memcpy(fake.config + PCI_BAR + 4, &high[i], 4);
        CHECK(t, probe());
        CHECK(t, unusable(-EINVAL));
    }
    fake_init(VIRTIO_ID_BLOCK); // in RAM: registers would be the kernel's own memory
    memcpy(fake.config + PCI_BAR, &(uint32_t){0x200004}, 4);
    CHECK(t, probe());
    CHECK(t, unusable(-EINVAL));
    static const unsigned region[] = {0x40, 0x54, 0x68};
    static const uint32_t offset[] = {BAR_BYTES, BAR_BYTES - 16, 0xfffffff0, 0x80000001};
    for (size_t i = 0; i < ARRAY_LEN(region) * ARRAY_LEN(offset); i++) {
        fake_init(VIRTIO_ID_BLOCK);
        memcpy(fake.config + region[i / 4] + 8, &offset[i % 4], 4);
        CHECK(t, probe());
        CHECK(t, unusable(-EINVAL));
    }
    fake_init(VIRTIO_ID_BLOCK); // a table of 2048 vectors that does not fit
    fake.config[0x7e] = 0xff;
    fake.config[0x7f] = 7;
    CHECK(t, probe());
    CHECK(t, unusable(-EINVAL));
}

static void test_queue_sizes(struct test *t)
{
    static const uint16_t odd[] = {3, 5, 100, 0x8001, 0xffff};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) { // the power of two below
        fake_init(VIRTIO_ID_RNG);
        lie.queue_size = odd[i];
        CHECK(t, probe());
        CHECK_STR(t, shim_console, "");
    }
    fake_init(VIRTIO_ID_RNG); // keeps its own size: it would read behind our ring
    lie.size_sticks = true;
    CHECK(t, probe());
    CHECK(t, unusable(-EIO));
    for (uint16_t size = 1; size <= 2; size++) { // no room for a request
        fake_init(VIRTIO_ID_BLOCK);
        lie.queue_size = size;
        CHECK(t, probe());
        CHECK(t, unusable(-EINVAL));
    }
    fake_init(VIRTIO_ID_NET); // no queue for sending
    fake.bar[18] = 1;
    CHECK(t, probe());
    CHECK_EQ(t, fake.bar[20], VIRTIO_FAILED);
    fake_init(VIRTIO_ID_RNG);
    lie.never_enables = true;
    CHECK(t, probe());
    CHECK(t, unusable(-EIO));
}

static void test_doorbell(struct test *t)
{
    fake_init(VIRTIO_ID_RNG);
    lie.notify_off = 0x100 / 4 - 1; // the last place
    CHECK(t, probe());
    CHECK_EQ(t, fake.bar[20], 15);
    static const uint16_t off[] = {0x100 / 4, 0xffff, 0x8000};
    for (size_t i = 0; i < ARRAY_LEN(off); i++) {
        fake_init(VIRTIO_ID_RNG);
        lie.notify_off = off[i];
        CHECK(t, probe());
        CHECK_EQ(t, fake.bar[20], VIRTIO_FAILED);
    }
    fake_init(VIRTIO_ID_RNG);
    lie.notify_off = 0xffff;
    memset(fake.config + 0x68 + 16, 0, 4);
    fake.config[0x68 + 19] = 0x80; // times 2^31
    CHECK(t, probe());
    CHECK_EQ(t, fake.bar[20], VIRTIO_FAILED);
}

static void test_vectors_refused(struct test *t)
{
    static const uint32_t ids[] = {VIRTIO_ID_NET, VIRTIO_ID_BLOCK, VIRTIO_ID_RNG};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        fake_init(ids[i]);
        lie.vector_max = 0; // a queue's
        CHECK(t, probe());
        CHECK(t, unusable(-EIO));
        for (int irqs = 0; irqs < 2; irqs++) { // ours run out: those we have still fire
            fake_init(ids[i]);
            lie.irqs_max = irqs;
            CHECK(t, probe());
            CHECK(t, unusable(-EBUSY));
        }
    }
}

static void test_status(struct test *t)
{
    fake_init(VIRTIO_ID_BLOCK);
    lie.never_features = true;
    CHECK(t, probe());
    CHECK(t, unusable(-EIO));
    fake_init(VIRTIO_ID_BLOCK);
    lie.never_reset = true;
    CHECK(t, probe());
    CHECK(t, unusable(-EIO));
    CHECK(t, strstr(shim_console, "cannot be reset") != NULL);
    fake_init(VIRTIO_ID_BLOCK);
    lie.no_version = true;
    CHECK(t, probe());
    CHECK_EQ(t, fake.bar[20], VIRTIO_FAILED);
}

static void test_restless_configuration(struct test *t)
{
    static const uint32_t ids[] = {VIRTIO_ID_NET, VIRTIO_ID_BLOCK};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        fake_init(ids[i]);
        lie.restless = true;
        CHECK(t, probe());
        CHECK(t, unusable(-EIO));
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_honest),
        TEST_CASE(test_bars),
        TEST_CASE(test_queue_sizes),
        TEST_CASE(test_doorbell),
        TEST_CASE(test_vectors_refused),
        TEST_CASE(test_status),
        TEST_CASE(test_restless_configuration),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
