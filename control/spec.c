// SPDX-License-Identifier: Apache-2.0
#include "control/spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/json.h"
#include "host/yaml.h"
#include "provider/provider.h"

enum {
    MIB = 1 << 20,
    INTERVAL_MIN_MS = 50,
    INTERVAL_MAX_MS = 60000,
    TIMEOUT_MAX_MS = 60000,
    ROLLOUT_TIMEOUT_MIN_MS = 1000,
    ROLLOUT_TIMEOUT_MAX_MS = 3600000,
};

static const struct app_spec defaults = {
    .memory_bytes = 64 * MIB,
    .cpus = 1,
    .health = {.path = "/", .interval_ms = 1000, .timeout_ms = 1000},
    .surge = 1,
    .unavailable = 0,
    .timeout_ms = 60000,
};

bool name_is_valid(const char *name, size_t max)
{
    size_t len = strlen(name);
    if (len == 0 || len >= max || name[len - 1] == '-' || name[0] < 'a' || name[0] > 'z')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

bool digest_is_valid(const char *digest)
{
    return strncmp(digest, "sha256:", 7) == 0 && strlen(digest) == DIGEST_MAX - 1 &&
           strspn(digest + 7, "0123456789abcdef") == 64;
}

static bool address_is_valid(const char *address)
{
    struct in_addr a;
    return inet_pton(AF_INET, address, &a) == 1 && strlen(address) < ADDRESS_MAX;
}

static void copy_text(char *to, size_t max, const char *from)
{
    snprintf(to, max, "%s", from);
}

// What must hold beyond the single values; NULL, or what is wrong.
static const char *check_whole(const struct app_spec *s)
{
    if (s->memory_bytes % MIB != 0)
        return "memory must be whole MiB";
    if (s->surge == 0 && s->unavailable == 0)
        return "surge and unavailable are both 0: a rollout could not begin";
    for (uint32_t i = 0; i < s->regions_len; i++)
        if (spec_region(s, s->regions[i].name) != &s->regions[i])
            return "a region is named twice";
    return NULL;
}

static bool health_path_is_valid(const char *path)
{
    if (path[0] != '/' || strlen(path) >= HEALTH_PATH_MAX)
        return false;
    for (const char *p = path; *p != '\0'; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return false;
    return true;
}

// --- YAML ---

static int read_pairs(const struct yaml_node *map, const char *key, struct recipe_pair *ret,
                      uint32_t *ret_len, struct err *err)
{
    const struct yaml_node *m = NULL;
    int r = yaml_child(map, key, YAML_MAPPING, &m, err);
    if (r < 0 || m == NULL)
        return r;
    if (yaml_count(m) > RECIPE_MAX)
        return yaml_error(m, err, "more than %d entries", RECIPE_MAX);
    for (size_t i = 0; i < yaml_count(m); i++) {
        ret[i].name = yaml_key_at(m, i);
        r = yaml_as_str(yaml_at(m, i), &ret[i].value, err);
        if (r < 0)
            return r;
    }
    *ret_len = (uint32_t)yaml_count(m);
    return 0;
}

static int absolute_names(const struct yaml_node *map, const char *key, struct err *err)
{
    const struct yaml_node *m = yaml_get(map, key);
    for (size_t i = 0; m != NULL && i < yaml_count(m); i++)
        if (yaml_key_at(m, i)[0] != '/')
            return yaml_error(yaml_at(m, i), err,
                              "the name in the image must begin with '/' (NAME: PATH ON THIS "
                              "MACHINE)");
    return 0;
}

static int read_args(const struct yaml_node *map, struct recipe *ret, struct err *err)
{
    const struct yaml_node *list = NULL;
    int r = yaml_child(map, "args", YAML_SEQUENCE, &list, err);
    if (r < 0 || list == NULL)
        return r;
    if (yaml_count(list) > RECIPE_MAX)
        return yaml_error(list, err, "more than %d entries", RECIPE_MAX);
    for (size_t i = 0; i < yaml_count(list) && r == 0; i++)
        r = yaml_as_str(yaml_at(list, i), &ret->args[i], err);
    ret->args_len = (uint32_t)yaml_count(list);
    return r;
}

static int read_image(const struct yaml_node *top, struct recipe *ret, struct err *err)
{
    static const struct yaml_key keys[] = {{"program", true}, {"build", false}, {"files", false},
                                           {"dirs", false},   {"env", false},   {"args", false}};
    const struct yaml_node *m = yaml_get(top, "image");
    int r = yaml_keys(m, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_str(m, "program", &ret->program, err);
    if (r == 0)
        r = yaml_str(m, "build", &ret->build, err);
    if (r == 0)
        r = read_pairs(m, "files", ret->files, &ret->files_len, err);
    if (r == 0)
        r = absolute_names(m, "files", err);
    if (r == 0)
        r = read_pairs(m, "dirs", ret->dirs, &ret->dirs_len, err);
    if (r == 0)
        r = absolute_names(m, "dirs", err);
    if (r == 0)
        r = read_pairs(m, "env", ret->env, &ret->env_len, err);
    return r < 0 ? r : read_args(m, ret, err);
}

static int read_instance(const struct yaml_node *top, struct app_spec *ret, struct err *err)
{
    static const struct yaml_key keys[] = {{"memory", false}, {"cpus", false}, {"port", false}};
    const struct yaml_node *m = yaml_get(top, "instance");
    if (m == NULL)
        return 0;
    uint64_t cpus = ret->cpus, port = 0;
    int r = yaml_keys(m, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_size(m, "memory", INSTANCE_MEMORY_MIN, INSTANCE_MEMORY_MAX, &ret->memory_bytes,
                      err);
    if (r == 0 && ret->memory_bytes % MIB != 0)
        r = yaml_error(yaml_get(m, "memory"), err, "must be whole MiB");
    if (r == 0)
        r = yaml_uint(m, "cpus", 1, INSTANCE_CPUS_MAX, &cpus, err);
    if (r == 0)
        r = yaml_uint(m, "port", 1, 65535, &port, err);
    ret->cpus = (uint32_t)cpus;
    ret->instance_port = (uint16_t)port;
    return r;
}

static int read_health(const struct yaml_node *service, struct app_spec *ret, struct err *err)
{
    static const struct yaml_key keys[] = {
        {"path", false}, {"interval", false}, {"timeout", false}};
    const struct yaml_node *m = yaml_get(service, "health");
    if (m == NULL)
        return 0;
    const char *path = ret->health.path;
    uint64_t interval = ret->health.interval_ms, timeout = ret->health.timeout_ms;
    int r = yaml_keys(m, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_str(m, "path", &path, err);
    if (r == 0 && yaml_get(m, "path") != NULL) {
        if (ret->protocol == PROTOCOL_TCP)
            r = yaml_error(yaml_get(m, "path"), err, "has no meaning with protocol tcp");
        else if (!health_path_is_valid(path))
            r = yaml_error(yaml_get(m, "path"), err, "must begin with '/' and have no spaces");
        else
            copy_text(ret->health.path, sizeof(ret->health.path), path);
    }
    if (r == 0)
        r = yaml_duration_ms(m, "interval", INTERVAL_MIN_MS, INTERVAL_MAX_MS, &interval, err);
    if (r == 0)
        r = yaml_duration_ms(m, "timeout", 1, TIMEOUT_MAX_MS, &timeout, err);
    ret->health.interval_ms = (uint32_t)interval;
    ret->health.timeout_ms = (uint32_t)timeout;
    return r;
}

static const char *const protocols[] = {"http", "tcp"};

static int read_service(const struct yaml_node *top, struct app_spec *ret, struct err *err)
{
    static const struct yaml_key keys[] = {
        {"protocol", false}, {"address", true}, {"port", true}, {"health", false}};
    const struct yaml_node *m = yaml_get(top, "service");
    unsigned protocol = PROTOCOL_HTTP;
    const char *address = "";
    uint64_t port = 0;
    int r = yaml_keys(m, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_choice(m, "protocol", protocols, ARRAY_LEN(protocols), &protocol, err);
    if (r == 0)
        r = yaml_str(m, "address", &address, err);
    if (r == 0 && !address_is_valid(address))
        r = yaml_error(yaml_get(m, "address"), err, "'%.40s' is not an IPv4 address", address);
    if (r == 0)
        r = yaml_uint(m, "port", 1, 65535, &port, err);
    if (r < 0)
        return r;
    ret->protocol = (enum protocol)protocol;
    copy_text(ret->address, sizeof(ret->address), address);
    ret->port = (uint16_t)port;
    return read_health(m, ret, err);
}

static int read_region(const struct yaml_node *m, struct app_spec *spec, struct err *err)
{
    static const struct yaml_key keys[] = {{"name", true}, {"provider", false}, {"count", false}};
    static const char *const providers[] = {"local"};
    struct region_spec *ret = &spec->regions[spec->regions_len];
    const char *name = "";
    unsigned provider = 0;
    uint64_t count = 1;
    int r = yaml_keys(m, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_str(m, "name", &name, err);
    if (r == 0 && !name_is_valid(name, REGION_NAME_MAX))
        r = yaml_error(yaml_get(m, "name"), err,
                       "'%.40s' must be 1 to %d of a-z, 0-9 and '-', first a letter", name,
                       REGION_NAME_MAX - 1);
    if (r == 0 && spec_region(spec, name) != NULL)
        r = yaml_error(yaml_get(m, "name"), err, "region '%s' stands twice", name);
    if (r == 0)
        r = yaml_choice(m, "provider", providers, ARRAY_LEN(providers), &provider, err);
    if (r == 0)
        r = yaml_uint(m, "count", 0, COUNT_MAX, &count, err);
    if (r < 0)
        return r;
    copy_text(ret->name, sizeof(ret->name), name);
    ret->count = (uint32_t)count;
    spec->regions_len++;
    return 0;
}

static int read_regions(const struct yaml_node *top, struct app_spec *ret, struct err *err)
{
    const struct yaml_node *list = NULL;
    int r = yaml_child(top, "regions", YAML_SEQUENCE, &list, err);
    if (r < 0)
        return r;
    if (yaml_count(list) == 0 || yaml_count(list) > REGIONS_MAX)
        return yaml_error(list, err, "must name 1 to %d regions", REGIONS_MAX);
    for (size_t i = 0; i < yaml_count(list) && r == 0; i++)
        r = read_region(yaml_at(list, i), ret, err);
    return r;
}

static int read_rollout(const struct yaml_node *top, struct app_spec *ret, struct err *err)
{
    static const struct yaml_key keys[] = {
        {"surge", false}, {"unavailable", false}, {"timeout", false}};
    const struct yaml_node *m = yaml_get(top, "rollout");
    if (m == NULL)
        return 0;
    uint64_t surge = ret->surge, unavailable = ret->unavailable, timeout = ret->timeout_ms;
    int r = yaml_keys(m, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_uint(m, "surge", 0, COUNT_MAX, &surge, err);
    if (r == 0)
        r = yaml_uint(m, "unavailable", 0, COUNT_MAX, &unavailable, err);
    if (r == 0 && surge == 0 && unavailable == 0)
        r = yaml_error(m, err, "surge and unavailable are both 0: a rollout could not begin");
    if (r == 0)
        r = yaml_duration_ms(m, "timeout", ROLLOUT_TIMEOUT_MIN_MS, ROLLOUT_TIMEOUT_MAX_MS, &timeout,
                             err);
    ret->surge = (uint32_t)surge;
    ret->unavailable = (uint32_t)unavailable;
    ret->timeout_ms = (uint32_t)timeout;
    return r;
}

static int read_app(const struct yaml_node *top, struct app_file *f, struct err *err)
{
    static const struct yaml_key keys[] = {{"app", true},       {"image", true},
                                           {"instance", false}, {"service", true},
                                           {"regions", true},   {"rollout", false}};
    const char *app = "";
    struct app_spec *s = &f->spec;
    int r = yaml_keys(top, keys, ARRAY_LEN(keys), err);
    if (r == 0)
        r = yaml_str(top, "app", &app, err);
    if (r == 0 && !name_is_valid(app, APP_NAME_MAX))
        r = yaml_error(yaml_get(top, "app"), err,
                       "'%.40s' must be 1 to %d of a-z, 0-9 and '-', first a letter", app,
                       APP_NAME_MAX - 1);
    if (r < 0)
        return r;
    *s = defaults;
    copy_text(s->app, sizeof(s->app), app);
    r = read_image(top, &f->recipe, err);
    if (r == 0)
        r = read_instance(top, s, err);
    if (r == 0)
        r = read_service(top, s, err);
    if (r == 0)
        r = read_regions(top, s, err);
    if (r == 0)
        r = read_rollout(top, s, err);
    if (s->instance_port == 0)
        s->instance_port = s->port;
    return r;
}

static int finish(struct app_file *f, const char *path, struct app_file *ret, struct err *err)
{
    const char *slash = strrchr(path, '/');
    int r = read_app(yaml_root(f->doc), f, err);
    if (r == 0) {
        size_t len = slash == NULL ? 1 : MAX((size_t)(slash - path), (size_t)1);
        f->folder = strndup(slash == NULL ? "." : path, len);
        if (f->folder == NULL)
            r = err_set(err, -ENOMEM, "out of memory");
    }
    if (r == 0)
        *ret = *f;
    else
        app_file_free(f);
    return r;
}

int app_file_load(const char *path, struct app_file *ret, struct err *err)
{
    struct app_file f = {0};
    int r = yaml_load_file(path, &f.doc, err);
    return r < 0 ? r : finish(&f, path, ret, err);
}

int app_file_parse(const char *name, const char *text, size_t len, struct app_file *ret,
                   struct err *err)
{
    struct app_file f = {0};
    int r = yaml_load(name, text, len, &f.doc, err);
    return r < 0 ? r : finish(&f, name, ret, err);
}

void app_file_free(struct app_file *f)
{
    free(f->folder);
    yaml_free(f->doc);
    *f = (struct app_file){0};
}

// --- JSON ---

json_t *spec_to_json(const struct app_spec *s)
{
    json_t *regions = json_array();
    for (uint32_t i = 0; i < s->regions_len; i++)
        json_array_append_new(regions, json_pack("{s:s,s:i}", "name", s->regions[i].name, "count",
                                                 (int)s->regions[i].count));
    return json_pack(
        "{s:s,s:s,s:{s:I,s:i,s:i},s:{s:s,s:s,s:i,s:{s:s,s:i,s:i}},s:o,s:{s:i,s:i,s:i}}", "app",
        s->app, "image", s->digest, "instance", "memory", (json_int_t)s->memory_bytes, "cpus",
        (int)s->cpus, "port", (int)s->instance_port, "service", "protocol", protocols[s->protocol],
        "address", s->address, "port", (int)s->port, "health", "path", s->health.path,
        "interval_ms", (int)s->health.interval_ms, "timeout_ms", (int)s->health.timeout_ms,
        "regions", regions, "rollout", "surge", (int)s->surge, "unavailable", (int)s->unavailable,
        "timeout_ms", (int)s->timeout_ms);
}

static int get_u32(const struct jview *v, const char *key, uint64_t min, uint64_t max,
                   uint32_t *ret, struct err *err)
{
    uint64_t value = *ret;
    int r = jview_uint(v, key, JVIEW_OPTIONAL, min, max, &value, err);
    *ret = (uint32_t)value;
    return r;
}

static int get_port(const struct jview *v, uint16_t *ret, struct err *err)
{
    uint64_t value = 0;
    int r = jview_uint(v, "port", JVIEW_REQUIRED, 1, 65535, &value, err);
    *ret = (uint16_t)value;
    return r;
}

static int json_instance(const struct jview *top, struct app_spec *ret, struct err *err)
{
    struct jview v;
    int r = jview_object(top, "instance", JVIEW_REQUIRED, &v, err);
    if (r == 0)
        r = jview_uint(&v, "memory", JVIEW_REQUIRED, INSTANCE_MEMORY_MIN, INSTANCE_MEMORY_MAX,
                       &ret->memory_bytes, err);
    if (r == 0)
        r = get_u32(&v, "cpus", 1, INSTANCE_CPUS_MAX, &ret->cpus, err);
    return r < 0 ? r : get_port(&v, &ret->instance_port, err);
}

static int json_service(const struct jview *top, struct app_spec *ret, struct err *err)
{
    struct jview v, h;
    const char *protocol = "http", *address = "", *path = "/";
    int r = jview_object(top, "service", JVIEW_REQUIRED, &v, err);
    if (r == 0)
        r = jview_string(&v, "protocol", JVIEW_OPTIONAL, &protocol, err);
    if (r == 0)
        r = jview_string(&v, "address", JVIEW_REQUIRED, &address, err);
    if (r == 0)
        r = get_port(&v, &ret->port, err);
    if (r == 0)
        r = jview_object(&v, "health", JVIEW_OPTIONAL, &h, err);
    if (r == 0)
        r = jview_string(&h, "path", JVIEW_OPTIONAL, &path, err);
    if (r == 0)
        r = get_u32(&h, "interval_ms", INTERVAL_MIN_MS, INTERVAL_MAX_MS, &ret->health.interval_ms,
                    err);
    if (r == 0)
        r = get_u32(&h, "timeout_ms", 1, TIMEOUT_MAX_MS, &ret->health.timeout_ms, err);
    if (r < 0)
        return r;
    if (strcmp(protocol, "http") != 0 && strcmp(protocol, "tcp") != 0)
        return jview_err(&v, err, -EINVAL, "protocol must be http or tcp");
    if (!address_is_valid(address))
        return jview_err(&v, err, -EINVAL, "'%.40s' is not an IPv4 address", address);
    if (!health_path_is_valid(path))
        return jview_err(&h, err, -EINVAL, "the path must begin with '/' and have no spaces");
    ret->protocol = strcmp(protocol, "tcp") == 0 ? PROTOCOL_TCP : PROTOCOL_HTTP;
    copy_text(ret->address, sizeof(ret->address), address);
    copy_text(ret->health.path, sizeof(ret->health.path), path);
    return 0;
}

static int json_regions(const struct jview *top, struct app_spec *ret, struct err *err)
{
    struct jview list;
    int r = jview_array(top, "regions", JVIEW_REQUIRED, &list, err);
    if (r == 0 && jview_count(&list) > REGIONS_MAX)
        r = jview_err(&list, err, -EINVAL, "more than %d regions", REGIONS_MAX);
    for (size_t i = 0; r == 0 && i < jview_count(&list); i++) {
        struct jview v = jview_item(&list, i);
        struct region_spec *g = &ret->regions[i];
        const char *name = "";
        g->count = 1;
        r = jview_as_object(&v, err);
        if (r == 0)
            r = jview_string(&v, "name", JVIEW_REQUIRED, &name, err);
        if (r == 0 && !name_is_valid(name, REGION_NAME_MAX))
            r = jview_err(&v, err, -EINVAL, "'%.40s' is no name of a region", name);
        if (r == 0)
            r = get_u32(&v, "count", 0, COUNT_MAX, &g->count, err);
        copy_text(g->name, sizeof(g->name), name);
        ret->regions_len = (uint32_t)i + 1;
    }
    return r;
}

int spec_from_json(const char *name, json_t *j, struct app_spec *ret, struct err *err)
{
    struct app_spec s = defaults;
    struct jview top = jview_of(name, j), rollout;
    const char *app = "", *digest = "";
    int r = jview_as_object(&top, err);
    if (r == 0)
        r = jview_string(&top, "app", JVIEW_REQUIRED, &app, err);
    if (r == 0 && !name_is_valid(app, APP_NAME_MAX))
        r = jview_err(&top, err, -EINVAL, "'%.40s' is no name of an application", app);
    if (r == 0)
        r = jview_string(&top, "image", JVIEW_REQUIRED, &digest, err);
    if (r == 0 && !digest_is_valid(digest))
        r = jview_err(&top, err, -EINVAL, "'%.80s' is no digest of an image", digest);
    if (r == 0)
        r = json_instance(&top, &s, err);
    if (r == 0)
        r = json_service(&top, &s, err);
    if (r == 0)
        r = json_regions(&top, &s, err);
    if (r == 0)
        r = jview_object(&top, "rollout", JVIEW_OPTIONAL, &rollout, err);
    if (r == 0)
        r = get_u32(&rollout, "surge", 0, COUNT_MAX, &s.surge, err);
    if (r == 0)
        r = get_u32(&rollout, "unavailable", 0, COUNT_MAX, &s.unavailable, err);
    if (r == 0)
        r = get_u32(&rollout, "timeout_ms", ROLLOUT_TIMEOUT_MIN_MS, ROLLOUT_TIMEOUT_MAX_MS,
                    &s.timeout_ms, err);
    if (r < 0)
        return r;
    copy_text(s.app, sizeof(s.app), app);
    copy_text(s.digest, sizeof(s.digest), digest);
    const char *wrong = check_whole(&s);
    if (wrong != NULL)
        return jview_err(&top, err, -EINVAL, "%s", wrong);
    *ret = s;
    return 0;
}

void spec_version(const struct app_spec *s, char ret[static VERSION_MAX])
{
    char text[256];
    int n = snprintf(text, sizeof(text), "1 %s %llu %u %u", s->digest,
                     (unsigned long long)s->memory_bytes, s->cpus, s->instance_port);
    unsigned char sum[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)text, (size_t)n, sum);
    for (size_t i = 0; i < (VERSION_MAX - 1) / 2; i++)
        snprintf(ret + 2 * i, 3, "%02x", sum[i]);
}

const struct region_spec *spec_region(const struct app_spec *s, const char *name)
{
    for (uint32_t i = 0; i < s->regions_len; i++)
        if (strcmp(s->regions[i].name, name) == 0)
            return &s->regions[i];
    return NULL;
}
