// SPDX-License-Identifier: Apache-2.0
/* Virtio over MMIO, version 2 (virtio 1.2, 4.2). The device's registers are 32 bits wide. */
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"

enum { // 4.2.2, table 4.1
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080, // low word, high word at + 4; so are the next two
    REG_QUEUE_AVAIL = 0x090,
    REG_QUEUE_USED = 0x0a0,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};
enum { MAGIC = 0x74726976 }; // "virt"

static uint32_t get(const struct virtio_dev *d, unsigned reg)
{
    return mmio_read32(d->regs + reg);
}

static void put(struct virtio_dev *d, unsigned reg, uint32_t v)
{
    mmio_write32(d->regs + reg, v);
}

static void put64(struct virtio_dev *d, unsigned reg, uint64_t v)
{
    put(d, reg, (uint32_t)v);
    put(d, reg + 4, (uint32_t)(v >> 32));
}

static uint8_t mmio_status(struct virtio_dev *d)
{
    return (uint8_t)get(d, REG_STATUS);
}

static void mmio_status_set(struct virtio_dev *d, uint8_t status)
{
    put(d, REG_STATUS, status);
}

static uint64_t mmio_features(struct virtio_dev *d)
{
    put(d, REG_DEVICE_FEATURES_SEL, 0);
    uint64_t low = get(d, REG_DEVICE_FEATURES);
    put(d, REG_DEVICE_FEATURES_SEL, 1);
    return low | (uint64_t)get(d, REG_DEVICE_FEATURES) << 32;
}

static void mmio_features_set(struct virtio_dev *d, uint64_t features)
{
    put(d, REG_DRIVER_FEATURES_SEL, 0);
    put(d, REG_DRIVER_FEATURES, (uint32_t)features);
    put(d, REG_DRIVER_FEATURES_SEL, 1);
    put(d, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
}

static uint16_t mmio_queue_max(struct virtio_dev *d, uint16_t index)
{
    put(d, REG_QUEUE_SEL, index);
    if (get(d, REG_QUEUE_READY) != 0)
        return 0; // in use: not ours to set up (4.2.3.2)
    uint32_t max = get(d, REG_QUEUE_NUM_MAX);
    return max > UINT16_MAX ? UINT16_MAX : (uint16_t)max;
}

static int mmio_queue_set(struct virtio_dev *d, uint16_t index, uint16_t size, uint64_t desc,
                          uint64_t avail, uint64_t used)
{
    put(d, REG_QUEUE_SEL, index);
    put(d, REG_QUEUE_NUM, size);
    put64(d, REG_QUEUE_DESC, desc);
    put64(d, REG_QUEUE_AVAIL, avail);
    put64(d, REG_QUEUE_USED, used);
    put(d, REG_QUEUE_READY, 1);
    return get(d, REG_QUEUE_READY) == 1 ? 0 : -EIO;
}

static void mmio_notify(struct virtio_dev *d, uint16_t index)
{
    put(d, REG_QUEUE_NOTIFY, index);
}

static void mmio_irq(void *ctx)
{
    enum { IRQ_QUEUE = 1, IRQ_CONFIG = 2 }; // 4.2.2, InterruptStatus
    struct virtio_dev *d = ctx;
    uint32_t what = get(d, REG_INTERRUPT_STATUS) & (IRQ_QUEUE | IRQ_CONFIG);
    if (what == 0)
        return;
    put(d, REG_INTERRUPT_ACK, what);
    d->interrupt(d, (what & IRQ_QUEUE ? VIRTIO_IRQ_QUEUES : 0) |
                        (what & IRQ_CONFIG ? VIRTIO_IRQ_CONFIG : 0));
}

static int mmio_irq_start(struct virtio_dev *d)
{
    return irq_register(d->gsi, true, mmio_irq, d);
}

static void mmio_off(struct virtio_dev *d UNUSED)
{
    // There is no such switch.
}

static uint32_t mmio_config_generation(struct virtio_dev *d)
{
    return get(d, REG_CONFIG_GENERATION);
}

static uint8_t mmio_config_byte(struct virtio_dev *d, unsigned offset)
{
    return REG_CONFIG + offset < d->regs_bytes ? mmio_read8(d->regs + REG_CONFIG + offset) : 0;
}

static const struct virtio_transport mmio_transport = {
    .name = "mmio",
    .status = mmio_status,
    .status_set = mmio_status_set,
    .features = mmio_features,
    .features_set = mmio_features_set,
    .queue_max = mmio_queue_max,
    .queue_set = mmio_queue_set,
    .notify = mmio_notify,
    .irq_start = mmio_irq_start,
    .off = mmio_off,
    .config_generation = mmio_config_generation,
    .config_byte = mmio_config_byte,
};

int virtio_mmio_open(uint64_t phys, uint64_t bytes, unsigned gsi, struct virtio_dev *ret)
{
    if (bytes < REG_CONFIG || bytes > 65536 || (phys & 3) != 0)
        return -EINVAL;
    volatile uint8_t *regs = mmio_map(phys, bytes);
    if (regs == NULL)
        return -EINVAL;
    *ret = (struct virtio_dev){
        .transport = &mmio_transport, .regs = regs, .regs_bytes = bytes, .gsi = gsi};
    if (get(ret, REG_MAGIC) != MAGIC || get(ret, REG_VERSION) != 2)
        return -EINVAL;
    ret->id = get(ret, REG_DEVICE_ID);
    return ret->id == 0 ? -ENODEV : 0; // 0: an empty slot
}
