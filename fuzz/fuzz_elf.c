// SPDX-License-Identifier: Apache-2.0
/* The ELF reader on any bytes: every string that it returns lies within them and ends. */
#include "base/mem.h"
#include "image/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size, const char *s)
{
    if (s == NULL)
        return;
    const uint8_t *p = (const uint8_t *)s;
    ASSERT(p >= data && p < data + size);
    ASSERT(memchr(p, '\0', size - (size_t)(p - data)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_info info;
    const char *why = NULL;
    if (elf_parse(data, size, &info, &why) < 0) {
        ASSERT(why != NULL);
        return 0;
    }
    check(data, size, info.interp);
    check(data, size, info.soname);
    check(data, size, info.rpath);
    check(data, size, info.runpath);
    for (uint32_t i = 0; i < info.needed_n; i++)
        check(data, size, info.needed[i]);
    return 0;
}
