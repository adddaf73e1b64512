// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/test.h"
#include "kernel/drivers/vq.h"

enum { SIZE = 16 };

/* A device beside the queue: it follows the rings as virtio 1.2 tells a device to. */
struct device {
    struct vq q;
    struct vq_slot slot[SIZE];
    _Alignas(16) uint8_t ring[4096];
    uint16_t avail_seen, used_idx;
    uint16_t held[SIZE]; // heads that are not answered yet
    unsigned held_count;
    unsigned seed;
};

static void device_init(struct device *d, bool event_idx)
{
    memset(d, 0, sizeof(*d));
    vq_init(&d->q, SIZE, event_idx, d->ring, d->slot);
}

static unsigned rnd(struct device *d, unsigned below)
{
    d->seed = d->seed * 1103515245u + 12345u;
    return (d->seed >> 16) % below;
}

static void device_fetch(struct device *d)
{
    while (d->avail_seen != d->q.avail[1]) {
        d->held[d->held_count++] = d->q.avail[2 + d->avail_seen % SIZE];
        d->avail_seen++;
    }
}

static void device_put_used(struct device *d, uint32_t id, uint32_t len)
{
    struct vq_used_elem e = {id, len};
    memcpy(&d->q.used[2 + 4 * (d->used_idx % SIZE)], &e, sizeof(e));
    d->used_idx++;
    d->q.used[1] = d->used_idx;
}

static void device_answer(struct device *d, unsigned which, uint32_t len)
{
    device_put_used(d, d->held[which], len);
    d->held[which] = d->held[--d->held_count];
}

static int push(struct device *d, unsigned out, unsigned in, uintptr_t token)
{
    struct vq_seg seg[VQ_CHAIN_MAX];
    for (unsigned i = 0; i < out + in; i++)
        seg[i] = (struct vq_seg){0x1000 * (i + 1), 100};
    return vq_push(&d->q, seg, out, in, (void *)token);
}

static void test_one_chain(struct test *t)
{
    struct device d;
    void *token;
    uint32_t len;
    device_init(&d, true);
    CHECK_EQ(t, vq_pop(&d.q, &token, &len), 0);
    CHECK_EQ(t, push(&d, 1, 2, 7), 0);
    CHECK_EQ(t, d.q.avail[1], 0); // not shown yet
    CHECK(t, vq_publish(&d.q));
    device_fetch(&d);
    CHECK_EQ(t, d.held_count, 1);
    const struct vq_desc *a = &d.q.desc[d.held[0]], *b = &d.q.desc[a->next];
    CHECK_EQ(t, a->flags, VQ_DESC_NEXT);
    CHECK_EQ(t, a->addr, 0x1000);
    CHECK_EQ(t, b->flags, VQ_DESC_NEXT | VQ_DESC_WRITE);
    CHECK_EQ(t, d.q.desc[b->next].flags, VQ_DESC_WRITE);
    device_answer(&d, 0, 150);
    CHECK_EQ(t, vq_pop(&d.q, &token, &len), 1);
    CHECK_EQ(t, (uintptr_t)token, 7);
    CHECK_EQ(t, len, 150);
    CHECK_EQ(t, d.q.free_count, SIZE);
}

static void test_full(struct test *t)
{
    struct device d;
    device_init(&d, true);
    for (unsigned i = 0; i < SIZE / 2; i++)
        CHECK_EQ(t, push(&d, 1, 1, 1), 0);
    CHECK_EQ(t, push(&d, 0, 1, 1), -ENOSPC);
    CHECK(t, vq_publish(&d.q));
    CHECK(t, !vq_publish(&d.q)); // nothing new
}

static void test_notify_wishes(struct test *t)
{
    struct device d;
    device_init(&d, true);
    uint16_t *avail_event = d.q.used + 2 + 4 * SIZE;
    *avail_event = 2; // tell me once the third is there
    CHECK_EQ(t, push(&d, 1, 0, 1), 0);
    CHECK(t, !vq_publish(&d.q));
    CHECK_EQ(t, push(&d, 1, 0, 1), 0);
    CHECK(t, !vq_publish(&d.q));
    CHECK_EQ(t, push(&d, 1, 0, 1), 0);
    CHECK_EQ(t, push(&d, 1, 0, 1), 0);
    CHECK(t, vq_publish(&d.q));

    device_init(&d, false);
    d.q.used[0] = VQ_USED_NO_NOTIFY;
    CHECK_EQ(t, push(&d, 1, 0, 1), 0);
    CHECK(t, !vq_publish(&d.q));
    d.q.used[0] = 0;
    CHECK_EQ(t, push(&d, 1, 0, 1), 0);
    CHECK(t, vq_publish(&d.q));
}

