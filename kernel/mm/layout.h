// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Where things lie in virtual memory.
 *
 *     0x0000000000001000  program (struct mm), up to USER_END
 *     0xffff800000000000  DIRECT_MAP: all RAM, 512 GiB, never executable
 *     0xffff808000000000  VMAP: kernel stacks with guard pages, device registers
 *     0xffffffff80000000  KERNEL_OFFSET: the kernel's image at + 1 MiB + kernel_slide() */
#include <stdint.h>

// The last page stays free: SYSRET needs a canonical rip.
#define USER_END      0x00007ffffffff000ull
#define USER_MIN      0x10000ull            // below: never mapped, NULL pointers fault
#define DIRECT_MAP    0xffff800000000000ull
#define DIRECT_BYTES  (512ull << 30)
#define VMAP          0xffff808000000000ull
#define VMAP_STACKS   (VMAP + (64ull << 30))
#define KERNEL_OFFSET 0xffffffff80000000ull
#define IMAGE_PHYS    0x100000ull

// kernel.ld: the image's pages, and where its protection changes.
extern char kernel_start[], rodata_start[], data_start[], kernel_end[];

/* How far the image runs above the addresses that it is linked for (boot/place.c). */
static inline uint64_t kernel_slide(void)
{
    return (uint64_t)kernel_start - KERNEL_OFFSET - IMAGE_PHYS;
}

static inline uint64_t image_phys(const void *in_image)
{
    return (uint64_t)in_image - (uint64_t)kernel_start + IMAGE_PHYS;
}
