// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Sockets: what a descriptor made by socket(2) refers to. One const table of operations a kind;
 * kernel/linux/socket.c decodes the system calls and calls it. Results are those of the Linux call
 * (0, a count, or -errno; -ERESTARTSYS when a signal ended a sleep). */
#include "base/base.h"
#include "base/errno.h"
#include "kernel/sched/wait.h"
#include "kernel/vfs/file.h"
#include "kernel/vfs/uio.h"

enum { SOCK_ADDR_MAX = 128, SOCK_OPT_MAX = 256 }; // struct sockaddr_storage; longest option

enum { DOMAIN_UNSPEC = 0, DOMAIN_UNIX = 1, DOMAIN_INET = 2, DOMAIN_NETLINK = 16, DOMAINS_MAX = 46 };
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5, SOCK_TYPES_MAX = 11 };
enum { PROTO_ANY = 0, PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTOS_MAX = 263 };
enum { SHUT_READ = 0, SHUT_WRITE = 1, SHUT_BOTH = 2 };

enum { // send and receive flags (Linux include/linux/socket.h)
    MSG_OOB = 0x1,
    MSG_PEEK = 0x2,
    MSG_CTRUNC = 0x8,
    MSG_TRUNC = 0x20,
    MSG_DONTWAIT = 0x40,
    MSG_WAITALL = 0x100,
    MSG_ERRQUEUE = 0x2000,
    MSG_NOSIGNAL = 0x4000,
    MSG_MORE = 0x8000,
    MSG_WAITFORONE = 0x10000,
    MSG_FASTOPEN = 0x20000000,
    MSG_CMSG_CLOEXEC = 0x40000000,
};

enum { SOL_IP = 0, SOL_SOCKET = 1, SOL_TCP = 6 };

struct sock_addr {
    uint32_t len;                             // bytes; 0: none
    _Alignas(8) uint8_t bytes[SOCK_ADDR_MAX]; // struct sockaddr as the program gives and gets it
};

struct sock_opt {
    uint32_t len;
    _Alignas(8) uint8_t bytes[SOCK_OPT_MAX];
};

struct sock_msg {
    struct uio *u;
    uint32_t flags;         // MSG_*; MSG_DONTWAIT stands for O_NONBLOCK too
    struct sock_addr *addr; // send: where to, or NULL; receive: filled unless NULL
    uint32_t flags_out;     // receive: MSG_TRUNC, MSG_CTRUNC
    uint64_t control;       // user address of the control messages
    uint64_t control_len;   // bytes there; receive: becomes what was written
};

struct sock;

struct sock_ops {
    int (*bind)(struct sock *s, const struct sock_addr *a);
    int (*connect)(struct sock *s, const struct sock_addr *a, bool nonblock);
    int (*listen)(struct sock *s, uint32_t backlog);
    int (*accept)(struct sock *s, bool nonblock, struct sock **ret);
    int (*name)(struct sock *s, bool peer, struct sock_addr *ret);
    int64_t (*send)(struct sock *s, struct sock_msg *m);
    int64_t (*recv)(struct sock *s, struct sock_msg *m);
    int (*shutdown)(struct sock *s, int how); // SHUT_*
    /* Options but the common ones (socket/options.c). -ENOPROTOOPT: not known. */
    int (*opt_set)(struct sock *s, int level, int name, const struct sock_opt *o);
    int (*opt_get)(struct sock *s, int level, int name, struct sock_opt *ret);
    uint32_t (*poll)(struct sock *s); // EV_*
    int64_t (*ioctl)(struct sock *s, uint32_t cmd, uint64_t arg);
    int (*pair)(struct sock *a, struct sock *b); // socketpair: connect the two
    void (*release)(struct sock *s);             // closes and frees
};

struct sock {
    const struct sock_ops *ops; // immutable
    uint16_t domain, type;      // immutable
    uint16_t protocol;          // immutable
    bool broadcast;             // atomic
    uint64_t ino;               // immutable
    uint64_t rcv_ns, snd_ns;    // SO_RCVTIMEO, SO_SNDTIMEO, or DEADLINE_NEVER; atomic
    struct waitq waitq;
};

/* New sockets, not yet behind a file. 0; -ENOMEM, -ENOBUFS. */
NONNULL MUST_CHECK int tcp_sock_new(struct sock **ret);
NONNULL MUST_CHECK int udp_sock_new(struct sock **ret);
NONNULL MUST_CHECK int unix_sock_new(uint16_t type, struct sock **ret);
NONNULL MUST_CHECK int netlink_sock_new(uint16_t type, struct sock **ret);

/* The common part of a fresh socket. */
NONNULL void sock_init(struct sock *s, const struct sock_ops *ops, int domain, int type,
                       int protocol);

/* A file for s, or NULL (s stays the caller's); and the socket of a file, NULL: -ENOTSOCK. */
NONNULL MUST_CHECK struct file *sock_file_new(struct sock *s, uint32_t flags);
NONNULL struct sock *sock_of(struct file *f);

/* From net/ events: `ready` became true (NET_*, the same bits as EV_*). Stack's lock held. */
NONNULL void sock_event(struct sock *s, uint32_t ready);

/* Sleep until poll shows one of `events`, EV_ERR or EV_HUP. 0; -EAGAIN: the time limit
 * (limit_ns from now; 0: at once, DEADLINE_NEVER: none) is over; -ERESTARTSYS or -EINTR: a signal.
 * exclusive: one of several sleepers is enough for an event. */
NONNULL MUST_CHECK int sock_wait(struct sock *s, uint32_t events, uint64_t deadline_ns,
                                 bool exclusive);
/* The deadline of a call that begins now; 0: it must not sleep. */
uint64_t sock_deadline(uint64_t limit_ns, bool nonblock);

/* Common options (SOL_SOCKET) and the way to the kind's own. */
NONNULL MUST_CHECK int sock_opt_set(struct sock *s, int level, int name, const struct sock_opt *o);
NONNULL MUST_CHECK int sock_opt_get(struct sock *s, int level, int name, struct sock_opt *ret);

NONNULL static inline int opt_int(const struct sock_opt *o)
{
    return *(const int *)(const void *)o->bytes;
}

NONNULL static inline int opt_put_int(struct sock_opt *o, int64_t v)
{
    *(int *)(void *)o->bytes = (int)v;
    o->len = sizeof(int);
    return 0;
}

/* Copies between p and the buffers without sleeping: 0 and the buffers advance by n; -EFAULT and
 * nothing advances: let go of all spinlocks, uio_fault_in(), try again. */
NONNULL MUST_CHECK int uio_put_atomic(struct uio *u, const void *p, size_t n);
NONNULL MUST_CHECK int uio_take_atomic(struct uio *u, void *p, size_t n);
/* Make the next n bytes of the buffers present (for_write: writable; one byte of each page is
 * cleared). 0 or -EFAULT. Sleeps. */
NONNULL MUST_CHECK int uio_fault_in(const struct uio *u, size_t n, bool for_write);

/* One control message (struct cmsghdr) of a send. */
struct sock_cmsg {
    uint64_t len; // with this header
    int level, type;
};
enum { SCM_RIGHTS = 1, SCM_CREDENTIALS = 2, CMSG_ALIGN_BYTES = 8 };
/* The control message at *at, which moves behind it: 1 with *ret_data (user address); 0: no more;
 * -EFAULT, -EINVAL. */
NONNULL MUST_CHECK int sock_cmsg_next(const struct sock_msg *m, uint64_t *at, struct sock_cmsg *ret,
                                      uint64_t *ret_data);
