// SPDX-License-Identifier: Apache-2.0
#include "edge/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/json.h"

static bool name_ok(const char *s)
{
    // Names appear in header fields, metrics and file names.
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
              (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '_' || s[i] == '.'))
            return false;
    return n > 0 && n < TABLE_NAME_MAX;
}

static int get_name(const struct jview *v, const char *key, char ret[static TABLE_NAME_MAX],
                    struct err *e)
{
    const char *s = NULL;
    int r = jview_string(v, key, JVIEW_REQUIRED, &s, e);
    if (r < 0)
        return r;
    if (!name_ok(s))
        return jview_err(v, e, -EINVAL, "%s is not a name of 1 to %d letters, digits, '-_.'", key,
                         TABLE_NAME_MAX - 1);
    memcpy(ret, s, strlen(s) + 1);
    return 0;
}

static int get_number(const struct jview *v, const char *key, enum jview_need need, uint32_t min,
                      uint32_t max, uint32_t otherwise, uint32_t *ret, struct err *e)
{
    uint64_t n = otherwise;
    int r = jview_uint(v, key, need, min, max, &n, e);
    *ret = (uint32_t)n;
    return r;
}

static int get_address(const struct jview *v, struct addr *ret, struct err *e)
{
    const char *host = NULL;
    uint32_t port = 0;
    int r = jview_string(v, "address", JVIEW_REQUIRED, &host, e);
    if (r == 0)
        r = get_number(v, "port", JVIEW_REQUIRED, 1, UINT16_MAX, 0, &port, e);
    if (r < 0)
        return r;
    if (addr_of(host, (uint16_t)port, ret) < 0)
        return jview_err(v, e, -EINVAL, "address '%.64s' is not an IP address", host);
    return 0;
}

// A string that is one of two.
static int get_choice(const struct jview *v, const char *key, const char *zero, const char *one,
                      bool *ret, struct err *e)
{
    const char *s = NULL;
    int r = jview_string(v, key, JVIEW_REQUIRED, &s, e);
    if (r < 0)
        return r;
    *ret = strcmp(s, one) == 0;
    if (!*ret && strcmp(s, zero) != 0)
        return jview_err(v, e, -EINVAL, "%s is neither '%s' nor '%s'", key, zero, one);
    return 0;
}

static int load_instance(const struct jview *v, struct table_instance *ret, struct err *e)
{
    bool draining = false;
    int r = get_name(v, "id", ret->id, e);
    if (r == 0)
        r = get_name(v, "region", ret->region, e);
    if (r == 0)
        r = get_address(v, &ret->address, e);
    if (r == 0)
        r = get_choice(v, "state", "serving", "draining", &draining, e);
    if (r == 0)
        r = get_number(v, "capacity", JVIEW_OPTIONAL, 1, 1u << 20, TABLE_CAPACITY_DEFAULT,
                       &ret->capacity, e);
    ret->serving = !draining;
    return r;
}

static int get_path(const struct jview *v, char ret[static TABLE_PATH_MAX], struct err *e)
{
    const char *s = "";
    int r = jview_string(v, "path", JVIEW_OPTIONAL, &s, e);
    size_t n = r < 0 ? 0 : strlen(s);
    bool ok = n == 0 || (n < TABLE_PATH_MAX && s[0] == '/');
    for (size_t i = 0; ok && i < n; i++)
        ok = s[i] > ' ' && s[i] < 0x7f;
    if (!ok)
        return jview_err(v, e, -EINVAL, "path is not one that starts with '/'");
    memcpy(ret, s, n + 1);
    return r;
}

static int load_health(const struct jview *service, struct table_health *ret, struct err *e)
{
    struct jview v;
    int r = jview_object(service, "health", JVIEW_REQUIRED, &v, e);
    if (r == 0)
        r = get_path(&v, ret->path, e);
    if (r == 0)
        r = get_number(&v, "interval_ms", JVIEW_OPTIONAL, 50, 600000, 500, &ret->interval_ms, e);
    if (r == 0)
        r = get_number(&v, "timeout_ms", JVIEW_OPTIONAL, 10, 600000, 1000, &ret->timeout_ms, e);
    if (r == 0)
        r = get_number(&v, "rise", JVIEW_OPTIONAL, 1, 100, 2, &ret->rise, e);
    if (r == 0)
        r = get_number(&v, "fall", JVIEW_OPTIONAL, 1, 100, 2, &ret->fall, e);
    return r;
}

