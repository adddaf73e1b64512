// SPDX-License-Identifier: Apache-2.0
#pragma once
/* For guest programs that test sockets: they print what each call gave, and the same lines must
 * come out on Linux and in our kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

// Prints "text: VALUE" or "text: ERRNO".
static inline long say(const char *text, long r)
{
    int e = errno;
    if (r < 0)
        printf("%s: %s\n", text, strerrorname_np(e));
    else
        printf("%s: %ld\n", text, r);
    fflush(stdout);
    return r;
}
#define SAY(call) say(#call, (long)(call))
// For calls whose value differs from run to run (descriptors).
#define SAY_OK(call) say_ok(#call, (call))
static inline int say_ok(const char *text, int r)
{
    say(text, r < 0 ? r : 0);
    return r;
}

static inline void must(bool ok, const char *what)
{
    if (!ok) {
        printf("FATAL %s: %s\n", what, strerrorname_np(errno));
        exit(1);
    }
}

static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int connect_in(int fd, const struct sockaddr_in *a)
{
    return connect(fd, (const struct sockaddr *)a, sizeof(*a));
}

static inline int bind_in(int fd, const struct sockaddr_in *a)
{
    return bind(fd, (const struct sockaddr *)a, sizeof(*a));
}

// A listener on a free port of 127.0.0.1.
static inline int listener(int backlog, struct sockaddr_in *ret)
{
    socklen_t len = sizeof(*ret);
    struct sockaddr_in a = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0 && bind_in(fd, &a) == 0 && listen(fd, backlog) == 0 &&
             getsockname(fd, (struct sockaddr *)ret, &len) == 0,
         "listener");
    return fd;
}

// A connected pair over the loopback device: [0] connected, [1] accepted.
static inline void tcp_pair(int ret[2])
{
    struct sockaddr_in a;
    int l = listener(1, &a);
    ret[0] = socket(AF_INET, SOCK_STREAM, 0);
    must(ret[0] >= 0 && connect_in(ret[0], &a) == 0, "connect");
    ret[1] = accept(l, NULL, NULL);
    must(ret[1] >= 0, "accept");
    close(l);
}

static inline const char *events_name(int e, char *to, size_t max)
{
    static const struct {
        int bit;
        const char *name;
    } bits[] = {{POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},
                {POLLERR, "ERR"},       {POLLHUP, "HUP"},       {POLLNVAL, "NVAL"},
                {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"}, {0x100, "WRNORM"},
                {POLLRDHUP, "RDHUP"}};
    size_t n = 0;
    to[0] = 0;
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        if (e & bits[i].bit)
            n += (size_t)snprintf(to + n, max - n, "%s%s", n > 0 ? "|" : "", bits[i].name);
    }
    return to;
}

// Prints what poll says of fd now, asked for everything.
static inline void say_poll(const char *text, int fd)
{
    char names[128];
    struct pollfd p = {fd, POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP, 0};
    int r = poll(&p, 1, 0);
    printf("%s: poll %d %s\n", text, r, events_name(p.revents, names, sizeof(names)));
}

// Waits (2 s at most) until poll shows these events.
static inline bool wait_for(int fd, short events)
{
    struct pollfd p = {fd, events, 0};
    return poll(&p, 1, 2000) == 1;
}

static inline int opt(int fd, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof(v);
    return getsockopt(fd, level, name, &v, &len) < 0 ? -1 : v;
}

static inline int opt_set(int fd, int level, int name, int v)
{
    return setsockopt(fd, level, name, &v, sizeof(v));
}
