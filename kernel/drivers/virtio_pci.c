// SPDX-License-Identifier: Apache-2.0
/* Virtio over PCI, the modern interface with MSI-X (virtio 1.2, 4.1): functions of bus 0, found
 * through the ports 0xcf8 and 0xcfc. A firmware that gives BARs no addresses (qboot) leaves it to
 * us. Each queue has an interrupt vector of its own where the device has enough of them. */
#include <cpuid.h>

#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/boot/memory.h"
#include "kernel/drivers/pci.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"

enum {
    PORT_ADDRESS = 0xcf8,
    PORT_DATA = 0xcfc,
    SLOTS = 32,
    FUNCTIONS = 8,
    HEADER_MULTI = 0x80,
};

static const uint32_t ADDRESS_ENABLE = 1u << 31;

// Where BARs go that have no address: below the I/O APIC, above any RAM below 4 GiB on q35.
#define WINDOW_START 0xe0000000ull
#define WINDOW_END   0xfe000000ull

enum { // struct virtio_pci_common_cfg, 4.1.4.3
    COMMON_DEVICE_FEATURE_SELECT = 0,
    COMMON_DEVICE_FEATURE = 4,
    COMMON_DRIVER_FEATURE_SELECT = 8,
    COMMON_DRIVER_FEATURE = 12,
    COMMON_CONFIG_VECTOR = 16,
    COMMON_NUM_QUEUES = 18,
    COMMON_STATUS = 20,
    COMMON_GENERATION = 21,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_VECTOR = 26,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY = 30,
    COMMON_QUEUE_DESC = 32,
    COMMON_QUEUE_DRIVER = 40,
    COMMON_QUEUE_DEVICE = 48,
};

struct pci_vector {
    struct virtio_dev *dev;
    uint32_t what;
};

struct virtio_pci {
    uint32_t function;                               // immutable
    volatile uint8_t *common, *notify, *msix;        // immutable
    uint32_t notify_bytes, notify_multiplier;        // immutable
    volatile uint8_t *doorbell[VIRTIO_QUEUES_MAX];   // immutable once the queue is set up
    unsigned vectors;                                // immutable; that we use
    struct pci_vector vector[1 + VIRTIO_QUEUES_MAX]; // immutable after pci_irq_start
};

static uint64_t window_next = WINDOW_START; // during boot only
/* The ports are two steps. All but command_set is during boot only. No other lock inside. */
static struct spinlock command_lock;

// ---- configuration space ----

static uint32_t config_read(uint32_t function, unsigned offset)
{
    outl(PORT_ADDRESS, ADDRESS_ENABLE | function | (offset & 0xfc));
    return inl(PORT_DATA);
}

static void config_write(uint32_t function, unsigned offset, uint32_t v)
{
    outl(PORT_ADDRESS, ADDRESS_ENABLE | function | (offset & 0xfc));
    outl(PORT_DATA, v);
}

static void command_set(uint32_t function, uint16_t command)
{
    spin_lock(&command_lock);
    config_write(function, PCI_COMMAND, command); // the status half: 0 clears nothing
    spin_unlock(&command_lock);
}

static bool window_has_ram(void)
{
    for (unsigned i = 0; i < boot_memory.ram_count; i++) {
        if (boot_memory.ram[i].start < WINDOW_END && boot_memory.ram[i].end > WINDOW_START)
            return true;
    }
    return false;
}

/* A BAR holds what firmware or device made up: registers never lie in RAM, nor where the CPU cannot
 * reach. */
static bool bar_reachable(const struct pci_bar *b)
{
    unsigned eax, ebx, ecx, edx, bits = 36;
    if (__get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx))
        bits = MIN(eax & 0xff, 52u);
    if (b->address >> bits != 0 || (b->address + b->bytes - 1) >> bits != 0)
        return false;
    for (unsigned i = 0; i < boot_memory.ram_count; i++) {
        const struct boot_region *ram = &boot_memory.ram[i];
        if (ram->start < b->address + b->bytes && ram->end > b->address)
            return false;
    }
    return true;
}

