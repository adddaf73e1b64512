// SPDX-License-Identifier: Apache-2.0
#include "edge/http.h"

#include "base/test.h"

#define HOST "Host: h\r\n"
#define END  "\r\n\r\n"

// One request each: what it is, and the verdict (0: accepted; else the status it is refused with).
static const struct verdict {
    const char *request;
    int status;
} verdicts[] = {
    // plain
    {"GET / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET / HTTP/1.0" END, 0},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET http://a.example/x HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET http://a.example HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET /?a=b&c=%20|{} HTTP/1.1\r\n" HOST "\r\n", 0},
    {"M-SEARCH / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" HOST "X:\r\nY: \t a b \t\r\nZ: \xc3\xa9\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: CHUNKED\r\n\r\n", 0},
    {"POST / HTTP/1.1\r\n" HOST "content-length:007\r\n\r\n", 0},
    // request line
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
    {"GET / http/1.1\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1x\r\n" HOST "\r\n", 400},
    {"GET / HTTP/11\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.\r\n" HOST "\r\n", 400},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
    {"GET / HTTP/0.9\r\n" HOST "\r\n", 505},
    {"GET /\r\n" HOST "\r\n", 400},
    {"GET" END, 400},
    {"G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET x HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a\x01 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http:// HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET https://a/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http://a\"b/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
    // Host
    {"GET / HTTP/1.1" END, 400},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "host: other\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
    {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400},
    // field syntax
    {"GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\t: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST " X: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: y\r\n z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: y\r\n\tz\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n X: y\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST ": y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X y: z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\xc3: z\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Expect: more\r\n\r\n", 417},
    // framing: what smuggles
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\ncontent-length: 3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 3.0\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 9999999999999999999\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551619\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\x0b"
     "chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunkedx\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
     400},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
};

static void test_verdicts(struct test *t)
{
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        struct http_head h;
        const struct verdict *v = &verdicts[i];
        int r = http_request(v->request, strlen(v->request), &h);
        int got = r == 0 ? 0 : h.status;
        if (got != v->status)
            printf("# verdict %zu: %s\n", i, v->request);
        CHECK_EQ(t, got, v->status);
        CHECK(t, r == 0 || h.why != NULL);
    }
}

static void test_limits(struct test *t)
{
    static char big[HTTP_HEAD_MAX + 1024];
    struct http_head h;
    size_t n = (size_t)snprintf(big, sizeof(big), "GET /%0*d HTTP/1.1\r\n" HOST "\r\n",
                                HTTP_TARGET_MAX, 0);
    CHECK_EQ(t, http_request(big, n, &h), -EPROTO);
    CHECK_EQ(t, h.status, 414);
    n = (size_t)snprintf(big, sizeof(big), "GET / HTTP/1.1\r\n" HOST "X: %0*d\r\n\r\n",
                         HTTP_HEAD_MAX, 0);
    CHECK_EQ(t, http_request(big, n, &h), -EPROTO);
    CHECK_EQ(t, h.status, 431);
    n = (size_t)snprintf(big, sizeof(big), "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        n += (size_t)snprintf(big + n, sizeof(big) - n, "X: y\r\n");
    n += (size_t)snprintf(big + n, sizeof(big) - n, "\r\n");
    CHECK_EQ(t, http_request(big, n, &h), -EPROTO);
    CHECK_EQ(t, h.status, 431);
}

static void test_head_end(struct test *t)
{
    static const struct {
        const char *bytes;
        int end;
    } cases[] = {
        {"", -EAGAIN},
        {"G", -EAGAIN},
        {"GET / HTTP/1.1\r\n", -EAGAIN},
        {"GET / HTTP/1.1\r\n\r", -EAGAIN},
        {"GET / HTTP/1.1\r\n\r\nGET", 18},
        {"\r\nGET / HTTP/1.1\r\n\r\n", 20},
        {"GET / HTTP/1.1\n\n", -EPROTO},
        {"GET / HTTP/1.1\r\nX: y\n\r\n", -EPROTO},
        {"\n", -EPROTO},
        {"\x16\x03\x01", -EPROTO},
        {" GET", -EPROTO},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].bytes);
        CHECK_EQ(t, http_head_end(cases[i].bytes, len, 0), cases[i].end);
        // A head that comes byte by byte gives the same verdict at the same place.
        int r = -EAGAIN;
        for (size_t n = 1; n <= len && r == -EAGAIN; n++)
            r = http_head_end(cases[i].bytes, n, n - 1);
        CHECK_EQ(t, r, cases[i].end);
    }
}

