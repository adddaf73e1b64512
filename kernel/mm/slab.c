// SPDX-License-Identifier: Apache-2.0
/* kmalloc: one cache a size class, each slab one page whose free objects are chained through their
 * first word. What does not fit into a class is a block of pages. Each CPU has some free objects of
 * each class at hand (cpu->slab), taken and given back without a lock: tasks and work only.
 *
 * In a slab's struct page: owner = its class, index = first free object, state = objects in use,
 * link = place in the class's list of slabs with room. */
#include "base/mem.h"
#include "kernel/arch/x86_64/cpu.h"
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

_Static_assert(ARRAY_LEN(classes) == SLAB_CLASSES, "cpu.h");

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

/* How many free objects a CPU may have at hand: a page's worth, within bounds. */
static unsigned hand_max(const struct slab_class *c)
{
    enum { HAND_MIN = 2, HAND_MAX = 16 };
    return MAX(MIN(PAGE_SIZE / c->bytes, (uint32_t)HAND_MAX), (uint32_t)HAND_MIN);
}

/* One object of a slab with room; c->lock held and partial not empty. */
static void *take_object(struct slab_class *c)
{
    struct page *p = LIST_ENTRY(c->partial.next, struct page, link);
    void *object = (void *)p->index;
    p->index = *(uint64_t *)object;
    c->empty -= p->state == 0;
    p->state++;
    if (p->index == 0)
        list_remove(&p->link);
    return object;
}

/* One object, and some to have at hand as far as slabs with room are there. */
static COLD void *slab_refill(struct slab_class *c)
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
    void *object = take_object(c);
    __auto_type hand = &this_cpu()->slab[c - classes];
    for (unsigned n = hand_max(c) / 2; n > 0 && !list_empty(&c->partial); n--) {
        void **more = take_object(c);
        *more = hand->first;
        hand->first = more;
        hand->count++;
    }
    spin_unlock(&c->lock);
    return object;
}

static void *slab_alloc(struct slab_class *c)
{
    __auto_type hand = &this_cpu()->slab[c - classes];
    void **object = hand->first;
    if (UNLIKELY(object == NULL))
        return slab_refill(c);
    hand->first = *object;
    hand->count--;
    return object;
}

/* Back into its slab, with c->lock. True: the slab is the caller's to put. */
static bool put_object(struct slab_class *c, struct page *p, void *object)
{
    ASSERT(p->state > 0);
    if (p->index == 0)
        list_push_front(&c->partial, &p->link);
    *(uint64_t *)object = p->index;
    p->index = (uint64_t)object;
    p->state--;
    if (p->state > 0 || c->empty++ < EMPTY_KEPT)
        return false;
    c->empty--;
    list_remove(&p->link);
    return true;
}

static struct page *page_of_object(const void *object)
{
    return page_of((void *)ALIGN_DOWN((uintptr_t)object, (uintptr_t)PAGE_SIZE));
}

/* This CPU has too many of c at hand: half go back. */
static COLD void slab_spill(struct slab_class *c)
{
    __auto_type hand = &this_cpu()->slab[c - classes];
    struct list drop;
    list_init(&drop);
    spin_lock(&c->lock);
    for (unsigned n = hand->count / 2; n > 0; n--) {
        void **object = hand->first;
        struct page *p = page_of_object(object);
        hand->first = *object;
        hand->count--;
        if (put_object(c, p, object))
            list_push_back(&drop, &p->link);
    }
    spin_unlock(&c->lock);
    for (struct list *n; (n = list_pop_front(&drop)) != NULL;)
        page_put(LIST_ENTRY(n, struct page, link));
}

static void slab_free(struct slab_class *c, void **object)
{
    __auto_type hand = &this_cpu()->slab[c - classes];
    *object = hand->first;
    hand->first = object;
    if (UNLIKELY(++hand->count > hand_max(c)))
        slab_spill(c);
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
    struct page *page = page_of_object(p);
    if (page->flags == PAGE_SLAB)
        slab_free(page->owner, p);
    else
        page_put(page);
}
