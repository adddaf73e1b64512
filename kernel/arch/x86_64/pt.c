// SPDX-License-Identifier: Apache-2.0
#include "kernel/arch/x86_64/pt.h"

#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/boot/memory.h"
#include "kernel/mm/layout.h"

enum {
    LEVELS = 4,
    ENTRIES = 512,
    KERNEL_HALF = 256, // first root entry of the kernel's half
    LARGE_BYTES = 2 << 20,
};
static const uint64_t GIB = 1 << 30;
static const uint64_t TABLE_FLAGS = PTE_PRESENT | PTE_WRITE | PTE_USER;

static uint64_t kernel_root;
static struct spinlock vmap_lock; // protects the tables of VMAP

static unsigned shift_of(unsigned level) // 0: pages ... 3: root
{
    return 12 + level * 9;
}

static unsigned index_of(uint64_t address, unsigned level)
{
    return address >> shift_of(level) & (ENTRIES - 1);
}

/* The table that an entry, or a root, points to. */
static uint64_t *table_of(uint64_t entry)
{
    return (uint64_t *)(DIRECT_MAP + (entry & PTE_ADDR));
}

/* The same with missing levels made, which is rare. */
static COLD uint64_t *entry_create(uint64_t root, uint64_t address)
{
    uint64_t *table = table_of(root);
    for (unsigned level = LEVELS - 1; level > 0; level--) {
        uint64_t *e = &table[index_of(address, level)];
        if (!(*e & PTE_PRESENT)) {
            struct page *p = page_alloc_zero(0);
            if (p == NULL)
                return NULL;
            *e = page_phys(p) | TABLE_FLAGS;
        }
        table = table_of(*e);
    }
    return &table[index_of(address, 0)];
}

uint64_t *pt_entry(uint64_t root, uint64_t address, bool create)
{
    uint64_t e = table_of(root)[index_of(address, 3)]; // unrolled: every page fault comes here
    if (LIKELY(e & PTE_PRESENT))
        e = table_of(e)[index_of(address, 2)];
    if (LIKELY(e & PTE_PRESENT))
        e = table_of(e)[index_of(address, 1)];
    if (LIKELY(e & PTE_PRESENT))
        return &table_of(e)[index_of(address, 0)];
    return create ? entry_create(root, address) : NULL;
}

struct walk {
    void (*leaf)(uint64_t *entry, uint64_t address, void *ctx);
    void *ctx;
};

static void walk_level(uint64_t *table, unsigned level, uint64_t start, uint64_t end,
                       const struct walk *w)
{
    uint64_t span = 1ull << shift_of(level);
    for (uint64_t at = start; at < end; at = ALIGN_DOWN(at, span) + span) {
        uint64_t *e = &table[index_of(at, level)];
        if (*e == 0)
            continue;
        if (level == 0)
            w->leaf(e, at, w->ctx);
        else
            walk_level(virt_of(*e & PTE_ADDR), level - 1, at, MIN(end, ALIGN_DOWN(at, span) + span),
                       w);
    }
}

void pt_for_each(uint64_t root, uint64_t start, uint64_t end,
                 void (*leaf)(uint64_t *entry, uint64_t address, void *ctx), void *ctx)
{
    struct walk w = {.leaf = leaf, .ctx = ctx};
    if (start < end)
        walk_level(virt_of(root), LEVELS - 1, start, end, &w);
}

static void free_level(uint64_t *table, unsigned level, uint64_t start, uint64_t end,
                       struct list *freed)
{
    uint64_t span = 1ull << shift_of(level);
    for (uint64_t at = start; at < end; at = ALIGN_DOWN(at, span) + span) {
        uint64_t *e = &table[index_of(at, level)];
        if (!(*e & PTE_PRESENT))
            continue;
        uint64_t base = ALIGN_DOWN(at, span);
        if (level > 1)
            free_level(virt_of(*e & PTE_ADDR), level - 1, at, MIN(end, base + span), freed);
        if (at == base && end - base >= span) {
            struct page *p = page_of(virt_of(*e & PTE_ADDR));
            *e = 0;
            list_push_back(freed, &p->link);
        }
    }
}

void pt_free_tables(uint64_t root, uint64_t start, uint64_t end, struct list *freed)
{
    if (start < end)
        free_level(virt_of(root), LEVELS - 1, start, end, freed);
}

uint64_t pt_root_new(void)
{
    struct page *p = page_alloc(0);
    if (p == NULL)
        return 0;
    uint64_t *table = page_virt(p);
    const uint64_t *kernel = virt_of(kernel_root);
    memset(table, 0, KERNEL_HALF * sizeof(*table));
    memcpy(table + KERNEL_HALF, kernel + KERNEL_HALF, KERNEL_HALF * sizeof(*table));
    return page_phys(p);
}

