// SPDX-License-Identifier: Apache-2.0
/* virtio-rng (virtio 1.2, 5.4): entropy at boot and every few minutes. */
#include "base/mem.h"
#include "kernel/drivers/random.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/work.h"

#define RNG_PERIOD_NS (300 * NS_PER_SEC)

enum { RNG_BYTES = 64, RNG_QUEUE_SIZE = 8 };

struct rng {
    struct virtio_dev *dev; // immutable
    uint8_t *buf;           // the device writes while `asked`
    struct work work;
    struct ktimer timer;
    struct spinlock lock;
    // Protected by lock.
    struct virtio_queue queue;
    bool asked;
};

static void rng_ask(struct rng *r)
{
    spin_lock(&r->lock);
    if (!r->asked && !r->queue.vq.broken) {
        struct vq_seg seg = {phys_of(r->buf), RNG_BYTES};
        int error = vq_push(&r->queue.vq, &seg, 0, 1, r);
        ASSERT(error == 0);
        r->asked = true;
        virtio_queue_kick(r->dev, &r->queue);
    }
    spin_unlock(&r->lock);
}

static void rng_timer(struct ktimer *t)
{
    rng_ask(CONTAINER_OF(t, struct rng, timer));
}

static void rng_work(struct work *w)
{
    struct rng *r = CONTAINER_OF(w, struct rng, work);
    uint8_t copy[RNG_BYTES];
    uint32_t len = 0;
    void *token;

    spin_lock(&r->lock);
    int got = vq_pop(&r->queue.vq, &token, &len);
    if (got > 0) {
        memcpy(copy, r->buf, len);
        r->asked = false;
    } else if (got < 0) {
        virtio_kill(r->dev, "answered nonsense");
    }
    bool again = got >= 0 && vq_irq_on(&r->queue.vq, 0);
    spin_unlock(&r->lock);
    if (again)
        work_raise(&r->work);
    if (got <= 0)
        return;
    random_add(copy, len);
    ktimer_arm(&r->timer, clock_mono_ns() + RNG_PERIOD_NS);
}

static void rng_interrupt(struct virtio_dev *d, uint32_t what)
{
    struct rng *r = d->driver;
    if (what & VIRTIO_IRQ_QUEUES)
        work_raise(&r->work);
}

int virtio_rng_start(struct virtio_dev *d)
{
    struct rng *r = kzalloc(sizeof(*r));
    uint8_t *buf = kzalloc(RNG_BYTES);
    int error = -ENOMEM;
    if (r != NULL && buf != NULL) {
        r->dev = d;
        r->buf = buf;
        r->work.run = rng_work;
        ktimer_init(&r->timer, rng_timer);
        error = virtio_start(d, 0);
        if (error == 0)
            error = virtio_queue_start(d, 0, RNG_QUEUE_SIZE, &r->queue);
        if (error == 0)
            error = virtio_ready(d, rng_interrupt, r);
    }
    if (error < 0) {
        kfree(buf);
        kfree(r);
        return error;
    }
    rng_ask(r);
    return 0;
}
