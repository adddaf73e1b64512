// SPDX-License-Identifier: Apache-2.0
/* virtio-net (virtio 1.2, 5.1): one pair of queues, frames in one descriptor each way, checksums
 * left to the device. The stack's packets go to the device and come from it without a copy.
 *
 * Receiving: an interrupt raises the work, which takes up to RX_BUDGET frames a run and asks for
 * interrupts again only when none is left. Sending: no interrupts; what was sent is let go of when
 * frames come in, when the stack's timer runs or when descriptors get short. Only a full ring asks
 * for one.
 *
 * Locks, both for tasks and work: rx_lock; tx_lock (the stack's lock may be held outside it).
 * Neither is held while the other is taken, or while input is called. */
#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/drivers/netdev.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/work.h"

#define NET_F_CSUM       (1ull << 0) // 5.1.3
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_MTU        (1ull << 3)
#define NET_F_MAC        (1ull << 5)
#define NET_F_MRG_RXBUF  (1ull << 15)
#define NET_F_STATUS     (1ull << 16)

enum { CONFIG_MAC = 0, CONFIG_STATUS = 6, CONFIG_MTU = 10, STATUS_LINK_UP = 1 }; // 5.1.4

struct net_hdr { // 5.1.6, struct virtio_net_hdr of a VERSION_1 device
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
};
_Static_assert(sizeof(struct net_hdr) == 12, "virtio 1.2, 5.1.6.1");
enum { HDR_NEEDS_CSUM = 1, HDR_DATA_VALID = 2 };

enum {
    QUEUE_RX = 0,
    QUEUE_TX = 1,
    QUEUE_SIZE = 256,
    RX_BUDGET = 64,       // frames in one run of the work
    RX_BATCH = 32,        // free descriptors that are worth a refill
    RX_OFFSET = 4,        // in the buffer: frames start at 16 and can be sent back as they are
    RX_MERGE_MAX = 65536, // bytes of a frame that the device spread over buffers
    TX_WAITING_MAX = 1024,
    TX_ROUNDS_MAX = 64,                // then the lock is let go of
    TX_RECLAIM_BELOW = QUEUE_SIZE / 2, // free descriptors
    ETHERNET_HEADER = 14,
    MAC_GROUP = 1, // in the first byte: nobody's own address
    MTU_DEFAULT = 1500,
    MTU_MIN = 576,
    MTU_MAX = 9000,
};
_Static_assert(RX_OFFSET + sizeof(struct net_hdr) == PKT_DEV_HEADROOM, "room to send it back");
#define RX_RETRY_NS (10 * 1000000ull) // when memory for buffers was short

struct vnet {
    struct netdev net;      // net.link: atomic
    struct virtio_dev *dev; // immutable
    uint32_t rx_bytes;      // immutable; size of a receive buffer
    struct work rx_work, tx_work, config_work;
    struct ktimer rx_retry;
    uint32_t irq_tx; // atomic; the ring was full: look at the send queue too

    struct spinlock rx_lock;
    struct virtio_queue rx; // protected by rx_lock
    uint64_t rx_bad;        // protected by rx_lock; frames dropped as malformed

    struct spinlock tx_lock;
    // Protected by tx_lock.
    struct virtio_queue tx;
    struct pkt *waiting, **waiting_end; // chained by dev_next
    unsigned waiting_count;
    uint64_t tx_dropped;
};

// ---- receiving ----

/* Fill the ring. rx_lock held. */
static void rx_fill(struct vnet *v)
{
    struct vq *q = &v->rx.vq;
    while (q->free_count > 0 && !q->broken) {
        struct pkt *p = pktbuf_new(v->rx_bytes);
        if (p == NULL) {
            if (q->chains < RX_BATCH) // few or none are left to wake us
                ktimer_arm(&v->rx_retry, clock_mono_ns() + RX_RETRY_NS);
            break;
        }
        struct vq_seg seg = {p->dev + RX_OFFSET, p->size - RX_OFFSET};
        int r = vq_push(q, &seg, 0, 1, p);
        ASSERT(r == 0);
    }
    virtio_queue_kick(v->dev, &v->rx);
}

static void rx_retry(struct ktimer *t)
{
    struct vnet *v = CONTAINER_OF(t, struct vnet, rx_retry);
    spin_lock(&v->rx_lock);
    rx_fill(v);
    spin_unlock(&v->rx_lock);
}

