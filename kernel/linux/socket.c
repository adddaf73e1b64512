// SPDX-License-Identifier: Apache-2.0
/* System calls of sockets: decoding and checks in Linux's order (net/socket.c), then the socket's
 * own operation. Messages (sendmsg and its kin) are in socket_msg.c. */
#include "kernel/linux/socket.h"
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/vfs/fd.h"

enum { SOCK_NONBLOCK = FILE_NONBLOCK, SOCK_CLOEXEC = 02000000, SOCK_TYPE_MASK = 0xf };
enum { SOMAXCONN = 4096 };

struct sock *socket_get(int fd, struct file **ret_file, int *ret_error)
{
    struct file *f = fd_get_io(fd);
    *ret_error = -EBADF;
    if (f == NULL)
        return NULL;
    struct sock *s = sock_of(f);
    if (s == NULL) {
        file_put(f);
        *ret_error = -ENOTSOCK;
        return NULL;
    }
    *ret_file = f;
    return s;
}

bool socket_nonblock(const struct file *f)
{
    return __atomic_load_n(&f->flags, __ATOMIC_RELAXED) & FILE_NONBLOCK;
}

int addr_from_user(struct sock_addr *ret, uint64_t user, int len)
{
    if (len < 0 || len > SOCK_ADDR_MAX)
        return -EINVAL;
    ret->len = (uint32_t)len;
    memset(ret->bytes, 0, sizeof(ret->bytes));
    return len == 0 ? 0 : copy_from_user(ret->bytes, user, (size_t)len);
}

int addr_to_user(const struct sock_addr *a, uint64_t user, uint64_t user_len)
{
    int room;
    if (copy_from_user(&room, user_len, sizeof(room)) < 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    size_t n = MIN((size_t)room, (size_t)a->len);
    if (n > 0 && copy_to_user(user, a->bytes, n) < 0)
        return -EFAULT;
    return copy_to_user(user_len, &a->len, sizeof(a->len));
}

// ---- making sockets ----

static int inet_new(int type, int protocol, struct sock **ret)
{
    if (protocol < 0 || protocol >= PROTOS_MAX)
        return -EINVAL;
    switch (type) {
    case SOCK_STREAM:
        return protocol == PROTO_ANY || protocol == PROTO_TCP ? tcp_sock_new(ret)
                                                              : -EPROTONOSUPPORT;
    case SOCK_DGRAM:
        if (protocol == PROTO_ICMP)
            return -EACCES; // Linux's default: no group may ping
        return protocol == PROTO_ANY || protocol == PROTO_UDP ? udp_sock_new(ret)
                                                              : -EPROTONOSUPPORT;
    default:
        return -ESOCKTNOSUPPORT;
    }
}

static int unix_new(int type, int protocol, struct sock **ret)
{
    if (protocol != PROTO_ANY && protocol != DOMAIN_UNIX)
        return -EPROTONOSUPPORT;
    if (type == SOCK_RAW)
        type = SOCK_DGRAM; // as Linux
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    return unix_sock_new((uint16_t)type, ret);
}

static int netlink_new(int type, int protocol, struct sock **ret)
{
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    return protocol == 0 ? netlink_sock_new((uint16_t)type, ret) : -EPROTONOSUPPORT;
}

static int sock_new(int domain, int type, int protocol, struct sock **ret)
{
    if (domain < 0 || domain >= DOMAINS_MAX)
        return -EAFNOSUPPORT;
    if (type < 0 || type >= SOCK_TYPES_MAX)
        return -EINVAL;
    switch (domain) {
    case DOMAIN_INET:
        return inet_new(type, protocol, ret);
    case DOMAIN_UNIX:
        return unix_new(type, protocol, ret);
    case DOMAIN_NETLINK:
        return netlink_new(type, protocol, ret);
    default:
        return -EAFNOSUPPORT;
    }
}

static bool type_flags_ok(int type)
{
    return (type & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC)) == 0;
}

