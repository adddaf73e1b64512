// SPDX-License-Identifier: Apache-2.0
/* A device that writes anything anywhere into the rings, between any steps of the driver. Whatever
 * it does, each token comes back exactly once, by vq_pop or by vq_drain. */
#include "base/cursor.h"
#include "kernel/drivers/vq.h"

enum { SIZE = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct driver {
    struct vq q;
    struct vq_slot slot[SIZE];
    _Alignas(16) uint8_t ring[1024];
    bool flying[256]; // by token
    uint8_t next;
};

static void token_back(struct driver *d, void *token)
{
    uintptr_t id = (uintptr_t)token;
    ASSERT(id > 0 && id < 256 && d->flying[id]);
    d->flying[id] = false;
}

static void step(struct driver *d, uint8_t what, uint8_t a, uint16_t b)
{
    void *token;
    uint32_t len;
    struct vq_seg seg[SIZE] = {{0x1000, a}, {0x2000, b}, {0x3000, 1}};
    unsigned out = a % 3, in = (a >> 4) % 2;

    switch (what % 6) {
    case 0:
        if (out + in > 0 && d->next < 255 &&
            vq_push(&d->q, seg, out, in, (void *)(uintptr_t)(d->next + 1)) == 0)
            d->flying[++d->next] = true;
        break;
    case 1:
        if (vq_publish(&d->q))
            vq_irq_off(&d->q);
        break;
    case 2:
        if (vq_pop(&d->q, &token, &len) > 0)
            token_back(d, token);
        break;
    case 3:
        if (vq_irq_on(&d->q, a))
            vq_irq_off(&d->q);
        break;
    case 4: // the device answers properly, if it can
        d->q.used[2 + 4 * (d->q.used[1] % SIZE)] = d->q.avail[2 + a % SIZE];
        d->q.used[2 + 4 * (d->q.used[1] % SIZE) + 2] = b;
        d->q.used[1]++;
        break;
    default: // or scribbles
        ((uint16_t *)(void *)d->ring)[((size_t)a * 4 + what) % (vq_bytes(SIZE) / 2)] = b;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    struct driver d = {.next = 0};
    uint8_t what, a, first;
    uint16_t b;
    void *token;

    if (cursor_u8(&c, &first) < 0)
        return 0;
    vq_init(&d.q, SIZE, first & 1, d.ring, d.slot);
    while (cursor_u8(&c, &what) == 0 && cursor_u8(&c, &a) == 0 && cursor_le16(&c, &b) == 0)
        step(&d, what, a, b);
    while ((token = vq_drain(&d.q)) != NULL)
        token_back(&d, token);
    for (unsigned i = 0; i < 256; i++)
        ASSERT(!d.flying[i]);
    ASSERT(d.q.free_count == SIZE);
    return 0;
}