/* The device spread a frame over `count` buffers, p the first: gather it into one. Slow, and only
 * for devices that do so without need. NULL: dropped. rx_lock held. */
static struct pkt *rx_merge(struct vnet *v, struct pkt *p, unsigned count)
{
    struct pkt *whole = pktbuf_new(RX_MERGE_MAX);
    if (whole != NULL) {
        whole->data = whole->buf + PKT_DEV_HEADROOM;
        whole->len = p->len;
        memcpy(whole->data, p->data, p->len);
    }
    pkt_put(p);
    for (unsigned i = 1; i < count; i++) {
        void *token;
        uint32_t len;
        if (vq_pop(&v->rx.vq, &token, &len) <= 0) { // all must be there at once (5.1.6.4)
            v->rx.vq.broken = true;
            break;
        }
        struct pkt *part = token;
        bool fits = whole != NULL && len <= pkt_tailroom(whole);
        if (fits) {
            memcpy(whole->data + whole->len, part->buf + RX_OFFSET, len);
            whole->len += len;
        } else {
            pkt_put(whole);
            whole = NULL; // what is left of it would be another frame
        }
        pkt_put(part);
    }
    if (v->rx.vq.broken) {
        pkt_put(whole);
        whole = NULL;
    }
    v->rx_bad += whole == NULL;
    return whole;
}

/* A received buffer becomes a frame, or NULL. rx_lock held. */
static struct pkt *rx_frame(struct vnet *v, struct pkt *p, uint32_t len)
{
    struct net_hdr h;
    if (len < sizeof(h) + ETHERNET_HEADER) {
        v->rx_bad++;
        pkt_put(p);
        return NULL;
    }
    memcpy(&h, p->buf + RX_OFFSET, sizeof(h)); // one copy: the device may go on writing
    p->data = p->buf + PKT_DEV_HEADROOM;
    p->len = len - (uint32_t)sizeof(h);
    if (UNLIKELY(h.num_buffers > 1) && virtio_has(v->dev, NET_F_MRG_RXBUF)) {
        p = rx_merge(v, p, h.num_buffers);
        if (p == NULL)
            return NULL;
    }
    if (h.flags & HDR_NEEDS_CSUM) {
        p->flags = PKT_CSUM_PARTIAL;
        p->csum_start = h.csum_start;
        p->csum_offset = h.csum_offset;
    } else if (h.flags & HDR_DATA_VALID) {
        p->flags = PKT_CSUM_OK;
    }
    bool bad = h.gso_type != 0 ||
               (h.flags & HDR_NEEDS_CSUM && (uint32_t)h.csum_start + h.csum_offset + 2u > p->len);
    if (bad) {
        v->rx_bad++;
        pkt_put(p);
        return NULL;
    }
    return p;
}

static void vnet_kill(struct vnet *v, const char *why)
{
    void *token;
    virtio_kill(v->dev, why);
    __atomic_store_n(&v->net.link, false, __ATOMIC_RELAXED);
    spin_lock(&v->rx_lock);
    while ((token = vq_drain(&v->rx.vq)) != NULL)
        pkt_put(token);
    spin_unlock(&v->rx_lock);
    spin_lock(&v->tx_lock);
    while ((token = vq_drain(&v->tx.vq)) != NULL)
        pkt_put(token);
    while (v->waiting != NULL) {
        struct pkt *p = v->waiting;
        v->waiting = p->dev_next;
        pkt_put(p);
    }
    v->waiting_end = &v->waiting;
    v->waiting_count = 0;
    spin_unlock(&v->tx_lock);
}

/* Up to RX_BUDGET frames; true: there may be more. */
static bool rx_poll(struct vnet *v, struct pkt **ret_first)
{
    struct pkt **end = ret_first;
    unsigned n = 0;
    bool more = false;
    void *token;
    uint32_t len;

    *end = NULL;
    spin_lock(&v->rx_lock);
    for (unsigned round = 0; round < RX_BUDGET; round++) {
        while (n < RX_BUDGET && vq_pop(&v->rx.vq, &token, &len) > 0) {
            struct pkt *p = rx_frame(v, token, len);
            n++;
            if (p == NULL)
                continue;
            p->dev_next = NULL;
            *end = p;
            end = &p->dev_next;
        }
        if (v->rx.vq.free_count >= RX_BATCH)
            rx_fill(v);
        more = !v->rx.vq.broken && (n >= RX_BUDGET || vq_irq_on(&v->rx.vq, 0));
        if (n >= RX_BUDGET || !more)
            break;
    }
    spin_unlock(&v->rx_lock);
    return more;
}