int64_t sys_socket(const uint64_t arg[static 6])
{
    int domain = (int)arg[0], type = (int)arg[1];
    struct sock *s;
    if (!type_flags_ok(type))
        return -EINVAL;
    int r = sock_new(domain, type & SOCK_TYPE_MASK, (int)arg[2], &s);
    if (r < 0)
        return r;
    struct file *f = sock_file_new(s, (uint32_t)type & SOCK_NONBLOCK);
    if (f == NULL) {
        s->ops->release(s);
        return -ENOMEM;
    }
    r = fd_install(f, 0, type & SOCK_CLOEXEC);
    if (r < 0)
        file_put(f);
    return r;
}

/* Files for both sockets, or neither. */
static int pair_files(struct sock *a, struct sock *b, uint32_t flags, struct file *ret[2])
{
    ret[0] = sock_file_new(a, flags);
    if (ret[0] == NULL) {
        a->ops->release(a);
        b->ops->release(b);
        return -ENOMEM;
    }
    ret[1] = sock_file_new(b, flags);
    if (ret[1] == NULL) {
        file_put(ret[0]);
        b->ops->release(b);
        return -ENOMEM;
    }
    return 0;
}

int64_t sys_socketpair(const uint64_t arg[static 6])
{
    int domain = (int)arg[0], type = (int)arg[1], fds[2];
    struct sock *a, *b;
    struct file *f[2] = {NULL, NULL};
    if (!type_flags_ok(type))
        return -EINVAL;
    fds[0] = fd_reserve(type & SOCK_CLOEXEC);
    if (fds[0] < 0)
        return fds[0];
    fds[1] = fd_reserve(type & SOCK_CLOEXEC);
    int r = fds[1] < 0 ? fds[1] : copy_to_user(arg[3], fds, sizeof(fds));
    if (r == 0)
        r = sock_new(domain, type & SOCK_TYPE_MASK, (int)arg[2], &a);
    if (r == 0) {
        r = sock_new(domain, type & SOCK_TYPE_MASK, (int)arg[2], &b);
        if (r < 0)
            a->ops->release(a);
    }
    if (r == 0) {
        r = a->ops->pair(a, b);
        if (r < 0) {
            a->ops->release(a);
            b->ops->release(b);
        }
    }
    if (r == 0)
        r = pair_files(a, b, (uint32_t)type & SOCK_NONBLOCK, f);
    if (r < 0) {
        fd_unreserve(fds[0]);
        if (fds[1] >= 0)
            fd_unreserve(fds[1]);
        return r;
    }
    fd_publish(fds[0], f[0]);
    fd_publish(fds[1], f[1]);
    return 0;
}

// ---- addresses and connections ----

int64_t sys_bind(const uint64_t arg[static 6])
{
    struct sock_addr a;
    struct file *f;
    int r;
    struct sock *s = socket_get((int)arg[0], &f, &r);
    if (s == NULL)
        return r;
    r = addr_from_user(&a, arg[1], (int)arg[2]);
    if (r == 0)
        r = s->ops->bind(s, &a);
    file_put(f);
    return r;
}

int64_t sys_listen(const uint64_t arg[static 6])
{
    struct file *f;
    int r;
    struct sock *s = socket_get((int)arg[0], &f, &r);
    if (s == NULL)
        return r;
    r = s->ops->listen(s, MIN((uint32_t)arg[1], (uint32_t)SOMAXCONN));
    file_put(f);
    return r;
}

int64_t sys_connect(const uint64_t arg[static 6])
{
    struct sock_addr a;
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int r = addr_from_user(&a, arg[1], (int)arg[2]);
    if (r == 0) {
        struct sock *s = sock_of(f);
        r = s == NULL ? -ENOTSOCK : s->ops->connect(s, &a, socket_nonblock(f));
    }
    file_put(f);
    return r;
}

