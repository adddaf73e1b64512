// SPDX-License-Identifier: Apache-2.0
#include "edge/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void hang_up(struct fetch *f)
{
    int fd = f->lfd.fd;
    if (fd < 0)
        return;
    loop_forget(f->loop, &f->lfd);
    close(fd);
}

static void finish(struct fetch *f, int error)
{
    f->state = FETCH_IDLE;
    loop_timer_stop(&f->timer);
    free(TAKE(f->out));
    if (error < 0 || !f->keep || !f->up_stays)
        hang_up(f);
    f->done(f, error);
}

static void timed_out(struct loop_timer *t)
{
    struct fetch *f = CONTAINER_OF(t, struct fetch, timer);
    finish(f, f->out_len == 0 && f->state != FETCH_CONNECT ? -ECONNREFUSED : -ETIMEDOUT);
}

static void dial(struct fetch *f);

// A kept connection may have been closed just now: once more on a new one.
static void broken(struct fetch *f, int error)
{
    if (f->reused && f->state <= FETCH_HEAD && f->in_len == 0) {
        hang_up(f);
        f->out_at = 0;
        dial(f);
        return;
    }
    finish(f, error);
}

static void send_more(struct fetch *f)
{
    while (f->out_at < f->out_len) {
        ssize_t n = send(f->lfd.fd, f->out + f->out_at, f->out_len - f->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            broken(f, -errno);
            return;
        }
        f->out_at += (size_t)n;
    }
    f->sent_us = now_us();
    f->state = FETCH_HEAD;
}

/* Body bytes; true when the response is over (finish was called). */
static bool take_body(struct fetch *f, char *p, size_t n)
{
    size_t used = n, data_len = n;
    char *data = p;
    int r = 0;
    if (f->framing == HTTP_BODY_CHUNKED) {
        r = http_chunks_decode(&f->chunks, p, n, &used, &data, &data_len);
    } else if (f->framing != HTTP_BODY_CLOSE) {
        used = data_len = MIN(n, f->left);
        f->left -= used;
        r = f->left == 0;
    }
    if (r >= 0 && data_len > 0 && f->data != NULL)
        f->data(f, data, data_len);
    if (r == 0)
        return false;
    f->up_stays &= used == n;
    finish(f, MIN(r, 0));
    return true;
}

/* Try to parse the head in f->in; true when the response is over. */
static bool take_head(struct fetch *f)
{
    struct http_head h;
    int n = http_head_end(f->in, f->in_len, 0);
    if (n == -EAGAIN && f->in_len < sizeof(f->in))
        return false;
    if (n < 0 || http_response(f->in, (size_t)n, HTTP_GET, &h) < 0) {
        finish(f, -EPROTO);
        return true;
    }
    if (h.status < 200) {
        f->in_len -= (size_t)n;
        memmove(f->in, f->in + n, f->in_len);
        return f->in_len > 0 && take_head(f);
    }
    f->status = h.status;
    f->framing = h.framing;
    f->left = h.framing == HTTP_BODY_LENGTH ? h.length : 0;
    f->chunks = (struct http_chunks){0};
    f->up_stays = h.keep_alive && h.framing != HTTP_BODY_CLOSE;
    f->state = FETCH_BODY;
    size_t rest = f->in_len - (size_t)n;
    if (rest == 0 && h.framing != HTTP_BODY_NONE)
        return false;
    return take_body(f, f->in + n, rest);
}

static void ended(struct fetch *f, int error)
{
    bool whole = error == 0 && f->state == FETCH_BODY && f->framing == HTTP_BODY_CLOSE;
    f->up_stays = false;
    if (whole)
        finish(f, 0);
    else
        broken(f, error == 0 ? -ECONNRESET : error);
}

