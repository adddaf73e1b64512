// SPDX-License-Identifier: Apache-2.0
#include "host/yaml.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "host/file.h"
#include "host/suggest.h"

enum {
    PATH_TEXT_MAX = 256, // bytes of a key path in a message
    KEY_LEN_MAX = 128,   // bytes of a key
    KEYS_MAX = 64,       // known keys of a mapping
    SHOWN_MAX = 60,      // bytes of a value in a message
};

/* One node of the tree. An alias is a second entry that points to the node it names, so the tree is
 * a graph without cycles; `weight` counts what it expands to. */
struct yaml_node {
    const struct yaml *doc;
    const struct yaml_node *parent; // first place it stands at
    const char *key;                // under which it stands in parent; NULL in a sequence
    size_t index;                   // in parent
    unsigned line;                  // from 1
    enum yaml_kind kind;
    bool plain; // scalar without quotes
    bool open;  // still being read: an alias to it would be a cycle
    char *text; // scalar
    char *anchor;
    size_t weight, len, max;
    struct yaml_entry *entries;
};

struct yaml_entry {
    char *key; // NULL in a sequence
    struct yaml_node *value;
};

struct yaml {
    char *name;
    struct yaml_node *root;
    struct yaml_node **nodes; // all of them, each once
    size_t nodes_len, nodes_max;
};

struct reader {
    struct yaml *doc;
    struct yaml_node *stack[YAML_DEPTH_MAX];
    size_t depth;
    char *key; // read, its value has not come yet
    unsigned key_line;
    struct err *err;
};

void yaml_free(struct yaml *y)
{
    if (y == NULL)
        return;
    for (size_t i = 0; i < y->nodes_len; i++) {
        struct yaml_node *n = y->nodes[i];
        for (size_t j = 0; j < n->len; j++)
            free(n->entries[j].key);
        free(n->entries);
        free(n->text);
        free(n->anchor);
        free(n);
    }
    free(y->nodes);
    free(y->name);
    free(y);
}

void yaml_freep(struct yaml **y)
{
    yaml_free(*y);
    *y = NULL;
}

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

static int read_error(const struct reader *rd, unsigned line, int code, const char *what)
{
    return err_set(rd->err, code, "%s:%u: %s", rd->doc->name, line, what);
}

static struct yaml_node *node_new(struct reader *rd, enum yaml_kind kind, unsigned line)
{
    struct yaml *y = rd->doc;
    if (y->nodes_len == y->nodes_max) {
        size_t max = y->nodes_max == 0 ? 64 : y->nodes_max * 2;
        struct yaml_node **bigger = reallocarray(y->nodes, max, sizeof(*bigger));
        if (bigger == NULL)
            return NULL;
        y->nodes = bigger;
        y->nodes_max = max;
    }
    struct yaml_node *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return NULL;
    *n = (struct yaml_node){.doc = y, .kind = kind, .line = line, .weight = 1};
    y->nodes[y->nodes_len++] = n;
    return n;
}

static unsigned line_of(struct fy_token *token)
{
    const struct fy_mark *mark = token == NULL ? NULL : fy_token_start_mark(token);
    return mark == NULL ? 1 : (unsigned)mark->line + 1;
}

// The token's text as a string of our own; NULL with err set.
static char *token_text(struct reader *rd, struct fy_token *token, unsigned line)
{
    size_t len = 0;
    const char *text = token == NULL ? "" : fy_token_get_text(token, &len);
    if (text == NULL)
        len = 0;
    if (len > 0 && memchr(text, '\0', len) != NULL) {
        (void)read_error(rd, line, -EINVAL, "a NUL character");
        return NULL;
    }
    char *copy = strndup(text == NULL ? "" : text, len);
    if (copy == NULL)
        (void)out_of_memory(rd->err);
    return copy;
}