/* One run: true when there may be more. */
static bool rx_run(struct vnet *v)
{
    struct pkt *first;
    bool more = rx_poll(v, &first);
    if (first != NULL)
        v->net.input(&v->net, first);
    if (UNLIKELY(v->rx.vq.broken) && !v->dev->dead)
        vnet_kill(v, "answered nonsense");
    return more && !v->dev->dead;
}

static void rx_work(struct work *w)
{
    if (rx_run(CONTAINER_OF(w, struct vnet, rx_work)))
        work_raise(w);
}

static void vnet_poll(struct netdev *d)
{
    rx_run(d->driver);
}

// ---- sending ----

/* tx_lock held. */
static void tx_reap(struct vnet *v)
{
    void *token;
    uint32_t len;
    while (vq_pop(&v->tx.vq, &token, &len) > 0)
        pkt_put(token);
}

/* tx_lock held, a descriptor is free. */
static void tx_push(struct vnet *v, struct pkt *p)
{
    struct net_hdr h = {.flags = 0};
    if (p->flags & PKT_CSUM_PARTIAL) {
        h.flags = HDR_NEEDS_CSUM;
        h.csum_start = p->csum_start;
        h.csum_offset = p->csum_offset;
    }
    uint8_t *at = p->data - sizeof(h);
    memcpy(at, &h, sizeof(h));
    struct vq_seg seg = {p->dev + (uint64_t)(at - p->buf), p->len + (uint32_t)sizeof(h)};
    int r = vq_push(&v->tx.vq, &seg, 1, 0, p);
    ASSERT(r == 0);
}

/* The waiting frames, as far as there is room. tx_lock held. */
static void tx_pump(struct vnet *v)
{
    bool early = true; // chains were finished before the interrupt was asked for
    for (unsigned round = 0; round < TX_ROUNDS_MAX && early; round++) {
        tx_reap(v);
        while (v->waiting != NULL && v->tx.vq.free_count > 0) {
            struct pkt *p = v->waiting;
            v->waiting = p->dev_next;
            if (v->waiting == NULL)
                v->waiting_end = &v->waiting;
            v->waiting_count--;
            tx_push(v, p);
        }
        early = v->waiting != NULL && !v->tx.vq.broken &&
                vq_irq_on(&v->tx.vq, (uint16_t)(v->tx.vq.size / 2));
    }
    if (early)
        work_raise(&v->tx_work);
    if (v->waiting == NULL)
        vq_irq_off(&v->tx.vq);
    __atomic_store_n(&v->irq_tx, v->waiting != NULL, __ATOMIC_RELAXED);
}

static void vnet_transmit(struct netdev *d, struct pkt *p)
{
    struct vnet *v = d->driver;
    ASSERT(pkt_headroom(p) >= sizeof(struct net_hdr));
    spin_lock(&v->tx_lock);
    if (v->tx.vq.free_count < TX_RECLAIM_BELOW)
        tx_reap(v);
    if (LIKELY(v->waiting == NULL && v->tx.vq.free_count > 0 && !v->tx.vq.broken && d->link)) {
        tx_push(v, p);
    } else if (v->waiting_count < TX_WAITING_MAX && !v->tx.vq.broken && d->link) {
        p->dev_next = NULL;
        *v->waiting_end = p;
        v->waiting_end = &p->dev_next;
        v->waiting_count++;
        tx_pump(v);
    } else {
        v->tx_dropped++;
        pkt_put(p);
    }
    spin_unlock(&v->tx_lock);
}

static void vnet_kick(struct netdev *d)
{
    struct vnet *v = d->driver;
    spin_lock(&v->tx_lock);
    virtio_queue_kick(v->dev, &v->tx);
    spin_unlock(&v->tx_lock);
}

static unsigned tx_flush(struct vnet *v)
{
    spin_lock(&v->tx_lock);
    tx_reap(v);
    if (UNLIKELY(v->waiting != NULL)) {
        tx_pump(v);
        virtio_queue_kick(v->dev, &v->tx);
    }
    bool broken = v->tx.vq.broken;
    unsigned left = v->tx.vq.chains + v->waiting_count;
    spin_unlock(&v->tx_lock);
    if (UNLIKELY(broken) && !v->dev->dead)
        vnet_kill(v, "answered nonsense");
    return broken ? 0 : left;
}