static void test_meaning(struct test *t)
{
    static const char text[] = "POST http://b.example:81/p?q HTTP/1.1\r\nHost: a\r\n"
                               "Connection: upgrade, X-Mine\r\nUpgrade: websocket\r\n"
                               "x-mine: 1\r\nExpect: 100-Continue\r\nContent-Length: 12\r\n\r\n";
    struct http_head h;
    CHECK_EQ(t, http_request(text, sizeof(text) - 1, &h), 0);
    CHECK_EQ(t, h.method, HTTP_POST);
    CHECK(t, h.host.len == 12 && memcmp(h.host.p, "b.example:81", 12) == 0);
    CHECK(t, h.target.len == 4 && memcmp(h.target.p, "/p?q", 4) == 0);
    CHECK(t, h.upgrade && h.expect && h.keep_alive);
    CHECK_EQ(t, h.framing, HTTP_BODY_LENGTH);
    CHECK_EQ(t, h.length, 12);
    CHECK_EQ(t, h.fields[3].fate, HTTP_DROP);
    CHECK(t, http_idempotent(HTTP_PUT) && !http_idempotent(HTTP_POST));
}

static void test_keep_alive(struct test *t)
{
    static const struct {
        const char *request;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\nConnection: Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: foo , close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_head h;
        CHECK_EQ(t, http_request(cases[i].request, strlen(cases[i].request), &h), 0);
        CHECK_EQ(t, h.keep_alive, cases[i].keep);
    }
}

// Responses: framing as RFC 9112 6.3 has it, -1: refused.
static void test_responses(struct test *t)
{
    static const struct {
        const char *response;
        enum http_method to;
        int framing;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_GET, HTTP_BODY_LENGTH},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HTTP_GET, HTTP_BODY_NONE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_HEAD, HTTP_BODY_NONE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_GET, HTTP_BODY_CHUNKED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_HEAD, HTTP_BODY_NONE},
        {"HTTP/1.1 200 OK" END, HTTP_GET, HTTP_BODY_CLOSE},
        {"HTTP/1.0 200 OK" END, HTTP_GET, HTTP_BODY_CLOSE},
        {"HTTP/1.1 200" END, HTTP_GET, HTTP_BODY_CLOSE},
        {"HTTP/1.1 200 " END, HTTP_GET, HTTP_BODY_CLOSE},
        {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", HTTP_GET, HTTP_BODY_NONE},
        {"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n", HTTP_GET, HTTP_BODY_NONE},
        {"HTTP/1.1 100 Continue" END, HTTP_GET, HTTP_BODY_NONE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_GET,
         -1},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", HTTP_GET, -1},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_GET, -1},
        {"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", HTTP_GET, -1},
        {"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", HTTP_GET, -1},
        {"HTTP/1.1 2000 OK" END, HTTP_GET, -1},
        {"HTTP/1.1 20x OK" END, HTTP_GET, -1},
        {"HTTP/1.1 099 OK" END, HTTP_GET, -1},
        {"HTTP/2.0 200 OK" END, HTTP_GET, -1},
        {"HTTP/1.1  200 OK" END, HTTP_GET, -1},
        {"ICY 200 OK" END, HTTP_GET, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_head h;
        int r = http_response(cases[i].response, strlen(cases[i].response), cases[i].to, &h);
        if ((r == 0 ? h.framing : -1) != cases[i].framing)
            printf("# response %zu: %s\n", i, cases[i].response);
        CHECK_EQ(t, r == 0 ? h.framing : -1, cases[i].framing);
    }
}

// ------------------------------------------------------------------------------------- chunks

