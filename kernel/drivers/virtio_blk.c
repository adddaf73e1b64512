// SPDX-License-Identifier: Apache-2.0
/* virtio-blk, read side (virtio 1.2, 5.2). A request becomes one chain (header, segments, status),
 * or several when the device takes fewer segments in one.
 *
 * Lock: blk->lock, taken by tasks and work; inside it only the transport's own, when the device is
 * given up. done() is called without it. */
#include "kernel/arch/x86_64/console.h"
#include "kernel/drivers/block.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/wait.h"
#include "kernel/sched/work.h"

#define VIRTIO_BLK_F_SEG_MAX (1ull << 2)

enum { BLK_CONFIG_CAPACITY = 0, BLK_CONFIG_SEG_MAX = 12 }; // 5.2.4
enum { BLK_T_IN = 0, BLK_S_OK = 0, BLK_S_UNWRITTEN = 0xff };
enum { BLK_QUEUE_SIZE = 128, BLK_CHAINS_MAX = 32, BLK_DEVS_MAX = 8, BLK_ROUNDS_MAX = 64 };

// What the device reads and writes beside the data. Shared memory: nothing here is believed.
struct blk_shared {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
    uint8_t status;
    uint8_t pad[15];
};
_Static_assert(sizeof(struct blk_shared) == 32, "two lie in a cache line");

struct blk_chain {
    struct blk_shared *shared; // immutable
    struct block_req *req;     // NULL: free
    uint32_t bytes;
};

struct blk {
    struct block_dev block; // immutable
    struct virtio_dev *dev; // immutable
    unsigned seg_max;       // immutable; segments in a chain
    struct work work;
    struct spinlock lock;
    // Protected by lock.
    struct virtio_queue queue;
    struct list waiting; // not all segments are with the device yet
    struct list failed;  // to be finished with -EIO by the work
    struct blk_chain chain[BLK_CHAINS_MAX];
};

static struct block_dev *block_devs[BLK_DEVS_MAX]; // written during boot only
static unsigned block_devs_count;

struct block_dev *block_dev_get(unsigned index)
{
    return index < block_devs_count ? block_devs[index] : NULL;
}

static struct blk_chain *chain_free_get(struct blk *b)
{
    for (unsigned i = 0; i < BLK_CHAINS_MAX; i++) {
        if (b->chain[i].req == NULL)
            return &b->chain[i];
    }
    return NULL;
}

/* Give the next segments of req to the device. False: no room now. */
static bool req_push(struct blk *b, struct block_req *req)
{
    unsigned n = MIN(req->seg_count - req->segs_queued, b->seg_max);
    struct blk_chain *c = chain_free_get(b);
    if (c == NULL || n + 2 > b->queue.vq.free_count)
        return false;
    uint64_t offset = req->offset;
    for (unsigned i = 0; i < req->segs_queued; i++)
        offset += req->segs[i].bytes;
    *c->shared = (struct blk_shared){
        .type = BLK_T_IN, .sector = offset / BLOCK_SECTOR, .status = BLK_S_UNWRITTEN};
    uint64_t shared = phys_of(c->shared);
    struct vq_seg seg[BLOCK_SEGS_MAX + 2] = {{shared, offsetof(struct blk_shared, status)}};
    c->bytes = 1;
    for (unsigned i = 0; i < n; i++) {
        const struct block_seg *s = &req->segs[req->segs_queued + i];
        seg[1 + i] = (struct vq_seg){s->phys, s->bytes};
        c->bytes += s->bytes;
    }
    seg[1 + n] = (struct vq_seg){shared + offsetof(struct blk_shared, status), 1};
    c->req = req;
    req->segs_queued += n;
    req->chains++;
    int r = vq_push(&b->queue.vq, seg, 1, n + 1, c);
    ASSERT(r == 0);
    return true;
}

/* Give the device what it has room for. */
static void blk_pump(struct blk *b)
{
    struct list *l = b->waiting.next;
    while (l != &b->waiting) {
        struct block_req *req = LIST_ENTRY(l, struct block_req, link);
        if (!req_push(b, req))
            break;
        if (req->segs_queued == req->seg_count) {
            list_remove(l);
            l = b->waiting.next;
        }
    }
}

static bool req_valid(const struct blk *b, const struct block_req *req)
{
    uint64_t bytes = 0;
    if (req->seg_count == 0 || req->seg_count > BLOCK_SEGS_MAX || req->offset % BLOCK_SECTOR != 0)
        return false;
    for (unsigned i = 0; i < req->seg_count; i++) {
        if (req->segs[i].bytes == 0 || req->segs[i].bytes % BLOCK_SECTOR != 0)
            return false;
        bytes += req->segs[i].bytes;
    }
    return req->offset <= b->block.bytes && bytes <= b->block.bytes - req->offset;
}

static void blk_submit(struct block_dev *block, struct block_req *req)
{
    struct blk *b = block->driver;
    req->segs_queued = req->chains = 0;
    req->status = 0;
    list_init(&req->link);
    spin_lock(&b->lock);
    if (b->queue.vq.broken || !req_valid(b, req)) {
        list_push_back(&b->failed, &req->link);
        work_raise(&b->work);
    } else {
        list_push_back(&b->waiting, &req->link);
        blk_pump(b);
        if (!req->more)
            virtio_queue_kick(b->dev, &b->queue);
    }
    spin_unlock(&b->lock);
}

/* A chain came back: add its request to `finished` when it was the last one. */
static void chain_done(struct blk_chain *c, int status, struct list *finished)
{
    struct block_req *req = c->req;
    c->req = NULL;
    if (status < 0)
        req->status = status;
    if (--req->chains == 0 && (req->segs_queued == req->seg_count))
        list_push_back(finished, &req->link);
}