// Put a finished or just opened value where the reader stands.
static int attach(struct reader *rd, struct yaml_node *n, unsigned line)
{
    if (rd->depth == 0) {
        if (rd->doc->root != NULL)
            return read_error(rd, line, -EINVAL, "a second document; one is expected");
        rd->doc->root = n;
        return 0;
    }
    struct yaml_node *at = rd->stack[rd->depth - 1];
    if (at->len == at->max) {
        size_t max = at->max == 0 ? 8 : at->max * 2;
        struct yaml_entry *bigger = reallocarray(at->entries, max, sizeof(*bigger));
        if (bigger == NULL)
            return out_of_memory(rd->err);
        at->entries = bigger;
        at->max = max;
    }
    at->entries[at->len] = (struct yaml_entry){.key = TAKE(rd->key), .value = n};
    if (n->parent == NULL) {
        n->parent = at;
        n->key = at->entries[at->len].key;
        n->index = at->len;
    }
    at->len++;
    return 0;
}

static bool wants_key(const struct reader *rd)
{
    return rd->depth > 0 && rd->stack[rd->depth - 1]->kind == YAML_MAPPING && rd->key == NULL;
}

static int take_key(struct reader *rd, struct fy_token *token, unsigned line)
{
    CLEANUP(file_freep) char *key = token_text(rd, token, line);
    if (key == NULL)
        return rd->err->code;
    if (key[0] == '\0' || strlen(key) > KEY_LEN_MAX)
        return read_error(rd, line, -EINVAL, "a key must have 1 to 128 characters");
    const struct yaml_node *map = rd->stack[rd->depth - 1];
    const struct yaml_node *first = yaml_get(map, key);
    if (first != NULL)
        return yaml_error(first, rd->err, "stands again in line %u", line);
    rd->key = TAKE(key);
    rd->key_line = line;
    return 0;
}

static int set_anchor(struct reader *rd, struct yaml_node *n, struct fy_token *anchor)
{
    if (anchor == NULL)
        return 0;
    n->anchor = token_text(rd, anchor, n->line);
    return n->anchor == NULL ? rd->err->code : 0;
}

static int take_scalar(struct reader *rd, struct fy_event *e)
{
    struct fy_token *token = e->scalar.value;
    unsigned line = token == NULL && rd->key != NULL ? rd->key_line : line_of(token);
    if (wants_key(rd))
        return take_key(rd, token, line);
    struct yaml_node *n = node_new(rd, YAML_SCALAR, line);
    if (n == NULL)
        return out_of_memory(rd->err);
    n->text = token_text(rd, token, line);
    if (n->text == NULL)
        return rd->err->code;
    n->plain = token == NULL || fy_token_scalar_style(token) == FYSS_PLAIN;
    int r = set_anchor(rd, n, e->scalar.anchor);
    return r < 0 ? r : attach(rd, n, line);
}

static int open_collection(struct reader *rd, enum yaml_kind kind, struct fy_token *start,
                           struct fy_token *anchor)
{
    unsigned line = line_of(start);
    if (wants_key(rd))
        return read_error(rd, line, -EINVAL, "a key must be a word");
    if (rd->depth == YAML_DEPTH_MAX)
        return read_error(rd, line, -E2BIG, "nested deeper than 32 levels");
    struct yaml_node *n = node_new(rd, kind, line);
    if (n == NULL)
        return out_of_memory(rd->err);
    int r = set_anchor(rd, n, anchor);
    if (r == 0)
        r = attach(rd, n, line);
    if (r < 0)
        return r;
    n->open = true;
    rd->stack[rd->depth++] = n;
    return 0;
}

static int close_collection(struct reader *rd)
{
    ASSERT(rd->depth > 0 && rd->key == NULL);
    struct yaml_node *n = rd->stack[--rd->depth];
    n->open = false;
    for (size_t i = 0; i < n->len; i++)
        n->weight += n->entries[i].value->weight;
    if (n->weight > YAML_NODES_MAX)
        return read_error(rd, n->line, -E2BIG, "more than 65536 values");
    return 0;
}

