// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/flock.h"

#include "base/errno.h"
#include "kernel/linux/syscall.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/tree.h"

struct flock_held {
    struct list link;
    const struct file *file;
    unsigned kind; // FLOCK_SHARED or FLOCK_EXCLUSIVE
};

struct flocks {
    struct list held; // never empty
};

/* One lock and one queue for all files: flock is rare and short. */
static struct spinlock flock_lock; // protects inode.flocks and what hangs there
static struct waitq flock_waitq = {
    .waiters = {&flock_waitq.waiters, &flock_waitq.waiters},
};

static struct flock_held *find(const struct inode *inode, const struct file *f)
{
    if (inode->flocks != NULL)
        LIST_FOR_EACH (at, &inode->flocks->held)
            if (LIST_ENTRY(at, struct flock_held, link)->file == f)
                return LIST_ENTRY(at, struct flock_held, link);
    return NULL;
}

static bool conflicts(const struct inode *inode, const struct file *f, unsigned kind)
{
    if (inode->flocks != NULL)
        LIST_FOR_EACH (at, &inode->flocks->held) {
            const struct flock_held *h = LIST_ENTRY(at, struct flock_held, link);
            if (h->file != f && (kind == FLOCK_EXCLUSIVE || h->kind == FLOCK_EXCLUSIVE))
                return true;
        }
    return false;
}

/* Give f's lock back: true when there was one. */
static bool drop(struct file *f)
{
    struct flocks *empty = NULL;
    spin_lock(&flock_lock);
    struct flock_held *h = find(f->inode, f);
    if (h != NULL) {
        list_remove(&h->link);
        if (list_empty(&f->inode->flocks->held))
            empty = TAKE(f->inode->flocks);
    }
    spin_unlock(&flock_lock);
    kfree(empty);
    kfree(h);
    if (h != NULL)
        waitq_wake(&flock_waitq, EV_IN, 1);
    return h != NULL;
}

/* Take the lock if nobody is in the way. Consumes *h and *all when it uses them. */
static bool try_take(struct file *f, unsigned kind, struct flock_held **h, struct flocks **all)
{
    struct inode *inode = f->inode;
    spin_lock(&flock_lock);
    bool ok = !conflicts(inode, f, kind);
    if (ok) {
        if (inode->flocks == NULL)
            inode->flocks = TAKE(*all);
        (*h)->file = f;
        (*h)->kind = kind;
        list_push_back(&inode->flocks->held, &(*h)->link);
        *h = NULL;
    }
    spin_unlock(&flock_lock);
    return ok;
}

static bool has_kind(struct file *f, unsigned kind)
{
    spin_lock(&flock_lock);
    const struct flock_held *h = find(f->inode, f);
    bool same = h != NULL && h->kind == kind;
    spin_unlock(&flock_lock);
    return same;
}

int flock_set(struct file *f, unsigned kind, bool nonblock)
{
    if (has_kind(f, kind))
        return 0;
    (void)drop(f);
    if (kind == FLOCK_NONE)
        return 0;
    struct flock_held *h = kzalloc(sizeof(*h));
    struct flocks *all = kzalloc(sizeof(*all));
    int r = -ENOMEM;
    if (h != NULL && all != NULL) {
        list_init(&all->held);
        list_init(&h->link);
        bool taken = try_take(f, kind, &h, &all);
        r = taken ? 0 : -EAGAIN;
        if (!taken && !nonblock)
            r = WAIT_EVENT(&flock_waitq, EV_IN, (taken = taken || try_take(f, kind, &h, &all)),
                           DEADLINE_NEVER, true);
        if (taken)
            r = 0;
    }
    kfree(h);
    kfree(all);
    return r == -EINTR ? -ERESTARTSYS : r;
}

void flock_file_gone(struct file *f)
{
    if (f->inode != NULL && __atomic_load_n(&f->inode->flocks, __ATOMIC_RELAXED) != NULL)
        (void)drop(f);
}