/* Find BAR `index`, give it an address if it has none. Decoding is off. 0 or -EINVAL. */
static int bar_place(uint32_t function, unsigned index, struct pci_bar *ret)
{
    uint32_t found[2] = {0}, sized[2] = {0};
    unsigned at = PCI_BAR + index * 4, count = index + 1 < PCI_BARS ? 2 : 1;
    for (unsigned i = 0; i < count; i++)
        found[i] = config_read(function, at + i * 4);
    for (unsigned i = 0; i < count; i++) {
        config_write(function, at + i * 4, UINT32_MAX);
        sized[i] = config_read(function, at + i * 4);
        config_write(function, at + i * 4, found[i]);
    }
    int r = pci_bar_decode(found, sized, ret);
    if (r < 0 || (ret->wide && count < 2))
        return -EINVAL;
    if (ret->address != 0)
        return bar_reachable(ret) ? 0 : -EINVAL;
    uint64_t address = ALIGN_UP(window_next, MAX(ret->bytes, (uint64_t)PAGE_SIZE));
    if (window_has_ram() || address + ret->bytes > WINDOW_END)
        return -EINVAL;
    window_next = address + ret->bytes;
    config_write(function, at, (uint32_t)address);
    if (ret->wide)
        config_write(function, at + 4, (uint32_t)(address >> 32));
    ret->address = address;
    return 0;
}

static volatile uint8_t *region_map(const struct pci_bar bar[static PCI_BARS],
                                    const struct pci_region *r, uint32_t align)
{
    const struct pci_bar *b = &bar[r->bar];
    if (!pci_region_in(r, b->bytes, align))
        return NULL;
    return mmio_map(b->address + r->offset, MIN(r->bytes, (uint32_t)PAGE_SIZE * 16));
}

// ---- registers ----

static struct virtio_pci *pci_of(const struct virtio_dev *d)
{
    return d->transport_data;
}

static uint8_t get8(const struct virtio_dev *d, unsigned reg)
{
    return mmio_read8(pci_of(d)->common + reg);
}

static uint16_t get16(const struct virtio_dev *d, unsigned reg)
{
    return mmio_read16(pci_of(d)->common + reg);
}

static uint32_t get32(const struct virtio_dev *d, unsigned reg)
{
    return mmio_read32(pci_of(d)->common + reg);
}

static void put16(const struct virtio_dev *d, unsigned reg, uint16_t v)
{
    mmio_write16(pci_of(d)->common + reg, v);
}

static void put32(const struct virtio_dev *d, unsigned reg, uint32_t v)
{
    mmio_write32(pci_of(d)->common + reg, v);
}

static void put64(const struct virtio_dev *d, unsigned reg, uint64_t v)
{
    put32(d, reg, (uint32_t)v);
    put32(d, reg + 4, (uint32_t)(v >> 32));
}

static uint8_t pci_status(struct virtio_dev *d)
{
    return get8(d, COMMON_STATUS);
}

static void pci_status_set(struct virtio_dev *d, uint8_t status)
{
    mmio_write8(pci_of(d)->common + COMMON_STATUS, status);
}

static uint64_t pci_features(struct virtio_dev *d)
{
    put32(d, COMMON_DEVICE_FEATURE_SELECT, 0);
    uint64_t low = get32(d, COMMON_DEVICE_FEATURE);
    put32(d, COMMON_DEVICE_FEATURE_SELECT, 1);
    return low | (uint64_t)get32(d, COMMON_DEVICE_FEATURE) << 32;
}

static void pci_features_set(struct virtio_dev *d, uint64_t features)
{
    put32(d, COMMON_DRIVER_FEATURE_SELECT, 0);
    put32(d, COMMON_DRIVER_FEATURE, (uint32_t)features);
    put32(d, COMMON_DRIVER_FEATURE_SELECT, 1);
    put32(d, COMMON_DRIVER_FEATURE, (uint32_t)(features >> 32));
}