static int take_alias(struct reader *rd, struct fy_token *token)
{
    unsigned line = line_of(token);
    if (wants_key(rd))
        return read_error(rd, line, -EINVAL, "a key must be a word");
    CLEANUP(file_freep) char *name = token_text(rd, token, line);
    if (name == NULL)
        return rd->err->code;
    for (size_t i = rd->doc->nodes_len; i-- > 0;) {
        struct yaml_node *n = rd->doc->nodes[i];
        if (n->anchor == NULL || strcmp(n->anchor, name) != 0)
            continue;
        if (n->open)
            return err_set(rd->err, -EINVAL, "%s:%u: alias '*%s' stands inside what it names",
                           rd->doc->name, line, name);
        return attach(rd, n, line);
    }
    return err_set(rd->err, -EINVAL, "%s:%u: alias '*%s' names nothing above it", rd->doc->name,
                   line, name);
}

static int take_event(struct reader *rd, struct fy_event *e)
{
    if (rd->doc->nodes_len > YAML_NODES_MAX)
        return read_error(rd, rd->doc->nodes[rd->doc->nodes_len - 1]->line, -E2BIG,
                          "more than 65536 values");
    switch (e->type) {
    case FYET_SCALAR:
        return take_scalar(rd, e);
    case FYET_ALIAS:
        return take_alias(rd, e->alias.anchor);
    case FYET_MAPPING_START:
        return open_collection(rd, YAML_MAPPING, e->mapping_start.mapping_start,
                               e->mapping_start.anchor);
    case FYET_SEQUENCE_START:
        return open_collection(rd, YAML_SEQUENCE, e->sequence_start.sequence_start,
                               e->sequence_start.anchor);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        return close_collection(rd);
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_START:
    case FYET_DOCUMENT_END:
        break;
    }
    return 0;
}

// What libfyaml complained of first, as our line.
static int syntax_error(const struct reader *rd, struct fy_diag *diag)
{
    void *at = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &at);
    if (e == NULL || e->msg == NULL)
        return err_set(rd->err, -EINVAL, "%s:1: not YAML", rd->doc->name);
    return err_set(rd->err, -EINVAL, "%s:%d: %s", rd->doc->name, MAX(e->line, 1), e->msg);
}

static int read_events(struct reader *rd, struct fy_parser *p, struct fy_diag *diag)
{
    int r = 0;
    bool ended = false;
    while (r == 0 && !ended) {
        struct fy_event *e = fy_parser_parse(p);
        if (e == NULL)
            break;
        ended = e->type == FYET_STREAM_END;
        r = take_event(rd, e);
        fy_parser_event_free(p, e);
    }
    if (r == 0 && (!ended || fy_parser_get_stream_error(p)))
        r = syntax_error(rd, diag);
    if (r == 0 && rd->doc->root == NULL)
        r = err_set(rd->err, -EINVAL, "%s:1: the file is empty", rd->doc->name);
    return r;
}

static int read_document(struct reader *rd, const char *text, size_t len)
{
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.colorize = false;
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    if (diag == NULL)
        return out_of_memory(rd->err);
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = diag};
    struct fy_parser *p = fy_parser_create(&cfg);
    int r;
    if (p == NULL || fy_parser_set_string(p, text, len) != 0)
        r = out_of_memory(rd->err);
    else
        r = read_events(rd, p, diag);
    fy_parser_destroy(p);
    fy_diag_destroy(diag);
    free(rd->key);
    return r;
}

/* Text in, and no directives: libfyaml is lost in a directive line with broken UTF-8, and nobody
 * needs one in a configuration. */
