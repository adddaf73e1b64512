// SPDX-License-Identifier: Apache-2.0
/* Address spaces. Linux 6.1 mm/mmap.c, mm/mprotect.c and mm/memory.c say what programs expect.
 *
 * A leaf entry of the page tables that is not 0 holds a reference on its page. A page that may not
 * be accessed (PROT_NONE) stays in its entry without PTE_PRESENT. PTE_OWNED marks anonymous pages,
 * others are the page cache's. One with PTE_COW too was shared by mm_fork: it may be written only
 * when the last space but this has let go of it, else its copy. */
#include "kernel/mm/space.h"

#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/pt.h"
#include "kernel/arch/x86_64/tlb.h"
#include "kernel/sched/sched.h"
#include "kernel/vfs/file.h"

enum { PTE_OWNED = 1 << 9, PTE_COW = 1 << 10 };

static uint64_t pte_for(uint64_t phys, const struct vma *v, bool owned)
{
    uint64_t e = phys | PTE_USER | PTE_ACCESSED | (owned ? PTE_OWNED : 0);
    if (v->prot & (MM_READ | MM_WRITE | MM_EXEC))
        e |= PTE_PRESENT;
    if ((v->prot & MM_WRITE) && (owned || v->shared))
        e |= PTE_WRITE | PTE_DIRTY;
    if (!(v->prot & MM_EXEC))
        e |= PTE_NX;
    return e;
}

/* Entries in [start, end) of mm have lost rights: no CPU may go on using them. Returns when none
 * does, so that what they led to may be freed. Task context, with mm->lock. */
static void flush(struct mm *mm, uint64_t start, uint64_t end)
{
    tlb_flush(&mm->cpus, mm->root, start, end);
}

struct mm *mm_new(void)
{
    struct mm *mm = kzalloc(sizeof(*mm));
    if (mm == NULL)
        return NULL;
    mm->refs = mm->holds = 1;
    mutex_init(&mm->lock);
    mm->map_top = USER_END;
    mm->root = pt_root_new();
    if (mm->root == 0) {
        kfree(mm);
        return NULL;
    }
    return mm;
}

/* v, a copy of a mapping that is there, holds its file too. */
static void vma_hold(const struct vma *v)
{
    if (v->file == NULL)
        return;
    file_get(v->file);
    const int r = v->shared ? file_map_shared(v->file) : 0;
    ASSERT(r == 0); // the other keeps the file from being sealed
}

static void vma_free(struct vma *v)
{
    if (v->file != NULL && v->shared)
        file_unmap_shared(v->file);
    file_put(v->file);
    kfree(v);
}

/* Pages whose entries are gone, until no CPU can reach them any more. */
enum { GATHER_MAX = 64 };
struct gather {
    struct mm *mm;
    unsigned count;
    uint64_t start, end; // of their addresses
    struct page *pages[GATHER_MAX];
};

static void gather_flush(struct gather *g)
{
    if (g->count == 0)
        return;
    flush(g->mm, g->start, g->end);
    g->mm->resident -= g->count;
    while (g->count > 0)
        page_put(g->pages[--g->count]);
}

static void zap_leaf(uint64_t *entry, uint64_t address, void *ctx)
{
    struct gather *g = ctx;
    if (g->count == GATHER_MAX)
        gather_flush(g);
    if (g->count == 0)
        g->start = address;
    g->end = address + PAGE_SIZE;
    g->pages[g->count++] = page_of(virt_of(*entry & PTE_ADDR));
    *entry = 0;
}

/* Drop every page in [start, end). */
static void zap(struct mm *mm, uint64_t start, uint64_t end)
{
    struct gather g;
    g.mm = mm;
    g.count = 0;
    pt_for_each(mm->root, start, end, zap_leaf, &g);
    gather_flush(&g);
}

/* Free the page tables that lie wholly in [start, end), where no pages are any more. */
static void free_tables(struct mm *mm, uint64_t start, uint64_t end)
{
    struct list freed;
    list_init(&freed);
    pt_free_tables(mm->root, start, end, &freed);
    if (list_empty(&freed))
        return;
    flush(mm, 0, USER_END); // drops cached upper levels too
    for (struct list *n; (n = list_pop_front(&freed)) != NULL;)
        page_put(LIST_ENTRY(n, struct page, link));
}

