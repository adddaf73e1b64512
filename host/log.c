// SPDX-License-Identifier: Apache-2.0
#include "host/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

static const char *program = "skerry";
static enum log_level lowest = LOG_LEVEL_INFO;

void log_init(const char *name, enum log_level level)
{
    program = name;
    lowest = level;
}

void log_line(enum log_level level, const char *what, const char *fields, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < lowest)
        return;
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char line[LINE_MAX_BYTES];
    size_t n = strftime(line, sizeof(line), "%FT%T", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %s %s: %s", now.tv_nsec / 1000000,
                          names[level], program, what);
    if (n < sizeof(line) - 2 && fields[0] != '\0') {
        line[n++] = ' ';
        va_list args;
        va_start(args, fields);
        int m = vsnprintf(line + n, sizeof(line) - 1 - n, fields, args);
        va_end(args);
        n += m > 0 ? (size_t)m : 0;
    }
    n = MIN(n, sizeof(line) - 1);
    line[n++] = '\n';
    // One write a line, so that lines of several processes do not mix. Nothing to do if it fails.
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}
