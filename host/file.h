// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Files as wholes: read with a bound, replaced atomically and durably, folders made and removed. */
#include <sys/types.h>

#include "base/base.h"
#include "host/err.h"
#include "host/fd.h"

/* Frees memory at scope exit. */
NONNULL void file_freep(char **p);

/* Read a whole file. *ret is followed by a NUL that *ret_len does not count; the caller frees it.
 * -EFBIG: longer than max bytes; or what open(2) and read(2) say. */
NONNULL MUST_CHECK int file_read(const char *path, size_t max, char **ret, size_t *ret_len,
                                 struct err *e);

/* Write all of it, going on after short writes. 0 or negative errno. */
NONNULL MUST_CHECK int file_write_all(int fd, const void *data, size_t len);

/* A new file that appears under its name all at once or never, whatever kills us:
 *
 *     struct file_new f;
 *     r = file_new_open(&f, folder, 0644, e);
 *     ... write to f.fd ...
 *     r = file_new_commit(&f, path, e);      // or file_new_abort(&f)
 *
 * Until the commit it is FOLDER/.tmp-XXXXXX, locked (flock) while its writer lives, so that
 * file_new_sweep can remove what killed writers left. commit makes data and name durable and
 * replaces what has that name; path must be on the same filesystem. */
struct file_new {
    int fd;
    char temp[4096];
};
NONNULL MUST_CHECK int file_new_open(struct file_new *f, const char *folder, mode_t mode,
                                     struct err *e);
/* On failure the file is aborted too. */
NONNULL MUST_CHECK int file_new_commit(struct file_new *f, const char *path, struct err *e);
/* Harmless after a commit or a failed open. */
NONNULL void file_new_abort(struct file_new *f);
NONNULL void file_new_sweep(const char *folder);

/* file_new_* around one buffer. */
NONNULL MUST_CHECK int file_replace(const char *path, const void *data, size_t len, mode_t mode,
                                    struct err *e);

/* mkdir -p. */
NONNULL MUST_CHECK int file_mkdirs(const char *path, mode_t mode, struct err *e);
/* rm -r of a folder, which may be absent; follows no symbolic link. */
NONNULL MUST_CHECK int file_remove_tree(const char *path, struct err *e);
