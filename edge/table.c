// SPDX-License-Identifier: Apache-2.0
#include "edge/table.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void json_freep(json_t **j)
{
    json_decref(*j);
}

// A member that must be there, of the given type; err names it as "services[0].app".
static int member(const json_t *o, const char *where, const char *key, json_type type, json_t **ret,
                  struct err *e)
{
    json_t *j = json_object_get(o, key);
    if (j == NULL)
        return err_set(e, -EPROTO, "%s: no '%s'", where, key);
    if (json_typeof(j) != type)
        return err_set(e, -EPROTO, "%s.%s: not of the right type", where, key);
    *ret = j;
    return 0;
}

static bool name_ok(const char *s)
{
    // Names appear in header fields, metrics and file names.
    for (; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              *s == '-' || *s == '_' || *s == '.'))
            return false;
    return true;
}

static int get_name(const json_t *o, const char *where, const char *key,
                    char ret[static TABLE_NAME_MAX], struct err *e)
{
    json_t *j = NULL;
    int r = member(o, where, key, JSON_STRING, &j, e);
    if (r < 0)
        return r;
    size_t n = json_string_length(j);
    const char *s = json_string_value(j);
    if (n == 0 || n >= TABLE_NAME_MAX || strlen(s) != n || !name_ok(s))
        return err_set(e, -EPROTO, "%s.%s: not a name of 1 to %d letters, digits, '-', '_', '.'",
                       where, key, TABLE_NAME_MAX - 1);
    memcpy(ret, s, n + 1);
    return 0;
}

static int get_int(const json_t *o, const char *where, const char *key, int64_t min, int64_t max,
                   int64_t *ret, struct err *e)
{
    json_t *j = NULL;
    int r = member(o, where, key, JSON_INTEGER, &j, e);
    if (r < 0)
        return r;
    int64_t v = json_integer_value(j);
    if (v < min || v > max)
        return err_set(e, -EPROTO, "%s.%s: %lld is not between %lld and %lld", where, key,
                       (long long)v, (long long)min, (long long)max);
    *ret = v;
    return 0;
}

static int get_optional(const json_t *o, const char *where, const char *key, uint32_t min,
                        uint32_t max, uint32_t otherwise, uint32_t *ret, struct err *e)
{
    int64_t v = otherwise;
    int r = json_object_get(o, key) == NULL ? 0 : get_int(o, where, key, min, max, &v, e);
    *ret = (uint32_t)v;
    return r;
}

static int get_address(const json_t *o, const char *where, struct addr *ret, struct err *e)
{
    json_t *host = NULL;
    int64_t port = 0;
    int r = member(o, where, "address", JSON_STRING, &host, e);
    if (r == 0)
        r = get_int(o, where, "port", 1, UINT16_MAX, &port, e);
    if (r < 0)
        return r;
    if (addr_of(json_string_value(host), (uint16_t)port, ret) < 0)
        return err_set(e, -EPROTO, "%s.address: '%s' is not an IP address", where,
                       json_string_value(host));
    return 0;
}

static int get_choice(const json_t *o, const char *where, const char *key, const char *zero,
                      const char *one, unsigned *ret, struct err *e)
{
    json_t *j = NULL;
    int r = member(o, where, key, JSON_STRING, &j, e);
    if (r < 0)
        return r;
    bool is_one = strcmp(json_string_value(j), one) == 0;
    if (!is_one && strcmp(json_string_value(j), zero) != 0)
        return err_set(e, -EPROTO, "%s.%s: neither '%s' nor '%s'", where, key, zero, one);
    *ret = is_one;
    return 0;
}

static int load_instance(const json_t *o, const char *where, struct table_instance *ret,
                         struct err *e)
{
    unsigned draining = 0;
    int r = get_name(o, where, "id", ret->id, e);
    if (r == 0)
        r = get_name(o, where, "region", ret->region, e);
    if (r == 0)
        r = get_address(o, where, &ret->address, e);
    if (r == 0)
        r = get_choice(o, where, "state", "serving", "draining", &draining, e);
    if (r == 0)
        r = get_optional(o, where, "capacity", 1, 1u << 20, TABLE_CAPACITY_DEFAULT, &ret->capacity,
                         e);
    ret->serving = draining == 0;
    return r;
}

static int get_path(const json_t *o, const char *where, char ret[static TABLE_PATH_MAX],
                    struct err *e)
{
    json_t *path = json_object_get(o, "path");
    if (path == NULL || (json_is_string(path) && json_string_length(path) == 0))
        return 0;
    const char *s = json_is_string(path) ? json_string_value(path) : "";
    size_t n = json_is_string(path) ? json_string_length(path) : 0;
    bool ok = n > 0 && n < TABLE_PATH_MAX && s[0] == '/';
    for (size_t i = 0; ok && i < n; i++)
        ok = s[i] > ' ' && s[i] < 0x7f;
    if (!ok)
        return err_set(e, -EPROTO, "%s.path: not a path that starts with '/'", where);
    memcpy(ret, s, n + 1);
    return 0;
}

