// SPDX-License-Identifier: Apache-2.0
#include "host/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/file.h"
#include "host/suggest.h"

int json_read_text(const char *text, size_t len, const char *name, json_t **ret, struct err *e)
{
    json_error_t je;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (root == NULL)
        return err_set(e, -EINVAL, "%s:%d:%d: %s", name, je.line, je.column, je.text);
    *ret = root;
    return 0;
}

int json_read_file(const char *path, json_t **ret, struct err *e)
{
    CLEANUP(file_freep) char *text = NULL;
    size_t len;
    int r = file_read(path, JSON_FILE_MAX, &text, &len, e);
    if (r < 0)
        return r;
    return json_read_text(text, len, path, ret, e);
}

/* "RunConfig.Ports[2]" of a view; nothing for the top. */
static void path_of(const struct jview *v, char *buf, size_t max)
{
    buf[0] = '\0';
    if (v->above == NULL)
        return;
    path_of(v->above, buf, max);
    size_t n = strlen(buf);
    if (v->key != NULL)
        snprintf(buf + n, max - n, "%s%s", n > 0 ? "." : "", v->key);
    else
        snprintf(buf + n, max - n, "[%zu]", v->index);
}

int jview_err(const struct jview *v, struct err *e, int code, const char *format, ...)
{
    char path[ERR_TEXT_MAX / 4], text[ERR_TEXT_MAX / 2];
    path_of(v, path, sizeof(path));
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return err_set(e, code, "%s: %s%s%s", v->name, path, path[0] != '\0' ? ": " : "", text);
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "of unknown type";
}

static int wrong_type(const struct jview *v, const char *wanted, struct err *e)
{
    return jview_err(v, e, -EINVAL, "must be %s, not %s", wanted, type_name(v->value));
}

/* 1 with a view of the member, 0 when it is absent and may be, or an error. */
static int member(const struct jview *v, const char *key, enum jview_need need, struct jview *ret,
                  struct err *e)
{
    if (v->value != NULL && !json_is_object(v->value))
        return wrong_type(v, "an object", e);
    json_t *value = v->value != NULL ? json_object_get(v->value, key) : NULL;
    if (value == NULL && need == JVIEW_REQUIRED)
        return jview_err(v, e, -ENOENT, "key '%s' is missing", key);
    *ret = (struct jview){.value = value, .name = v->name, .above = v, .key = key};
    return value != NULL;
}

int jview_keys(const struct jview *v, const char *const *known, struct err *e)
{
    int r = jview_as_object(v, e);
    if (r < 0)
        return r;
    for (void *i = json_object_iter(v->value); i != NULL; i = json_object_iter_next(v->value, i)) {
        const char *key = json_object_iter_key(i);
        const char *const *k = known;
        while (*k != NULL && strcmp(*k, key) != 0)
            k++;
        if (*k != NULL)
            continue;
        const char *near = suggest(key, known);
        if (near != NULL)
            return jview_err(v, e, -EINVAL, "unknown key '%.64s' (did you mean '%s'?)", key, near);
        return jview_err(v, e, -EINVAL, "unknown key '%.64s'", key);
    }
    return 0;
}

int jview_as_string(const struct jview *v, const char **ret, struct err *e)
{
    if (!json_is_string(v->value))
        return wrong_type(v, "a string", e);
    *ret = json_string_value(v->value);
    return 0;
}

int jview_as_object(const struct jview *v, struct err *e)
{
    return json_is_object(v->value) ? 0 : wrong_type(v, "an object", e);
}

int jview_string(const struct jview *v, const char *key, enum jview_need need, const char **ret,
                 struct err *e)
{
    struct jview m;
    int r = member(v, key, need, &m, e);
    return r <= 0 ? r : jview_as_string(&m, ret, e);
}

int jview_uint(const struct jview *v, const char *key, enum jview_need need, uint64_t min,
               uint64_t max, uint64_t *ret, struct err *e)
{
    struct jview m;
    int r = member(v, key, need, &m, e);
    if (r <= 0)
        return r;
    if (!json_is_integer(m.value))
        return wrong_type(&m, "an integer", e);
    json_int_t n = json_integer_value(m.value);
    if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
        return jview_err(&m, e, -EINVAL, "must be between %llu and %llu, not %lld",
                         (unsigned long long)min, (unsigned long long)max, (long long)n);
    *ret = (uint64_t)n;
    return 0;
}

int jview_number(const struct jview *v, const char *key, enum jview_need need, double min,
                 double max, double *ret, struct err *e)
{
    struct jview m;
    int r = member(v, key, need, &m, e);
    if (r <= 0)
        return r;
    if (!json_is_number(m.value))
        return wrong_type(&m, "a number", e);
    double n = json_number_value(m.value);
    if (!(n >= min && n <= max))
        return jview_err(&m, e, -EINVAL, "must be between %g and %g, not %g", min, max, n);
    *ret = n;
    return 0;
}

int jview_bool(const struct jview *v, const char *key, enum jview_need need, bool *ret,
               struct err *e)
{
    struct jview m;
    int r = member(v, key, need, &m, e);
    if (r <= 0)
        return r;
    if (!json_is_boolean(m.value))
        return wrong_type(&m, "a boolean", e);
    *ret = json_is_true(m.value);
    return 0;
}

int jview_object(const struct jview *v, const char *key, enum jview_need need, struct jview *ret,
                 struct err *e)
{
    int r = member(v, key, need, ret, e);
    return r <= 0 ? r : jview_as_object(ret, e);
}

int jview_array(const struct jview *v, const char *key, enum jview_need need, struct jview *ret,
                struct err *e)
{
    int r = member(v, key, need, ret, e);
    if (r <= 0)
        return r;
    return json_is_array(ret->value) ? 0 : wrong_type(ret, "an array", e);
}

size_t jview_count(const struct jview *v)
{
    return json_is_array(v->value) ? json_array_size(v->value) : json_object_size(v->value);
}

struct jview jview_item(const struct jview *array, size_t index)
{
    json_t *value = json_array_get(array->value, index);
    ASSERT(value != NULL);
    return (struct jview){.value = value, .name = array->name, .above = array, .index = index};
}
