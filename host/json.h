// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Reading JSON documents with errors that name the file and the key:
 *
 *     config.json: RunConfig.Ports[2]: must be a string, not an integer
 *     config.json: unknown key 'Agrs' (did you mean 'Args'?)
 *
 *     json_auto_t *root = NULL;
 *     r = json_read_file(path, &root, e);
 *     struct jview top = jview_of(path, root), env;
 *     static const char *const keys[] = {"Args", "Env", NULL};
 *     r = jview_keys(&top, keys, e);
 *     r = jview_object(&top, "Env", JVIEW_OPTIONAL, &env, e);
 *
 * A view is one value of a document and where it stands in it. It borrows everything: the document,
 * the name, the parent view and the key must outlive it.
 *
 * Getters return 0 and write *ret; when an optional key is absent they return 0 and leave *ret
 * as it is (so that it may hold the default). Errors: -ENOENT a required key is absent; -EINVAL the
 * value is of the wrong type or out of range. */
#include <jansson.h>

#include "base/base.h"
#include "host/err.h"

enum { JSON_FILE_MAX = 16 << 20 }; // bytes

/* Parse a whole document; duplicate keys and NUL characters in strings are errors. The caller owns
 * *ret (json_decref). -EINVAL: not JSON (the text names line and column); -EFBIG; or what open and
 * read say. */
NONNULL MUST_CHECK int json_read_file(const char *path, json_t **ret, struct err *e);
/* The same from memory; name stands for the file in errors. */
NONNULL MUST_CHECK int json_read_text(const char *text, size_t len, const char *name, json_t **ret,
                                      struct err *e);

struct jview {
    json_t *value;             // borrowed; NULL when an optional key is absent
    const char *name;          // of the document, borrowed
    const struct jview *above; // NULL at the top, borrowed
    const char *key;           // in the object above, borrowed; NULL in an array
    size_t index;              // in the array above
};

enum jview_need { JVIEW_OPTIONAL, JVIEW_REQUIRED };

static inline struct jview jview_of(const char *name, json_t *value)
{
    return (struct jview){.value = value, .name = name};
}

/* Set an error about this value: "NAME: PATH: TEXT"; returns code. */
NONNULL int jview_err(const struct jview *v, struct err *e, int code, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* v must be an object whose keys are all in the NULL-ended list. */
NONNULL MUST_CHECK int jview_keys(const struct jview *v, const char *const *known, struct err *e);

/* Members of an object. Strings are borrowed from the document. */
NONNULL MUST_CHECK int jview_string(const struct jview *v, const char *key, enum jview_need need,
                                    const char **ret, struct err *e);
NONNULL MUST_CHECK int jview_uint(const struct jview *v, const char *key, enum jview_need need,
                                  uint64_t min, uint64_t max, uint64_t *ret, struct err *e);
NONNULL MUST_CHECK int jview_number(const struct jview *v, const char *key, enum jview_need need,
                                    double min, double max, double *ret, struct err *e);
NONNULL MUST_CHECK int jview_bool(const struct jview *v, const char *key, enum jview_need need,
                                  bool *ret, struct err *e);
/* Views of a member that is an object or an array; an absent optional one gives a view whose value
 * is NULL, in which jview_count is 0 and every optional member absent. */
NONNULL MUST_CHECK int jview_object(const struct jview *v, const char *key, enum jview_need need,
                                    struct jview *ret, struct err *e);
NONNULL MUST_CHECK int jview_array(const struct jview *v, const char *key, enum jview_need need,
                                   struct jview *ret, struct err *e);

/* Elements of an array (or members of an object, for jview_count). */
NONNULL size_t jview_count(const struct jview *v);
NONNULL struct jview jview_item(const struct jview *array, size_t index);
/* The value itself as a string. */
NONNULL MUST_CHECK int jview_as_string(const struct jview *v, const char **ret, struct err *e);
/* The value itself must be an object. */
NONNULL MUST_CHECK int jview_as_object(const struct jview *v, struct err *e);