static void release(struct mm *mm)
{
    if (__atomic_sub_fetch(&mm->holds, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    pt_root_free(mm->root);
    kfree(mm);
}

void mm_put(struct mm *mm)
{
    if (mm == NULL || __atomic_sub_fetch(&mm->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    for (const struct vma *v = vma_find(&mm->vmas, 0); v != NULL; v = vma_next(v))
        zap(mm, v->start, v->end); // what lies between was never there: not looked at
    free_tables(mm, 0, USER_END + PAGE_SIZE);
    for (struct vma *v; (v = vma_find(&mm->vmas, 0)) != NULL;) {
        vma_remove(&mm->vmas, v);
        vma_free(v);
    }
    release(mm);
}

/* What a CPU holds on to is only the root table, so that the last release may happen in the
 * scheduler. */
void mm_activate(struct mm *mm)
{
    struct cpu *c = this_cpu();
    struct mm *before = c->active_mm;
    if (before == mm && c->mm_loaded)
        return;
    c->active_mm = mm;
    tlb_load(before != NULL ? &before->cpus : NULL, &mm->cpus, mm->root);
    if (before == mm)
        return;
    __atomic_fetch_add(&mm->holds, 1, __ATOMIC_RELAXED);
    if (before != NULL)
        release(before);
}

static struct vma *vma_alloc(void)
{
    return kzalloc(sizeof(struct vma));
}

/* Cut v at `at` if that lies inside it, with *spare, which is used up. */
static void split_at(struct mm *mm, struct vma *v, uint64_t at, struct vma **spare)
{
    if (at <= v->start || at >= v->end)
        return;
    struct vma *upper = TAKE(*spare);
    vma_split(&mm->vmas, v, at, upper);
    vma_hold(upper);
}

/* Cut mappings at both ends of the range, so that it holds whole ones. Everything that can fail
 * fails here. */
static int isolate(struct mm *mm, uint64_t start, uint64_t end)
{
    struct vma *a = vma_find(&mm->vmas, start), *b = vma_find(&mm->vmas, end - 1);
    bool cut_a = a != NULL && a->start < start, cut_b = b != NULL && b->start < end && b->end > end;
    if (mm->vmas.count + cut_a + cut_b > VMAS_MAX)
        return -ENOMEM;
    struct vma *spare_a = cut_a ? vma_alloc() : NULL, *spare_b = cut_b ? vma_alloc() : NULL;
    if ((cut_a && spare_a == NULL) || (cut_b && spare_b == NULL)) {
        kfree(spare_a);
        kfree(spare_b);
        return -ENOMEM;
    }
    if (cut_a)
        split_at(mm, a, start, &spare_a);
    if (cut_b)
        split_at(mm, vma_find(&mm->vmas, end - 1), end, &spare_b);
    return 0;
}

/* Join what has become alike in and around the range. */
static void merge_range(struct mm *mm, uint64_t start, uint64_t end)
{
    for (struct vma *v = vma_find(&mm->vmas, start); v != NULL && v->start <= end;) {
        struct vma *next = vma_next(v);
        if (vma_merge(&mm->vmas, v))
            vma_free(v);
        v = next;
    }
}

static int unmap_locked(struct mm *mm, uint64_t start, uint64_t end)
{
    int r = isolate(mm, start, end);
    if (r < 0)
        return r;
    bool any = false;
    for (struct vma *v; (v = vma_find(&mm->vmas, start)) != NULL && v->start < end;) {
        vma_remove(&mm->vmas, v);
        vma_free(v);
        any = true;
    }
    if (!any)
        return 0;
    zap(mm, start, end);
    // Tables go when no mapping needs them any more.
    const struct vma *next = vma_find(&mm->vmas, start), *before = NULL;
    before = next != NULL         ? vma_prev(next)
             : mm->vmas.count > 0 ? RB_ENTRY(rb_end(&mm->vmas.tree, 1), struct vma, node)
                                  : NULL;
    uint64_t low = before != NULL ? before->end : 0, high = next != NULL ? next->start : USER_END;
    const uint64_t span = 2 << 20;
    low = MAX(ALIGN_DOWN(start, span), ALIGN_UP(low, span));
    high = MIN(ALIGN_UP(end, span), ALIGN_DOWN(high, span));
    if (low < high)
        free_tables(mm, low, high);
    return 0;
}

int mm_unmap(struct mm *mm, uint64_t start, uint64_t end)
{
    mutex_lock(&mm->lock);
    int r = unmap_locked(mm, start, end);
    mutex_unlock(&mm->lock);
    return r;
}

int mm_unmap_file(struct mm *mm, uint64_t start, const char *name, struct file **ret_file)
{
    int r = -EINVAL;
    mutex_lock(&mm->lock);
    const struct vma *v = vma_find(&mm->vmas, start);
    if (v != NULL && v->start == start && v->name == name && v->offset == 0) {
        uint64_t end = v->end;
        *ret_file = v->file;
        while ((v = vma_next(v)) != NULL && v->start == end && v->file == *ret_file &&
               v->offset == end - start) // not another attachment of it
            end = v->end;
        r = unmap_locked(mm, start, end);
    }
    mutex_unlock(&mm->lock);
    return r;
}

/* Where a new mapping goes: 0 with *ret, or -ENOMEM, -EEXIST. */
static int place(struct mm *mm, const struct map_request *q, uint64_t *ret)
{
    if (q->fixed) {
        *ret = q->address;
        bool is_free = vma_free_range(&mm->vmas, q->address, q->address + q->bytes);
        return q->no_replace && !is_free ? -EEXIST : 0;
    }
    uint64_t top = q->low_2gib ? MIN(mm->map_top, 0x80000000ull) : mm->map_top;
    if (q->address >= USER_MIN && q->address <= USER_END - q->bytes &&
        (!q->low_2gib || q->address <= top - q->bytes) &&
        vma_free_range(&mm->vmas, q->address, q->address + q->bytes)) {
        *ret = q->address;
        return 0;
    }
    *ret = vma_gap(&mm->vmas, q->bytes, USER_MIN, top);
    if (*ret == 0 && !q->low_2gib)
        *ret = vma_gap(&mm->vmas, q->bytes, USER_MIN, USER_END);
    return *ret != 0 ? 0 : -ENOMEM;
}

/* Private and writable: what RLIMIT_DATA counts (Linux is_data_mapping). */
static bool is_data(bool shared, bool grows_down, uint8_t prot)
{
    return (prot & MM_WRITE) && !shared && !grows_down;
}

/* Linux may_expand_vm, for `bytes` more of which `replaced` are there already. */
static bool within_limits(struct mm *mm, uint64_t bytes, uint64_t replaced, bool data)
{
    if (mm->as_limit != 0 && mm->vmas.bytes - replaced + bytes > mm->as_limit)
        return false;
    if (mm->data_limit == 0 || !data)
        return true;
    for (const struct vma *v = vma_find(&mm->vmas, 0); v != NULL; v = vma_next(v))
        if (is_data(v->shared, v->grows_down, v->prot))
            bytes += v->end - v->start;
    return bytes <= mm->data_limit;
}

/* Bytes mapped in a range. */
static uint64_t mapped_in(struct mm *mm, uint64_t start, uint64_t end)
{
    uint64_t bytes = 0;
    for (const struct vma *v = vma_find(&mm->vmas, start); v != NULL && v->start < end;
         v = vma_next(v))
        bytes += MIN(v->end, end) - MAX(v->start, start);
    return bytes;
}

static int map_locked(struct mm *mm, const struct map_request *q, uint64_t *ret_address)
{
    uint64_t at;
    if (q->bytes == 0 || q->bytes > USER_END - USER_MIN)
        return q->bytes == 0 ? -EINVAL : -ENOMEM;
    if (q->fixed && (q->address < USER_MIN || q->address > USER_END - q->bytes))
        return q->address < USER_MIN ? -EPERM : -ENOMEM;
    int r = place(mm, q, &at);
    if (r < 0)
        return r;
    if (UNLIKELY((mm->as_limit | mm->data_limit) != 0) &&
        !within_limits(mm, q->bytes, q->fixed ? mapped_in(mm, at, at + q->bytes) : 0,
                       is_data(q->shared, q->grows_down, q->prot)))
        return -ENOMEM;
    struct vma *v = mm->vmas.count < VMAS_MAX ? vma_alloc() : NULL;
    if (v == NULL)
        return -ENOMEM;
    if (q->shared && q->file != NULL)
        r = file_map_shared(q->file);
    if (r == 0 && q->fixed && (r = unmap_locked(mm, at, at + q->bytes)) < 0 && q->shared &&
        q->file != NULL)
        file_unmap_shared(q->file);
    if (r < 0) {
        kfree(v);
        return r;
    }
    *v = (struct vma){.start = at,
                      .end = at + q->bytes,
                      .offset = q->offset,
                      .file = q->file != NULL ? file_get(q->file) : NULL,
                      .name = q->name,
                      .prot = q->prot,
                      .max_prot = q->max_prot,
                      .shared = q->shared,
                      .grows_down = q->grows_down,
                      .fork = q->fork};
    vma_insert(&mm->vmas, v);
    merge_range(mm, at, at + q->bytes);
    *ret_address = at;
    return 0;
}

int mm_map(struct mm *mm, const struct map_request *q, uint64_t *ret_address)
{
    mutex_lock(&mm->lock);
    int r = map_locked(mm, q, ret_address);
    mutex_unlock(&mm->lock);
    return r;
}

bool mm_anonymous_exec = true;

static void owned_leaf(uint64_t *entry, UNUSED uint64_t address, void *ctx)
{
    *(bool *)ctx |= (*entry & PTE_OWNED) != 0;
}

/* May v, which is not executable, become so; or, if it is, writable? */
static int check_exec(struct mm *mm, const struct vma *v, uint8_t prot)
{
    bool written = (prot & MM_WRITE) != 0;
    if (!(prot & MM_EXEC))
        return 0;
    if (v->file == NULL || v->name != NULL) // a name of its own: anonymous shared memory
        return mm_anonymous_exec || v->prot == prot ? 0 : -EACCES;
    if (!mm_anonymous_exec)
        pt_for_each(mm->root, v->start, v->end, owned_leaf, &written);
    if (!mm_anonymous_exec && written)
        return -EACCES;
    return v->prot & MM_EXEC ? 0 : file_claim_exec(v->file);
}

/* Is every page of the range mapped, and may all get this protection? */
static int check_range(struct mm *mm, uint64_t start, uint64_t end, uint8_t prot)
{
    uint64_t at = start;
    for (const struct vma *v = vma_find(&mm->vmas, start); at < end; v = vma_next(v)) {
        if (v == NULL || v->start > at)
            return -ENOMEM;
        if (prot & ~v->max_prot)
            return -EACCES;
        int r = UNLIKELY(prot & MM_EXEC) ? check_exec(mm, v, prot) : 0;
        if (r < 0)
            return r;
        at = v->end;
        if (at >= end)
            break;
    }
    return 0;
}

static void protect_leaf(uint64_t *entry, UNUSED uint64_t address, void *ctx)
{
    const struct vma *v = ctx;
    uint64_t e = pte_for(*entry & PTE_ADDR, v, (*entry & PTE_OWNED) != 0);
    if (*entry & PTE_COW)
        e = (e & ~(uint64_t)PTE_WRITE) | PTE_COW;
    *entry = e;
}

int mm_protect(struct mm *mm, uint64_t start, uint64_t end, uint8_t prot)
{
    mutex_lock(&mm->lock);
    int r = check_range(mm, start, end, prot);
    if (r == 0)
        r = isolate(mm, start, end);
    if (r == 0) {
        for (struct vma *v = vma_find(&mm->vmas, start); v != NULL && v->start < end;
             v = vma_next(v)) {
            if (v->prot == prot)
                continue;
            v->prot = prot;
            pt_for_each(mm->root, v->start, v->end, protect_leaf, v);
        }
        flush(mm, start, end);
        merge_range(mm, start, end);
    }
    mutex_unlock(&mm->lock);
    return r;
}

/* Linux madvise_free_single_vma: private anonymous memory only. */
static bool only_anonymous(struct mm *mm, uint64_t start, uint64_t end)
{
    for (const struct vma *v = vma_find(&mm->vmas, start); v != NULL && v->start < end;
         v = vma_next(v))
        if (v->file != NULL || v->shared)
            return false;
    return true;
}

int mm_discard(struct mm *mm, uint64_t start, uint64_t end, bool anonymous)
{
    mutex_lock(&mm->lock);
    if (anonymous && !only_anonymous(mm, start, end)) {
        mutex_unlock(&mm->lock);
        return -EINVAL;
    }
    int r = check_range(mm, start, end, 0);
    zap(mm, start, end); // Linux drops what is there even with holes in the range
    mutex_unlock(&mm->lock);
    return r;
}

int mm_advise_fork(struct mm *mm, uint64_t start, uint64_t end, uint8_t set, uint8_t clear)
{
    mutex_lock(&mm->lock);
    int r =
        (set & FORK_WIPE) && !only_anonymous(mm, start, end) ? -EINVAL : isolate(mm, start, end);
    if (r == 0) {
        for (struct vma *v = vma_find(&mm->vmas, start); v != NULL && v->start < end;
             v = vma_next(v))
            v->fork = (uint8_t)((v->fork & ~clear) | set);
        merge_range(mm, start, end);
        r = check_range(mm, start, end, 0); // Linux advises what is there even with holes
    }
    mutex_unlock(&mm->lock);
    return r;
}

uint64_t mm_brk(struct mm *mm, uint64_t wish)
{
    mutex_lock(&mm->lock);
    uint64_t old_end = ALIGN_UP(mm->brk, (uint64_t)PAGE_SIZE);
    uint64_t new_end = ALIGN_UP(wish, (uint64_t)PAGE_SIZE);
    int r = 0;
    if (wish < mm->brk_start || wish > USER_END - PAGE_SIZE) {
        r = -ENOMEM;
    } else if (new_end < old_end) {
        r = unmap_locked(mm, new_end, old_end);
    } else if (new_end > old_end) {
        struct map_request q = {.address = old_end,
                                .bytes = new_end - old_end,
                                .prot = MM_READ | MM_WRITE,
                                .max_prot = MM_READ | MM_WRITE | MM_EXEC,
                                .fixed = true,
                                .no_replace = true,
                                .name = "[heap]"};
        // The next mapping above keeps a page of distance.
        r = vma_free_range(&mm->vmas, old_end, new_end + PAGE_SIZE) ? map_locked(mm, &q, &old_end)
                                                                    : -ENOMEM;
    }
    if (r == 0)
        mm->brk = wish;
    uint64_t now = mm->brk;
    mutex_unlock(&mm->lock);
    return now;
}

struct move {
    struct mm *mm;
    uint64_t delta; // new - old
    bool failed;
};

static void move_leaf(uint64_t *entry, uint64_t address, void *ctx)
{
    struct move *m = ctx;
    uint64_t *to = pt_entry(m->mm->root, address + m->delta, true);
    if (to == NULL) { // the page is lost to the program: it reads as never written
        m->failed = true;
        return;
    }
    *to = *entry;
    *entry = 0;
}

/* Move the pages of [old, old + bytes) to the same place of a new mapping at `to`. The tables are
 * made first, so that nothing fails half way. */
static int move_pages(struct mm *mm, uint64_t old, uint64_t to, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += PAGE_SIZE) {
        const uint64_t *e = pt_entry(mm->root, old + at, false);
        if (e != NULL && *e != 0 && pt_entry(mm->root, to + at, true) == NULL)
            return -ENOMEM;
    }
    struct move m = {.mm = mm, .delta = to - old};
    pt_for_each(mm->root, old, old + bytes, move_leaf, &m);
    ASSERT(!m.failed);
    flush(mm, old, old + bytes);
    return 0;
}

/* The mapping that a remap is about: Linux vma_to_resize. */
static int remap_source(struct mm *mm, const struct remap_request *q, struct vma **ret)
{
    struct vma *v = vma_find(&mm->vmas, q->old);
    if (v == NULL || v->start > q->old)
        return -EFAULT;
    if (q->old_bytes == 0 && (!v->shared || v->file == NULL))
        return -EINVAL; // only what lies in a file can be had twice
    *ret = v;
    return q->old_bytes > v->end - q->old ? -EFAULT : 0;
}

static int remap_move(struct mm *mm, const struct remap_request *q, uint64_t *ret)
{
    struct vma *v;
    int r = remap_source(mm, q, &v);
    if (r < 0)
        return r;
    const struct map_request to = {.address = q->to,
                                   .bytes = q->new_bytes,
                                   .prot = v->prot,
                                   .max_prot = v->max_prot,
                                   .fixed = q->fixed,
                                   .shared = v->shared,
                                   .file = v->file,
                                   .offset = v->offset + (q->old - v->start),
                                   .name = v->name,
                                   .fork = v->fork};
    uint64_t at;
    r = map_locked(mm, &to, &at);
    if (r < 0)
        return r;
    r = move_pages(mm, q->old, at, MIN(q->old_bytes, q->new_bytes));
    if (r == 0 && !q->keep && q->old_bytes > 0)
        r = unmap_locked(mm, q->old, q->old + q->old_bytes);
    if (r < 0) { // moved pages go back: their tables are still there
        (void)!move_pages(mm, at, q->old, MIN(q->old_bytes, q->new_bytes));
        (void)!unmap_locked(mm, at, at + q->new_bytes);
        return r;
    }
    *ret = at;
    return 0;
}

/* Linux mremap_to: to a place that is given, or away from the old one, which is kept. */
static int remap_to(struct mm *mm, struct remap_request *q, uint64_t *ret)
{
    struct vma *v;
    int r = q->fixed ? unmap_locked(mm, q->to, q->to + q->new_bytes) : 0;
    if (r == 0 && q->old_bytes > q->new_bytes) {
        r = unmap_locked(mm, q->old + q->new_bytes, q->old + q->old_bytes);
        q->old_bytes = q->new_bytes;
    }
    r = r < 0 ? r : remap_source(mm, q, &v);
    return r < 0 ? r : remap_move(mm, q, ret);
}

static int remap_locked(struct mm *mm, struct remap_request *q, uint64_t *ret)
{
    struct vma *v = vma_find(&mm->vmas, q->old);
    if (v == NULL || v->start > q->old)
        return -EFAULT;
    if (q->fixed || q->keep)
        return remap_to(mm, q, ret);
    uint64_t old_end = q->old + q->old_bytes;
    if (q->new_bytes <= q->old_bytes) {
        *ret = q->old;
        return q->new_bytes < q->old_bytes ? unmap_locked(mm, q->old + q->new_bytes, old_end) : 0;
    }
    int r = remap_source(mm, q, &v);
    if (r < 0)
        return r;
    if (q->old_bytes > 0 && v->end == old_end && q->new_bytes <= USER_END - q->old &&
        vma_free_range(&mm->vmas, old_end, q->old + q->new_bytes)) {
        vma_resize(&mm->vmas, v, v->start, q->old + q->new_bytes);
        merge_range(mm, q->old, q->old + q->new_bytes);
        *ret = q->old;
        return 0;
    }
    return q->may_move ? remap_move(mm, q, ret) : -ENOMEM;
}

int mm_remap(struct mm *mm, struct remap_request *q, uint64_t *ret_address)
{
    mutex_lock(&mm->lock);
    int r = remap_locked(mm, q, ret_address);
    mutex_unlock(&mm->lock);
    return r;
}

bool mm_is_mapped(struct mm *mm, uint64_t start, uint64_t end)
{
    mutex_lock(&mm->lock);
    bool all = mapped_in(mm, start, end) == end - start;
    mutex_unlock(&mm->lock);
    return all;
}

int mm_present(struct mm *mm, uint64_t start, uint64_t end, uint8_t *ret)
{
    mutex_lock(&mm->lock);
    bool all = mapped_in(mm, start, end) == end - start;
    for (uint64_t at = start; all && at < end; at += PAGE_SIZE) {
        const uint64_t *entry = pt_entry(mm->root, at, false);
        *ret++ = entry != NULL && *entry != 0;
    }
    mutex_unlock(&mm->lock);
    return all ? 0 : -ENOMEM;
}

void mm_shared_object(struct mm *mm, uint64_t address, uint64_t *ret_object, uint64_t *ret_offset)
{
    mutex_lock(&mm->lock);
    const struct vma *v = vma_find(&mm->vmas, address);
    if (v != NULL && v->start <= address && v->shared && v->file != NULL) {
        const struct inode *inode = v->file->inode;
        *ret_object = inode != NULL ? (uint64_t)inode : (uint64_t)v->file;
        *ret_offset = v->offset + (address - v->start);
    }
    mutex_unlock(&mm->lock);
}

struct fork {
    struct mm *to;
    const struct vma *v; // of the parent
    bool failed;
};

/* What can be had from the file again is not copied. */
static void fork_leaf(uint64_t *entry, uint64_t address, void *ctx)
{
    struct fork *f = ctx;
    if (f->failed || (f->v->file != NULL && !(*entry & PTE_OWNED)))
        return;
    uint64_t *e = pt_entry(f->to->root, address, true);
    if (e == NULL) {
        f->failed = true;
        return;
    }
    if ((*entry & PTE_OWNED) && !f->v->shared)
        *entry = (*entry & ~(uint64_t)PTE_WRITE) | PTE_COW;
    page_get(page_of(virt_of(*entry & PTE_ADDR)));
    *e = *entry;
    f->to->resident++;
}

static int fork_locked(struct mm *from, struct mm *to)
{
    for (const struct vma *v = vma_find(&from->vmas, 0); v != NULL; v = vma_next(v)) {
        if (v->fork & FORK_NOT)
            continue;
        struct vma *copy = vma_alloc();
        if (copy == NULL)
            return -ENOMEM;
        *copy = *v;
        vma_hold(copy);
        vma_insert(&to->vmas, copy);
        struct fork f = {.to = to, .v = v};
        if (v->fork & FORK_WIPE)
            continue;
        pt_for_each(from->root, v->start, v->end, fork_leaf, &f);
        if (f.failed)
            return -ENOMEM;
    }
    to->brk_start = from->brk_start;
    to->brk = from->brk;
    to->map_top = from->map_top;
    to->stack_limit = from->stack_limit;
    return 0;
}

int mm_fork(struct mm *from, struct mm **ret)
{
    struct mm *to = mm_new();
    if (to == NULL)
        return -ENOMEM;
    mutex_lock(&from->lock);
    int r = fork_locked(from, to);
    flush(from, 0, USER_END); // its pages are not writable any more
    mutex_unlock(&from->lock);
    if (r < 0)
        mm_put(to);
    else
        *ret = to;
    return r;
}

struct mm *mm_get(struct mm *mm)
{
    __atomic_fetch_add(&mm->refs, 1, __ATOMIC_RELAXED);
    return mm;
}

int mm_install_page(struct mm *mm, uint64_t address, struct page *p)
{
    mutex_lock(&mm->lock);
    struct vma *v = vma_find(&mm->vmas, address);
    ASSERT(v != NULL && v->start <= address);
    uint64_t *e = pt_entry(mm->root, address, true);
    if (e != NULL) {
        ASSERT(*e == 0);
        page_get(p);
        *e = pte_for(page_phys(p), v, false);
        mm->resident++;
    }
    mutex_unlock(&mm->lock);
    return e != NULL ? 0 : -ENOMEM;
}

/* The mapping that a fault at this address falls into, a stack grown to it: or NULL. */
static struct vma *fault_vma(struct mm *mm, uint64_t address)
{
    struct vma *v = vma_find_again(&mm->vmas, address);
    if (v == NULL || v->start <= address)
        return v;
    if (!v->grows_down || v->end - address > mm->stack_limit)
        return NULL;
    const struct vma *below = vma_prev(v);
    uint64_t start = ALIGN_DOWN(address, (uint64_t)PAGE_SIZE);
    uint64_t floor = below != NULL && below->prot != 0 ? below->end + STACK_GUARD_BYTES
                     : below != NULL                   ? below->end
                                                       : USER_MIN;
    if (start < floor)
        return NULL;
    vma_resize(&mm->vmas, v, start, v->end);
    return v;
}

/* A new page of this space's own, as the first touch finds it. */
static int fault_anonymous(struct mm *mm, const struct vma *v, uint64_t *e)
{
    struct page *p = page_alloc_zero(0);
    if (p == NULL)
        return -ENOMEM;
    *e = pte_for(page_phys(p), v, true);
    mm->resident++;
    return 0;
}

static int fault_file(struct mm *mm, const struct vma *v, uint64_t *e, uint64_t address, bool write)
{
    struct page *p;
    uint64_t index =
        (v->offset + (ALIGN_DOWN(address, (uint64_t)PAGE_SIZE) - v->start)) >> PAGE_SHIFT;
    int r = v->file->ops->get_page(v->file, index, write && v->shared, &p);
    if (r < 0)
        return r == -ENOMEM ? r : -EIO;
    bool owned = write && !v->shared;
    if (owned) {
        struct page *copy = page_alloc(0);
        if (copy != NULL)
            memcpy(page_virt(copy), page_virt(p), PAGE_SIZE);
        page_put(p);
        if (copy == NULL)
            return -ENOMEM;
        p = copy;
    }
    *e = pte_for(page_phys(p), v, owned);
    if (v->shared && !write)
        *e &= ~(uint64_t)PTE_WRITE; // the file hears of the first write
    mm->resident++;
    return 0;
}

/* The page is there but not writable: make it ours. */
static int fault_write_present(struct mm *mm, const struct vma *v, uint64_t *e, uint64_t address)
{
    struct page *old = page_of(virt_of(*e & PTE_ADDR));
    if (v->shared) {
        struct page *p = old;
        if (v->file != NULL) {
            zap(mm, ALIGN_DOWN(address, (uint64_t)PAGE_SIZE), address + 1);
            return fault_file(mm, v, e, address, true);
        }
        *e = pte_for(page_phys(p), v, true);
    } else if ((*e & PTE_OWNED) && __atomic_load_n(&old->refs, __ATOMIC_ACQUIRE) == 1) {
        *e = pte_for(page_phys(old), v, true); // more rights: no other CPU need hear of it
        invlpg(address);
        return 0;
    } else {
        struct page *copy = page_alloc(0);
        if (copy == NULL)
            return -ENOMEM;
        memcpy(page_virt(copy), page_virt(old), PAGE_SIZE);
        *e = pte_for(page_phys(copy), v, true);
        flush(mm, ALIGN_DOWN(address, (uint64_t)PAGE_SIZE), address + 1);
        page_put(old);
        return 0;
    }
    flush(mm, ALIGN_DOWN(address, (uint64_t)PAGE_SIZE), address + 1);
    return 0;
}

static int fault_locked(struct mm *mm, uint64_t address, unsigned access)
{
    const struct vma *v = address < USER_END ? fault_vma(mm, address) : NULL;
    if (v == NULL)
        return -EFAULT;
    uint8_t need = access & FAULT_WRITE ? MM_WRITE : access & FAULT_EXEC ? MM_EXEC : 0;
    if ((v->prot & need) != need || v->prot == 0)
        return -EACCES;
    uint64_t *e = pt_entry(mm->root, address, true);
    if (e == NULL)
        return -ENOMEM;
    if (*e == 0)
        return v->file != NULL ? fault_file(mm, v, e, address, access & FAULT_WRITE)
                               : fault_anonymous(mm, v, e);
    if ((access & FAULT_WRITE) && !(*e & PTE_WRITE))
        return fault_write_present(mm, v, e, address);
    invlpg(address); // another thread was faster, or the CPU had an old entry
    return 0;
}

static void give_back_leaf(uint64_t *entry, uint64_t address, void *ctx)
{
    if ((*entry & PTE_OWNED) == 0)
        zap_leaf(entry, address, ctx);
}

/* Unmap what can be had from the files again, so that the page cache may drop it: true when there
 * was something. */
static bool give_back_locked(struct mm *mm)
{
    struct gather g;
    uint64_t before = mm->resident;
    g.mm = mm;
    g.count = 0;
    for (const struct vma *v = vma_find(&mm->vmas, 0); v != NULL; v = vma_next(v))
        if (v->file != NULL && !v->shared)
            pt_for_each(mm->root, v->start, v->end, give_back_leaf, &g);
    gather_flush(&g);
    return mm->resident != before;
}

bool mm_give_back(struct mm *mm)
{
    mutex_lock(&mm->lock);
    bool some = give_back_locked(mm);
    mutex_unlock(&mm->lock);
    return some;
}

int mm_fault(struct mm *mm, uint64_t address, unsigned access)
{
    mutex_lock(&mm->lock);
    int r = fault_locked(mm, address, access);
    if (r == -ENOMEM && give_back_locked(mm))
        r = fault_locked(mm, address, access);
    mutex_unlock(&mm->lock);
    return r;
}

/* One page of a range to populate: how far to go on from there, 0 with *ret_error. */
static uint64_t populate_at(struct mm *mm, uint64_t at, enum populate how, int *ret_error)
{
    const struct vma *v = vma_find(&mm->vmas, at);
    if (v == NULL || v->start > at) {
        *ret_error = how == POPULATE_ALL ? -EFAULT : -ENOMEM;
        return 0;
    }
    if (how == POPULATE_ALL && v->prot == 0)
        return v->end - at; // a reservation holds no pages
    if ((how == POPULATE_READ && !(v->prot & MM_READ)) ||
        (how == POPULATE_WRITE && !(v->prot & MM_WRITE))) {
        *ret_error = -EINVAL; // as Linux check_vma_flags
        return 0;
    }
    bool write =
        how == POPULATE_WRITE || (how == POPULATE_ALL && (v->prot & MM_WRITE) && !v->shared);
    int r = fault_locked(mm, at, write ? FAULT_WRITE : 0);
    *ret_error = r == -ENOMEM ? r : -EFAULT;
    return r == 0 ? PAGE_SIZE : 0;
}

static int read_locked(struct mm *mm, uint64_t from, void *to, size_t n)
{
    uint64_t *e = pt_entry(mm->root, from, false);
    if (e == NULL || *e == 0) {
        int r = fault_locked(mm, from, 0);
        if (r < 0)
            return r == -ENOMEM ? r : -EFAULT;
        e = pt_entry(mm->root, from, false);
    }
    if (e == NULL || !(*e & PTE_PRESENT))
        return -EFAULT;
    memcpy(to, (const char *)virt_of(*e & PTE_ADDR) + from % PAGE_SIZE, n);
    return 0;
}

int mm_read(struct mm *mm, uint64_t from, void *to, size_t n)
{
    int r = 0;
    for (size_t done = 0; done < n && r == 0;) {
        uint64_t at = from + done;
        size_t part = MIN(n - done, PAGE_SIZE - at % PAGE_SIZE);
        mutex_lock(&mm->lock);
        r = at < USER_END ? read_locked(mm, at, (char *)to + done, part) : -EFAULT;
        mutex_unlock(&mm->lock);
        done += part;
    }
    return r;
}

int mm_populate(struct mm *mm, uint64_t start, uint64_t end, enum populate how)
{
    for (uint64_t at = start; at < end;) {
        int error = 0;
        mutex_lock(&mm->lock);
        uint64_t step = populate_at(mm, at, how, &error);
        mutex_unlock(&mm->lock);
        if (step == 0)
            return error;
        at += MIN(step, end - at);
        sched_breathe();
    }
    return 0;
}

int mm_check_mapped(struct mm *mm, uint64_t start, uint64_t end)
{
    mutex_lock(&mm->lock);
    int r = check_range(mm, start, end, 0);
    mutex_unlock(&mm->lock);
    return r;
}

static void count_leaf(UNUSED uint64_t *entry, UNUSED uint64_t address, void *ctx)
{
    *(uint64_t *)ctx += PAGE_SIZE;
}

int mm_for_each(struct mm *mm, int (*fn)(const struct vma_info *v, void *ctx), void *ctx)
{
    int r = 0;
    mutex_lock(&mm->lock);
    for (const struct vma *v = vma_find(&mm->vmas, 0); v != NULL && r == 0; v = vma_next(v)) {
        struct vma_info info = {.start = v->start,
                                .end = v->end,
                                .offset = v->file != NULL ? v->offset : 0,
                                .prot = v->prot,
                                .shared = v->shared,
                                .name = v->name};
        if (info.name == NULL)
            info.name = v->file != NULL ? file_path(v->file) : "";
        pt_for_each(mm->root, v->start, v->end, count_leaf, &info.resident_bytes);
        r = fn(&info, ctx);
    }
    mutex_unlock(&mm->lock);
    return r;
}

void mm_stats_get(struct mm *mm, struct mm_stats *ret)
{
    mutex_lock(&mm->lock);
    *ret = (struct mm_stats){.virtual_bytes = mm->vmas.bytes,
                             .resident_bytes = mm->resident << PAGE_SHIFT};
    for (const struct vma *v = vma_find(&mm->vmas, 0); v != NULL; v = vma_next(v)) {
        uint64_t bytes = v->end - v->start;
        if (v->grows_down)
            ret->stack_bytes += bytes;
        else if (v->prot & MM_EXEC)
            ret->text_bytes += bytes;
        else if ((v->prot & MM_WRITE) && !v->shared)
            ret->data_bytes += bytes;
    }
    mutex_unlock(&mm->lock);
}
