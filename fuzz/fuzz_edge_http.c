// SPDX-License-Identifier: Apache-2.0
/* Foreign HTTP heads. What is accepted is written again, and what we write must be accepted with
 * the same meaning: the next hop must not be able to read it differently. */
#include <string.h>

#include "edge/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(struct http_slice a, struct http_slice b)
{
    return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static void rewrite_request(const struct http_head *h)
{
    static char out[2 * HTTP_HEAD_MAX];
    static struct http_head again;
    struct writer w = writer_of(out, HTTP_HEAD_MAX);
    struct http_request_edit edit = {.via = "skerry-x", .client = {"192.0.2.1", 9}, .host = "h"};
    if (h->method == HTTP_CONNECT)
        return; // not forwarded
    http_write_request(&w, h, &edit);
    if (w.full)
        return;
    ASSERT(http_head_end(out, w.len, 0) == (int)w.len);
    int r = http_request(out, w.len, &again);
    // Our own fields may take it over a limit, nothing else.
    ASSERT(r == 0 || again.status == 431);
    if (r < 0)
        return;
    ASSERT(again.framing == h->framing && again.length == h->length && again.minor == 1);
    ASSERT(again.method == h->method && same(again.target, h->target));
    ASSERT(h->host.p == NULL || same(again.host, h->host));
    ASSERT(again.keep_alive && again.upgrade == h->upgrade && again.service.p == NULL);
}

static void rewrite_response(const struct http_head *h)
{
    static char out[2 * HTTP_HEAD_MAX];
    static struct http_head again;
    struct writer w = writer_of(out, HTTP_HEAD_MAX);
    uint8_t framing = h->framing == HTTP_BODY_CLOSE ? HTTP_BODY_CHUNKED : h->framing;
    struct http_response_edit edit = {.pop = "p", .region = "r", .date = "d", .framing = framing};
    if (h->status == 101)
        return;
    http_write_response(&w, h, &edit);
    if (w.full)
        return;
    int r = http_response(out, w.len, HTTP_GET, &again);
    ASSERT(r == 0 || again.status == 431);
    ASSERT(r < 0 || (again.status == h->status && again.framing == framing));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head h;
    static char copy[2 * HTTP_HEAD_MAX];
    if (size > sizeof(copy))
        return 0;
    memcpy(copy, data, size);
    int n = http_head_end(copy, size, 0);
    if (n > 0 && http_request(copy, (size_t)n, &h) == 0)
        rewrite_request(&h);
    if (n > 0 && http_response(copy, (size_t)n, HTTP_GET, &h) == 0)
        rewrite_response(&h);
    return 0;
}
