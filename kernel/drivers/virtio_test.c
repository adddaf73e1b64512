// SPDX-License-Identifier: Apache-2.0
/* The drivers against a fake transport: devices that answer properly, out of order, too late, or
 * with lies. */
#include <stdlib.h>

#include "base/test.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/drivers/block.h"
#include "kernel/drivers/netdev.h"
#include "kernel/drivers/virtio.h"
#include "kernel/socket/shim_host.h"

/* Devices live until power-off, and here each begins anew: what they leave is no leak. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum { QUEUES = 2, HELD_MAX = 256 };

struct fake_queue {
    uint16_t size, seen, used_idx;
    uint64_t desc, avail, used;
    uint16_t held[HELD_MAX]; // heads that are not answered yet
    unsigned held_count;
};

static struct {
    struct virtio_dev dev;
    struct fake_queue q[QUEUES];
    uint64_t offered;
    uint8_t status, config[64];
    unsigned resets, notifies, seed;
    bool irq;
} fake;

// ---- transport ----

static uint8_t fake_status(struct virtio_dev *d UNUSED)
{
    return fake.status;
}

static void fake_status_set(struct virtio_dev *d UNUSED, uint8_t status)
{
    fake.status = status;
    fake.resets += status == 0;
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
    return index < QUEUES ? 64 : 0;
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
    fake.notifies++;
    while (q->seen != avail[1])
        q->held[q->held_count++] = avail[2 + q->seen++ % q->size];
    ((uint16_t *)q->used)[2 + 4 * q->size] = q->seen; // tell me of the next
}

void virtio_pci_probe(int (*start)(struct virtio_dev *, int, const char *) UNUSED)
{
}

static void fake_irq(void *ctx)
{
    struct virtio_dev *d = ctx;
    bool raised = fake.irq;
    fake.irq = false;
    if (raised)
        d->interrupt(d, VIRTIO_IRQ_QUEUES);
}

static int fake_irq_start(struct virtio_dev *d)
{
    return irq_register(0, true, fake_irq, d);
}

static void fake_off(struct virtio_dev *d UNUSED)
{
}

static uint32_t fake_generation(struct virtio_dev *d UNUSED)
{
    return 0;
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

static void fake_init(uint32_t id, uint64_t features)
{
    memset(&fake, 0, sizeof(fake));
    fake.dev = (struct virtio_dev){.transport = &fake_transport, .id = id};
    fake.offered = features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX;
    fake.seed = 7;
    shim_console[0] = 0;
}

static unsigned rnd(unsigned below)
{
    fake.seed = fake.seed * 1103515245u + 12345u;
    return (fake.seed >> 16) % below;
}

/* Finish held chain `which` of a queue with this length. */
static void put_used(struct fake_queue *q, uint32_t id, uint32_t len)
{
    struct vq_used_elem e = {id, len};
    uint16_t *used = (void *)q->used;
    memcpy(&used[2 + 4 * (q->used_idx % q->size)], &e, sizeof(e));
    used[1] = ++q->used_idx;
    fake.irq = true;
}

static const struct vq_desc *held(struct fake_queue *q, unsigned which)
{
    return (const struct vq_desc *)q->desc + q->held[which];
}

static void finish(struct fake_queue *q, unsigned which, uint32_t len)
{
    put_used(q, q->held[which], len);
    q->held[which] = q->held[--q->held_count];
}

static void run_all(void)
{
    if (fake.irq)
        shim_irq();
    while (shim_run_work())
        ;
}

static unsigned lines(void)
{
    unsigned n = 0;
    for (const char *p = shim_console; *p != 0; p++)
        n += *p == '\n';
    return n;
}

// ---- block ----

enum { DISK_BYTES = 1 << 20 };
static uint8_t disk[DISK_BYTES];

static struct block_dev *blk_start(struct test *t, uint32_t seg_max)
{
    static unsigned index;
    uint64_t sectors = DISK_BYTES / BLOCK_SECTOR;
    fake_init(VIRTIO_ID_BLOCK, seg_max > 0 ? 1u << 2 : 0);
    memcpy(fake.config, &sectors, 8);
    memcpy(fake.config + 12, &seg_max, 4);
    for (size_t i = 0; i < DISK_BYTES; i++)
        disk[i] = (uint8_t)(i * 31 + i / 251);
    if (virtio_blk_start(&fake.dev) != 0) {
        t->failed = true;
        return NULL;
    }
    return block_dev_get(index++);
}