// An array and zeroed room for what its elements say.
static int get_array(const struct jview *v, const char *key, size_t max, size_t size,
                     struct jview *ret, unsigned *ret_n, void **ret_room, struct err *e)
{
    int r = jview_array(v, key, JVIEW_REQUIRED, ret, e);
    if (r < 0)
        return r;
    size_t n = jview_count(ret);
    if (n > max)
        return jview_err(ret, e, -E2BIG, "more than %zu", max);
    *ret_room = calloc(n + 1, size);
    if (*ret_room == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    *ret_n = (unsigned)n;
    return 0;
}

static int load_service(const struct jview *v, struct table_service *ret, struct err *e)
{
    struct jview array;
    bool tcp = false;
    void *room = NULL;
    int r = get_name(v, "app", ret->app, e);
    if (r == 0)
        r = get_choice(v, "protocol", "http", "tcp", &tcp, e);
    if (r == 0)
        r = get_address(v, &ret->address, e);
    if (r == 0)
        r = load_health(v, &ret->health, e);
    if (r == 0)
        r = get_array(v, "instances", TABLE_INSTANCES_MAX, sizeof(*ret->instances), &array,
                      &ret->instances_n, &room, e);
    ret->protocol = tcp ? TABLE_TCP : TABLE_HTTP;
    ret->instances = room;
    for (unsigned i = 0; r == 0 && i < ret->instances_n; i++) {
        struct jview item = jview_item(&array, i);
        r = load_instance(&item, &ret->instances[i], e);
    }
    return r;
}

static int load_pop(const struct jview *v, struct table_pop *ret, struct err *e)
{
    const char *backbone = NULL;
    int r = get_name(v, "name", ret->name, e);
    if (r == 0)
        r = get_name(v, "region", ret->region, e);
    if (r == 0)
        r = jview_string(v, "backbone", JVIEW_REQUIRED, &backbone, e);
    if (r < 0)
        return r;
    if (addr_parse(backbone, &ret->backbone) < 0 || ret->backbone.sa.sa_family == AF_UNIX)
        return jview_err(v, e, -EINVAL, "backbone '%.64s' is not ADDRESS:PORT", backbone);
    return 0;
}

/* Two services may share an address, not address and port: one listener leads to one of them. */
static int check_unique(const struct table *t, const struct jview *services, struct err *e)
{
    for (unsigned i = 0; i < t->services_n; i++)
        for (unsigned j = 0; j < i; j++) {
            struct jview v = jview_item(services, i);
            if (addr_equal(&t->services[i].address, &t->services[j].address))
                return jview_err(&v, e, -EEXIST, "address and port of '%s' again",
                                 t->services[j].app);
            if (strcmp(t->services[i].app, t->services[j].app) == 0)
                return jview_err(&v, e, -EEXIST, "app '%s' again", t->services[i].app);
        }
    return 0;
}

static int load(const struct jview *v, struct table *t, struct err *e)
{
    struct jview services, pops;
    void *room = NULL;
    int r = jview_uint(v, "version", JVIEW_REQUIRED, 0, INT64_MAX, &t->version, e);
    if (r == 0)
        r = get_array(v, "services", TABLE_SERVICES_MAX, sizeof(*t->services), &services,
                      &t->services_n, &room, e);
    t->services = TAKE(room);
    if (r == 0)
        r = get_array(v, "pops", TABLE_POPS_MAX, sizeof(*t->pops), &pops, &t->pops_n, &room, e);
    t->pops = room;
    for (unsigned i = 0; r == 0 && i < t->services_n; i++) {
        struct jview item = jview_item(&services, i);
        r = load_service(&item, &t->services[i], e);
    }
    for (unsigned i = 0; r == 0 && i < t->pops_n; i++) {
        struct jview item = jview_item(&pops, i);
        r = load_pop(&item, &t->pops[i], e);
    }
    return r < 0 ? r : check_unique(t, &services, e);
}

int table_load(const char *json, size_t len, struct table **ret, struct err *e)
{
    json_auto_t *root = NULL;
    int r = json_read_text(json, len, "edge table", &root, e);
    if (r < 0)
        return r;
    CLEANUP(table_freep) struct table *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    struct jview v = jview_of("edge table", root);
    r = jview_as_object(&v, e);
    if (r == 0)
        r = load(&v, t, e);
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
