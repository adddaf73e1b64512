// SPDX-License-Identifier: Apache-2.0
/* Futexes with an owner: the word holds the owner's tid, and unlocking hands it to the longest
 * waiter. Linux 6.1 kernel/futex/pi.c, requeue.c. Nobody's priority is raised, for there are only
 * time-sharing policies here, among which Linux raises nobody's either.
 *
 * Each waiter knows the owner it waits for. All waiters of a word hang in one bucket, whose lock is
 * held when ownership changes. pi_lock is for the walk from owner to owner that finds a deadlock;
 * only who has to wait, or has somebody waiting, takes it. Lock order: futex.h. */
#include "kernel/linux/futex.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"

enum { CHAIN_MAX = 1024, UNSETTLED_MAX = 100 };

static struct spinlock pi_lock;

static struct futex_waiter *first_of(struct futex_bucket *b, struct futex_key k)
{
    LIST_FOR_EACH (node, &b->waiters) {
        struct futex_waiter *w = LIST_ENTRY(node, struct futex_waiter, link);
        if (futex_matches(w, k))
            return w;
    }
    return NULL;
}

/* Change the word under a bucket's lock: 0; -EFAULT the page is away; -EAGAIN it was not `old`. */
static int swap_word(uint64_t user, uint32_t old, uint32_t new)
{
    uint32_t seen = old;
    current()->arch->no_fault++;
    int r = cmpxchg_user(user, &seen, new);
    current()->arch->no_fault--;
    return r < 0 ? r : seen == old ? 0 : -EAGAIN;
}

/* The page was away, and it will be written to. */
static int fault_in_writable(uint64_t user)
{
    uint32_t value;
    if (copy_from_user(&value, user, sizeof(value)) < 0)
        return -EFAULT;
    uint32_t seen = value;
    return cmpxchg_user(user, &seen, value);
}

/* Somebody is going to wait for this owner: 0; -ESRCH; -EPERM; -EBUSY it is just ending. */
static int owner_note(int tid)
{
    struct task *t = task_find(tid);
    int r = t == NULL ? -ESRCH : t->thread == NULL ? -EPERM : t->thread->exiting ? -EBUSY : 0;
    if (r == 0)
        t->thread->pi_waited = true;
    task_find_end();
    return r;
}

/* Take the lock for t, whose bucket is locked. 1: t owns it; 0: it has to wait for *ret_owner;
 * -EFAULT the page is away; -EAGAIN, -EBUSY: begin again; other errors are the call's. */
static int claim(struct futex_bucket *b, struct futex_key k, uint64_t user, const struct task *t,
                 bool more, int *ret_owner)
{
    uint32_t value;
    int r = futex_read(user, &value);
    if (r < 0)
        return r;
    const int owner = (int)(value & FUTEX_TID);
    if (owner == t->tid)
        return -EDEADLK;
    const struct futex_waiter *top = first_of(b, k);
    if (top != NULL) {
        if (top->kind != FUTEX_FOR_LOCK)
            return -EINVAL;
        *ret_owner = top->owner;
        return owner == top->owner ? 0 : -EAGAIN; // a new owner is about to write its name
    }
    if (owner == 0) {
        uint32_t new = (value & FUTEX_OWNER_DIED) | (uint32_t)t->tid;
        r = swap_word(user, value, new | (more ? FUTEX_WAITERS : 0));
        return r < 0 ? r : 1;
    }
    r = swap_word(user, value, value | FUTEX_WAITERS);
    if (r < 0)
        return r;
    *ret_owner = owner;
    r = owner_note(owner);
    if (r == -ESRCH && (futex_read(user, &value) < 0 || (int)(value & FUTEX_TID) != owner))
        return -EAGAIN;
    return r;
}

/* Would waiting for this owner close a circle? pi_lock is held. */
static bool closes_circle(int owner, const struct task *me)
{
    for (int i = 0; i < CHAIN_MAX && owner != 0; i++) {
        if (owner == me->tid)
            return true;
        const struct task *t = task_find(owner);
        const struct futex_waiter *w = t != NULL && t->thread != NULL ? t->thread->pi_waiter : NULL;
        owner = w != NULL ? w->owner : 0;
        task_find_end();
    }
    return false;
}