/* Do what a held request asks for. */
static void blk_answer(unsigned which, uint8_t status)
{
    struct fake_queue *q = &fake.q[0];
    const struct vq_desc *table = (void *)q->desc, *d = held(q, which);
    uint64_t at;
    uint32_t written = 1;
    memcpy(&at, (const char *)d->addr + 8, 8);
    at *= BLOCK_SECTOR;
    for (d = &table[d->next]; d->flags & VQ_DESC_NEXT; d = &table[d->next]) {
        if (at + d->len <= DISK_BYTES)
            memcpy((void *)d->addr, disk + at, d->len);
        at += d->len;
        written += d->len;
    }
    *(uint8_t *)d->addr = status;
    finish(q, which, written);
}

struct read {
    struct block_req req;
    uint8_t data[8 * BLOCK_SECTOR];
    int status;
};

static void read_done(struct block_req *req, int status)
{
    struct read *r = req->ctx;
    r->status = status;
}

static void read_submit(struct block_dev *b, struct read *r, uint64_t offset, unsigned segs)
{
    memset(r, 0, sizeof(*r));
    r->req.offset = offset;
    r->req.done = read_done;
    r->req.ctx = r;
    r->req.seg_count = segs;
    r->status = 1;
    for (unsigned i = 0; i < segs; i++)
        r->req.segs[i] = (struct block_seg){(uintptr_t)r->data + i * BLOCK_SECTOR, BLOCK_SECTOR};
    block_submit(b, &r->req);
}

static void reads(struct test *t, uint32_t seg_max)
{
    static struct read r[100];
    struct block_dev *b = blk_start(t, seg_max);
    CHECK(t, b != NULL);
    CHECK_EQ(t, b->bytes, DISK_BYTES);
    for (unsigned round = 0; round < 20; round++) {
        uint64_t at[ARRAY_LEN(r)];
        for (unsigned i = 0; i < ARRAY_LEN(r); i++) { // far more than the ring holds
            at[i] = (uint64_t)rnd(DISK_BYTES / BLOCK_SECTOR - 8) * BLOCK_SECTOR;
            read_submit(b, &r[i], at[i], 1 + rnd(8));
        }
        while (fake.q[0].held_count > 0) {
            blk_answer(rnd(fake.q[0].held_count), 0);
            if (rnd(3) == 0)
                run_all();
            if (fake.q[0].held_count == 0)
                run_all();
        }
        for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
            CHECK_EQ(t, r[i].status, 0);
            CHECK_EQ(t, memcmp(r[i].data, disk + at[i], r[i].req.seg_count * BLOCK_SECTOR), 0);
        }
    }
    CHECK_EQ(t, lines(), 0);
}

static void test_blk_reads(struct test *t)
{
    reads(t, 32);
}

static void test_blk_one_segment_devices(struct test *t)
{
    reads(t, 0); // the feature is not offered: one segment a chain
    reads(t, 3);
}

static void test_blk_batches_notify_once(struct test *t)
{
    static struct read r[8];
    struct block_dev *b = blk_start(t, 32);
    CHECK(t, b != NULL);
    for (unsigned i = 0; i < 8; i++) {
        memset(&r[i], 0, sizeof(r[i]));
        r[i].req =
            (struct block_req){.seg_count = 1, .more = i < 7, .done = read_done, .ctx = &r[i]};
        r[i].req.segs[0] = (struct block_seg){(uintptr_t)r[i].data, BLOCK_SECTOR};
        block_submit(b, &r[i].req);
    }
    CHECK_EQ(t, fake.notifies, 1);
    CHECK_EQ(t, fake.q[0].held_count, 8);
}

static void test_blk_errors(struct test *t)
{
    struct read r;
    struct block_dev *b = blk_start(t, 32);
    CHECK(t, b != NULL);
    read_submit(b, &r, DISK_BYTES - BLOCK_SECTOR, 2); // behind the end
    run_all();
    CHECK_EQ(t, r.status, -EIO);
    read_submit(b, &r, 1, 1);
    run_all();
    CHECK_EQ(t, r.status, -EIO);
    read_submit(b, &r, 0, 1);
    blk_answer(0, 1); // VIRTIO_BLK_S_IOERR
    run_all();
    CHECK_EQ(t, r.status, -EIO);
    CHECK_EQ(t, lines(), 0);
}

