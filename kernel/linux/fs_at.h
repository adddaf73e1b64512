// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the system calls on paths share. */
#include "kernel/vfs/tree.h"

enum { // flags of the *at calls
    AT_SYMLINK_NOFOLLOW = 0x100,
    AT_EACCESS = 0x200, // also AT_REMOVEDIR
    AT_REMOVEDIR = 0x200,
    AT_SYMLINK_FOLLOW = 0x400,
    AT_NO_AUTOMOUNT = 0x800,
    AT_EMPTY_PATH = 0x1000,
};

/* The object that (dirfd, user path) names, as statx(2) describes: 0 with a referenced dentry. */
MUST_CHECK int at_dentry(int dirfd, uint64_t user_path, unsigned walk_flags, struct dentry **ret);

/* What a path names, or the open file itself ("" with WALK_EMPTY): exactly one of the two is set.
 */
struct at_object {
    struct dentry *d; // referenced
    struct file *f;   // referenced; a file that is in no tree too
};
NONNULL MUST_CHECK int at_object(int dirfd, uint64_t user_path, unsigned walk_flags,
                                 struct at_object *ret);
NONNULL void at_object_done(struct at_object *o);
NONNULL struct inode *at_object_inode(const struct at_object *o); // NULL: in no tree
