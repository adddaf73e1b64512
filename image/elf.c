// SPDX-License-Identifier: Apache-2.0
#include "image/elf.h"

#include "base/cursor.h"
#include "base/mem.h"

enum {
    CLASS_64 = 2,
    DATA_LITTLE = 1,
    TYPE_EXEC = 2,
    TYPE_DYN = 3,
    MACHINE_X86_64 = 62,
    PT_LOAD = 1,
    PT_DYNAMIC = 2,
    PT_INTERP = 3,
    DT_NULL = 0,
    DT_NEEDED = 1,
    DT_STRTAB = 5,
    DT_STRSZ = 10,
    DT_SONAME = 14,
    DT_RPATH = 15,
    DT_RUNPATH = 29,
};

struct header {
    uint8_t magic[4];
    uint8_t class, data, version, abi, pad[8];
    uint16_t type, machine;
    uint32_t version2;
    uint64_t entry, segments_at, sections_at;
    uint32_t flags;
    uint16_t bytes, segment_bytes, segments, section_bytes, sections, names_section;
};
_Static_assert(sizeof(struct header) == 64, "Elf64_Ehdr");

struct segment {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, file_bytes, memory_bytes, align;
};
_Static_assert(sizeof(struct segment) == 56, "Elf64_Phdr");

struct dynamic {
    int64_t tag;
    uint64_t value;
};
_Static_assert(sizeof(struct dynamic) == 16, "Elf64_Dyn");

struct elf {
    const uint8_t *data;
    size_t len;
    struct header header;
    const char *why;
};

static const char *machine_text(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *text;
    } known[] = {
        {3, "is built for 32-bit x86, not x86-64"},  {8, "is built for MIPS, not x86-64"},
        {21, "is built for PowerPC, not x86-64"},    {22, "is built for s390, not x86-64"},
        {40, "is built for 32-bit ARM, not x86-64"}, {183, "is built for ARM64, not x86-64"},
        {243, "is built for RISC-V, not x86-64"},    {258, "is built for LoongArch, not x86-64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].machine == machine)
            return known[i].text;
    return "is not built for x86-64";
}

static int fail(struct elf *f, int code, const char *why)
{
    f->why = why;
    return code;
}

/* len bytes at a file offset, or NULL. */
static const uint8_t *bytes_at(const struct elf *f, uint64_t offset, uint64_t len)
{
    return offset <= f->len && len <= f->len - offset ? f->data + offset : NULL;
}

static int read_header(struct elf *f)
{
    static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};
    if (f->len < sizeof(magic) || memcmp(f->data, magic, sizeof(magic)) != 0)
        return fail(f, -ENOEXEC, "is not an ELF file");
    if (f->len < sizeof(f->header))
        return fail(f, -EPROTO, "is a truncated ELF file");
    memcpy(&f->header, f->data, sizeof(f->header));
    const struct header *h = &f->header;
    if (h->data != DATA_LITTLE || h->machine != MACHINE_X86_64)
        return fail(f, -EPFNOSUPPORT, machine_text(h->machine));
    if (h->class != CLASS_64)
        return fail(f, -EPFNOSUPPORT, "is a 32-bit program, not x86-64");
    if (h->type != TYPE_EXEC && h->type != TYPE_DYN)
        return fail(f, -ENOEXEC, "is an ELF file but neither a program nor a library");
    if (h->segment_bytes != sizeof(struct segment) || h->segments == 0)
        return fail(f, -EPROTO, "is an ELF file without program headers");
    if (h->segments > ELF_SEGMENTS_MAX)
        return fail(f, -E2BIG, "has too many program headers");
    if (bytes_at(f, h->segments_at, h->segments * sizeof(struct segment)) == NULL)
        return fail(f, -EPROTO, "is a truncated ELF file");
    return 0;
}

static struct segment segment_at(const struct elf *f, unsigned index)
{
    struct segment s;
    memcpy(&s, f->data + f->header.segments_at + index * sizeof(s), sizeof(s));
    return s;
}

static const struct segment *find_segment(const struct elf *f, uint32_t type, struct segment *ret)
{
    for (unsigned i = 0; i < f->header.segments; i++) {
        *ret = segment_at(f, i);
        if (ret->type == type)
            return ret;
    }
    return NULL;
}

/* What the file has at a virtual address and how many bytes follow there, or NULL. */
static const uint8_t *loaded_at(const struct elf *f, uint64_t vaddr, uint64_t *ret_len)
{
    for (unsigned i = 0; i < f->header.segments; i++) {
        struct segment s = segment_at(f, i);
        if (s.type != PT_LOAD || vaddr < s.vaddr || vaddr - s.vaddr >= s.file_bytes)
            continue;
        if (bytes_at(f, s.offset, s.file_bytes) == NULL)
            return NULL;
        *ret_len = s.file_bytes - (vaddr - s.vaddr);
        return f->data + s.offset + (vaddr - s.vaddr);
    }
    return NULL;
}

