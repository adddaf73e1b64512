// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <errno.h>
#include <unistd.h>

#include "base/base.h"

/* For CLEANUP(fd_closep) int fd = -1; keeps errno. Hand over with fd_take. */
NONNULL static inline void fd_closep(int *fd)
{
    int kept = errno;
    if (*fd >= 0)
        close(*fd);
    errno = kept;
}

NONNULL static inline int fd_take(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}
