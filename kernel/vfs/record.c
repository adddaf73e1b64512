// SPDX-License-Identifier: Apache-2.0
/* One lock and one queue for all record locks: they are rare and short. record_lock is a leaf. */
#include "kernel/vfs/record.h"

#include "base/errno.h"
#include "base/list.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/file.h"

enum { BUCKETS = 64, DEADLOCK_STEPS = 10 }; // Linux MAX_DEADLK_ITERATIONS

struct held { // a lock
    struct list link;
    const void *key; // the object
    struct record r;
};

struct waiting { // who sleeps for one
    struct list link;
    const void *owner, *blocker; // blocker: of the lock in the way, NULL an open file's
};

static struct spinlock record_lock;
static struct list buckets[BUCKETS];                  // protected by record_lock: struct held
static struct list sleepers = {&sleepers, &sleepers}; // protected by record_lock: struct waiting
static struct waitq record_waitq = {
    .waiters = {&record_waitq.waiters, &record_waitq.waiters},
};
unsigned record_count;

/* What the locks lie on. Pipes and their like have no inode, but ends that share their object. */
static const void *key_of(const struct file *f)
{
    return f->inode != NULL ? (const void *)f->inode : f->priv;
}

static struct list *bucket_of(const void *key)
{
    struct list *b = &buckets[((uintptr_t)key >> 6) % BUCKETS];
    if (b->next == NULL)
        list_init(b);
    return b;
}

// --- record_lock held ---

