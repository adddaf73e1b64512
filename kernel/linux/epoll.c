// SPDX-License-Identifier: Apache-2.0
/* epoll(7), as Linux 6.1 fs/eventpoll.c behaves.
 *
 * A registered file is an item: a waiter on the file's queue. When the file changes, the item goes
 * to the ready list; epoll_wait takes the list, asks each file what is true now, and reports. A
 * level-triggered item that was reported stays on the list; so it is asked again next time.
 *
 * Lock order:
 *     nest_lock (adding an epoll to an epoll)
 *       epoll.mutex (registrations, reporting; an outer epoll's before an inner's)
 *         a file's wait queue (taken by waitq_wake around item_wake)
 *           epoll.lock (ready list)
 *             epoll.wait_queue or poll_queue: after epoll.lock was dropped
 *         file.epoll_lock (the file's list of items)
 * An item's file is alive as long as the item is on its list: a file that goes takes its items off
 * under the mutex of each epoll. */
#include "kernel/linux/epoll.h"

#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/file.h"
#include "kernel/vfs/vfs.h"

enum {
    EPOLL_CTL_ADD = 1,
    EPOLL_CTL_DEL = 2,
    EPOLL_CTL_MOD = 3,
    EPOLL_CLOEXEC = OPEN_CLOEXEC,
    NESTS_MAX = 4, // EP_MAX_NESTS
    EVENTS_MAX = INT32_MAX / 12,
};
#define EPOLL_EXCLUSIVE (1u << 28)
#define EPOLL_WAKEUP    (1u << 29)
#define EPOLL_ONESHOT   (1u << 30)
#define EPOLL_ET        (1u << 31)
#define BASIC_BITS      (EV_IN | EV_OUT | EV_ERR | EV_HUP)
#define PRIVATE_BITS    (EPOLL_EXCLUSIVE | EPOLL_WAKEUP | EPOLL_ONESHOT | EPOLL_ET)
#define EXCLUSIVE_OK    (BASIC_BITS | EPOLL_WAKEUP | EPOLL_ET | EPOLL_EXCLUSIVE)

struct user_event { // struct epoll_event
    uint32_t events;
    uint64_t data;
} PACKED;

struct epoll {
    struct mutex mutex;   // protects items, and what is reported
    struct spinlock lock; // protects ready, missed, scanning
    uint32_t refs;        // atomic
    struct list ready;    // struct item.ready
    struct list missed;   // struct item.missed: became ready while ready was being scanned
    bool scanning;
    struct list items;       // struct item.in_epoll
    unsigned count;          // protected by mutex
    struct waitq wait_queue; // tasks in epoll_wait
    struct waitq poll_queue; // who polls the epoll itself
    unsigned mark;           // protected by nest_lock: seen by the loop check
};

struct item {
    struct waiter waiter;
    struct epoll *ep;        // immutable
    struct file *file;       // immutable, not referenced
    struct waitq *queue;     // immutable; NULL: the file never changes
    int fd;                  // immutable
    struct user_event event; // protected by ep->mutex; events also read by item_wake under ep->lock
    struct list ready, missed, in_epoll, in_file;
};

static struct mutex nest_lock = {.sleepers = {&nest_lock.sleepers, &nest_lock.sleepers}};
static const struct file_ops epoll_ops;

static struct epoll *epoll_of(const struct file *f)
{
    return f->ops == &epoll_ops ? f->priv : NULL;
}

static bool has_ready(struct epoll *ep)
{
    spin_lock(&ep->lock);
    bool some = !list_empty(&ep->ready) || !list_empty(&ep->missed);
    spin_unlock(&ep->lock);
    return some;
}

static bool has_waiters(struct epoll *ep)
{
    spin_lock(&ep->wait_queue.lock);
    bool some = !list_empty(&ep->wait_queue.waiters);
    spin_unlock(&ep->wait_queue.lock);
    return some;
}

/* Somebody may find events now: one waiter of epoll_wait, all who poll the epoll. */
static void announce(struct epoll *ep)
{
    waitq_wake(&ep->wait_queue, EV_IN, 1);
    waitq_wake(&ep->poll_queue, EV_IN, 1);
}

static void push_ready(struct epoll *ep, struct item *it)
{
    if (ep->scanning) {
        if (list_empty(&it->missed))
            list_push_back(&ep->missed, &it->missed);
    } else if (list_empty(&it->ready)) {
        list_push_back(&ep->ready, &it->ready);
    }
}

