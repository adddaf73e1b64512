// SPDX-License-Identifier: Apache-2.0
#pragma once
/* HTTP/1.1 as a pure core: message heads and chunked bodies are parsed strictly (RFC 9112), and
 * heads are written again with canonical framing. Bytes go in, verdicts and bytes come out; no I/O.
 * What two readers could understand differently is refused, never repaired. */
#include "base/base.h"
#include "base/cursor.h"
#include "base/errno.h"

enum {
    HTTP_HEAD_MAX = 16384,  // bytes of a head, blank line included
    HTTP_TARGET_MAX = 8192, // bytes of a request target
    HTTP_FIELDS_MAX = 128,
    HTTP_TRAILER_MAX = 4096,
    HTTP_CHUNK_EXT_MAX = 256, // bytes of extensions of one chunk
};

// Field names that mean something to a proxy, the short ones first: X(id, name, what becomes of it)
#define HTTP_FIELD_NAMES(X)                                                                        \
    X(TE, "te", HTTP_DROP)                                                                         \
    X(VIA, "via", HTTP_KEEP)                                                                       \
    X(HOST, "host", HTTP_KEEP)                                                                     \
    X(DATE, "date", HTTP_KEEP)                                                                     \
    X(EXPECT, "expect", HTTP_KEEP)                                                                 \
    X(TRAILER, "trailer", HTTP_DROP)                                                               \
    X(UPGRADE, "upgrade", HTTP_DROP)                                                               \
    X(CONNECTION, "connection", HTTP_DROP)                                                         \
    X(KEEP_ALIVE, "keep-alive", HTTP_DROP)                                                         \
    X(SKERRY_FULL, "x-skerry-full", HTTP_DROP)                                                     \
    X(CONTENT_LENGTH, "content-length", HTTP_DROP)                                                 \
    X(FORWARDED_FOR, "x-forwarded-for", HTTP_KEEP)                                                 \
    X(SKERRY_REGION, "x-skerry-region", HTTP_DROP)                                                 \
    X(PROXY_CONNECTION, "proxy-connection", HTTP_DROP)                                             \
    X(SKERRY_SERVICE, "x-skerry-service", HTTP_DROP)                                               \
    X(TRANSFER_ENCODING, "transfer-encoding", HTTP_DROP)                                           \
    X(FORWARDED_PROTO, "x-forwarded-proto", HTTP_KEEP)                                             \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", HTTP_DROP)                                         \
    X(PROXY_AUTHORIZATION, "proxy-authorization", HTTP_DROP)

enum http_field_id {
    HTTP_FIELD_OTHER,
#define X(id, name, fate) HTTP_FIELD_##id,
    HTTP_FIELD_NAMES(X)
#undef X
        HTTP_FIELD_SKERRY, // any other x-skerry-*: ours alone, so dropped
};

enum http_fate { HTTP_KEEP, HTTP_DROP };

struct http_slice {
    const char *p; // borrowed from the buffer that was parsed
    uint32_t len;
};

struct http_field {
    struct http_slice line; // with its CRLF
    struct http_slice value;
    uint16_t name_len;
    uint8_t id;   // enum http_field_id
    uint8_t fate; // enum http_fate
};

enum http_framing {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,  // exactly `length` bytes
    HTTP_BODY_CHUNKED, // ends with the last chunk
    HTTP_BODY_CLOSE,   // responses: ends with the connection
};

enum http_method {
    HTTP_METHOD_OTHER,
    HTTP_GET,
    HTTP_HEAD,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_POST,
    HTTP_CONNECT
};

struct http_head {
    uint32_t len;    // bytes of the whole head, blank line included
    uint16_t status; // response: its code; a refused request: the code to answer
    uint8_t minor;   // HTTP/1.minor
    uint8_t method;  // enum http_method
    uint8_t framing; // enum http_framing
    bool keep_alive; // the sender wants the connection to stay
    bool upgrade;    // Connection: upgrade with an Upgrade field
    bool expect;     // Expect: 100-continue
    bool has_length; // a Content-Length field was there (HEAD answers carry one without a body)
    bool has_date;
    bool full;       // X-Skerry-Full: the POP behind the backbone has no room
    uint64_t length; // Content-Length
    const char *why; // refused: one clear sentence
    struct http_slice method_text, target, host, upgrade_to, service, region, reason;
    unsigned fields_n;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Look for the end of a head in buf[0..len), where buf[0..from) was already looked at by an earlier
 * call. Returns the head's length (> 0); -EAGAIN: not there yet; -EPROTO: a line end that is not
 * CRLF, or bytes that cannot start a message. */
NONNULL MUST_CHECK int http_head_end(const char *buf, size_t len, size_t from);

/* Parse a request head of exactly len bytes (from http_head_end). 0, or -EPROTO with ret->status
 * (400, 414, 431, 501 or 505) and ret->why. ret borrows buf. */
NONNULL MUST_CHECK int http_request(const char *buf, size_t len, struct http_head *ret);

/* Parse a response head likewise; `to` is the method of the request it answers. 0, or -EPROTO with
 * ret->why. */
NONNULL MUST_CHECK int http_response(const char *buf, size_t len, enum http_method to,
                                     struct http_head *ret);

/* True when doing the request twice is the same as once (RFC 9110 9.2.2). */
bool http_idempotent(enum http_method method);

// ------------------------------------------------------------------------------------- bodies

struct http_chunks {
    uint64_t left;    // data bytes of the open chunk
    uint32_t ext;     // bytes of its extensions
    uint32_t trailer; // bytes of trailers
    uint8_t digits;   // of the size
    uint8_t state;
};

/* Decode a piece of a chunked body in place: data of all its chunks is moved together, *ret_data
 * points to it within p. 1: the body is complete; *ret_used bytes belonged to it. 0: all of p was
 * used, more must come. -EPROTO: not chunked coding (RFC 9112 7.1). Start with a zeroed struct.
 * Trailers are checked and dropped. */
NONNULL MUST_CHECK int http_chunks_decode(struct http_chunks *c, char *p, size_t len,
                                          size_t *ret_used, char **ret_data, size_t *ret_data_len);

// ------------------------------------------------------------------------------------- writing

struct http_request_edit {
    const char *via;          // "skerry-london"; NULL: no Via of ours
    struct http_slice client; // address to add to X-Forwarded-For; len 0: leave as it came
    const char *service;      // X-Skerry-Service for the backbone, or NULL
    const char *host;         // Host when the request had none (HTTP/1.0)
};

/* Write the head of a request that goes on to an instance or POP. */
NONNULL void http_write_request(struct writer *w, const struct http_head *h,
                                const struct http_request_edit *edit);

struct http_response_edit {
    const char *pop;    // X-Skerry-Pop, or NULL (the backbone side leaves that to the entry POP)
    const char *region; // X-Skerry-Region, or NULL: take over the one that came
    const char *date;   // Date when there is none
    uint8_t framing;    // enum http_framing towards the client
    bool close;         // Connection: close
    bool say_alive;     // Connection: keep-alive (to an HTTP/1.0 client)
};

/* Write the head of a response that goes back to a client. */
NONNULL void http_write_response(struct writer *w, const struct http_head *h,
                                 const struct http_response_edit *edit);
