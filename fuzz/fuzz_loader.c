// SPDX-License-Identifier: Apache-2.0
/* What tells which libraries and interpreters a program needs besides ELF itself: the dynamic
 * loader's cache and the first line of a script, as any bytes. What is returned lies within them
 * and ends. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "image/ldcache.h"
#include "image/start.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char interpreter[START_LINE_MAX], argument[START_LINE_MAX];
    // A cache has the form for itself or behind the older one; the bytes are copied to their size.
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    copy[size] = '\0';
    const char *found = ldcache_find(copy, size, "libc.so.6");
    if (found != NULL) {
        const uint8_t *p = (const uint8_t *)found;
        ASSERT(p >= copy && p < copy + size && found[0] == '/');
        ASSERT(memchr(p, '\0', size - (size_t)(p - copy)) != NULL);
    }
    if (start_line((const char *)copy, size, interpreter, argument)) {
        ASSERT(interpreter[0] != '\0' && strlen(interpreter) < START_LINE_MAX);
        ASSERT(strpbrk(interpreter, " \t\n") == NULL && strchr(argument, '\n') == NULL);
    }
    free(copy);
    return 0;
}
