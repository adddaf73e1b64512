// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Errors for people. Hosted functions that can fail in a way a person must read end their
 * parameters with `struct err *`: they return a negative errno and leave one sentence that names
 * the thing (file, key, address) and, where it helps, what to do. */
#include "base/base.h"

enum { ERR_TEXT_MAX = 1024 };

struct err {
    int code; // negative errno, 0 when none
    char text[ERR_TEXT_MAX];
};

/* Keep code and text, return code. With %m-like needs use strerror(-code) as an argument. */
NONNULL int err_set(struct err *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Put "context: " in front of what is there; returns e->code. */
NONNULL int err_prefix(struct err *e, const char *format, ...) PRINTF_LIKE(2, 3);
