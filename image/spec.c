// SPDX-License-Identifier: Apache-2.0
#include "image/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/json.h"
#include "image/tree.h"

int image_spec_new(struct image_spec **ret, struct err *e)
{
    struct image_spec *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->args.max = IMAGE_ARGS_MAX - 1;
    s->envs.max = IMAGE_ENVS_MAX;
    s->nss.max = IMAGE_NSS_MAX;
    s->libraries.max = IMAGE_LIBRARIES_MAX;
    s->ports.max = IMAGE_PORTS_MAX;
    *ret = s;
    return 0;
}

void strings_deinit(struct strings *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        free(l->items[i]);
    free(l->items);
}

void image_spec_free(struct image_spec *s)
{
    if (s == NULL)
        return;
    strings_deinit(&s->args);
    strings_deinit(&s->envs);
    strings_deinit(&s->nss);
    strings_deinit(&s->libraries);
    strings_deinit(&s->ports);
    free(s->timezone);
    free(s->memory);
    free(s->accel);
    for (uint32_t i = 0; i < s->maps_n; i++) {
        free(s->maps[i].from);
        free(s->maps[i].to);
    }
    free(s->maps);
    free(s->program_path);
    free(s->program);
    free(s);
}

void image_spec_freep(struct image_spec **s)
{
    image_spec_free(*s);
    *s = NULL;
}

int strings_add(struct strings *l, const char *text, const char *what, struct err *e)
{
    if (l->n == l->max)
        return err_set(e, -E2BIG, "more than %u %s", l->max, what);
    char **more = realloc(l->items, (l->n + 1) * sizeof(*more));
    if (more != NULL)
        l->items = more;
    char *copy = more != NULL ? strdup(text) : NULL;
    if (copy == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    l->items[l->n++] = copy;
    return 0;
}

int image_spec_program(struct image_spec *s, const char *path, struct err *e)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    free(s->program);
    s->program = copy;
    return 0;
}

const char *image_spec_program_path(const struct image_spec *s)
{
    return s->program;
}

struct image_run image_spec_run(const struct image_spec *s)
{
    return (struct image_run){.memory = s->memory,
                              .accel = s->accel,
                              .ports = (const char *const *)s->ports.items,
                              .ports_n = s->ports.n,
                              .cpus = s->cpus,
                              .trace = s->trace,
                              .written_exec = s->written_exec,
                              .no_anonymous_exec = s->no_anonymous_exec};
}

int image_spec_arg(struct image_spec *s, const char *arg, struct err *e)
{
    return strings_add(&s->args, arg, "arguments", e);
}

int image_spec_env(struct image_spec *s, const char *env, struct err *e)
{
    size_t name = strcspn(env, "=");
    if (name == 0 || env[name] == '\0')
        return err_set(e, -EINVAL, "environment '%s': must be NAME=VALUE", env);
    for (uint32_t i = 0; i < s->envs.n; i++) {
        if (strncmp(s->envs.items[i], env, name + 1) != 0)
            continue;
        char *copy = strdup(env);
        if (copy == NULL)
            return err_set(e, -ENOMEM, "out of memory");
        free(s->envs.items[i]);
        s->envs.items[i] = copy;
        return 0;
    }
    return strings_add(&s->envs, env, "environment variables", e);
}

