// SPDX-License-Identifier: Apache-2.0
#include "control/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

short probe_events(const struct probe *p)
{
    return p->state == PROBE_CONNECTING ? POLLOUT : POLLIN;
}

void probe_cancel(struct probe *p)
{
    if (p->state != PROBE_IDLE)
        close(p->fd);
    p->state = PROBE_IDLE;
}

static int failed(struct probe *p, const char *what, const char *why)
{
    snprintf(p->error, sizeof(p->error), "%s%s", what, why);
    probe_cancel(p);
    return 1;
}

int probe_start(struct probe *p, const char *address, uint16_t port, const char *path,
                uint32_t timeout_ms, uint64_t now_ms)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    ASSERT(p->state == PROBE_IDLE);
    p->request[0] = '\0';
    p->answer_len = 0;
    p->deadline_ms = now_ms + timeout_ms;
    if (path != NULL)
        snprintf(p->request, sizeof(p->request),
                 "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: skerry-health\r\n"
                 "Connection: close\r\n\r\n",
                 path, address);
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
        return failed(p, "no address", "");
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return failed(p, "socket: ", strerror(errno));
    p->state = PROBE_CONNECTING;
    if (connect(p->fd, (const struct sockaddr *)&a, sizeof(a)) != 0 && errno != EINPROGRESS)
        return failed(p, "connect: ", strerror(errno));
    return 0;
}

static int connected(struct probe *p, bool *ret_ok)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0)
        return failed(p, "connect: ", strerror(error));
    if (p->request[0] == '\0') {
        *ret_ok = true;
        probe_cancel(p);
        return 1;
    }
    size_t n = strlen(p->request);
    if (send(p->fd, p->request, n, MSG_NOSIGNAL) != (ssize_t)n)
        return failed(p, "send: ", strerror(errno));
    p->state = PROBE_READING;
    return 0;
}

static int read_status(struct probe *p, uint64_t now_ms)
{
    static const char form[] = "HTTP/1.x NNN";
    ssize_t n = read(p->fd, p->answer + p->answer_len, sizeof(p->answer) - 1 - p->answer_len);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return failed(p, "no answer: ", n < 0 ? strerror(errno) : "the connection was closed");
    p->answer_len += (size_t)n;
    if (p->answer_len < sizeof(form) - 1)
        return 0;
    p->answer[sizeof(form) - 1] = '\0';
    if (memcmp(p->answer, "HTTP/1.", 7) != 0)
        return failed(p, "the answer is not HTTP", "");
    if (p->answer[9] != '2' && p->answer[9] != '3')
        return failed(p, "the health check was answered with ", p->answer + 9);
    p->state = PROBE_REST;
    p->deadline_ms = MIN(p->deadline_ms, now_ms + PROBE_REST_MS);
    return 0;
}

static int read_rest(struct probe *p, bool *ret_ok)
{
    char ignored[4096];
    ssize_t n = read(p->fd, ignored, sizeof(ignored));
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return 0;
    *ret_ok = true;
    probe_cancel(p);
    return 1;
}

int probe_step(struct probe *p, short revents, uint64_t now_ms, bool *ret_ok)
{
    int ended = 0;
    *ret_ok = false;
    if (revents != 0 && p->state == PROBE_CONNECTING)
        ended = connected(p, ret_ok);
    else if (revents != 0 && p->state == PROBE_READING)
        ended = read_status(p, now_ms);
    if (revents != 0 && ended == 0 && p->state == PROBE_REST)
        ended = read_rest(p, ret_ok);
    if (ended == 0 && now_ms >= p->deadline_ms && p->state == PROBE_REST) {
        *ret_ok = true;
        probe_cancel(p);
        return 1;
    }
    if (ended == 0 && now_ms >= p->deadline_ms)
        return failed(p, "the health check was not answered in time", "");
    return ended;
}
