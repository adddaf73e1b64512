// SPDX-License-Identifier: Apache-2.0
#include "lab/fetch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000, NS_PER_MS = 1000000, EVENTS_MAX = 64, HTTP_PORT = 80 };

enum phase { FREE, CONNECTING, WAITING, IDLE };

// One connection and the request it carries.
struct slot {
    enum phase phase;
    int fd;
    bool reused; // this request was written to a connection that stood
    struct fetch_done done;
    size_t len;
    char buf[ANSWER_MAX];
};

struct fetcher {
    const struct fetch_plan *plan;
    fetch_done_fn *report;
    void *context;
    int epoll;
    struct slot *slots; // FETCH_IN_FLIGHT_MAX
    unsigned open;      // requests under way
    char request[FETCH_PATH_MAX + 256];
    size_t request_len;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int fetch_url_parse(const char *text, struct fetch_url *ret, struct err *err)
{
    static const char scheme[] = "http://";
    const char *host = text + sizeof(scheme) - 1;
    *ret = (struct fetch_url){.port = HTTP_PORT};
    if (strncmp(text, scheme, sizeof(scheme) - 1) != 0)
        return err_set(err, -EINVAL, "'%.80s': not an http:// address", text);
    size_t len = strcspn(host, "/");
    const char *path = host[len] == '/' ? host + len : "/";
    if (len >= sizeof(ret->host) || strlen(path) >= sizeof(ret->path) ||
        strpbrk(path, " \r\n\t") != NULL)
        return err_set(err, -EINVAL, "'%.80s': not an address that can be fetched", text);
    memcpy(ret->host, host, len);
    memcpy(ret->path, path, strlen(path) + 1);
    char quad[64];
    struct in_addr addr;
    memcpy(quad, ret->host, sizeof(quad));
    char *colon = strchr(quad, ':'), *end = NULL;
    if (colon != NULL) {
        *colon = '\0';
        long port = strtol(colon + 1, &end, 10);
        ret->port = port > 0 && port < 65536 && *end == '\0' ? (uint16_t)port : 0;
    }
    if (inet_pton(AF_INET, quad, &addr) != 1 || ret->port == 0)
        return err_set(err, -EINVAL, "'%.80s': must be http://A.B.C.D[:PORT]/PATH (no names)",
                       text);
    ret->addr = ntohl(addr.s_addr);
    return 0;
}

static void slot_close(struct slot *s)
{
    if (s->fd >= 0)
        close(s->fd); // leaves the epoll set by itself
    s->fd = -1;
    s->phase = FREE;
}

static void finish(struct fetcher *f, struct slot *s, int error, const struct answer *answer)
{
    s->done.error = error;
    s->done.answer = answer;
    s->done.done_ns = now_ns();
    f->open--;
    f->report(&s->done, f->context);
    s->len = 0;
    if (error == 0 && f->plan->keep_alive && answer->keep_alive)
        s->phase = IDLE;
    else
        slot_close(s);
}

static int begin_connect(struct fetcher *f, struct slot *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(f->plan->url.port),
                             .sin_addr.s_addr = htonl(f->plan->url.addr)};
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return -errno;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s};
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, s->fd, &e) < 0 ||
        (connect(s->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS))
        return -errno;
    s->phase = CONNECTING;
    s->reused = false;
    s->len = 0;
    return 0;
}

static int write_request(struct fetcher *f, struct slot *s)
{
    ssize_t n = send(s->fd, f->request, f->request_len, MSG_NOSIGNAL);
    if (n != (ssize_t)f->request_len) // smaller than any socket's first buffer
        return n < 0 ? -errno : -EIO;
    s->phase = WAITING;
    return 0;
}

// A kept connection that ended without a byte of answer: the question may be asked again, once.
static int ask_again(struct fetcher *f, struct slot *s)
{
    slot_close(s);
    s->done.retried = true;
    s->done.connected_ns = 0;
    return begin_connect(f, s);
}

static void fail(struct fetcher *f, struct slot *s, int error)
{
    if (s->reused && s->len == 0 && error != -ETIMEDOUT && ask_again(f, s) == 0)
        return;
    finish(f, s, error, NULL);
}

static void receive(struct fetcher *f, struct slot *s)
{
    for (;;) {
        ssize_t n = recv(s->fd, s->buf + s->len, sizeof(s->buf) - s->len, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || (n == 0 && s->len == 0)) {
            fail(f, s, n < 0 ? -errno : -ECONNRESET);
            return;
        }
        if (s->done.first_byte_ns == 0)
            s->done.first_byte_ns = now_ns();
        s->len += (size_t)n;
        struct answer a;
        int r = answer_read(s->buf, s->len, n == 0, &a);
        if (r == -EAGAIN)
            continue;
        // More than was asked for: the two sides disagree about where answers end.
        if (r == 0 && a.used != s->len)
            r = -EPROTO;
        finish(f, s, r, r == 0 ? &a : NULL);
        return;
    }
}