static unsigned vnet_reclaim(struct netdev *d)
{
    return tx_flush(d->driver);
}

static void tx_work(struct work *w)
{
    tx_flush(CONTAINER_OF(w, struct vnet, tx_work));
}

// ---- the device ----

static void config_work(struct work *w)
{
    struct vnet *v = CONTAINER_OF(w, struct vnet, config_work);
    if (!virtio_has(v->dev, NET_F_STATUS) || v->dev->dead)
        return;
    uint64_t status;
    if (virtio_config(v->dev, CONFIG_STATUS, 2, &status) < 0) {
        vnet_kill(v, "has a configuration that never stands still");
        return;
    }
    bool link = status & STATUS_LINK_UP;
    if (link != __atomic_exchange_n(&v->net.link, link, __ATOMIC_RELAXED))
        kprintf("virtio-net: link %s\n", link ? "up" : "down");
}

static void vnet_interrupt(struct virtio_dev *d, uint32_t what)
{
    struct vnet *v = d->driver;
    if (what & VIRTIO_IRQ_QUEUE(QUEUE_RX))
        work_raise(&v->rx_work);
    if ((what & VIRTIO_IRQ_QUEUE(QUEUE_TX)) && __atomic_load_n(&v->irq_tx, __ATOMIC_RELAXED))
        work_raise(&v->tx_work);
    if (what & VIRTIO_IRQ_CONFIG)
        work_raise(&v->config_work);
}

static int vnet_open(struct netdev *d)
{
    struct vnet *v = d->driver;
    spin_lock(&v->rx_lock);
    rx_fill(v);
    bool early = vq_irq_on(&v->rx.vq, 0);
    spin_unlock(&v->rx_lock);
    if (early)
        work_raise(&v->rx_work);
    return 0;
}

static const struct netdev_ops vnet_ops = {
    .open = vnet_open,
    .transmit = vnet_transmit,
    .kick = vnet_kick,
    .poll = vnet_poll,
    .reclaim = vnet_reclaim,
};

static int vnet_setup(struct vnet *v)
{
    struct virtio_dev *d = v->dev;
    int r = virtio_start(d, NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC |
                                NET_F_MRG_RXBUF | NET_F_STATUS);
    if (r == 0)
        r = virtio_queue_start(d, QUEUE_RX, QUEUE_SIZE, &v->rx);
    if (r == 0)
        r = virtio_queue_start(d, QUEUE_TX, QUEUE_SIZE, &v->tx);
    if (r < 0)
        return r;
    if (!virtio_has(d, NET_F_MAC))
        return -EINVAL; // a device without an address of its own is of no use here
    uint64_t mac, mtu = MTU_DEFAULT, status = STATUS_LINK_UP;
    r = virtio_config(d, CONFIG_MAC, 6, &mac);
    if (r == 0 && virtio_has(d, NET_F_MTU))
        r = virtio_config(d, CONFIG_MTU, 2, &mtu);
    if (r == 0 && virtio_has(d, NET_F_STATUS))
        r = virtio_config(d, CONFIG_STATUS, 2, &status);
    if (r < 0)
        return r;
    memcpy(v->net.mac, &mac, 6);
    if (mtu < MTU_MIN || (v->net.mac[0] & MAC_GROUP))
        return -EINVAL;
    v->net.mtu = (uint16_t)MIN(mtu, (uint64_t)MTU_MAX);
    v->net.tx_csum = virtio_has(d, NET_F_CSUM);
    v->net.link = status & STATUS_LINK_UP;
    uint32_t frame = (uint32_t)PKT_DEV_HEADROOM + ETHERNET_HEADER + v->net.mtu;
    v->rx_bytes = MAX(frame, (uint32_t)PKTBUF_BYTES);
    vq_irq_off(&v->tx.vq);
    return virtio_ready(d, vnet_interrupt, v);
}

int virtio_net_start(struct virtio_dev *d)
{
    struct vnet *v = kzalloc(sizeof(*v));
    if (v == NULL)
        return -ENOMEM;
    v->dev = d;
    v->net.ops = &vnet_ops;
    v->net.driver = v;
    v->rx_work.run = rx_work;
    v->tx_work.run = tx_work;
    v->config_work.run = config_work;
    v->waiting_end = &v->waiting;
    ktimer_init(&v->rx_retry, rx_retry);
    int r = vnet_setup(v);
    if (r < 0) {
        kfree(v);
        return r;
    }
    netdev_register(&v->net);
    return 0;
}
