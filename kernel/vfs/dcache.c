// SPDX-License-Identifier: Apache-2.0
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/notify.h"
#include "kernel/vfs/tree.h"

enum { BUCKETS = 1024, INODE_BUCKETS = 256 };

static struct spinlock dcache_lock;
static struct list buckets[BUCKETS];             // protected by dcache_lock
static struct list inode_buckets[INODE_BUCKETS]; // protected by dcache_lock
static struct list lru;                          // protected by dcache_lock; oldest first
static unsigned lru_count;                       // protected by dcache_lock
static unsigned lru_max;                         // immutable after dcache_init

void dcache_init(uint64_t memory_pages)
{
    lru_max = (unsigned)MIN(memory_pages / 8, (uint64_t)DENTRIES_MAX); // some 5 % of the memory
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&buckets[i]);
    for (unsigned i = 0; i < INODE_BUCKETS; i++)
        list_init(&inode_buckets[i]);
    list_init(&lru);
    lru_count = 0;
}

/* FNV-1a over the name, started with the directory. */
static uint32_t hash_name(const struct dentry *dir, const char *name, size_t len)
{
    uint32_t h = 2166136261u ^ (uint32_t)((uintptr_t)dir >> 5);
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    return h;
}

static struct list *bucket_of(uint32_t hash)
{
    return &buckets[(hash ^ hash >> 16) % BUCKETS];
}

// --- inodes ---

struct inode *inode_get(struct inode *inode)
{
    spin_lock(&dcache_lock);
    inode->refs++;
    spin_unlock(&dcache_lock);
    return inode;
}

static void inode_free(struct inode *inode)
{
    struct super *sb = inode->sb;
    if (sb->ops->inode_free != NULL)
        sb->ops->inode_free(inode);
    memfs_uncharge(sb, inode->pages.dirty);
    __atomic_fetch_sub(&sb->inodes_used, 1, __ATOMIC_RELAXED);
    pagecache_deinit(&inode->pages);
    kfree(inode->target);
    xattrs_free(inode->xattrs);
    kfree(inode);
}

void inode_put(struct inode *inode)
{
    if (inode == NULL)
        return;
    spin_lock(&dcache_lock);
    ASSERT(inode->refs > 0);
    bool last = --inode->refs == 0;
    if (last)
        list_remove(&inode->hash);
    spin_unlock(&dcache_lock);
    if (last)
        inode_free(inode);
}

static void io_begin(struct pagecache *pc)
{
    inode_get(CONTAINER_OF(pc, struct inode, pages));
}

static void io_end(struct pagecache *pc)
{
    inode_put(CONTAINER_OF(pc, struct inode, pages));
}

struct inode *inode_new(struct super *sb, uint64_t ino, uint32_t mode)
{
    struct inode *inode = kzalloc(sizeof(*inode));
    if (inode == NULL)
        return NULL;
    inode->sb = sb;
    inode->ino = ino;
    inode->mode = mode;
    inode->refs = 1;
    inode->nlink = 1;
    uint64_t now = clock_real_ns();
    inode->atime_ns = inode->mtime_ns = inode->ctime_ns = inode->btime_ns = now;
    mutex_init(&inode->lock);
    list_init(&inode->hash);
    list_init(&inode->uppers);
    pagecache_init(&inode->pages);
    inode->pages.io_begin = io_begin;
    inode->pages.io_end = io_end;
    __atomic_fetch_add(&sb->inodes_used, 1, __ATOMIC_RELAXED);
    return inode;
}

static struct list *inode_bucket(uint64_t nid)
{
    return &inode_buckets[nid % INODE_BUCKETS];
}

struct inode *inode_find(struct super *sb, uint64_t nid)
{
    struct inode *found = NULL;
    spin_lock(&dcache_lock);
    LIST_FOR_EACH (at, inode_bucket(nid)) {
        struct inode *inode = LIST_ENTRY(at, struct inode, hash);
        if (inode->sb == sb && inode->lower.nid == nid) {
            inode->refs++;
            found = inode;
            break;
        }
    }
    spin_unlock(&dcache_lock);
    return found;
}

