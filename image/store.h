// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Where images are kept: files named by their digest, and names that point to them. A kill at any
 * moment leaves it whole: everything appears by rename, after its bytes are durable.
 *
 *     STORE/images/HEX     image files, read-only; HEX is the digest without "sha256:"
 *     STORE/names/NAME     one line, "sha256:HEX"
 *     STORE/lock           held while names change
 *     STORE/doomed         meanwhile: digests of images that go unless they have a name
 */
#include <time.h>

#include "base/base.h"
#include "host/err.h"
#include "image/image.h"

enum { IMAGE_NAME_MAX = 128 }; // bytes, with the final NUL

struct image_store;

/* folder NULL: $SKERRY_STORE, else /var/lib/skerry for root, else $XDG_DATA_HOME/skerry, else
 * ~/.skerry. Made when absent. */
MUST_CHECK int image_store_open(const char *folder, struct image_store **ret, struct err *e);
void image_store_free(struct image_store *s);
NONNULL void image_store_freep(struct image_store **s);

/* Names: letters, digits, '.', '_', '-'; a letter or digit first. -EINVAL otherwise. */
NONNULL MUST_CHECK int image_name_check(const char *name, struct err *e);

/* Build an image into the store; name (NULL: none) then points to it. The image that had the name
 * goes if it has no other. */
MUST_CHECK int image_store_create(struct image_store *s, const struct image_spec *spec,
                                  const char *name, struct image_digest *ret, struct err *e)
    __attribute__((nonnull(1, 2, 4, 5)));

/* The digest of a name or of a digest ("sha256:..."). -ENOENT: not in the store. */
NONNULL MUST_CHECK int image_store_resolve(struct image_store *s, const char *ref,
                                           struct image_digest *ret, struct err *e);

/* Path of the image file with that digest. -ENOENT: not in the store. */
NONNULL MUST_CHECK int image_store_path(struct image_store *s, const char *digest, char *ret,
                                        size_t max, struct err *e);

/* Take an image from elsewhere, piece by piece:
 *
 *     r = image_import_begin(store, "sha256:...", &im, e);   // 1: it is there already, im is NULL
 *     r = image_import_write(im, data, len, e);              // as the bytes come
 *     r = image_import_commit(&im, e);                       // -EBADMSG: wrong digest, nothing
 * kept
 *
 * image_import_abort(&im) at any time; harmless on NULL. */
struct image_import;
NONNULL MUST_CHECK int image_import_begin(struct image_store *s, const char *digest,
                                          struct image_import **ret, struct err *e);
NONNULL MUST_CHECK int image_import_write(struct image_import *im, const void *data, size_t len,
                                          struct err *e);
NONNULL MUST_CHECK int image_import_commit(struct image_import **im, struct err *e);
NONNULL void image_import_abort(struct image_import **im);

struct image_entry {
    char name[IMAGE_NAME_MAX];
    struct image_digest digest;
    uint64_t bytes;       // of the image file
    struct timespec when; // the name was set
};

/* All names in order. The caller frees *ret (free); returns their number. */
NONNULL MUST_CHECK int image_store_list(struct image_store *s, struct image_entry **ret,
                                        struct err *e);

/* Remove a name, and its image when no other name points to it; or, given a digest, an image to
 * which no name points (-EBUSY: one does). -ENOENT. Who has the file open keeps it. */
NONNULL MUST_CHECK int image_store_delete(struct image_store *s, const char *name, struct err *e);
