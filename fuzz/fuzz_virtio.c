// SPDX-License-Identifier: Apache-2.0
/* The drivers of net, block and entropy over a device that answers what the input says: features,
 * sizes, configuration, rings, lengths, also between a driver's two looks (in vq_fence). Whatever
 * it does, each request and packet comes back exactly once, the memory of others stays unread, and
 * a lie in the end switches it off. */
#include <stdlib.h>

#include "base/cursor.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/block.h"
#include "kernel/drivers/netdev.h"
#include "kernel/drivers/random.h"
#include "kernel/drivers/virtio.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/wait.h"
#include "kernel/sched/work.h"
#include "kernel/socket/shim_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    QUEUES = 2,
    HELD_MAX = 256,
    ALLOCS_MAX = 8192,
    STEPS_MAX = 1500,
    WORKS_MAX = 256, // in one step
    REQS = 40,
    SENT_MAX = 1500,
    KEPT_MAX = 64,
    TIMERS = 4,
    MODE_NO_FEATURES_OK = 1,
    MODE_RESTLESS = 2,
    MODE_NO_RESET = 0x1c, // all three bits: it is slow
    MODE_SHORT_MEMORY = 0x20,
    MODE_FENCE = 0x40,
};

// ---- memory: all of it is let go of after each input ----

struct alloc {
    char *at;
    size_t bytes;
};
static struct alloc allocs[ALLOCS_MAX];
static unsigned allocs_count, allocs_made;
static bool memory_short;

static void *fuzz_zalloc(size_t bytes)
{
    if (allocs_count == ALLOCS_MAX || (memory_short && ++allocs_made % 7 == 0))
        return NULL;
    char *p = calloc(1, bytes);
    ASSERT(p != NULL);
    allocs[allocs_count++] = (struct alloc){p, bytes};
    return p;
}

static void fuzz_free(void *p)
{
    for (unsigned i = 0; i < allocs_count && p != NULL; i++) {
        if (allocs[i].at != p)
            continue;
        allocs[i] = allocs[--allocs_count];
        free(p);
        return;
    }
    ASSERT(p == NULL); // not ours, or freed already
}

static struct page *fuzz_page_alloc(unsigned order)
{
    struct page *p = fuzz_zalloc(sizeof(*p));
    if (p == NULL)
        return NULL;
    // Device memory: drivers that let go of it after a failure leave it to us.
    p->owner = fuzz_zalloc((size_t)PAGE_SIZE << order);
    return p->owner != NULL ? p : NULL;
}

static void fuzz_page_put(struct page *p)
{
    fuzz_free(p->owner);
    fuzz_free(p);
}

// ---- work and timers ----

static struct work *works;
static struct ktimer *timers[TIMERS];

static void fuzz_work_raise(struct work *w)
{
    if (w->state)
        return;
    w->state = 1;
    w->next = works;
    works = w;
}

static void run_works(void)
{
    for (unsigned i = 0; i < WORKS_MAX && works != NULL; i++) {
        struct work *w = works;
        works = w->next;
        w->state = 0;
        w->run(w);
    }
}

static void fuzz_timer_arm(struct ktimer *t, uint64_t deadline UNUSED)
{
    unsigned i = 0;
    while (timers[i] != NULL && timers[i] != t)
        ASSERT(++i < TIMERS);
    timers[i] = t;
}

static void run_timers(void)
{
    for (unsigned i = 0; i < TIMERS; i++) {
        struct ktimer *t = timers[i];
        timers[i] = NULL;
        if (t != NULL)
            t->run(t);
    }
}

#define kmalloc(bytes)             fuzz_zalloc(bytes)
#define kzalloc(bytes)             fuzz_zalloc(bytes)
#define kfree(p)                   fuzz_free(p)
#define page_alloc_zero(order)     fuzz_page_alloc(order)
#define page_put(p)                fuzz_page_put(p)
#define work_raise(w)              fuzz_work_raise(w)
#define ktimer_arm(t, deadline_ns) fuzz_timer_arm(t, deadline_ns)
#include "kernel/drivers/netdev.c"
#include "kernel/drivers/virtio.c"
#include "kernel/drivers/virtio_blk.c"
#include "kernel/drivers/virtio_net.c"
#include "kernel/drivers/virtio_rng.c"

