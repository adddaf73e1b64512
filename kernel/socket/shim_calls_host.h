// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Put in front of a guest test (-include) to run it as an ordinary program over the kernel's socket
 * code instead of the host's: its calls go to sys_*() through shim_host.c. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* A system call of the table, or of the few that the shim has itself: its result, errno set. */
long shim_call(int number, long a, long b, long c, long d, long e, long f);
int shim_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int shim_fcntl(int fd, int cmd, long arg);

enum { SHIM_READ, SHIM_WRITE, SHIM_CLOSE = 3, SHIM_LSEEK = 8, SHIM_IOCTL = 16, SHIM_READV = 19 };

#define SHIM(nr, a, b, c, d, e, f)                                                                 \
    shim_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define socket(a, b, c)            ((int)SHIM(41, a, b, c, 0, 0, 0))
#define connect(a, b, c)           ((int)SHIM(42, a, b, c, 0, 0, 0))
#define accept(a, b, c)            ((int)SHIM(43, a, b, c, 0, 0, 0))
#define sendto(a, b, c, d, e, f)   SHIM(44, a, b, c, d, e, f)
#define send(a, b, c, d)           SHIM(44, a, b, c, d, 0, 0)
#define recvfrom(a, b, c, d, e, f) SHIM(45, a, b, c, d, e, f)
#define recv(a, b, c, d)           SHIM(45, a, b, c, d, 0, 0)
#define sendmsg(a, b, c)           SHIM(46, a, b, c, 0, 0, 0)
#define recvmsg(a, b, c)           SHIM(47, a, b, c, 0, 0, 0)
#define shutdown(a, b)             ((int)SHIM(48, a, b, 0, 0, 0, 0))
#define bind(a, b, c)              ((int)SHIM(49, a, b, c, 0, 0, 0))
#define listen(a, b)               ((int)SHIM(50, a, b, 0, 0, 0, 0))
#define getsockname(a, b, c)       ((int)SHIM(51, a, b, c, 0, 0, 0))
#define getpeername(a, b, c)       ((int)SHIM(52, a, b, c, 0, 0, 0))
#define socketpair(a, b, c, d)     ((int)SHIM(53, a, b, c, d, 0, 0))
#define setsockopt(a, b, c, d, e)  ((int)SHIM(54, a, b, c, d, e, 0))
#define getsockopt(a, b, c, d, e)  ((int)SHIM(55, a, b, c, d, e, 0))
#define accept4(a, b, c, d)        ((int)SHIM(288, a, b, c, d, 0, 0))
#define recvmmsg(a, b, c, d, e)    ((int)SHIM(299, a, b, c, d, e, 0))
#define sendmmsg(a, b, c, d)       ((int)SHIM(307, a, b, c, d, 0, 0))
#define read(a, b, c)              SHIM(SHIM_READ, a, b, c, 0, 0, 0)
#define write(a, b, c)             SHIM(SHIM_WRITE, a, b, c, 0, 0, 0)
#define readv(a, b, c)             SHIM(SHIM_READV, a, b, c, 0, 0, 0)
#define close(a)                   ((int)SHIM(SHIM_CLOSE, a, 0, 0, 0, 0, 0))
#define lseek(a, b, c)             SHIM(SHIM_LSEEK, a, b, c, 0, 0, 0)
#define pread(a, b, c, d)          SHIM(SHIM_LSEEK, a, 0, 0, 0, 0, 0) // both fail the same way
#define ioctl(a, b, c)             ((int)SHIM(SHIM_IOCTL, a, b, c, 0, 0, 0))
#define poll(a, b, c)              shim_poll(a, b, c)
#define fcntl(a, b, ...)           shim_fcntl(a, b, (0, ##__VA_ARGS__))
#define main                       guest_main
int guest_main(void);