static int check_text(const char *name, const char *text, size_t len, struct err *err)
{
    unsigned line = 1;
    for (size_t i = 0; i < len;) {
        const unsigned char *p = (const unsigned char *)text + i;
        size_t n = utf8_len(p, len - i);
        if (n == 0 || (n == 1 && *p < ' ' && *p != '\n' && *p != '\t' && *p != '\r'))
            return err_set(err, -EINVAL, "%s:%u: byte 0x%02x is not text in UTF-8", name, line, *p);
        if (*p == '%' && (i == 0 || text[i - 1] == '\n' || text[i - 1] == '\r'))
            return err_set(err, -EINVAL, "%s:%u: a line must not begin with '%%'", name, line);
        line += *p == '\n';
        i += n;
    }
    return 0;
}

int yaml_load(const char *name, const char *text, size_t len, struct yaml **ret, struct err *err)
{
    if (len > YAML_BYTES_MAX)
        return err_set(err, -E2BIG, "%s: larger than 1 MiB", name);
    if (len == 0)
        return err_set(err, -EINVAL, "%s:1: the file is empty", name);
    int r = check_text(name, text, len, err);
    if (r < 0)
        return r;
    CLEANUP(yaml_freep) struct yaml *y = calloc(1, sizeof(*y));
    if (y == NULL || (y->name = strdup(name)) == NULL)
        return out_of_memory(err);
    struct reader rd = {.doc = y, .err = err};
    r = read_document(&rd, text, len);
    if (r < 0)
        return r;
    *ret = TAKE(y);
    return 0;
}

int yaml_load_file(const char *path, struct yaml **ret, struct err *err)
{
    CLEANUP(file_freep) char *text = NULL;
    size_t len;
    int r = file_read(path, YAML_BYTES_MAX, &text, &len, err);
    return r < 0 ? r : yaml_load(path, text, len, ret, err);
}

const struct yaml_node *yaml_root(const struct yaml *y)
{
    return y->root;
}

enum yaml_kind yaml_kind(const struct yaml_node *n)
{
    return n->kind;
}

const char *yaml_file(const struct yaml_node *n)
{
    return n->doc->name;
}

unsigned yaml_line(const struct yaml_node *n)
{
    return n->line;
}

size_t yaml_count(const struct yaml_node *n)
{
    return n->len;
}

const struct yaml_node *yaml_at(const struct yaml_node *n, size_t i)
{
    ASSERT(i < n->len);
    return n->entries[i].value;
}

const char *yaml_key_at(const struct yaml_node *n, size_t i)
{
    ASSERT(i < n->len);
    return n->entries[i].key;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map->kind != YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i < map->len; i++)
        if (strcmp(map->entries[i].key, key) == 0)
            return map->entries[i].value;
    return NULL;
}

// "a.b[2].c" of a node; what does not fit is cut off.
static void path_of(const struct yaml_node *n, char *buf, size_t max)
{
    const struct yaml_node *up[YAML_DEPTH_MAX + 1];
    size_t depth = 0;
    for (; n->parent != NULL && depth < ARRAY_LEN(up); n = n->parent)
        up[depth++] = n;
    size_t len = 0;
    buf[0] = '\0';
    while (depth-- > 0 && len < max) {
        int w = up[depth]->key != NULL
                    ? snprintf(buf + len, max - len, "%s%s", len > 0 ? "." : "", up[depth]->key)
                    : snprintf(buf + len, max - len, "[%zu]", up[depth]->index);
        len += w > 0 ? (size_t)w : 0;
    }
}

int yaml_error(const struct yaml_node *n, struct err *err, const char *format, ...)
{
    char path[PATH_TEXT_MAX], text[ERR_TEXT_MAX / 2];
    path_of(n, path, sizeof(path));
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (path[0] == '\0')
        return err_set(err, -EINVAL, "%s:%u: %s", n->doc->name, n->line, text);
    return err_set(err, -EINVAL, "%s:%u: key '%s': %s", n->doc->name, n->line, path, text);
}

static bool known(const char *name, const struct yaml_key *keys, size_t keys_len)
{
    for (size_t i = 0; i < keys_len; i++)
        if (strcmp(keys[i].name, name) == 0)
            return true;
    return false;
}

