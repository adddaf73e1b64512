// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The driver's half of a split virtqueue (virtio 1.2, 2.7), as a pure piece over memory: the same
 * code runs in the kernel and, against fake devices, on the host. Not locked: one owner at a time.
 *
 * The device is not trusted. Everything that it writes is copied once and checked before use; what
 * the driver needs to know about a chain is kept outside the shared rings. A lie makes the queue
 * `broken`: vq_pop answers -EIO from then on, and the owner resets the device. */
#include "base/base.h"
#include "base/errno.h"

enum {
    VQ_SIZE_MAX = 256,  // descriptors; the largest queue that we set up
    VQ_CHAIN_MAX = 36,  // descriptors of one chain: header, BLOCK_SEGS_MAX, status, spare
};

struct vq_desc { // 2.7.5
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct vq_desc) == 16, "virtio 1.2, 2.7.5");

enum { // vq_desc.flags
    VQ_DESC_NEXT = 1,
    VQ_DESC_WRITE = 2, // the device writes
};

enum { VQ_AVAIL_NO_INTERRUPT = 1, VQ_USED_NO_NOTIFY = 1 }; // ring flags, without EVENT_IDX

struct vq_used_elem { // 2.7.8
    uint32_t id;
    uint32_t len;
};

struct vq_seg {
    uint64_t phys;
    uint32_t bytes;
};

struct vq_slot { // one a descriptor; ours alone
    void *token;
    uint32_t in_bytes; // that the device may write into the chain
    uint16_t count;    // descriptors of the chain that starts here; 0: none does
    uint16_t next;     // in the chain or in the free list
};

struct vq {
    uint16_t size; // a power of two
    bool event_idx;
    bool broken;
    // Shared with the device. avail and used: flags, idx, ring, event (2.7.6, 2.7.8).
    struct vq_desc *desc;
    uint16_t *avail;
    uint16_t *used;
    // Ours.
    struct vq_slot *slot;
    uint16_t free_head, free_count; // descriptors
    uint16_t chains;                // with the device
    uint16_t avail_idx;             // next chain goes here; published by vq_publish
    uint16_t avail_told;            // what the device could see at the last vq_publish
    uint16_t used_idx;              // next chain comes from here
};

/* Bytes of shared memory for a queue of this size, and where its rings lie in it. The start must be
 * aligned to 16. */
size_t vq_bytes(uint16_t size);
size_t vq_avail_offset(uint16_t size);
size_t vq_used_offset(uint16_t size);

/* ring: vq_bytes(size) zeroed bytes, slot: size entries; both borrowed. size is a power of two of
 * at most VQ_SIZE_MAX. */
NONNULL void vq_init(struct vq *q, uint16_t size, bool event_idx, void *ring,
                     struct vq_slot *slot);

/* Full fence between a store and a load that the device's thread sees in that order too. The
 * machine's (arch/x86_64/cpu.c), or the host's. */
void vq_fence(void);

/* Queue a chain: out segments that the device reads, then `in` segments that it writes. 0; -ENOSPC
 * when descriptors are short (pop first). out + in is 1..VQ_CHAIN_MAX and at most the size. The
 * device sees it after vq_publish. token is not NULL. */
NONNULL MUST_CHECK int vq_push(struct vq *q, const struct vq_seg *seg, unsigned out, unsigned in,
                               void *token);

/* Show the device what was pushed. True: it must be notified. */
NONNULL MUST_CHECK bool vq_publish(struct vq *q);

/* Reap one chain: 1 with *ret_token and *ret_len (bytes that the device wrote, at most what it was
 * given); 0 when there is none; -EIO: the device lied, reset it. 2.7.14. */
NONNULL MUST_CHECK int vq_pop(struct vq *q, void **ret_token, uint32_t *ret_len);

/* Ask for an interrupt once `ahead` more chains than one are done (0: at the next). True when that
 * has already happened: poll again, there may be no interrupt. ahead is only honoured with
 * EVENT_IDX. */
NONNULL MUST_CHECK bool vq_irq_on(struct vq *q, uint16_t ahead);
/* No interrupts please (a hint, as everything about interrupts: they may still come). */
NONNULL void vq_irq_off(struct vq *q);

/* Take back a chain that the device has not answered, after it was reset: its token, or NULL when
 * none is left. Order is not kept. */
NONNULL void *vq_drain(struct vq *q);