static void test_irq_wishes(struct test *t)
{
    struct device d;
    void *token;
    uint32_t len;
    device_init(&d, true);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(t, push(&d, 1, 0, i + 1), 0);
    CHECK(t, vq_publish(&d.q));
    device_fetch(&d);
    CHECK(t, !vq_irq_on(&d.q, 0));
    CHECK_EQ(t, d.q.avail[2 + SIZE], 0);
    device_answer(&d, 0, 0);
    CHECK(t, vq_irq_on(&d.q, 0));  // it is there already
    CHECK(t, !vq_irq_on(&d.q, 1)); // the second is not
    CHECK_EQ(t, d.q.avail[2 + SIZE], 1);
    CHECK_EQ(t, vq_pop(&d.q, &token, &len), 1);
    vq_irq_off(&d.q);
    CHECK_EQ(t, d.q.avail[2 + SIZE], 0); // just passed: 65535 to go

    device_init(&d, false);
    vq_irq_off(&d.q);
    CHECK_EQ(t, d.q.avail[0], VQ_AVAIL_NO_INTERRUPT);
    CHECK(t, !vq_irq_on(&d.q, 3));
    CHECK_EQ(t, d.q.avail[0], 0);
}

static void lie(struct test *t, uint32_t id_add, uint32_t len, uint16_t extra)
{
    struct device d;
    void *token;
    uint32_t got;
    device_init(&d, true);
    CHECK_EQ(t, push(&d, 1, 1, 1), 0);
    CHECK_EQ(t, push(&d, 1, 1, 2), 0);
    CHECK(t, vq_publish(&d.q));
    device_fetch(&d);
    device_put_used(&d, d.held[0] + id_add, len);
    d.q.used[1] = (uint16_t)(d.used_idx + extra);
    CHECK_EQ(t, vq_pop(&d.q, &token, &got), -EIO);
    CHECK_EQ(t, vq_pop(&d.q, &token, &got), -EIO); // and stays so
    unsigned tokens = 0;
    while ((token = vq_drain(&d.q)) != NULL)
        tokens += (unsigned)(uintptr_t)token;
    CHECK_EQ(t, tokens, 3);
    CHECK_EQ(t, d.q.free_count, SIZE);
}

static void test_lies(struct test *t)
{
    lie(t, 1, 0, 0);      // not the head of a chain
    lie(t, SIZE, 0, 0);   // no descriptor at all
    lie(t, 0, 101, 0);    // more bytes than there was room for
    lie(t, 0, 0, 2);      // more answers than questions
    lie(t, 0, 0, 0xfffe); // an index that runs backwards
    lie(t, UINT32_MAX / 2, UINT32_MAX, 0);
}

static void test_answered_twice(struct test *t)
{
    struct device d;
    void *token;
    uint32_t len;
    device_init(&d, true);
    CHECK_EQ(t, push(&d, 1, 0, 1), 0);
    CHECK_EQ(t, push(&d, 1, 0, 2), 0);
    CHECK(t, vq_publish(&d.q));
    device_fetch(&d);
    device_put_used(&d, d.held[0], 0);
    device_put_used(&d, d.held[0], 0);
    CHECK_EQ(t, vq_pop(&d.q, &token, &len), 1);
    CHECK_EQ(t, vq_pop(&d.q, &token, &len), -EIO);
}

/* Chains of all shapes, answered out of order, over many laps of the 16-bit indices: each token
 * comes back once, with its length, and whoever relies on notifications and interrupts alone never
 * waits for nothing. */
static void world(struct test *t, unsigned seed)
{
    struct device d;
    static uint32_t want_len[1 << 17];
    device_init(&d, seed & 1);
    d.seed = seed;
    uintptr_t next = 1;
    unsigned flying = 0;
    bool notified = true;
    for (int step = 0; step < 100000; step++) {
        if (rnd(&d, 2) == 0) {
            unsigned out = rnd(&d, 3), in = rnd(&d, 3) + (out == 0);
            if (next < ARRAY_LEN(want_len) && push(&d, out, in, next) == 0) {
                want_len[next] = in > 0 ? rnd(&d, 100 * in + 1) : 0;
                next++;
                flying++;
            }
            if (vq_publish(&d.q))
                notified = true;
        }
        if (notified) { // the device looks only when it was told, and then until it is idle
            device_fetch(&d);
            if (d.q.event_idx)
                d.q.used[2 + 4 * SIZE] = d.avail_seen;
            notified = false;
        }
        CHECK_EQ(t, d.held_count + (uint16_t)(d.used_idx - d.q.used_idx), flying);
        if (d.held_count > 0 && rnd(&d, 2) == 0) {
            unsigned which = rnd(&d, d.held_count);
            uintptr_t token = (uintptr_t)d.slot[d.held[which]].token;
            device_answer(&d, which, want_len[token]);
        }
        void *token;
        uint32_t len;
        while (rnd(&d, 3) != 0 && vq_pop(&d.q, &token, &len) > 0) {
            CHECK_EQ(t, len, want_len[(uintptr_t)token]);
            want_len[(uintptr_t)token] = UINT32_MAX; // a second time would not match
            flying--;
        }
        CHECK(t, !d.q.broken);
    }
    CHECK(t, next > 20000);
}

static void test_worlds(struct test *t)
{
    for (unsigned seed = 1; seed <= 6 && !t->failed; seed++)
        world(t, seed);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_one_chain),  TEST_CASE(test_full), TEST_CASE(test_notify_wishes),
        TEST_CASE(test_irq_wishes), TEST_CASE(test_lies), TEST_CASE(test_answered_twice),
        TEST_CASE(test_worlds),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
