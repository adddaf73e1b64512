// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/pagecache.h"

#include "base/errno.h"
#include "base/mem.h"
#include "kernel/drivers/block.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/vfs.h"

enum {
    NODE_SHIFT = 6,
    NODE_SLOTS = 1 << NODE_SHIFT,
    HEIGHT_MAX = 9,    // 54 bits of page index: more than any file has
    WINDOW_FIRST = 16, // pages read around a random place, doubling while reading goes on in order
};
_Static_assert((int)WINDOW_FIRST <= (int)BLOCK_SEGS_MAX, "a window is one request");

struct node {
    void *slots[NODE_SLOTS];
};

static struct spinlock lru_lock;
static struct list lru = {&lru, &lru}; // protected by lru_lock; oldest first
static uint64_t lru_pages;             // protected by lru_lock

// --- the tree of pages: pc->lock held ---

static uint64_t tree_max(const struct pagecache *pc)
{
    return (1ull << (NODE_SHIFT * pc->height)) - 1;
}

static unsigned slot_of(uint64_t index, unsigned level)
{
    return (unsigned)(index >> (NODE_SHIFT * (level - 1))) % NODE_SLOTS;
}

static struct page *tree_get(const struct pagecache *pc, uint64_t index)
{
    if (pc->root == NULL || index > tree_max(pc))
        return NULL;
    void *at = pc->root;
    for (unsigned level = pc->height; level > 0 && at != NULL; level--)
        at = ((struct node *)at)->slots[slot_of(index, level)];
    return at;
}

static bool node_empty(const struct node *n)
{
    for (unsigned i = 0; i < NODE_SLOTS; i++)
        if (n->slots[i] != NULL)
            return false;
    return true;
}

/* Empty the slot and free the nodes that hold nothing any more. */
static void tree_del(struct pagecache *pc, uint64_t index)
{
    void **path[HEIGHT_MAX + 1];
    void **at = &pc->root;
    unsigned level = pc->height;
    for (; level > 0 && *at != NULL; level--) {
        path[level] = at;
        at = &((struct node *)*at)->slots[slot_of(index, level)];
    }
    *at = NULL;
    for (level++; level <= pc->height && node_empty(*path[level]); level++) {
        kfree(*path[level]);
        *path[level] = NULL;
    }
    if (pc->root == NULL)
        pc->height = 0;
}

/* 0 or -ENOMEM. Allocates under the lock: the shrinker only tries locks. */
static int tree_put(struct pagecache *pc, uint64_t index, struct page *p)
{
    while (index > tree_max(pc)) {
        if (pc->root != NULL) {
            struct node *n = kzalloc(sizeof(*n));
            if (n == NULL)
                return -ENOMEM;
            n->slots[0] = pc->root;
            pc->root = n;
        }
        pc->height++;
        ASSERT(pc->height <= HEIGHT_MAX);
    }
    void **at = &pc->root;
    for (unsigned level = pc->height; level > 0; level--) {
        if (*at == NULL && (*at = kzalloc(sizeof(struct node))) == NULL) {
            tree_del(pc, index);
            return -ENOMEM;
        }
        at = &((struct node *)*at)->slots[slot_of(index, level)];
    }
    ASSERT(*at == NULL);
    *at = p;
    return 0;
}

/* First page with an index >= *index, which moves to it; NULL when there is none. */
static struct page *tree_next(const struct pagecache *pc, uint64_t *index)
{
    while (pc->root != NULL && *index <= tree_max(pc)) {
        void *at = pc->root;
        unsigned level = pc->height;
        for (; level > 0 && at != NULL; level--)
            at = ((struct node *)at)->slots[slot_of(*index, level)];
        if (at != NULL)
            return at;
        // Nothing below the empty slot at this level: step over all that it would hold.
        uint64_t span = 1ull << (NODE_SHIFT * level);
        *index = ALIGN_DOWN(*index, span) + span;
    }
    return NULL;
}

// --- clean pages that may be dropped ---

