// SPDX-License-Identifier: Apache-2.0
#include "lab/answer.h"

#include <errno.h>

#include "base/test.h"

static char buf[ANSWER_MAX];

static int read_text(const char *text, bool eof, struct answer *a)
{
    memcpy(buf, text, strlen(text));
    return answer_read(buf, strlen(text), eof, a);
}

#define BODY_IS(t, a, text)                                                                        \
    CHECK(t, (a).body_len == strlen(text) && memcmp((a).body, text, strlen(text)) == 0)

static void test_length(struct test *t)
{
    struct answer a;
    CHECK_EQ(t,
             read_text("HTTP/1.1 200 OK\r\nX-Skerry-Pop: london\r\nContent-Length: 5\r\n\r\nhelloX",
                       false, &a),
             0);
    CHECK_EQ(t, a.status, 200);
    CHECK(t, a.keep_alive);
    CHECK_STR(t, a.pop, "london");
    BODY_IS(t, a, "hello");
    CHECK_EQ(t, buf[a.used], 'X');
}

static void test_chunks(struct test *t)
{
    struct answer a;
    CHECK_EQ(t,
             read_text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nhel\r\nA;x=y\r\nlo, world!\r\n0\r\nTrailer: x\r\n\r\nX",
                       false, &a),
             0);
    BODY_IS(t, a, "hello, world!");
    CHECK_EQ(t, buf[a.used], 'X');
}

static void test_until_end(struct test *t)
{
    struct answer a;
    const char *text = "HTTP/1.0 404 \r\n\r\nnot here";
    CHECK_EQ(t, read_text(text, false, &a), -EAGAIN);
    CHECK_EQ(t, read_text(text, true, &a), 0);
    CHECK_EQ(t, a.status, 404);
    CHECK(t, !a.keep_alive);
    BODY_IS(t, a, "not here");
}

static void test_connection_close(struct test *t)
{
    struct answer a;
    CHECK_EQ(
        t,
        read_text("HTTP/1.1 503 Busy\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", false, &a),
        0);
    CHECK(t, !a.keep_alive);
    BODY_IS(t, a, "");
}

// Every proper prefix of an answer needs more, and is an error when the connection ends there.
static void test_prefixes(struct test *t)
{
    static const char *const whole[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"};
    for (size_t k = 0; k < ARRAY_LEN(whole); k++)
        for (size_t n = 0; n < strlen(whole[k]); n++) {
            struct answer a;
            memcpy(buf, whole[k], n);
            CHECK_EQ(t, answer_read(buf, n, false, &a), -EAGAIN);
            CHECK_EQ(t, answer_read(buf, n, true, &a), -EPROTO);
        }
}

static void test_bad(struct test *t)
{
    static const char *const bad[] = {
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        "GARBAGE\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct answer a;
        CHECK_EQ(t, read_text(bad[i], false, &a), -EPROTO);
    }
    struct answer a;
    memset(buf, 'x', sizeof(buf));
    CHECK_EQ(t, answer_read(buf, sizeof(buf), false, &a), -E2BIG);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_length),           TEST_CASE(test_chunks),   TEST_CASE(test_until_end),
        TEST_CASE(test_connection_close), TEST_CASE(test_prefixes), TEST_CASE(test_bad),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
