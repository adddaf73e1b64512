// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The last output of an instance, with the offset at which each byte stands in all it ever said. */
#include "base/base.h"

enum { CONSOLE_MAX = 64 * 1024 }; // bytes kept

struct console {
    char *data; // CONSOLE_MAX bytes, or NULL
    size_t len;
    uint64_t start; // offset of data[0]
};

NONNULL void console_deinit(struct console *c);
/* Add text that stands at offset. What is known already is skipped; when the text does not join
 * what is there (a gap, or text from before it), only the new text is kept. */
NONNULL void console_add(struct console *c, uint64_t offset, const char *text, size_t len);
// Offset behind the last byte.
NONNULL static inline uint64_t console_end(const struct console *c)
{
    return c->start + c->len;
}
/* The last n lines as a NUL-ended string into ret (max bytes; the oldest are left out). */
NONNULL void console_last_lines(const struct console *c, unsigned n, char *ret, size_t max);
/* Whole lines from *offset on: the length of what *ret points to; advances *offset. */
NONNULL size_t console_read(const struct console *c, uint64_t *offset, const char **ret);
