// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Opening what a path names: open(2), openat(2), openat2(2), creat(2) share it. */
#include "kernel/vfs/tree.h"

/* flags: FILE_* and OPEN_*; mode: permissions of a new file, umask not yet applied; resolve: the
 * WALK_* that stand for openat2's RESOLVE_*. 0 with a file of one reference, or open(2)'s error. */
NONNULL MUST_CHECK int open_path(struct dentry *start, const char *path, uint32_t flags,
                                 uint32_t mode, unsigned resolve, struct file **ret);
/* A file on a dentry that was found already (also /proc/self/fd/N). Takes its own reference. */
NONNULL MUST_CHECK int open_dentry(struct dentry *d, uint32_t flags, struct file **ret);