/* Whether this item's waiter used the wake up, for exclusive waking. Linux ep_poll_callback. */
static bool took_wake(uint32_t interest, uint32_t events, bool waiters)
{
    if (!waiters)
        return false;
    if ((events & (EV_IN | EV_OUT)) == EV_IN)
        return (interest & EV_IN) != 0;
    if ((events & (EV_IN | EV_OUT)) == EV_OUT)
        return (interest & EV_OUT) != 0;
    return (events & (EV_IN | EV_OUT)) == 0;
}

static bool item_wake(struct waiter *w, uint32_t events)
{
    struct item *it = CONTAINER_OF(w, struct item, waiter);
    struct epoll *ep = it->ep;
    spin_lock(&ep->lock);
    uint32_t interest = it->event.events;
    bool wanted = (interest & ~PRIVATE_BITS) != 0 && (events == 0 || (events & interest) != 0);
    if (wanted)
        push_ready(ep, it);
    spin_unlock(&ep->lock);
    if (!wanted)
        return (interest & EPOLL_EXCLUSIVE) == 0;
    if ((interest & EPOLL_EXCLUSIVE) == 0) {
        announce(ep);
        return true;
    }
    bool waiters = has_waiters(ep);
    announce(ep);
    return took_wake(interest, events, waiters);
}

/* What is true of the item's file now, of what it is registered for. */
static uint32_t item_poll(const struct item *it)
{
    struct waitq *q;
    return it->file->ops->poll(it->file, &q) & it->event.events;
}

// --- scanning: ep->mutex held ---

/* Take the ready list; until scan_end new events go to the missed list. */
static void scan_begin(struct epoll *ep, struct list *ret)
{
    list_init(ret);
    spin_lock(&ep->lock);
    if (!list_empty(&ep->ready)) {
        list_insert_after(&ep->ready, ret);
        list_remove(&ep->ready); // ret heads the same ring now
    }
    ep->scanning = true;
    spin_unlock(&ep->lock);
}

/* Put back what was not reported, in front, and what happened meanwhile, behind. */
static void scan_end(struct epoll *ep, struct list *rest)
{
    spin_lock(&ep->lock);
    ep->scanning = false;
    struct list *at;
    while ((at = list_pop_front(&ep->missed)) != NULL) {
        struct item *it = LIST_ENTRY(at, struct item, missed);
        if (list_empty(&it->ready))
            list_push_back(&ep->ready, &it->ready);
    }
    while (!list_empty(rest)) {
        at = rest->prev;
        list_remove(at);
        list_push_front(&ep->ready, at);
    }
    bool more = !list_empty(&ep->ready);
    spin_unlock(&ep->lock);
    if (more)
        waitq_wake(&ep->wait_queue, EV_IN, 1);
}

/* Give one event to the program: 1, 0 nothing is true any more, -EFAULT. The item is off the
 * list. */
static int report(struct epoll *ep, struct item *it, uint64_t to)
{
    uint32_t events = item_poll(it);
    if (events == 0)
        return 0;
    struct user_event e = {.events = events, .data = it->event.data};
    if (copy_to_user(to, &e, sizeof(e)) < 0)
        return -EFAULT;
    spin_lock(&ep->lock);
    if (it->event.events & EPOLL_ONESHOT)
        it->event.events &= PRIVATE_BITS;
    else if ((it->event.events & EPOLL_ET) == 0)
        list_push_back(&ep->ready, &it->ready); // level-triggered: asked again next time
    spin_unlock(&ep->lock);
    return 1;
}

/* Report up to max events: how many, or -EFAULT. */
static int64_t send_events(struct epoll *ep, uint64_t user, int max)
{
    struct list scan;
    int n = 0, r = 0;
    mutex_lock(&ep->mutex);
    scan_begin(ep, &scan);
    while (n < max && !list_empty(&scan)) {
        struct item *it = LIST_ENTRY(scan.next, struct item, ready);
        list_remove(&it->ready);
        r = report(ep, it, user + (uint64_t)n * sizeof(struct user_event));
        if (r < 0) {
            list_push_front(&scan, &it->ready);
            break;
        }
        n += r;
    }
    scan_end(ep, &scan);
    mutex_unlock(&ep->mutex);
    return n > 0 || r >= 0 ? n : r;
}

