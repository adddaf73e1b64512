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

/* waitq_wake, locked. */
static __attribute__((noinline)) void wake_many(struct waitq *q, uint32_t events,
                                                unsigned exclusive_max)
{
    LIST_FOR_EACH_SAFE (node, &q->waiters) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        if (!(w->events & events))
            continue;
        if (w->exclusive && exclusive_max == 0)
            break;
        if (w->wake(w, events) && w->exclusive)
            exclusive_max--;
    }
}

void waitq_wake(struct waitq *q, uint32_t events, unsigned exclusive_max)
{
    // A waiter adds itself before it tests its condition, so an empty list needs no lock.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (list_empty(&q->waiters))
        return;
    spin_lock(&q->lock);
    struct list *first = q->waiters.next;
    if (first->next == &q->waiters) { // one, or none any more: as below, in fewer steps
        struct waiter *w = LIST_ENTRY(first, struct waiter, link);
        if (first != &q->waiters && (w->events & events) && (!w->exclusive || exclusive_max > 0))
            (void)w->wake(w, events);
        spin_unlock(&q->lock);
        return;
    }
    wake_many(q, events, exclusive_max);
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

void task_wait_arm(struct task_waiter *tw, struct waitq *q, uint32_t events)
{
    struct task *me = current();
    tw->task = me;
    tw->w.wake = wake_task;
    tw->w.events = events;
    tw->w.exclusive = false;
    spin_lock(&q->lock);
    list_push_front(&q->waiters, &tw->w.link);
    spin_unlock(&q->lock);
    __atomic_store_n(&me->sched->state, TASK_SLEEPING, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // before the caller's test, as task_prepare_sleep
}

void task_wait_disarm(struct task_waiter *tw, struct waitq *q)
{
    __atomic_store_n(&current()->sched->state, TASK_RUNNING, __ATOMIC_RELAXED);
    spin_lock(&q->lock);
    tw->w.link.prev->next = tw->w.link.next; // the node itself is not used again
    tw->w.link.next->prev = tw->w.link.prev;
    spin_unlock(&q->lock);
}
