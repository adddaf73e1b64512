// SPDX-License-Identifier: Apache-2.0
#pragma once
/* HTTP client for skerry's own processes: one request, or a watch (docs/protocols.md) that goes on
 * for ever. All calls block their thread; any number of threads may call at once. */
#include <jansson.h>

#include "base/base.h"
#include "host/err.h"

enum {
    HTTP_BASE_MAX = 256,        // bytes of a base address, with NUL
    HTTP_ANSWER_MAX = 64 << 20, // bytes of an answer kept in memory
    HTTP_LINE_MAX = 16 << 20,   // bytes of a line of a watch
    HTTP_CONNECT_MS = 2000,
    HTTP_WATCH_DEAD_MS = 12000, // two keep-alives of 5 s were missed
    HTTP_RETRY_MIN_MS = 100,    // pause after a lost watch, doubling ...
    HTTP_RETRY_MAX_MS = 2000,   // ... up to this
};

/* Where a server is: "unix:/path" or "http://host:port". Immutable once parsed. */
struct http_base {
    char text[HTTP_BASE_MAX]; // as given
    bool is_unix;
};

/* 0; -EINVAL when text has neither form. */
NONNULL MUST_CHECK int http_base_parse(const char *text, struct http_base *ret, struct err *err);

struct http_request {
    const char *method; // "GET", "PUT", ...
    const char *path;   // "/v1/...", already escaped
    const void *body;   // or NULL
    size_t body_bytes;
    int body_fd; // sent from its start when body is NULL and this is > 0; body_bytes long
    const char *content_type; // default application/json when there is a body
    uint32_t timeout_ms;      // for the whole exchange; 0: none
    int stop_fd;              // > 0: the exchange ends with -ECANCELED when it becomes readable
    /* Takes the body of a 200 answer as it comes instead of the answer's memory; a negative return
     * ends the exchange with that code (set err yourself through ctx). */
    int (*recv)(void *ctx, const void *data, size_t len);
    void *ctx;
};

struct http_answer {
    unsigned status; // 200, ...
    char *body;      // NUL-ended; NULL when empty
    size_t len;
};

void http_answer_free(struct http_answer *a); // frees the body; for CLEANUP

/* One exchange. 0 whenever a whole answer came, whatever its status. -ECONNREFUSED nobody listens
 * (or no socket file); -ETIMEDOUT; -ECANCELED; -EFBIG answer too large; -EIO what else broke. */
NONNULL MUST_CHECK int http_do(const struct http_base *base, const struct http_request *request,
                               struct http_answer *ret, struct err *err);

/* JSON there and back: body may be NULL; ret may be NULL, else it takes a new reference (or NULL
 * when the answer was empty). A status of 400 and more becomes an error with the text of the
 * member "error": -EINVAL (400), -ENOENT (404), -EEXIST (409), -EAGAIN (503), else -EIO. */
__attribute__((nonnull(1, 2, 3, 7))) MUST_CHECK int
http_json(const struct http_base *base, const char *method, const char *path, const json_t *body,
          uint32_t timeout_ms, json_t **ret, struct err *err);
/* The error of an answer with a status of 400 and more, as http_json gives it; else 0. */
NONNULL MUST_CHECK int http_check(const struct http_answer *a, struct err *err);

struct http_watch {
    const struct http_base *base;
    const char *path;
    int stop_fd;          // > 0: http_watch returns when it becomes readable (it is not read)
    uint32_t dead_ms;     // silence after which the peer is taken for dead; 0: HTTP_WATCH_DEAD_MS
    uint32_t retries_max; // connections in a row that fail before giving up; 0: no limit
    /* A whole line, NUL-ended, without its newline; keep-alives are not shown. 0: go on; 1: done.
     * A line it cannot use it ignores, and so keeps the last good one. */
    int (*line)(void *ctx, const char *line, size_t len);
    /* Optional: the stream stands (why NULL) or was lost or refused (why: text for people). Called
     * on changes only. */
    void (*state)(void *ctx, const char *why);
    void *ctx;
};

/* Follow a watch until stop_fd is readable or line says 1: returns 0. A lost stream is opened again
 * after 0.1 s doubling to 2 s (0.1 s again once a line came). -ENOENT: the server answered 404;
 * -EIO: retries_max was reached; -ENOMEM. Those set err. */
NONNULL MUST_CHECK int http_watch(const struct http_watch *w, struct err *err);
