// SPDX-License-Identifier: Apache-2.0
/* Futexes: sleeping on a word of user memory. Linux 6.1 kernel/futex/.
 *
 * A word is known by its address space and address (private), or by its page's physical address
 * (shared); threads of the one process may use either, and so may meet only in their own kind, as
 * on Linux. Waiters hang in buckets; the bucket's lock is held while the word is read, so that no
 * wake between the test and the sleep is lost. The read under the lock does not sleep: if the page
 * is away it is brought in without the lock, and all begins again.
 *
 * Lock order: buckets by address -> runq.lock. */
#include "base/errno.h"
#include "base/list.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

enum {
    FUTEX_WAIT = 0,
    FUTEX_WAKE = 1,
    FUTEX_REQUEUE = 3,
    FUTEX_CMP_REQUEUE = 4,
    FUTEX_WAKE_OP = 5,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10,
    FUTEX_PRIVATE = 128,
    FUTEX_CLOCK_REALTIME = 256,
    BUCKETS = 256,
};

struct bucket {
    struct spinlock lock;
    struct list waiters; // protected by lock; first come, first woken
};

struct futex_waiter {
    struct list link;      // protected by bucket->lock
    struct bucket *bucket; // atomic: changes when requeued
    bool woken;            // atomic; set under bucket->lock, after which the waiter may go
    uint64_t space, address;
    uint32_t bits;
    struct task *task;
};

static struct bucket buckets[BUCKETS];

struct key {
    uint64_t space, address;
};

static struct bucket *bucket_of(struct key k)
{
    uint64_t hash = (k.address >> 2) * 0x9e3779b97f4a7c15ull;
    struct bucket *b = &buckets[hash >> 56];
    _Static_assert(BUCKETS == 256, "8 bits");
    return b;
}

static void bucket_lock(struct bucket *b)
{
    spin_lock(&b->lock);
    if (UNLIKELY(b->waiters.next == NULL))
        list_init(&b->waiters);
}

static void lock_two(struct bucket *a, struct bucket *b)
{
    bucket_lock(a < b ? a : b);
    if (a != b)
        bucket_lock(a < b ? b : a);
}

