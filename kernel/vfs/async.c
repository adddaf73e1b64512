// SPDX-License-Identifier: Apache-2.0
/* A file with O_ASYNC waits on its own queue, as an epoll registration does. A wake notes what
 * became true; work sends the signals, since a queue's waiters are woken under its lock.
 *
 * Lock order: a file's wait queue -> async_lock. */
#include "kernel/vfs/async.h"

#include "base/errno.h"
#include "base/list.h"
#include "kernel/linux/signal.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/wait.h"
#include "kernel/sched/work.h"
#include "kernel/vfs/file.h"

enum { SIGIO = 29, POLL_IN = 1, POLL_OUT = 2, POLL_ERR = 4, POLL_HUP = 6 };

struct async {
    struct waiter waiter;
    struct waitq *queue;      // protected by async_mutex: where the waiter is; NULL: O_ASYNC is off
    struct list link;         // protected by async_lock: in `raised`
    uint32_t events;          // protected by async_lock: not told yet
    struct async_owner owner; // protected by async_lock
    int signo;                // protected by async_lock
    int fd;                   // protected by async_lock
};

static struct spinlock async_lock;
static struct mutex async_mutex = {.sleepers = {&async_mutex.sleepers, &async_mutex.sleepers}};
static struct list raised = {&raised, &raised}; // protected by async_lock

static void send(const struct async *a, uint32_t events)
{
    static const struct {
        uint32_t events;
        int code;
        uint32_t band; // Linux band_table
    } bands[] = {
        {EV_IN, POLL_IN, EV_IN | EV_RDNORM},
        {EV_OUT, POLL_OUT, EV_OUT | EV_WRNORM},
        {EV_ERR, POLL_ERR, EV_ERR},
        {EV_HUP, POLL_HUP, EV_HUP | EV_ERR},
    };
    for (unsigned i = 0; i < ARRAY_LEN(bands); i++) {
        if ((events & bands[i].events) == 0)
            continue;
        struct siginfo info = {.signo = SIGIO, .code = SI_KERNEL};
        if (a->signo != 0) {
            info = (struct siginfo){.signo = a->signo, .code = bands[i].code};
            info.poll.band = bands[i].band;
            info.poll.fd = a->fd;
        }
        signal_send_owner(a->owner.type, a->owner.id, &info);
    }
}

static void tell(struct work *w UNUSED)
{
    for (;;) {
        struct async copy;
        uint32_t events = 0;
        spin_lock(&async_lock);
        struct list *at = list_pop_front(&raised);
        if (at != NULL) {
            struct async *a = LIST_ENTRY(at, struct async, link);
            events = a->events;
            a->events = 0;
            copy = *a;
        }
        spin_unlock(&async_lock);
        if (at == NULL)
            return;
        if (copy.owner.id != 0)
            send(&copy, events);
    }
}

static struct work async_work = {.run = tell};

static bool async_wake(struct waiter *w, uint32_t events)
{
    struct async *a = CONTAINER_OF(w, struct async, waiter);
    spin_lock(&async_lock);
    a->events |= events & (EV_IN | EV_OUT | EV_ERR | EV_HUP);
    if (a->events != 0 && list_empty(&a->link))
        list_push_back(&raised, &a->link);
    spin_unlock(&async_lock);
    work_raise(&async_work);
    return true;
}

static struct async *async_of(struct file *f)
{
    return __atomic_load_n(&f->async, __ATOMIC_ACQUIRE);
}

/* The file's, made when it has none: or NULL. */
static struct async *async_make(struct file *f)
{
    struct async *a = async_of(f), *there = NULL;
    if (a != NULL)
        return a;
    a = kzalloc(sizeof(*a));
    if (a == NULL)
        return NULL;
    a->waiter = (struct waiter){.wake = async_wake, .events = EV_ALL};
    list_init(&a->waiter.link);
    list_init(&a->link);
    if (__atomic_compare_exchange_n(&f->async, &there, a, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return a;
    kfree(a);
    return there;
}

int async_owner_set(struct file *f, struct async_owner owner)
{
    struct async *a = async_make(f);
    if (a == NULL)
        return -ENOMEM;
    spin_lock(&async_lock);
    a->owner = owner;
    spin_unlock(&async_lock);
    return 0;
}

int async_signal_set(struct file *f, int signo)
{
    struct async *a = async_make(f);
    if (a == NULL)
        return -ENOMEM;
    spin_lock(&async_lock);
    a->signo = signo;
    spin_unlock(&async_lock);
    return 0;
}

struct async_owner async_owner_get(struct file *f)
{
    struct async_owner owner = {.type = F_OWNER_PID};
    spin_lock(&async_lock);
    if (async_of(f) != NULL)
        owner = async_of(f)->owner;
    spin_unlock(&async_lock);
    return owner;
}

int async_signal_get(struct file *f)
{
    const struct async *a = async_of(f);
    return a != NULL ? a->signo : 0;
}

int async_enable(struct file *f, int fd, bool on)
{
    if (!f->ops->async)
        return 0;
    struct async *a = on ? async_make(f) : async_of(f);
    if (a == NULL)
        return on ? -ENOMEM : 0;
    mutex_lock(&async_mutex);
    if (on && a->queue == NULL) {
        (void)f->ops->poll(f, &a->queue);
        if (a->queue != NULL)
            waitq_add(a->queue, &a->waiter);
    } else if (!on && a->queue != NULL) {
        waitq_remove(a->queue, &a->waiter);
        a->queue = NULL;
    }
    spin_lock(&async_lock);
    a->fd = fd;
    spin_unlock(&async_lock);
    if (on)
        __atomic_fetch_or(&f->flags, (uint32_t)FILE_ASYNC, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&f->flags, ~(uint32_t)FILE_ASYNC, __ATOMIC_RELAXED);
    mutex_unlock(&async_mutex);
    return 0;
}

void async_file_gone(struct file *f)
{
    struct async *a = f->async;
    if (a == NULL)
        return;
    if (a->queue != NULL)
        waitq_remove(a->queue, &a->waiter);
    spin_lock(&async_lock);
    list_remove(&a->link);
    spin_unlock(&async_lock);
    kfree(a);
}
