// SPDX-License-Identifier: Apache-2.0
#pragma once
/* printf-style formatting for code that runs in the kernel and on the host alike. Understands
 * %d %i %u %x %X %o %c %s %p %% with flags '-', '0', '#', '+', ' ', width and precision (also '*')
 * and lengths hh h l ll z j t. No floating point. C17 7.21.6. */
#include <stdarg.h>

#include "base/base.h"

/* Writes at most max bytes including the final NUL (nothing when max is 0). Returns the length that
 * the whole text has, as snprintf does. An unknown conversion is our own bug: it asserts. */
size_t fmt_v(char *buf, size_t max, const char *format, va_list args) PRINTF_LIKE(3, 0);
size_t fmt(char *buf, size_t max, const char *format, ...) PRINTF_LIKE(3, 4);
