// SPDX-License-Identifier: Apache-2.0
/* Mappings in VMAP: device registers (from its start, never unmapped) and kernel stacks (from
 * VMAP_STACKS, in slots that are used again). */
#include "kernel/mm/vmap.h"

#include "kernel/arch/x86_64/pt.h"
#include "kernel/arch/x86_64/tlb.h"
#include "kernel/mm/layout.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/task.h"

enum {
    SLOT_BYTES = 2 * KSTACK_BYTES, // the lower half is the guard
    SLOTS_MAX = TASKS_MAX + 64,
    STACK_PAGES = KSTACK_BYTES / PAGE_SIZE,
    CACHED_MAX = 32, // free stacks that keep their pages
};

static struct spinlock lock;
static uint64_t mmio_next = VMAP;      // protected by lock
static uint32_t slots_used;            // protected by lock: slots ever handed out
static uint32_t free_slots[SLOTS_MAX]; // protected by lock: a stack of numbers
static uint32_t free_count;            // protected by lock
static uint32_t cached[CACHED_MAX];    // protected by lock: free and still mapped
static uint32_t cached_count;          // protected by lock

volatile void *mmio_map(uint64_t phys, size_t bytes)
{
    uint64_t first = ALIGN_DOWN(phys, (uint64_t)PAGE_SIZE);
    uint64_t end = ALIGN_UP(phys + bytes, (uint64_t)PAGE_SIZE);
    spin_lock(&lock);
    uint64_t at = mmio_next;
    mmio_next += end - first;
    spin_unlock(&lock);
    if (at + (end - first) > VMAP_STACKS)
        return NULL;
    for (uint64_t p = first; p < end; p += PAGE_SIZE)
        if (!kmap_page(at + (p - first), p, PTE_WRITE | PTE_UNCACHED | PTE_NX))
            return NULL;
    return (volatile void *)(at + (phys - first));
}

static uint64_t slot_top(uint32_t slot)
{
    return VMAP_STACKS + (slot + 1ull) * SLOT_BYTES;
}

static void stack_unmap(uint64_t top)
{
    struct page *pages[STACK_PAGES];
    unsigned count = 0;
    for (uint64_t at = top - KSTACK_BYTES; at < top; at += PAGE_SIZE) {
        uint64_t phys = kmap_phys(at);
        if (phys == 0)
            continue;
        kmap_clear(at);
        pages[count++] = page_of(virt_of(phys));
    }
    tlb_flush_kernel(top - KSTACK_BYTES, top);
    while (count > 0)
        page_put(pages[--count]);
}

static bool stack_map(uint64_t top)
{
    for (uint64_t at = top - KSTACK_BYTES; at < top; at += PAGE_SIZE) {
        struct page *p = page_alloc(0);
        if (p != NULL && kmap_page(at, page_phys(p), PTE_WRITE | PTE_NX))
            continue;
        if (p != NULL)
            page_put(p);
        stack_unmap(top);
        return false;
    }
    return true;
}

static void slot_free(uint32_t slot)
{
    spin_lock(&lock);
    free_slots[free_count++] = slot;
    spin_unlock(&lock);
}

uint64_t kstack_new(void)
{
    uint32_t slot;
    bool mapped = false;
    spin_lock(&lock);
    if (cached_count > 0) {
        slot = cached[--cached_count];
        mapped = true;
    } else if (free_count > 0) {
        slot = free_slots[--free_count];
    } else if (slots_used < SLOTS_MAX) {
        slot = slots_used++;
    } else {
        spin_unlock(&lock);
        return 0;
    }
    spin_unlock(&lock);
    if (mapped || stack_map(slot_top(slot)))
        return slot_top(slot);
    slot_free(slot);
    return 0;
}

void kstack_free(uint64_t top)
{
    uint32_t slot = (uint32_t)((top - VMAP_STACKS) / SLOT_BYTES - 1);
    spin_lock(&lock);
    bool keep = cached_count < CACHED_MAX;
    if (keep)
        cached[cached_count++] = slot;
    spin_unlock(&lock);
    if (keep)
        return;
    stack_unmap(top);
    slot_free(slot);
}

uint64_t kstack_new_page(void)
{
    struct page *p = page_alloc(0);
    spin_lock(&lock);
    uint64_t guard = mmio_next;
    mmio_next += 2 * PAGE_SIZE;
    spin_unlock(&lock);
    if (p != NULL && guard + 2 * PAGE_SIZE <= VMAP_STACKS &&
        kmap_page(guard + PAGE_SIZE, page_phys(p), PTE_WRITE | PTE_NX))
        return guard + 2 * PAGE_SIZE;
    if (p != NULL)
        page_put(p);
    return 0;
}

bool kstack_guard_hit(uint64_t address)
{
    return address >= VMAP_STACKS && address < slot_top(SLOTS_MAX) &&
           (address - VMAP_STACKS) % SLOT_BYTES < KSTACK_BYTES;
}