int image_spec_map(struct image_spec *s, const char *from, const char *to, struct err *e)
{
    if (s->maps_n == IMAGE_MAPS_MAX)
        return err_set(e, -E2BIG, "more than %d files and folders", IMAGE_MAPS_MAX);
    struct image_map *more = realloc(s->maps, (s->maps_n + 1) * sizeof(*more));
    if (more == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    s->maps = more;
    struct image_map m = {.from = strdup(from), .to = strdup(to)};
    if (m.from == NULL || m.to == NULL) {
        free(m.from);
        free(m.to);
        return err_set(e, -ENOMEM, "out of memory");
    }
    s->maps[s->maps_n++] = m;
    return 0;
}

// ---- config.json

/* A path of the document, which starts from the document's folder, as one that starts from here. */
static int from_config(const struct jview *v, const char *config, const char *path, char *ret,
                       size_t max, struct err *e)
{
    const char *slash = strrchr(config, '/');
    int folder = path[0] == '/' || slash == NULL ? 0 : (int)(slash - config + 1);
    int n = snprintf(ret, max, "%.*s%s", folder, config, path);
    return n < 0 || (size_t)n >= max ? jview_err(v, e, -ENAMETOOLONG, "path too long") : 0;
}

/* What image_spec_* says knows nothing of the document. */
static int of_config(const struct jview *v, int r, struct err *e)
{
    return r < 0 ? err_prefix(e, "%s", v->name) : 0;
}

typedef int take_fn(struct image_spec *s, const struct jview *v, const char *config,
                    const char *text, struct err *e);

static int take_program(struct image_spec *s, const struct jview *v, const char *config,
                        const char *text, struct err *e)
{
    char path[TREE_PATH_MAX];
    int r = from_config(v, config, text, path, sizeof(path), e);
    return r < 0 ? r : of_config(v, image_spec_program(s, path, e), e);
}

static int take_arg(struct image_spec *s, const struct jview *v, UNUSED const char *config,
                    const char *text, struct err *e)
{
    return of_config(v, image_spec_arg(s, text, e), e);
}

/* Files and Dirs: the same path there as here. */
static int take_same(struct image_spec *s, const struct jview *v, const char *config,
                     const char *text, struct err *e)
{
    char from[TREE_PATH_MAX], to[TREE_PATH_MAX];
    if (tree_clean(text, false, to, sizeof(to)) < 0)
        return jview_err(v, e, -EINVAL, "'%s' leads out of the image: use MapDirs", text);
    int r = from_config(v, config, text, from, sizeof(from), e);
    return r < 0 ? r : of_config(v, image_spec_map(s, from, to, e), e);
}

static int take_map(struct image_spec *s, const struct jview *v, const char *config,
                    const char *text, struct err *e)
{
    char key[TREE_PATH_MAX], from[TREE_PATH_MAX];
    size_t len = strlen(v->key);
    if (len >= 2 && strcmp(v->key + len - 2, "/*") == 0)
        len -= len == 2 ? 1 : 2;
    int n = snprintf(key, sizeof(key), "%.*s", (int)len, v->key);
    if (n < 0 || (size_t)n >= sizeof(key))
        return jview_err(v, e, -ENAMETOOLONG, "path too long");
    int r = from_config(v, config, key, from, sizeof(from), e);
    return r < 0 ? r : of_config(v, image_spec_map(s, from, text, e), e);
}

static int take_env(struct image_spec *s, const struct jview *v, UNUSED const char *config,
                    const char *text, struct err *e)
{
    char env[64 * 1024];
    int n = snprintf(env, sizeof(env), "%s=%s", v->key, text);
    if (n < 0 || (size_t)n >= sizeof(env))
        return jview_err(v, e, -E2BIG, "too long");
    if (v->key[0] == '\0' || strchr(v->key, '=') != NULL)
        return jview_err(v, e, -EINVAL, "a name may not be empty or hold '='");
    return of_config(v, image_spec_env(s, env, e), e);
}

static int each_item(struct image_spec *s, const struct jview *top, const char *key, take_fn *take,
                     struct err *e)
{
    struct jview list;
    int r = jview_array(top, key, JVIEW_OPTIONAL, &list, e);
    for (size_t i = 0; r == 0 && i < jview_count(&list); i++) {
        struct jview item = jview_item(&list, i);
        const char *text = NULL;
        r = jview_as_string(&item, &text, e);
        r = r < 0 ? r : take(s, &item, top->name, text, e);
    }
    return r;
}

static int each_member(struct image_spec *s, const struct jview *top, const char *key,
                       take_fn *take, struct err *e)
{
    struct jview map;
    const char *name;
    json_t *value;
    int r = jview_object(top, key, JVIEW_OPTIONAL, &map, e);
    if (r < 0 || map.value == NULL)
        return r;
    json_object_foreach (map.value, name, value) {
        struct jview item = {.value = value, .name = top->name, .above = &map, .key = name};
        const char *text = NULL;
        r = jview_as_string(&item, &text, e);
        r = r < 0 ? r : take(s, &item, top->name, text, e);
        if (r < 0)
            break;
    }
    return r;
}

/* A service of nsswitch.conf: its library is libnss_NAME.so.2. */
static int take_nss(struct image_spec *s, const struct jview *v, UNUSED const char *config,
                    const char *text, struct err *e)
{
    enum { SERVICE_MAX = 32 };
    if (text[0] == '\0' || strlen(text) > SERVICE_MAX ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(text))
        return jview_err(v, e, -EINVAL, "'%.40s' is no name of a service as \"compat\"", text);
    return of_config(v, strings_add(&s->nss, text, "services", e), e);
}

static int take_library(struct image_spec *s, const struct jview *v, UNUSED const char *config,
                        const char *text, struct err *e)
{
    if (text[0] == '\0' || strchr(text, '/') != NULL)
        return jview_err(v, e, -EINVAL, "'%s' must be a library's name without folders", text);
    return of_config(v, strings_add(&s->libraries, text, "libraries", e), e);
}

static int take_program_path(struct image_spec *s, const struct jview *top, struct err *e)
{
    char clean[TREE_PATH_MAX];
    const char *path = NULL;
    int r = jview_string(top, "ProgramPath", JVIEW_OPTIONAL, &path, e);
    if (r < 0 || path == NULL)
        return r;
    if (path[0] != '/' || tree_clean(path, false, clean, sizeof(clean)) < 0 || clean[1] == '\0')
        return jview_err(top, e, -EINVAL, "ProgramPath: '%s' must be a path in the image", path);
    free(s->program_path);
    s->program_path = strdup(clean);
    return s->program_path != NULL ? 0 : jview_err(top, e, -ENOMEM, "out of memory");
}

static int take_port(struct image_spec *s, const struct jview *v, UNUSED const char *config,
                     const char *text, struct err *e)
{
    return of_config(v, strings_add(&s->ports, text, "ports", e), e);
}

static int take_udp_port(struct image_spec *s, const struct jview *v, UNUSED const char *config,
                         const char *text, struct err *e)
{
    char port[64];
    int n = snprintf(port, sizeof(port), "%s/udp", text);
    if (n < 0 || (size_t)n >= sizeof(port))
        return jview_err(v, e, -EINVAL, "too long for a port");
    return of_config(v, strings_add(&s->ports, port, "ports", e), e);
}

static int keep_string(const struct jview *v, const char *key, char **ret, struct err *e)
{
    const char *text = NULL;
    int r = jview_string(v, key, JVIEW_OPTIONAL, &text, e);
    if (r < 0 || text == NULL)
        return r;
    free(*ret);
    *ret = strdup(text);
    return *ret != NULL ? 0 : jview_err(v, e, -ENOMEM, "out of memory");
}

// Keys that OPS knows and that mean nothing here, with what to do instead.
static const struct {
    const char *key, *instead;
} foreign[] = {
    {"Mounts", "there are no volumes: put what the program reads into MapDirs"},
    {"BaseVolumeSz", "an image is as large as what is in it"},
    {"Boot", "there is no boot loader"},
    {"Kernel", "the kernel is named with --kernel or SKERRY_KERNEL"},
    {"KlibDir", "the kernel has no modules"},
    {"Klibs", "the kernel has no modules"},
    {"NameServers", "the network's own name servers are used"},
    {"CloudConfig", "where an app runs is said in skerry.yaml"},
    {"TargetRoot", "use MapDirs"},
    {"NoTrace", "leave out RunConfig.Trace"},
    {"Debugflags", "use RunConfig.Trace"},
    {"ManifestPassthrough", "there is no Nanos manifest"},
    {"RebootOnExit", "whether an instance is started again is said in skerry.yaml"},
};

static int check_keys(const struct jview *top, const char *const *keys, struct err *e)
{
    for (size_t i = 0; json_is_object(top->value) && i < ARRAY_LEN(foreign); i++)
        if (json_object_get(top->value, foreign[i].key) != NULL)
            return jview_err(top, e, -EINVAL, "key '%s' means nothing here: %s", foreign[i].key,
                             foreign[i].instead);
    return jview_keys(top, keys, e);
}

static int take_run(struct image_spec *s, const struct jview *top, struct err *e)
{
    static const char *const keys[] = {
        "Accel", "AllowWrittenExec", "CPUs",     "DenyAnonymousExec", "Memory",
        "Ports", "Trace",            "UDPPorts", NULL};
    enum { CPUS_MAX = 64 };
    struct jview run;
    uint64_t cpus = s->cpus;
    int r = jview_object(top, "RunConfig", JVIEW_OPTIONAL, &run, e);
    if (r < 0 || run.value == NULL)
        return r;
    r = check_keys(&run, keys, e);
    r = r < 0 ? r : keep_string(&run, "Memory", &s->memory, e);
    r = r < 0 ? r : keep_string(&run, "Accel", &s->accel, e);
    r = r < 0 ? r : jview_uint(&run, "CPUs", JVIEW_OPTIONAL, 1, CPUS_MAX, &cpus, e);
    r = r < 0 ? r : jview_bool(&run, "Trace", JVIEW_OPTIONAL, &s->trace, e);
    r = r < 0 ? r : jview_bool(&run, "AllowWrittenExec", JVIEW_OPTIONAL, &s->written_exec, e);
    r = r < 0 ? r : jview_bool(&run, "DenyAnonymousExec", JVIEW_OPTIONAL, &s->no_anonymous_exec, e);
    s->cpus = (uint32_t)cpus;
    r = r < 0 ? r : each_item(s, &run, "Ports", take_port, e);
    return r < 0 ? r : each_item(s, &run, "UDPPorts", take_udp_port, e);
}

static int take_switches(struct image_spec *s, const struct jview *top, struct err *e)
{
    bool defaults = !s->no_defaults, runtime = true;
    int r = jview_bool(top, "Defaults", JVIEW_OPTIONAL, &defaults, e);
    r = r < 0 ? r : jview_bool(top, "CACertificates", JVIEW_OPTIONAL, &s->certificates, e);
    r = r < 0 ? r : jview_bool(top, "Runtime", JVIEW_OPTIONAL, &runtime, e);
    r = r < 0 ? r : keep_string(top, "Timezone", &s->timezone, e);
    s->no_defaults = !defaults;
    if (r == 0 && json_object_get(top->value, "Runtime") != NULL)
        s->runtime = runtime ? RUNTIME_ALWAYS : RUNTIME_NEVER;
    return r;
}

static int take_all(struct image_spec *s, const struct jview *top, struct err *e)
{
    static const char *const keys[] = {"Args",    "CACertificates", "Defaults",    "Dirs",
                                       "Env",     "Files",          "Libraries",   "MapDirs",
                                       "NSS",     "Program",        "ProgramPath", "RunConfig",
                                       "Runtime", "Timezone",       NULL};
    const char *program = NULL;
    int r = check_keys(top, keys, e);
    r = r < 0 ? r : jview_string(top, "Program", JVIEW_OPTIONAL, &program, e);
    if (r == 0 && program != NULL)
        r = take_program(s, top, top->name, program, e);
    r = r < 0 ? r : each_item(s, top, "Args", take_arg, e);
    r = r < 0 ? r : each_item(s, top, "Files", take_same, e);
    r = r < 0 ? r : each_item(s, top, "Dirs", take_same, e);
    r = r < 0 ? r : each_member(s, top, "MapDirs", take_map, e);
    r = r < 0 ? r : each_item(s, top, "Libraries", take_library, e);
    r = r < 0 ? r : each_item(s, top, "NSS", take_nss, e);
    r = r < 0 ? r : take_program_path(s, top, e);
    r = r < 0 ? r : take_switches(s, top, e);
    r = r < 0 ? r : take_run(s, top, e);
    return r < 0 ? r : each_member(s, top, "Env", take_env, e);
}

int image_spec_config(struct image_spec *s, const char *path, struct err *e)
{
    json_auto_t *root = NULL;
    int r = json_read_file(path, &root, e);
    struct jview top = jview_of(path, root);
    return r < 0 ? r : take_all(s, &top, e);
}

int image_spec_config_text(struct image_spec *s, const char *text, size_t len, const char *path,
                           struct err *e)
{
    json_auto_t *root = NULL;
    int r = json_read_text(text, len, path, &root, e);
    struct jview top = jview_of(path, root);
    return r < 0 ? r : take_all(s, &top, e);
}
