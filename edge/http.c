// SPDX-License-Identifier: Apache-2.0
#include "edge/http.h"

#include "base/mem.h"

enum { CLASS_TOKEN = 1, CLASS_VALUE = 2, CLASS_TARGET = 4, CLASS_HOST = 8, CLASS_HEX = 16 };

#define T CLASS_TOKEN
#define V CLASS_VALUE
#define G CLASS_TARGET
#define H CLASS_HOST
#define D (CLASS_HEX | T | V | G | H)
#define A (T | V | G | H)
/* What each octet may be part of: token (RFC 9110 5.6.2), field value (5.5), request target
 * (visible, no '#': RFC 9112 3.2), host (RFC 3986 3.2.2), hexadecimal digit. */
// clang-format off
static const uint8_t class_of[256] = {
    ['\t'] = V, [' '] = V, ['!'] = T | V | G | H, ['"'] = V | G, ['#'] = T | V,
    ['$'] = T | V | G | H, ['%'] = T | V | G | H, ['&'] = T | V | G | H, ['\''] = T | V | G | H,
    ['('] = V | G | H, [')'] = V | G | H, ['*'] = T | V | G | H, ['+'] = T | V | G | H,
    [','] = V | G | H, ['-'] = A, ['.'] = A, ['/'] = V | G, ['0' ... '9'] = D, [':'] = V | G | H,
    [';'] = V | G | H, ['<'] = V | G, ['='] = V | G | H, ['>'] = V | G, ['?'] = V | G,
    ['@'] = V | G, ['A' ... 'F'] = D, ['G' ... 'Z'] = A, ['['] = V | G | H, ['\\'] = V | G,
    [']'] = V | G | H, ['^'] = T | V | G, ['_'] = A, ['`'] = T | V | G, ['a' ... 'f'] = D,
    ['g' ... 'z'] = A, ['{'] = V | G, ['|'] = T | V | G, ['}'] = V | G, ['~'] = A,
    [0x80 ... 0xff] = V,
};
// clang-format on
#undef T
#undef V
#undef G
#undef H
#undef D
#undef A