static void test_blk_lies(struct test *t)
{
    static struct read r[3];
    struct block_dev *b = blk_start(t, 32);
    CHECK(t, b != NULL);
    unsigned resets = fake.resets;
    for (unsigned i = 0; i < 3; i++)
        read_submit(b, &r[i], 0, 2);
    put_used(&fake.q[0], 4000, 0);
    run_all();
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(t, r[i].status, -EIO);
    CHECK_EQ(t, fake.resets, resets + 1);
    CHECK_EQ(t, lines(), 1);
    read_submit(b, &r[0], 0, 1); // and from then on
    run_all();
    CHECK_EQ(t, r[0].status, -EIO);
    CHECK_EQ(t, lines(), 1);
}

static void test_blk_half_truths(struct test *t)
{
    static const struct {
        uint8_t status;
        uint32_t len;
        int result;
    } answers[] = {
        {0, 513, 0},    {0, 512, 0},       {0, 511, -EIO},    {0, 0, -EIO},      {1, 513, -EIO},
        {2, 513, -EIO}, {0xff, 513, -EIO}, {0x80, 513, -EIO}, {0xff, 512, -EIO}, {0xff, 0, -EIO},
    };
    struct read r;
    struct block_dev *b = blk_start(t, 32);
    CHECK(t, b != NULL);
    struct fake_queue *q = &fake.q[0];
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        read_submit(b, &r, 0, 1);
        const struct vq_desc *table = (void *)q->desc, *d = held(q, 0);
        while (d->flags & VQ_DESC_NEXT)
            d = &table[d->next];
        *(uint8_t *)d->addr = answers[i].status;
        finish(q, 0, answers[i].len);
        run_all();
        CHECK_EQ(t, r.status, answers[i].result);
    }
    CHECK_EQ(t, lines(), 0);
    read_submit(b, &r, 0, 1);
    finish(q, 0, 514); // more than there was room for
    run_all();
    CHECK_EQ(t, r.status, -EIO);
    CHECK_EQ(t, lines(), 1);
}

static void test_blk_answers_twice(struct test *t)
{
    struct read r[2];
    struct block_dev *b = blk_start(t, 32);
    CHECK(t, b != NULL);
    read_submit(b, &r[0], 0, 1);
    read_submit(b, &r[1], 0, 1);
    uint16_t id = fake.q[0].held[0];
    blk_answer(0, 0);
    put_used(&fake.q[0], id, 513);
    run_all();
    CHECK_EQ(t, r[0].status, 0);
    CHECK_EQ(t, r[1].status, -EIO);
    CHECK_EQ(t, lines(), 1);
}

// ---- entropy ----

static void test_rng_lies(struct test *t)
{
    static const struct {
        uint32_t len;
        unsigned times, lines;
    } answers[] = {{64, 1, 0}, {0, 1, 0}, {1, 1, 0}, {65, 1, 1}, {UINT32_MAX, 1, 1}, {64, 2, 1}};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        fake_init(VIRTIO_ID_RNG, 0);
        CHECK_EQ(t, virtio_rng_start(&fake.dev), 0);
        uint16_t id = fake.q[0].held[0];
        for (unsigned n = 0; n < answers[i].times; n++)
            put_used(&fake.q[0], id, answers[i].len);
        run_all();
        CHECK_EQ(t, lines(), answers[i].lines);
        CHECK_EQ(t, fake.dev.dead, answers[i].lines == 1);
    }
}

// ---- net ----

