// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The root tree of an image before it is written: files of the host or of memory, folders and
 * links, under absolute paths. Owners, times and permissions of the host do not get in (all belongs
 * to root; a file is 0755 when its owner may execute it, else 0644; folders are 0755), so that the
 * same contents give the same image everywhere. */
#include "base/base.h"
#include "fs/erofs_write.h"
#include "host/err.h"

enum { TREE_PATH_MAX = 4096 };

struct tree;

NONNULL MUST_CHECK int tree_new(struct tree **ret, struct err *e);
void tree_free(struct tree *t);
NONNULL void tree_freep(struct tree **t);

/* A file of the host, whose symbolic links are followed; replaces a file of that path.
 * -ENOTDIR, -EISDIR: the path is taken by something of another kind; -EINVAL: it leaves the root or
 * names a part that is too long; or what stat said of host_path. */
NONNULL MUST_CHECK int tree_put_file(struct tree *t, const char *path, const char *host_path,
                                     struct err *e);
/* A file of memory, copied. */
NONNULL MUST_CHECK int tree_put_text(struct tree *t, const char *path, const char *text,
                                     struct err *e);
/* A symbolic link, its target as it is. */
NONNULL MUST_CHECK int tree_put_link(struct tree *t, const char *path, const char *target,
                                     struct err *e);
NONNULL MUST_CHECK int tree_put_dir(struct tree *t, const char *path, uint16_t permissions,
                                    struct err *e);
/* All that is in a folder of the host, links as links; other kinds of files are errors. */
NONNULL MUST_CHECK int tree_put_dir_from(struct tree *t, const char *path, const char *host_path,
                                         struct err *e);

/* The same without what is_skipped says of a name; what the tree has already stays. */
NONNULL MUST_CHECK int tree_put_dir_but(struct tree *t, const char *path, const char *host_path,
                                        bool (*is_skipped)(const char *name), struct err *e);

/* What is at a path, or NULL; follows no links. */
NONNULL const struct erofs_node *tree_find(const struct tree *t, const char *path);
NONNULL struct erofs_node *tree_root(struct tree *t);
/* The host's path of a file node, for reading its contents; NULL when it is in memory. */
NONNULL const char *tree_host_path(const struct erofs_node *n);
/* The absolute path of a node, for messages. */
NONNULL void tree_path(const struct erofs_node *n, char *ret, size_t max);

/* A clean absolute path ("/a/b") of a path that may be relative to the root and hold "." and "..",
 * "//". What leads above the root is -EINVAL, or with clamp, as for a running program, stays at the
 * root. -ENAMETOOLONG. */
NONNULL MUST_CHECK int tree_clean(const char *path, bool clamp, char *ret, size_t max);
