// SPDX-License-Identifier: Apache-2.0
#include "control/probe.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/test.h"

enum { TIMEOUT_MS = 2000 };

struct server {
    int fd;
    uint16_t port;
};

static bool server_open(struct server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = s->fd >= 0 && bind(s->fd, (struct sockaddr *)&a, len) == 0 && listen(s->fd, 4) == 0 &&
              getsockname(s->fd, (struct sockaddr *)&a, &len) == 0;
    s->port = ntohs(a.sin_port);
    return ok;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

// Run a probe to its end while the server gives that answer (NULL: it accepts, and is silent).
static bool run(struct probe *p, const struct server *s, const char *path, const char *answer,
                uint32_t timeout_ms)
{
    bool ok = false;
    int peer = -1, ended = probe_start(p, "127.0.0.1", s->port, path, timeout_ms, now_ms());
    while (ended == 0) {
        struct pollfd fds[2] = {{.fd = p->fd, .events = probe_events(p)},
                                {.fd = peer < 0 ? s->fd : peer, .events = POLLIN}};
        poll(fds, 2, 5);
        if (fds[1].revents != 0 && peer < 0) {
            peer = accept(s->fd, NULL, NULL);
        } else if (fds[1].revents != 0 && answer != NULL) {
            char request[512];
            ssize_t got = read(peer, request, sizeof(request));
            if (got > 0 && write(peer, answer, strlen(answer)) > 0)
                shutdown(peer, SHUT_WR);
            answer = NULL;
        }
        ended = probe_step(p, fds[0].revents, now_ms(), &ok);
    }
    if (peer >= 0)
        close(peer);
    return ok;
}

static void test_http(struct test *t)
{
    struct server s;
    struct probe p = {0};
    CHECK(t, server_open(&s));
    bool good = run(&p, &s, "/ok", "HTTP/1.1 204 No Content\r\n\r\n", TIMEOUT_MS);
    bool moved = run(&p, &s, "/", "HTTP/1.0 302 Found\r\n\r\n", TIMEOUT_MS);
    bool sick = run(&p, &s, "/", "HTTP/1.1 500 Sorry\r\n\r\n", TIMEOUT_MS);
    bool told = strcmp(p.error, "the health check was answered with 500") == 0;
    bool other = run(&p, &s, "/", "SSH-2.0-OpenSSH_9\r\n", TIMEOUT_MS);
    bool cut = run(&p, &s, "/", "HTTP/1", TIMEOUT_MS);
    bool silent = run(&p, &s, "/", NULL, 50);
    close(s.fd);
    CHECK(t, good && moved);
    CHECK(t, !sick && told && !other && !cut && !silent);
    CHECK_STR(t, p.error, "the health check was not answered in time");
}

static void test_tcp(struct test *t)
{
    struct server s;
    struct probe p = {0};
    CHECK(t, server_open(&s));
    bool open = run(&p, &s, NULL, NULL, TIMEOUT_MS);
    close(s.fd);
    bool closed = run(&p, &s, NULL, NULL, TIMEOUT_MS);
    CHECK(t, open && !closed);
    CHECK_STR(t, p.error, "connect: Connection refused");
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_http), TEST_CASE(test_tcp)};
    return test_main(cases, ARRAY_LEN(cases));
}