int virtio_mmio_open(uint64_t phys UNUSED, uint64_t bytes UNUSED, unsigned gsi UNUSED,
                     struct virtio_dev *ret UNUSED)
{
    return -ENODEV;
}

void virtio_pci_probe(int (*start)(struct virtio_dev *d, int opened, const char *where) UNUSED)
{
}

// ---- the device ----

struct fake_queue {
    uint16_t size, seen;
    uint64_t desc, avail, used;
    uint16_t held[HELD_MAX];
    unsigned held_count;
};

static struct {
    struct virtio_dev dev;
    struct fake_queue q[QUEUES];
    struct cursor input;
    uint64_t offered;
    uint16_t queue_max;
    uint8_t mode, status, generation, config[16];
} fake;
static uint8_t arena[1 << 16]; // what block requests read into

static uint8_t next8(void)
{
    uint8_t v;
    return cursor_u8(&fake.input, &v) == 0 ? v : 0;
}

static uint16_t next16(void)
{
    uint8_t low = next8();
    return (uint16_t)(low | next8() << 8);
}

static uint8_t fake_status(struct virtio_dev *d UNUSED)
{
    if ((fake.mode & MODE_NO_RESET) == MODE_NO_RESET)
        return VIRTIO_DRIVER_OK;
    return fake.status & (fake.mode & MODE_NO_FEATURES_OK ? (uint8_t)~VIRTIO_FEATURES_OK : 0xff);
}

static void fake_status_set(struct virtio_dev *d UNUSED, uint8_t status)
{
    fake.status = status;
    if (status == 0)
        memset(fake.q, 0, sizeof(fake.q));
}

static uint64_t fake_features(struct virtio_dev *d UNUSED)
{
    return fake.offered;
}

static void fake_features_set(struct virtio_dev *d UNUSED, uint64_t features UNUSED)
{
}

static uint16_t fake_queue_max(struct virtio_dev *d UNUSED, uint16_t index)
{
    return index < QUEUES ? fake.queue_max : 0;
}

static int fake_queue_set(struct virtio_dev *d UNUSED, uint16_t index, uint16_t size, uint64_t desc,
                          uint64_t avail, uint64_t used)
{
    fake.q[index] = (struct fake_queue){.size = size, .desc = desc, .avail = avail, .used = used};
    return 0;
}

static void fake_notify(struct virtio_dev *d UNUSED, uint16_t index)
{
    struct fake_queue *q = &fake.q[index];
    const uint16_t *avail = (void *)q->avail;
    while (q->seen != avail[1] && q->held_count < HELD_MAX)
        q->held[q->held_count++] = avail[2 + q->seen++ % q->size];
}

static int fake_irq_start(struct virtio_dev *d)
{
    d->interrupt(d, VIRTIO_IRQ_QUEUES | VIRTIO_IRQ_CONFIG); // too early
    return fake.config[15] == 0xee ? -EBUSY : 0;
}

static void fake_off(struct virtio_dev *d UNUSED)
{
}

static uint32_t fake_generation(struct virtio_dev *d UNUSED)
{
    return fake.mode & MODE_RESTLESS ? fake.generation++ : 0;
}

static uint8_t fake_config_byte(struct virtio_dev *d UNUSED, unsigned offset)
{
    return offset < sizeof(fake.config) ? fake.config[offset] : 0;
}

static const struct virtio_transport fake_transport = {
    .name = "fake",
    .status = fake_status,
    .status_set = fake_status_set,
    .features = fake_features,
    .features_set = fake_features_set,
    .queue_max = fake_queue_max,
    .queue_set = fake_queue_set,
    .notify = fake_notify,
    .irq_start = fake_irq_start,
    .off = fake_off,
    .config_generation = fake_generation,
    .config_byte = fake_config_byte,
};

/* Memory that the device knows of may be in use otherwise by now, but it must be memory. */
static bool reachable(uint64_t at, uint32_t len)
{
    if (at >= (uintptr_t)arena && at + len <= (uintptr_t)arena + sizeof(arena))
        return true;
    for (unsigned i = 0; i < allocs_count; i++) {
        uint64_t start = (uintptr_t)allocs[i].at;
        if (at >= start && at + len <= start + allocs[i].bytes)
            return true;
    }
    return false;
}

