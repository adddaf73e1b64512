// SPDX-License-Identifier: Apache-2.0
#include "kernel/socket/socket.h"
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/vfs.h"

void sock_init(struct sock *s, const struct sock_ops *ops, int domain, int type, int protocol)
{
    *s = (struct sock){.ops = ops,
                       .domain = (uint16_t)domain,
                       .type = (uint16_t)type,
                       .protocol = (uint16_t)protocol,
                       .ino = vfs_anon_ino(),
                       .rcv_ns = DEADLINE_NEVER,
                       .snd_ns = DEADLINE_NEVER};
    waitq_init(&s->waitq);
}

void sock_event(struct sock *s, uint32_t ready)
{
    uint32_t events = ready | (ready & EV_IN ? EV_RDNORM : 0u) | (ready & EV_OUT ? EV_WRNORM : 0u);
    // What concerns everybody wakes everybody; one arrival is for one.
    bool all = ready & (EV_ERR | EV_HUP | EV_RDHUP);
    waitq_wake(&s->waitq, events, all ? UINT32_MAX : 1);
}

uint64_t sock_deadline(uint64_t limit_ns, bool nonblock)
{
    if (nonblock || limit_ns == 0)
        return 0;
    if (limit_ns == DEADLINE_NEVER)
        return DEADLINE_NEVER;
    uint64_t now = clock_mono_ns();
    return limit_ns > DEADLINE_NEVER - 1 - now ? DEADLINE_NEVER - 1 : now + limit_ns;
}

int sock_wait(struct sock *s, uint32_t events, uint64_t deadline_ns, bool exclusive)
{
    struct task_waiter w;
    int r = 0;
    if (deadline_ns == 0)
        return -EAGAIN;
    events |= EV_ERR | EV_HUP;
    task_wait_begin(&w, &s->waitq, events, exclusive);
    for (;;) {
        task_prepare_sleep();
        if (s->ops->poll(s) & events)
            break;
        r = task_sleep(deadline_ns, true);
        if (r < 0)
            break;
    }
    task_cancel_sleep();
    task_wait_end(&w, &s->waitq);
    if (r == 0 || s->ops->poll(s) & events)
        return 0;
    if (r == -ETIMEDOUT)
        return -EAGAIN;
    return deadline_ns == DEADLINE_NEVER ? -ERESTARTSYS : -EINTR; // Linux sock_intr_errno
}

// ---- files ----

static struct sock *priv(struct file *f)
{
    return f->priv;
}

static int64_t socket_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct sock_msg m = {.u = u, .flags = nonblock ? MSG_DONTWAIT : 0};
    return u->left == 0 ? 0 : priv(f)->ops->recv(priv(f), &m);
}

static int64_t socket_write(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct sock_msg m = {.u = u, .flags = nonblock ? MSG_DONTWAIT : 0};
    return priv(f)->ops->send(priv(f), &m);
}

static uint32_t socket_poll(struct file *f, struct waitq **ret_queue)
{
    *ret_queue = &priv(f)->waitq;
    return priv(f)->ops->poll(priv(f));
}

static int64_t socket_ioctl(struct file *f, uint32_t cmd, uint64_t arg)
{
    return priv(f)->ops->ioctl(priv(f), cmd, arg);
}

static int socket_stat(struct file *f, struct kstat *ret)
{
    kstat_anon(ret, S_SOCK | 0777, priv(f)->ino);
    return 0;
}

static void socket_release(struct file *f)
{
    priv(f)->ops->release(priv(f));
}

static const struct file_ops socket_file_ops = {
    .name = "socket",
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .ioctl = socket_ioctl,
    .seek = file_no_seek,
    .stat = socket_stat,
    .get_page = file_no_page,
    .release = socket_release,
    .async = true,
};

struct file *sock_file_new(struct sock *s, uint32_t flags)
{
    return file_new(&socket_file_ops, FILE_RDWR | flags, s);
}

struct sock *sock_of(struct file *f)
{
    return f->ops == &socket_file_ops ? f->priv : NULL;
}

int sock_cmsg_next(const struct sock_msg *m, uint64_t *at, struct sock_cmsg *ret,
                   uint64_t *ret_data)
{
    if (m->control_len - *at < sizeof(*ret))
        return 0;
    if (copy_from_user(ret, m->control + *at, sizeof(*ret)) < 0)
        return -EFAULT;
    if (ret->len < sizeof(*ret) || ret->len > m->control_len - *at)
        return -EINVAL;
    *ret_data = m->control + *at + sizeof(*ret);
    *at += MIN(ALIGN_UP(ret->len, (uint64_t)CMSG_ALIGN_BYTES), m->control_len - *at);
    return 1;
}

// ---- buffers ----

static int seg_copy(const struct uio *u, uint64_t at, void *p, size_t n, bool put)
{
    if (u->kernel) {
        void *q = (void *)(uintptr_t)at;
        if (put)
            memcpy(q, p, n);
        else
            memcpy(p, q, n);
        return 0;
    }
    return put ? copy_to_user_atomic(at, p, n) : copy_from_user_atomic(p, at, n);
}

static int uio_copy_atomic(struct uio *u, uint8_t *p, size_t n, bool put)
{
    ASSERT(n <= u->left);
    if (LIKELY(n <= u->seg->len - u->seg_done)) { // nearly always
        int r = seg_copy(u, u->seg->base + u->seg_done, p, n, put);
        if (r == 0) {
            u->seg_done += n;
            u->left -= n;
        }
        return r;
    }
    struct uio v = *u;
    while (n > 0) {
        size_t part = MIN(n, (size_t)v.seg->len - v.seg_done);
        if (part > 0) {
            int r = seg_copy(&v, v.seg->base + v.seg_done, p, part, put);
            if (r < 0)
                return r;
        }
        p += part;
        n -= part;
        v.left -= part;
        v.seg_done += part;
        if (v.seg_done == v.seg->len && v.seg_count > 1) {
            v.seg++;
            v.seg_count--;
            v.seg_done = 0;
        }
    }
    *u = v;
    return 0;
}

int uio_put_atomic(struct uio *u, const void *p, size_t n)
{
    return uio_copy_atomic(u, (uint8_t *)(uintptr_t)p, n, true);
}

int uio_take_atomic(struct uio *u, void *p, size_t n)
{
    return uio_copy_atomic(u, p, n, false);
}

static int page_fault_in(uint64_t at, bool for_write)
{
    char byte;
    return for_write ? clear_user(at, 1) : copy_from_user(&byte, at, 1);
}

int uio_fault_in(const struct uio *u, size_t n, bool for_write)
{
    struct uio v = *u;
    while (n > 0) {
        uint64_t at = v.seg->base + v.seg_done;
        size_t part = MIN(n, (size_t)v.seg->len - v.seg_done);
        for (size_t done = 0; done < part;) {
            int r = page_fault_in(at + done, for_write);
            if (r < 0)
                return r;
            done += PAGE_SIZE - ((at + done) & (PAGE_SIZE - 1));
        }
        n -= part;
        v.seg++;
        v.seg_done = 0;
    }
    return 0;
}
