// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Well-formed UTF-8 (Unicode 15, table 3-7). */
#include "base/base.h"

/* Bytes of the character at p, of which at most left are there; 0 when it is none (also: cut off,
 * overlong, a surrogate). */
NONNULL static inline size_t utf8_len(const unsigned char *p, size_t left)
{
    if (left == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf5 ? 0 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool out = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
               (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return out ? 0 : n;
}
