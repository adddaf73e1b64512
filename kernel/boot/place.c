// SPDX-License-Identifier: Apache-2.0
/* Where the kernel runs: a place picked at random in the top 2 GiB (page granular, 19 bits), unless
 * the command line says skerry.nokaslr. This is the first C code; it runs at the image's physical
 * addresses, before any pointer in the image is right: no tables of pointers, nothing that panics.
 *
 * The image is linked as position-independent and its relocations are packed (ELF's RELR: an even
 * word is an address, an odd one a bit map of the 63 words behind), so that there are some hundred
 * bytes of them. */
#include "kernel/arch/x86_64/asm.h"
#include "kernel/boot/memory.h"
#include "kernel/boot/start_info.h"
#include "kernel/mm/layout.h"

enum {
    ENTRIES = 512,
    TABLE_FLAGS = 3, // present, writable; boot only, kmap_init makes the real map
    RDRAND_TRIES = 10,
    PAGE = 4096,
};
static const uint64_t GIB = 1 << 30, TOP_FREE = 4 << 20;

uint64_t boot_place(uint32_t start_info_phys);

extern uint64_t boot_pml4[ENTRIES], relr_start[], relr_end[]; // pvh.S, kernel.ld
uint64_t boot_stack_guard;
static uint64_t pdpt[ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t pd[ENTRIES] __attribute__((aligned(PAGE)));
static uint64_t pt[2][ENTRIES] __attribute__((aligned(PAGE))); // kernel.ld bounds the image

/* Whether the command line has this word. */
static bool has_word(uint32_t start_info_phys, const char *word)
{
    const struct hvm_start_info *info = (const void *)(uint64_t)start_info_phys;
    if (start_info_phys > GIB - sizeof(*info) || info->magic != START_MAGIC ||
        info->cmdline_paddr == 0 || info->cmdline_paddr > GIB - BOOT_CMDLINE_MAX)
        return false;
    const char *line = (const char *)info->cmdline_paddr;
    unsigned matched = 0; // of the word that we are in; UINT32_MAX: it is another
    for (unsigned i = 0; i < BOOT_CMDLINE_MAX; i++) {
        bool end = line[i] == ' ' || line[i] == '\0';
        if (end && matched != UINT32_MAX && matched > 0 && word[matched] == '\0')
            return true;
        if (line[i] == '\0')
            return false;
        if (end)
            matched = 0;
        else if (matched != UINT32_MAX)
            matched = word[matched] == line[i] ? matched + 1 : UINT32_MAX;
    }
    return false;
}

static uint64_t entropy(void)
{
    enum { CPUID_RDRAND = 1 << 30 };
    uint64_t x = rdtsc(), v;
    bool got = false;
    for (int i = 0; i < RDRAND_TRIES && !got && (cpuid(1, 0).c & CPUID_RDRAND); i++)
        __asm__ volatile("rdrand %0" : "=r"(v), "=@ccc"(got) : : "cc");
    x ^= got ? v : 0;
    // The mixer of splitmix64: the TSC's low bits reach all others.
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* The image and room above it stay within one GiB, so that the boot map needs one table of it. */
static uint64_t slide_pick(uint64_t image_end_phys)
{
    uint64_t places = (GIB - TOP_FREE - image_end_phys) / PAGE, n = entropy() % (places * 2);
    return n < places ? n * PAGE : GIB + (n - places) * PAGE;
}

static void relocate(uint64_t slide, uint64_t link_minus_phys)
{
    uint64_t *where = NULL;
    for (const uint64_t *e = relr_start; e < relr_end; e++) {
        if (!(*e & 1)) {
            where = (uint64_t *)(*e - link_minus_phys);
            *where++ += slide;
            continue;
        }
        for (uint64_t bits = *e >> 1, i = 0; bits != 0; bits >>= 1, i++) {
            if (bits & 1)
                where[i] += slide;
        }
        where += 63;
    }
}

/* Relocate and map the image; what to add to a physical address of it to get the virtual one. */
uint64_t boot_place(uint32_t start_info_phys)
{
    uint64_t phys = (uint64_t)kernel_start, end = (uint64_t)kernel_end;
    uint64_t slide = has_word(start_info_phys, "skerry.nokaslr") ? 0 : slide_pick(end);
    uint64_t offset = KERNEL_OFFSET + slide;
    boot_stack_guard = entropy() << 8;
    if (slide != 0)
        relocate(slide, KERNEL_OFFSET);
    boot_pml4[ENTRIES - 1] = (uint64_t)pdpt | TABLE_FLAGS;
    pdpt[(offset + phys) >> 30 & (ENTRIES - 1)] = (uint64_t)pd | TABLE_FLAGS;
    uint64_t first = (offset + phys) >> 21;
    for (; phys < end; phys += PAGE) {
        uint64_t at = offset + phys, *table = pt[(at >> 21) - first];
        pd[at >> 21 & (ENTRIES - 1)] = (uint64_t)table | TABLE_FLAGS;
        table[at >> 12 & (ENTRIES - 1)] = phys | TABLE_FLAGS;
    }
    return offset;
}
