// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The serial console: the kernel's own lines and the program's standard streams. */
#include "base/base.h"
#include "kernel/sched/wait.h"

void kprintf(const char *format, ...) PRINTF_LIKE(1, 2); // kernel line, any context
NORETURN void panic(const char *format, ...) PRINTF_LIKE(1, 2);

NONNULL void console_write(const void *data, size_t len);
/* Bytes typed so far: up to max, 0 when there are none. console_waitq tells EV_IN. */
NONNULL size_t console_read(void *to, size_t max);
bool console_readable(void);
extern struct waitq console_waitq;

/* A line on the status channel (abi/boot.h): "exit 3". Adds the newline. */
NONNULL void status_line(const char *text);
