// SPDX-License-Identifier: Apache-2.0
/* A small HTTP/1.1 server on epoll, one thread, for tests and benches: `epoll_server [PORT]`.
 *     GET /            "Hello from skerry!\n"
 *     GET /bytes/N     N bytes, the i-th is i * 31 + i / 251 (mod 256)
 *     GET /free        free memory of the machine in KiB (MemFree of /proc/meminfo)
 *     POST or PUT      the sum of all body bytes times their position, as text
 * Keep-alive always; one request at a time on a connection (pipelining works, in order). */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_MAX = 16384, OUT_MAX = 65536, CONNS_MAX = 65536 };

struct conn {
    int fd;
    bool want_out, in_body;
    size_t in_len;           // bytes in `in`
    uint64_t body_left, sum; // of the request being read
    uint64_t body_at;
    uint64_t out_left, out_at; // of a /bytes answer
    size_t head_len, head_done;
    char head[256];
    char in[IN_MAX];
};

static int ep;

static void conn_close(struct conn *c)
{
    close(c->fd);
    free(c);
}

static void answer(struct conn *c, const char *body, size_t len)
{
    c->head_len =
        (size_t)snprintf(c->head, sizeof(c->head),
                         "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%.*s", len, (int)len, body);
    c->head_done = 0;
}

static void answer_bytes(struct conn *c, uint64_t n)
{
    c->head_len = (size_t)snprintf(c->head, sizeof(c->head),
                                   "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", n);
    c->head_done = 0;
    c->out_at = 0;
    c->out_left = n;
}

static void answer_sum(struct conn *c)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%lu\n", c->sum);
    answer(c, text, (size_t)n);
}

/* Send what is left of the answer: 1 done, 0 the socket is full, -1 gone. */
static int conn_flush(struct conn *c)
{
    static unsigned char block[OUT_MAX];
    while (c->head_done < c->head_len) {
        ssize_t n = send(c->fd, c->head + c->head_done, c->head_len - c->head_done,
                         MSG_NOSIGNAL | (c->out_left > 0 ? MSG_MORE : 0));
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        c->head_done += (size_t)n;
    }
    while (c->out_left > 0) {
        size_t len = c->out_left < OUT_MAX ? (size_t)c->out_left : OUT_MAX;
        for (size_t i = 0; i < len; i++)
            block[i] = (unsigned char)((c->out_at + i) * 31 + (c->out_at + i) / 251);
        ssize_t n = send(c->fd, block, len, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        c->out_left -= (uint64_t)n;
        c->out_at += (uint64_t)n;
    }
    c->head_len = c->head_done = 0;
    return 1;
}

static void answer_free(struct conn *c)
{
    char text[64] = "0\n";
    unsigned long kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f != NULL && fgets(text, sizeof(text), f) != NULL) {
        if (sscanf(text, "MemFree: %lu", &kib) == 1)
            break;
    }
    if (f != NULL)
        fclose(f);
    answer(c, text, (size_t)snprintf(text, sizeof(text), "%lu\n", kib));
}

static uint64_t content_length(const char *head)
{
    const char *p = strcasestr(head, "\r\ncontent-length:");
    return p == NULL ? 0 : strtoull(p + 17, NULL, 10);
}

static void eat_body(struct conn *c)
{
    size_t n = c->in_len < c->body_left ? c->in_len : (size_t)c->body_left;
    for (size_t i = 0; i < n; i++)
        c->sum += (uint64_t)(unsigned char)c->in[i] * (c->body_at + i + 1);
    c->body_at += n;
    c->body_left -= n;
    c->in_len -= n;
    memmove(c->in, c->in + n, c->in_len);
}

/* Take one step with what was read: 1 an answer is ready, 0 more is needed, -1 nonsense. */
static int conn_parse(struct conn *c)
{
    if (c->in_body) {
        eat_body(c);
        if (c->body_left > 0)
            return 0;
        c->in_body = false;
        answer_sum(c);
        return 1;
    }
    char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    if (end == NULL)
        return c->in_len == IN_MAX ? -1 : 0;
    end[2] = 0;
    bool post = c->in[0] == 'P';
    if (post) {
        c->in_body = true;
        c->sum = c->body_at = 0;
        c->body_left = content_length(c->in);
        if (strcasestr(c->in, "100-continue") != NULL &&
            send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) != 25)
            return -1;
    } else if (strncmp(c->in, "GET /bytes/", 11) == 0) {
        answer_bytes(c, strtoull(c->in + 11, NULL, 10));
    } else if (strncmp(c->in, "GET /free ", 10) == 0) {
        answer_free(c);
    } else {
        answer(c, "Hello from skerry!\n", 19);
    }
    size_t used = (size_t)(end + 4 - c->in);
    c->in_len -= used;
    memmove(c->in, c->in + used, c->in_len);
    return post ? conn_parse(c) : 1;
}

static void want_out(struct conn *c, bool on)
{
    if (c->want_out == on)
        return;
    c->want_out = on;
    struct epoll_event e = {.events = on ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void conn_run(struct conn *c)
{
    for (;;) {
        if (c->head_len > 0) {
            int r = conn_flush(c);
            if (r < 0) {
                conn_close(c);
                return;
            }
            want_out(c, r == 0);
            if (r == 0)
                return;
        }
        int r = conn_parse(c);
        if (r > 0)
            continue;
        ssize_t n = r < 0 ? 0 : recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            conn_close(c);
            return;
        }
        c->in_len += (size_t)n;
    }
}

static void accept_all(int l)
{
    for (;;) {
        int fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct conn *c = calloc(1, sizeof(*c));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (c == NULL) {
            close(fd);
            continue;
        }
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port =
                                htons(argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 8080)};
    int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l, 1024) < 0) {
        perror("epoll_server");
        return 1;
    }
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN}, got[64];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    printf("listening on %d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, got, 64, -1);
        for (int i = 0; i < n; i++) {
            if (got[i].data.ptr == NULL)
                accept_all(l);
            else
                conn_run(got[i].data.ptr);
        }
    }
}