static void unlock_two(struct bucket *a, struct bucket *b)
{
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

/* While there is one process without shared memory to others, a shared futex's identity is its
 * address too; kinds must match to meet. */
static int key_of(uint64_t address, bool private, struct key *ret)
{
    if (address % 4 != 0)
        return -EINVAL;
    if (address >= USER_END)
        return -EFAULT;
    *ret =
        (struct key){.space = private ? (uint64_t)current()->process->mm : 1, .address = address};
    return 0;
}

static int read_word(uint64_t user, uint32_t *ret)
{
    return copy_from_user_atomic(ret, user, sizeof(*ret));
}

/* The word's page was away: bring it in. */
static int fault_in(uint64_t user)
{
    uint32_t ignored;
    return copy_from_user(&ignored, user, sizeof(ignored));
}

static bool matches(const struct futex_waiter *w, struct key k)
{
    return w->space == k.space && w->address == k.address;
}

static void wake_one(struct futex_waiter *w)
{
    list_remove(&w->link);
    __atomic_store_n(&w->woken, true, __ATOMIC_RELEASE);
    task_wake(w->task); // still there: leave() waits for the bucket's lock
}

static unsigned wake_locked(struct bucket *b, struct key k, unsigned max, uint32_t bits)
{
    unsigned woken = 0;
    LIST_FOR_EACH_SAFE (node, &b->waiters) {
        struct futex_waiter *w = LIST_ENTRY(node, struct futex_waiter, link);
        if (woken == max)
            break;
        if (!matches(w, k) || !(w->bits & bits))
            continue;
        wake_one(w);
        woken++;
    }
    return woken;
}

static int64_t futex_wake(struct key k, unsigned max, uint32_t bits)
{
    if (bits == 0)
        return -EINVAL;
    struct bucket *b = bucket_of(k);
    bucket_lock(b);
    unsigned woken = wake_locked(b, k, max, bits);
    spin_unlock(&b->lock);
    return woken;
}

void futex_wake_address(uint64_t user, unsigned count)
{
    struct key k;
    // Linux wakes these as shared; thread libraries wait for them either way.
    for (int private = 0; private < 2; private ++)
        if (key_of(user, private, &k) == 0)
            (void)futex_wake(k, count, UINT32_MAX);
}

/* The waiter ends its wait: takes itself out if nobody has woken it, and waits for a waker that is
 * at it. True when it was woken. */
static bool leave(struct futex_waiter *w)
{
    for (;;) {
        struct bucket *b = __atomic_load_n(&w->bucket, __ATOMIC_ACQUIRE);
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

static int queue_if_equal(struct futex_waiter *w, struct key k, uint32_t expected)
{
    struct bucket *b = bucket_of(k);
    for (;;) {
        uint32_t value;
        bucket_lock(b);
        int r = read_word(k.address, &value);
        if (r == 0 && value == expected) {
            w->bucket = b;
            list_push_back(&b->waiters, &w->link);
            task_prepare_sleep();
        }
        spin_unlock(&b->lock);
        if (r == 0)
            return value == expected ? 0 : -EAGAIN;
        if (fault_in(k.address) < 0)
            return -EFAULT;
    }
}

static int64_t futex_wait(struct key k, uint32_t expected, uint64_t deadline, uint32_t bits);

static int64_t wait_again(struct restart *r)
{
    const struct key k = {.space = r->arg[0], .address = r->arg[1]};
    return futex_wait(k, (uint32_t)r->arg[2], r->arg[3], (uint32_t)(r->arg[2] >> 32));
}

static int64_t futex_wait(struct key k, uint32_t expected, uint64_t deadline, uint32_t bits)
{
    struct futex_waiter w = {
        .space = k.space, .address = k.address, .bits = bits, .task = current()};
    if (bits == 0)
        return -EINVAL;
    int r = queue_if_equal(&w, k, expected);
    if (r < 0)
        return r;
    while (r == 0 && !__atomic_load_n(&w.woken, __ATOMIC_ACQUIRE)) {
        r = task_sleep(deadline, true);
        task_prepare_sleep(); // a wake from now on is not lost
    }
    task_cancel_sleep();
    if (leave(&w))
        return 0;
    if (r != -EINTR)
        return r;
    if (deadline == DEADLINE_NEVER)
        return -ERESTARTSYS;
    current()->thread->restart = (struct restart){
        .call = wait_again, .arg = {k.space, k.address, expected | (uint64_t)bits << 32, deadline}};
    return -ERESTART_RESTARTBLOCK;
}

static int64_t futex_requeue(struct key from, struct key to, unsigned wake_max,
                             unsigned requeue_max, const uint32_t *expected)
{
    struct bucket *a = bucket_of(from), *b = bucket_of(to);
    uint32_t value;
    for (;;) {
        lock_two(a, b);
        int r = expected != NULL ? read_word(from.address, &value) : 0;
        if (r == 0)
            break;
        unlock_two(a, b);
        if (fault_in(from.address) < 0)
            return -EFAULT;
    }
    int64_t done = -EAGAIN;
    if (expected == NULL || value == *expected) {
        done = wake_locked(a, from, wake_max, UINT32_MAX);
        unsigned moved = 0;
        LIST_FOR_EACH_SAFE (node, &a->waiters) {
            struct futex_waiter *w = LIST_ENTRY(node, struct futex_waiter, link);
            if (moved == requeue_max)
                break;
            if (!matches(w, from))
                continue;
            list_remove(&w->link);
            w->space = to.space;
            w->address = to.address;
            list_push_back(&b->waiters, &w->link);
            __atomic_store_n(&w->bucket, b, __ATOMIC_RELEASE);
            moved++;
        }
        done += moved;
    }
    unlock_two(a, b);
    return done;
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
static int64_t futex_wake_op(struct key first, struct key second, unsigned max1, unsigned max2,
                             uint32_t encoded)
{
    unsigned op = encoded >> 28 & 7, cmp = encoded >> 24 & 15;
    int32_t operand = (int32_t)(encoded << 8) >> 20, compare = (int32_t)(encoded << 20) >> 20;
    if (op > 4 || cmp > 5)
        return -ENOSYS;
    if (encoded >> 31) // operand is a shift count
        operand = (int32_t)(1u << (operand & 31));
    uint32_t old, seen;
    do { // before the locks: this may fault
        if (copy_from_user(&old, second.address, sizeof(old)) < 0)
            return -EFAULT;
        seen = old;
        if (cmpxchg_user(second.address, &seen, op_result(op, old, (uint32_t)operand)) < 0)
            return -EFAULT;
    } while (seen != old);
    struct bucket *a = bucket_of(first), *b = bucket_of(second);
    lock_two(a, b);
    int64_t woken = wake_locked(a, first, max1, UINT32_MAX);
    if (op_compare(cmp, (int32_t)old, compare))
        woken += wake_locked(b, second, max2, UINT32_MAX);
    unlock_two(a, b);
    return woken;
}

/* The deadline on the monotonic clock: FUTEX_WAIT counts from now, the others name a time. */
static int deadline_from_user(uint64_t user, int op, bool real, uint64_t *ret)
{
    uint64_t ns;
    *ret = DEADLINE_NEVER;
    if (user == 0)
        return 0;
    int r = timespec_from_user(user, &ns);
    if (r < 0 || ns == DEADLINE_NEVER)
        return r;
    if (op == FUTEX_WAIT) {
        uint64_t now = clock_mono_ns();
        *ret = ns < DEADLINE_NEVER - now ? now + ns : DEADLINE_NEVER;
    } else {
        uint64_t offset = real ? clock_scale.real_offset_ns : 0;
        *ret = ns > offset ? ns - offset : 0;
    }
    return 0;
}

int64_t sys_futex(const uint64_t arg[static 6])
{
    int op = (int)arg[1] & ~(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME);
    bool private = arg[1] & FUTEX_PRIVATE, real = arg[1] & FUTEX_CLOCK_REALTIME;
    uint32_t value = (uint32_t)arg[2];
    struct key k, k2;
    uint64_t deadline = DEADLINE_NEVER;
    if (real && op != FUTEX_WAIT_BITSET && op != FUTEX_WAIT)
        return -ENOSYS;
    bool two = op == FUTEX_REQUEUE || op == FUTEX_CMP_REQUEUE || op == FUTEX_WAKE_OP;
    int r = op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET
                ? deadline_from_user(arg[3], op, real, &deadline)
                : 0;
    if (r == 0)
        r = key_of(arg[0], private, &k);
    if (r == 0 && two)
        r = key_of(arg[4], private, &k2);
    if (r < 0)
        return r;
    const uint32_t expected = (uint32_t)arg[5];
    switch (op) {
    case FUTEX_WAIT:
        return futex_wait(k, value, deadline, UINT32_MAX);
    case FUTEX_WAIT_BITSET:
        return futex_wait(k, value, deadline, (uint32_t)arg[5]);
    case FUTEX_WAKE:
        return futex_wake(k, value, UINT32_MAX);
    case FUTEX_WAKE_BITSET:
        return futex_wake(k, value, (uint32_t)arg[5]);
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
        if ((int)value < 0 || (int)arg[3] < 0)
            return -EINVAL;
        return futex_requeue(k, k2, value, (unsigned)arg[3],
                             op == FUTEX_CMP_REQUEUE ? &expected : NULL);
    case FUTEX_WAKE_OP:
        return futex_wake_op(k, k2, value, (unsigned)arg[3], (uint32_t)arg[5]);
    default:
        return -ENOSYS;
    }
}

/* One lock that the ending thread may hold: mark it and wake a waiter. */
static int robust_release(uint64_t word, int tid)
{
    const uint32_t TID_MASK = 0x3fffffff, OWNER_DIED = 0x40000000, WAITERS = 0x80000000;
    uint32_t old, seen;
    do {
        if (copy_from_user(&old, word, sizeof(old)) < 0)
            return -EFAULT;
        if ((old & TID_MASK) != (uint32_t)tid)
            return 0;
        seen = old;
        if (cmpxchg_user(word, &seen, (old & WAITERS) | OWNER_DIED) < 0)
            return -EFAULT;
    } while (seen != old);
    if (old & WAITERS)
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
    uint64_t entry = list.next & ~1ull;
    for (int i = 0; i < ROBUST_MAX && entry != head; i++) {
        uint64_t next;
        if (copy_from_user(&next, entry, sizeof(next)) < 0)
            return;
        if (entry != (list.pending & ~1ull) && robust_release(entry + list.offset, tid) < 0)
            return;
        entry = next & ~1ull;
    }
    if (list.pending != 0)
        (void)robust_release((list.pending & ~1ull) + list.offset, tid);
}