/* Decode text in pieces of `step` bytes; appends data to out. Returns 1, 0 or -EPROTO. */
static int decode(const char *text, size_t step, char *out, size_t *ret_used)
{
    struct http_chunks c = {0};
    size_t len = strlen(text), n = 0;
    char work[512];
    int r = 0;
    *ret_used = 0;
    for (size_t at = 0; at < len && r == 0; at += step) {
        size_t piece = MIN(step, len - at), used, data_len;
        char *data;
        memcpy(work, text + at, piece);
        r = http_chunks_decode(&c, work, piece, &used, &data, &data_len);
        if (r < 0)
            break;
        memcpy(out + n, data, data_len);
        n += data_len;
        *ret_used += used;
    }
    out[n] = '\0';
    return r;
}

static void test_chunks(struct test *t)
{
    static const struct {
        const char *text;
        int verdict;
        const char *data; // when the verdict is 1
        size_t left;      // bytes behind the body
    } cases[] = {
        {"0\r\n\r\n", 1, "", 0},
        {"5\r\nhello\r\n0\r\n\r\n", 1, "hello", 0},
        {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", 1, "hello world", 5},
        {"005;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n", 1, "hello", 0},
        {"A\r\n0123456789\r\n00\r\n\r\n", 1, "0123456789", 0},
        {"1\r\nx\r\n0\r\nTrailer: y\r\nAnother:\r\n\r\n", 1, "x", 0},
        {"5\r\nhel", 0, NULL, 0},
        {"5\r\nhello\r\n0\r\n", 0, NULL, 0},
        {"\r\n", -EPROTO, NULL, 0},
        {";a\r\n", -EPROTO, NULL, 0},
        {"g\r\n", -EPROTO, NULL, 0},
        {"-1\r\n", -EPROTO, NULL, 0},
        {"+1\r\nx\r\n", -EPROTO, NULL, 0},
        {"0x1\r\nx\r\n", -EPROTO, NULL, 0},
        {" 1\r\nx\r\n", -EPROTO, NULL, 0},
        {"1 \r\nx\r\n", -EPROTO, NULL, 0},
        {"1\nx\r\n", -EPROTO, NULL, 0},
        {"1\rx", -EPROTO, NULL, 0},
        {"1\r\nxy\r\n", -EPROTO, NULL, 0},
        {"1\r\nx\n0\r\n", -EPROTO, NULL, 0},
        {"1;a\nb\r\nx\r\n", -EPROTO, NULL, 0},
        {"1;a\x01\r\nx\r\n", -EPROTO, NULL, 0},
        {"ffffffffffffffff\r\n", -EPROTO, NULL, 0},
        {"0\r\nTrailer : y\r\n\r\n", -EPROTO, NULL, 0},
        {"0\r\n X: y\r\n\r\n", -EPROTO, NULL, 0},
        {"0\r\nX: y\n\r\n", -EPROTO, NULL, 0},
        {"0\r\n\rx", -EPROTO, NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].text);
        for (size_t step = 1; step <= len; step++) {
            char out[512];
            size_t used;
            int r = decode(cases[i].text, step, out, &used);
            if (r != cases[i].verdict)
                printf("# chunks %zu step %zu: %s\n", i, step, cases[i].text);
            CHECK_EQ(t, r, cases[i].verdict);
            if (r == 1) {
                CHECK_STR(t, out, cases[i].data);
                CHECK_EQ(t, len - used, cases[i].left);
            }
        }
    }
}

static void test_chunk_bounds(struct test *t)
{
    struct http_chunks c = {.state = 0};
    char text[HTTP_TRAILER_MAX + 64], *data;
    size_t used, data_len;
    memcpy(text, "1;", 2);
    memset(text + 2, 'a', HTTP_CHUNK_EXT_MAX + 1);
    CHECK_EQ(t, http_chunks_decode(&c, text, HTTP_CHUNK_EXT_MAX + 3, &used, &data, &data_len),
             -EPROTO);
    c = (struct http_chunks){0};
    memcpy(text, "0\r\nX:", 5);
    memset(text + 5, 'a', HTTP_TRAILER_MAX + 1);
    CHECK_EQ(t, http_chunks_decode(&c, text, HTTP_TRAILER_MAX + 6, &used, &data, &data_len),
             -EPROTO);
}

