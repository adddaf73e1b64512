// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/uio.h"

#include "base/mem.h"
#include "kernel/mm/uaccess.h"

/* Bytes of the current segment that are not done, after stepping over finished segments. */
static size_t seg_room(struct uio *u)
{
    while (u->seg->len == u->seg_done) {
        ASSERT(u->seg_count > 1);
        u->seg++;
        u->seg_count--;
        u->seg_done = 0;
    }
    return u->seg->len - u->seg_done;
}

static void seg_advance(struct uio *u, size_t n)
{
    u->seg_done += n;
    u->left -= n;
}

int uio_put(struct uio *u, const void *from, size_t n)
{
    const char *p = from;
    ASSERT(n <= u->left);
    while (n > 0) {
        size_t part = MIN(seg_room(u), n);
        uint64_t to = u->seg->base + u->seg_done;
        if (u->kernel)
            memcpy((void *)to, p, part);
        else if (copy_to_user(to, p, part) < 0)
            return -EFAULT;
        seg_advance(u, part);
        p += part;
        n -= part;
    }
    return 0;
}

int uio_take(struct uio *u, void *to, size_t n)
{
    char *p = to;
    ASSERT(n <= u->left);
    while (n > 0) {
        size_t part = MIN(seg_room(u), n);
        uint64_t from = u->seg->base + u->seg_done;
        if (u->kernel)
            memcpy(p, (const void *)from, part);
        else if (copy_from_user(p, from, part) < 0)
            return -EFAULT;
        seg_advance(u, part);
        p += part;
        n -= part;
    }
    return 0;
}

int uio_zero(struct uio *u, size_t n)
{
    ASSERT(n <= u->left);
    while (n > 0) {
        size_t part = MIN(seg_room(u), n);
        uint64_t to = u->seg->base + u->seg_done;
        if (u->kernel)
            memset((void *)to, 0, part);
        else if (clear_user(to, part) < 0)
            return -EFAULT;
        seg_advance(u, part);
        n -= part;
    }
    return 0;
}

int uio_from_user(struct uio *ret, struct uio_seg *segs, unsigned max, uint64_t user_iov,
                  uint64_t count)
{
    if (count > max)
        return -EINVAL;
    *ret = (struct uio){.seg = segs, .seg_count = (unsigned)count};
    if (count == 0)
        return 0;
    if (copy_from_user(segs, user_iov, count * sizeof(*segs)) < 0)
        return -EFAULT;
    for (unsigned i = 0; i < count; i++) {
        if (segs[i].len > INT64_MAX)
            return -EINVAL;
        if (!user_range_ok(segs[i].base, segs[i].len))
            return -EFAULT;
        segs[i].len = MIN(segs[i].len, RW_BYTES_MAX - ret->left);
        ret->left += segs[i].len;
    }
    return 0;
}