static void pi_queue(struct futex_bucket *b, struct futex_waiter *w, int owner)
{
    w->kind = FUTEX_FOR_LOCK;
    w->owner = owner;
    w->task->thread->pi_waiter = w;
    list_push_back(&b->waiters, &w->link);
    __atomic_store_n(&w->bucket, b, __ATOMIC_RELEASE);
}

/* The lock is w's now; the others wait for w. The bucket is locked. */
static void hand_over(struct futex_bucket *b, struct futex_waiter *w)
{
    spin_lock(&pi_lock);
    w->task->thread->pi_waiter = NULL;
    LIST_FOR_EACH (node, &b->waiters) {
        struct futex_waiter *o = LIST_ENTRY(node, struct futex_waiter, link);
        if (o == w || o->kind != FUTEX_FOR_LOCK || !futex_matches(o, w->key))
            continue;
        o->owner = w->task->tid;
        w->task->thread->pi_waited = true; // it waits itself, so it is not ending
    }
    spin_unlock(&pi_lock);
    futex_wake_one(w);
}

/* The old owner ended without writing to the word, which may be in another space. */
static int write_own_name(uint64_t user, int tid)
{
    uint32_t old, seen;
    do {
        if (copy_from_user(&old, user, sizeof(old)) < 0)
            return -EFAULT;
        seen = old;
        if (cmpxchg_user(user, &seen, (uint32_t)tid | FUTEX_WAITERS | FUTEX_OWNER_DIED) < 0)
            return -EFAULT;
    } while (seen != old);
    return 0;
}

/* Wait in the bucket until the lock is ours: 0, or -EINTR or -ETIMEDOUT. */
static int64_t wait_for_lock(struct futex_waiter *w, uint64_t user, uint64_t deadline)
{
    int r = futex_sleep(w, deadline);
    bool mine = futex_leave(w);
    spin_lock(&pi_lock);
    if (!mine)
        w->task->thread->pi_waiter = NULL;
    spin_unlock(&pi_lock);
    if (!mine)
        return r;
    return w->owner_died ? write_own_name(user, w->task->tid) : 0;
}

int64_t futex_lock_pi(uint64_t user, struct futex_key k, uint64_t deadline, bool try)
{
    struct futex_bucket *b = futex_bucket_of(k);
    struct futex_waiter w = {.bits = UINT32_MAX, .key = k, .task = current()};
    for (int unsettled = 0;;) {
        int owner = 0;
        futex_bucket_lock(b);
        int r = claim(b, k, user, w.task, false, &owner);
        if (r == 0 && try)
            r = -EAGAIN;
        else if (r == 0) {
            spin_lock(&pi_lock);
            if (closes_circle(owner, w.task))
                r = -EDEADLK;
            else
                pi_queue(b, &w, owner);
            spin_unlock(&pi_lock);
            task_prepare_sleep();
        }
        spin_unlock(&b->lock);
        if (r == 0)
            break;
        task_cancel_sleep();
        if (r == 1)
            return 0;
        if (r == -EFAULT && fault_in_writable(user) == 0)
            continue;
        if ((r != -EAGAIN || try) && r != -EBUSY)
            return r;
        if (++unsettled > UNSETTLED_MAX) // nobody writes it: the word is not what it should be
            return -EINVAL;
        if (signal_pending(w.task))
            return -ERESTARTNOINTR;
        sched_yield_task();
    }
    int64_t r = wait_for_lock(&w, user, deadline);
    return r == -EINTR ? -ERESTARTNOINTR : r;
}

int64_t futex_unlock_pi(uint64_t user, struct futex_key k)
{
    struct futex_bucket *b = futex_bucket_of(k);
    const int me = current()->tid;
    for (;;) {
        uint32_t value;
        if (copy_from_user(&value, user, sizeof(value)) < 0)
            return -EFAULT;
        if ((int)(value & FUTEX_TID) != me)
            return -EPERM;
        futex_bucket_lock(b);
        struct futex_waiter *top = first_of(b, k);
        int r;
        if (top != NULL && (top->kind != FUTEX_FOR_LOCK || top->owner != me)) {
            r = -EINVAL;
        } else if (top != NULL) {
            r = swap_word(user, value, (uint32_t)top->task->tid | FUTEX_WAITERS);
            if (r == 0)
                hand_over(b, top);
        } else {
            r = swap_word(user, value, 0);
        }
        spin_unlock(&b->lock);
        if (r == -EFAULT && fault_in_writable(user) == 0)
            continue;
        if (r != -EAGAIN)
            return r;
    }
}