static bool is(char c, unsigned class)
{
    return (class_of[(unsigned char)c] & class) != 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool equals(const char *p, size_t len, const char *lowered, size_t lowered_len)
{
    if (len != lowered_len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (lower(p[i]) != lowered[i])
            return false;
    return true;
}

int http_head_end(const char *buf, size_t len, size_t from)
{
    if (len > 0 && !is(buf[0], CLASS_TOKEN) && buf[0] != '\r')
        return -EPROTO;
    const char *end = buf + len, *p = buf + from;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        if (p == buf || p[-1] != '\r')
            return -EPROTO;
        // A blank line ends the head, but one in front of it is ignored (RFC 9112 2.2).
        if (p - buf >= 3 && p[-2] == '\n' && p - buf > 3)
            return (int)(p + 1 - buf);
        p++;
    }
    return -EAGAIN;
}

static const struct known {
    const char *name;
    uint8_t len, id, fate;
} known[] = {
#define X(ID, text, what)                                                                          \
    {.name = (text), .len = sizeof(text) - 1, .id = HTTP_FIELD_##ID, .fate = (what)},
    HTTP_FIELD_NAMES(X)
#undef X
};

// One bit for each length that a known name has: most foreign names are passed over at once.
#define X(ID, text, what) (1u << (sizeof(text) - 1)) |
static const uint32_t known_lens = HTTP_FIELD_NAMES(X) 0;
#undef X

static void field_name_known(struct http_field *f)
{
    const char *p = f->line.p;
    f->id = HTTP_FIELD_OTHER;
    f->fate = HTTP_KEEP;
    if (f->name_len < 32 && (known_lens >> f->name_len & 1) != 0) {
        char first = lower(p[0]);
        for (size_t i = 0; i < ARRAY_LEN(known) && known[i].len <= f->name_len; i++)
            if (known[i].len == f->name_len && known[i].name[0] == first &&
                equals(p, f->name_len, known[i].name, known[i].len)) {
                f->id = known[i].id;
                f->fate = known[i].fate;
                return;
            }
    }
    if (f->name_len > 9 && equals(p, 9, "x-skerry-", 9)) {
        f->id = HTTP_FIELD_SKERRY;
        f->fate = HTTP_DROP;
    }
}

static int refuse(struct http_head *h, uint16_t status, const char *why)
{
    h->status = status;
    h->why = why;
    return -EPROTO;
}

/* One field line; p is at its first byte, end behind the head. Returns the byte behind its CRLF or
 * NULL when it is malformed. */
static const char *field_line(const char *p, const char *end, struct http_field *ret)
{
    const char *start = p;
    while (p < end && is(*p, CLASS_TOKEN))
        p++;
    if (p == start || p == end || *p != ':' || p - start > UINT16_MAX)
        return NULL; // obs-fold and a space before the colon end up here too
    ret->name_len = (uint16_t)(p - start);
    p++;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    const char *value = p;
    while (p < end && is(*p, CLASS_VALUE))
        p++;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    const char *value_end = p;
    while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t'))
        value_end--;
    ret->line = (struct http_slice){start, (uint32_t)(p + 2 - start)};
    ret->value = (struct http_slice){value, (uint32_t)(value_end - value)};
    field_name_known(ret);
    return p + 2;
}

static int content_length(struct http_head *h, struct http_slice v)
{
    uint64_t n = 0;
    if (h->has_length)
        return refuse(h, 400, "more than one Content-Length");
    if (v.len == 0 || v.len > 18)
        return refuse(h, 400, "Content-Length is not a number");
    for (uint32_t i = 0; i < v.len; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return refuse(h, 400, "Content-Length is not a number");
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    h->has_length = true;
    h->length = n;
    return 0;
}

static int transfer_encoding(struct http_head *h, struct http_slice v)
{
    if (h->framing == HTTP_BODY_CHUNKED)
        return refuse(h, 400, "more than one Transfer-Encoding");
    if (!equals(v.p, v.len, "chunked", 7)) {
        bool last = v.len > 7 && equals(v.p + v.len - 7, 7, "chunked", 7) &&
                    (v.p[v.len - 8] == ' ' || v.p[v.len - 8] == ',' || v.p[v.len - 8] == '\t');
        return last ? refuse(h, 501, "a transfer coding other than chunked")
                    : refuse(h, 400, "Transfer-Encoding does not end with chunked");
    }
    h->framing = HTTP_BODY_CHUNKED;
    return 0;
}

// The next element of a comma-separated list; false at its end.
static bool list_next(struct http_slice *list, struct http_slice *ret)
{
    const char *p = list->p, *end = p + list->len;
    while (p < end && (*p == ',' || *p == ' ' || *p == '\t'))
        p++;
    const char *start = p;
    while (p < end && *p != ',')
        p++;
    *list = (struct http_slice){p, (uint32_t)(end - p)};
    while (p > start && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    *ret = (struct http_slice){start, (uint32_t)(p - start)};
    return ret->len > 0;
}

// A name in Connection makes that field hop-by-hop (RFC 9110 7.6.1). Host cannot be one.
static void nominated(struct http_head *h, struct http_slice name)
{
    for (unsigned i = 0; i < h->fields_n; i++) {
        struct http_field *f = &h->fields[i];
        if (f->name_len != name.len || f->id == HTTP_FIELD_HOST)
            continue;
        uint32_t j = 0;
        while (j < name.len && lower(name.p[j]) == lower(f->line.p[j]))
            j++;
        if (j == name.len)
            f->fate = HTTP_DROP;
    }
}

struct connection_says {
    bool close, keep_alive, upgrade;
};

static void connection(struct http_head *h, struct http_slice v, struct connection_says *says)
{
    struct http_slice token;
    while (list_next(&v, &token)) {
        if (equals(token.p, token.len, "close", 5))
            says->close = true;
        else if (equals(token.p, token.len, "keep-alive", 10))
            says->keep_alive = true;
        else if (equals(token.p, token.len, "upgrade", 7))
            says->upgrade = true;
        else
            nominated(h, token);
    }
}

static int host(struct http_head *h, struct http_slice v)
{
    if (h->host.p != NULL)
        return refuse(h, 400, "more than one Host");
    for (uint32_t i = 0; i < v.len; i++)
        if (!is(v.p[i], CLASS_HOST))
            return refuse(h, 400, "Host is not a host name");
    h->host = v;
    return 0;
}

// What a field means for the message as a whole.
static int field_meaning(struct http_head *h, const struct http_field *f)
{
    switch ((enum http_field_id)f->id) {
    case HTTP_FIELD_CONTENT_LENGTH:
        return content_length(h, f->value);
    case HTTP_FIELD_TRANSFER_ENCODING:
        return transfer_encoding(h, f->value);
    case HTTP_FIELD_HOST:
        return host(h, f->value);
    case HTTP_FIELD_EXPECT:
        if (!equals(f->value.p, f->value.len, "100-continue", 12))
            return refuse(h, 417, "an expectation other than 100-continue");
        h->expect = true;
        return 0;
    case HTTP_FIELD_UPGRADE:
        h->upgrade_to = f->value;
        return 0;
    case HTTP_FIELD_DATE:
        h->has_date = true;
        return 0;
    case HTTP_FIELD_SKERRY_SERVICE:
        h->service = f->value;
        return 0;
    case HTTP_FIELD_SKERRY_REGION:
        h->region = f->value;
        return 0;
    case HTTP_FIELD_SKERRY_FULL:
        h->full = true;
        return 0;
    case HTTP_FIELD_OTHER:
    case HTTP_FIELD_VIA:
    case HTTP_FIELD_TE:
    case HTTP_FIELD_TRAILER:
    case HTTP_FIELD_CONNECTION:
    case HTTP_FIELD_KEEP_ALIVE:
    case HTTP_FIELD_PROXY_CONNECTION:
    case HTTP_FIELD_PROXY_AUTHENTICATE:
    case HTTP_FIELD_PROXY_AUTHORIZATION:
    case HTTP_FIELD_FORWARDED_FOR:
    case HTTP_FIELD_FORWARDED_PROTO:
    case HTTP_FIELD_SKERRY:
        return 0;
    }
    return 0;
}

// All field lines from p to the blank line at end - 2, then what they say together.
static int fields(struct http_head *h, const char *p, const char *end)
{
    bool said = false;
    struct connection_says says = {0};
    end -= 2;
    while (p < end) {
        if (h->fields_n == HTTP_FIELDS_MAX)
            return refuse(h, 431, "too many header fields");
        struct http_field *f = &h->fields[h->fields_n];
        p = field_line(p, end, f);
        if (p == NULL)
            return refuse(h, 400, "a malformed header field");
        h->fields_n++;
        said |= f->id == HTTP_FIELD_CONNECTION;
        if (f->id != HTTP_FIELD_OTHER) {
            int r = field_meaning(h, f);
            if (r < 0)
                return r;
        }
    }
    if (h->framing == HTTP_BODY_CHUNKED && h->has_length)
        return refuse(h, 400, "both Content-Length and Transfer-Encoding");
    if (h->framing == HTTP_BODY_CHUNKED && h->minor == 0)
        return refuse(h, 400, "Transfer-Encoding in an HTTP/1.0 message");
    for (unsigned i = 0; said && i < h->fields_n; i++)
        if (h->fields[i].id == HTTP_FIELD_CONNECTION)
            connection(h, h->fields[i].value, &says);
    h->keep_alive = !says.close && (h->minor >= 1 || says.keep_alive);
    h->upgrade = says.upgrade && h->upgrade_to.len > 0 && h->minor >= 1;
    return 0;
}

// Everything but the fields, so that the big array is not cleared for each message.
static void head_init(struct http_head *h)
{
    memset(h, 0, offsetof(struct http_head, fields));
}

static enum http_method method_of(struct http_slice m)
{
    static const struct {
        char name[8];
        uint8_t len, method;
    } names[] = {{"GET", 3, HTTP_GET},         {"HEAD", 4, HTTP_HEAD},
                 {"POST", 4, HTTP_POST},       {"PUT", 3, HTTP_PUT},
                 {"DELETE", 6, HTTP_DELETE},   {"OPTIONS", 7, HTTP_OPTIONS},
                 {"CONNECT", 7, HTTP_CONNECT}, {"TRACE", 5, HTTP_TRACE}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (m.len == names[i].len && memcmp(m.p, names[i].name, m.len) == 0)
            return names[i].method;
    return HTTP_METHOD_OTHER;
}

bool http_idempotent(enum http_method m)
{
    return m == HTTP_GET || m == HTTP_HEAD || m == HTTP_PUT || m == HTTP_DELETE ||
           m == HTTP_OPTIONS || m == HTTP_TRACE;
}

/* "HTTP/1.x" at p (8 bytes are there). */
static int version(struct http_head *h, const char *p)
{
    if (memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0' ||
        p[7] > '9')
        return refuse(h, 400, "a malformed HTTP version");
    if (p[5] != '1')
        return refuse(h, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    h->minor = (uint8_t)(p[7] - '0');
    return 0;
}

/* absolute-form (RFC 9112 3.2.2): the authority replaces Host, the rest is the origin-form. */
static int absolute_form(struct http_head *h, struct http_slice *ret_authority)
{
    static const char scheme[] = "http://";
    struct http_slice *t = &h->target;
    if (t->len <= 7 || !equals(t->p, 7, scheme, 7))
        return refuse(h, 400, "a malformed request target");
    const char *start = t->p + 7, *end = t->p + t->len, *p = start;
    while (p < end && is(*p, CLASS_HOST))
        p++;
    if (p == start || (p < end && *p != '/'))
        return refuse(h, 400, "a malformed request target");
    *ret_authority = (struct http_slice){start, (uint32_t)(p - start)};
    *t = p < end ? (struct http_slice){p, (uint32_t)(end - p)} : (struct http_slice){"/", 1};
    return 0;
}

// method SP request-target SP HTTP-version CRLF; *p moves behind it.
static int request_line(struct http_head *h, const char **at, const char *end,
                        struct http_slice *ret_authority)
{
    const char *p = *at;
    while (p < end && is(*p, CLASS_TOKEN))
        p++;
    if (p == *at || p - *at > 32 || p == end || *p != ' ')
        return refuse(h, 400, "a malformed request line");
    h->method_text = (struct http_slice){*at, (uint32_t)(p - *at)};
    h->method = (uint8_t)method_of(h->method_text);
    const char *target = ++p;
    while (p < end && is(*p, CLASS_TARGET))
        p++;
    h->target = (struct http_slice){target, (uint32_t)(p - target)};
    if (p - target > HTTP_TARGET_MAX)
        return refuse(h, 414, "the request target is too long");
    if (p == target || end - p < 11 || *p != ' ' || p[9] != '\r' || p[10] != '\n')
        return refuse(h, 400, "a malformed request line");
    int r = version(h, p + 1);
    if (r < 0)
        return r;
    *at = p + 11;
    bool star = h->target.len == 1 && target[0] == '*';
    if (target[0] == '/' || (star && h->method == HTTP_OPTIONS) || h->method == HTTP_CONNECT)
        return 0;
    return absolute_form(h, ret_authority);
}

int http_request(const char *buf, size_t len, struct http_head *h)
{
    const char *p = buf, *end = buf + len;
    struct http_slice authority = {NULL, 0};
    head_init(h);
    h->len = (uint32_t)len;
    if (len > HTTP_HEAD_MAX)
        return refuse(h, 431, "the request head is too long");
    if (len < 4 || memcmp(end - 4, "\r\n\r\n", 4) != 0)
        return refuse(h, 400, "a malformed request line");
    if (p[0] == '\r')
        p += 2;
    int r = request_line(h, &p, end, &authority);
    if (r == 0)
        r = fields(h, p, end);
    if (r < 0)
        return r;
    if (h->host.p == NULL && h->minor >= 1)
        return refuse(h, 400, "no Host");
    if (authority.len > 0)
        h->host = authority;
    if (h->framing == HTTP_BODY_NONE && h->has_length && h->length > 0)
        h->framing = HTTP_BODY_LENGTH;
    return 0;
}

static void response_framing(struct http_head *h, enum http_method to)
{
    if (to == HTTP_HEAD || h->status < 200 || h->status == 204 || h->status == 304)
        h->framing = HTTP_BODY_NONE;
    else if (h->framing == HTTP_BODY_CHUNKED)
        return;
    else if (h->has_length)
        h->framing = h->length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    else
        h->framing = HTTP_BODY_CLOSE;
}

int http_response(const char *buf, size_t len, enum http_method to, struct http_head *h)
{
    const char *end = buf + len;
    head_init(h);
    h->len = (uint32_t)len;
    if (len > HTTP_HEAD_MAX || len < 16 || memcmp(end - 4, "\r\n\r\n", 4) != 0)
        return refuse(h, 502, "a malformed status line");
    if (version(h, buf) < 0 || buf[8] != ' ')
        return refuse(h, 502, "a malformed status line");
    uint16_t status = 0;
    for (const char *p = buf + 9; p < buf + 12; p++) {
        if (*p < '0' || *p > '9')
            return refuse(h, 502, "a malformed status line");
        status = (uint16_t)(status * 10 + (*p - '0'));
    }
    const char *p = buf + 12, *reason = p;
    while (is(*p, CLASS_VALUE)) // ends at the latest at the CR of the blank line
        p++;
    if (status < 100 || p[0] != '\r' || p[1] != '\n' || (p > reason && *reason != ' '))
        return refuse(h, 502, "a malformed status line");
    h->reason = (struct http_slice){reason, (uint32_t)(p - reason)};
    int r = fields(h, p + 2, end);
    if (r < 0)
        return r;
    h->status = status;
    response_framing(h, to);
    return 0;
}

// ------------------------------------------------------------------------------------- chunks

enum chunk_state {
    C_SIZE,
    C_EXT,
    C_SIZE_LF,
    C_DATA,
    C_DATA_CR,
    C_DATA_LF,
    C_TRAILER,
    C_NAME,
    C_VALUE,
    C_VALUE_LF,
    C_END_LF,
    C_DONE
};

static int hex(char c)
{
    return c <= '9' ? c - '0' : lower(c) - 'a' + 10;
}

/* Everything but data is stepped a byte at a time; there is little of it. */
static int chunk_step(struct http_chunks *c, char b)
{
    switch ((enum chunk_state)c->state) {
    case C_SIZE:
        if (is(b, CLASS_HEX) && c->digits < 15) {
            c->left = c->left << 4 | (uint64_t)hex(b);
            c->digits++;
            return 0;
        }
        c->state = b == ';' ? C_EXT : C_SIZE_LF;
        return c->digits > 0 && (b == ';' || b == '\r') ? 0 : -EPROTO;
    case C_EXT:
        if (b == '\r')
            c->state = C_SIZE_LF;
        return b == '\r' || (is(b, CLASS_VALUE) && ++c->ext <= HTTP_CHUNK_EXT_MAX) ? 0 : -EPROTO;
    case C_SIZE_LF:
        c->state = c->left > 0 ? C_DATA : C_TRAILER;
        return b == '\n' ? 0 : -EPROTO;
    case C_DATA_CR:
        c->state = C_DATA_LF;
        return b == '\r' ? 0 : -EPROTO;
    case C_DATA_LF:
        c->state = C_SIZE;
        c->digits = 0;
        c->ext = 0;
        return b == '\n' ? 0 : -EPROTO;
    case C_TRAILER:
        c->state = b == '\r' ? C_END_LF : C_NAME;
        return b == '\r' || (is(b, CLASS_TOKEN) && ++c->trailer <= HTTP_TRAILER_MAX) ? 0 : -EPROTO;
    case C_NAME:
        if (b == ':')
            c->state = C_VALUE;
        return (b == ':' || is(b, CLASS_TOKEN)) && ++c->trailer <= HTTP_TRAILER_MAX ? 0 : -EPROTO;
    case C_VALUE:
        if (b == '\r')
            c->state = C_VALUE_LF;
        return (b == '\r' || is(b, CLASS_VALUE)) && ++c->trailer <= HTTP_TRAILER_MAX ? 0 : -EPROTO;
    case C_VALUE_LF:
        c->state = C_TRAILER;
        return b == '\n' ? 0 : -EPROTO;
    case C_END_LF:
        c->state = C_DONE;
        return b == '\n' ? 0 : -EPROTO;
    case C_DATA:
    case C_DONE:
        break;
    }
    return -EPROTO;
}

int http_chunks_decode(struct http_chunks *c, char *p, size_t len, size_t *ret_used,
                       char **ret_data, size_t *ret_data_len)
{
    char *data = p;
    size_t i = 0, data_len = 0;
    while (i < len && c->state != C_DONE) {
        if (c->state != C_DATA) {
            int r = chunk_step(c, p[i++]);
            if (r < 0)
                return r;
            continue;
        }
        size_t n = MIN(c->left, len - i);
        if (data_len == 0)
            data = p + i;
        else
            memmove(data + data_len, p + i, n);
        data_len += n;
        i += n;
        c->left -= n;
        if (c->left == 0)
            c->state = C_DATA_CR;
    }
    *ret_used = i;
    *ret_data = data;
    *ret_data_len = data_len;
    return c->state == C_DONE ? 1 : 0;
}

// ------------------------------------------------------------------------------------- writing

static void put(struct writer *w, struct http_slice s)
{
    writer_bytes(w, s.p, s.len);
}

#define PUT_TEXT(w, literal) writer_bytes((w), (literal), sizeof(literal) - 1)

static void put_string(struct writer *w, const char *s)
{
    writer_bytes(w, s, strlen(s));
}

static void put_number(struct writer *w, uint64_t n)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    writer_bytes(w, digits + at, sizeof(digits) - at);
}

static void put_field(struct writer *w, const char *name, struct http_slice value)
{
    put_string(w, name);
    put(w, value);
    PUT_TEXT(w, "\r\n");
}

static struct http_slice slice(const char *s)
{
    return (struct http_slice){s, (uint32_t)strlen(s)};
}

/* Fields that stay are copied as they came, neighbours in one piece. */
static void put_kept(struct writer *w, const struct http_head *h)
{
    struct http_slice run = {NULL, 0};
    for (unsigned i = 0; i < h->fields_n; i++) {
        const struct http_field *f = &h->fields[i];
        if (f->fate == HTTP_DROP)
            continue;
        if (run.p != NULL && run.p + run.len == f->line.p) {
            run.len += f->line.len;
            continue;
        }
        if (run.p != NULL)
            put(w, run);
        run = f->line;
    }
    if (run.p != NULL)
        put(w, run);
}

static void put_framing(struct writer *w, const struct http_head *h, uint8_t framing)
{
    if (framing == HTTP_BODY_CHUNKED) {
        PUT_TEXT(w, "Transfer-Encoding: chunked\r\n");
    } else if (h->has_length && framing != HTTP_BODY_CLOSE) {
        PUT_TEXT(w, "Content-Length: ");
        put_number(w, h->length);
        PUT_TEXT(w, "\r\n");
    }
}

// One field that ends with our client, whatever was there before.
static void put_forwarded(struct writer *w, const struct http_head *h, struct http_slice client)
{
    PUT_TEXT(w, "X-Forwarded-For: ");
    for (unsigned i = 0; i < h->fields_n; i++) {
        if (h->fields[i].id == HTTP_FIELD_FORWARDED_FOR && h->fields[i].value.len > 0) {
            put(w, h->fields[i].value);
            PUT_TEXT(w, ", ");
        }
    }
    put(w, client);
    PUT_TEXT(w, "\r\nX-Forwarded-Proto: http\r\n");
}

/* Fields of the request that this hop rewrites rather than copies. */
static bool rewritten(const struct http_field *f, const struct http_request_edit *edit)
{
    return f->id == HTTP_FIELD_HOST ||
           (edit->client.len > 0 &&
            (f->id == HTTP_FIELD_FORWARDED_FOR || f->id == HTTP_FIELD_FORWARDED_PROTO));
}

static void put_request_kept(struct writer *w, const struct http_head *h,
                             const struct http_request_edit *edit)
{
    for (unsigned i = 0; i < h->fields_n; i++) {
        const struct http_field *f = &h->fields[i];
        if (f->fate == HTTP_DROP || rewritten(f, edit))
            continue;
        struct http_slice run = f->line;
        for (; i + 1 < h->fields_n; i++) {
            const struct http_field *next = &h->fields[i + 1];
            if (next->fate == HTTP_DROP || rewritten(next, edit))
                break;
            run.len += next->line.len;
        }
        put(w, run);
    }
}

void http_write_request(struct writer *w, const struct http_head *h,
                        const struct http_request_edit *edit)
{
    put(w, h->method_text);
    PUT_TEXT(w, " ");
    put(w, h->target);
    PUT_TEXT(w, " HTTP/1.1\r\nHost: ");
    if (h->host.p != NULL)
        put(w, h->host);
    else
        put_string(w, edit->host);
    PUT_TEXT(w, "\r\n");
    put_request_kept(w, h, edit);
    put_framing(w, h, h->framing);
    if (h->upgrade) {
        PUT_TEXT(w, "Connection: upgrade\r\nUpgrade: ");
        put(w, h->upgrade_to);
        PUT_TEXT(w, "\r\n");
    }
    if (edit->client.len > 0)
        put_forwarded(w, h, edit->client);
    if (edit->via != NULL)
        put_field(w, "Via: 1.1 ", slice(edit->via));
    if (edit->service != NULL)
        put_field(w, "X-Skerry-Service: ", slice(edit->service));
    PUT_TEXT(w, "\r\n");
}

void http_write_response(struct writer *w, const struct http_head *h,
                         const struct http_response_edit *edit)
{
    PUT_TEXT(w, "HTTP/1.1 ");
    char code[3] = {(char)('0' + h->status / 100), (char)('0' + h->status / 10 % 10),
                    (char)('0' + h->status % 10)};
    writer_bytes(w, code, sizeof(code));
    if (h->reason.len > 0)
        put(w, h->reason);
    else
        PUT_TEXT(w, " ");
    PUT_TEXT(w, "\r\n");
    put_kept(w, h);
    if (h->status >= 200 && h->status != 204)
        put_framing(w, h, edit->framing);
    if (h->status == 101) {
        PUT_TEXT(w, "Connection: upgrade\r\n");
        put_field(w, "Upgrade: ", h->upgrade_to);
    } else if (edit->close) {
        PUT_TEXT(w, "Connection: close\r\n");
    } else if (edit->say_alive) {
        PUT_TEXT(w, "Connection: keep-alive\r\n");
    }
    if (h->status >= 200 && !h->has_date)
        put_field(w, "Date: ", slice(edit->date));
    if (edit->pop != NULL)
        put_field(w, "X-Skerry-Pop: ", slice(edit->pop));
    if (edit->region != NULL)
        put_field(w, "X-Skerry-Region: ", slice(edit->region));
    else if (h->region.len > 0)
        put_field(w, "X-Skerry-Region: ", h->region);
    PUT_TEXT(w, "\r\n");
}
