// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Images: what goes into one (a spec), making one (build), and looking into one (open).
 *
 *     CLEANUP(image_spec_freep) struct image_spec *s = NULL;
 *     r = image_spec_new(&s, e);
 *     r = image_spec_config(s, "config.json", e);          // optional
 *     r = image_spec_program(s, "./hello", e);
 *     r = image_spec_arg(s, "-v", e);
 *     r = image_store_create(store, s, "hello", &digest, e); // image/store.h
 *
 * An image holds the program as /NAME (NAME being its file's name), the interpreter and libraries
 * that it needs (of a script: those of the interpreter that its first line names), the files and
 * folders asked for, and, unless given, /etc/passwd, group, hosts and nsswitch.conf. It depends on
 * contents alone: not on times, owners, or from where it was made. */
#include "abi/image.h"
#include "base/base.h"
#include "fs/erofs.h"
#include "host/err.h"

struct image_spec;

NONNULL MUST_CHECK int image_spec_new(struct image_spec **ret, struct err *e);
void image_spec_free(struct image_spec *s);
NONNULL void image_spec_freep(struct image_spec **s);

/* Read a config.json in OPS form. Relative paths in it start from its own folder. The keys are
 * those of skerry-image(1), CONFIGURATION. */
NONNULL MUST_CHECK int image_spec_config(struct image_spec *s, const char *path, struct err *e);
/* The same from memory; path says where it stands. Every error text begins with path. */
NONNULL MUST_CHECK int image_spec_config_text(struct image_spec *s, const char *text, size_t len,
                                              const char *path, struct err *e);

/* All paths here may be relative to the working folder; strings are copied. */
NONNULL MUST_CHECK int image_spec_program(struct image_spec *s, const char *path, struct err *e);
/* Behind argv[0], which is the program's path in the image. */
NONNULL MUST_CHECK int image_spec_arg(struct image_spec *s, const char *arg, struct err *e);
/* "NAME=VALUE"; the last of a NAME counts. */
NONNULL MUST_CHECK int image_spec_env(struct image_spec *s, const char *env, struct err *e);
/* A file, or a folder with all that is in it, as that path in the image. */
NONNULL MUST_CHECK int image_spec_map(struct image_spec *s, const char *from, const char *to,
                                      struct err *e);
NONNULL const char *image_spec_program_path(const struct image_spec *s); // NULL: none yet

/* What RunConfig asks of the machine; strings are the spec's or the image's, as on the command line
 * of `skerry run`. The image keeps it. */
struct image_run {
    const char *memory, *accel; // NULL: not given
    const char *const *ports;   // "8080", "53/udp"
    uint32_t ports_n;
    uint32_t cpus; // 0: not given
    bool trace;
    bool written_exec;      // files made or changed at run time may be executed
    bool no_anonymous_exec; // memory that no file fills may not
};
NONNULL struct image_run image_spec_run(const struct image_spec *s);

// "sha256:" and 64 hexadecimal digits: the digest of the image's file.
#define IMAGE_DIGEST_PREFIX "sha256:"
enum { IMAGE_DIGEST_MAX = 7 + 64 + 1 };
struct image_digest {
    char text[IMAGE_DIGEST_MAX];
};
NONNULL bool image_digest_is(const char *text);

/* Write an image to a file descriptor, front to back. *ret (may not be NULL) is its digest. Errors
 * name the file to blame. */
NONNULL MUST_CHECK int image_build(const struct image_spec *s, int fd, struct image_digest *ret,
                                   struct err *e);

/* An image file opened for reading; its header and manifest are checked. */
struct image {
    int fd;
    struct image_header header;
    struct erofs fs;
    char *manifest; // owned; the strings below point into it
    const char *program;
    const char *cwd;
    const char *args[IMAGE_ARGS_MAX];
    const char *envs[IMAGE_ENVS_MAX];
    const char *advice[IMAGE_ADVICES_MAX]; // "NAME=VALUE" (abi/image.h), and what it says:
    struct image_run run;
    const char *ports[IMAGE_ADVICES_MAX]; // run's
};

/* -EINVAL: not a skerry image, or a damaged one. */
NONNULL MUST_CHECK int image_open(const char *path, struct image **ret, struct err *e);
void image_close(struct image *im);
NONNULL void image_closep(struct image **im);

/* Check header and manifest as image_open does; for fuzzing and other readers. The manifest has
 * header->manifest_bytes bytes, right behind which lie header->advice_bytes more. file_bytes is the
 * length of the whole. */
NONNULL MUST_CHECK int image_header_check(const struct image_header *h, uint64_t file_bytes,
                                          const char **ret_why);
NONNULL MUST_CHECK int image_manifest_parse(struct image *im, const char **ret_why);
