// SPDX-License-Identifier: Apache-2.0
/* kmalloc: one cache a size class, each slab one page whose free objects are chained through their
 * first word. What does not fit into a class is a block of pages.
 *
 * In a slab's struct page: owner = its class, index = first free object, state = objects in use,
 * link = place in the class's list of slabs with room. */
#include "base/mem.h"
#include "kernel/mm/buddy.h"
#include "kernel/sched/lock.h"

struct slab_class {
    struct spinlock lock;
    uint32_t bytes;
    struct list partial; // slabs with a free object; protected by lock
    unsigned empty;      // slabs in partial without an object; protected by lock
};

#define CLASS(i, n) [i] = {.bytes = (n), .partial = {&classes[i].partial, &classes[i].partial}}
static struct slab_class classes[] = {CLASS(0, 16),  CLASS(1, 32),   CLASS(2, 48),   CLASS(3, 64),
                                      CLASS(4, 96),  CLASS(5, 128),  CLASS(6, 192),  CLASS(7, 256),
                                      CLASS(8, 512), CLASS(9, 1024), CLASS(10, 2048)};

enum { SMALL_MAX = 2048, EMPTY_KEPT = 1, BLOCK_MAX = 128 * 1024 };

static struct slab_class *class_for(size_t bytes)
{
    static const uint8_t small[] = {0, 0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6}; // by 16 bytes up to 192
    if (bytes <= 192)
        return &classes[small[(bytes + 15) / 16]];
    return &classes[7 + (bytes > 256) + (bytes > 512) + (bytes > 1024)];
}

static struct page *slab_new(struct slab_class *c)
{
    struct page *p = page_alloc(0);
    if (p == NULL)
        return NULL;
    uint8_t *start = page_virt(p);
    uint8_t *last = start + (PAGE_SIZE / c->bytes - 1) * c->bytes;
    for (uint8_t *object = start; object < last; object += c->bytes)
        *(void **)(void *)object = object + c->bytes;
    *(void **)(void *)last = NULL;
    p->flags = PAGE_SLAB;
    p->owner = c;
    p->index = (uint64_t)start;
    p->state = 0;
    return p;
}

static void *slab_alloc(struct slab_class *c)
{
    spin_lock(&c->lock);
    if (list_empty(&c->partial)) {
        spin_unlock(&c->lock); // page_alloc may shrink caches, which frees objects
        struct page *fresh = slab_new(c);
        if (fresh == NULL)
            return NULL;
        spin_lock(&c->lock);
        list_push_front(&c->partial, &fresh->link);
        c->empty++;
    }
    struct page *p = LIST_ENTRY(c->partial.next, struct page, link);
    void *object = (void *)p->index;
    p->index = *(uint64_t *)object;
    c->empty -= p->state == 0;
    p->state++;
    if (p->index == 0)
        list_remove(&p->link);
    spin_unlock(&c->lock);
    return object;
}

static void slab_free(struct page *p, void *object)
{
    struct slab_class *c = p->owner;
    struct page *drop = NULL;
    spin_lock(&c->lock);
    ASSERT(p->state > 0);
    if (p->index == 0)
        list_push_front(&c->partial, &p->link);
    *(uint64_t *)object = p->index;
    p->index = (uint64_t)object;
    p->state--;
    if (p->state == 0 && c->empty++ >= EMPTY_KEPT) {
        c->empty--;
        list_remove(&p->link);
        drop = p;
    }
    spin_unlock(&c->lock);
    if (drop != NULL)
        page_put(drop);
}

void *kmalloc(size_t bytes)
{
    if (LIKELY(bytes <= SMALL_MAX))
        return slab_alloc(class_for(bytes));
    if (bytes > BLOCK_MAX)
        return NULL;
    unsigned order = 0;
    while (((size_t)PAGE_SIZE << order) < bytes)
        order++;
    struct page *p = page_alloc(order);
    return p != NULL ? page_virt(p) : NULL;
}

void *kzalloc(size_t bytes)
{
    void *p = kmalloc(bytes);
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

void kfree(void *p)
{
    if (p == NULL)
        return;
    struct page *page = page_of((void *)ALIGN_DOWN((uintptr_t)p, (uintptr_t)PAGE_SIZE));
    if (page->flags == PAGE_SLAB)
        slab_free(page, p);
    else
        page_put(page);
}
