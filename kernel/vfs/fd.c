// SPDX-License-Identifier: Apache-2.0
/* A table is a directory of chunks that only grows: a chunk once made stays where it is, so that
 * nothing is copied but the small directory. table->lock is a leaf: nothing is taken under it. */
#include "kernel/vfs/fd.h"

#include "base/mem.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/record.h"

enum {
    CHUNK_SHIFT = 8,
    CHUNK_FDS = 1 << CHUNK_SHIFT,
    CHUNK_WORDS = CHUNK_FDS / 64,
    DIR_FIRST = 4, // chunks a new table has room for
};

struct fd_chunk {
    struct file *files[CHUNK_FDS]; // NULL: free or reserved
    uint64_t open[CHUNK_WORDS];
    uint64_t cloexec[CHUNK_WORDS];
};

struct fdtable {
    struct spinlock lock;  // protects all below but refs
    uint32_t refs;         // atomic
    uint32_t limit;        // new descriptors are below it
    uint32_t free_hint;    // no free descriptor is below it
    uint32_t dir_max;      // chunk pointers dir has room for
    struct fd_chunk **dir; // NULL entries: no descriptor there yet
};

struct fdtable *fdtable_new(void)
{
    struct fdtable *t = kzalloc(sizeof(*t));
    if (t == NULL)
        return NULL;
    t->dir = kzalloc(DIR_FIRST * sizeof(*t->dir));
    if (t->dir == NULL) {
        kfree(t);
        return NULL;
    }
    t->refs = 1;
    t->limit = FD_LIMIT_DEFAULT;
    t->dir_max = DIR_FIRST;
    return t;
}

static struct fd_chunk *chunk_of(const struct fdtable *t, uint32_t fd)
{
    uint32_t n = fd >> CHUNK_SHIFT;
    return n < t->dir_max ? t->dir[n] : NULL;
}

/* The same for a descriptor that is known to have a chunk. */
static struct fd_chunk *chunk_have(const struct fdtable *t, uint32_t fd)
{
    struct fd_chunk *c = chunk_of(t, fd);
    ASSERT(c != NULL);
    return c;
}

static bool bit_test(const uint64_t *words, uint32_t bit)
{
    return (words[bit / 64] >> (bit % 64)) & 1;
}

static void bit_set(uint64_t *words, uint32_t bit, bool on)
{
    if (on)
        words[bit / 64] |= 1ull << (bit % 64);
    else
        words[bit / 64] &= ~(1ull << (bit % 64));
}

/* First free descriptor >= fd (may be >= limit); lock held. */
static uint32_t find_free(const struct fdtable *t, uint32_t fd)
{
    while (fd < t->limit) {
        const struct fd_chunk *c = chunk_of(t, fd);
        if (c == NULL)
            return fd;
        uint32_t in = fd % CHUNK_FDS;
        uint64_t taken = c->open[in / 64] | ((1ull << (in % 64)) - 1);
        if (taken != UINT64_MAX)
            return fd - in % 64 + (uint32_t)__builtin_ctzll(~taken);
        fd += 64 - in % 64;
    }
    return fd;
}

/* Make sure that fd has a chunk. Drops and retakes the lock when it must allocate: 0 nothing
 * changed, 1 the lock was dropped (look again), -ENOMEM. */
static int chunk_make(struct fdtable *t, uint32_t fd)
{
    uint32_t n = fd >> CHUNK_SHIFT;
    if (n < t->dir_max && t->dir[n] != NULL)
        return 0;
    uint32_t dir_max = t->dir_max;
    while (dir_max <= n)
        dir_max *= 2;
    spin_unlock(&t->lock);
    struct fd_chunk *c = kzalloc(sizeof(*c));
    struct fd_chunk **dir = kzalloc(dir_max * sizeof(struct fd_chunk *));
    spin_lock(&t->lock);
    if (c == NULL || dir == NULL) {
        kfree(c);
        kfree(dir);
        return -ENOMEM;
    }
    if (dir_max > t->dir_max) {
        memcpy(dir, t->dir, t->dir_max * sizeof(struct fd_chunk *));
        struct fd_chunk **old = t->dir;
        t->dir = dir;
        t->dir_max = dir_max;
        dir = old;
    }
    if (t->dir[n] == NULL) {
        t->dir[n] = c;
        c = NULL;
    }
    kfree(c);
    kfree(dir);
    return 1;
}

static void fd_mark(struct fdtable *t, uint32_t fd, bool cloexec)
{
    struct fd_chunk *c = chunk_have(t, fd);
    bit_set(c->open, fd % CHUNK_FDS, true);
    bit_set(c->cloexec, fd % CHUNK_FDS, cloexec);
}

/* Reserve the lowest free descriptor >= min: it, -EMFILE or -ENOMEM. Lock held, perhaps dropped in
 * between. */
static int reserve_locked(struct fdtable *t, uint32_t min, bool cloexec)
{
    for (;;) {
        uint32_t fd = find_free(t, MAX(min, t->free_hint));
        if (fd >= t->limit)
            return -EMFILE;
        int r = chunk_make(t, fd);
        if (r < 0)
            return r;
        if (r == 1)
            continue;
        fd_mark(t, fd, cloexec);
        if (min <= t->free_hint)
            t->free_hint = fd + 1;
        return (int)fd;
    }
}

