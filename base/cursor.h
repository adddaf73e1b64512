// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Bounded reading and writing of foreign bytes. Every parser goes through `struct cursor`; nothing
 * here reads or writes outside the given range, and nothing moves on failure. */
#include "base/base.h"
#include "base/errno.h"
#include "base/mem.h"

struct cursor {
    const uint8_t *p; // borrowed
    size_t left;      // bytes
};

static inline struct cursor cursor_of(const void *data, size_t len)
{
    return (struct cursor){.p = data, .left = len};
}

/* Take n bytes: 0 with *ret pointing into the underlying buffer; -EPROTO when fewer are left. */
NONNULL MUST_CHECK static inline int cursor_bytes(struct cursor *c, size_t n, const uint8_t **ret)
{
    if (n > c->left)
        return -EPROTO;
    *ret = c->p;
    c->p += n;
    c->left -= n;
    return 0;
}

NONNULL MUST_CHECK static inline int cursor_skip(struct cursor *c, size_t n)
{
    const uint8_t *ignored;
    return cursor_bytes(c, n, &ignored);
}

/* Split the next n bytes off as a cursor of their own. */
NONNULL MUST_CHECK static inline int cursor_sub(struct cursor *c, size_t n, struct cursor *ret)
{
    const uint8_t *p;
    int r = cursor_bytes(c, n, &p);
    if (r < 0)
        return r;
    *ret = cursor_of(p, n);
    return 0;
}

NONNULL MUST_CHECK static inline int cursor_copy(struct cursor *c, void *to, size_t n)
{
    const uint8_t *p;
    int r = cursor_bytes(c, n, &p);
    if (r < 0)
        return r;
    memcpy(to, p, n);
    return 0;
}

// 0, or -EPROTO when the value does not fit into what is left.
#define CURSOR_GET(name, type, fixup)                                                              \
    NONNULL MUST_CHECK static inline int cursor_##name(struct cursor *c, type *ret)                \
    {                                                                                              \
        type v;                                                                                    \
        int r = cursor_copy(c, &v, sizeof(v));                                                     \
        if (r < 0)                                                                                 \
            return r;                                                                              \
        *ret = (type)fixup(v);                                                                     \
        return 0;                                                                                  \
    }
CURSOR_GET(u8, uint8_t, )
CURSOR_GET(le16, uint16_t, )
CURSOR_GET(le32, uint32_t, )
CURSOR_GET(le64, uint64_t, )
CURSOR_GET(be16, uint16_t, __builtin_bswap16)
CURSOR_GET(be32, uint32_t, __builtin_bswap32)
CURSOR_GET(be64, uint64_t, __builtin_bswap64)
#undef CURSOR_GET

/* A writer that stops at its end: after the first refusal `full` stays set and nothing is written
 * any more, so that a run of puts needs one check at its end. */
struct writer {
    uint8_t *start; // borrowed
    size_t len;     // bytes written
    size_t max;     // bytes that fit
    bool full;
};

static inline struct writer writer_of(void *buf, size_t max)
{
    return (struct writer){.start = buf, .max = max};
}

/* Room for n bytes, or NULL (and full) when they do not fit. */
NONNULL static inline uint8_t *writer_room(struct writer *w, size_t n)
{
    if (w->full || n > w->max - w->len) {
        w->full = true;
        return NULL;
    }
    uint8_t *p = w->start + w->len;
    w->len += n;
    return p;
}

NONNULL static inline void writer_bytes(struct writer *w, const void *from, size_t n)
{
    uint8_t *p = writer_room(w, n);
    if (p != NULL)
        memcpy(p, from, n);
}

#define WRITER_PUT(name, type, fixup)                                                              \
    NONNULL static inline void writer_##name(struct writer *w, type v)                             \
    {                                                                                              \
        v = (type)fixup(v);                                                                        \
        writer_bytes(w, &v, sizeof(v));                                                            \
    }
WRITER_PUT(u8, uint8_t, )
WRITER_PUT(le16, uint16_t, )
WRITER_PUT(le32, uint32_t, )
WRITER_PUT(le64, uint64_t, )
WRITER_PUT(be16, uint16_t, __builtin_bswap16)
WRITER_PUT(be32, uint32_t, __builtin_bswap32)
WRITER_PUT(be64, uint64_t, __builtin_bswap64)
#undef WRITER_PUT
