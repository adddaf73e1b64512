// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Wait queues: who waits for an object's events registers a struct waiter; who changes the object
 * calls waitq_wake with what became true. Sleeping tasks, poll/select and epoll all hang here.
 *
 * Events are epoll's bits (EPOLLIN 1, PRI 2, OUT 4, ERR 8, HUP 0x10, RDHUP 0x2000). */
#include "base/base.h"
#include "base/list.h"
#include "kernel/sched/lock.h"

struct task;

enum {
    EV_IN = 0x1,
    EV_PRI = 0x2,
    EV_OUT = 0x4,
    EV_ERR = 0x8,
    EV_HUP = 0x10,
    EV_RDNORM = 0x40,
    EV_WRNORM = 0x100,
    EV_RDHUP = 0x2000,
    EV_ALL = 0xffff,
};

struct waiter {
    struct list link; // protected by the queue's lock
    /* Called with the queue locked, in task or work context: must not sleep, must not touch this
     * queue. Returns true when it took the wake-up (counts against `exclusive_max`). */
    bool (*wake)(struct waiter *w, uint32_t events);
    uint32_t events; // wakes with none of these bits pass it by
    bool exclusive;  // one of these is woken, the others stay asleep (accept, EPOLLEXCLUSIVE)
};

struct waitq {
    struct spinlock lock;
    struct list waiters; // non-exclusive at the front, exclusive at the back
};

NONNULL void waitq_init(struct waitq *q);
NONNULL void waitq_add(struct waitq *q, struct waiter *w);
NONNULL void waitq_remove(struct waitq *q, struct waiter *w); // harmless when it is not there
/* Wake all non-exclusive waiters for these events and up to exclusive_max exclusive ones that take
 * it. Costs a load and a branch when nobody waits. */
NONNULL void waitq_wake(struct waitq *q, uint32_t events, unsigned exclusive_max);

/* A task that waits: task_wait_begin, then loop { task_prepare_sleep(); test; task_sleep(); }, then
 * task_wait_end. A wake between prepare and sleep is not lost. */
struct task_waiter {
    struct waiter w;
    struct task *task;
};
NONNULL void task_wait_begin(struct task_waiter *tw, struct waitq *q, uint32_t events,
                             bool exclusive);
NONNULL void task_wait_end(struct task_waiter *tw, struct waitq *q);

/* For a loop of its own around a single sleep: task_wait_begin, not exclusive, and
 * task_prepare_sleep; task_cancel_sleep and task_wait_end. */
NONNULL void task_wait_arm(struct task_waiter *tw, struct waitq *q, uint32_t events);
NONNULL void task_wait_disarm(struct task_waiter *tw, struct waitq *q);

void task_prepare_sleep(void);
void task_cancel_sleep(void);
/* Sleep until task_wake: 0 woken; -EINTR a signal is to be delivered (only if interruptible);
 * -ETIMEDOUT deadline (DEADLINE_NEVER: none). Wakes may be spurious. */
MUST_CHECK int task_sleep(uint64_t deadline_ns, bool interruptible);
/* True when it was asleep, or on the point of it: it looks at its condition after this. */
NONNULL bool task_wake(struct task *t);

/* Sleep until `cond` holds: 0, -EINTR or -ETIMEDOUT. cond is evaluated many times, without locks
 * unless it takes them. */
#define WAIT_EVENT(q, events, cond, deadline_ns, interruptible)                                    \
    ({                                                                                             \
        int wait_r_ = 0;                                                                           \
        if (!(cond)) {                                                                             \
            struct task_waiter wait_w_;                                                            \
            task_wait_begin(&wait_w_, q, events, false);                                           \
            for (;;) {                                                                             \
                task_prepare_sleep();                                                              \
                if (cond)                                                                          \
                    break;                                                                         \
                wait_r_ = task_sleep(deadline_ns, interruptible);                                  \
                if (wait_r_ < 0)                                                                   \
                    break;                                                                         \
            }                                                                                      \
            task_cancel_sleep();                                                                   \
            task_wait_end(&wait_w_, q);                                                            \
            if (wait_r_ < 0 && (cond))                                                             \
                wait_r_ = 0;                                                                       \
        }                                                                                          \
        wait_r_;                                                                                   \
    })