static int load_health(const json_t *service, const char *where, struct table_health *ret,
                       struct err *e)
{
    json_t *o = NULL;
    int r = member(service, where, "health", JSON_OBJECT, &o, e);
    if (r == 0)
        r = get_path(o, where, ret->path, e);
    if (r == 0)
        r = get_optional(o, where, "interval_ms", 50, 600000, 500, &ret->interval_ms, e);
    if (r == 0)
        r = get_optional(o, where, "timeout_ms", 10, 600000, 1000, &ret->timeout_ms, e);
    if (r == 0)
        r = get_optional(o, where, "rise", 1, 100, 2, &ret->rise, e);
    if (r == 0)
        r = get_optional(o, where, "fall", 1, 100, 2, &ret->fall, e);
    return r;
}

// An array member and zeroed room for its elements.
static int get_array(const json_t *o, const char *where, const char *key, size_t max, size_t size,
                     json_t **ret, unsigned *ret_n, void **ret_room, struct err *e)
{
    int r = member(o, where, key, JSON_ARRAY, ret, e);
    if (r < 0)
        return r;
    size_t n = json_array_size(*ret);
    if (n > max)
        return err_set(e, -EPROTO, "%s.%s: more than %zu", where, key, max);
    *ret_room = calloc(n + 1, size);
    if (*ret_room == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    *ret_n = (unsigned)n;
    return 0;
}

static int load_service(const json_t *o, const char *where, struct table_service *ret,
                        struct err *e)
{
    json_t *array = NULL;
    unsigned protocol = 0;
    void *room = NULL;
    int r = get_name(o, where, "app", ret->app, e);
    if (r == 0)
        r = get_choice(o, where, "protocol", "http", "tcp", &protocol, e);
    if (r == 0)
        r = get_address(o, where, &ret->address, e);
    if (r == 0)
        r = load_health(o, where, &ret->health, e);
    if (r == 0)
        r = get_array(o, where, "instances", TABLE_INSTANCES_MAX, sizeof(*ret->instances), &array,
                      &ret->instances_n, &room, e);
    ret->protocol = protocol == 0 ? TABLE_HTTP : TABLE_TCP;
    ret->instances = room;
    for (unsigned i = 0; r == 0 && i < ret->instances_n; i++) {
        char path[96];
        snprintf(path, sizeof(path), "%s.instances[%u]", where, i);
        r = load_instance(json_array_get(array, i), path, &ret->instances[i], e);
    }
    return r;
}

static int load_pop(const json_t *o, const char *where, struct table_pop *ret, struct err *e)
{
    json_t *backbone = NULL;
    int r = get_name(o, where, "name", ret->name, e);
    if (r == 0)
        r = get_name(o, where, "region", ret->region, e);
    if (r == 0)
        r = member(o, where, "backbone", JSON_STRING, &backbone, e);
    if (r < 0)
        return r;
    if (addr_parse(json_string_value(backbone), &ret->backbone) < 0 ||
        ret->backbone.sa.sa_family == AF_UNIX)
        return err_set(e, -EPROTO, "%s.backbone: '%s' is not ADDRESS:PORT", where,
                       json_string_value(backbone));
    return 0;
}

/* Two services may share an address, not address and port: one listener leads to one of them. */
static int check_unique(const struct table *t, struct err *e)
{
    for (unsigned i = 0; i < t->services_n; i++)
        for (unsigned j = 0; j < i; j++) {
            if (addr_equal(&t->services[i].address, &t->services[j].address))
                return err_set(e, -EPROTO, "services[%u]: address and port of '%s' again", i,
                               t->services[j].app);
            if (strcmp(t->services[i].app, t->services[j].app) == 0)
                return err_set(e, -EPROTO, "services[%u]: app '%s' again", i, t->services[i].app);
        }
    return 0;
}

static int load(const json_t *o, struct table *t, struct err *e)
{
    json_t *services = NULL, *pops = NULL;
    int64_t version = 0;
    void *room = NULL;
    int r = get_int(o, "table", "version", 0, INT64_MAX, &version, e);
    if (r == 0)
        r = get_array(o, "table", "services", TABLE_SERVICES_MAX, sizeof(*t->services), &services,
                      &t->services_n, &room, e);
    t->version = (uint64_t)version;
    t->services = room;
    room = NULL;
    if (r == 0)
        r = get_array(o, "table", "pops", TABLE_POPS_MAX, sizeof(*t->pops), &pops, &t->pops_n,
                      &room, e);
    t->pops = room;
    char where[48];
    for (unsigned i = 0; r == 0 && i < t->services_n; i++) {
        snprintf(where, sizeof(where), "services[%u]", i);
        r = load_service(json_array_get(services, i), where, &t->services[i], e);
    }
    for (unsigned i = 0; r == 0 && i < t->pops_n; i++) {
        snprintf(where, sizeof(where), "pops[%u]", i);
        r = load_pop(json_array_get(pops, i), where, &t->pops[i], e);
    }
    return r < 0 ? r : check_unique(t, e);
}

int table_load(const char *json, size_t len, struct table **ret, struct err *e)
{
    json_error_t why;
    CLEANUP(json_freep) json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
    if (o == NULL)
        return err_set(e, -EPROTO, "not JSON: %s at byte %d", why.text, why.position);
    CLEANUP(table_freep) struct table *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    int r = load(o, t, e);
    if (r < 0)
        return r;
    *ret = TAKE(t);
    return 0;
}

void table_free(struct table *t)
{
    if (t == NULL)
        return;
    for (unsigned i = 0; t->services != NULL && i < t->services_n; i++)
        free(t->services[i].instances);
    free(t->services);
    free(t->pops);
    free(t);
}

void table_freep(struct table **t)
{
    table_free(*t);
}