struct net_hdr {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
static struct pkt *received[512];
static unsigned received_count;

static void net_take(struct netdev *d UNUSED, struct pkt *first)
{
    while (first != NULL) {
        received[received_count++] = first;
        first = first->dev_next;
    }
}

static struct netdev *net_start(struct test *t)
{
    static unsigned index;
    fake_init(VIRTIO_ID_NET, 1 | 2 | 1 << 5 | 1 << 15);
    memcpy(fake.config, "\2\0\0\0\0\1", 6);
    received_count = 0;
    if (virtio_net_start(&fake.dev) != 0) {
        t->failed = true;
        return NULL;
    }
    struct netdev *d = netdev_get(index++);
    d->input = net_take;
    if (d->ops->open(d) != 0)
        t->failed = true;
    return d;
}

/* A frame arrives in the first buffer that the device holds. */
static void net_arrive(const struct net_hdr *h, const void *frame, uint32_t len)
{
    struct fake_queue *q = &fake.q[0];
    char *to = (char *)held(q, 0)->addr;
    memcpy(to, h, sizeof(*h));
    memcpy(to + sizeof(*h), frame, len);
    finish(q, 0, (uint32_t)sizeof(*h) + len);
}

static void drop_received(void)
{
    for (unsigned i = 0; i < received_count; i++)
        pkt_put(received[i]);
    received_count = 0;
}

static void test_net_receives(struct test *t)
{
    struct netdev *d = net_start(t);
    uint8_t frame[1514];
    CHECK(t, d != NULL && !t->failed);
    CHECK_EQ(t, d->mtu, 1500);
    CHECK(t, d->tx_csum);
    CHECK_EQ(t, memcmp(d->mac, "\2\0\0\0\0\1", 6), 0);
    CHECK_EQ(t, fake.q[0].held_count, 64);
    for (unsigned round = 0; round < 200; round++) {
        unsigned n = 1 + rnd(30);
        for (unsigned i = 0; i < n; i++) {
            memset(frame, (int)(round + i), sizeof(frame));
            net_arrive(&(struct net_hdr){.flags = 2, .num_buffers = 1}, frame, 14 + rnd(1500));
        }
        run_all();
        CHECK_EQ(t, received_count, n);
        for (unsigned i = 0; i < n; i++) {
            CHECK_EQ(t, received[i]->data[13], (uint8_t)(round + i));
            CHECK_EQ(t, received[i]->flags, PKT_CSUM_OK);
            CHECK(t, pkt_headroom(received[i]) >= PKT_DEV_HEADROOM);
        }
        drop_received();
        CHECK(t, fake.q[0].held_count > 16); // refilled
    }
    CHECK_EQ(t, lines(), 0);
}

static void test_net_malformed(struct test *t)
{
    struct netdev *d = net_start(t);
    uint8_t frame[1514] = {0};
    CHECK(t, d != NULL && !t->failed);
    net_arrive(&(struct net_hdr){.num_buffers = 1}, frame, 13);                // no header
    net_arrive(&(struct net_hdr){.num_buffers = 1, .gso_type = 1}, frame, 60); // never agreed
    net_arrive(&(struct net_hdr){.flags = 1, .csum_start = 50, .csum_offset = 9}, frame, 60);
    net_arrive(&(struct net_hdr){.flags = 1, .csum_start = 34, .csum_offset = 16}, frame, 60);
    run_all();
    CHECK_EQ(t, received_count, 1);
    CHECK_EQ(t, received[0]->flags, PKT_CSUM_PARTIAL);
    CHECK_EQ(t, received[0]->csum_start, 34);
    drop_received();
    CHECK_EQ(t, lines(), 0);
}

static void test_net_merged(struct test *t)
{
    struct netdev *d = net_start(t);
    uint8_t frame[1514];
    CHECK(t, d != NULL && !t->failed);
    memset(frame, 5, sizeof(frame));
    struct fake_queue *q = &fake.q[0];
    net_arrive(&(struct net_hdr){.num_buffers = 3}, frame, 1000);
    for (int i = 0; i < 2; i++) {
        memset((char *)held(q, 0)->addr, 6, 700);
        finish(q, 0, 700);
    }
    run_all();
    CHECK_EQ(t, received_count, 1);
    CHECK_EQ(t, received[0]->len, 2400);
    CHECK_EQ(t, received[0]->data[999], 5);
    CHECK_EQ(t, received[0]->data[1000], 6);
    CHECK_EQ(t, received[0]->data[2399], 6);
    drop_received();
    net_arrive(&(struct net_hdr){.num_buffers = 9}, frame, 1000); // the others never come
    run_all();
    CHECK_EQ(t, received_count, 0);
    CHECK_EQ(t, lines(), 1);
}

static void test_net_merge_lies(struct test *t)
{
    static const uint16_t counts[] = {0, 50, 65535};
    static uint8_t frame[1514];
    struct netdev *d = net_start(t);
    struct fake_queue *q = &fake.q[0];
    CHECK(t, d != NULL && !t->failed);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        net_arrive(&(struct net_hdr){.num_buffers = counts[i]}, frame, 1000);
        for (unsigned n = 1; n < counts[i] && q->held_count > 0; n++)
            finish(q, 0, 1500); // 50: 72 KiB, more than a frame can have
        run_all();
        CHECK_EQ(t, received_count, counts[i] == 0);
        drop_received();
        CHECK_EQ(t, lines(), counts[i] == 65535);
    }
    CHECK(t, fake.dev.dead && !d->link);
}

static unsigned freed;
static void count_free(struct pkt *p)
{
    freed++;
    free(p);
}

static struct pkt *packet(uint8_t mark)
{
    struct pkt *p = malloc(sizeof(*p) + 256);
    pkt_init(p, p + 1, 256, count_free);
    p->dev = (uintptr_t)p->buf;
    p->data = p->buf + 32;
    p->len = 100;
    memset(p->data, mark, 100);
    return p;
}