/* The device is dead: every request fails. */
static void blk_fail(struct blk *b, struct list *finished)
{
    void *token;
    virtio_kill(b->dev, "answered nonsense");
    while (!list_empty(&b->waiting)) {
        struct list *l = list_pop_front(&b->waiting);
        struct block_req *req = LIST_ENTRY(l, struct block_req, link);
        req->status = -EIO;
        req->segs_queued = req->seg_count;
        if (req->chains == 0)
            list_push_back(finished, l);
    }
    while ((token = vq_drain(&b->queue.vq)) != NULL)
        chain_done(token, -EIO, finished);
}

static void blk_work(struct work *w)
{
    struct blk *b = CONTAINER_OF(w, struct blk, work);
    struct list finished;
    void *token;
    uint32_t len;
    int r;

    list_init(&finished);
    spin_lock(&b->lock);
    for (unsigned round = 0;; round++) {
        while ((r = vq_pop(&b->queue.vq, &token, &len)) > 0) {
            struct blk_chain *c = token;
            // Some devices forget to count the status byte.
            bool ok = __atomic_load_n(&c->shared->status, __ATOMIC_RELAXED) == BLK_S_OK &&
                      len >= c->bytes - 1;
            chain_done(c, ok ? 0 : -EIO, &finished);
        }
        if (r < 0) {
            blk_fail(b, &finished);
            break;
        }
        blk_pump(b);
        virtio_queue_kick(b->dev, &b->queue);
        if (!vq_irq_on(&b->queue.vq, 0))
            break;
        if (round == BLK_ROUNDS_MAX) { // others want the lock and the CPU
            work_raise(&b->work);
            break;
        }
    }
    while (!list_empty(&b->failed)) {
        struct list *l = list_pop_front(&b->failed);
        LIST_ENTRY(l, struct block_req, link)->status = -EIO;
        list_push_back(&finished, l);
    }
    spin_unlock(&b->lock);

    while (!list_empty(&finished)) {
        struct block_req *req = LIST_ENTRY(list_pop_front(&finished), struct block_req, link);
        req->done(req, req->status);
    }
}

static void blk_interrupt(struct virtio_dev *d, uint32_t what)
{
    struct blk *b = d->driver;
    if (what & VIRTIO_IRQ_QUEUES)
        work_raise(&b->work);
}

static int blk_setup(struct blk *b)
{
    struct virtio_dev *d = b->dev;
    int r = virtio_start(d, VIRTIO_BLK_F_SEG_MAX);
    if (r == 0)
        r = virtio_queue_start(d, 0, BLK_QUEUE_SIZE, &b->queue);
    if (r < 0)
        return r;
    uint64_t sectors, seg_max = 1;
    r = virtio_config(d, BLK_CONFIG_CAPACITY, 8, &sectors);
    if (r == 0 && virtio_has(d, VIRTIO_BLK_F_SEG_MAX))
        r = virtio_config(d, BLK_CONFIG_SEG_MAX, 4, &seg_max);
    if (r < 0)
        return r;
    if (sectors > UINT64_MAX / BLOCK_SECTOR || seg_max == 0 || b->queue.vq.size < 3)
        return -EINVAL;
    seg_max = MIN(seg_max, (uint64_t)BLOCK_SEGS_MAX);
    b->seg_max = (unsigned)MIN(seg_max, (uint64_t)b->queue.vq.size - 2);
    b->block =
        (struct block_dev){.bytes = sectors * BLOCK_SECTOR, .submit = blk_submit, .driver = b};
    return virtio_ready(d, blk_interrupt, b);
}

int virtio_blk_start(struct virtio_dev *d)
{
    if (block_devs_count == BLK_DEVS_MAX)
        return -ENODEV;
    struct blk *b = kzalloc(sizeof(*b));
    struct blk_shared *shared = kzalloc(sizeof(*shared) * BLK_CHAINS_MAX);
    if (b != NULL && shared != NULL) {
        b->dev = d;
        b->work.run = blk_work;
        list_init(&b->waiting);
        list_init(&b->failed);
        for (unsigned i = 0; i < BLK_CHAINS_MAX; i++)
            b->chain[i].shared = &shared[i];
        int r = blk_setup(b);
        if (r == 0) {
            block_devs[block_devs_count++] = &b->block;
            return 0;
        }
        kfree(shared);
        kfree(b);
        return r;
    }
    kfree(shared);
    kfree(b);
    return -ENOMEM;
}

struct read_wait {
    struct spinlock lock;
    bool done; // protected by lock
    int status;
    struct waitq waitq;
};

static void read_done(struct block_req *req, int status)
{
    struct read_wait *rw = req->ctx;
    spin_lock(&rw->lock); // keeps rw alive until we have let go of it
    rw->status = status;
    __atomic_store_n(&rw->done, true, __ATOMIC_RELEASE);
    waitq_wake(&rw->waitq, EV_IN, 1);
    spin_unlock(&rw->lock);
}

int block_read(struct block_dev *dev, struct block_req *req)
{
    struct read_wait rw = {.done = false};
    waitq_init(&rw.waitq);
    req->done = read_done;
    req->ctx = &rw;
    req->more = false;
    block_submit(dev, req);
    int r = WAIT_EVENT(&rw.waitq, EV_IN, __atomic_load_n(&rw.done, __ATOMIC_ACQUIRE),
                       DEADLINE_NEVER, false);
    ASSERT(r == 0);
    spin_lock(&rw.lock);
    spin_unlock(&rw.lock);
    return rw.status;
}
