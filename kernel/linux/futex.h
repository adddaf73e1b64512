// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What futex.c and futex_pi.c share: waiters, the buckets they hang in, and the words' identity.
 *
 * Lock order: buckets by address -> pi_lock (futex_pi.c) -> table of tasks -> runq.lock. */
#include "base/errno.h"
#include "base/list.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

/* A word's identity. Private: the space and the address. Shared: the mapped object and the offset
 * in it, or, in a mapping that is nobody else's, the space and the address with a mark: the two
 * kinds never meet, as on Linux. */
struct futex_key {
    uint64_t object, offset;
};

struct futex_bucket {
    struct spinlock lock;
    struct list waiters; // protected by lock; first come, first woken
} __attribute__((aligned(64)));

enum futex_kind {
    FUTEX_PLAIN,
    FUTEX_FOR_LOCK, // of LOCK_PI: is woken as the owner
    FUTEX_MOVABLE,  // of WAIT_REQUEUE_PI, not moved yet
};

struct futex_waiter {
    struct list link;            // protected by bucket->lock
    struct futex_bucket *bucket; // atomic: changes when requeued
    bool woken;                  // atomic; set under bucket->lock, after which the waiter may go
    uint8_t kind;                // protected by bucket->lock
    bool owner_died; // protected by bucket->lock: owns the lock, the word does not say so
    int owner;       // protected by bucket->lock and pi_lock: tid, of FUTEX_FOR_LOCK
    uint32_t bits;
    struct futex_key key;    // protected by bucket->lock
    struct futex_key target; // immutable: where a FUTEX_MOVABLE may go
    struct task *task;
};

enum { FUTEX_BUCKETS = 256 };
static const uint32_t FUTEX_TID = 0x3fffffff, FUTEX_OWNER_DIED = 0x40000000,
                      FUTEX_WAITERS = 0x80000000;

NONNULL MUST_CHECK int futex_key_of(uint64_t address, bool private, struct futex_key *ret);
struct futex_bucket *futex_bucket_of(struct futex_key k);
struct futex_bucket *futex_bucket_at(unsigned n);
NONNULL void futex_bucket_lock(struct futex_bucket *b);
NONNULL void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b);
NONNULL void futex_unlock_two(struct futex_bucket *a, struct futex_bucket *b);
NONNULL bool futex_matches(const struct futex_waiter *w, struct futex_key k);
/* Read without sleeping; -EFAULT: call futex_fault_in without locks and begin again. */
NONNULL MUST_CHECK int futex_read(uint64_t user, uint32_t *ret);
MUST_CHECK int futex_fault_in(uint64_t user);
/* Take w out of its bucket and wake its task: the bucket is locked. */
NONNULL void futex_wake_one(struct futex_waiter *w);
/* w's task puts it in, if the word is as expected: 0; -EAGAIN it is not; -EFAULT. */
NONNULL MUST_CHECK int futex_queue(struct futex_waiter *w, uint64_t user, uint32_t expected);
/* Sleep until it is woken (0), -EINTR or -ETIMEDOUT. */
NONNULL MUST_CHECK int futex_sleep(struct futex_waiter *w, uint64_t deadline);
/* w's task ends its wait. True when it was woken. */
NONNULL bool futex_leave(struct futex_waiter *w);

/* futex_pi.c: as futex(2) says, after decoding. */
int64_t futex_lock_pi(uint64_t user, struct futex_key k, uint64_t deadline, bool try);
int64_t futex_unlock_pi(uint64_t user, struct futex_key k);
int64_t futex_wait_requeue_pi(uint64_t user, struct futex_key k, uint32_t expected,
                              uint64_t deadline, uint64_t user2, struct futex_key k2);
int64_t futex_requeue_pi(uint64_t user, struct futex_key from, uint64_t user2, struct futex_key to,
                         unsigned requeue_max, uint32_t expected);
