// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Network devices, and the packet buffers that they and the stack share. */
#include "base/base.h"
#include "net/pkt.h"

/* A packet with at least `size` bytes of memory that devices can reach (pkt.dev is its bus address,
 * that of pkt.buf), or NULL. Any task or work context; so is pkt_put(). Sizes up to PKTBUF_BYTES
 * come from a list of ready buffers. */
enum { PKTBUF_BYTES = 1920 };
MUST_CHECK struct pkt *pktbuf_new(uint32_t size);
void pktbuf_init(void);

struct netdev;

struct netdev_ops {
    /* Start receiving: from now on input is called. 0 or -errno. */
    int (*open)(struct netdev *d);
    /* Queue a frame; takes the reference. What the device has no room for waits in a bounded queue;
     * beyond that it is dropped. The device learns of it at kick. */
    void (*transmit)(struct netdev *d, struct pkt *p);
    void (*kick)(struct netdev *d);
    /* Take in what has arrived, without waiting for the interrupt. No lock of the stack is held. */
    void (*poll)(struct netdev *d);
    /* Let go of the packets that the device has sent (there is no interrupt for them). How many it
     * has still to send. */
    unsigned (*reclaim)(struct netdev *d);
};

struct netdev {
    const struct netdev_ops *ops; // immutable
    void *driver;                 // immutable
    uint8_t mac[6];               // immutable
    uint16_t mtu;                 // immutable; IP bytes
    bool tx_csum;                 // immutable; completes PKT_CSUM_PARTIAL
    bool link;                    // atomic; the cable is in
    /* The stack's, set before open: received frames, chained by dev_next; takes the references.
     * Work context, no lock of the driver held. */
    void (*input)(struct netdev *d, struct pkt *first);
    void *user; // the stack's
};

/* The driver's announcement of a device, during virtio_probe. */
NONNULL void netdev_register(struct netdev *d);
struct netdev *netdev_get(unsigned index); // NULL when there is none
