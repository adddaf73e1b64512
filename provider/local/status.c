// SPDX-License-Identifier: Apache-2.0
#include "provider/local/status.h"

#include <stdio.h>
#include <string.h>

/* A decimal number that makes the whole of a text, at most max; false otherwise. */
static bool number(const char *p, const char *end, uint64_t max, uint64_t *ret)
{
    uint64_t n = 0;
    if (p == end)
        return false;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9' || n > (max - (uint64_t)(*p - '0')) / 10)
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    *ret = n;
    return true;
}

/* Keep what a terminal and a log can bear. */
static void keep_text(struct instance_info *info, const char *p, const char *end)
{
    size_t n = 0;
    for (; p < end && n < sizeof(info->text) - 1; p++)
        info->text[n++] = *p >= ' ' && *p != 0x7f ? *p : '?';
    info->text[n] = '\0';
}

static const char *after(const char *line, const char *end, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(end - line) >= len && memcmp(line, word, len) == 0 ? line + len : NULL;
}

/* Words of hexadecimal digits; what is none ends the list. */
static void keep_trace(struct instance_info *info, const char *p, const char *end)
{
    while (p < end && info->trace_n < INSTANCE_TRACE_MAX) {
        uint64_t n = 0;
        const char *first = p;
        for (; p < end && *p != ' '; p++) {
            int digit = *p >= '0' && *p <= '9'   ? *p - '0'
                        : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
                                                 : -1;
            if (digit < 0 || p - first == 16)
                return;
            n = n << 4 | (uint64_t)digit;
        }
        if (p == first)
            return;
        info->trace[info->trace_n++] = n;
        p += p < end;
    }
}

static void parse_line(const char *line, const char *end, struct instance_info *ret)
{
    const char *rest;
    uint64_t n;
    if ((rest = after(line, end, "up ")) != NULL && number(rest, end, UINT64_MAX / 16, &n)) {
        if (ret->up_micros == 0)
            ret->up_micros = MAX(n, (uint64_t)1);
    } else if ((rest = after(line, end, "trace ")) != NULL) {
        if (ret->state == INSTANCE_PANICKED && ret->trace_n == 0)
            keep_trace(ret, rest, end);
    } else if (ret->state != INSTANCE_RUNNING) {
        return;
    } else if ((rest = after(line, end, "exit ")) != NULL && number(rest, end, 255, &n)) {
        ret->state = INSTANCE_EXITED;
        ret->status = (int)n;
    } else if ((rest = after(line, end, "signal ")) != NULL && number(rest, end, 64, &n)) {
        ret->state = INSTANCE_SIGNALED;
        ret->status = (int)n;
    } else if ((rest = after(line, end, "panic ")) != NULL) {
        ret->state = INSTANCE_PANICKED;
        keep_text(ret, rest, end);
    }
}

void status_parse(const char *text, size_t len, struct instance_info *ret)
{
    ret->state = INSTANCE_RUNNING;
    ret->status = 0;
    ret->up_micros = 0;
    ret->text[0] = '\0';
    ret->trace_n = 0;
    const char *end = text + len;
    for (const char *line = text; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL)
            return;
        parse_line(line, stop, ret);
        line = stop + 1;
    }
}

void status_end(struct instance_info *info, const char *output)
{
    info->pid = 0;
    if (info->state != INSTANCE_RUNNING)
        return;
    info->state = INSTANCE_KILLED;
    const char *end = output + strlen(output);
    while (end > output && end[-1] == '\n')
        end--;
    const char *start = end;
    while (start > output && start[-1] != '\n')
        start--;
    keep_text(info, start, end);
}
