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

void mutex_lock(struct mutex *m)
{
    struct task *me = current();
    spin_lock(&m->lock);
    if (LIKELY(m->owner == NULL)) {
        m->owner = me;
        spin_unlock(&m->lock);
        return;
    }
    ASSERT(m->owner != me);
    struct mutex_sleeper sleeper = {.task = me};
    list_push_back(&m->sleepers, &sleeper.link);
    while (m->owner != me) { // the unlocker hands it over
        task_prepare_sleep();
        spin_unlock(&m->lock);
        int r = task_sleep(DEADLINE_NEVER, false);
        ASSERT(r == 0);
        spin_lock(&m->lock);
    }
    spin_unlock(&m->lock);
}

void mutex_unlock(struct mutex *m)
{
    spin_lock(&m->lock);
    ASSERT(m->owner == current());
    struct list *first = list_pop_front(&m->sleepers);
    m->owner = first != NULL ? LIST_ENTRY(first, struct mutex_sleeper, link)->task : NULL;
    if (m->owner != NULL)
        task_wake(m->owner);
    spin_unlock(&m->lock);
}
