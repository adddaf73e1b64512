// SPDX-License-Identifier: Apache-2.0
#include "kernel/linux/elf.h"

#include "base/errno.h"
#include "base/test.h"

struct file { // a minimal program: header and program headers, little-endian as the host
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
    struct {
        uint32_t type, flags;
        uint64_t offset, vaddr, paddr, filesz, memsz, align;
    } ph[3];
};

static const struct file good = {
    .ident = {0x7f, 'E', 'L', 'F', 2, 1, 1},
    .type = 2,
    .machine = 62,
    .entry = 0x401000,
    .phoff = 64,
    .phentsize = 56,
    .phnum = 3,
    .ph = {{.type = 1, .flags = 5, .vaddr = 0x400000, .filesz = 0x1800, .memsz = 0x1800},
           {.type = 1,
            .flags = 6,
            .offset = 0x1800,
            .vaddr = 0x402800,
            .filesz = 0x100,
            .memsz = 0x5000},
           {.type = 0x6474e551, .flags = 6}},
};
enum { FILE_BYTES = 0x1900 };

static int parse(const struct file *f, struct elf_image *ret)
{
    struct elf_header h;
    int r = elf_header_parse(f, ELF_HEADER_BYTES, &h);
    return r < 0 ? r : elf_image_parse(&h, f->ph, h.phdr_count * sizeof(f->ph[0]), FILE_BYTES, ret);
}

static void test_good(struct test *t)
{
    struct elf_image i;
    CHECK_EQ(t, parse(&good, &i), 0);
    CHECK_EQ(t, i.segment_count, 2);
    CHECK(t, i.start == 0x400000 && i.end == 0x408000);
    CHECK_EQ(t, i.phdr_address, 0x400040);
    CHECK(t, !i.executable_stack && i.interp_bytes == 0);
    CHECK(t, i.segments[0].prot == 5 && i.segments[1].prot == 3);
}

static void test_bad(struct test *t)
{
    struct elf_image i;
    struct file f;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        f = good;                                                                                  \
        change;                                                                                    \
        CHECK_EQ(t, parse(&f, &i), -ENOEXEC);                                                      \
    } while (0)
    REFUSED(f.ident[1] = 'F');
    REFUSED(f.ident[4] = 1);
    REFUSED(f.ident[5] = 2);
    REFUSED(f.type = 1);
    REFUSED(f.machine = 3);
    REFUSED(f.phentsize = 32);
    REFUSED(f.phnum = 0);
    REFUSED(f.ph[0].filesz = FILE_BYTES + 1; f.ph[0].memsz = 0x4000);
    REFUSED(f.ph[0].offset = UINT64_MAX - 0xfff);
    REFUSED(f.ph[1].filesz = 0x5001);
    REFUSED(f.ph[1].vaddr = 0x402801);
    REFUSED(f.ph[1].vaddr = 0x401800); // shares a page with the first
    REFUSED(f.ph[1].vaddr = 0x0ffffffffffff800);
    REFUSED(f.ph[1].memsz = UINT64_MAX - 0x1000);
    REFUSED(f.ph[0].type = f.ph[1].type = 0);
    REFUSED(f.ph[2].type = 3; f.ph[2].filesz = 1);
    REFUSED(f.ph[2].type = 3; f.ph[2].offset = FILE_BYTES; f.ph[2].filesz = 20);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_good), TEST_CASE(test_bad)};
    return test_main(cases, ARRAY_LEN(cases));
}
