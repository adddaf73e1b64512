// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Looking into images: what `skerry image tree`, `diff`, `cp` and `cat` do once the image is open.
 * An image is foreign: names are checked, and depth and number of its entries are bounded. */
#include <jansson.h>

#include "base/base.h"
#include "host/err.h"
#include "image/image.h"

/* 'd', 'l' or '-' (anything else). */
char look_kind(uint16_t mode);
NONNULL const char *look_kind_text(uint16_t mode); // "directory", "link", "file"
/* Print a value as indented JSON on standard output, and let it go. */
NONNULL void look_print_json(json_t *value);
/* *e says what reading a path of an image came to. */
NONNULL int look_failed(const char *image, const char *path, int r, struct err *e);
/* Find a path as a running program would, following links, into *ret. */
NONNULL MUST_CHECK int look_find(const struct erofs *fs, const char *path, struct erofs_inode *ret);

/* Print all that is below a path. name is the image's, for errors. */
NONNULL MUST_CHECK int look_tree(const struct image *im, const char *name, const char *path,
                                 bool json, struct err *e);

struct look_side {
    const struct image *im;
    const char *name;
};
/* Print what differs from a to b: files, kinds, sizes, modes, contents, and what is run. 1: they
 * differ, 0: they do not. */
NONNULL MUST_CHECK int look_diff(const struct look_side *a, const struct look_side *b, bool json,
                                 struct err *e);

/* Copy a file, or a folder with all that is in it, to dest, or into it when it is a folder. Links
 * in a folder stay links. Files that are there are replaced. */
NONNULL MUST_CHECK int look_copy(const struct image *im, const char *name, const char *path,
                                 const char *dest, struct err *e);