static int unknown_key(const struct yaml_node *map, size_t i, const struct yaml_key *keys,
                       size_t keys_len, struct err *err)
{
    const char *key = map->entries[i].key;
    const struct yaml_node *value = map->entries[i].value;
    struct yaml_node place = {.doc = map->doc, .parent = map, .key = key, .line = value->line};
    const char *names[KEYS_MAX + 1] = {NULL};
    ASSERT(keys_len <= KEYS_MAX);
    for (size_t j = 0; j < keys_len; j++)
        names[j] = keys[j].name;
    const char *near = suggest(key, names);
    if (near == NULL)
        return yaml_error(&place, err, "unknown key");
    return yaml_error(&place, err, "unknown key; did you mean '%s'?", near);
}

int yaml_keys(const struct yaml_node *map, const struct yaml_key *keys, size_t keys_len,
              struct err *err)
{
    if (map->kind != YAML_MAPPING)
        return yaml_error(map, err, "must be a mapping (lines of 'key: value')");
    for (size_t i = 0; i < map->len; i++)
        if (!known(map->entries[i].key, keys, keys_len))
            return unknown_key(map, i, keys, keys_len, err);
    for (size_t i = 0; i < keys_len; i++)
        if (keys[i].required && yaml_get(map, keys[i].name) == NULL) {
            struct yaml_node place = {
                .doc = map->doc, .parent = map, .key = keys[i].name, .line = map->line};
            return yaml_error(&place, err, "missing");
        }
    return 0;
}

static bool is_null(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && n->plain &&
           (n->text[0] == '\0' || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0);
}

int yaml_as_str(const struct yaml_node *n, const char **ret, struct err *err)
{
    if (n->kind != YAML_SCALAR)
        return yaml_error(n, err, "must be a single value");
    if (is_null(n))
        return yaml_error(n, err, "has no value");
    *ret = n->text;
    return 0;
}

// Decimal digits up to where *end points; false when there are none or they overflow.
static bool digits(const char *s, uint64_t *ret, const char **end)
{
    uint64_t v = 0;
    const char *p = s;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    *ret = v;
    *end = p;
    return p > s;
}

static int in_range(const struct yaml_node *n, uint64_t v, uint64_t min, uint64_t max,
                    struct err *err)
{
    if (v < min || v > max)
        return yaml_error(n, err, "%s is not between %llu and %llu", n->text,
                          (unsigned long long)min, (unsigned long long)max);
    return 0;
}

int yaml_as_uint(const struct yaml_node *n, uint64_t min, uint64_t max, uint64_t *ret,
                 struct err *err)
{
    const char *text, *end;
    uint64_t v;
    int r = yaml_as_str(n, &text, err);
    if (r < 0)
        return r;
    if (!n->plain || !digits(text, &v, &end) || *end != '\0')
        return yaml_error(n, err, "'%.*s' is not a whole number", SHOWN_MAX, text);
    r = in_range(n, v, min, max, err);
    if (r == 0)
        *ret = v;
    return r;
}

int yaml_as_double(const struct yaml_node *n, double min, double max, double *ret, struct err *err)
{
    const char *text;
    int r = yaml_as_str(n, &text, err);
    if (r < 0)
        return r;
    char *end;
    double v = strtod(text, &end);
    if (!n->plain || *end != '\0' || strspn(text, "+-.0123456789eE") != strlen(text))
        return yaml_error(n, err, "'%.*s' is not a number", SHOWN_MAX, text);
    if (!(v >= min && v <= max))
        return yaml_error(n, err, "%s is not between %g and %g", text, min, max);
    *ret = v;
    return 0;
}

int yaml_str(const struct yaml_node *map, const char *key, const char **ret, struct err *err)
{
    const struct yaml_node *n = yaml_get(map, key);
    return n == NULL ? 0 : yaml_as_str(n, ret, err);
}

int yaml_uint(const struct yaml_node *map, const char *key, uint64_t min, uint64_t max,
              uint64_t *ret, struct err *err)
{
    const struct yaml_node *n = yaml_get(map, key);
    return n == NULL ? 0 : yaml_as_uint(n, min, max, ret, err);
}

