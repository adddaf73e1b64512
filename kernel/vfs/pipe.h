// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Pipes: a ring of pages between a read end and a write end (pipe(7), Linux 6.1 fs/pipe.c). */
#include "base/base.h"

struct file;

enum {
    PIPE_SLOTS_DEFAULT = 16,  // 64 KiB
    PIPE_BYTES_MAX = 1048576, // without privilege (/proc/sys/fs/pipe-max-size)
    PIPE_SLOTS_MAX = 4096,    // with it
};

/* A new pipe: flags FILE_NONBLOCK and FILE_DIRECT (packets). Two files of one reference each, or
 * -ENOMEM. */
NONNULL MUST_CHECK int pipe_new(uint32_t flags, struct file **ret_read, struct file **ret_write);

/* F_GETPIPE_SZ and F_SETPIPE_SZ: bytes; -EBADF: not a pipe; -EBUSY: it holds more; -EPERM, -EINVAL,
 * -ENOMEM. */
NONNULL int64_t pipe_size(struct file *f);
NONNULL MUST_CHECK int64_t pipe_resize(struct file *f, uint64_t bytes);