int64_t futex_wait_requeue_pi(uint64_t user, struct futex_key k, uint32_t expected,
                              uint64_t deadline, uint64_t user2, struct futex_key k2)
{
    struct futex_waiter w = {
        .kind = FUTEX_MOVABLE, .bits = UINT32_MAX, .key = k, .target = k2, .task = current()};
    if (k.object == k2.object && k.offset == k2.offset)
        return -EINVAL;
    int64_t r = futex_queue(&w, user, expected);
    if (r < 0)
        return r;
    r = wait_for_lock(&w, user2, deadline);
    if (r != -EINTR)
        return r;
    // Once moved, the first word has changed and the wait cannot be made again.
    return w.kind == FUTEX_MOVABLE ? -ERESTARTNOINTR : -EAGAIN;
}

/* The first waiter gets the lock if it is free, the others are made to wait for it. */
static int64_t requeue_pi_locked(struct futex_bucket *a, struct futex_bucket *b,
                                 struct futex_key from, uint64_t user2, struct futex_key to,
                                 unsigned requeue_max)
{
    struct futex_waiter *top = first_of(a, from);
    int owner = 0;
    unsigned done = 0;
    if (top == NULL)
        return 0;
    LIST_FOR_EACH (node, &a->waiters) { // all or nothing
        const struct futex_waiter *w = LIST_ENTRY(node, struct futex_waiter, link);
        if (futex_matches(w, from) && (w->kind != FUTEX_MOVABLE || w->target.object != to.object ||
                                       w->target.offset != to.offset))
            return -EINVAL;
    }
    int r = claim(b, to, user2, top->task, requeue_max > 0, &owner);
    if (r < 0)
        return r;
    if (r == 1) {
        owner = top->task->tid;
        top->task->thread->pi_waited = true;
        futex_wake_one(top);
        done = 1;
    }
    const unsigned all = requeue_max + done < requeue_max ? requeue_max : requeue_max + done;
    LIST_FOR_EACH_SAFE (node, &a->waiters) {
        struct futex_waiter *w = LIST_ENTRY(node, struct futex_waiter, link);
        if (done >= all)
            break;
        if (!futex_matches(w, from))
            continue;
        list_remove(&w->link);
        w->key = to;
        spin_lock(&pi_lock);
        pi_queue(b, w, owner);
        spin_unlock(&pi_lock);
        done++;
    }
    return done;
}

int64_t futex_requeue_pi(uint64_t user, struct futex_key from, uint64_t user2, struct futex_key to,
                         unsigned requeue_max, uint32_t expected)
{
    struct futex_bucket *a = futex_bucket_of(from), *b = futex_bucket_of(to);
    if (from.object == to.object && from.offset == to.offset)
        return -EINVAL;
    for (int unsettled = 0;;) {
        uint32_t value;
        futex_lock_two(a, b);
        int64_t r = futex_read(user, &value);
        bool same = r == 0 && value == expected;
        if (same)
            r = requeue_pi_locked(a, b, from, user2, to, requeue_max);
        futex_unlock_two(a, b);
        if (r == 0 && !same)
            return -EAGAIN;
        if (r == -EFAULT && futex_fault_in(user) == 0 && fault_in_writable(user2) == 0)
            continue;
        if (r != -EAGAIN && r != -EBUSY)
            return r;
        if (++unsettled > UNSETTLED_MAX)
            return -EINVAL;
        sched_yield_task();
    }
}

void futex_exit_pi(struct task *t)
{
    struct task *found = task_find(t->tid);
    ASSERT(found == t);
    t->thread->exiting = true; // from here on nobody begins to wait for it
    bool waited = t->thread->pi_waited;
    task_find_end();
    for (unsigned i = 0; waited && i < FUTEX_BUCKETS; i++) {
        struct futex_bucket *b = futex_bucket_at(i);
        futex_bucket_lock(b);
        for (struct list *n = b->waiters.next; n != &b->waiters;) {
            struct futex_waiter *w = LIST_ENTRY(n, struct futex_waiter, link);
            n = n->next;
            if (w->kind != FUTEX_FOR_LOCK || w->owner != t->tid)
                continue;
            w->owner_died = true;
            hand_over(b, w); // changes the owner of the others that wait for the same lock
        }
        spin_unlock(&b->lock);
    }
}
