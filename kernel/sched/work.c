// SPDX-License-Identifier: Apache-2.0
#include "kernel/sched/work.h"

#include "kernel/arch/x86_64/asm.h"
#include "kernel/sched/sched.h"

enum { WORK_RAISED = 1, WORK_RUNNING = 2 };

static void put_on_list(struct work *w)
{
    uint64_t flags = irq_save();
    struct cpu *c = this_cpu();
    w->next = c->works;
    c->works = w;
    cpu_need_work(c, CPU_WORK_DEFERRED);
    irq_restore(flags);
}

void work_raise(struct work *w)
{
    // Pairs with the exchange in run: who finds it lowered sees what the last run did.
    if (__atomic_fetch_or(&w->state, WORK_RAISED, __ATOMIC_ACQ_REL) == 0)
        put_on_list(w);
}

static void run(struct work *w)
{
    (void)__atomic_exchange_n(&w->state, WORK_RUNNING, __ATOMIC_ACQ_REL); // raised: runs again
    w->run(w);
    uint32_t seen = WORK_RUNNING;
    if (__atomic_compare_exchange_n(&w->state, &seen, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    __atomic_fetch_and(&w->state, ~(uint32_t)WORK_RUNNING, __ATOMIC_ACQ_REL);
    put_on_list(w); // raised meanwhile, and left to us
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
        run(w);
    }
}
