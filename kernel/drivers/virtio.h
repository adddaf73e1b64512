// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Virtio 1.x devices: what the drivers share. A transport (MMIO or PCI) carries registers and
 * interrupts; the drivers see queues, features and configuration.
 *
 * A device that lies about anything is reset and dead: one line on the console, -EIO to its users,
 * no fault here. */
#include "base/base.h"
#include "base/errno.h"
#include "kernel/drivers/vq.h"

enum { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_RNG = 4 }; // virtio 1.2, 5

#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

enum virtio_status { // 2.1
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_FAILED = 128,
};

enum { VIRTIO_QUEUES_MAX = 8 }; // of one device that we use

/* What an interrupt is about: a bit for each queue (all of them where the transport cannot tell
 * them apart) and one for the configuration. */
#define VIRTIO_IRQ_CONFIG   (1u << 31)
#define VIRTIO_IRQ_QUEUE(i) (1u << (i))
#define VIRTIO_IRQ_QUEUES   (VIRTIO_IRQ_QUEUE(VIRTIO_QUEUES_MAX) - 1)

struct virtio_dev;

struct virtio_transport {
    const char *name;
    uint8_t (*status)(struct virtio_dev *d);
    void (*status_set)(struct virtio_dev *d, uint8_t status);
    uint64_t (*features)(struct virtio_dev *d);
    void (*features_set)(struct virtio_dev *d, uint64_t features);
    uint16_t (*queue_max)(struct virtio_dev *d, uint16_t index); // 0: there is no such queue
    int (*queue_set)(struct virtio_dev *d, uint16_t index, uint16_t size, uint64_t desc,
                     uint64_t avail, uint64_t used); // 0 or -EIO: the device refused
    void (*notify)(struct virtio_dev *d, uint16_t index);
    int (*irq_start)(struct virtio_dev *d); // d->interrupt is called from here on; 0 or an error
    /* Given up: take from it what the bus can take, its access to memory. */
    void (*off)(struct virtio_dev *d);
    uint32_t (*config_generation)(struct virtio_dev *d);
    uint8_t (*config_byte)(struct virtio_dev *d, unsigned offset);
};

struct virtio_dev {
    const struct virtio_transport *transport; // immutable
    volatile uint8_t *regs;                   // immutable; the transport's
    size_t regs_bytes;                        // immutable
    void *transport_data;                     // immutable; the transport's
    unsigned gsi;                             // immutable; MMIO's interrupt line
    uint32_t id;                              // immutable; VIRTIO_ID_*
    uint16_t queues;                          // set up; immutable after virtio_ready
    uint64_t features;                        // negotiated; immutable after virtio_start
    bool dead;                                // atomic; never comes back
    bool wired; // during boot only; an interrupt may call it: its memory stays
    /* The driver's, immutable after virtio_ready: called in interrupt context with VIRTIO_IRQ_*. */
    void (*interrupt)(struct virtio_dev *d, uint32_t what);
    void *driver;
};

struct virtio_queue {
    struct vq vq; // its driver locks
    uint16_t index;
};

/* Reset the device and agree on features: of `wanted` what it offers, and VERSION_1 and EVENT_IDX
 * (if offered) always. 0; -ENODEV: it does not speak virtio 1; -EIO: it refused. */
NONNULL MUST_CHECK int virtio_start(struct virtio_dev *d, uint64_t wanted);
/* After virtio_start: set queue `index` up with up to size_max descriptors (a power of two). 0;
 * -ENODEV: no such queue; -ENOMEM; -EIO: the device refused. */
NONNULL MUST_CHECK int virtio_queue_start(struct virtio_dev *d, uint16_t index, uint16_t size_max,
                                          struct virtio_queue *ret);
/* Last step: interrupts flow, the device may work. 0 or the error of registering them, after which
 * `interrupt` is not called any more. */
NONNULL MUST_CHECK int virtio_ready(struct virtio_dev *d,
                                    void (*interrupt)(struct virtio_dev *d, uint32_t what),
                                    void *driver);
/* The device lied or failed: reset it for good and say so once. Any context but interrupts. */
NONNULL COLD void virtio_kill(struct virtio_dev *d, const char *why);

NONNULL static inline bool virtio_has(const struct virtio_dev *d, uint64_t feature)
{
    return (d->features & feature) != 0;
}

NONNULL static inline void virtio_queue_kick(struct virtio_dev *d, struct virtio_queue *q)
{
    if (vq_publish(&q->vq))
        d->transport->notify(d, q->index);
}

/* A configuration field of up to 8 bytes, read without tearing (4.2.2.2); 0 behind the device's
 * configuration. 0, or -EIO: it never stands still. */
NONNULL MUST_CHECK int virtio_config(struct virtio_dev *d, unsigned offset, unsigned bytes,
                                     uint64_t *ret);

/* The transports' probes: 0 with *ret filled, -ENODEV: nothing there (say nothing), -EINVAL: not
 * something that we can drive. */
NONNULL MUST_CHECK int virtio_mmio_open(uint64_t phys, uint64_t bytes, unsigned gsi,
                                        struct virtio_dev *ret);

/* Calls start for each PCI function: with 0 and the opened device, or with the error (as above)
 * that opening it met. A negative answer: the device is not used. */
NONNULL void virtio_pci_probe(int (*start)(struct virtio_dev *d, int opened, const char *where));

/* The drivers. 0: the device is theirs and lives on; otherwise it is reset and forgotten. */
NONNULL MUST_CHECK int virtio_blk_start(struct virtio_dev *d);
NONNULL MUST_CHECK int virtio_net_start(struct virtio_dev *d);
NONNULL MUST_CHECK int virtio_rng_start(struct virtio_dev *d);