// ------------------------------------------------------------------------------------- writing

static const char *written(const char *request, const struct http_request_edit *edit, char *out,
                           size_t max)
{
    struct http_head h;
    struct writer w = writer_of(out, max - 1);
    if (http_request(request, strlen(request), &h) < 0)
        return "refused";
    http_write_request(&w, &h, edit);
    out[w.len] = '\0';
    return w.full ? "full" : out;
}

static void test_write_request(struct test *t)
{
    char out[1024];
    struct http_request_edit edit = {
        .via = "skerry-x", .client = {"1.2.3.4", 7}, .host = "9.9.9.9"};
    CHECK_STR(t, written("GET / HTTP/1.0\r\n\r\n", &edit, out, sizeof(out)),
              "GET / HTTP/1.1\r\nHost: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4\r\n"
              "X-Forwarded-Proto: http\r\nVia: 1.1 skerry-x\r\n\r\n");
    CHECK_STR(t,
              written("POST http://b/ HTTP/1.1\r\nA: 1\r\nHost: a\r\nB: 2\r\nC: 3\r\n"
                      "Connection: B\r\nX-Forwarded-For: 5.5.5.5\r\nX-Forwarded-Proto: https\r\n"
                      "Content-Length: 007\r\nX-Skerry-Anything: 1\r\n\r\n",
                      &edit, out, sizeof(out)),
              "POST / HTTP/1.1\r\nHost: b\r\nA: 1\r\nC: 3\r\nContent-Length: 7\r\n"
              "X-Forwarded-For: 5.5.5.5, 1.2.3.4\r\nX-Forwarded-Proto: http\r\n"
              "Via: 1.1 skerry-x\r\n\r\n");
    // Towards another POP: the service is named, who the client was is left as it came.
    edit = (struct http_request_edit){.via = NULL, .service = "app", .host = "9.9.9.9"};
    CHECK_STR(t,
              written("GET / HTTP/1.1\r\n" HOST
                      "X-Forwarded-For: 1.2.3.4\r\nConnection: upgrade\r\n"
                      "Upgrade: h2c\r\nX-Skerry-Service: other\r\n\r\n",
                      &edit, out, sizeof(out)),
              "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: upgrade\r\n"
              "Upgrade: h2c\r\nX-Skerry-Service: app\r\n\r\n");
    CHECK_STR(t, written("GET / HTTP/1.1\r\n" HOST "\r\n", &edit, out, 20), "full");
}

static void test_write_response(struct test *t)
{
    static const char text[] = "HTTP/1.0 404 Nicht da\r\nServer: x\r\nConnection: Keep-Alive\r\n"
                               "Keep-Alive: 5\r\nContent-Length: 05\r\nX-Skerry-Full: 1\r\nA: b\r\n"
                               "X-Skerry-Region: liar\r\n\r\n";
    char out[1024];
    struct http_head h;
    struct writer w = writer_of(out, sizeof(out) - 1);
    CHECK_EQ(t, http_response(text, sizeof(text) - 1, HTTP_GET, &h), 0);
    struct http_response_edit edit = {
        .pop = "p", .region = "r", .date = "now", .framing = HTTP_BODY_LENGTH, .close = true};
    http_write_response(&w, &h, &edit);
    out[w.len] = '\0';
    CHECK_STR(t, out,
              "HTTP/1.1 404 Nicht da\r\nServer: x\r\nA: b\r\nContent-Length: 5\r\n"
              "Connection: close\r\nDate: now\r\nX-Skerry-Pop: p\r\nX-Skerry-Region: r\r\n\r\n");
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_verdicts),       TEST_CASE(test_limits),       TEST_CASE(test_head_end),
        TEST_CASE(test_meaning),        TEST_CASE(test_keep_alive),   TEST_CASE(test_responses),
        TEST_CASE(test_chunks),         TEST_CASE(test_chunk_bounds), TEST_CASE(test_write_request),
        TEST_CASE(test_write_response),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
