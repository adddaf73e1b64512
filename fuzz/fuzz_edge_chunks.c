// SPDX-License-Identifier: Apache-2.0
/* Foreign chunked bodies: however they are cut up on the way, data and verdict are the same. */
#include <stdlib.h>
#include <string.h>

#include "edge/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_MAX_BYTES = 4096 };

struct outcome {
    int verdict;
    size_t used, len;
    char data[SIZE_MAX_BYTES];
};

static void decode(const uint8_t *in, size_t size, size_t step, struct outcome *ret)
{
    struct http_chunks c = {0};
    ret->verdict = 0;
    ret->used = ret->len = 0;
    for (size_t at = 0; at < size && ret->verdict == 0; at += step) {
        size_t n = MIN(step, size - at), used, data_len;
        char *piece = malloc(n), *data; // its own allocation, so that a step outside is seen
        if (piece == NULL)
            abort();
        memcpy(piece, in + at, n);
        ret->verdict = http_chunks_decode(&c, piece, n, &used, &data, &data_len);
        if (ret->verdict >= 0) {
            ASSERT(used <= n && data_len <= used);
            ASSERT(ret->verdict == 1 || used == n);
            memcpy(ret->data + ret->len, data, data_len);
            ret->len += data_len;
            ret->used += used;
        }
        free(piece);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;
    if (size < 2 || size > SIZE_MAX_BYTES)
        return 0;
    size_t step = 1 + data[0] % 17;
    decode(data + 1, size - 1, size, &whole);
    decode(data + 1, size - 1, step, &cut);
    ASSERT(whole.verdict == cut.verdict);
    if (whole.verdict >= 0)
        ASSERT(whole.used == cut.used && whole.len == cut.len &&
               memcmp(whole.data, cut.data, cut.len) == 0);
    return 0;
}