/* An epoll is readable when one of its items is. */
static uint32_t epoll_poll(struct file *f, struct waitq **ret_queue)
{
    struct epoll *ep = f->priv;
    struct list scan;
    uint32_t r = 0;
    *ret_queue = &ep->poll_queue;
    if (!has_ready(ep))
        return 0;
    mutex_lock(&ep->mutex);
    scan_begin(ep, &scan);
    while (r == 0 && !list_empty(&scan)) {
        struct item *it = LIST_ENTRY(scan.next, struct item, ready);
        if (item_poll(it) != 0)
            r = EV_IN | EV_RDNORM;
        else
            list_remove(&it->ready);
    }
    scan_end(ep, &scan);
    mutex_unlock(&ep->mutex);
    return r;
}

// --- registrations: ep->mutex held ---

static struct item *item_find(struct epoll *ep, struct file *f, int fd)
{
    struct item *found = NULL;
    spin_lock(&f->epoll_lock);
    LIST_FOR_EACH (at, &f->epoll_links) {
        struct item *it = LIST_ENTRY(at, struct item, in_file);
        if (it->ep == ep && it->fd == fd) {
            found = it;
            break;
        }
    }
    spin_unlock(&f->epoll_lock);
    return found;
}

static void item_remove(struct item *it)
{
    struct epoll *ep = it->ep;
    if (it->queue != NULL)
        waitq_remove(it->queue, &it->waiter);
    spin_lock(&ep->lock);
    list_remove(&it->ready);
    list_remove(&it->missed);
    spin_unlock(&ep->lock);
    list_remove(&it->in_epoll);
    ep->count--;
    spin_lock(&it->file->epoll_lock);
    list_remove(&it->in_file);
    spin_unlock(&it->file->epoll_lock);
    kfree(it);
}

/* Something may be true already: put the item on the list if so. */
static void item_check(struct item *it)
{
    struct epoll *ep = it->ep;
    if (item_poll(it) == 0)
        return;
    spin_lock(&ep->lock);
    bool pushed = list_empty(&it->ready);
    if (pushed)
        list_push_back(&ep->ready, &it->ready);
    spin_unlock(&ep->lock);
    if (pushed)
        announce(ep);
}

static int item_add(struct epoll *ep, struct file *f, int fd, const struct user_event *event)
{
    struct item *it = kzalloc(sizeof(*it));
    if (it == NULL)
        return -ENOMEM;
    *it = (struct item){
        .waiter = {.wake = item_wake,
                   .events = EV_ALL,
                   .exclusive = (event->events & EPOLL_EXCLUSIVE) != 0},
        .ep = ep,
        .file = f,
        .fd = fd,
        .event = *event,
    };
    list_init(&it->waiter.link);
    list_init(&it->ready);
    list_init(&it->missed);
    list_push_back(&ep->items, &it->in_epoll);
    ep->count++;
    spin_lock(&f->epoll_lock);
    list_push_back(&f->epoll_links, &it->in_file);
    spin_unlock(&f->epoll_lock);
    (void)f->ops->poll(f, &it->queue);
    if (it->queue != NULL)
        waitq_add(it->queue, &it->waiter);
    item_check(it);
    return 0;
}

static void item_modify(struct item *it, const struct user_event *event)
{
    spin_lock(&it->ep->lock);
    it->event = *event;
    spin_unlock(&it->ep->lock);
    item_check(it);
}

static void epoll_put(struct epoll *ep)
{
    if (__atomic_sub_fetch(&ep->refs, 1, __ATOMIC_ACQ_REL) == 0)
        kfree(ep);
}

/* The epoll of the first registration of f, with a reference; or NULL. */
static struct epoll *first_epoll(struct file *f)
{
    struct epoll *ep = NULL;
    spin_lock(&f->epoll_lock);
    if (!list_empty(&f->epoll_links)) {
        ep = LIST_ENTRY(f->epoll_links.next, struct item, in_file)->ep;
        __atomic_fetch_add(&ep->refs, 1, __ATOMIC_RELAXED);
    }
    spin_unlock(&f->epoll_lock);
    return ep;
}

static struct item *first_item(struct file *f, const struct epoll *ep)
{
    struct item *found = NULL;
    spin_lock(&f->epoll_lock);
    LIST_FOR_EACH (at, &f->epoll_links)
        if (LIST_ENTRY(at, struct item, in_file)->ep == ep) {
            found = LIST_ENTRY(at, struct item, in_file);
            break;
        }
    spin_unlock(&f->epoll_lock);
    return found;
}

