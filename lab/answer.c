// SPDX-License-Identifier: Apache-2.0
#include "lab/answer.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum { CHUNK_LINE_MAX = 64 }; // bytes of a chunk's first line

struct text {
    const char *p;
    size_t len;
};

struct head {
    long long length; // of the body, when seen_length
    bool seen_length, seen_coding;
};

// Up to the next CRLF, which is taken too. False: there is none.
static bool take_line(struct text *from, struct text *ret)
{
    const char *end = memmem(from->p, from->len, "\r\n", 2);
    if (end == NULL)
        return false;
    *ret = (struct text){from->p, (size_t)(end - from->p)};
    from->len -= ret->len + 2;
    from->p = end + 2;
    return true;
}

static bool is(const struct text *t, const char *word)
{
    return t->len == strlen(word) && strncasecmp(t->p, word, t->len) == 0;
}

// A number of digits only, in base 10 or 16; -1: not one, or too large to matter.
static long long number(const struct text *t, unsigned base)
{
    long long v = 0;
    if (t->len == 0 || t->len > 10)
        return -1;
    for (size_t i = 0; i < t->len; i++) {
        unsigned char c = (unsigned char)t->p[i];
        unsigned digit = 99;
        if (c >= '0' && c <= '9')
            digit = c - (unsigned)'0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20U) - 'a' + 10U;
        if (digit >= base)
            return -1;
        v = v * base + digit;
    }
    return v;
}

// "HTTP/1.1 200 OK"; the reason may be empty.
static int read_status(const struct text *line, struct answer *a)
{
    struct text minor = {line->p + 7, 1}, code = {line->p + 9, 3};
    if (line->len < 12 || memcmp(line->p, "HTTP/1.", 7) != 0 || number(&minor, 2) < 0 ||
        line->p[8] != ' ' || (line->len > 12 && line->p[12] != ' '))
        return -EPROTO;
    long long status = number(&code, 10);
    if (status < 100 || status > 599)
        return -EPROTO;
    a->status = (unsigned)status;
    a->keep_alive = *minor.p == '1';
    return 0;
}

static int read_field(const struct text *line, struct answer *a, struct head *h)
{
    const char *colon = memchr(line->p, ':', line->len);
    if (colon == NULL || colon == line->p || line->p[0] == ' ' || line->p[0] == '\t')
        return -EPROTO;
    struct text name = {line->p, (size_t)(colon - line->p)};
    struct text value = {colon + 1, line->len - name.len - 1};
    while (value.len > 0 && (value.p[0] == ' ' || value.p[0] == '\t'))
        value.p++, value.len--;
    while (value.len > 0 && (value.p[value.len - 1] == ' ' || value.p[value.len - 1] == '\t'))
        value.len--;
    if (is(&name, "content-length")) {
        h->length = number(&value, 10);
        if (h->length < 0 || h->seen_length)
            return -EPROTO;
        h->seen_length = true;
    } else if (is(&name, "transfer-encoding")) {
        if (!is(&value, "chunked") || h->seen_coding)
            return -EPROTO;
        h->seen_coding = true;
    } else if (is(&name, "connection")) {
        a->keep_alive = is(&value, "close") ? false : is(&value, "keep-alive") || a->keep_alive;
    } else if (is(&name, "x-skerry-pop")) {
        size_t n = MIN(value.len, sizeof(a->pop) - 1);
        memcpy(a->pop, value.p, n);
        a->pop[n] = '\0';
    }
    return 0;
}

/* Walk over a chunked body, and move its chunks together at `to` unless that is NULL: the body must
 * stay as it is until all of it has come. RFC 9112 7.1. */
static int walk_chunks(struct text rest, char *to, size_t *ret_total, const char **ret_end)
{
    struct text line;
    *ret_total = 0;
    while (take_line(&rest, &line)) {
        const char *extension = memchr(line.p, ';', line.len);
        if (extension != NULL)
            line.len = (size_t)(extension - line.p);
        long long size = number(&line, 16);
        if (size < 0)
            return -EPROTO;
        if (size == 0) {
            while (take_line(&rest, &line)) // trailers
                if (line.len == 0) {
                    *ret_end = rest.p;
                    return 0;
                }
            return -EAGAIN;
        }
        if (rest.len < (size_t)size + 2)
            return -EAGAIN;
        if (memcmp(rest.p + size, "\r\n", 2) != 0)
            return -EPROTO;
        if (to != NULL)
            memmove(to + *ret_total, rest.p, (size_t)size);
        *ret_total += (size_t)size;
        rest.p += size + 2;
        rest.len -= (size_t)size + 2;
    }
    return rest.len > CHUNK_LINE_MAX ? -EPROTO : -EAGAIN;
}

static int read_chunks(char *start, struct text rest, struct answer *a)
{
    const char *end;
    int r = walk_chunks(rest, NULL, &a->body_len, &end);
    if (r == 0)
        r = walk_chunks(rest, start, &a->body_len, &end);
    if (r == 0) {
        a->body = start;
        a->used = (size_t)(end - start);
    }
    return r;
}

static int read_body(char *start, struct text rest, bool eof, const struct head *h,
                     struct answer *a)
{
    if (h->seen_length && h->seen_coding)
        return -EPROTO; // RFC 9112 6.3: an attack or a bug
    if (a->status < 200 || a->status == 204 || a->status == 304) {
        a->body = start;
        a->body_len = a->used = 0;
        return 0;
    }
    if (h->seen_coding)
        return read_chunks(start, rest, a);
    if (!h->seen_length)
        a->keep_alive = false;
    if (h->seen_length ? rest.len < (size_t)h->length : !eof)
        return -EAGAIN;
    a->body = start;
    a->body_len = a->used = h->seen_length ? (size_t)h->length : rest.len;
    return 0;
}

static int read_answer(char *buf, size_t len, bool eof, struct answer *a)
{
    struct text rest = {buf, len}, line;
    struct head h = {0};
    *a = (struct answer){0};
    if (!take_line(&rest, &line))
        return -EAGAIN;
    int r = read_status(&line, a);
    while (r == 0) {
        if (!take_line(&rest, &line))
            return -EAGAIN;
        if (line.len == 0)
            break;
        r = read_field(&line, a, &h);
    }
    if (r < 0)
        return r;
    char *start = buf + (rest.p - buf);
    r = read_body(start, rest, eof, &h, a);
    if (r == 0)
        a->used += (size_t)(start - buf);
    return r;
}

int answer_read(char *buf, size_t len, bool eof, struct answer *ret)
{
    int r = read_answer(buf, len, eof, ret);
    // An interim answer (100 Continue) nobody asked for is skipped by nobody: it is an error here.
    if (r == 0 && ret->status < 200)
        return -EPROTO;
    if (r == -EAGAIN && len >= ANSWER_MAX)
        return -E2BIG;
    if (r == -EAGAIN && eof)
        return -EPROTO;
    return r;
}