static void connected(struct fetcher *f, struct slot *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    int r = error != 0 ? -error : write_request(f, s);
    if (r == 0)
        s->done.connected_ns = now_ns();
    else
        fail(f, s, r);
}

static void handle(struct fetcher *f, struct slot *s, uint32_t events)
{
    if (s->phase == CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
        connected(f, s);
    if (s->phase == WAITING && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        receive(f, s);
    else if (s->phase == IDLE && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        slot_close(s); // the server is done with it
}

static struct slot *take_slot(struct fetcher *f)
{
    struct slot *fresh = NULL;
    for (unsigned i = 0; i < FETCH_IN_FLIGHT_MAX; i++) {
        if (f->slots[i].phase == IDLE)
            return &f->slots[i];
        if (fresh == NULL && f->slots[i].phase == FREE)
            fresh = &f->slots[i];
    }
    return fresh;
}

static void send_one(struct fetcher *f)
{
    struct slot *s = take_slot(f);
    if (s == NULL) {
        struct fetch_done full = {.sent_ns = now_ns(), .error = -EBUSY};
        full.done_ns = full.sent_ns;
        f->report(&full, f->context);
        return;
    }
    f->open++;
    s->done = (struct fetch_done){.sent_ns = now_ns()};
    if (s->phase == IDLE) {
        s->reused = true;
        s->done.connected_ns = s->done.sent_ns;
        int r = write_request(f, s);
        if (r < 0)
            fail(f, s, r);
        return;
    }
    int r = begin_connect(f, s);
    if (r < 0)
        finish(f, s, r, NULL);
}

// End those that are too old; returns when the next one will be, 0 for never.
static uint64_t expire(struct fetcher *f, uint64_t now)
{
    uint64_t limit = (uint64_t)f->plan->timeout_ms * NS_PER_MS, next = 0;
    for (unsigned i = 0; i < FETCH_IN_FLIGHT_MAX; i++) {
        struct slot *s = &f->slots[i];
        if (s->phase != CONNECTING && s->phase != WAITING)
            continue;
        if (s->done.sent_ns + limit <= now)
            finish(f, s, -ETIMEDOUT, NULL);
        else if (next == 0 || s->done.sent_ns + limit < next)
            next = s->done.sent_ns + limit;
    }
    return next;
}

static void run(struct fetcher *f)
{
    const struct fetch_plan *p = f->plan;
    uint64_t begin = now_ns(), sent = 0, count = p->count;
    while (sent < count || f->open > 0) {
        uint64_t now = now_ns();
        while (sent < count && begin + sent * p->every_ns <= now) {
            send_one(f);
            sent++;
        }
        uint64_t next = expire(f, now), due = begin + sent * p->every_ns;
        if (sent < count && (next == 0 || due < next))
            next = due;
        if (sent >= count && f->open == 0)
            return;
        uint64_t wait = next > now ? next - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / NS_PER_S),
                                   .tv_nsec = (long)(wait % NS_PER_S)};
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_pwait2(f->epoll, events, EVENTS_MAX, &timeout, NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                count = MIN(count, sent); // told to stop: only wait for what is under way
                epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->stop_fd, NULL);
            } else {
                handle(f, events[i].data.ptr, events[i].events);
            }
        }
    }
}

int fetch_run(const struct fetch_plan *plan, fetch_done_fn *done, void *context, struct err *err)
{
    struct fetcher f = {.plan = plan, .report = done, .context = context};
    int n =
        snprintf(f.request, sizeof(f.request),
                 "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: skerry-lab\r\n%s\r\n", plan->url.path,
                 plan->url.host, plan->keep_alive ? "" : "Connection: close\r\n");
    ASSERT(n > 0 && (size_t)n < sizeof(f.request));
    f.request_len = (size_t)n;
    f.epoll = epoll_create1(EPOLL_CLOEXEC);
    f.slots = calloc(FETCH_IN_FLIGHT_MAX, sizeof(*f.slots)); // pages come when used
    struct epoll_event e = {.events = EPOLLIN};
    int r = f.epoll < 0 || f.slots == NULL ? -ENOMEM : 0;
    if (r == 0 && plan->stop_fd >= 0 && epoll_ctl(f.epoll, EPOLL_CTL_ADD, plan->stop_fd, &e) < 0)
        r = -errno;
    for (unsigned i = 0; f.slots != NULL && i < FETCH_IN_FLIGHT_MAX; i++)
        f.slots[i].fd = -1;
    if (r == 0)
        run(&f);
    for (unsigned i = 0; f.slots != NULL && i < FETCH_IN_FLIGHT_MAX; i++)
        slot_close(&f.slots[i]);
    free(f.slots);
    if (f.epoll >= 0)
        close(f.epoll);
    return r < 0 ? err_set(err, r, "fetch: %s", strerror(-r)) : 0;
}