static void lru_add(struct pagecache *pc, struct page *p)
{
    spin_lock(&lru_lock);
    spin_lock(&pc->lock);
    bool there = tree_get(pc, p->index) == p; // else it was truncated away
    spin_unlock(&pc->lock);
    if (there) {
        __atomic_fetch_or(&p->state, PG_LRU, __ATOMIC_RELAXED);
        list_push_back(&lru, &p->link);
        lru_pages++;
    }
    spin_unlock(&lru_lock);
}

static void lru_del_locked(struct page *p)
{
    if (p->state & PG_LRU) {
        __atomic_fetch_and(&p->state, (uint16_t)~PG_LRU, __ATOMIC_RELAXED);
        list_remove(&p->link);
        lru_pages--;
    }
}

static void lru_del(struct page *p)
{
    spin_lock(&lru_lock);
    lru_del_locked(p);
    spin_unlock(&lru_lock);
}

uint64_t pagecache_clean_bytes(void)
{
    return __atomic_load_n(&lru_pages, __ATOMIC_RELAXED) * PAGE_SIZE;
}

/* Take a page that nobody uses out of its cache; lru_lock held. */
static bool shrink_one(struct page *p)
{
    struct pagecache *pc = p->owner;
    if (!spin_trylock(&pc->lock))
        return false;
    bool idle = __atomic_load_n(&p->refs, __ATOMIC_ACQUIRE) == 1 && tree_get(pc, p->index) == p;
    if (idle)
        tree_del(pc, p->index);
    spin_unlock(&pc->lock);
    return idle;
}

/* Second chance: a page used since the last look goes to the back once. */
static size_t shrink(size_t pages)
{
    size_t freed = 0;
    if (!spin_trylock(&lru_lock))
        return 0;
    for (uint64_t looks = 2 * lru_pages; looks > 0 && freed < pages && !list_empty(&lru); looks--) {
        struct page *p = LIST_ENTRY(lru.next, struct page, link);
        if (__atomic_fetch_and(&p->state, (uint16_t)~PG_USED, __ATOMIC_RELAXED) & PG_USED ||
            !shrink_one(p)) {
            list_remove(&p->link);
            list_push_back(&lru, &p->link);
            continue;
        }
        lru_del_locked(p);
        page_put(p);
        freed++;
    }
    spin_unlock(&lru_lock);
    return freed;
}

void pagecache_module_init(void)
{
    static struct shrinker s = {.shrink = shrink};
    shrinker_register(&s);
}

// --- reading from the disk ---

/* A page in the tree, with a reference for the caller, or NULL. */
static struct page *find(struct pagecache *pc, uint64_t index)
{
    spin_lock(&pc->lock);
    struct page *p = tree_get(pc, index);
    if (p != NULL)
        page_get(p);
    spin_unlock(&pc->lock);
    return p;
}

/* Take a page that could not be read out of the tree, so that the next reader tries again. */
static void forget(struct pagecache *pc, struct page *p)
{
    spin_lock(&pc->lock);
    bool there = tree_get(pc, p->index) == p;
    if (there)
        tree_del(pc, p->index);
    spin_unlock(&pc->lock);
    if (there)
        page_put(p);
}

/* The same, but a page that could not be read some time ago (ahead of a reader) is given up first.
 */
static struct page *find_fresh(struct pagecache *pc, uint64_t index)
{
    struct page *p = find(pc, index);
    uint16_t state = p != NULL ? __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) : 0;
    if ((state & (PG_ERROR | PG_READING)) != PG_ERROR)
        return p;
    forget(pc, p);
    page_put(p);
    return NULL;
}

/* Put a new page that is being read at index, with a second reference for its reader: it, or NULL
 * when there is one already or memory is short. */
