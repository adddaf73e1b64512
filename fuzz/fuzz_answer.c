// SPDX-License-Identifier: Apache-2.0
/* An HTTP answer as any bytes: what is accepted lies within the buffer, and no shorter beginning of
 * it is accepted as a whole answer of a connection that goes on. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "lab/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct answer a, b;
    if (size > ANSWER_MAX)
        return 0;
    char *buf = malloc(size + 1), *again = malloc(size + 1);
    ASSERT(buf != NULL && again != NULL);
    for (int eof = 0; eof < 2; eof++) {
        memcpy(buf, data, size);
        int r = answer_read(buf, size, eof, &a);
        ASSERT(r == 0 || r == -EPROTO || r == -E2BIG || (r == -EAGAIN && !eof));
        if (r < 0)
            continue;
        ASSERT(a.used <= size && a.body >= buf && a.body + a.body_len <= buf + size);
        if (eof || a.used == 0)
            continue;
        memcpy(again, data, size);
        ASSERT(answer_read(again, a.used, false, &b) == 0 && b.used == a.used);
        memcpy(again, data, size);
        ASSERT(answer_read(again, a.used - 1, false, &b) == -EAGAIN);
    }
    free(buf);
    free(again);
    return 0;
}
