// SPDX-License-Identifier: Apache-2.0
#include "host/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/test.h"

enum { REPLIES_MAX = 8, REQUEST_MAX = 1 << 16 };

/* A server of canned answers: connection i is read up to the end of its request and answered with
 * replies[i]; `hold` keeps it open until the client leaves. */
struct server {
    int fd;
    unsigned port;
    const char *replies[REPLIES_MAX];
    bool hold[REPLIES_MAX];
    unsigned replies_len, served;
    char request[REQUEST_MAX]; // the last one
    pthread_t thread;
};

static void read_request(struct server *s, int fd)
{
    size_t len = 0, want = 0;
    while (len + 1 < sizeof(s->request)) {
        ssize_t n = read(fd, s->request + len, sizeof(s->request) - 1 - len);
        if (n <= 0)
            return;
        len += (size_t)n;
        s->request[len] = '\0';
        const char *end = strstr(s->request, "\r\n\r\n");
        const char *length = strstr(s->request, "Content-Length: ");
        if (end == NULL)
            continue;
        want = (size_t)(end + 4 - s->request);
        if (length != NULL)
            want += strtoul(length + 16, NULL, 10);
        if (len >= want)
            return;
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    for (unsigned i = 0; i < s->replies_len; i++) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            break;
        read_request(s, fd);
        size_t len = strlen(s->replies[i]);
        if (write(fd, s->replies[i], len) != (ssize_t)len)
            break;
        char byte;
        while (s->hold[i] && read(fd, &byte, 1) > 0)
            continue;
        close(fd);
        s->served++;
    }
    return NULL;
}

static bool server_start(struct server *s, struct http_base *base)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct err e;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, len) != 0 || listen(s->fd, 8) != 0 ||
        getsockname(s->fd, (struct sockaddr *)&a, &len) != 0)
        return false;
    char text[64];
    snprintf(text, sizeof(text), "http://127.0.0.1:%u", ntohs(a.sin_port));
    return http_base_parse(text, base, &e) == 0 && pthread_create(&s->thread, NULL, serve, s) == 0;
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

#define HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\n"