void pt_root_free(uint64_t root)
{
    page_put(page_of(virt_of(root)));
}

uint64_t pt_kernel_root(void)
{
    return kernel_root;
}

bool kmap_page(uint64_t address, uint64_t phys, uint64_t flags)
{
    spin_lock(&vmap_lock);
    uint64_t *e = pt_entry(kernel_root, address, true);
    if (e != NULL)
        *e = phys | flags | PTE_PRESENT | PTE_GLOBAL;
    spin_unlock(&vmap_lock);
    return e != NULL;
}

void kmap_clear(uint64_t address)
{
    spin_lock(&vmap_lock);
    uint64_t *e = pt_entry(kernel_root, address, false);
    if (e != NULL)
        *e = 0;
    spin_unlock(&vmap_lock);
}

uint64_t kmap_phys(uint64_t address)
{
    spin_lock(&vmap_lock);
    uint64_t *e = pt_entry(kernel_root, address, false);
    uint64_t phys = e != NULL && *e & PTE_PRESENT ? *e & PTE_ADDR : 0;
    spin_unlock(&vmap_lock);
    return phys;
}

/* A table made at start, seen through the boot map. */
static uint64_t *early_table(uint64_t *ret_phys)
{
    *ret_phys = boot_early_alloc(PAGE_SIZE);
    uint64_t *table = (uint64_t *)*ret_phys;
    memset(table, 0, PAGE_SIZE);
    return table;
}

/* Protection of one page of the kernel's image. */
static uint64_t image_flags(uint64_t phys, bool direct)
{
    if (phys >= image_phys(data_start) || phys < IMAGE_PHYS)
        return PTE_PRESENT | PTE_GLOBAL | PTE_WRITE | PTE_NX;
    if (phys >= image_phys(rodata_start) || direct)
        return PTE_PRESENT | PTE_GLOBAL | PTE_NX;
    return PTE_PRESENT | PTE_GLOBAL;
}

/* One table of small pages for 2 MiB of RAM that the image lies in. */
static uint64_t direct_table(uint64_t phys)
{
    uint64_t table_phys, *table = early_table(&table_phys);
    for (unsigned i = 0; i < ENTRIES; i++, phys += PAGE_SIZE)
        table[i] = phys | image_flags(phys, true);
    return table_phys | PTE_PRESENT | PTE_WRITE;
}

/* The image where it runs. boot_place keeps it within one GiB, the one of this table. */
static void image_map(uint64_t *gib)
{
    uint64_t phys = IMAGE_PHYS, table_phys, *table = NULL;
    for (uint64_t at = (uint64_t)kernel_start; at < (uint64_t)kernel_end; at += PAGE_SIZE) {
        if (table == NULL || index_of(at, 0) == 0) {
            table = early_table(&table_phys);
            gib[index_of(at, 1)] = table_phys | PTE_PRESENT | PTE_WRITE;
        }
        table[index_of(at, 0)] = phys | image_flags(phys, false);
        phys += PAGE_SIZE;
    }
}

static uint64_t direct_gib(uint64_t phys, uint64_t end, uint64_t image_end)
{
    const uint64_t flags = PTE_PRESENT | PTE_WRITE | PTE_LARGE | PTE_GLOBAL | PTE_NX;
    if (cpu_features.gib_pages && phys >= image_end)
        return phys | flags;
    uint64_t table_phys, *table = early_table(&table_phys);
    for (unsigned i = 0; i < ENTRIES && phys < end; i++, phys += LARGE_BYTES)
        table[i] = phys < image_end ? direct_table(phys) : phys | flags;
    return table_phys | PTE_PRESENT | PTE_WRITE;
}

void kmap_init(void)
{
    uint64_t image_end = ALIGN_UP(image_phys(kernel_end), (uint64_t)LARGE_BYTES);
    uint64_t root_phys, direct_phys, vmap_phys, high_phys, image_phys;
    uint64_t *root = early_table(&root_phys), *direct = early_table(&direct_phys);
    uint64_t *high = early_table(&high_phys), *image = early_table(&image_phys);
    early_table(&vmap_phys);
    for (uint64_t at = 0; at < boot_memory.ram_end; at += GIB)
        direct[at / GIB] = direct_gib(at, boot_memory.ram_end, image_end);
    image_map(image);
    root[index_of(DIRECT_MAP, 3)] = direct_phys | PTE_PRESENT | PTE_WRITE;
    root[index_of(VMAP, 3)] = vmap_phys | PTE_PRESENT | PTE_WRITE;
    root[index_of(KERNEL_OFFSET, 3)] = high_phys | PTE_PRESENT | PTE_WRITE;
    high[index_of((uint64_t)kernel_start, 2)] = image_phys | PTE_PRESENT | PTE_WRITE;
    kernel_root = root_phys;
    write_cr3(root_phys);
}
