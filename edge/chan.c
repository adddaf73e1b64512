// SPDX-License-Identifier: Apache-2.0
#include "edge/chan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int chan_open(struct chan *c, struct loop *l, int fd,
              void (*ready)(struct loop_fd *f, uint32_t events))
{
    *c = (struct chan){.lfd = {.fd = -1, .ready = ready}};
    return loop_add(l, &c->lfd, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

void chan_close(struct chan *c, struct loop *l, struct buf_pool *pool)
{
    int fd = c->lfd.fd;
    buf_give(pool, &c->pend);
    if (fd < 0)
        return;
    loop_forget(l, &c->lfd);
    close(fd);
}

ssize_t chan_recv(struct chan *c, void *to, size_t n)
{
    ssize_t got = recv(c->lfd.fd, to, n, 0);
    if (got > 0) {
        // Less than asked for: the socket is drained, the next byte makes a new event.
        if ((size_t)got < n && !c->hup)
            c->readable = false;
        return got;
    }
    if (got == 0) {
        c->eof = true;
        c->readable = false;
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR) {
        c->readable = errno == EINTR;
        return -EAGAIN;
    }
    c->error = true;
    c->readable = false;
    return -errno;
}

// What is left of iov after `sent` bytes goes into a buffer.
static int keep(struct chan *c, struct buf_pool *pool, const struct iovec *iov, int n, size_t sent)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    ASSERT(c->pend == NULL && total - sent <= BUF_LARGE);
    struct buf *b = buf_take(pool, total - sent);
    if (b == NULL)
        return -ENOMEM;
    for (int i = 0; i < n; i++) {
        size_t skip = MIN(sent, iov[i].iov_len);
        memcpy(b->p + b->end, (char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
        b->end += (uint32_t)(iov[i].iov_len - skip);
        sent -= skip;
    }
    c->pend = b;
    return 0;
}

int chan_send(struct chan *c, struct buf_pool *pool, struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    if (total == 0)
        return 0;
    ssize_t sent;
    if (n == 1) {
        sent = send(c->lfd.fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)n};
        sent = sendmsg(c->lfd.fd, &m, MSG_NOSIGNAL);
    }
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            c->error = true;
            return -errno;
        }
        sent = 0;
    }
    return (size_t)sent == total ? 0 : keep(c, pool, iov, n, (size_t)sent);
}

// Take n bytes out of the pipe into to->pend; NULL pool: throw them away.
static int pipe_drain(struct chan *to, struct buf_pool *pool, int fd, size_t n)
{
    struct buf *b = pool == NULL ? NULL : buf_take(pool, n);
    char waste[4096];
    size_t got = 0;
    while (got < n) {
        ssize_t r = b == NULL ? read(fd, waste, MIN(n - got, sizeof(waste)))
                              : read(fd, b->p + got, n - got);
        ASSERT(r > 0); // they were put there, and nobody else reads
        got += (size_t)r;
    }
    if (b == NULL)
        return -ENOMEM;
    b->end = (uint32_t)n;
    to->pend = b;
    return 0;
}

ssize_t chan_splice(struct chan *from, struct chan *to, struct buf_pool *pool, const int pipe[2],
                    size_t n)
{
    ASSERT(to->pend == NULL && n <= BUF_LARGE);
    ssize_t in = splice(from->lfd.fd, NULL, pipe[1], NULL, n, SPLICE_F_NONBLOCK);
    if (in < 0) {
        from->readable = false;
        return -errno;
    }
    if (in == 0) {
        from->eof = true;
        from->readable = false;
        return 0;
    }
    size_t left = (size_t)in;
    while (left > 0) {
        ssize_t out = splice(pipe[0], NULL, to->lfd.fd, NULL, left, SPLICE_F_NONBLOCK);
        if (out <= 0 && errno != EAGAIN) {
            to->error = true;
            pipe_drain(to, NULL, pipe[0], left);
            return -EPIPE;
        }
        if (out <= 0)
            return pipe_drain(to, pool, pipe[0], left) < 0 ? -EPIPE : in;
        left -= (size_t)out;
    }
    return in;
}

int chan_flush(struct chan *c, struct buf_pool *pool)
{
    struct buf *b = c->pend;
    if (b == NULL)
        return 0;
    ssize_t sent = send(c->lfd.fd, b->p + b->at, buf_len(b), MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return -EAGAIN;
        c->error = true;
        return -errno;
    }
    b->at += (uint32_t)sent;
    if (buf_len(b) > 0)
        return -EAGAIN;
    buf_give(pool, &c->pend);
    return 0;
}

void chan_shut(struct chan *c)
{
    if (!c->shut)
        shutdown(c->lfd.fd, SHUT_WR);
    c->shut = true;
}
