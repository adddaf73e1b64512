// SPDX-License-Identifier: Apache-2.0
#include "kernel/sched/wait.h"

#include "kernel/sched/sched.h"

void waitq_init(struct waitq *q)
{
    *q = (struct waitq){0};
    list_init(&q->waiters);
}

void waitq_add(struct waitq *q, struct waiter *w)
{
    spin_lock(&q->lock);
    if (w->exclusive)
        list_push_back(&q->waiters, &w->link);
    else
        list_push_front(&q->waiters, &w->link);
    spin_unlock(&q->lock);
}

void waitq_remove(struct waitq *q, struct waiter *w)
{
    spin_lock(&q->lock);
    list_remove(&w->link);
    spin_unlock(&q->lock);
}

void waitq_wake(struct waitq *q, uint32_t events, unsigned exclusive_max)
{
    // A waiter adds itself before it tests its condition, so an empty list needs no lock.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (list_empty(&q->waiters))
        return;
    spin_lock(&q->lock);
    LIST_FOR_EACH_SAFE (node, &q->waiters) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        if (!(w->events & events))
            continue;
        if (w->exclusive && exclusive_max == 0)
            break;
        if (w->wake(w, events) && w->exclusive)
            exclusive_max--;
    }
    spin_unlock(&q->lock);
}

static bool wake_task(struct waiter *w, UNUSED uint32_t events)
{
    // One that was woken already answers for what woke it: this is for the next.
    return task_wake(CONTAINER_OF(w, struct task_waiter, w)->task);
}

void task_wait_begin(struct task_waiter *tw, struct waitq *q, uint32_t events, bool exclusive)
{
    tw->task = current();
    tw->w = (struct waiter){.wake = wake_task, .events = events, .exclusive = exclusive};
    waitq_add(q, &tw->w);
}

void task_wait_end(struct task_waiter *tw, struct waitq *q)
{
    waitq_remove(q, &tw->w);
}
