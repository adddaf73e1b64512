// SPDX-License-Identifier: Apache-2.0
#include "kernel/sched/work.h"

#include "kernel/arch/x86_64/asm.h"
#include "kernel/sched/sched.h"

void work_raise(struct work *w)
{
    // Pairs with the release in work_run: who finds it lowered sees what the last run did.
    if (__atomic_exchange_n(&w->raised, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    uint64_t flags = irq_save();
    struct cpu *c = this_cpu();
    w->next = c->works;
    c->works = w;
    cpu_need_work(c, CPU_WORK_DEFERRED);
    irq_restore(flags);
}

void work_run(void)
{
    uint64_t flags = irq_save();
    struct cpu *c = this_cpu();
    __atomic_fetch_and(&c->need_work, ~(uint32_t)CPU_WORK_DEFERRED, __ATOMIC_RELAXED);
    struct work *list = c->works, *oldest = NULL;
    c->works = NULL;
    irq_restore(flags);
    while (list != NULL) { // newest first: turn it round
        struct work *next = list->next;
        list->next = oldest;
        oldest = list;
        list = next;
    }
    while (oldest != NULL) {
        struct work *w = oldest;
        oldest = w->next;
        __atomic_store_n(&w->raised, 0, __ATOMIC_RELEASE); // raised from here on: runs again
        w->run(w);
    }
}
