// SPDX-License-Identifier: Apache-2.0
#include "kernel/sched/lock.h"

#include "kernel/arch/x86_64/asm.h"
#include "kernel/sched/sched.h"

uint64_t spin_lock_irqsave(struct spinlock *l)
{
    uint64_t flags = irq_save();
    spin_lock(l);
    return flags;
}

void spin_unlock_irqrestore(struct spinlock *l, uint64_t flags)
{
    spin_unlock(l);
    irq_restore(flags);
}

void mutex_init(struct mutex *m)
{
    *m = (struct mutex){0};
    list_init(&m->sleepers);
}

struct mutex_sleeper {
    struct list link;
    struct task *task;
};

/* Queue up first, look again then: an unlocker first lets go and looks at the queue then, so that
 * one of us sees the other. */
static COLD void lock_slowly(struct mutex *m, struct task *me)
{
    enum { SPINS = 200 };
    struct mutex_sleeper sleeper = {.task = me};
    struct task *none;
    ASSERT(__atomic_load_n(&m->owner, __ATOMIC_RELAXED) != me);
    // Most are held briefly: another CPU may let go before we could sleep.
    for (int i = 0; cpu_count > 1 && i < SPINS; i++) {
        none = NULL;
        if (__atomic_load_n(&m->owner, __ATOMIC_RELAXED) == NULL &&
            __atomic_compare_exchange_n(&m->owner, &none, me, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return;
        cpu_relax();
    }
    none = NULL;
    spin_lock(&m->lock);
    list_push_back(&m->sleepers, &sleeper.link);
    if (__atomic_compare_exchange_n(&m->owner, &none, me, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
        list_remove(&sleeper.link);
        spin_unlock(&m->lock);
        return;
    }
    while (__atomic_load_n(&m->owner, __ATOMIC_RELAXED) != me) { // the unlocker hands it over
        task_prepare_sleep();
        spin_unlock(&m->lock);
        int r = task_sleep(DEADLINE_NEVER, false);
        ASSERT(r == 0);
        spin_lock(&m->lock);
    }
    spin_unlock(&m->lock);
}

void mutex_lock(struct mutex *m)
{
    struct task *me = current(), *none = NULL;
    if (UNLIKELY(!__atomic_compare_exchange_n(&m->owner, &none, me, false, __ATOMIC_ACQUIRE,
                                              __ATOMIC_RELAXED)))
        lock_slowly(m, me);
}

/* Hand over to the first that sleeps, unless another was quicker: its unlock comes here then. */
static COLD void hand_over(struct mutex *m)
{
    spin_lock(&m->lock);
    if (!list_empty(&m->sleepers)) {
        struct mutex_sleeper *first = LIST_ENTRY(m->sleepers.next, struct mutex_sleeper, link);
        struct task *next = first->task, *none = NULL;
        if (__atomic_compare_exchange_n(&m->owner, &none, next, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
            list_remove(&first->link);
            task_wake(next);
        }
    }
    spin_unlock(&m->lock);
}

void mutex_unlock(struct mutex *m)
{
    struct task *before = __atomic_exchange_n(&m->owner, NULL, __ATOMIC_SEQ_CST);
    ASSERT(before == current());
    if (UNLIKELY(__atomic_load_n(&m->sleepers.next, __ATOMIC_SEQ_CST) != &m->sleepers))
        hand_over(m);
}