static struct page *insert_reading(struct pagecache *pc, uint64_t index)
{
    struct page *p = page_alloc(0);
    if (p == NULL)
        return NULL;
    p->owner = pc;
    p->index = index;
    __atomic_store_n(&p->state, PG_READING, __ATOMIC_RELAXED);
    list_init(&p->link);
    spin_lock(&pc->lock);
    bool fresh = tree_get(pc, index) == NULL && tree_put(pc, index, p) == 0;
    if (fresh)
        page_get(p);
    spin_unlock(&pc->lock);
    if (!fresh) {
        page_put(p);
        return NULL;
    }
    return p;
}

/* The data has arrived or not: publish it. The caller holds a reference. */
static void read_done(struct page *p, int status)
{
    struct pagecache *pc = p->owner;
    uint64_t start = p->index * PAGE_SIZE;
    uint64_t valid = __atomic_load_n(&pc->disk_bytes, __ATOMIC_RELAXED);
    valid = valid > start ? MIN(valid - start, (uint64_t)PAGE_SIZE) : 0;
    if (status == 0) {
        memset((char *)page_virt(p) + valid, 0, PAGE_SIZE - valid);
        lru_add(pc, p);
    }
    __atomic_fetch_or(&p->state, status == 0 ? PG_UPTODATE : PG_ERROR, __ATOMIC_RELEASE);
    __atomic_fetch_and(&p->state, (uint16_t)~PG_READING, __ATOMIC_RELEASE);
}

static void request_done(struct block_req *req, int status)
{
    struct pagecache *pc = req->ctx;
    for (unsigned i = 0; i < req->seg_count; i++) {
        struct page *p = page_of(virt_of(req->segs[i].phys));
        read_done(p, status);
        page_put(p);
    }
    kfree(req);
    waitq_wake(&pc->wait, EV_IN, 1);
    if (pc->io_end != NULL)
        pc->io_end(pc);
}

/* Read count pages from index on, as many as are not there yet, in one request. */
static void read_plain(struct pagecache *pc, uint64_t index, unsigned count)
{
    struct block_req *req = kzalloc(sizeof(*req));
    if (req == NULL)
        return;
    while (req->seg_count < count) {
        struct page *p = insert_reading(pc, index + req->seg_count);
        if (p == NULL)
            break;
        req->segs[req->seg_count++] = (struct block_seg){.phys = page_phys(p), .bytes = PAGE_SIZE};
    }
    if (req->seg_count == 0) {
        kfree(req);
        return;
    }
    req->offset = pc->data_at + index * PAGE_SIZE;
    req->done = request_done;
    req->ctx = pc;
    if (pc->io_begin != NULL)
        pc->io_begin(pc);
    block_submit(pc->dev, req);
}

/* The last piece of a file lies behind its inode, in a block of metadata. */
static void read_tail(struct pagecache *pc, uint64_t index)
{
    struct page *p = insert_reading(pc, index);
    if (p == NULL)
        return;
    struct page *block;
    int r = pagecache_get(pc->meta, pc->tail_at / PAGE_SIZE, &block);
    if (r == 0) {
        size_t in = pc->tail_at % PAGE_SIZE;
        memcpy(page_virt(p), (char *)page_virt(block) + in, PAGE_SIZE - in);
        page_put(block);
    }
    read_done(p, r);
    page_put(p);
    waitq_wake(&pc->wait, EV_IN, 1);
}

/* Read the window behind the last one, without waiting, and mark where the reader gets into it: the
 * device works while the reader copies. */
static void read_ahead(struct pagecache *pc)
{
    uint64_t first = __atomic_load_n(&pc->read_next, __ATOMIC_RELAXED);
    uint64_t end = MIN(first + BLOCK_SEGS_MAX, (pc->plain_bytes + PAGE_SIZE - 1) / PAGE_SIZE);
    if (first >= end)
        return;
    read_plain(pc, first, (unsigned)(end - first));
    __atomic_store_n(&pc->read_next, end, __ATOMIC_RELAXED);
    struct page *p = find(pc, first);
    if (p != NULL) {
        __atomic_fetch_or(&p->state, PG_AHEAD, __ATOMIC_RELAXED);
        page_put(p);
    }
}

