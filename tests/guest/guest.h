// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the guest programs share. Each prints lines that are the same on every run and on every
 * correct kernel: results and errno names, no addresses, times or process numbers. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "name: 3" or "name: EINVAL" for a call's result. */
static inline void show(const char *name, long result)
{
    if (result == -1)
        printf("%s: %s\n", name, strerrorname_np(errno));
    else
        printf("%s: %ld\n", name, result);
}

/* "name: ok" for a call whose value does not matter. */
static inline void show_ok(const char *name, long result)
{
    printf("%s: %s\n", name, result == -1 ? strerrorname_np(errno) : "ok");
}

static inline void show_bool(const char *name, bool value)
{
    printf("%s: %s\n", name, value ? "yes" : "no");
}