static void put_used(struct fake_queue *q, uint32_t id, uint32_t len)
{
    struct vq_used_elem e = {id, len};
    uint16_t *used = (void *)q->used;
    memcpy(&used[2 + 4 * (used[1] % q->size)], &e, sizeof(e));
    used[1]++;
}

/* Answer held chain `which`: the first bytes of what it may write come from the input. */
static void answer(struct fake_queue *q, unsigned which, uint8_t flags, uint32_t len)
{
    uint16_t head = q->held[which];
    const struct vq_desc *d = (const struct vq_desc *)q->desc + head;
    uint32_t all = 0;
    q->held[which] = q->held[--q->held_count];
    for (unsigned i = 0; i < VQ_CHAIN_MAX; i++) {
        if ((d->flags & VQ_DESC_WRITE) && reachable(d->addr, d->len)) {
            uint8_t *to = (uint8_t *)d->addr;
            for (uint32_t n = 0; n < MIN(d->len, 12u); n++)
                to[n] = next8();
            if (d->len == 1 && (flags & 2))
                to[0] = 0; // block: all is well
        }
        all += d->flags & VQ_DESC_WRITE ? d->len : 0;
        if (!(d->flags & VQ_DESC_NEXT))
            break;
        d = (const struct vq_desc *)q->desc + d->next;
    }
    put_used(q, head, flags & 1 ? all : len);
}

static void scribble(uint8_t queue, uint16_t at, uint16_t v)
{
    struct fake_queue *q = &fake.q[queue % QUEUES];
    if (q->used == 0)
        return;
    uint16_t *used = (void *)q->used, words = (uint16_t)(2 + 4 * q->size + 1);
    used[at % words] = v;
}

void vq_fence(void)
{
    static unsigned calls;
    if (!(fake.mode & MODE_FENCE) || fake.input.left == 0)
        return;
    if (++calls % 4 == 0)
        scribble(next8(), next8() & 1 ? 1 : next8(), next16());
    else
        scribble((uint8_t)(calls >> 2), 1, (uint16_t)(calls & 1));
}

// ---- the users ----

static struct block_req reqs[REQS];
static bool req_busy[REQS];
static struct pkt *kept[KEPT_MAX];
static unsigned kept_count, sent, sent_back;

static void req_done(struct block_req *req, int status)
{
    bool *busy = req->ctx;
    ASSERT(*busy && (status == 0 || status == -EIO));
    *busy = false;
}

static void req_submit(struct block_dev *b, uint8_t which, uint8_t segs, uint16_t offset)
{
    unsigned i = which % REQS;
    if (req_busy[i])
        return;
    req_busy[i] = true;
    reqs[i] = (struct block_req){.offset = offset * 128ull,
                                 .seg_count = segs % (BLOCK_SEGS_MAX + 1),
                                 .more = which & 0x80,
                                 .done = req_done,
                                 .ctx = &req_busy[i]};
    for (unsigned s = 0; s < reqs[i].seg_count; s++)
        reqs[i].segs[s] =
            (struct block_seg){(uintptr_t)arena + s * BLOCK_SECTOR, segs & 0x40 ? 0 : BLOCK_SECTOR};
    block_submit(b, &reqs[i]);
}

static void take_input(struct netdev *d UNUSED, struct pkt *first)
{
    while (first != NULL) {
        struct pkt *p = first;
        uint8_t sum = 0;
        first = p->dev_next;
        for (uint32_t i = 0; i < p->len; i++)
            sum = (uint8_t)(sum + p->data[i]);
        if (p->flags & PKT_CSUM_PARTIAL)
            ASSERT((uint32_t)p->csum_start + p->csum_offset + 2 <= p->len);
        if (sum % 4 == 0 && kept_count < KEPT_MAX)
            kept[kept_count++] = p;
        else
            pkt_put(p);
    }
}

static void sent_free(struct pkt *p)
{
    sent_back++;
    fuzz_free(p);
}