static void receive(struct fetch *f)
{
    for (;;) {
        char bytes[16384];
        bool head = f->state == FETCH_HEAD;
        char *to = head ? f->in + f->in_len : bytes;
        ssize_t n = recv(f->lfd.fd, to, head ? sizeof(f->in) - f->in_len : sizeof(bytes), 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            ended(f, n == 0 ? 0 : -errno);
            return;
        }
        loop_timer_set(f->loop, &f->timer, f->loop->now_ms + f->timeout_ms);
        if (head && f->in_len == 0)
            f->rtt_us = (uint32_t)(now_us() - f->sent_us);
        if (head)
            f->in_len += (size_t)n;
        if (head ? take_head(f) : take_body(f, bytes, (size_t)n))
            return;
    }
}

static void fetch_ready(struct loop_fd *lfd, uint32_t events)
{
    struct fetch *f = CONTAINER_OF(lfd, struct fetch, lfd);
    if (f->state == FETCH_IDLE) {
        hang_up(f);
        return;
    }
    if (f->state == FETCH_CONNECT) {
        int error = 0;
        socklen_t len = sizeof(error);
        getsockopt(f->lfd.fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0 || (events & EPOLLOUT) == 0) {
            finish(f, error != 0 ? -error : -ECONNRESET);
            return;
        }
        if (f->out_len == 0) {
            finish(f, 0); // a probe
            return;
        }
        f->state = FETCH_SEND;
        if (loop_change(f->loop, &f->lfd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
            finish(f, -EIO);
            return;
        }
    }
    if (f->state == FETCH_SEND)
        send_more(f);
    else if (f->state >= FETCH_HEAD && (events & ~(uint32_t)EPOLLOUT) != 0)
        receive(f);
}

static void dial(struct fetch *f)
{
    f->reused = false;
    f->state = FETCH_CONNECT;
    int fd = socket(f->to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : connect(fd, &f->to.sa, f->to.len);
    if (fd >= 0 && (r == 0 || errno == EINPROGRESS))
        r = loop_add(f->loop, &f->lfd, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    if (r == 0)
        return;
    if (fd >= 0)
        close(fd);
    // Refused on the spot: said from the timer, so that done is never called from fetch_start.
    f->state = FETCH_SEND;
    f->out_len = 0;
    loop_timer_set(f->loop, &f->timer, f->loop->now_ms);
}

void fetch_init(struct fetch *f, struct loop *loop, const struct addr *to)
{
    memset(f, 0, sizeof(*f));
    f->loop = loop;
    f->to = *to;
    f->lfd = (struct loop_fd){.fd = -1, .ready = fetch_ready};
    f->timer.fire = timed_out;
}

void fetch_cancel(struct fetch *f)
{
    f->state = FETCH_IDLE;
    loop_timer_stop(&f->timer);
    free(TAKE(f->out));
    hang_up(f);
}

void fetch_deinit(struct fetch *f)
{
    fetch_cancel(f);
}

void fetch_start(struct fetch *f, const char *request, size_t len, uint32_t timeout_ms)
{
    ASSERT(f->state == FETCH_IDLE);
    f->out = malloc(len + 1);
    f->out_len = f->out == NULL ? 0 : len;
    if (f->out != NULL)
        memcpy(f->out, request, len);
    f->out_at = f->in_len = 0;
    f->status = 0;
    f->timeout_ms = timeout_ms;
    loop_timer_set(f->loop, &f->timer, f->loop->now_ms + timeout_ms);
    if (f->lfd.fd < 0) {
        dial(f);
        return;
    }
    f->reused = true;
    f->state = FETCH_SEND;
    // The socket is writable: have epoll say so again.
    if (loop_change(f->loop, &f->lfd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0)
        loop_timer_set(f->loop, &f->timer, f->loop->now_ms);
}

void fetch_probe(struct fetch *f, uint32_t timeout_ms)
{
    ASSERT(f->state == FETCH_IDLE && f->lfd.fd < 0);
    f->out_len = 0;
    f->timeout_ms = timeout_ms;
    loop_timer_set(f->loop, &f->timer, f->loop->now_ms + timeout_ms);
    dial(f);
}
