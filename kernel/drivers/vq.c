// SPDX-License-Identifier: Apache-2.0
#include "kernel/drivers/vq.h"

/* Rings are arrays of 16-bit words: [0] flags, [1] index, then entries (avail: one word each, used:
 * two 32-bit numbers each), then the other side's event index. */
enum { RING_FLAGS = 0, RING_IDX = 1, RING_ENTRIES = 2, USED_WORDS = 4 };

static inline uint16_t load16(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void store16(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline uint16_t *used_event(struct vq *q) // we write: interrupt me after this one
{
    return q->avail + RING_ENTRIES + q->size;
}

static inline uint16_t *avail_event(struct vq *q) // the device writes: notify me after this one
{
    return q->used + RING_ENTRIES + USED_WORDS * q->size;
}

size_t vq_avail_offset(uint16_t size)
{
    return sizeof(struct vq_desc) * size;
}

size_t vq_used_offset(uint16_t size)
{
    size_t avail_bytes = sizeof(uint16_t) * (RING_ENTRIES + (size_t)size + 1);
    return ALIGN_UP(vq_avail_offset(size) + avail_bytes, 64); // a cache line of its own
}

size_t vq_bytes(uint16_t size)
{
    return vq_used_offset(size) + sizeof(uint16_t) * (RING_ENTRIES + USED_WORDS * (size_t)size + 1);
}

void vq_init(struct vq *q, uint16_t size, bool event_idx, void *ring, struct vq_slot *slot)
{
    ASSERT(size > 0 && size <= VQ_SIZE_MAX && (size & (size - 1)) == 0);
    char *base = ring;
    *q = (struct vq){
        .size = size,
        .event_idx = event_idx,
        .desc = ring,
        .avail = (void *)(base + vq_avail_offset(size)),
        .used = (void *)(base + vq_used_offset(size)),
        .slot = slot,
        .free_count = size,
    };
    for (uint16_t i = 0; i < size; i++)
        slot[i] = (struct vq_slot){.next = (uint16_t)(i + 1)}; // the last one's is never followed
}

int vq_push(struct vq *q, const struct vq_seg *seg, unsigned out, unsigned in, void *token)
{
    unsigned n = out + in;
    ASSERT(n > 0 && n <= VQ_CHAIN_MAX && n <= q->size);
    if (n > q->free_count)
        return -ENOSPC;

    uint16_t head = q->free_head, id = head;
    uint32_t in_bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        struct vq_desc *d = &q->desc[id];
        uint16_t next = q->slot[id].next;
        bool last = i + 1 == n;
        d->addr = seg[i].phys;
        d->len = seg[i].bytes;
        d->flags = (uint16_t)((last ? 0 : VQ_DESC_NEXT) | (i >= out ? VQ_DESC_WRITE : 0));
        d->next = last ? 0 : next;
        if (i >= out)
            in_bytes += seg[i].bytes;
        id = next;
    }
    q->free_head = id;
    q->free_count = (uint16_t)(q->free_count - n);
    q->slot[head].token = token;
    q->slot[head].in_bytes = in_bytes;
    q->slot[head].count = (uint16_t)n;
    q->chains++;
    store16(&q->avail[RING_ENTRIES + (q->avail_idx & (q->size - 1))], head);
    q->avail_idx++;
    return 0;
}

bool vq_publish(struct vq *q)
{
    uint16_t old = q->avail_told, now = q->avail_idx;
    if (old == now || q->broken)
        return false;
    // Release: descriptors and ring entries are visible before the index that shows them.
    __atomic_store_n(&q->avail[RING_IDX], now, __ATOMIC_RELEASE);
    q->avail_told = now;
    // The device writes its wish, then looks at our index; we do it the other way round. Without
    // the fence both may look at the old value, and nobody moves (2.7.13.3.1).
    vq_fence();
    if (!q->event_idx)
        return !(load16(&q->used[RING_FLAGS]) & VQ_USED_NO_NOTIFY);
    uint16_t event = load16(avail_event(q));
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old); // 2.7.10
}

static void chain_free(struct vq *q, uint16_t head)
{
    uint16_t count = q->slot[head].count, last = head;
    for (uint16_t i = 1; i < count; i++)
        last = q->slot[last].next;
    q->slot[last].next = q->free_head;
    q->free_head = head;
    q->free_count = (uint16_t)(q->free_count + count);
    q->slot[head].count = 0;
    q->chains--;
}

int vq_pop(struct vq *q, void **ret_token, uint32_t *ret_len)
{
    if (UNLIKELY(q->broken))
        return -EIO;
    // Acquire: pairs with the device's release of its index; entries and data come after.
    uint16_t done = (uint16_t)(__atomic_load_n(&q->used[RING_IDX], __ATOMIC_ACQUIRE) - q->used_idx);
    if (done == 0)
        return 0;
    size_t at = RING_ENTRIES + USED_WORDS * (size_t)(q->used_idx & (q->size - 1));
    struct vq_used_elem *shared = (void *)&q->used[at];
    uint32_t id = __atomic_load_n(&shared->id, __ATOMIC_RELAXED);
    uint32_t len = __atomic_load_n(&shared->len, __ATOMIC_RELAXED);
    if (UNLIKELY(done > q->chains || id >= q->size || q->slot[id].count == 0 ||
                 len > q->slot[id].in_bytes)) {
        q->broken = true;
        return -EIO;
    }
    *ret_token = q->slot[id].token;
    *ret_len = len;
    chain_free(q, (uint16_t)id);
    q->used_idx++;
    return 1;
}

bool vq_irq_on(struct vq *q, uint16_t ahead)
{
    if (q->event_idx)
        store16(used_event(q), (uint16_t)(q->used_idx + ahead));
    else
        store16(&q->avail[RING_FLAGS], 0);
    vq_fence(); // as in vq_publish, with the sides changed
    uint16_t done = (uint16_t)(load16(&q->used[RING_IDX]) - q->used_idx);
    return done > (q->event_idx ? ahead : 0);
}

void vq_irq_off(struct vq *q)
{
    if (q->event_idx) // the index that is farthest away
        store16(used_event(q), (uint16_t)(q->used_idx - 1));
    else
        store16(&q->avail[RING_FLAGS], VQ_AVAIL_NO_INTERRUPT);
}

void *vq_drain(struct vq *q)
{
    q->broken = true;
    for (uint16_t i = 0; i < q->size && q->chains > 0; i++) {
        if (q->slot[i].count == 0)
            continue;
        void *token = q->slot[i].token;
        chain_free(q, i);
        return token;
    }
    return NULL;
}
