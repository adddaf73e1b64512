// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <errno.h>
#include <unistd.h>

#include "base/base.h"

/* For CLEANUP(fd_closep) int fd = -1, and to close a descriptor that may be -1: leaves -1, so that
 * nobody closes it (and by then perhaps another's) again. Keeps errno. Hand over with fd_take. */
NONNULL static inline void fd_closep(int *fd)
{
    int kept = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = kept;
}

NONNULL static inline int fd_take(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}
