// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the files of socket system calls share. */
#include "kernel/socket/socket.h"

/* The socket behind a descriptor, its file with a reference; NULL with *ret_error -EBADF or
 * -ENOTSOCK. */
NONNULL MUST_CHECK struct sock *socket_get(int fd, struct file **ret_file, int *ret_error);
NONNULL bool socket_nonblock(const struct file *f);

/* struct sockaddr in and out (Linux move_addr_to_kernel, move_addr_to_user). -EINVAL, -EFAULT. */
NONNULL MUST_CHECK int addr_from_user(struct sock_addr *ret, uint64_t user, int len);
NONNULL MUST_CHECK int addr_to_user(const struct sock_addr *a, uint64_t user, uint64_t user_len);
