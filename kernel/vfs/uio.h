// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The buffers of one read or write: user memory (readv/writev segments) or kernel memory, consumed
 * from the front. One interface, so that files, pipes and sockets are written once. */
#include "base/base.h"
#include "base/errno.h"
#include "kernel/mm/uaccess.h"

enum {
    UIO_SEGS_MAX = 1024,       // IOV_MAX
    RW_BYTES_MAX = 0x7ffff000, // Linux MAX_RW_COUNT: what one call moves at most
};

struct uio_seg { // struct iovec's layout
    uint64_t base;
    uint64_t len;
};

struct uio {
    const struct uio_seg *seg; // current one, in kernel memory
    unsigned seg_count;        // segments left, the current one included
    size_t seg_done;           // bytes of the current one done
    size_t left;               // bytes in all
    bool kernel;               // bases are kernel addresses
};

/* Copy n bytes (n <= left) to / from the buffers and advance. 0 or -EFAULT (nothing advanced for
 * the part that failed). May sleep. */
NONNULL MUST_CHECK int uio_put(struct uio *u, const void *from, size_t n); // kernel -> buffers
NONNULL MUST_CHECK int uio_take(struct uio *u, void *to, size_t n);        // buffers -> kernel
NONNULL MUST_CHECK int uio_zero(struct uio *u, size_t n);                  // zeroes -> buffers

/* One user or kernel buffer as a uio; seg is the caller's storage. */
NONNULL static inline struct uio uio_one(struct uio_seg *seg, uint64_t base, size_t len,
                                         bool kernel)
{
    *seg = (struct uio_seg){.base = base, .len = len};
    return (struct uio){.seg = seg, .seg_count = 1, .left = len, .kernel = kernel};
}

/* Read an iovec array from user memory into segs[max]: 0; -EINVAL (count or total length), -EFAULT.
 */
NONNULL MUST_CHECK int uio_from_user(struct uio *ret, struct uio_seg *segs, unsigned max,
                                     uint64_t user_iov, uint64_t count);

/* One user buffer as read(2) and write(2) get it: 0; -EFAULT when it is outside the user half. */
NONNULL MUST_CHECK static inline int uio_from_user_buf(struct uio *ret, struct uio_seg *seg,
                                                       uint64_t base, uint64_t len)
{
    if (!user_range_ok(base, len))
        return -EFAULT;
    len = MIN(len, (uint64_t)RW_BYTES_MAX);
    seg->base = base;
    seg->len = len;
    ret->seg = seg; // field by field: gcc 12 would build a copy first
    ret->seg_count = 1;
    ret->seg_done = 0;
    ret->left = len;
    ret->kernel = false;
    return 0;
}

/* uio_put and uio_take with less on the way where nearly every call is for user memory that the
 * current segment has room for. */
NONNULL static inline bool uio_is_simple(const struct uio *u, size_t n)
{
    return LIKELY(!u->kernel && n <= u->seg->len - u->seg_done);
}

NONNULL MUST_CHECK static inline int uio_put_hot(struct uio *u, const void *from, size_t n)
{
    if (!uio_is_simple(u, n))
        return uio_put(u, from, n);
    ASSERT(n <= u->left);
    if (copy_to_user(u->seg->base + u->seg_done, from, n) < 0)
        return -EFAULT;
    u->seg_done += n;
    u->left -= n;
    return 0;
}

NONNULL MUST_CHECK static inline int uio_take_hot(struct uio *u, void *to, size_t n)
{
    if (!uio_is_simple(u, n))
        return uio_take(u, to, n);
    ASSERT(n <= u->left);
    if (copy_from_user(to, u->seg->base + u->seg_done, n) < 0)
        return -EFAULT;
    u->seg_done += n;
    u->left -= n;
    return 0;
}
