// SPDX-License-Identifier: Apache-2.0
/* What the start info tells. We run on the boot page tables here: the first GiB is at address 0. */
#include "kernel/boot/memory.h"

#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/boot/start_info.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/layout.h"

enum {
    LOW_RESERVED = 0x8000,    // page 0 and room for the start code of further CPUs
    BOOT_MAPPED = 1 << 30,    // what the boot page tables map
    FIRMWARE_START = 0x80000, // the firmware's data area may start here
    FIRMWARE_END = 0x100000,
};

struct boot_memory boot_memory;
char boot_cmdline[BOOT_CMDLINE_MAX];

/* Boot-time physical memory, NULL when it lies outside what is mapped. */
static const void *boot_view(uint64_t phys, uint64_t bytes)
{
    if (phys == 0 || phys > BOOT_MAPPED || bytes > BOOT_MAPPED - phys)
        return NULL;
    return (const void *)phys;
}

static void region_add(uint64_t start, uint64_t end)
{
    struct boot_memory *m = &boot_memory;
    start = ALIGN_UP(MAX(start, (uint64_t)LOW_RESERVED), (uint64_t)PAGE_SIZE);
    end = ALIGN_DOWN(MIN(end, DIRECT_BYTES), (uint64_t)PAGE_SIZE);
    if (start < FIRMWARE_END && end > FIRMWARE_START && start < FIRMWARE_START) {
        region_add(start, FIRMWARE_START);
        start = FIRMWARE_END;
    }
    if (start >= end || m->ram_count == BOOT_REGIONS_MAX)
        return;
    unsigned at = m->ram_count++;
    for (; at > 0 && m->ram[at - 1].start > start; at--)
        m->ram[at] = m->ram[at - 1];
    m->ram[at] = (struct boot_region){start, end};
    m->ram_end = MAX(m->ram_end, end);
}

static void early_init(void)
{
    struct boot_memory *m = &boot_memory;
    uint64_t start = ALIGN_UP(image_phys(kernel_end), (uint64_t)PAGE_SIZE);
    for (unsigned i = 0; i < m->ram_count; i++) {
        struct boot_region r = m->ram[i];
        if (r.start > start || r.end <= start)
            continue;
        m->early_next = start;
        m->early_end = r.end;
        if (m->module_start >= start && m->module_start < r.end)
            m->early_end = ALIGN_DOWN(m->module_start, (uint64_t)PAGE_SIZE);
        return;
    }
    panic("no memory behind the kernel");
}

void boot_memory_init(uint32_t start_info_phys)
{
    const struct hvm_start_info *info = boot_view(start_info_phys, sizeof(*info));
    if (info == NULL || info->magic != START_MAGIC || info->version < 1)
        panic("not started by the PVH boot protocol");
    const char *line = boot_view(info->cmdline_paddr, sizeof(boot_cmdline));
    if (line != NULL) {
        size_t len = strnlen(line, sizeof(boot_cmdline));
        if (len == sizeof(boot_cmdline))
            panic("command line longer than %d bytes", BOOT_CMDLINE_MAX - 1);
        memcpy(boot_cmdline, line, len + 1);
    }
    uint64_t entries = info->memmap_entries;
    const struct hvm_memory *e = boot_view(info->memmap_paddr, entries * sizeof(*e));
    if (e == NULL)
        panic("no memory map");
    for (uint64_t i = 0; i < entries; i++)
        if (e[i].type == MEMORY_RAM && e[i].addr + e[i].size > e[i].addr)
            region_add(e[i].addr, e[i].addr + e[i].size);
    const struct hvm_module *module =
        info->nr_modules > 0 ? boot_view(info->modlist_paddr, sizeof(*module)) : NULL;
    if (module != NULL) {
        boot_memory.module_start = module->paddr;
        boot_memory.module_end = module->paddr + module->size;
    }
    early_init();
}

uint64_t boot_early_alloc(uint64_t bytes)
{
    struct boot_memory *m = &boot_memory;
    uint64_t at = m->early_next;
    bytes = ALIGN_UP(bytes, (uint64_t)PAGE_SIZE);
    if (bytes > m->early_end - at)
        panic("out of memory at start");
    m->early_next += bytes;
    return at;
}
