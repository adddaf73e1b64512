// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Pipes: a ring of pages between a read end and a write end (pipe(7), Linux 6.1 fs/pipe.c). */
#include "base/base.h"

struct file;
struct inode;

enum {
    PIPE_SLOTS_DEFAULT = 16,  // 64 KiB
    PIPE_BYTES_MAX = 1048576, // without privilege (/proc/sys/fs/pipe-max-size)
    PIPE_SLOTS_MAX = 4096,    // with it
};

/* A new pipe: flags FILE_NONBLOCK and FILE_DIRECT (packets). Two files of one reference each, or
 * -ENOMEM. */
NONNULL MUST_CHECK int pipe_new(uint32_t flags, struct file **ret_read, struct file **ret_write);

/* A named pipe is opened: f gets its operations. Waits for the other end as fifo(7) says: 0; -ENXIO
 * nobody reads (nonblocking writer); -ERESTARTSYS; -ENOMEM. */
NONNULL MUST_CHECK int fifo_open(struct inode *inode, struct file *f);
/* Open one end of a pipe anew (/proc/self/fd/N): as fifo_open, with a new file. */
NONNULL MUST_CHECK int pipe_reopen(struct file *pipe, uint32_t flags, struct file **ret);

/* F_GETPIPE_SZ and F_SETPIPE_SZ: bytes; -EBADF: not a pipe; -EBUSY: it holds more; -EPERM, -EINVAL,
 * -ENOMEM. */
NONNULL int64_t pipe_size(struct file *f);
NONNULL MUST_CHECK int64_t pipe_resize(struct file *f, uint64_t bytes);

/* splice(2) and tee(2): move up to len bytes between a pipe and another file, or copy between pipes
 * without taking them. pos as in file_ops. Bytes, 0 at the end, -EAGAIN, -EPIPE, -ERESTARTSYS ...
 */
NONNULL bool is_pipe(const struct file *f);
MUST_CHECK int64_t pipe_splice_in(struct file *pipe, struct file *from, uint64_t *pos, uint64_t len,
                                  bool nonblock);
MUST_CHECK int64_t pipe_splice_out(struct file *pipe, struct file *to, uint64_t *pos, uint64_t len,
                                   bool nonblock);
/* keep: the bytes stay in `from`. -EINVAL: the two ends are of one pipe. */
NONNULL MUST_CHECK int64_t pipe_to_pipe(struct file *from, struct file *to, uint64_t len, bool keep,
                                        bool nonblock);
