// SPDX-License-Identifier: Apache-2.0
/* eventfd(2), Linux 6.1 fs/eventfd.c. */
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

enum { EFD_SEMAPHORE = 1, EFD_CLOEXEC = OPEN_CLOEXEC, EFD_NONBLOCK = FILE_NONBLOCK };

struct eventfd {
    struct waitq queue;
    struct spinlock lock;
    uint64_t count; // protected by lock
    bool semaphore; // immutable
};

static uint64_t count_of(const struct eventfd *e)
{
    return __atomic_load_n(&e->count, __ATOMIC_ACQUIRE);
}

/* Take what a read gets; 0: there is nothing. */
static uint64_t take(struct eventfd *e)
{
    spin_lock(&e->lock);
    uint64_t got = e->semaphore && e->count > 0 ? 1 : e->count;
    __atomic_store_n(&e->count, e->count - got, __ATOMIC_RELEASE);
    spin_unlock(&e->lock);
    return got;
}

static int64_t eventfd_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct eventfd *e = f->priv;
    uint64_t got;
    if (u->left < sizeof(got))
        return -EINVAL;
    while ((got = take(e)) == 0) {
        if (nonblock)
            return -EAGAIN;
        if (WAIT_EVENT(&e->queue, EV_IN, count_of(e) > 0, DEADLINE_NEVER, true) < 0)
            return -ERESTARTSYS;
    }
    waitq_wake(&e->queue, EV_OUT, 1);
    return uio_put(u, &got, sizeof(got)) < 0 ? -EFAULT : (int64_t)sizeof(got);
}

/* Add unless it would pass the largest value a program can have written. */
static bool add(struct eventfd *e, uint64_t n)
{
    spin_lock(&e->lock);
    bool fits = UINT64_MAX - e->count > n;
    if (fits)
        __atomic_store_n(&e->count, e->count + n, __ATOMIC_RELEASE);
    spin_unlock(&e->lock);
    return fits;
}

static int64_t eventfd_write(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct eventfd *e = f->priv;
    uint64_t n;
    if (u->left < sizeof(n))
        return -EINVAL;
    if (uio_take(u, &n, sizeof(n)) < 0)
        return -EFAULT;
    if (n == UINT64_MAX)
        return -EINVAL;
    while (!add(e, n)) {
        if (nonblock)
            return -EAGAIN;
        if (WAIT_EVENT(&e->queue, EV_OUT, UINT64_MAX - count_of(e) > n, DEADLINE_NEVER, true) < 0)
            return -ERESTARTSYS;
    }
    waitq_wake(&e->queue, EV_IN, 1);
    return sizeof(n);
}

static uint32_t eventfd_poll(struct file *f, struct waitq **ret_queue)
{
    struct eventfd *e = f->priv;
    *ret_queue = &e->queue;
    uint64_t count = count_of(e);
    return (count > 0 ? (uint32_t)EV_IN : 0) | (count == UINT64_MAX ? (uint32_t)EV_ERR : 0) |
           (count < UINT64_MAX - 1 ? (uint32_t)EV_OUT : 0);
}

static int eventfd_stat(struct file *f UNUSED, struct kstat *ret)
{
    kstat_anon(ret, 0600, ANON_INO);
    return 0;
}

static void eventfd_release(struct file *f)
{
    kfree(f->priv);
}

static const struct file_ops eventfd_ops = {
    .name = "eventfd",
    .read = eventfd_read,
    .write = eventfd_write,
    .poll = eventfd_poll,
    .ioctl = file_no_ioctl,
    .seek = file_noop_seek,
    .stat = eventfd_stat,
    .get_page = file_no_page,
    .release = eventfd_release,
};

static int64_t create(uint32_t initial, uint32_t flags)
{
    if (flags & ~(uint32_t)(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK))
        return -EINVAL;
    struct eventfd *e = kzalloc(sizeof(*e));
    if (e == NULL)
        return -ENOMEM;
    waitq_init(&e->queue);
    e->count = initial;
    e->semaphore = (flags & EFD_SEMAPHORE) != 0;
    struct file *f = file_new(&eventfd_ops, FILE_RDWR | (flags & EFD_NONBLOCK), e);
    if (f == NULL) {
        kfree(e);
        return -ENOMEM;
    }
    int fd = fd_install(f, 0, (flags & EFD_CLOEXEC) != 0);
    if (fd < 0)
        file_put(f);
    return fd;
}

int64_t sys_eventfd(const uint64_t arg[static 6])
{
    return create((uint32_t)arg[0], 0);
}

int64_t sys_eventfd2(const uint64_t arg[static 6])
{
    return create((uint32_t)arg[0], (uint32_t)arg[1]);
}