static struct fdtable *table(void)
{
    return current()->process->files;
}

uint32_t fdtable_limit(struct fdtable *t)
{
    return __atomic_load_n(&t->limit, __ATOMIC_RELAXED);
}

void fdtable_limit_set(struct fdtable *t, uint32_t limit)
{
    spin_lock(&t->lock);
    t->limit = MIN(limit, (uint32_t)FD_LIMIT_MAX);
    spin_unlock(&t->lock);
}

/* A descriptor of the table is gone: with it go the process's record locks on the object. */
static void close_file(struct fdtable *t, struct file *f)
{
    if (f == NULL)
        return;
    record_drop(f, t);
    file_put(f);
}

_Static_assert(FD_LIMIT_MAX < INT32_MAX, "no chunk is that of a negative descriptor");

ALWAYS_INLINE struct file *lookup(struct fdtable *t, int fd)
{
    struct file *f = NULL;
    spin_lock(&t->lock);
    const struct fd_chunk *c = chunk_of(t, (uint32_t)fd);
    if (LIKELY(c != NULL)) {
        f = c->files[(uint32_t)fd % CHUNK_FDS];
        if (LIKELY(f != NULL))
            file_get(f);
    }
    spin_unlock(&t->lock);
    return f;
}

struct file *fdtable_file(struct fdtable *t, int fd)
{
    return lookup(t, fd);
}

struct file *fd_get(int fd)
{
    return lookup(table(), fd);
}

struct file *fd_get_io(int fd)
{
    struct file *f = lookup(table(), fd);
    if (f != NULL && UNLIKELY(f->flags & FILE_PATH)) {
        file_put(f);
        return NULL;
    }
    return f;
}

int fd_install(struct file *f, int min, bool cloexec)
{
    struct fdtable *t = table();
    spin_lock(&t->lock);
    int fd = reserve_locked(t, (uint32_t)min, cloexec);
    if (fd >= 0)
        chunk_have(t, (uint32_t)fd)->files[fd % CHUNK_FDS] = f;
    spin_unlock(&t->lock);
    return fd;
}

int fd_reserve(bool cloexec)
{
    struct fdtable *t = table();
    spin_lock(&t->lock);
    int fd = reserve_locked(t, 0, cloexec);
    spin_unlock(&t->lock);
    return fd;
}

void fd_publish(int fd, struct file *f)
{
    struct fdtable *t = table();
    spin_lock(&t->lock);
    struct fd_chunk *c = chunk_have(t, (uint32_t)fd);
    ASSERT(c->files[fd % CHUNK_FDS] == NULL);
    c->files[fd % CHUNK_FDS] = f;
    spin_unlock(&t->lock);
}

/* Free the slot; returns the file that was there (its reference is the caller's now). Lock held. */
static struct file *slot_clear(struct fdtable *t, uint32_t fd)
{
    struct fd_chunk *c = chunk_have(t, fd);
    struct file *f = c->files[fd % CHUNK_FDS];
    c->files[fd % CHUNK_FDS] = NULL;
    bit_set(c->open, fd % CHUNK_FDS, false);
    bit_set(c->cloexec, fd % CHUNK_FDS, false);
    t->free_hint = MIN(t->free_hint, fd);
    return f;
}

void fd_unreserve(int fd)
{
    struct fdtable *t = table();
    spin_lock(&t->lock);
    ASSERT(slot_clear(t, (uint32_t)fd) == NULL);
    spin_unlock(&t->lock);
}

int fd_close(int fd)
{
    struct fdtable *t = table();
    struct file *f = NULL;
    spin_lock(&t->lock);
    const struct fd_chunk *c = fd >= 0 ? chunk_of(t, (uint32_t)fd) : NULL;
    if (c != NULL && c->files[fd % CHUNK_FDS] != NULL)
        f = slot_clear(t, (uint32_t)fd);
    spin_unlock(&t->lock);
    if (f == NULL)
        return -EBADF;
    close_file(t, f);
    return 0;
}

int fd_replace(int to, struct file *f, bool cloexec)
{
    struct fdtable *t = table();
    struct file *old = NULL;
    uint32_t fd = (uint32_t)to;
    spin_lock(&t->lock);
    int r;
    do {
        r = to < 0 || fd >= t->limit ? -EBADF : chunk_make(t, fd);
    } while (r == 1);
    if (r == 0) {
        struct fd_chunk *c = chunk_have(t, fd);
        old = c->files[fd % CHUNK_FDS];
        if (old == NULL && bit_test(c->open, fd % CHUNK_FDS)) {
            r = -EBUSY; // reserved by a call in progress, as Linux do_dup2
        } else {
            fd_mark(t, fd, cloexec);
            c->files[fd % CHUNK_FDS] = f;
        }
    }
    spin_unlock(&t->lock);
    if (r < 0)
        return r;
    close_file(t, old);
    return to;
}

