// SPDX-License-Identifier: Apache-2.0
/* System calls that move data over sockets (Linux net/socket.c). read(2), write(2) and their kin
 * come through the file's operations instead. */
#include "base/mem.h"
#include "kernel/linux/socket.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"

enum { SEGS_ON_STACK = 8 }; // UIO_FASTIOV

struct user_msghdr {
    uint64_t name;
    int32_t name_len;
    uint32_t pad;
    uint64_t iov;
    uint64_t iov_len;
    uint64_t control;
    uint64_t control_len;
    uint32_t flags;
    uint32_t pad2;
};
_Static_assert(sizeof(struct user_msghdr) == 56, "Linux include/linux/socket.h");
enum { MMSG_BYTES = 64, MMSG_LEN = 56 }; // struct mmsghdr: the header, then its count of bytes

static int uio_of_buffer(struct uio *ret, struct uio_seg *seg, uint64_t base, uint64_t len)
{
    len = MIN(len, (uint64_t)RW_BYTES_MAX);
    if (!user_range_ok(base, len))
        return -EFAULT;
    *ret = uio_one(seg, base, len, false);
    return 0;
}

static uint32_t msg_flags(uint64_t flags, const struct file *f)
{
    return (uint32_t)flags | (socket_nonblock(f) ? MSG_DONTWAIT : 0u);
}

int64_t sys_sendto(const uint64_t arg[static 6])
{
    struct uio_seg seg;
    struct uio u;
    struct sock_addr a;
    struct file *f;
    int error = uio_of_buffer(&u, &seg, arg[1], arg[2]);
    if (error < 0)
        return error;
    struct sock *s = socket_get((int)arg[0], &f, &error);
    if (s == NULL)
        return error;
    struct sock_msg m = {.u = &u, .flags = msg_flags(arg[3], f)};
    int64_t r = 0;
    if (arg[4] != 0) {
        r = addr_from_user(&a, arg[4], (int)arg[5]);
        m.addr = &a;
    }
    if (r == 0)
        r = s->ops->send(s, &m);
    file_put(f);
    return r;
}

int64_t sys_recvfrom(const uint64_t arg[static 6])
{
    struct uio_seg seg;
    struct uio u;
    struct sock_addr a;
    struct file *f;
    int error = uio_of_buffer(&u, &seg, arg[1], arg[2]);
    if (error < 0)
        return error;
    struct sock *s = socket_get((int)arg[0], &f, &error);
    if (s == NULL)
        return error;
    struct sock_msg m = {.u = &u, .flags = msg_flags(arg[3], f), .addr = arg[4] != 0 ? &a : NULL};
    int64_t r = s->ops->recv(s, &m);
    if (r >= 0 && arg[4] != 0 && (error = addr_to_user(&a, arg[4], arg[5])) < 0)
        r = error;
    file_put(f);
    return r;
}

// ---- messages ----

struct msg { // a user_msghdr, decoded
    struct user_msghdr h;
    struct uio_seg seg[SEGS_ON_STACK];
    struct uio_seg *segs; // seg, or kmalloc'ed
    struct uio u;
    struct sock_addr addr;
};

static void msg_free(struct msg *m)
{
    if (m->segs != m->seg)
        kfree(m->segs);
}

/* Linux __copy_msghdr and import_iovec: 0; -EFAULT, -EINVAL, -EMSGSIZE, -ENOMEM. Free it after
 * success. */
static int msg_from_user(struct msg *m, uint64_t user)
{
    if (copy_from_user(&m->h, user, sizeof(m->h)) < 0)
        return -EFAULT;
    if (m->h.name == 0)
        m->h.name_len = 0;
    if (m->h.name_len < 0)
        return -EINVAL;
    m->h.name_len = MIN(m->h.name_len, (int32_t)SOCK_ADDR_MAX);
    if (m->h.iov_len > UIO_SEGS_MAX)
        return -EMSGSIZE;
    m->segs = m->seg;
    if (m->h.iov_len > SEGS_ON_STACK) {
        m->segs = kmalloc(sizeof(*m->segs) * m->h.iov_len);
        if (m->segs == NULL)
            return -ENOMEM;
    }
    int r = uio_from_user(&m->u, m->segs, UIO_SEGS_MAX, m->h.iov, m->h.iov_len);
    if (r < 0)
        msg_free(m);
    return r;
}

static int64_t send_one(struct sock *s, uint64_t user, uint32_t flags)
{
    struct msg m;
    int64_t r = msg_from_user(&m, user);
    if (r < 0)
        return r;
    struct sock_msg sm = {
        .u = &m.u, .flags = flags, .control = m.h.control, .control_len = m.h.control_len};
    if (m.h.name != 0 && m.h.name_len > 0) {
        r = addr_from_user(&m.addr, m.h.name, m.h.name_len);
        sm.addr = &m.addr;
    }
    if (r == 0)
        r = s->ops->send(s, &sm);
    msg_free(&m);
    return r;
}

