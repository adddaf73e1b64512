// SPDX-License-Identifier: Apache-2.0
/* Futexes: sleeping on a word of user memory. Linux 6.1 kernel/futex/.
 *
 * Waiters hang in buckets; the bucket's lock is held while the word is read, so that no wake
 * between the test and the sleep is lost. The read under the lock does not sleep: if the page is
 * away it is brought in without the lock, and all begins again. */
#include "kernel/linux/futex.h"

#include "kernel/arch/x86_64/clock.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/space.h"

enum {
    FUTEX_WAIT = 0,
    FUTEX_WAKE = 1,
    FUTEX_REQUEUE = 3,
    FUTEX_CMP_REQUEUE = 4,
    FUTEX_WAKE_OP = 5,
    FUTEX_LOCK_PI = 6,
    FUTEX_UNLOCK_PI = 7,
    FUTEX_TRYLOCK_PI = 8,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10,
    FUTEX_WAIT_REQUEUE_PI = 11,
    FUTEX_CMP_REQUEUE_PI = 12,
    FUTEX_LOCK_PI2 = 13,
    FUTEX_OPS,
    FUTEX_PRIVATE = 128,
    FUTEX_CLOCK_REALTIME = 256,
};

static struct futex_bucket buckets[FUTEX_BUCKETS];

struct futex_bucket *futex_bucket_at(unsigned n)
{
    return &buckets[n];
}

struct futex_bucket *futex_bucket_of(struct futex_key k)
{
    uint64_t hash = ((k.offset >> 2) + (k.object >> 4)) * 0x9e3779b97f4a7c15ull;
    _Static_assert(FUTEX_BUCKETS == 256, "8 bits");
    return &buckets[hash >> 56];
}

void futex_bucket_lock(struct futex_bucket *b)
{
    spin_lock(&b->lock);
    if (UNLIKELY(b->waiters.next == NULL))
        list_init(&b->waiters);
}

void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b)
{
    futex_bucket_lock(a < b ? a : b);
    if (a != b)
        futex_bucket_lock(a < b ? b : a);
}

