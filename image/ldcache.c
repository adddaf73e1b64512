// SPDX-License-Identifier: Apache-2.0
#include "image/ldcache.h"

#include <string.h>

enum {
    X86_64_LIBC6 = 0x0303, // FLAG_X8664_LIB64 | FLAG_ELF_LIBC6
    OLD_ENTRY_BYTES = 12,
    OLD_HEADER_BYTES = 16,
};

static const char old_magic[] = "ld.so-1.7.0", magic[] = "glibc-ld.so.cache1.1";

struct cache_header {
    char magic[20];
    uint32_t entries, strings_bytes;
    uint8_t flags, padding[3];
    uint32_t extensions_at, unused[3];
};
_Static_assert(sizeof(struct cache_header) == 48, "glibc 2.36 sysdeps/generic/dl-cache.h");

struct cache_entry {
    int32_t flags;
    uint32_t key, value; // offsets of strings from the header
    uint32_t os_version;
    uint64_t hwcap;
};
_Static_assert(sizeof(struct cache_entry) == 24, "glibc 2.36 sysdeps/generic/dl-cache.h");

/* Where the newer form begins; len: nowhere. */
static size_t find_header(const uint8_t *data, size_t len)
{
    uint32_t entries;
    if (len < OLD_HEADER_BYTES || memcmp(data, old_magic, sizeof(old_magic) - 1) != 0)
        return 0;
    memcpy(&entries, data + 12, sizeof(entries));
    if (entries > (len - OLD_HEADER_BYTES) / OLD_ENTRY_BYTES)
        return len;
    return ALIGN_UP(OLD_HEADER_BYTES + (size_t)entries * OLD_ENTRY_BYTES, (size_t)8);
}

static const char *string_at(const uint8_t *data, size_t len, uint32_t at)
{
    if (at >= len || memchr(data + at, '\0', len - at) == NULL)
        return NULL;
    return (const char *)data + at;
}

const char *ldcache_find(const void *data, size_t len, const char *name)
{
    struct cache_header h;
    size_t start = find_header(data, len);
    if (start >= len || len - start < sizeof(h))
        return NULL;
    const uint8_t *at = (const uint8_t *)data + start;
    len -= start;
    memcpy(&h, at, sizeof(h));
    if (memcmp(h.magic, magic, sizeof(h.magic)) != 0 ||
        h.entries > (len - sizeof(h)) / sizeof(struct cache_entry))
        return NULL;
    const char *best = NULL;
    for (uint32_t i = 0; i < h.entries; i++) {
        struct cache_entry entry;
        memcpy(&entry, at + sizeof(h) + i * sizeof(entry), sizeof(entry));
        const char *key = string_at(at, len, entry.key), *value = string_at(at, len, entry.value);
        if (entry.flags != X86_64_LIBC6 || key == NULL || value == NULL || value[0] != '/' ||
            strcmp(key, name) != 0)
            continue;
        if (entry.hwcap == 0)
            return value;
        best = best == NULL ? value : best;
    }
    return best;
}