int yaml_double(const struct yaml_node *map, const char *key, double min, double max, double *ret,
                struct err *err)
{
    const struct yaml_node *n = yaml_get(map, key);
    return n == NULL ? 0 : yaml_as_double(n, min, max, ret, err);
}

int yaml_bool(const struct yaml_node *map, const char *key, bool *ret, struct err *err)
{
    const struct yaml_node *n = yaml_get(map, key);
    if (n == NULL)
        return 0;
    const char *text;
    int r = yaml_as_str(n, &text, err);
    if (r < 0)
        return r;
    bool yes = strcmp(text, "true") == 0;
    if (!n->plain || (!yes && strcmp(text, "false") != 0))
        return yaml_error(n, err, "'%.*s' is neither true nor false", SHOWN_MAX, text);
    *ret = yes;
    return 0;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

static int with_unit(const struct yaml_node *n, const struct unit *units, size_t units_len,
                     const char *example, uint64_t min, uint64_t max, uint64_t *ret,
                     struct err *err)
{
    const char *text, *end;
    uint64_t v;
    int r = yaml_as_str(n, &text, err);
    if (r < 0)
        return r;
    if (digits(text, &v, &end)) {
        for (size_t i = 0; i < units_len; i++) {
            if (strcmp(end, units[i].suffix) != 0)
                continue;
            if (__builtin_mul_overflow(v, units[i].factor, &v) || v < min || v > max)
                return yaml_error(n, err, "%s is out of range", text);
            *ret = v;
            return 0;
        }
    }
    return yaml_error(n, err, "'%.*s' is not %s", SHOWN_MAX, text, example);
}

int yaml_duration_ms(const struct yaml_node *map, const char *key, uint64_t min, uint64_t max,
                     uint64_t *ret, struct err *err)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    const struct yaml_node *n = yaml_get(map, key);
    return n == NULL ? 0
                     : with_unit(n, units, ARRAY_LEN(units), "a duration such as 500ms or 2s", min,
                                 max, ret, err);
}

int yaml_size(const struct yaml_node *map, const char *key, uint64_t min, uint64_t max,
              uint64_t *ret, struct err *err)
{
    static const struct unit units[] = {
        {"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1ULL << 40}};
    const struct yaml_node *n = yaml_get(map, key);
    return n == NULL ? 0
                     : with_unit(n, units, ARRAY_LEN(units), "a size such as 64M or 1G", min, max,
                                 ret, err);
}

int yaml_choice(const struct yaml_node *map, const char *key, const char *const *words,
                size_t words_len, unsigned *ret, struct err *err)
{
    ASSERT(words_len > 0);
    const struct yaml_node *n = yaml_get(map, key);
    if (n == NULL)
        return 0;
    const char *text;
    int r = yaml_as_str(n, &text, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < words_len; i++)
        if (strcmp(words[i], text) == 0) {
            *ret = (unsigned)i;
            return 0;
        }
    char known_words[ERR_TEXT_MAX / 4] = "";
    for (size_t i = 0, len = 0; i < words_len && len < sizeof(known_words); i++)
        len += (size_t)snprintf(known_words + len, sizeof(known_words) - len, "%s%s",
                                i > 0 ? ", " : "", words[i]);
    return yaml_error(n, err, "'%.*s' is not one of: %s", SHOWN_MAX, text, known_words);
}

int yaml_child(const struct yaml_node *map, const char *key, enum yaml_kind kind,
               const struct yaml_node **ret, struct err *err)
{
    static const char *const names[] = {"a single value", "a list (lines of '- item')",
                                        "a mapping (lines of 'key: value')"};
    const struct yaml_node *n = yaml_get(map, key);
    if (n == NULL)
        return 0;
    if (n->kind != kind)
        return yaml_error(n, err, "must be %s", names[kind]);
    *ret = n;
    return 0;
}