/* What goes back into the header after a receive. */
static int msg_to_user(const struct msg *m, const struct sock_msg *sm, uint64_t user)
{
    if (m->h.name != 0 &&
        addr_to_user(&m->addr, m->h.name, user + offsetof(struct user_msghdr, name_len)) < 0)
        return -EFAULT;
    uint32_t flags = sm->flags_out | (sm->flags & MSG_CMSG_CLOEXEC);
    if (copy_to_user(user + offsetof(struct user_msghdr, flags), &flags, sizeof(flags)) < 0)
        return -EFAULT;
    return copy_to_user(user + offsetof(struct user_msghdr, control_len), &sm->control_len,
                        sizeof(sm->control_len));
}

static int64_t recv_one(struct sock *s, uint64_t user, uint32_t flags)
{
    struct msg m;
    int64_t r = msg_from_user(&m, user);
    if (r < 0)
        return r;
    struct sock_msg sm = {.u = &m.u,
                          .flags = flags,
                          .addr = m.h.name != 0 ? &m.addr : NULL,
                          .control = m.h.control,
                          .control_len = m.h.control_len};
    r = s->ops->recv(s, &sm);
    int error = r >= 0 ? msg_to_user(&m, &sm, user) : 0;
    msg_free(&m);
    return error < 0 ? error : r;
}

int64_t sys_sendmsg(const uint64_t arg[static 6])
{
    struct file *f;
    int error;
    struct sock *s = socket_get((int)arg[0], &f, &error);
    if (s == NULL)
        return error;
    int64_t r = send_one(s, arg[1], msg_flags(arg[2], f));
    file_put(f);
    return r;
}

int64_t sys_recvmsg(const uint64_t arg[static 6])
{
    struct file *f;
    int error;
    struct sock *s = socket_get((int)arg[0], &f, &error);
    if (s == NULL)
        return error;
    int64_t r = recv_one(s, arg[1], msg_flags(arg[2], f));
    file_put(f);
    return r;
}

int64_t sys_sendmmsg(const uint64_t arg[static 6])
{
    uint32_t count = MIN((uint32_t)arg[2], (uint32_t)UIO_SEGS_MAX), done = 0;
    struct file *f;
    int error;
    struct sock *s = socket_get((int)arg[0], &f, &error);
    if (s == NULL)
        return error;
    uint32_t flags = msg_flags(arg[3], f);
    int64_t r = 0;
    while (done < count) {
        uint64_t user = arg[1] + (uint64_t)done * MMSG_BYTES;
        r = send_one(s, user, flags);
        if (r < 0)
            break;
        uint32_t len = (uint32_t)r;
        r = copy_to_user(user + MMSG_LEN, &len, sizeof(len));
        if (r < 0)
            break;
        done++;
    }
    file_put(f);
    return done > 0 ? done : r;
}

int64_t sys_recvmmsg(const uint64_t arg[static 6])
{
    uint32_t count = MIN((uint32_t)arg[2], (uint32_t)UIO_SEGS_MAX), done = 0;
    uint64_t limit_ns, end = DEADLINE_NEVER;
    struct file *f;
    int error = 0;
    if (arg[4] != 0) {
        error = timespec_from_user(arg[4], &limit_ns);
        if (error < 0)
            return error;
        uint64_t now = clock_mono_ns();
        end = limit_ns > DEADLINE_NEVER - now ? DEADLINE_NEVER : now + limit_ns;
    }
    struct sock *s = socket_get((int)arg[0], &f, &error);
    if (s == NULL)
        return error;
    uint32_t flags = msg_flags(arg[3], f);
    int64_t r = 0;
    while (done < count) {
        uint64_t user = arg[1] + (uint64_t)done * MMSG_BYTES;
        r = recv_one(s, user, flags & ~(uint32_t)MSG_WAITFORONE);
        if (r < 0)
            break;
        uint32_t len = (uint32_t)r;
        r = copy_to_user(user + MMSG_LEN, &len, sizeof(len));
        if (r < 0)
            break;
        done++;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (clock_mono_ns() >= end) // looked at between messages only, as on Linux
            break;
    }
    file_put(f);
    if (arg[4] != 0 && done > 0) {
        uint64_t now = clock_mono_ns();
        if (timespec_to_user(arg[4], end > now ? end - now : 0) < 0)
            return -EFAULT;
    }
    return done > 0 ? done : r;
}