void inode_hash(struct inode *inode)
{
    spin_lock(&dcache_lock);
    list_push_back(inode_bucket(inode->lower.nid), &inode->hash);
    spin_unlock(&dcache_lock);
}

void memfs_pin(struct inode *inode)
{
    if (!inode->has_lower || __atomic_load_n(&inode->pinned, __ATOMIC_RELAXED))
        return;
    spin_lock(&dcache_lock);
    if (!inode->pinned) {
        inode->pinned = true;
        inode->refs++;
    }
    spin_unlock(&dcache_lock);
}

void inode_unpin(struct inode *inode)
{
    spin_lock(&dcache_lock);
    bool pinned = inode->pinned;
    inode->pinned = false;
    spin_unlock(&dcache_lock);
    if (pinned)
        inode_put(inode);
}

// --- dentries ---

static int name_set(struct dentry *d, const char *name, size_t len)
{
    char *to = d->inline_name;
    if (len >= DENTRY_INLINE && (to = kmalloc(len + 1)) == NULL)
        return -ENOMEM;
    memcpy(to, name, len);
    to[len] = 0;
    d->name = to;
    d->name_len = (uint8_t)len;
    return 0;
}

struct dentry *dentry_new(struct super *sb, struct dentry *parent, const char *name, size_t len,
                          struct inode *inode)
{
    ASSERT(len <= NAME_MAX_BYTES);
    struct dentry *d = kzalloc(sizeof(*d));
    if (d == NULL)
        return NULL;
    if (name_set(d, name, len) < 0) {
        kfree(d);
        return NULL;
    }
    d->sb = sb;
    d->refs = 1;
    d->inode = inode;
    list_init(&d->hash);
    list_init(&d->lru);
    list_init(&d->upper_link);
    d->parent = parent != NULL ? dentry_get(parent) : d;
    d->name_hash = hash_name(d->parent, name, len);
    return d;
}

struct dentry *dentry_get(struct dentry *d)
{
    spin_lock(&dcache_lock);
    ASSERT(d->refs > 0);
    d->refs++;
    spin_unlock(&dcache_lock);
    return d;
}

/* Free a dentry that nobody can reach; returns its parent, whose reference is the caller's now. */
static struct dentry *dentry_free(struct dentry *d)
{
    struct dentry *parent = d->parent;
    ASSERT(parent != d);
    if (notify_on() && d->inode != NULL && d->inode->nlink == 0)
        notify_gone_slow(d->inode);
    inode_put(d->inode);
    if (d->name != d->inline_name)
        kfree(d->name);
    kfree(d);
    return parent;
}

static void lru_off(struct dentry *d)
{
    if (d->flags & DENTRY_LRU) {
        d->flags &= (uint8_t)~DENTRY_LRU;
        list_remove(&d->lru);
        lru_count--;
    }
}

/* Nobody holds d any more: what is to be freed now, or NULL. Lock held. */
static struct dentry *retire(struct dentry *d)
{
    if ((d->flags & DENTRY_HASHED) == 0)
        return d;
    if (d->flags & (DENTRY_UPPER | DENTRY_WHITEOUT))
        return NULL;
    d->flags |= DENTRY_LRU;
    list_push_back(&lru, &d->lru);
    if (++lru_count <= lru_max)
        return NULL;
    d = LIST_ENTRY(lru.next, struct dentry, lru);
    lru_off(d);
    list_remove(&d->hash);
    d->flags &= (uint8_t)~DENTRY_HASHED;
    return d;
}

void dentry_put(struct dentry *d)
{
    while (d != NULL) {
        struct dentry *dead = NULL;
        spin_lock(&dcache_lock);
        ASSERT(d->refs > 0);
        if (--d->refs == 0)
            dead = retire(d);
        spin_unlock(&dcache_lock);
        d = dead != NULL ? dentry_free(dead) : NULL;
    }
}

struct dentry *dentry_find(struct dentry *dir, const char *name, size_t len)
{
    uint32_t hash = hash_name(dir, name, len);
    struct dentry *found = NULL;
    spin_lock(&dcache_lock);
    LIST_FOR_EACH (at, bucket_of(hash)) {
        struct dentry *d = LIST_ENTRY(at, struct dentry, hash);
        if (d->name_hash == hash && d->parent == dir && d->name_len == len &&
            memcmp(d->name, name, len) == 0) {
            lru_off(d);
            d->refs++;
            found = d;
            break;
        }
    }
    spin_unlock(&dcache_lock);
    return found;
}

