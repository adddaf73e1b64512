// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Configuration in YAML 1.2, read strictly: a file becomes a tree of nodes that remember where they
 * stand, and every complaint is one line that says so:
 *
 *     skerry.yaml:7: key 'service.port': 70000 is not between 1 and 65535
 *
 * The reader declares the keys of each mapping (yaml_keys), which turns unknown, misspelt and
 * missing ones into errors, and then takes the values; an absent optional key leaves the caller's
 * default as it is. Sizes are bounded (below), aliases too: what they expand to counts.
 *
 *     static const struct yaml_key keys[] = {{"app", true}, {"port", false}};
 *     r = yaml_keys(map, keys, ARRAY_LEN(keys), err);
 *     if (r == 0)
 *         r = yaml_str(map, "app", &app, err);
 *     if (r == 0)
 *         r = yaml_uint(map, "port", 1, 65535, &port, err);
 */
#include "base/base.h"
#include "host/err.h"

enum {
    YAML_BYTES_MAX = 1 << 20, // of a file
    YAML_DEPTH_MAX = 32,
    YAML_NODES_MAX = 65536, // with every alias counted as what it stands for
};

struct yaml;      // a document; owns all nodes and strings
struct yaml_node; // borrowed from its document, immutable

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_key {
    const char *name;
    bool required;
};

/* Read a whole document. Every function here returns 0, or a negative errno with *err set: -EINVAL
 * what is written is wrong, -E2BIG over a bound, or what open and read said. */
NONNULL MUST_CHECK int yaml_load_file(const char *path, struct yaml **ret, struct err *err);
/* The same from memory; name stands for the file in messages. */
NONNULL MUST_CHECK int yaml_load(const char *name, const char *text, size_t len, struct yaml **ret,
                                 struct err *err);
void yaml_free(struct yaml *y);
void yaml_freep(struct yaml **y); // for CLEANUP

NONNULL const struct yaml_node *yaml_root(const struct yaml *y);
NONNULL enum yaml_kind yaml_kind(const struct yaml_node *n);
NONNULL const char *yaml_file(const struct yaml_node *n);
NONNULL unsigned yaml_line(const struct yaml_node *n); // from 1

/* Number of entries of a mapping or items of a sequence (a scalar has none); each of them in the
 * order of the file, with its key when n is a mapping (else NULL). i must be below the number. */
NONNULL size_t yaml_count(const struct yaml_node *n);
NONNULL const struct yaml_node *yaml_at(const struct yaml_node *n, size_t i);
NONNULL const char *yaml_key_at(const struct yaml_node *n, size_t i);
/* The value of a key, or NULL when map is no mapping or has no such key. */
NONNULL const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* map is a mapping, has every required key and none but these; an unknown one is answered with the
 * nearest known one. */
NONNULL MUST_CHECK int yaml_keys(const struct yaml_node *map, const struct yaml_key *keys,
                                 size_t keys_len, struct err *err);

/* Values by key; an absent key returns 0 and leaves *ret alone. `yaml_as_` takes the node itself,
 * for items of sequences. Strings are borrowed from the document and hold no NUL. */
NONNULL MUST_CHECK int yaml_str(const struct yaml_node *map, const char *key, const char **ret,
                                struct err *err);
NONNULL MUST_CHECK int yaml_uint(const struct yaml_node *map, const char *key, uint64_t min,
                                 uint64_t max, uint64_t *ret, struct err *err);
NONNULL MUST_CHECK int yaml_bool(const struct yaml_node *map, const char *key, bool *ret,
                                 struct err *err);
NONNULL MUST_CHECK int yaml_double(const struct yaml_node *map, const char *key, double min,
                                   double max, double *ret, struct err *err);
/* "500ms", "2s", "1m", "1h" in milliseconds; a bare number is refused: it does not say its unit. */
NONNULL MUST_CHECK int yaml_duration_ms(const struct yaml_node *map, const char *key, uint64_t min,
                                        uint64_t max, uint64_t *ret, struct err *err);
/* "64M", "1G", "512K", or bytes; powers of 1024. */
NONNULL MUST_CHECK int yaml_size(const struct yaml_node *map, const char *key, uint64_t min,
                                 uint64_t max, uint64_t *ret, struct err *err);
/* One of words[]; *ret is its index. */
NONNULL MUST_CHECK int yaml_choice(const struct yaml_node *map, const char *key,
                                   const char *const *words, size_t words_len, unsigned *ret,
                                   struct err *err);
/* A sequence or a mapping under key; NULL when absent (then *ret is left alone). */
NONNULL MUST_CHECK int yaml_child(const struct yaml_node *map, const char *key, enum yaml_kind kind,
                                  const struct yaml_node **ret, struct err *err);

NONNULL MUST_CHECK int yaml_as_str(const struct yaml_node *n, const char **ret, struct err *err);
NONNULL MUST_CHECK int yaml_as_uint(const struct yaml_node *n, uint64_t min, uint64_t max,
                                    uint64_t *ret, struct err *err);
NONNULL MUST_CHECK int yaml_as_double(const struct yaml_node *n, double min, double max,
                                      double *ret, struct err *err);

/* "FILE:LINE: key 'PATH': TEXT" into err; returns -EINVAL. For checks of the reader's own. */
NONNULL int yaml_error(const struct yaml_node *n, struct err *err, const char *format, ...)
    PRINTF_LIKE(3, 4);