struct strings {
    const uint8_t *data;
    uint64_t len;
};

static const char *string_at(const struct strings *s, uint64_t offset)
{
    if (offset >= s->len || memchr(s->data + offset, '\0', s->len - offset) == NULL)
        return NULL;
    return (const char *)s->data + offset;
}

/* Is there a string of that name? */
static bool names(const struct strings *s, const char *name)
{
    size_t len = strlen(name) + 1;
    const uint8_t *p = s->data, *end = s->data + s->len;
    while (p < end && (p = memchr(p, name[0], (size_t)(end - p))) != NULL) {
        if ((size_t)(end - p) >= len && p > s->data && p[-1] == '\0' && memcmp(p, name, len) == 0)
            return true;
        p++;
    }
    return false;
}

/* Value of the first entry with a tag; absent: false. */
static bool dynamic_find(const uint8_t *table, size_t n, int64_t tag, uint64_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        struct dynamic d;
        memcpy(&d, table + i * sizeof(d), sizeof(d));
        if (d.tag == DT_NULL)
            return false;
        *ret = d.value;
        if (d.tag == tag)
            return true;
    }
    return false;
}

static int read_entry(struct elf *f, const struct strings *s, const struct dynamic *d,
                      struct elf_info *ret)
{
    const char *text = string_at(s, d->value);
    const char **to = d->tag == DT_SONAME    ? &ret->soname
                      : d->tag == DT_RPATH   ? &ret->rpath
                      : d->tag == DT_RUNPATH ? &ret->runpath
                                             : NULL;
    if (d->tag != DT_NEEDED && to == NULL)
        return 0;
    if (text == NULL)
        return fail(f, -EPROTO, "has a damaged dynamic section");
    if (to != NULL) {
        *to = text;
        return 0;
    }
    if (text[0] == '\0')
        return fail(f, -EPROTO, "needs a library without a name");
    if (ret->needed_n == ELF_NEEDED_MAX)
        return fail(f, -E2BIG, "needs too many libraries");
    ret->needed[ret->needed_n++] = text;
    return 0;
}

static int read_dynamic(struct elf *f, const struct segment *s, struct elf_info *ret)
{
    const uint8_t *table = bytes_at(f, s->offset, s->file_bytes);
    size_t n = (size_t)(s->file_bytes / sizeof(struct dynamic));
    uint64_t at, len, room;
    if (table == NULL)
        return fail(f, -EPROTO, "is a truncated ELF file");
    if (n > ELF_DYNAMIC_MAX)
        return fail(f, -E2BIG, "has too large a dynamic section");
    if (!dynamic_find(table, n, DT_STRTAB, &at) || !dynamic_find(table, n, DT_STRSZ, &len))
        return 0; // nothing that has a name
    struct strings strings = {.data = loaded_at(f, at, &room), .len = len};
    if (strings.data == NULL || len > room)
        return fail(f, -EPROTO, "has a damaged dynamic section");
    ret->ends_threads = names(&strings, "pthread_cancel") || names(&strings, "pthread_exit");
    for (size_t i = 0; i < n; i++) {
        struct dynamic d;
        memcpy(&d, table + i * sizeof(d), sizeof(d));
        if (d.tag == DT_NULL)
            break;
        int r = read_entry(f, &strings, &d, ret);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_all(struct elf *f, struct elf_info *ret)
{
    struct segment s;
    int r = read_header(f);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < f->header.segments; i++) {
        s = segment_at(f, i);
        if (s.type == PT_LOAD && bytes_at(f, s.offset, s.file_bytes) == NULL)
            return fail(f, -EPROTO, "is a truncated ELF file");
    }
    if (find_segment(f, PT_INTERP, &s) != NULL) {
        const uint8_t *p = bytes_at(f, s.offset, s.file_bytes);
        if (p == NULL || s.file_bytes < 2 || p[s.file_bytes - 1] != '\0' || p[0] != '/')
            return fail(f, -EPROTO, "names its interpreter in a damaged way");
        ret->interp = (const char *)p;
    }
    if (find_segment(f, PT_DYNAMIC, &s) != NULL)
        r = read_dynamic(f, &s, ret);
    ret->dynamic = ret->interp != NULL || ret->needed_n > 0;
    return r;
}

int elf_parse(const void *data, size_t len, struct elf_info *ret, const char **ret_why)
{
    struct elf f = {.data = data, .len = len};
    *ret = (struct elf_info){0};
    int r = read_all(&f, ret);
    if (r < 0)
        *ret_why = f.why;
    return r;
}
