// SPDX-License-Identifier: Apache-2.0
/* The server behind the proxies that bench_edge.py compares: as little work a request as possible.
 *
 * usage: edge_origin PORT      GET /N answers N bytes; keep-alive, pipelining; trusts its client */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"

enum { BODY_MAX = 8 << 20, CONNS_MAX = 4096, IN_MAX = 4096 };

struct conn {
    int fd;
    bool close;
    size_t in_len, left; // bytes read; bytes of the answer still to write
    const char *out;
    char in[IN_MAX];
};

static struct conn *conns[CONNS_MAX];
static char body[256 + BODY_MAX];

static void conn_close(struct conn *c)
{
    conns[c->fd] = NULL;
    close(c->fd);
    free(c);
}

/* Answers are written in one piece: the head is put right in front of a body of zeroes. */
static void answer(struct conn *c, size_t n)
{
    char head[128];
    int len = snprintf(head, sizeof(head),
                       "HTTP/1.1 200 OK\r\nServer: o\r\nContent-Type: text/plain\r\n"
                       "Date: Mon, 23 Nov 2026 08:00:00 GMT\r\nContent-Length: %zu\r\n\r\n",
                       n);
    memcpy(body + 256 - len, head, (size_t)len);
    c->out = body + 256 - len;
    c->left = (size_t)len + n;
}

// False when the connection is over.
static bool write_more(struct conn *c)
{
    while (c->left > 0) {
        ssize_t n = send(c->fd, c->out, c->left, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        c->out += n;
        c->left -= (size_t)n;
    }
    return !c->close;
}

static bool serve(struct conn *c)
{
    for (;;) {
        if (!write_more(c))
            return false;
        if (c->left > 0)
            return true;
        char *end = c->in_len == 0 ? NULL : memmem(c->in, c->in_len, "\r\n\r\n", 4);
        if (end != NULL) {
            size_t used = (size_t)(end + 4 - c->in);
            c->close = memmem(c->in, used, "onnection: close", 16) != NULL;
            answer(c, MIN(strtoul(c->in + 5, NULL, 10), (unsigned long)BODY_MAX));
            c->in_len -= used;
            memmove(c->in, c->in + used, c->in_len);
            continue;
        }
        ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        c->in_len += (size_t)n;
    }
}

static void take(int listener, int epoll)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = fd < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
        if (c == NULL || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
            close(fd);
            free(c);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        c->fd = fd;
        conns[fd] = c;
    }
}

int main(int argc, char **argv)
{
    int one = 1, epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    at.sin_port = htons((uint16_t)strtoul(argc == 2 ? argv[1] : "0", NULL, 10));
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (argc != 2 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(listener, CONNS_MAX) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e) < 0) {
        fprintf(stderr, "usage: edge_origin PORT (%s)\n", strerror(errno));
        return 1;
    }
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                take(listener, epoll);
            else if (conns[fd] != NULL && !serve(conns[fd]))
                conn_close(conns[fd]);
        }
    }
}