static int cloexec(struct fdtable *t, int fd, int set)
{
    int r = -EBADF;
    spin_lock(&t->lock);
    struct fd_chunk *c = fd >= 0 ? chunk_of(t, (uint32_t)fd) : NULL;
    if (c != NULL && c->files[fd % CHUNK_FDS] != NULL) {
        r = bit_test(c->cloexec, (uint32_t)fd % CHUNK_FDS);
        if (set >= 0)
            bit_set(c->cloexec, (uint32_t)fd % CHUNK_FDS, set > 0);
    }
    spin_unlock(&t->lock);
    return r;
}

int fd_cloexec(int fd, int set)
{
    return cloexec(table(), fd, set);
}

int fdtable_cloexec(struct fdtable *t, int fd)
{
    return cloexec(t, fd, -1);
}

/* First open descriptor >= fd with a file, or UINT32_MAX; lock held. */
static uint32_t next_open(const struct fdtable *t, uint64_t fd)
{
    for (; fd < (uint64_t)t->dir_max << CHUNK_SHIFT; fd++) {
        const struct fd_chunk *c = chunk_of(t, (uint32_t)fd);
        if (c == NULL)
            fd |= CHUNK_FDS - 1;
        else if (c->files[fd % CHUNK_FDS] != NULL)
            return (uint32_t)fd;
    }
    return UINT32_MAX;
}

int fd_next(struct fdtable *t, int fd)
{
    spin_lock(&t->lock);
    uint32_t next = next_open(t, (uint32_t)fd);
    spin_unlock(&t->lock);
    return next == UINT32_MAX ? -1 : (int)next;
}

void fd_range(uint32_t first, uint32_t last, bool only_cloexec)
{
    struct fdtable *t = table();
    spin_lock(&t->lock);
    for (uint64_t at = first;; at++) {
        uint32_t fd = next_open(t, at);
        if (fd > last || fd == UINT32_MAX)
            break;
        if (only_cloexec) {
            bit_set(chunk_have(t, fd)->cloexec, fd % CHUNK_FDS, true);
        } else {
            struct file *f = slot_clear(t, fd);
            spin_unlock(&t->lock);
            close_file(t, f);
            spin_lock(&t->lock);
        }
        at = fd;
    }
    spin_unlock(&t->lock);
}

void fdtable_close_on_exec(struct fdtable *t)
{
    spin_lock(&t->lock);
    for (uint64_t at = 0;; at++) {
        uint32_t fd = next_open(t, at);
        if (fd == UINT32_MAX)
            break;
        at = fd;
        if (!bit_test(chunk_have(t, fd)->cloexec, fd % CHUNK_FDS))
            continue;
        struct file *f = slot_clear(t, fd);
        spin_unlock(&t->lock);
        close_file(t, f);
        spin_lock(&t->lock);
    }
    spin_unlock(&t->lock);
}

/* What chunk n of `from` holds, into the fresh chunk c. Descriptors that a call in progress has
 * reserved stay with it. */
static void chunk_copy(struct fdtable *from, uint32_t n, struct fd_chunk *c)
{
    spin_lock(&from->lock);
    const struct fd_chunk *old = from->dir[n];
    for (uint32_t i = 0; i < CHUNK_FDS; i++) {
        if (old->files[i] == NULL)
            continue;
        c->files[i] = file_get(old->files[i]);
        bit_set(c->open, i, true);
        bit_set(c->cloexec, i, bit_test(old->cloexec, i));
    }
    spin_unlock(&from->lock);
}

struct fdtable *fdtable_copy(struct fdtable *from)
{
    struct fdtable *t = kzalloc(sizeof(*t));
    if (t == NULL)
        return NULL;
    spin_lock(&from->lock);
    t->dir_max = from->dir_max;
    t->limit = from->limit;
    spin_unlock(&from->lock);
    t->refs = 1;
    t->dir = kzalloc(t->dir_max * sizeof(*t->dir));
    if (t->dir == NULL) {
        kfree(t);
        return NULL;
    }
    for (uint32_t n = 0; n < t->dir_max; n++) {
        spin_lock(&from->lock);
        bool there = from->dir[n] != NULL;
        spin_unlock(&from->lock);
        if (!there)
            continue;
        t->dir[n] = kzalloc(sizeof(struct fd_chunk));
        if (t->dir[n] == NULL) {
            fdtable_put(t);
            return NULL;
        }
        chunk_copy(from, n, t->dir[n]);
    }
    return t;
}

struct fdtable *fdtable_get(struct fdtable *t)
{
    __atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

bool fdtable_shared(const struct fdtable *t)
{
    return __atomic_load_n(&t->refs, __ATOMIC_ACQUIRE) > 1;
}

void fdtable_put(struct fdtable *t)
{
    if (t == NULL || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (uint32_t n = 0; n < t->dir_max; n++) {
        struct fd_chunk *c = t->dir[n];
        for (unsigned i = 0; c != NULL && i < CHUNK_FDS; i++)
            close_file(t, c->files[i]);
        kfree(c);
    }
    kfree(t->dir);
    kfree(t);
}
