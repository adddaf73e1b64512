// SPDX-License-Identifier: Apache-2.0
/* Page frames: the buddy allocator under a lock, a few single pages at hand for each CPU without
 * one, reference counts, giving back under pressure.
 *
 * Lock order: shrinkers' own locks -> page_lock. page_lock is taken by tasks and work only, and so
 * are the pages at hand: nothing takes the CPU from them in the kernel. */
#include "base/mem.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/boot/memory.h"
#include "kernel/mm/buddy.h"
#include "kernel/mm/init.h"
#include "kernel/mm/layout.h"
#include "kernel/sched/lock.h"
#include "kernel/vfs/vfs.h"

// Pages of a CPU, linked through `owner`.
enum { AT_HAND_ORDER = 3, AT_HAND_BATCH = 1 << AT_HAND_ORDER, AT_HAND_MAX = 2 * AT_HAND_BATCH };

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

/* Give `count` of the pages at hand back to all. */
static void spill(struct cpu *c, unsigned count)
{
    spin_lock(&page_lock);
    for (; count > 0 && c->free_pages != NULL; count--) {
        struct page *p = c->free_pages;
        c->free_pages = p->owner;
        c->free_count--;
        p->owner = NULL;
        buddy_free(&buddy, p);
    }
    spin_unlock(&page_lock);
}

static void put_at_hand(struct cpu *c, struct page *p)
{
    *p = (struct page){.owner = c->free_pages};
    list_init(&p->link);
    c->free_pages = p;
    c->free_count++;
}

/* Take some pages at hand, a block if there is one: the first of them, or NULL. */
static COLD struct page *refill(struct cpu *c)
{
    unsigned order = AT_HAND_ORDER;
    spin_lock(&page_lock);
    struct page *p = buddy_alloc(&buddy, order);
    if (p == NULL)
        p = buddy_alloc(&buddy, order = 0);
    spin_unlock(&page_lock);
    for (unsigned i = p != NULL ? 1u << order : 0; i > 0; i--)
        put_at_hand(c, p + i - 1);
    return c->free_pages;
}

static struct page *alloc_one(void)
{
    struct cpu *c = this_cpu();
    struct page *p = c->free_pages;
    if (UNLIKELY(p == NULL) && (p = refill(c)) == NULL)
        return NULL;
    c->free_pages = p->owner;
    c->free_count--;
    p->owner = NULL;
    p->refs = 1;
    return p;
}

static struct page *alloc_block(unsigned order)
{
    spin_lock(&page_lock);
    struct page *p = buddy_alloc(&buddy, order);
    spin_unlock(&page_lock);
    return p;
}

static COLD struct page *alloc_short(unsigned order)
{
    enum { SHRINK_EXTRA = 32, SHRINK_TRIES = 8 };
    for (int i = 0; i <= SHRINK_TRIES; i++) {
        spill(this_cpu(), AT_HAND_MAX); // they may complete a block
        struct page *p = alloc_block(order);
        if (p != NULL)
            return p;
        if (!shrink((1u << order) + SHRINK_EXTRA))
            return NULL;
    }
    return NULL;
}

struct page *page_alloc(unsigned order)
{
    struct page *p = order == 0 ? alloc_one() : alloc_block(order);
    return LIKELY(p != NULL) ? p : alloc_short(order);
}

struct page *page_alloc_zero(unsigned order)
{
    struct page *p = page_alloc(order);
    if (p == NULL)
        return NULL;
    void *to = page_virt(p);
    size_t words = ((size_t)PAGE_SIZE << order) / 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0) : "memory");
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
    if (p->order > 0) {
        spin_lock(&page_lock);
        buddy_free(&buddy, p);
        spin_unlock(&page_lock);
        return;
    }
    struct cpu *c = this_cpu();
    if (UNLIKELY(c->free_count >= AT_HAND_MAX))
        spill(c, AT_HAND_BATCH);
    put_at_hand(c, p);
}

void mem_stats_get(struct mem_stats *ret)
{
    spin_lock(&page_lock);
    *ret = (struct mem_stats){.total_bytes = buddy.total_pages << PAGE_SHIFT,
                              .free_bytes = buddy.free_pages << PAGE_SHIFT};
    spin_unlock(&page_lock);
    for (unsigned i = 0; i < cpu_count; i++) {
        if (cpus[i] != NULL)
            ret->free_bytes += (uint64_t)cpus[i]->free_count << PAGE_SHIFT;
    }
    ret->cache_bytes = pagecache_clean_bytes();
}
