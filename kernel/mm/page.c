// SPDX-License-Identifier: Apache-2.0
/* Page frames: the buddy allocator under a lock, reference counts, giving back under pressure.
 *
 * Lock order: shrinkers' own locks -> page_lock. page_lock is taken by tasks and work only. */
#include "base/mem.h"
#include "kernel/boot/memory.h"
#include "kernel/mm/buddy.h"
#include "kernel/mm/init.h"
#include "kernel/mm/layout.h"
#include "kernel/sched/lock.h"
#include "kernel/vfs/vfs.h"

static struct buddy buddy; // protected by page_lock
static struct spinlock page_lock;
static struct page *pages;                               // immutable after start
static struct list shrinkers = {&shrinkers, &shrinkers}; // written at start only

void *virt_of(uint64_t phys)
{
    return (void *)(DIRECT_MAP + phys);
}

uint64_t phys_of(const void *direct_map_address)
{
    return (uint64_t)direct_map_address - DIRECT_MAP;
}

struct page *page_of(const void *direct_map_address)
{
    return &pages[phys_of(direct_map_address) >> PAGE_SHIFT];
}

uint64_t page_phys(const struct page *p)
{
    return (uint64_t)(p - pages) << PAGE_SHIFT;
}

void *page_virt(const struct page *p)
{
    return virt_of(page_phys(p));
}

/* Give [start, end) to the allocator without the parts that are taken. */
static void add_without(uint64_t start, uint64_t end, unsigned hole)
{
    const struct boot_memory *m = &boot_memory;
    const struct boot_region holes[] = {
        {IMAGE_PHYS, m->early_next},
        {ALIGN_DOWN(m->module_start, (uint64_t)PAGE_SIZE),
         ALIGN_UP(m->module_end, (uint64_t)PAGE_SIZE)},
    };
    if (start >= end)
        return;
    if (hole == ARRAY_LEN(holes)) {
        buddy_add(&buddy, start >> PAGE_SHIFT, end >> PAGE_SHIFT);
        return;
    }
    struct boot_region h = holes[hole];
    if (h.start >= h.end || h.end <= start || h.start >= end) {
        add_without(start, end, hole + 1);
        return;
    }
    add_without(start, h.start, hole + 1);
    add_without(h.end, end, hole + 1);
}

void page_init(void)
{
    const uint64_t chunk = (uint64_t)PAGE_SIZE << PAGE_ORDER_MAX;
    uint64_t count = ALIGN_UP(boot_memory.ram_end, chunk) >> PAGE_SHIFT;
    pages = virt_of(boot_early_alloc(count * sizeof(struct page)));
    buddy_init(&buddy, pages);
    for (unsigned i = 0; i < boot_memory.ram_count; i++)
        add_without(boot_memory.ram[i].start, boot_memory.ram[i].end, 0);
}

void shrinker_register(struct shrinker *s)
{
    list_push_back(&shrinkers, &s->link);
}

static bool shrink(size_t count)
{
    size_t freed = 0;
    LIST_FOR_EACH (node, &shrinkers)
        freed += LIST_ENTRY(node, struct shrinker, link)->shrink(count);
    return freed > 0;
}

struct page *page_alloc(unsigned order)
{
    enum { SHRINK_EXTRA = 32, SHRINK_TRIES = 8 };
    for (int i = 0;; i++) {
        spin_lock(&page_lock);
        struct page *p = buddy_alloc(&buddy, order);
        spin_unlock(&page_lock);
        if (LIKELY(p != NULL))
            return p;
        if (i == SHRINK_TRIES || !shrink((1u << order) + SHRINK_EXTRA))
            return NULL;
    }
}

struct page *page_alloc_zero(unsigned order)
{
    struct page *p = page_alloc(order);
    if (p != NULL)
        memset(page_virt(p), 0, (size_t)PAGE_SIZE << order);
    return p;
}

void page_get(struct page *p)
{
    __atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
}

void page_put(struct page *p)
{
    // Release: our last use of the page comes before another CPU's reuse of it.
    uint32_t before = __atomic_fetch_sub(&p->refs, 1, __ATOMIC_ACQ_REL);
    ASSERT(before != 0);
    if (before > 1)
        return;
    spin_lock(&page_lock);
    buddy_free(&buddy, p);
    spin_unlock(&page_lock);
}

void mem_stats_get(struct mem_stats *ret)
{
    spin_lock(&page_lock);
    *ret = (struct mem_stats){.total_bytes = buddy.total_pages << PAGE_SHIFT,
                              .free_bytes = buddy.free_pages << PAGE_SHIFT};
    spin_unlock(&page_lock);
    ret->cache_bytes = pagecache_clean_bytes();
}
