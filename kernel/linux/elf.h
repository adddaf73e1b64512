// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the loader needs to know of an ELF file, checked: x86-64, executable or shared object, every
 * segment in the user half and inside the file, none overlapping. Pure; the bytes are foreign.
 * System V ABI, chapter 4 and 5. */
#include "base/base.h"

enum { ELF_HEADER_BYTES = 64, ELF_PHDR_BYTES = 56, ELF_PHDRS_MAX = 128, ELF_SEGMENTS_MAX = 32 };
#define ELF_ADDRESS_END 0x00007fff00000000ull // of addresses that segments may use

struct elf_header {
    bool position_independent; // ET_DYN
    uint64_t entry, phdr_offset;
    unsigned phdr_count; // 1..ELF_PHDRS_MAX
};

struct elf_segment {
    uint64_t address, memory_bytes; // as linked; address + bytes does not wrap
    uint64_t offset, file_bytes;    // file_bytes <= memory_bytes; offset = address modulo the page
    uint8_t prot;                   // 1 read, 2 write, 4 execute
};

struct elf_image {
    struct elf_segment segments[ELF_SEGMENTS_MAX]; // ascending, in different pages
    unsigned segment_count;                        // at least 1
    uint64_t start, end;                           // all segments; whole pages
    uint64_t interp_offset, interp_bytes;          // with its NUL; bytes 0: none
    uint64_t phdr_address;                         // where the headers lie in memory, 0: nowhere
    bool executable_stack;
};

/* The first ELF_HEADER_BYTES of a file. 0 or -ENOEXEC. */
NONNULL MUST_CHECK int elf_header_parse(const void *data, size_t bytes, struct elf_header *ret);
/* The program headers: phdr_count * ELF_PHDR_BYTES bytes from phdr_offset. 0 or -ENOEXEC. */
NONNULL MUST_CHECK int elf_image_parse(const struct elf_header *h, const void *data, size_t bytes,
                                       uint64_t file_bytes, struct elf_image *ret);