void futex_unlock_two(struct futex_bucket *a, struct futex_bucket *b)
{
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

int futex_key_of(uint64_t address, bool private, struct futex_key *ret)
{
    enum { SHARED = 1 };
    struct mm *mm = current()->process->mm;
    if (address % 4 != 0)
        return -EINVAL;
    if (address >= USER_END)
        return -EFAULT;
    *ret = (struct futex_key){.object = (uint64_t)mm, .offset = address | (private ? 0 : SHARED)};
    // A sleeper's mapping keeps the object alive. If it is unmapped meanwhile and its place in
    // memory taken by another object, the sleeper may wake for nothing, as it must expect to.
    if (!private)
        mm_shared_object(mm, address, &ret->object, &ret->offset);
    return 0;
}

int futex_read(uint64_t user, uint32_t *ret)
{
    return copy_from_user_atomic(ret, user, sizeof(*ret));
}

int futex_fault_in(uint64_t user)
{
    uint32_t ignored;
    return copy_from_user(&ignored, user, sizeof(ignored));
}

bool futex_matches(const struct futex_waiter *w, struct futex_key k)
{
    return w->key.object == k.object && w->key.offset == k.offset;
}

void futex_wake_one(struct futex_waiter *w)
{
    list_remove(&w->link);
    __atomic_store_n(&w->woken, true, __ATOMIC_RELEASE);
    task_wake(w->task); // still there: futex_leave waits for the bucket's lock
}

/* At least one is woken, as Linux does also for a max of 0. -EINVAL: one waits for a PI lock. */
static int64_t wake_locked(struct futex_bucket *b, struct futex_key k, int max, uint32_t bits)
{
    int woken = 0;
    LIST_FOR_EACH_SAFE (node, &b->waiters) {
        struct futex_waiter *w = LIST_ENTRY(node, struct futex_waiter, link);
        if (!futex_matches(w, k))
            continue;
        if (w->kind != FUTEX_PLAIN)
            return -EINVAL;
        if (!(w->bits & bits))
            continue;
        futex_wake_one(w);
        if (++woken >= max)
            break;
    }
    return woken;
}

static int64_t futex_wake(struct futex_key k, int max, uint32_t bits)
{
    if (bits == 0)
        return -EINVAL;
    struct futex_bucket *b = futex_bucket_of(k);
    futex_bucket_lock(b);
    int64_t woken = wake_locked(b, k, max, bits);
    spin_unlock(&b->lock);
    return woken;
}

void futex_wake_address(uint64_t user, unsigned count)
{
    struct futex_key k;
    if (futex_key_of(user, false, &k) == 0)
        (void)futex_wake(k, (int)count, UINT32_MAX);
}

bool futex_leave(struct futex_waiter *w)
{
    for (;;) {
        struct futex_bucket *b = __atomic_load_n(&w->bucket, __ATOMIC_ACQUIRE);
        spin_lock(&b->lock);
        bool here = w->bucket == b; // else requeued in between
        bool woken = __atomic_load_n(&w->woken, __ATOMIC_RELAXED);
        if (here && !woken)
            list_remove(&w->link);
        spin_unlock(&b->lock);
        if (here)
            return woken;
    }
}

int futex_queue(struct futex_waiter *w, uint64_t user, uint32_t expected)
{
    struct futex_bucket *b = futex_bucket_of(w->key);
    for (;;) {
        uint32_t value;
        futex_bucket_lock(b);
        int r = futex_read(user, &value);
        if (r == 0 && value == expected) {
            w->bucket = b;
            list_push_back(&b->waiters, &w->link);
            task_prepare_sleep();
        }
        spin_unlock(&b->lock);
        if (r == 0)
            return value == expected ? 0 : -EAGAIN;
        if (futex_fault_in(user) < 0)
            return -EFAULT;
    }
}

int futex_sleep(struct futex_waiter *w, uint64_t deadline)
{
    int r = 0;
    while (r == 0 && !__atomic_load_n(&w->woken, __ATOMIC_ACQUIRE)) {
        r = task_sleep(deadline, true);
        task_prepare_sleep(); // a wake from now on is not lost
    }
    task_cancel_sleep();
    return r;
}

static int64_t futex_wait(uint64_t user, bool private, uint32_t expected, uint64_t deadline,
                          uint32_t bits);

static int64_t wait_again(struct restart *r)
{
    return futex_wait(r->arg[0] & ~1ull, r->arg[0] & 1, (uint32_t)r->arg[1], r->arg[2],
                      (uint32_t)(r->arg[1] >> 32));
}

static int64_t futex_wait(uint64_t user, bool private, uint32_t expected, uint64_t deadline,
                          uint32_t bits)
{
    struct futex_waiter w = {.bits = bits, .task = current()};
    if (bits == 0)
        return -EINVAL;
    int r = futex_key_of(user, private, &w.key);
    if (r == 0)
        r = futex_queue(&w, user, expected);
    if (r < 0)
        return r;
    r = futex_sleep(&w, deadline);
    if (futex_leave(&w))
        return 0;
    if (r != -EINTR)
        return r;
    if (deadline == DEADLINE_NEVER)
        return -ERESTARTSYS;
    current()->thread->restart = (struct restart){
        .call = wait_again,
        .arg = {user | (private ? 1 : 0), expected | (uint64_t)bits << 32, deadline}};
    return -ERESTART_RESTARTBLOCK;
}

/* What is behind the first wake_max waiters moves on, up to requeue_max. */
static int64_t requeue_locked(struct futex_bucket *a, struct futex_bucket *b, struct futex_key from,
                              struct futex_key to, int wake_max, int requeue_max)
{
    int done = 0;
    LIST_FOR_EACH_SAFE (node, &a->waiters) {
        struct futex_waiter *w = LIST_ENTRY(node, struct futex_waiter, link);
        if (done - wake_max >= requeue_max)
            break;
        if (!futex_matches(w, from))
            continue;
        if (w->kind != FUTEX_PLAIN)
            return -EINVAL;
        if (++done <= wake_max) {
            futex_wake_one(w);
        } else if (!futex_matches(w, to)) {
            list_remove(&w->link);
            w->key = to;
            list_push_back(&b->waiters, &w->link);
            __atomic_store_n(&w->bucket, b, __ATOMIC_RELEASE);
        }
    }
    return done;
}

static int64_t futex_requeue(uint64_t user, struct futex_key from, struct futex_key to,
                             int wake_max, int requeue_max, const uint32_t *expected)
{
    struct futex_bucket *a = futex_bucket_of(from), *b = futex_bucket_of(to);
    if (wake_max < 0 || requeue_max < 0)
        return -EINVAL;
    for (;;) {
        uint32_t value;
        futex_lock_two(a, b);
        int64_t r = expected != NULL ? futex_read(user, &value) : 0;
        bool read = r == 0;
        if (read && expected != NULL && value != *expected)
            r = -EAGAIN;
        if (r == 0)
            r = requeue_locked(a, b, from, to, wake_max, requeue_max);
        futex_unlock_two(a, b);
        if (read)
            return r;
        if (futex_fault_in(user) < 0)
            return -EFAULT;
    }
}

static uint32_t op_result(unsigned op, uint32_t old, uint32_t operand)
{
    enum { SET, ADD, OR, ANDN, XOR };
    switch (op) {
    case SET:
        return operand;
    case ADD:
        return old + operand;
    case OR:
        return old | operand;
    case ANDN:
        return old & ~operand;
    default:
        return old ^ operand;
    }
}

static bool op_compare(unsigned cmp, int32_t old, int32_t operand)
{
    enum { EQ, NE, LT, LE, GT, GE };
    switch (cmp) {
    case EQ:
        return old == operand;
    case NE:
        return old != operand;
    case LT:
        return old < operand;
    case LE:
        return old <= operand;
    case GT:
        return old > operand;
    default:
        return old >= operand;
    }
}

/* Change the second word as `encoded` says, wake waiters of the first, and of the second if its old
 * value compares. */
static int64_t futex_wake_op(struct futex_key first, uint64_t user2, struct futex_key second,
                             int max1, int max2, uint32_t encoded)
{
    unsigned op = encoded >> 28 & 7, cmp = encoded >> 24 & 15;
    int32_t operand = (int32_t)(encoded << 8) >> 20, compare = (int32_t)(encoded << 20) >> 20;
    if (op > 4 || cmp > 5)
        return -ENOSYS;
    if (encoded >> 31) // operand is a shift count
        operand = (int32_t)(1u << (operand & 31));
    uint32_t old, seen;
    do { // before the locks: this may fault
        if (copy_from_user(&old, user2, sizeof(old)) < 0)
            return -EFAULT;
        seen = old;
        if (cmpxchg_user(user2, &seen, op_result(op, old, (uint32_t)operand)) < 0)
            return -EFAULT;
    } while (seen != old);
    struct futex_bucket *a = futex_bucket_of(first), *b = futex_bucket_of(second);
    futex_lock_two(a, b);
    int64_t woken = wake_locked(a, first, max1, UINT32_MAX);
    if (woken >= 0 && op_compare(cmp, (int32_t)old, compare)) {
        int64_t more = wake_locked(b, second, max2, UINT32_MAX);
        woken = more < 0 ? more : woken + more;
    }
    futex_unlock_two(a, b);
    return woken;
}

/* An absolute time as the monotonic clock will show it. */
static uint64_t deadline_at(uint64_t ns, bool real)
{
    uint64_t offset = real ? clock_scale.real_offset_ns : 0;
    return ns == DEADLINE_NEVER ? ns : ns > offset ? ns - offset : 0;
}

/* The deadline on the monotonic clock: FUTEX_WAIT counts from now, the others name a time. */
static int deadline_from_user(uint64_t user, int op, bool real, uint64_t *ret)
{
    uint64_t ns;
    *ret = DEADLINE_NEVER;
    if (user == 0 || (op != FUTEX_WAIT && op != FUTEX_WAIT_BITSET && op != FUTEX_LOCK_PI &&
                      op != FUTEX_LOCK_PI2 && op != FUTEX_WAIT_REQUEUE_PI))
        return 0;
    int r = timespec_from_user(user, &ns);
    if (r < 0)
        return r;
    uint64_t now = clock_mono_ns();
    if (op == FUTEX_WAIT)
        *ret = ns < DEADLINE_NEVER - now ? now + ns : DEADLINE_NEVER;
    else
        *ret = deadline_at(ns, real || op == FUTEX_LOCK_PI);
    return 0;
}

/* The calls on two words. */
static int64_t futex_two(int op, bool private, const uint64_t arg[static 6], uint64_t deadline)
{
    struct futex_key k, k2;
    const uint32_t value = (uint32_t)arg[2], expected = (uint32_t)arg[5];
    if (op == FUTEX_WAIT_REQUEUE_PI && arg[0] == arg[4])
        return -EINVAL;
    int r = futex_key_of(arg[0], private, &k);
    if (r == 0)
        r = futex_key_of(arg[4], private, &k2);
    if (r < 0)
        return r;
    switch (op) {
    case FUTEX_REQUEUE:
        return futex_requeue(arg[0], k, k2, (int)value, (int)arg[3], NULL);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(arg[0], k, k2, (int)value, (int)arg[3], &expected);
    case FUTEX_WAKE_OP:
        return futex_wake_op(k, arg[4], k2, (int)value, (int)arg[3], expected);
    case FUTEX_WAIT_REQUEUE_PI:
        return futex_wait_requeue_pi(arg[0], k, value, deadline, arg[4], k2);
    default: // FUTEX_CMP_REQUEUE_PI: a PI lock has one owner, so that only one can be woken
        if (arg[0] == arg[4] || (int)value != 1 || (int)arg[3] < 0)
            return -EINVAL;
        return futex_requeue_pi(arg[0], k, arg[4], k2, (unsigned)arg[3], expected);
    }
}

int64_t sys_futex(const uint64_t arg[static 6])
{
    const int op = (int)arg[1] & ~(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME);
    const bool private = arg[1] & FUTEX_PRIVATE, real = arg[1] & FUTEX_CLOCK_REALTIME;
    const uint32_t value = (uint32_t)arg[2];
    struct futex_key k;
    uint64_t deadline;
    int r = deadline_from_user(arg[3], op, real, &deadline);
    if (r < 0)
        return r;
    if (real && op != FUTEX_WAIT_BITSET && op != FUTEX_WAIT_REQUEUE_PI && op != FUTEX_LOCK_PI2)
        return -ENOSYS;
    switch (op) {
    case FUTEX_WAIT:
        return futex_wait(arg[0], private, value, deadline, UINT32_MAX);
    case FUTEX_WAIT_BITSET:
        return futex_wait(arg[0], private, value, deadline, (uint32_t)arg[5]);
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_WAKE_OP:
    case FUTEX_WAIT_REQUEUE_PI:
    case FUTEX_CMP_REQUEUE_PI:
        return futex_two(op, private, arg, deadline);
    default:
        break;
    }
    if (op < 0 || op >= FUTEX_OPS || op == 2) // 2: FUTEX_FD, which Linux has no more
        return -ENOSYS;
    r = futex_key_of(arg[0], private, &k);
    if (r < 0)
        return r;
    switch (op) {
    case FUTEX_WAKE:
        return futex_wake(k, (int)value, UINT32_MAX);
    case FUTEX_WAKE_BITSET:
        return futex_wake(k, (int)value, (uint32_t)arg[5]);
    case FUTEX_UNLOCK_PI:
        return futex_unlock_pi(arg[0], k);
    default:
        return futex_lock_pi(arg[0], k, deadline, op == FUTEX_TRYLOCK_PI);
    }
}

struct waitv { // Linux struct futex_waitv
    uint64_t value, address;
    uint32_t flags, reserved;
};

/* Take the first n out again: the number of one that was woken, or -1. */
static int leave_all(struct futex_waiter *w, unsigned n)
{
    int woken = -1;
    for (unsigned i = 0; i < n; i++)
        if (futex_leave(&w[i]))
            woken = (int)i;
    return woken;
}

/* Linux 6.1 futex_wait_multiple. */
static int64_t wait_multiple(struct futex_waiter *w, const struct waitv *v, unsigned n,
                             uint64_t deadline)
{
    enum { FUTEX_32 = 2 };
    for (unsigned i = 0; i < n; i++) { // all are checked before the first is waited for
        w[i] = (struct futex_waiter){.bits = UINT32_MAX, .task = current()};
        if ((v[i].flags & ~(uint32_t)(FUTEX_32 | FUTEX_PRIVATE)) || v[i].reserved != 0 ||
            !(v[i].flags & FUTEX_32))
            return -EINVAL;
    }
    for (unsigned i = 0; i < n; i++) {
        int r = futex_key_of(v[i].address, v[i].flags & FUTEX_PRIVATE, &w[i].key);
        if (r < 0)
            return r;
    }
    for (unsigned i = 0; i < n; i++) {
        int r = futex_queue(&w[i], v[i].address, (uint32_t)v[i].value);
        if (r < 0) {
            task_cancel_sleep();
            int woken = leave_all(w, i);
            return woken >= 0 ? woken : r;
        }
    }
    int r = 0, woken;
    for (;;) {
        task_prepare_sleep();
        bool any = false;
        for (unsigned i = 0; i < n && !any; i++)
            any = __atomic_load_n(&w[i].woken, __ATOMIC_ACQUIRE);
        if (any || r < 0)
            break;
        r = task_sleep(deadline, true);
    }
    task_cancel_sleep();
    woken = leave_all(w, n);
    return woken >= 0 ? woken : r == -EINTR ? -ERESTARTSYS : r;
}

int64_t sys_futex_waitv(const uint64_t arg[static 6])
{
    enum { WAITV_MAX = 128 };
    const uint64_t n = arg[1] & UINT32_MAX;
    const int clock = (int)arg[4];
    uint64_t ns, deadline = DEADLINE_NEVER;
    if (arg[2] != 0 || n == 0 || n > WAITV_MAX || arg[0] == 0)
        return -EINVAL;
    if (arg[3] != 0) {
        if (clock != 0 && clock != 1) // CLOCK_REALTIME, CLOCK_MONOTONIC
            return -EINVAL;
        int r = timespec_from_user(arg[3], &ns);
        if (r < 0)
            return r;
        deadline = deadline_at(ns, clock == 0);
    }
    struct futex_waiter *w = kmalloc(n * (sizeof(*w) + sizeof(struct waitv)));
    if (w == NULL)
        return -ENOMEM;
    struct waitv *v = (struct waitv *)(w + n);
    int64_t r = -EFAULT;
    if (copy_from_user(v, arg[0], n * sizeof(*v)) == 0)
        r = wait_multiple(w, v, (unsigned)n, deadline);
    kfree(w);
    return r;
}

int64_t sys_get_robust_list(const uint64_t arg[static 6])
{
    const int tid = (int)arg[0];
    const uint64_t bytes = 24; // struct robust_list_head
    uint64_t head = current()->thread->robust_head;
    if (tid != 0) {
        const struct task *t = task_find(tid);
        int r = t == NULL || t->thread == NULL     ? -ESRCH
                : t->process != current()->process ? -EPERM
                                                   : 0;
        if (r == 0)
            head = t->thread->robust_head;
        task_find_end();
        if (r < 0)
            return r;
    }
    if (copy_to_user(arg[2], &bytes, sizeof(bytes)) < 0)
        return -EFAULT;
    return copy_to_user(arg[1], &head, sizeof(head));
}

/* One lock that the ending thread may hold: mark it and wake a waiter (Linux handle_futex_death).
 * Those who wait for a PI lock get it by futex_exit_pi. */
static int robust_release(uint64_t word, int tid, bool pi, bool pending)
{
    uint32_t old, seen;
    if (word % 4 != 0)
        return -EFAULT;
    do {
        if (copy_from_user(&old, word, sizeof(old)) < 0)
            return -EFAULT;
        // Unlocked already, and the wake that was to follow was not made.
        if (pending && !pi && old == 0)
            futex_wake_address(word, 1);
        if ((old & FUTEX_TID) != (uint32_t)tid)
            return 0;
        seen = old;
        if (cmpxchg_user(word, &seen, (old & FUTEX_WAITERS) | FUTEX_OWNER_DIED) < 0)
            return -EFAULT;
    } while (seen != old);
    if (!pi && (old & FUTEX_WAITERS))
        futex_wake_address(word, 1);
    return 0;
}

void futex_exit_robust(uint64_t head, int tid)
{
    enum { ROBUST_MAX = 2048 };
    struct {
        uint64_t next, offset, pending;
    } list;
    if (copy_from_user(&list, head, sizeof(list)) < 0)
        return;
    const uint64_t PI = 1; // a mark in the pointer to the lock's entry
    const uint64_t pending = list.pending & ~PI;
    uint64_t entry = list.next;
    for (int i = 0; i < ROBUST_MAX && (entry & ~PI) != head; i++) {
        uint64_t next, at = entry & ~PI;
        int r = copy_from_user(&next, at, sizeof(next)); // before the lock is somebody else's
        if (at != pending && robust_release(at + list.offset, tid, entry & PI, false) < 0)
            return;
        if (r < 0)
            return;
        entry = next;
    }
    if (pending != 0)
        (void)robust_release(pending + list.offset, tid, list.pending & PI, true);
}