void epoll_file_gone(struct file *f)
{
    struct epoll *ep;
    while ((ep = first_epoll(f)) != NULL) {
        struct item *it;
        mutex_lock(&ep->mutex);
        while ((it = first_item(f, ep)) != NULL)
            item_remove(it);
        mutex_unlock(&ep->mutex);
        epoll_put(ep);
    }
}

static void epoll_release(struct file *f)
{
    struct epoll *ep = f->priv;
    mutex_lock(&ep->mutex);
    while (!list_empty(&ep->items))
        item_remove(LIST_ENTRY(ep->items.next, struct item, in_epoll));
    mutex_unlock(&ep->mutex);
    epoll_put(ep);
}

// --- nesting: nest_lock held ---

/* Whether ep leads to target through epolls it holds, or deeper than allowed: -ELOOP. */
static int check_below(struct epoll *ep, const struct epoll *target, unsigned depth)
{
    int r = 0;
    if (ep == target || depth > NESTS_MAX)
        return -ELOOP;
    mutex_lock(&ep->mutex);
    LIST_FOR_EACH (at, &ep->items) {
        struct epoll *inner = epoll_of(LIST_ENTRY(at, struct item, in_epoll)->file);
        if (inner != NULL && r == 0)
            r = check_below(inner, target, depth + 1);
    }
    mutex_unlock(&ep->mutex);
    return r;
}

// --- system calls ---

static int epoll_stat(struct file *f UNUSED, struct kstat *ret)
{
    kstat_anon(ret, 0600, ANON_INO);
    return 0;
}

static const struct file_ops epoll_ops = {
    .name = "eventpoll",
    .read = file_no_read,
    .write = file_no_write,
    .poll = epoll_poll,
    .ioctl = file_no_ioctl,
    .seek = file_noop_seek,
    .stat = epoll_stat,
    .get_page = file_no_page,
    .release = epoll_release,
};

static int64_t create(uint32_t flags)
{
    if (flags & ~(uint32_t)EPOLL_CLOEXEC)
        return -EINVAL;
    struct epoll *ep = kzalloc(sizeof(*ep));
    if (ep == NULL)
        return -ENOMEM;
    ep->refs = 1;
    mutex_init(&ep->mutex);
    list_init(&ep->ready);
    list_init(&ep->missed);
    list_init(&ep->items);
    waitq_init(&ep->wait_queue);
    waitq_init(&ep->poll_queue);
    struct file *f = file_new(&epoll_ops, FILE_RDWR, ep);
    if (f == NULL) {
        epoll_put(ep);
        return -ENOMEM;
    }
    int fd = fd_install(f, 0, (flags & EPOLL_CLOEXEC) != 0);
    if (fd < 0)
        file_put(f);
    return fd;
}

int64_t sys_epoll_create(const uint64_t arg[static 6])
{
    return (int32_t)arg[0] <= 0 ? -EINVAL : create(0);
}

int64_t sys_epoll_create1(const uint64_t arg[static 6])
{
    return create((uint32_t)arg[0]);
}

/* The checks of Linux do_epoll_ctl on what was asked, in its order. */
static int ctl_check(const struct file *ef, const struct file *f, int op,
                     const struct user_event *event)
{
    if (f->ops->poll == file_always_ready)
        return -EPERM;
    if (ef == f || epoll_of(ef) == NULL)
        return -EINVAL;
    if (op != EPOLL_CTL_DEL && (event->events & EPOLL_EXCLUSIVE)) {
        if (op == EPOLL_CTL_MOD)
            return -EINVAL;
        if (epoll_of(f) != NULL || (event->events & ~EXCLUSIVE_OK))
            return -EINVAL;
    }
    return 0;
}

static int ctl_act(struct epoll *ep, struct file *f, int fd, int op, struct user_event *event)
{
    struct item *it = item_find(ep, f, fd);
    event->events |= EV_ERR | EV_HUP;
    switch (op) {
    case EPOLL_CTL_ADD:
        return it != NULL ? -EEXIST : item_add(ep, f, fd, event);
    case EPOLL_CTL_DEL:
        if (it == NULL)
            return -ENOENT;
        item_remove(it);
        return 0;
    case EPOLL_CTL_MOD:
        if (it == NULL)
            return -ENOENT;
        if (it->event.events & EPOLL_EXCLUSIVE)
            return -EINVAL;
        item_modify(it, event);
        return 0;
    default:
        return -EINVAL;
    }
}

