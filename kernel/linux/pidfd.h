// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Descriptors of processes. */
#include "base/base.h"

struct file;
struct process;

/* A file of p, which it holds, with the given FILE_* besides FILE_RDWR; or NULL. */
NONNULL MUST_CHECK struct file *pidfd_new(struct process *p, uint32_t flags);
/* The process that a descriptor of the current process is of, with a reference; NULL: -EBADF. */
NONNULL MUST_CHECK struct process *pidfd_process(int fd, bool *ret_nonblock);
