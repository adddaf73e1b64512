// SPDX-License-Identifier: Apache-2.0
#include "kernel/drivers/virtio.h"
#include "base/fmt.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/block.h"
#include "kernel/mm/kmem.h"

enum {
    RESET_READS_MAX = 1000000, // of the status, until a reset is done
    CONFIG_READS_MAX = 1000,   // of a field, until it stands still
};

static const char *type_name(uint32_t id)
{
    switch (id) {
    case VIRTIO_ID_NET:
        return "virtio-net";
    case VIRTIO_ID_BLOCK:
        return "virtio-blk";
    case VIRTIO_ID_RNG:
        return "virtio-rng";
    default:
        return "virtio";
    }
}

static bool device_reset(struct virtio_dev *d)
{
    d->transport->status_set(d, 0);
    for (int i = 0; i < RESET_READS_MAX; i++) {
        if (d->transport->status(d) == 0)
            return true;
    }
    return false;
}

int virtio_start(struct virtio_dev *d, uint64_t wanted)
{
    const struct virtio_transport *t = d->transport;
    if (!device_reset(d))
        return -EIO;
    t->status_set(d, VIRTIO_ACKNOWLEDGE);
    t->status_set(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    uint64_t offered = t->features(d);
    if (!(offered & VIRTIO_F_VERSION_1))
        return -ENODEV;
    d->features = offered & (wanted | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
    t->features_set(d, d->features);
    t->status_set(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    return t->status(d) & VIRTIO_FEATURES_OK ? 0 : -EIO;
}

int virtio_queue_start(struct virtio_dev *d, uint16_t index, uint16_t size_max,
                       struct virtio_queue *ret)
{
    uint16_t size = size_max, max = d->transport->queue_max(d, index);
    ASSERT(size <= VQ_SIZE_MAX && index < VIRTIO_QUEUES_MAX);
    if (max == 0)
        return -ENODEV;
    while (size > max)
        size = (uint16_t)(size / 2);
    unsigned order = 0;
    while (((size_t)PAGE_SIZE << order) < vq_bytes(size))
        order++;
    struct page *page = page_alloc_zero(order);
    struct vq_slot *slot = kmalloc(sizeof(*slot) * size);
    if (page == NULL || slot == NULL) {
        if (page != NULL)
            page_put(page);
        kfree(slot);
        return -ENOMEM;
    }
    // The rings stay for ever: a device that was killed may still write to them.
    vq_init(&ret->vq, size, virtio_has(d, VIRTIO_F_EVENT_IDX), page_virt(page), slot);
    ret->index = index;
    uint64_t phys = page_phys(page);
    int r = d->transport->queue_set(d, index, size, phys, phys + vq_avail_offset(size),
                                    phys + vq_used_offset(size));
    if (r < 0) {
        kfree(slot); // the rings stay
        return r;
    }
    if (d->queues <= index)
        d->queues = (uint16_t)(index + 1);
    return 0;
}

static void interrupt_ignore(struct virtio_dev *d UNUSED, uint32_t what UNUSED)
{
}

int virtio_ready(struct virtio_dev *d, void (*interrupt)(struct virtio_dev *d, uint32_t what),
                 void *driver)
{
    // Some may be registered when others fail, and the device may send them although it must not.
    d->interrupt = interrupt_ignore;
    d->wired = true;
    int r = d->transport->irq_start(d);
    if (r < 0)
        return r;
    d->driver = driver;
    __atomic_store_n(&d->interrupt, interrupt, __ATOMIC_RELEASE);
    d->transport->status_set(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK |
                                    VIRTIO_DRIVER_OK);
    return 0;
}

void virtio_kill(struct virtio_dev *d, const char *why)
{
    if (__atomic_exchange_n(&d->dead, true, __ATOMIC_RELAXED))
        return;
    bool stopped = device_reset(d);
    d->transport->off(d);
    kprintf("%s: %s; the device is %s\n", type_name(d->id), why,
            stopped ? "reset and out of use" : "out of use and cannot be reset");
}

int virtio_config(struct virtio_dev *d, unsigned offset, unsigned bytes, uint64_t *ret)
{
    ASSERT(bytes <= 8);
    for (int i = 0; i < CONFIG_READS_MAX; i++) {
        uint32_t before = d->transport->config_generation(d);
        uint64_t v = 0;
        for (unsigned b = 0; b < bytes; b++)
            v |= (uint64_t)d->transport->config_byte(d, offset + b) << 8 * b;
        if (d->transport->config_generation(d) == before) {
            *ret = v;
            return 0;
        }
    }
    return -EIO;
}

static int device_start(struct virtio_dev *d)
{
    switch (d->id) {
    case VIRTIO_ID_NET:
        return virtio_net_start(d);
    case VIRTIO_ID_BLOCK:
        return virtio_blk_start(d);
    case VIRTIO_ID_RNG:
        return virtio_rng_start(d);
    default:
        return -ENODEV;
    }
}

/* Start what a transport has opened; negative: it is not used, and its memory is the caller's. */
static int opened_start(struct virtio_dev *d, int r, const char *where)
{
    bool stopped = true;
    if (r == 0) {
        r = device_start(d);
        if (r < 0) { // it knows addresses of rings: reset, then marked (2.1.2)
            stopped = device_reset(d);
            d->transport->status_set(d, VIRTIO_FAILED);
            d->transport->off(d);
        }
    }
    if (r < 0 && r != -ENODEV)
        kprintf("virtio device at %s: not usable (error %d)%s\n", where, -r,
                stopped ? "" : ", and it cannot be reset");
    return d->wired ? 0 : r;
}

void virtio_probe(void)
{
    for (unsigned i = 0; i < boot_params.mmio_count; i++) {
        const struct param_mmio *m = &boot_params.mmio[i];
        struct virtio_dev *d = kzalloc(sizeof(*d));
        if (d == NULL)
            return;
        int r = virtio_mmio_open(m->address, m->bytes, m->gsi, d);
        char where[24];
        fmt(where, sizeof(where), "0x%lx", (unsigned long)m->address);
        if (opened_start(d, r, where) < 0)
            kfree(d);
    }
    virtio_pci_probe(opened_start);
}
