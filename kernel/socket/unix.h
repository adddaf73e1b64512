// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of AF_UNIX sockets. */
#include "kernel/socket/socket.h"

struct inode;

enum { UNIX_PATH_MAX = 108, UNIX_ADDR_BYTES = 2 + UNIX_PATH_MAX, UNIX_RIGHTS_MAX = 253 };

/* Files on their way with a message (SCM_RIGHTS), each with a reference. */
struct unix_rights {
    unsigned count;
    struct file *file[];
};

/* Decode control messages of a send: 0 with *ret (NULL: none, else unix_rights_free it); -EINVAL,
 * -EBADF, -ETOOMANYREFS, -EFAULT, -ENOMEM. */
NONNULL MUST_CHECK int unix_rights_take(const struct sock_msg *m, struct unix_rights **ret);
/* Give them to the receiving program; frees r. Sets MSG_CTRUNC when not all could be given. */
NONNULL void unix_rights_give(struct sock_msg *m, struct unix_rights *r);
void unix_rights_free(struct unix_rights *r); // NULL is fine

/* The socket's place in the tree of files. make: 0 with a referenced inode; -EADDRINUSE, or as
 * mknod(2). find: as path_resolution(7), -EACCES, -ECONNREFUSED: there is no socket. */
NONNULL MUST_CHECK int unix_node_make(const char *path, struct inode **ret);
NONNULL MUST_CHECK int unix_node_find(const char *path, struct inode **ret);
NONNULL void unix_node_put(struct inode *inode);
