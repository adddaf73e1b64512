// SPDX-License-Identifier: Apache-2.0
#include "kernel/linux/elf.h"

#include "base/cursor.h"

enum {
    ELFCLASS64 = 2,
    ELFDATA_LITTLE = 1,
    ET_EXEC = 2,
    ET_DYN = 3,
    EM_X86_64 = 62,
    PT_LOAD = 1,
    PT_INTERP = 3,
    PT_GNU_STACK = 0x6474e551,
    PF_X = 1,
    PF_W = 2,
    PF_R = 4,
    PAGE = 4096,
    INTERP_MAX = 4096,
};

int elf_header_parse(const void *data, size_t bytes, struct elf_header *ret)
{
    struct cursor c = cursor_of(data, bytes);
    const uint8_t *ident;
    uint16_t type, machine, ehsize, phentsize, phnum;
    uint32_t version, flags;
    uint64_t entry, phoff, shoff;
    if (cursor_bytes(&c, 16, &ident) < 0 || cursor_le16(&c, &type) < 0 ||
        cursor_le16(&c, &machine) < 0 || cursor_le32(&c, &version) < 0 ||
        cursor_le64(&c, &entry) < 0 || cursor_le64(&c, &phoff) < 0 || cursor_le64(&c, &shoff) < 0 ||
        cursor_le32(&c, &flags) < 0 || cursor_le16(&c, &ehsize) < 0 ||
        cursor_le16(&c, &phentsize) < 0 || cursor_le16(&c, &phnum) < 0)
        return -ENOEXEC;
    if (memcmp(ident, "\177ELF", 4) != 0 || ident[4] != ELFCLASS64 || ident[5] != ELFDATA_LITTLE ||
        machine != EM_X86_64 || (type != ET_EXEC && type != ET_DYN))
        return -ENOEXEC;
    if (phentsize != ELF_PHDR_BYTES || phnum == 0 || phnum > ELF_PHDRS_MAX)
        return -ENOEXEC;
    *ret = (struct elf_header){.position_independent = type == ET_DYN,
                               .entry = entry,
                               .phdr_offset = phoff,
                               .phdr_count = phnum};
    return 0;
}

struct phdr {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static int phdr_take(struct cursor *c, struct phdr *p)
{
    if (cursor_le32(c, &p->type) < 0 || cursor_le32(c, &p->flags) < 0 ||
        cursor_le64(c, &p->offset) < 0 || cursor_le64(c, &p->vaddr) < 0 ||
        cursor_le64(c, &p->paddr) < 0 || cursor_le64(c, &p->filesz) < 0 ||
        cursor_le64(c, &p->memsz) < 0 || cursor_le64(c, &p->align) < 0)
        return -ENOEXEC;
    return 0;
}

static bool in_file(const struct phdr *p, uint64_t file_bytes)
{
    return p->offset <= file_bytes && p->filesz <= file_bytes - p->offset;
}

static int segment_add(struct elf_image *image, const struct phdr *p, uint64_t file_bytes)
{
    if (p->memsz == 0)
        return 0;
    if (p->filesz > p->memsz || !in_file(p, file_bytes) || p->vaddr >= ELF_ADDRESS_END ||
        p->memsz > ELF_ADDRESS_END - p->vaddr || p->vaddr % PAGE != p->offset % PAGE ||
        image->segment_count == ELF_SEGMENTS_MAX)
        return -ENOEXEC;
    uint64_t start = ALIGN_DOWN(p->vaddr, (uint64_t)PAGE);
    if (image->segment_count > 0 && start < image->end)
        return -ENOEXEC; // not ascending, or two share a page
    if (image->segment_count == 0)
        image->start = start;
    image->end = ALIGN_UP(p->vaddr + p->memsz, (uint64_t)PAGE);
    image->segments[image->segment_count++] = (struct elf_segment){
        .address = p->vaddr,
        .memory_bytes = p->memsz,
        .offset = p->offset,
        .file_bytes = p->filesz,
        .prot = (uint8_t)((p->flags & PF_R ? 1 : 0) | (p->flags & PF_W ? 2 : 0) |
                          (p->flags & PF_X ? 4 : 0)),
    };
    return 0;
}

/* Where a run of file bytes lies in memory, or 0. */
static uint64_t address_of(const struct elf_image *image, uint64_t offset, uint64_t bytes)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct elf_segment *s = &image->segments[i];
        if (offset >= s->offset && bytes <= s->file_bytes &&
            offset - s->offset <= s->file_bytes - bytes)
            return s->address + (offset - s->offset);
    }
    return 0;
}

int elf_image_parse(const struct elf_header *h, const void *data, size_t bytes, uint64_t file_bytes,
                    struct elf_image *ret)
{
    struct cursor c = cursor_of(data, bytes);
    *ret = (struct elf_image){.executable_stack = true}; // without PT_GNU_STACK, as Linux
    for (unsigned i = 0; i < h->phdr_count; i++) {
        struct phdr p;
        int r = phdr_take(&c, &p);
        if (r < 0)
            return r;
        if (p.type == PT_LOAD && (r = segment_add(ret, &p, file_bytes)) < 0)
            return r;
        if (p.type == PT_GNU_STACK)
            ret->executable_stack = p.flags & PF_X;
        if (p.type != PT_INTERP)
            continue;
        if (!in_file(&p, file_bytes) || p.filesz < 2 || p.filesz > INTERP_MAX)
            return -ENOEXEC;
        ret->interp_offset = p.offset;
        ret->interp_bytes = p.filesz;
    }
    if (ret->segment_count == 0)
        return -ENOEXEC;
    ret->phdr_address = address_of(ret, h->phdr_offset, (uint64_t)h->phdr_count * ELF_PHDR_BYTES);
    return 0;
}