static uint16_t pci_queue_max(struct virtio_dev *d, uint16_t index)
{
    struct virtio_pci *p = pci_of(d);
    if (index >= VIRTIO_QUEUES_MAX || index >= get16(d, COMMON_NUM_QUEUES))
        return 0;
    put16(d, COMMON_QUEUE_SELECT, index);
    uint64_t at = (uint64_t)get16(d, COMMON_QUEUE_NOTIFY) * p->notify_multiplier;
    if (get16(d, COMMON_QUEUE_ENABLE) != 0 || at + 2 > p->notify_bytes)
        return 0; // in use, or a bell that lies nowhere
    p->doorbell[index] = p->notify + at;
    return get16(d, COMMON_QUEUE_SIZE);
}

/* Vector 0 is for the configuration and for queues beyond the device's vectors. */
static unsigned queue_vector(const struct virtio_pci *p, unsigned index)
{
    return 1 + index < p->vectors ? 1 + index : 0;
}

static int pci_queue_set(struct virtio_dev *d, uint16_t index, uint16_t size, uint64_t desc,
                         uint64_t avail, uint64_t used)
{
    uint16_t vector = (uint16_t)queue_vector(pci_of(d), index);
    put16(d, COMMON_QUEUE_SELECT, index);
    put16(d, COMMON_QUEUE_SIZE, size);
    put16(d, COMMON_QUEUE_VECTOR, vector);
    // 4.1.5.1.2: it may refuse the vector, and then nobody would ever wake us.
    if (get16(d, COMMON_QUEUE_VECTOR) != vector || get16(d, COMMON_QUEUE_SIZE) != size)
        return -EIO;
    put64(d, COMMON_QUEUE_DESC, desc);
    put64(d, COMMON_QUEUE_DRIVER, avail);
    put64(d, COMMON_QUEUE_DEVICE, used);
    put16(d, COMMON_QUEUE_ENABLE, 1);
    return get16(d, COMMON_QUEUE_ENABLE) == 1 ? 0 : -EIO;
}

static void pci_notify(struct virtio_dev *d, uint16_t index)
{
    mmio_write16(pci_of(d)->doorbell[index], index);
}

static void pci_off(struct virtio_dev *d)
{
    command_set(pci_of(d)->function, PCI_COMMAND_MEMORY | PCI_COMMAND_NO_INTX); // not MASTER
}

static uint32_t pci_config_generation(struct virtio_dev *d)
{
    return get8(d, COMMON_GENERATION);
}

static uint8_t pci_config_byte(struct virtio_dev *d, unsigned offset)
{
    return offset < d->regs_bytes ? mmio_read8(d->regs + offset) : 0;
}

// ---- interrupts ----

static void pci_irq(void *ctx)
{
    const struct pci_vector *v = ctx;
    v->dev->interrupt(v->dev, v->what);
}

static int vector_start(struct virtio_pci *p, unsigned index)
{
    volatile uint8_t *entry = p->msix + index * MSIX_ENTRY_BYTES;
    struct irq_msi msi;
    int r = irq_register_msi(pci_irq, &p->vector[index], &msi);
    if (r < 0)
        return r;
    mmio_write32(entry, (uint32_t)msi.address);
    mmio_write32(entry + 4, (uint32_t)(msi.address >> 32));
    mmio_write32(entry + 8, msi.data);
    mmio_write32(entry + 12, 0); // not masked
    return 0;
}

static int pci_irq_start(struct virtio_dev *d)
{
    struct virtio_pci *p = pci_of(d);
    p->vector[0] = (struct pci_vector){d, VIRTIO_IRQ_CONFIG};
    for (unsigned i = 0; i < d->queues; i++) {
        unsigned v = queue_vector(p, i);
        p->vector[v].dev = d;
        p->vector[v].what |= VIRTIO_IRQ_QUEUE(i);
    }
    int r = 0;
    for (unsigned v = 0; r == 0 && v < p->vectors; v++) {
        if (p->vector[v].dev != NULL)
            r = vector_start(p, v);
    }
    if (r < 0)
        return r;
    put16(d, COMMON_CONFIG_VECTOR, 0);
    return get16(d, COMMON_CONFIG_VECTOR) == 0 ? 0 : -EIO; // 4.1.5.1.2: it may refuse
}

