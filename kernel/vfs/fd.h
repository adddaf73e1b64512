// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Descriptor tables. */
#include "base/base.h"
#include "kernel/vfs/file.h"

struct fdtable;

MUST_CHECK struct fdtable *fdtable_new(void);
/* The same open files in a table of its own, or NULL. */
NONNULL MUST_CHECK struct fdtable *fdtable_copy(struct fdtable *from);
NONNULL struct fdtable *fdtable_get(struct fdtable *t); // one more user
NONNULL bool fdtable_shared(const struct fdtable *t);   // is there another user?
void fdtable_put(struct fdtable *t); // closes everything at the last reference

/* RLIMIT_NOFILE (soft): new descriptors are below it. At most FD_LIMIT_MAX. */
enum { FD_LIMIT_DEFAULT = 65536, FD_LIMIT_MAX = 1048576 };
NONNULL uint32_t fdtable_limit(struct fdtable *t);
NONNULL void fdtable_limit_set(struct fdtable *t, uint32_t limit);

/* The file behind a descriptor of the current process with a reference (file_put it), or NULL:
 * -EBADF. fd_get_io refuses O_PATH files too. */
MUST_CHECK struct file *fd_get(int fd);
MUST_CHECK struct file *fd_get_io(int fd);
/* The same, and fd_cloexec without a change, of another table. */
NONNULL MUST_CHECK struct file *fdtable_file(struct fdtable *t, int fd);
NONNULL MUST_CHECK int fdtable_cloexec(struct fdtable *t, int fd);

/* Put f at the lowest free descriptor >= min of the current process. Takes over the caller's
 * reference on success: descriptor, -EMFILE or -ENOMEM (the
 * reference stays the caller's). */
NONNULL MUST_CHECK int fd_install(struct file *f, int min, bool cloexec);
/* Reserve first, publish when nothing can fail any more (accept4, socketpair, pipe2). */
MUST_CHECK int fd_reserve(bool cloexec);
NONNULL void fd_publish(int fd, struct file *f);
void fd_unreserve(int fd);
MUST_CHECK int fd_close(int fd); // 0 or -EBADF
/* dup2: let descriptor `to` refer to f; what was there is closed. Takes over the caller's reference
 * on success: to; -EBADF: out of range; -EBUSY: another call is about to publish there; -ENOMEM. */
NONNULL MUST_CHECK int fd_replace(int to, struct file *f, bool cloexec);
/* Close-on-exec: returns what it was (0, 1) or -EBADF; set 0 or 1 changes it, -1 does not. */
MUST_CHECK int fd_cloexec(int fd, int set);
/* Close all descriptors first..last, or make them close-on-exec. */
void fd_range(uint32_t first, uint32_t last, bool only_cloexec);
/* The first open descriptor >= fd (>= 0) of a table, or -1: to list them. */
NONNULL int fd_next(struct fdtable *t, int fd);
/* exec: close all descriptors that are close-on-exec. */
NONNULL void fdtable_close_on_exec(struct fdtable *t);