static int ctl(struct file *ef, struct file *f, int fd, int op, struct user_event *event)
{
    int r = ctl_check(ef, f, op, event);
    if (r < 0)
        return r;
    struct epoll *ep = epoll_of(ef);
    bool nested = op == EPOLL_CTL_ADD && epoll_of(f) != NULL;
    if (nested) {
        mutex_lock(&nest_lock);
        r = check_below(epoll_of(f), ep, 1);
    }
    if (r == 0) {
        mutex_lock(&ep->mutex);
        r = ctl_act(ep, f, fd, op, event);
        mutex_unlock(&ep->mutex);
    }
    if (nested)
        mutex_unlock(&nest_lock);
    return r;
}

int64_t sys_epoll_ctl(const uint64_t arg[static 6])
{
    int op = (int)arg[1], fd = (int)arg[2];
    struct user_event event = {0};
    if (op != EPOLL_CTL_DEL && copy_from_user(&event, arg[3], sizeof(event)) < 0)
        return -EFAULT;
    struct file *ef = fd_get_io((int)arg[0]);
    if (ef == NULL)
        return -EBADF;
    struct file *f = fd_get_io(fd);
    int r = f == NULL ? -EBADF : ctl(ef, f, fd, op, &event);
    file_put(f);
    file_put(ef);
    return r;
}

/* Sleep until there may be something: 0, -EINTR, -ETIMEDOUT. */
static int wait_ready(struct epoll *ep, uint64_t deadline_ns)
{
    struct task_waiter tw;
    int r = 0;
    task_wait_begin(&tw, &ep->wait_queue, EV_IN, true);
    for (;;) {
        task_prepare_sleep();
        if (has_ready(ep))
            break;
        r = task_sleep(deadline_ns, true);
        if (r < 0)
            break;
    }
    task_cancel_sleep();
    task_wait_end(&tw, &ep->wait_queue);
    return r < 0 && has_ready(ep) ? 0 : r;
}

/* deadline_ns: absolute; 0: do not wait. */
static int64_t wait_events(struct epoll *ep, uint64_t user, int max, uint64_t deadline_ns)
{
    for (;;) {
        if (has_ready(ep)) {
            int64_t n = send_events(ep, user, max);
            if (n != 0)
                return n;
        }
        if (deadline_ns == 0)
            return 0;
        int r = wait_ready(ep, deadline_ns);
        if (r == -ETIMEDOUT)
            return 0;
        if (r < 0)
            return r;
        if (deadline_ns != DEADLINE_NEVER && !has_ready(ep) && clock_mono_ns() >= deadline_ns)
            return 0;
    }
}

static int64_t do_wait(int epfd, uint64_t user, int max, uint64_t deadline_ns)
{
    if (max <= 0 || max > EVENTS_MAX)
        return -EINVAL;
    if (!user_range_ok(user, (uint64_t)max * sizeof(struct user_event)))
        return -EFAULT;
    struct file *f = fd_get_io(epfd);
    if (f == NULL)
        return -EBADF;
    struct epoll *ep = epoll_of(f);
    int64_t r = ep == NULL ? -EINVAL : wait_events(ep, user, max, deadline_ns);
    file_put(f);
    return r;
}

static uint64_t deadline_of_ms(int32_t ms)
{
    if (ms < 0)
        return DEADLINE_NEVER;
    return ms == 0 ? 0 : clock_mono_ns() + (uint64_t)ms * 1000000;
}

int64_t sys_epoll_wait(const uint64_t arg[static 6])
{
    return do_wait((int)arg[0], arg[1], (int)arg[2], deadline_of_ms((int32_t)arg[3]));
}

static int64_t pwait(const uint64_t arg[static 6], uint64_t deadline_ns)
{
    int r = sigmask_enter(arg[4], arg[5]);
    if (r < 0)
        return r;
    int64_t n = do_wait((int)arg[0], arg[1], (int)arg[2], deadline_ns);
    if (arg[4] != 0)
        sigmask_leave(n);
    return n;
}

int64_t sys_epoll_pwait(const uint64_t arg[static 6])
{
    return pwait(arg, deadline_of_ms((int32_t)arg[3]));
}

int64_t sys_epoll_pwait2(const uint64_t arg[static 6])
{
    uint64_t ns = 0;
    if (arg[3] == 0)
        return pwait(arg, DEADLINE_NEVER);
    int r = timespec_from_user(arg[3], &ns);
    if (r < 0)
        return r;
    uint64_t deadline = 0;
    if (ns != 0 && __builtin_add_overflow(clock_mono_ns(), ns, &deadline))
        deadline = DEADLINE_NEVER;
    return pwait(arg, deadline);
}
