// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Packet buffers: the unit in which the stack, the device driver and the host world exchange
 * frames.
 *
 * The memory comes from the glue (struct net_hooks in net/net.h): the kernel gives memory that a
 * device may read and write, the host gives malloc. One buffer travels the whole way without a
 * copy:
 *
 *   receive   driver posts [buf, buf + size) to the device, sets data/len to the frame, calls
 *             net_input(), which takes the reference. Payload stays in this buffer until it is
 * read. transmit  hook transmit(ctx, p) hands one reference over. [data, data + len) is the frame;
 *             at least PKT_DEV_HEADROOM bytes before data are the driver's to write
 * (virtio_net_hdr).
 *
 * A transmitted TCP segment stays in its connection's send queue too. The rules that make this
 * safe:
 *   - the holder of a transmit reference reads data, len, flags, csum_* and gso_size when
 * transmit() is called and keeps what it needs; the bytes [data - PKT_DEV_HEADROOM, data + len)
 * stay as they are until its pkt_put(), the fields may change meanwhile;
 *   - `next` and `prev` belong to the stack; `dev_next` and `dev` belong to the glue: between
 *     transmit() and pkt_put(), and before net_input(). One buffer is never handed to transmit()
 *     again before the glue has put it;
 *   - references are counted atomically, so a driver may put outside the stack's lock. */
#include "base/base.h"

enum {
    PKT_DEV_HEADROOM = 16,  // before the Ethernet header; virtio_net_hdr_v1 takes 12 of them
    PKT_HEADROOM = 128,     // device 16 + Ethernet 14 + IPv4 20 + TCP 60 = 110, rounded up
    PKT_SIZE_DEFAULT = 2048 // holds PKT_HEADROOM and a whole frame of MTU 1500
};

enum {
    PKT_CSUM_OK = 1 << 0, // received: the device vouches for the TCP/UDP checksum
    PKT_CSUM_PARTIAL =
        1 << 1, // transmit: the device adds the sum of [csum_start, end of frame) to
                // the 16 bits at csum_start + csum_offset (a folded pseudo-header sum).
                // Received (virtio NEEDS_CSUM): the checksum was left out; it is right
};

struct pkt {
    struct pkt *next, *prev; // the stack's
    struct pkt *dev_next;    // the glue's
    uint64_t dev;            // the glue's: bus address, descriptor number
    uint8_t *buf;            // immutable: start of the memory
    uint32_t size;           // immutable: bytes of memory
    uint32_t len;            // bytes of content
    uint8_t *data;           // first byte of content, in [buf, buf + size]
    uint32_t refs;           // atomic
    uint16_t flags;          // PKT_CSUM_*
    uint16_t csum_start;     // bytes from data
    uint16_t csum_offset;    // bytes from csum_start
    uint16_t gso_size; // 0, or payload bytes of each segment the device must cut (not used yet)
    void (*free)(struct pkt *p); // immutable: called with the last reference

    union { // the stack's, by the queue that the packet is in
        struct {
            uint32_t seq, end; // sequence numbers covered, FIN included
            uint64_t sent_at;  // ns, of the newest transmission
            uint8_t marks;     // scoreboard, net/tcp_sack.c
            uint8_t tcp_flags;
            uint8_t sends; // saturating
        } tx;
        struct {
            uint32_t seq, end; // payload's sequence numbers
        } rx;
        struct {
            uint32_t ip, to_ip; // sender, own address
            uint16_t port;
        } from;
    } u;
};

/* Prepare a fresh packet over the caller's memory: one reference, empty content at buf. */
static inline void pkt_init(struct pkt *p, void *buf, uint32_t size, void (*free)(struct pkt *))
{
    *p = (struct pkt){.buf = buf, .data = buf, .size = size, .refs = 1, .free = free};
}

static inline void pkt_get(struct pkt *p)
{
    __atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
}

/* Drop one reference; accepts NULL. */
static inline void pkt_put(struct pkt *p)
{
    // Pairs with the release below: whoever finds itself alone sees all that the others did.
    if (p != NULL && (__atomic_load_n(&p->refs, __ATOMIC_ACQUIRE) == 1 ||
                      __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0))
        p->free(p);
}

/* True when the caller's reference is the only one: it may write the buffer. */
static inline bool pkt_alone(const struct pkt *p)
{
    return __atomic_load_n(&p->refs, __ATOMIC_ACQUIRE) == 1;
}

static inline uint32_t pkt_headroom(const struct pkt *p)
{
    return (uint32_t)(p->data - p->buf);
}

static inline uint32_t pkt_tailroom(const struct pkt *p)
{
    return p->size - pkt_headroom(p) - p->len;
}

/* Grow the content by n bytes in front; n must not exceed the headroom. */
static inline uint8_t *pkt_push(struct pkt *p, uint32_t n)
{
    ASSERT(n <= pkt_headroom(p));
    p->data -= n;
    p->len += n;
    return p->data;
}

/* Drop n bytes of content in front; n must not exceed len. */
static inline void pkt_pull(struct pkt *p, uint32_t n)
{
    ASSERT(n <= p->len);
    p->data += n;
    p->len -= n;
}