/* A new descriptor for a connection of listener s, or -errno. */
static int accept_one(struct sock *s, bool nonblock, uint32_t flags, uint64_t user_addr,
                      uint64_t user_len)
{
    struct sock_addr a;
    struct sock *new;
    int fd = fd_reserve(flags & SOCK_CLOEXEC);
    if (fd < 0)
        return fd;
    int r = s->ops->accept(s, nonblock, &new);
    if (r < 0) {
        fd_unreserve(fd);
        return r;
    }
    struct file *f = sock_file_new(new, flags & SOCK_NONBLOCK);
    if (f == NULL) {
        new->ops->release(new);
        fd_unreserve(fd);
        return -ENOMEM;
    }
    if (user_addr != 0) {
        r = new->ops->name(new, true, &a) < 0 ? -ECONNABORTED
                                              : addr_to_user(&a, user_addr, user_len);
        if (r < 0) {
            file_put(f);
            fd_unreserve(fd);
            return r;
        }
    }
    fd_publish(fd, f);
    return fd;
}

static int64_t accept_call(int fd, uint64_t user_addr, uint64_t user_len, uint32_t flags)
{
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return -EBADF;
    struct sock *s = sock_of(f);
    int r;
    if (flags & ~(uint32_t)(SOCK_NONBLOCK | SOCK_CLOEXEC))
        r = -EINVAL;
    else if (s == NULL)
        r = -ENOTSOCK;
    else
        r = accept_one(s, socket_nonblock(f), flags, user_addr, user_len);
    file_put(f);
    return r;
}

int64_t sys_accept(const uint64_t arg[static 6])
{
    return accept_call((int)arg[0], arg[1], arg[2], 0);
}

int64_t sys_accept4(const uint64_t arg[static 6])
{
    return accept_call((int)arg[0], arg[1], arg[2], (uint32_t)arg[3]);
}

static int64_t name_call(const uint64_t arg[static 6], bool peer)
{
    struct sock_addr a;
    struct file *f;
    int r;
    struct sock *s = socket_get((int)arg[0], &f, &r);
    if (s == NULL)
        return r;
    r = s->ops->name(s, peer, &a);
    if (r == 0)
        r = addr_to_user(&a, arg[1], arg[2]);
    file_put(f);
    return r;
}

int64_t sys_getsockname(const uint64_t arg[static 6])
{
    return name_call(arg, false);
}

int64_t sys_getpeername(const uint64_t arg[static 6])
{
    return name_call(arg, true);
}

int64_t sys_shutdown(const uint64_t arg[static 6])
{
    struct file *f;
    int r, how = (int)arg[1];
    struct sock *s = socket_get((int)arg[0], &f, &r);
    if (s == NULL)
        return r;
    r = how < SHUT_READ || how > SHUT_BOTH ? -EINVAL : s->ops->shutdown(s, how);
    file_put(f);
    return r;
}

// ---- options ----

int64_t sys_setsockopt(const uint64_t arg[static 6])
{
    struct sock_opt o;
    struct file *f;
    int r, len = (int)arg[4];
    if (len < 0)
        return -EINVAL;
    struct sock *s = socket_get((int)arg[0], &f, &r);
    if (s == NULL)
        return r;
    o.len = MIN((uint32_t)len, (uint32_t)SOCK_OPT_MAX);
    r = o.len > 0 ? copy_from_user(o.bytes, arg[3], o.len) : 0;
    if (r == 0)
        r = sock_opt_set(s, (int)arg[1], (int)arg[2], &o);
    file_put(f);
    return r;
}

static int opt_to_user(const struct sock_opt *o, uint64_t user, uint64_t user_len)
{
    int len;
    if (copy_from_user(&len, user_len, sizeof(len)) < 0)
        return -EFAULT;
    if (len < 0)
        return -EINVAL;
    len = MIN(len, (int)o->len);
    if (copy_to_user(user, o->bytes, (size_t)len) < 0)
        return -EFAULT;
    return copy_to_user(user_len, &len, sizeof(len));
}

int64_t sys_getsockopt(const uint64_t arg[static 6])
{
    struct sock_opt o;
    struct file *f;
    int r, len;
    struct sock *s = socket_get((int)arg[0], &f, &r);
    if (s == NULL)
        return r;
    if (copy_from_user(&len, arg[4], sizeof(len)) < 0)
        r = -EFAULT;
    else if (len < 0)
        r = -EINVAL;
    else
        r = sock_opt_get(s, (int)arg[1], (int)arg[2], &o);
    if (r == 0)
        r = opt_to_user(&o, arg[3], arg[4]);
    file_put(f);
    return r;
}