static void transmit(struct netdev *n, uint8_t count)
{
    for (unsigned i = 0; i <= count && sent < SENT_MAX; i++) {
        struct pkt *p = fuzz_zalloc(sizeof(*p) + 128);
        if (p == NULL)
            return;
        pkt_init(p, p + 1, 128, sent_free);
        p->dev = (uintptr_t)p->buf;
        p->data = p->buf + 32;
        p->len = 60;
        sent++;
        n->ops->transmit(n, p);
    }
}

static void net_step(struct netdev *n, uint8_t a)
{
    switch (a % 5) {
    case 0:
        transmit(n, a);
        break;
    case 1:
        n->ops->kick(n);
        break;
    case 2:
        n->ops->poll(n);
        break;
    case 3:
        n->ops->reclaim(n);
        break;
    default:
        while (kept_count > 0)
            pkt_put(kept[--kept_count]);
        break;
    }
}

static void step(struct block_dev *b, struct netdev *n)
{
    uint8_t what = next8(), a = next8();
    struct fake_queue *q = &fake.q[a % QUEUES];
    switch (what % 8) {
    case 0:
    case 1:
        if (b != NULL)
            req_submit(b, a, next8(), next16());
        if (n != NULL)
            net_step(n, a);
        break;
    case 2:
        fake.dev.interrupt(&fake.dev, a & 7 ? VIRTIO_IRQ_QUEUES : VIRTIO_IRQ_CONFIG);
        run_works();
        break;
    case 3:
    case 4:
        if (q->held_count > 0)
            answer(q, next8() % q->held_count, what >> 4, next16());
        break;
    case 5:
        if (q->used != 0)
            put_used(q, next16() % 300, next16());
        break;
    case 6:
        scribble(a, next16(), next16());
        break;
    default:
        fake.config[a % sizeof(fake.config)] = next8();
        run_timers();
        break;
    }
}

/* Now it lies for sure: two counts, and only one of them can be meant. */
static void switch_off(struct netdev *n)
{
    for (unsigned i = 0; i < 4; i++) {
        fake.mode &= (uint8_t)~MODE_FENCE;
        scribble((uint8_t)i, 1, i < QUEUES ? 0x4000 : 0x8000);
        fake.dev.interrupt(&fake.dev, VIRTIO_IRQ_QUEUES);
        run_works();
        if (n != NULL) {
            n->ops->poll(n);
            n->ops->reclaim(n);
        }
        run_works();
    }
    ASSERT(works == NULL && fake.dev.dead);
    while (kept_count > 0)
        pkt_put(kept[--kept_count]);
    ASSERT(sent == sent_back);
    for (unsigned i = 0; i < REQS; i++)
        ASSERT(!req_busy[i]);
}

static void everything_back(void)
{
    while (allocs_count > 0)
        free(allocs[--allocs_count].at);
    works = NULL;
    memset(timers, 0, sizeof(timers));
    block_devs_count = netdevs_count = blocks_count = 0;
    blocks = NULL;
    sent = sent_back = 0;
    shim_console[0] = 0;
    allocs_made = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t ids[] = {VIRTIO_ID_NET, VIRTIO_ID_BLOCK, VIRTIO_ID_RNG};
    memset(&fake, 0, sizeof(fake));
    fake.input = cursor_of(data, size);
    fake.dev = (struct virtio_dev){.transport = &fake_transport, .id = ids[next8() % 3]};
    fake.mode = next8();
    memory_short = fake.mode & MODE_SHORT_MEMORY;
    uint8_t high = next8();
    fake.offered = next16() | ((uint64_t)(high & 1) << 29) | ((uint64_t) !(high & 2) << 32) |
                   ((uint64_t)(high & 4) << 14);
    fake.queue_max = next16();
    for (unsigned i = 0; i < sizeof(fake.config); i++)
        fake.config[i] = next8();

    if (opened_start(&fake.dev, 0, "fuzz") == 0 && fake.dev.driver != NULL) {
        struct block_dev *b = block_dev_get(0);
        struct netdev *n = netdev_get(0);
        if (n != NULL) {
            n->input = take_input;
            ASSERT(n->ops->open(n) == 0);
        }
        for (unsigned i = 0; i < STEPS_MAX && fake.input.left > 0; i++)
            step(b, n);
        switch_off(n);
    }
    everything_back();
    return 0;
}