static void test_net_sends(struct test *t)
{
    struct netdev *d = net_start(t);
    struct fake_queue *q = &fake.q[1];
    struct net_hdr h;
    CHECK(t, d != NULL && !t->failed);
    unsigned before = fake.notifies;
    freed = 0;
    struct pkt *p = packet(1);
    p->flags = PKT_CSUM_PARTIAL;
    p->csum_start = 34;
    p->csum_offset = 16;
    d->ops->transmit(d, p);
    d->ops->transmit(d, packet(2));
    CHECK_EQ(t, fake.notifies, before);
    d->ops->kick(d);
    CHECK_EQ(t, fake.notifies, before + 1);
    CHECK_EQ(t, q->held_count, 2);
    memcpy(&h, (const void *)held(q, 0)->addr, sizeof(h));
    CHECK_EQ(t, h.flags, 1);
    CHECK_EQ(t, h.csum_start, 34);
    CHECK_EQ(t, held(q, 0)->len, 112);
    CHECK_EQ(t, ((const uint8_t *)held(q, 1)->addr)[12], 2);
    finish(q, 0, 0);
    CHECK_EQ(t, freed, 0);
    d->ops->reclaim(d);
    CHECK_EQ(t, freed, 1);
}

static void test_net_send_queue(struct test *t)
{
    struct netdev *d = net_start(t);
    struct fake_queue *q = &fake.q[1];
    CHECK(t, d != NULL && !t->failed);
    freed = 0;
    unsigned sent = 2000; // 64 in the ring, 1024 waiting, the rest dropped
    for (unsigned i = 0; i < sent; i++)
        d->ops->transmit(d, packet((uint8_t)i));
    d->ops->kick(d);
    CHECK_EQ(t, freed, sent - 64 - 1024);
    unsigned seen = 0;
    while (q->held_count > 0) { // in order, driven by the interrupts that were asked for
        CHECK_EQ(t, ((const uint8_t *)held(q, 0)->addr)[12], (uint8_t)seen);
        uint16_t head = q->held[0];
        memmove(q->held, q->held + 1, sizeof(q->held[0]) * --q->held_count);
        put_used(q, head, 0);
        seen++;
        if (q->held_count == 0)
            run_all();
    }
    CHECK_EQ(t, seen, 64 + 1024);
    d->ops->reclaim(d);
    CHECK_EQ(t, freed, sent);
    CHECK_EQ(t, lines(), 0);
}

static void test_net_lies(struct test *t)
{
    struct netdev *d = net_start(t);
    CHECK(t, d != NULL && !t->failed);
    freed = 0;
    d->ops->transmit(d, packet(1));
    d->ops->kick(d);
    put_used(&fake.q[0], 63, 5000); // longer than the buffer
    run_all();
    CHECK_EQ(t, lines(), 1);
    CHECK_EQ(t, freed, 1);
    d->ops->transmit(d, packet(1));
    d->ops->kick(d);
    d->ops->reclaim(d);
    run_all();
    CHECK_EQ(t, freed, 2);
    CHECK_EQ(t, lines(), 1);
}

static void test_net_lies_with_frames_waiting(struct test *t)
{
    struct netdev *d = net_start(t);
    CHECK(t, d != NULL && !t->failed);
    freed = 0;
    for (unsigned i = 0; i < 1000; i++)
        d->ops->transmit(d, packet(1));
    d->ops->kick(d);
    put_used(&fake.q[1], 64, 0); // there are 0 to 63
    CHECK_EQ(t, d->ops->reclaim(d), 0);
    CHECK_EQ(t, freed, 1000);
    CHECK_EQ(t, lines(), 1);
    fake.irq = true;
    run_all();
    CHECK_EQ(t, d->ops->reclaim(d), 0);
    CHECK_EQ(t, lines(), 1);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_blk_reads),
        TEST_CASE(test_blk_one_segment_devices),
        TEST_CASE(test_blk_batches_notify_once),
        TEST_CASE(test_blk_errors),
        TEST_CASE(test_blk_lies),
        TEST_CASE(test_blk_half_truths),
        TEST_CASE(test_blk_answers_twice),
        TEST_CASE(test_rng_lies),
        TEST_CASE(test_net_receives),
        TEST_CASE(test_net_malformed),
        TEST_CASE(test_net_merged),
        TEST_CASE(test_net_merge_lies),
        TEST_CASE(test_net_sends),
        TEST_CASE(test_net_send_queue),
        TEST_CASE(test_net_lies),
        TEST_CASE(test_net_lies_with_frames_waiting),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
