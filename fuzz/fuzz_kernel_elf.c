// SPDX-License-Identifier: Apache-2.0
/* The loader's parser: what it accepts must keep every promise of kernel/linux/elf.h, for the
 * loader maps by them without another look. */
#include <stdint.h>
#include <string.h>

#include "base/base.h"
#include "kernel/linux/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct elf_image *i, uint64_t file_bytes)
{
    enum { PAGE = 4096 };
    uint64_t end = 0;
    ASSERT(i->segment_count >= 1 && i->segment_count <= ELF_SEGMENTS_MAX);
    for (unsigned k = 0; k < i->segment_count; k++) {
        const struct elf_segment *s = &i->segments[k];
        ASSERT(s->address / PAGE * PAGE >= end);
        ASSERT(s->memory_bytes > 0 && s->file_bytes <= s->memory_bytes);
        ASSERT(s->address < ELF_ADDRESS_END && s->memory_bytes <= ELF_ADDRESS_END - s->address);
        ASSERT(s->offset <= file_bytes && s->file_bytes <= file_bytes - s->offset);
        ASSERT(s->address % PAGE == s->offset % PAGE && s->prot < 8);
        end = ALIGN_UP(s->address + s->memory_bytes, (uint64_t)PAGE);
    }
    ASSERT(i->start == i->segments[0].address / PAGE * PAGE && i->end == end);
    ASSERT(i->interp_bytes <= file_bytes && i->interp_offset <= file_bytes - i->interp_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_header h;
    struct elf_image image;
    if (elf_header_parse(data, size, &h) < 0)
        return 0;
    size_t bytes = h.phdr_count * (size_t)ELF_PHDR_BYTES;
    if (h.phdr_offset > size || bytes > size - h.phdr_offset)
        return 0;
    if (elf_image_parse(&h, data + h.phdr_offset, bytes, size, &image) == 0)
        check(&image, size);
    return 0;
}