/* A page was looked up that says something about what comes next. */
static void looked_up(struct pagecache *pc, struct page *p)
{
    __atomic_fetch_or(&p->state, PG_USED, __ATOMIC_RELAXED);
    if (__atomic_fetch_and(&p->state, (uint16_t)~PG_AHEAD, __ATOMIC_RELAXED) & PG_AHEAD)
        read_ahead(pc);
}

/* What to read for the page at index: *ret_first and how many. A reader that goes on in order gets
 * twice the last window (*ret_ordered), another the missing pages around its place. */
static unsigned window(struct pagecache *pc, uint64_t index, uint64_t *ret_first,
                       bool *ret_ordered)
{
    uint32_t last = __atomic_load_n(&pc->read_window, __ATOMIC_RELAXED);
    uint64_t first = index, end = (pc->plain_bytes + PAGE_SIZE - 1) / PAGE_SIZE;
    *ret_ordered = index != 0 && index == __atomic_load_n(&pc->read_next, __ATOMIC_RELAXED);
    if (*ret_ordered) {
        last = MIN(last * 2, (uint32_t)BLOCK_SEGS_MAX);
        end = MIN(end, index + last);
    } else {
        spin_lock(&pc->lock);
        while (first % WINDOW_FIRST != 0 && tree_get(pc, first - 1) == NULL)
            first--;
        spin_unlock(&pc->lock);
        end = MIN(end, ALIGN_DOWN(index, (uint64_t)WINDOW_FIRST) + WINDOW_FIRST);
    }
    uint32_t pages = (uint32_t)(end - first);
    __atomic_store_n(&pc->read_window, MAX(pages, (uint32_t)WINDOW_FIRST), __ATOMIC_RELAXED);
    __atomic_store_n(&pc->read_next, end, __ATOMIC_RELAXED);
    *ret_first = first;
    return pages;
}

void pagecache_prefetch(struct pagecache *pc, uint64_t first, uint64_t end)
{
    enum { PREFETCH_MAX = 512 }; // 2 MiB, as Linux bounds it by the device's read-ahead
    if (pc->dev == NULL)
        return;
    end = MIN(end, first + PREFETCH_MAX);
    end = MIN(end, pc->plain_bytes / PAGE_SIZE);
    while (first < end) {
        struct page *there = find(pc, first);
        if (there != NULL) {
            page_put(there);
            first++;
            continue;
        }
        unsigned count = (unsigned)MIN(end - first, (uint64_t)BLOCK_SEGS_MAX);
        read_plain(pc, first, count);
        first += count;
    }
}

static bool still_reading(const struct page *p)
{
    return (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) & PG_READING) != 0;
}

/* Wait for the page's data: 0 or -EIO (and the reference is gone). */
static int wait_read(struct pagecache *pc, struct page *p)
{
    if (still_reading(p)) {
        int r = WAIT_EVENT(&pc->wait, EV_IN, !still_reading(p), DEADLINE_NEVER, false);
        ASSERT(r == 0);
    }
    if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) & PG_ERROR) {
        forget(pc, p);
        page_put(p);
        return -EIO;
    }
    return 0;
}

static bool on_disk(const struct pagecache *pc, uint64_t index)
{
    return pc->dev != NULL &&
           index * PAGE_SIZE < __atomic_load_n(&pc->disk_bytes, __ATOMIC_ACQUIRE);
}

int pagecache_get(struct pagecache *pc, uint64_t index, struct page **ret)
{
    struct page *p = find_fresh(pc, index);
    for (unsigned tries = 0; p == NULL; tries++) {
        if (!on_disk(pc, index))
            return -ENOENT;
        if (tries == 2)
            return -ENOMEM; // nothing could be inserted twice: memory is short
        if (index * PAGE_SIZE < pc->plain_bytes) {
            uint64_t first;
            bool ordered;
            unsigned pages = window(pc, index, &first, &ordered);
            read_plain(pc, first, pages);
            if (ordered)
                read_ahead(pc);
        } else {
            read_tail(pc, index);
        }
        p = find(pc, index);
    }
    int r = wait_read(pc, p);
    if (r < 0)
        return r;
    if ((p->state & (PG_USED | PG_AHEAD)) != PG_USED)
        looked_up(pc, p);
    *ret = p;
    return 0;
}