static void test_base(struct test *t)
{
    struct http_base b;
    struct err e;
    CHECK_EQ(t, http_base_parse("unix:/run/x.sock", &b, &e), 0);
    CHECK(t, b.is_unix);
    CHECK_EQ(t, http_base_parse("http://127.0.0.1:80", &b, &e), 0);
    CHECK(t, !b.is_unix);
    static const char *const bad[] = {"", "localhost:80", "http://", "http://a/b", "unix:x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_EQ(t, http_base_parse(bad[i], &b, &e), -EINVAL);
}

static void test_json_exchange(struct test *t)
{
    struct server s = {.replies = {HEAD "Content-Length: 8\r\n\r\n{\"a\": 1}",
                                   "HTTP/1.1 404 No\r\nConnection: close\r\n"
                                   "Content-Length: 20\r\n\r\n{\"error\":\"no app x\"}"},
                       .replies_len = 2};
    struct http_base base;
    struct err e = {0};
    CHECK(t, server_start(&s, &base));
    json_t *body = json_pack("{s:s}", "k", "v"), *answer = NULL;
    int r = http_json(&base, "POST", "/v1/x", body, 2000, &answer, &e);
    json_int_t a = json_integer_value(json_object_get(answer, "a"));
    bool sent = strncmp(s.request, "POST /v1/x HTTP/1.1\r\n", 21) == 0 &&
                strstr(s.request, "{\"k\":\"v\"}") != NULL;
    json_decref(answer);
    json_decref(body);
    int r2 = http_json(&base, "GET", "/v1/y", NULL, 2000, NULL, &e);
    server_stop(&s);
    CHECK_EQ(t, r, 0);
    CHECK_EQ(t, a, 1);
    CHECK(t, sent);
    CHECK_EQ(t, r2, -ENOENT);
    CHECK_STR(t, e.text, "no app x");
}

static int collect(void *ctx, const void *data, size_t len)
{
    strncat(ctx, data, len);
    return 0;
}

static void test_file_up_and_down(struct test *t)
{
    struct server s = {
        .replies = {HEAD "Content-Length: 4\r\n\r\nabcd", HEAD "Content-Length: 0\r\n\r\n"},
        .replies_len = 2};
    struct http_base base;
    struct err e = {0};
    char got[16] = "";
    CHECK(t, server_start(&s, &base));
    FILE *f = tmpfile();
    CHECK(t, f != NULL && fputs("content!", f) >= 0 && fflush(f) == 0);
    struct http_answer a = {0};
    struct http_request down = {.method = "GET", .path = "/", .recv = collect, .ctx = got};
    int r = http_do(&base, &down, &a, &e);
    struct http_request up = {.method = "PUT", .path = "/i", .body_fd = fileno(f), .body_bytes = 8};
    int r2 = http_do(&base, &up, &a, &e);
    server_stop(&s);
    fclose(f);
    CHECK_EQ(t, r, 0);
    CHECK_STR(t, got, "abcd");
    CHECK_EQ(t, r2, 0);
    CHECK(t, strstr(s.request, "\r\n\r\ncontent!") != NULL);
}

static void test_failures(struct test *t)
{
    struct server s = {.replies = {"", HEAD "Content-Length: 99\r\n\r\nshort", "rubbish\r\n\r\n"},
                       .hold = {true},
                       .replies_len = 3};
    struct http_base base, nobody;
    struct err e = {0};
    struct http_answer a = {0};
    struct http_request q = {.method = "GET", .path = "/", .timeout_ms = 50};
    CHECK(t, server_start(&s, &base));
    int hung = http_do(&base, &q, &a, &e);
    q.timeout_ms = 2000;
    int cut = http_do(&base, &q, &a, &e);
    int rubbish = http_do(&base, &q, &a, &e);
    server_stop(&s);
    CHECK_EQ(t, hung, -ETIMEDOUT);
    CHECK_EQ(t, cut, -EIO);
    CHECK_EQ(t, rubbish, -EIO);
    CHECK_EQ(t, http_base_parse("unix:/nonexistent/sock", &nobody, &e), 0);
    CHECK_EQ(t, http_do(&nobody, &q, &a, &e), -ECONNREFUSED);
}

struct seen {
    char lines[256];
    char states[256];
    unsigned n, done_at;
};

static int on_line(void *ctx, const char *line, UNUSED size_t len)
{
    struct seen *s = ctx;
    strncat(s->lines, line, sizeof(s->lines) - strlen(s->lines) - 1);
    return ++s->n == s->done_at;
}

static void on_state(void *ctx, const char *why)
{
    struct seen *s = ctx;
    strncat(s->states, why == NULL ? "+" : "-", 2);
}

static void test_watch_reconnects(struct test *t)
{
    // A line in two chunks, a keep-alive, a lost stream, a refusal, a silent peer, the last line.
    struct server s = {
        .replies = {HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\n<a>\r\n5\r\n\n{}\n<\r\n", // cut
                    "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                    HEAD "\r\n<b>\n", HEAD "\r\n<c>\n<d>\n"},
        .hold = {false, false, true, true},
        .replies_len = 4};
    struct http_base base;
    struct err e = {0};
    struct seen seen = {.done_at = 3};
    CHECK(t, server_start(&s, &base));
    struct http_watch w = {.base = &base,
                           .path = "/w",
                           .dead_ms = 100,
                           .line = on_line,
                           .state = on_state,
                           .ctx = &seen};
    int r = http_watch(&w, &e);
    server_stop(&s);
    CHECK_EQ(t, r, 0);
    CHECK_STR(t, seen.lines, "<a><b><c>");
    CHECK_STR(t, seen.states, "+-+-+");
}

struct stopper {
    int fd;
    struct timespec wait;
};

static void *stop_soon(void *arg)
{
    const struct stopper *s = arg;
    nanosleep(&s->wait, NULL);
    uint64_t one = 1;
    return write(s->fd, &one, sizeof(one)) == sizeof(one) ? NULL : arg;
}

static void test_watch_stops(struct test *t)
{
    struct server s = {.replies = {HEAD "\r\n<a>\n"}, .hold = {true}, .replies_len = 1};
    struct http_base base;
    struct err e = {0};
    struct seen seen = {0};
    struct stopper stop = {.fd = eventfd(0, EFD_CLOEXEC), .wait = {.tv_nsec = 50000000}};
    pthread_t thread;
    CHECK(t, stop.fd > 0 && server_start(&s, &base));
    CHECK_EQ(t, pthread_create(&thread, NULL, stop_soon, &stop), 0);
    struct http_watch w = {
        .base = &base, .path = "/w", .stop_fd = stop.fd, .line = on_line, .ctx = &seen};
    int r = http_watch(&w, &e);
    pthread_join(thread, NULL);
    server_stop(&s);
    close(stop.fd);
    CHECK_EQ(t, r, 0);
    CHECK_STR(t, seen.lines, "<a>");
}

static void test_watch_gives_up(struct test *t)
{
    struct http_base base;
    struct err e = {0};
    struct seen seen = {0};
    CHECK_EQ(t, http_base_parse("unix:/nonexistent/sock", &base, &e), 0);
    struct http_watch w = {.base = &base,
                           .path = "/w",
                           .retries_max = 2,
                           .line = on_line,
                           .state = on_state,
                           .ctx = &seen};
    CHECK_EQ(t, http_watch(&w, &e), -ECONNREFUSED);
    CHECK_STR(t, seen.states, "-");
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_base),
                                             TEST_CASE(test_json_exchange),
                                             TEST_CASE(test_file_up_and_down),
                                             TEST_CASE(test_failures),
                                             TEST_CASE(test_watch_reconnects),
                                             TEST_CASE(test_watch_stops),
                                             TEST_CASE(test_watch_gives_up)};
    return test_main(cases, ARRAY_LEN(cases));
}
