// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the boot protocol handed over: memory map, command line, an optional module. And memory for
 * the first few tables, before the page allocator runs. */
#include "abi/boot.h"
#include "base/base.h"

enum { BOOT_REGIONS_MAX = 16 };

struct boot_region {
    uint64_t start, end; // physical, whole pages, end excluded
};

struct boot_memory {
    struct boot_region ram[BOOT_REGIONS_MAX]; // ascending, not overlapping
    unsigned ram_count;
    uint64_t ram_end;                  // end of the highest region
    uint64_t module_start, module_end; // physical; equal when there is none
    uint64_t early_next, early_end;    // what boot_early_alloc has left
};
extern struct boot_memory boot_memory;
extern char boot_cmdline[BOOT_CMDLINE_MAX];

extern uint64_t boot_stack_guard; // boot/place.c: random, its lowest byte 0 to end strings

/* Copies everything out of the start info. Panics on a boot protocol it does not know. */
void boot_memory_init(uint32_t start_info_phys);
/* Zeroed, contiguous physical memory behind the kernel's image; never freed. */
uint64_t boot_early_alloc(uint64_t bytes);
