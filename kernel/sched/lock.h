// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Spinlocks (ticket) and sleeping mutexes.
 *
 * Contexts. Kernel code is never pre-empted: a task leaves the CPU only where it sleeps or on the
 * way back to user mode. Interrupt handlers do the least (acknowledge, raise a struct work, set
 * need_resched); everything else an interrupt causes runs as deferred work (sched/work.h), which
 * runs on the way back to user mode and in the idle loop, never in the middle of kernel code. So:
 *   - data touched by tasks and work only: spin_lock (no interrupt masking);
 *   - data touched by interrupt handlers too (run queues, work lists, the device's own few words):
 *     spin_lock_irqsave.
 * A spinlock holder must not sleep and must not touch user memory. Lock order is drawn at the head
 * of each module that takes more than one. */
#include "base/base.h"
#include "base/list.h"

struct task;

struct spinlock {
    uint16_t next, owner; // tickets
};

NONNULL static inline void spin_lock(struct spinlock *l)
{
    uint16_t mine = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    // Acquire pairs with the release in spin_unlock.
    while (UNLIKELY(__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != mine))
        __builtin_ia32_pause();
}

// True when taken; never waits.
NONNULL MUST_CHECK static inline bool spin_trylock(struct spinlock *l)
{
    uint16_t owner = __atomic_load_n(&l->owner, __ATOMIC_RELAXED), next = owner;
    return __atomic_compare_exchange_n(&l->next, &next, (uint16_t)(owner + 1), false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

NONNULL static inline void spin_unlock(struct spinlock *l)
{
    __atomic_store_n(&l->owner, (uint16_t)(l->owner + 1), __ATOMIC_RELEASE);
}

NONNULL MUST_CHECK uint64_t spin_lock_irqsave(struct spinlock *l); // returns the flags to restore
NONNULL void spin_unlock_irqrestore(struct spinlock *l, uint64_t flags);

/* Held across sleeps; taken by tasks only. Not recursive. What it lies in stays until mutex_unlock
 * has returned to all. */
struct mutex {
    struct spinlock lock;
    struct task *owner;   // atomic
    struct list sleepers; // changed under lock
};

NONNULL void mutex_init(struct mutex *m);
NONNULL void mutex_lock(struct mutex *m);
NONNULL void mutex_unlock(struct mutex *m);