static bool overlaps(const struct record *a, const struct record *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static struct held *conflict(struct list *bucket, const void *key, const struct record *want)
{
    LIST_FOR_EACH (at, bucket) {
        struct held *h = LIST_ENTRY(at, struct held, link);
        if (h->key == key && h->r.owner != want->owner && overlaps(&h->r, want) &&
            (h->r.exclusive || want->exclusive))
            return h;
    }
    return NULL;
}

/* Whether the owner of the lock in the way waits, through others, for the one who asks. */
static bool would_deadlock(const void *owner, const void *blocker)
{
    for (unsigned i = 0; i < DEADLOCK_STEPS && blocker != NULL; i++) {
        if (blocker == owner)
            return true;
        const void *next = NULL;
        LIST_FOR_EACH (at, &sleepers)
            if (LIST_ENTRY(at, struct waiting, link)->owner == blocker)
                next = LIST_ENTRY(at, struct waiting, link)->blocker;
        blocker = next;
    }
    return false;
}

static void held_remove(struct held *h, struct list *freed)
{
    list_remove(&h->link);
    list_push_back(freed, &h->link);
    __atomic_fetch_sub(&record_count, 1, __ATOMIC_RELAXED);
}

/* Behind the owner's locks that begin before it, or behind all: the order in which F_GETLK finds
 * them. */
static void held_insert(struct list *bucket, struct held *h)
{
    struct list *behind = NULL;
    LIST_FOR_EACH (at, bucket) {
        const struct held *other = LIST_ENTRY(at, struct held, link);
        if (other->key != h->key || other->r.owner != h->r.owner)
            continue;
        if (other->r.first > h->r.first) {
            behind = behind != NULL ? behind : at->prev;
            break;
        }
        behind = at;
    }
    if (behind != NULL)
        list_insert_after(behind, &h->link);
    else
        list_push_back(bucket, &h->link);
    __atomic_fetch_add(&record_count, 1, __ATOMIC_RELAXED);
}

/* Cut the range out of a lock of the same owner; *spare becomes what is left behind it. */
static void cut(struct list *bucket, struct held *h, const struct record *range,
                struct held **spare, struct list *freed)
{
    bool before = h->r.first<range->first, behind = h->r.last> range->last;
    if (before && behind) {
        struct held *rest = TAKE(*spare);
        rest->key = h->key;
        rest->r = h->r;
        rest->r.first = range->last + 1;
        h->r.last = range->first - 1;
        held_insert(bucket, rest);
    } else if (before) {
        h->r.last = range->first - 1;
    } else if (behind) {
        h->r.first = range->last + 1;
    } else {
        held_remove(h, freed);
    }
}

/* Put the owner's own locks in order for the new one: equal neighbours join it, others give way. */
static void apply(struct list *bucket, const void *key, struct record want, bool unlock,
                  struct held *spare[static 2], struct list *freed)
{
    struct list *at = bucket->next;
    while (at != bucket) {
        struct held *h = LIST_ENTRY(at, struct held, link);
        at = at->next;
        if (h->key != key || h->r.owner != want.owner)
            continue;
        bool same = !unlock && h->r.exclusive == want.exclusive;
        bool touches = h->r.last >= want.first - (want.first > 0) &&
                       h->r.first <= want.last + (want.last < INT64_MAX);
        if (same && touches) {
            want.first = MIN(want.first, h->r.first);
            want.last = MAX(want.last, h->r.last);
            held_remove(h, freed);
        } else if (!same && overlaps(&h->r, &want)) {
            cut(bucket, h, &want, &spare[0], freed);
        }
    }
    if (unlock)
        return;
    struct held *fresh = TAKE(spare[1]);
    fresh->key = key;
    fresh->r = want;
    held_insert(bucket, fresh);
}

// --- asking ---

struct request {
    const void *key;
    const struct record *want;
    bool unlock;
    struct held *spare[2];
    struct waiting waiting;
    struct list freed;
    int result;
};

/* One go: true when there is a result. */
static bool attempt(struct request *q, bool wait)
{
    struct list *bucket;
    spin_lock(&record_lock);
    bucket = bucket_of(q->key);
    list_remove(&q->waiting.link);
    struct held *in_way = q->unlock ? NULL : conflict(bucket, q->key, q->want);
    q->result = 0;
    if (in_way == NULL) {
        apply(bucket, q->key, *q->want, q->unlock, q->spare, &q->freed);
    } else if (!wait) {
        q->result = -EAGAIN;
    } else {
        // Locks of open files cannot be told whose turn it is: Linux posix_locks_deadlock.
        bool plain = q->want->pid >= 0 && in_way->r.pid >= 0;
        q->waiting.owner = q->want->owner;
        q->waiting.blocker = plain ? in_way->r.owner : NULL;
        if (plain && would_deadlock(q->want->owner, in_way->r.owner))
            q->result = -EDEADLK;
        else
            list_push_back(&sleepers, &q->waiting.link);
    }
    bool done = in_way == NULL || q->result < 0;
    spin_unlock(&record_lock);
    return done;
}

static void free_all(struct list *freed)
{
    struct list *at;
    while ((at = list_pop_front(freed)) != NULL)
        kfree(LIST_ENTRY(at, struct held, link));
}

int record_set(struct file *f, const struct record *want, bool unlock, bool wait)
{
    struct request q = {.key = key_of(f), .want = want, .unlock = unlock};
    list_init(&q.freed);
    list_init(&q.waiting.link);
    q.spare[0] = kzalloc(sizeof(struct held));
    q.spare[1] = kzalloc(sizeof(struct held));
    int r = -ENOMEM;
    if (q.spare[0] != NULL && q.spare[1] != NULL) {
        bool done = false;
        r = WAIT_EVENT(&record_waitq, EV_IN, (done = done || attempt(&q, wait)), DEADLINE_NEVER,
                       true);
        if (!done) { // a signal: we sleep for nothing any more
            spin_lock(&record_lock);
            list_remove(&q.waiting.link);
            spin_unlock(&record_lock);
        }
        r = done ? q.result : -ERESTARTSYS;
    }
    kfree(q.spare[0]);
    kfree(q.spare[1]);
    free_all(&q.freed);
    if (r == 0) // a lock may have become smaller or weaker
        waitq_wake(&record_waitq, EV_IN, UINT32_MAX);
    return r;
}

bool record_test(struct file *f, const struct record *want, struct record *ret)
{
    const void *key = key_of(f);
    spin_lock(&record_lock);
    const struct held *h = conflict(bucket_of(key), key, want);
    if (h != NULL)
        *ret = h->r;
    spin_unlock(&record_lock);
    return h != NULL;
}

void record_drop_slow(struct file *f, const void *owner)
{
    const void *key = key_of(f);
    struct list freed;
    list_init(&freed);
    spin_lock(&record_lock);
    struct list *bucket = bucket_of(key), *at = bucket->next;
    while (at != bucket) {
        struct held *h = LIST_ENTRY(at, struct held, link);
        at = at->next;
        if (h->key == key && h->r.owner == owner)
            held_remove(h, &freed);
    }
    spin_unlock(&record_lock);
    bool some = !list_empty(&freed);
    free_all(&freed);
    if (some)
        waitq_wake(&record_waitq, EV_IN, UINT32_MAX);
}