/* Put a zeroed dirty page at index unless there is one. 0 or -ENOMEM. */
static int insert_dirty(struct pagecache *pc, uint64_t index, struct page **ret, bool *ret_new)
{
    struct page *p = page_alloc_zero(0);
    if (p == NULL)
        return -ENOMEM;
    p->owner = pc;
    p->index = index;
    __atomic_store_n(&p->state, PG_UPTODATE | PG_DIRTY, __ATOMIC_RELAXED);
    list_init(&p->link);
    int r = 0;
    spin_lock(&pc->lock);
    struct page *there = tree_get(pc, index);
    if (there == NULL)
        r = tree_put(pc, index, p);
    if (there == NULL && r == 0) {
        page_get(p);
        pc->dirty++;
        *ret = p;
        *ret_new = true;
    }
    spin_unlock(&pc->lock);
    if (r < 0 || there != NULL)
        page_put(p);
    return there != NULL ? -EEXIST : r;
}

/* Make a page of the tree dirty: false when it has left the tree meanwhile. */
static bool make_dirty(struct pagecache *pc, struct page *p, bool *ret_new)
{
    lru_del(p);
    spin_lock(&pc->lock);
    bool there = tree_get(pc, p->index) == p;
    *ret_new = there && (p->state & PG_DIRTY) == 0;
    if (*ret_new) {
        __atomic_fetch_or(&p->state, PG_DIRTY, __ATOMIC_RELAXED);
        pc->dirty++;
    }
    spin_unlock(&pc->lock);
    return there;
}

int pagecache_get_dirty(struct pagecache *pc, uint64_t index, bool whole, struct page **ret,
                        bool *ret_new)
{
    *ret_new = false;
    for (;;) {
        struct page *p = find_fresh(pc, index);
        int r = 0;
        if (p != NULL)
            r = wait_read(pc, p);
        else if (!whole && on_disk(pc, index))
            r = pagecache_get(pc, index, &p);
        else
            r = -ENOENT;
        if (r == -ENOENT) {
            r = insert_dirty(pc, index, ret, ret_new);
            if (r == -EEXIST)
                continue;
            return r;
        }
        if (r < 0)
            return r;
        if ((p->state & PG_DIRTY) != 0 || make_dirty(pc, p, ret_new)) {
            *ret = p;
            return 0;
        }
        page_put(p);
    }
}

uint64_t pagecache_drop(struct pagecache *pc, uint64_t first, uint64_t last)
{
    uint64_t dirty = 0;
    for (uint64_t index = first; index <= last; index++) {
        spin_lock(&pc->lock);
        struct page *p = tree_next(pc, &index);
        if (p == NULL || index > last) {
            spin_unlock(&pc->lock);
            break;
        }
        tree_del(pc, index);
        bool was_dirty = (p->state & PG_DIRTY) != 0;
        pc->dirty -= was_dirty;
        dirty += was_dirty;
        spin_unlock(&pc->lock);
        lru_del(p);
        page_put(p);
    }
    return dirty;
}

uint64_t pagecache_next(struct pagecache *pc, uint64_t from)
{
    spin_lock(&pc->lock);
    const struct page *p = tree_next(pc, &from);
    spin_unlock(&pc->lock);
    return p != NULL ? from : UINT64_MAX;
}

void pagecache_init(struct pagecache *pc)
{
    *pc = (struct pagecache){0};
    waitq_init(&pc->wait);
}

void pagecache_deinit(struct pagecache *pc)
{
    (void)pagecache_drop(pc, 0, UINT64_MAX - 1);
    ASSERT(pc->root == NULL);
}