void dentry_hash(struct dentry *d, uint8_t flags)
{
    spin_lock(&dcache_lock);
    ASSERT((d->flags & DENTRY_HASHED) == 0);
    d->flags |= (uint8_t)(DENTRY_HASHED | flags);
    list_push_front(bucket_of(d->name_hash), &d->hash);
    spin_unlock(&dcache_lock);
}

void dentry_unhash(struct dentry *d)
{
    spin_lock(&dcache_lock);
    list_remove(&d->hash);
    d->flags &= (uint8_t)~DENTRY_HASHED;
    if (d->inode != NULL)
        d->flags |= DENTRY_DELETED;
    spin_unlock(&dcache_lock);
}

int dentry_move(struct dentry *d, struct dentry *to, const char *name, size_t len, uint8_t covers)
{
    char *heap = NULL;
    if (len >= DENTRY_INLINE && (heap = kmalloc(len + 1)) == NULL)
        return -ENOMEM;
    dentry_get(to);
    spin_lock(&dcache_lock);
    list_remove(&d->hash);
    struct dentry *old_parent = d->parent;
    char *old_name = d->name != d->inline_name ? d->name : NULL;
    d->parent = to;
    d->name = heap != NULL ? heap : d->inline_name;
    memcpy(d->name, name, len);
    d->name[len] = 0;
    d->name_len = (uint8_t)len;
    d->name_hash = hash_name(to, name, len);
    d->flags = (uint8_t)((d->flags & ~DENTRY_COVERS) | DENTRY_UPPER | covers);
    list_push_front(bucket_of(d->name_hash), &d->hash);
    spin_unlock(&dcache_lock);
    kfree(old_name);
    dentry_put(old_parent);
    return 0;
}

/* One step up, through mount points. Lock held. */
static struct dentry *up(struct dentry *d)
{
    while (d->parent == d && d->sb->mountpoint != NULL)
        d = d->sb->mountpoint;
    return d->parent;
}

struct dentry *dentry_parent(struct dentry *d)
{
    spin_lock(&dcache_lock);
    struct dentry *p = up(d);
    p->refs++;
    spin_unlock(&dcache_lock);
    return p;
}

struct dentry *dentry_parent_name(struct dentry *d, char *name, size_t *ret_len)
{
    struct dentry *p = NULL;
    spin_lock(&dcache_lock);
    if (d->parent != d) {
        p = d->parent;
        p->refs++;
        *ret_len = d->name_len;
        memcpy(name, d->name, (size_t)d->name_len + 1);
    }
    spin_unlock(&dcache_lock);
    return p;
}

bool dentry_below(struct dentry *d, struct dentry *top)
{
    spin_lock(&dcache_lock);
    while (d != top && d->parent != d)
        d = d->parent;
    spin_unlock(&dcache_lock);
    return d == top;
}

size_t dentry_path(struct dentry *d, char *to, size_t max)
{
    static const char gone[] = " (deleted)";
    size_t at = max - 1; // written from the end
    const struct dentry *root = __atomic_load_n(&fs_current()->root, __ATOMIC_RELAXED);
    spin_lock(&dcache_lock);
    if (d->flags & DENTRY_DELETED && at > sizeof(gone)) {
        at -= sizeof(gone) - 1;
        memcpy(to + at, gone, sizeof(gone) - 1);
    }
    size_t end = at;
    for (;;) {
        while (d->parent == d && d->sb->mountpoint != NULL && d != root)
            d = d->sb->mountpoint;
        if (d->parent == d || d == root || at <= d->name_len)
            break;
        at -= d->name_len;
        memcpy(to + at, d->name, d->name_len);
        to[--at] = '/';
        d = d->parent;
    }
    spin_unlock(&dcache_lock);
    if (at == end && at > 0)
        to[--at] = '/';
    size_t len = max - 1 - at;
    memmove(to, to + at, len);
    to[len] = 0;
    return len;
}