static const struct virtio_transport pci_transport = {
    .name = "pci",
    .status = pci_status,
    .status_set = pci_status_set,
    .features = pci_features,
    .features_set = pci_features_set,
    .queue_max = pci_queue_max,
    .queue_set = pci_queue_set,
    .notify = pci_notify,
    .irq_start = pci_irq_start,
    .off = pci_off,
    .config_generation = pci_config_generation,
    .config_byte = pci_config_byte,
};

// ---- finding devices ----

/* Place the BARs that hold what we use and map that. */
static int regions_open(uint32_t function, const struct pci_virtio *v, struct virtio_pci *p,
                        struct virtio_dev *d)
{
    struct pci_bar bar[PCI_BARS] = {0};
    const struct pci_region *used[] = {&v->common, &v->notify, &v->device, &v->msix_table};
    for (size_t i = 0; i < ARRAY_LEN(used); i++) {
        if (used[i]->bytes == 0 || bar[used[i]->bar].bytes != 0)
            continue;
        int r = bar_place(function, used[i]->bar, &bar[used[i]->bar]);
        if (r < 0)
            return r;
    }
    p->common = region_map(bar, &v->common, 4);
    p->notify = region_map(bar, &v->notify, 2);
    p->msix = region_map(bar, &v->msix_table, 8);
    if (v->device.bytes > 0)
        d->regs = region_map(bar, &v->device, 1);
    bool whole = p->common != NULL && p->notify != NULL && p->msix != NULL;
    if (!whole || (v->device.bytes > 0 && d->regs == NULL))
        return -EINVAL;
    d->regs_bytes = MIN(v->device.bytes, (uint32_t)PAGE_SIZE);
    p->notify_bytes = MIN(v->notify.bytes, (uint32_t)PAGE_SIZE * 16);
    p->notify_multiplier = v->notify_multiplier;
    p->vectors = MIN(v->msix_vectors, 1u + VIRTIO_QUEUES_MAX);
    return 0;
}

static int function_open(uint32_t function, struct virtio_dev *d)
{
    uint8_t config[PCI_CONFIG_BYTES];
    struct pci_virtio v;
    for (unsigned i = 0; i < PCI_CONFIG_BYTES; i += 4) {
        uint32_t word = config_read(function, i);
        memcpy(config + i, &word, 4);
    }
    int r = pci_virtio_parse(config, &v);
    if (r < 0)
        return r;
    struct virtio_pci *p = kzalloc(sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    p->function = function;
    *d = (struct virtio_dev){.transport = &pci_transport, .transport_data = p, .id = v.id};
    command_set(function, PCI_COMMAND_NO_INTX); // BARs are moved with decoding off
    r = regions_open(function, &v, p, d);
    if (r < 0)
        return r;
    command_set(function, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
    uint32_t control = config_read(function, v.msix) | (uint32_t)MSIX_ENABLE << 16;
    config_write(function, v.msix, control);
    return 0;
}

void virtio_pci_probe(int (*start)(struct virtio_dev *d, int opened, const char *where))
{
    outl(PORT_ADDRESS, ADDRESS_ENABLE);
    if (inl(PORT_ADDRESS) != ADDRESS_ENABLE)
        return; // no PCI, as on microvm
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        unsigned functions = 1;
        for (uint32_t f = 0; f < functions; f++) {
            uint32_t at = slot << 11 | f << 8;
            if ((config_read(at, PCI_VENDOR) & 0xffff) == 0xffff)
                continue;
            if (f == 0 && (config_read(at, PCI_HEADER & ~3) >> 16 & HEADER_MULTI))
                functions = FUNCTIONS;
            struct virtio_dev *d = kzalloc(sizeof(*d));
            if (d == NULL)
                return;
            char where[16];
            fmt(where, sizeof(where), "pci %x.%x", (unsigned)slot, (unsigned)f);
            if (start(d, function_open(at, d), where) < 0) {
                kfree(d->transport_data);
                kfree(d);
            }
        }
    }
}
