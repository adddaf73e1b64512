// SPDX-License-Identifier: Apache-2.0
#pragma once
/* hvm_start_info of the PVH boot protocol (xen/include/public/arch-x86/hvm/start_info.h). */
#include "base/base.h"

struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
    uint64_t memmap_paddr; // version 1 on
    uint32_t memmap_entries, reserved;
};

struct hvm_module {
    uint64_t paddr, size, cmdline_paddr, reserved;
};

struct hvm_memory {
    uint64_t addr, size;
    uint32_t type, reserved;
};

enum { START_MAGIC = 0x336ec578, MEMORY_RAM = 1 };
