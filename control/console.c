// SPDX-License-Identifier: Apache-2.0
#include "control/console.h"

#include <stdlib.h>
#include <string.h>

void console_deinit(struct console *c)
{
    free(c->data);
    *c = (struct console){0};
}

void console_add(struct console *c, uint64_t offset, const char *text, size_t len)
{
    if (c->data == NULL && (c->data = malloc(CONSOLE_MAX)) == NULL)
        return; // output is a courtesy
    uint64_t end = console_end(c);
    if (offset >= c->start && offset + len <= end)
        return;
    if (offset >= c->start && offset < end) {
        text += end - offset;
        len -= (size_t)(end - offset);
    } else if (offset != end) {
        c->len = 0;
        c->start = offset;
    }
    if (len > CONSOLE_MAX) {
        c->start += c->len + (len - CONSOLE_MAX);
        c->len = 0;
        text += len - CONSOLE_MAX;
        len = CONSOLE_MAX;
    }
    size_t over = c->len + len > CONSOLE_MAX ? c->len + len - CONSOLE_MAX : 0;
    if (over > 0) {
        memmove(c->data, c->data + over, c->len - over);
        c->len -= over;
        c->start += over;
    }
    memcpy(c->data + c->len, text, len);
    c->len += len;
}

void console_last_lines(const struct console *c, unsigned n, char *ret, size_t max)
{
    size_t from = c->len;
    while (from > 0) {
        bool line_starts = from < c->len && c->data[from - 1] == '\n';
        if ((line_starts && n-- <= 1) || c->len - from + 2 > max)
            break;
        from--;
    }
    size_t len = MIN(c->len - from, max - 1);
    if (len > 0)
        memcpy(ret, c->data + from, len);
    ret[len] = '\0';
}

size_t console_read(const struct console *c, uint64_t *offset, const char **ret)
{
    if (*offset < c->start || *offset > console_end(c))
        *offset = c->start;
    size_t from = (size_t)(*offset - c->start);
    const char *newline = c->len > from ? memrchr(c->data + from, '\n', c->len - from) : NULL;
    if (newline == NULL)
        return 0;
    *ret = c->data + from;
    size_t len = (size_t)(newline + 1 - *ret);
    *offset += len;
    return len;
}
