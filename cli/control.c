// SPDX-License-Identifier: Apache-2.0
#include "cli/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/file.h"
#include "host/proc.h"
#include "image/image.h"

enum { PATH_BYTES = 4096 };

#define DEFAULT_CONTROL "unix:/run/skerry/control.sock"

double seconds_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int control_base(const char *given, struct http_base *ret, struct err *err)
{
    const char *env = getenv("SKERRY_CONTROL");
    if (given == NULL)
        given = env != NULL && env[0] != '\0' ? env : DEFAULT_CONTROL;
    return http_base_parse(given, ret, err);
}

int control_hint(int r, struct err *err)
{
    if (r != -ECONNREFUSED)
        return r;
    char why[ERR_TEXT_MAX / 2];
    snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1, err->text);
    return err_set(err, r,
                   "no controller answers (%s)\n"
                   "start one with 'skerryd controller', or a whole planet with 'skerry lab up'; "
                   "name another with --control or SKERRY_CONTROL",
                   why);
}

int control_call(const struct http_base *base, const char *method, const char *path,
                 const json_t *body, json_t **ret, struct err *err)
{
    int r = http_json(base, method, path, body, CONTROL_TIMEOUT_MS, ret, err);
    return r < 0 ? control_hint(r, err) : 0;
}

int control_app(const struct http_base *base, const char *app, json_t **ret_state,
                struct app_spec *ret_spec, struct err *err)
{
    char path[64];
    json_t *state = NULL;
    snprintf(path, sizeof(path), "/v1/apps/%s", app);
    *ret_state = NULL;
    int r = control_call(base, "GET", path, NULL, &state, err);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = spec_from_json("controller", json_object_get(state, "spec"), ret_spec, err);
    if (r < 0)
        json_decref(state);
    else
        *ret_state = state;
    return r;
}

void plan_print(FILE *to, const struct plan_line *lines, unsigned n)
{
    bool color = isatty(fileno(to)) == 1;
    for (unsigned i = 0; i < n; i++) {
        const char *on = lines[i].sign == '+'   ? "\033[32m"
                         : lines[i].sign == '-' ? "\033[31m"
                                                : "\033[33m";
        fprintf(to, "  %s%c%s %s\n", color ? on : "", lines[i].sign, color ? "\033[0m" : "",
                lines[i].text);
    }
}

// --- making the image ---

static int run_build(const struct app_file *f, FILE *to, struct err *err)
{
    const char *argv[] = {"/bin/sh", "-c", f->recipe.build, NULL};
    struct proc_spec spec = proc_spec_of(argv);
    struct proc p;
    int status = 0;
    if (to != NULL) {
        fprintf(to, "build: %s\n", f->recipe.build);
        fflush(to);
    }
    spec.cwd = f->folder;
    spec.stdout_fd = STDERR_FILENO; // our own standard output may be read by a program
    spec.parent_death_signal = 15;
    int r = proc_spawn(&spec, &p, err);
    if (r == 0)
        r = proc_wait(&p, PROC_FOREVER, &status);
    if (r == 0 && status != 0)
        r = err_set(err, -EINVAL, "the build command ended with status %d: %s", status,
                    f->recipe.build);
    return r;
}

// A path of the file, relative to its folder.
static int host_path(const struct app_file *f, const char *path, char *ret, size_t max,
                     struct err *err)
{
    int n = path[0] == '/' ? snprintf(ret, max, "%s", path)
                           : snprintf(ret, max, "%s/%s", f->folder, path);
    if (n < 0 || (size_t)n >= max)
        return err_set(err, -ENAMETOOLONG, "'%.60s...': name too long", path);
    return 0;
}

static int add_maps(struct image_spec *s, const struct app_file *f, const struct recipe_pair *pairs,
                    uint32_t len, struct err *err)
{
    char path[PATH_BYTES];
    int r = 0;
    for (uint32_t i = 0; i < len && r == 0; i++) {
        r = host_path(f, pairs[i].value, path, sizeof(path), err);
        if (r == 0)
            r = image_spec_map(s, path, pairs[i].name, err);
    }
    return r;
}

static int fill_spec(struct image_spec *s, const struct app_file *f, struct err *err)
{
    const struct recipe *c = &f->recipe;
    char path[PATH_BYTES];
    int r = host_path(f, c->program, path, sizeof(path), err);
    if (r == 0)
        r = image_spec_program(s, path, err);
    for (uint32_t i = 0; i < c->args_len && r == 0; i++)
        r = image_spec_arg(s, c->args[i], err);
    for (uint32_t i = 0; i < c->env_len && r == 0; i++) {
        int n = snprintf(path, sizeof(path), "%s=%s", c->env[i].name, c->env[i].value);
        r = n < 0 || (size_t)n >= sizeof(path)
                ? err_set(err, -E2BIG, "variable '%s' is too long", c->env[i].name)
                : image_spec_env(s, path, err);
    }
    if (r == 0)
        r = add_maps(s, f, c->files, c->files_len, err);
    if (r == 0)
        r = add_maps(s, f, c->dirs, c->dirs_len, err);
    return r;
}

// An open file without a name: nothing is left of it, however we end.
static int unnamed_file(struct err *err)
{
    const char *folder = getenv("TMPDIR");
    if (folder == NULL || folder[0] == '\0')
        folder = "/tmp";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, -errno, "folder '%s': cannot make a file: %s", folder, strerror(errno));
    return fd;
}

static int make_image(struct prepared *p, struct err *err)
{
    CLEANUP(image_spec_freep) struct image_spec *s = NULL;
    struct image_digest digest;
    struct stat st;
    int r = image_spec_new(&s, err);
    if (r == 0)
        r = fill_spec(s, &p->file, err);
    if (r == 0)
        r = p->image_fd = unnamed_file(err);
    if (r >= 0)
        r = image_build(s, p->image_fd, &digest, err);
    if (r == 0 && fstat(p->image_fd, &st) != 0)
        r = err_set(err, -errno, "image: %s", strerror(errno));
    if (r < 0)
        return r;
    p->image_bytes = (uint64_t)st.st_size;
    snprintf(p->file.spec.digest, sizeof(p->file.spec.digest), "%s", digest.text);
    return 0;
}

int prepare(const char *path, FILE *to, struct prepared *ret, struct err *err)
{
    CLEANUP(prepared_deinit) struct prepared p = {.image_fd = -1};
    double start = seconds_now();
    int r = app_file_load(path, &p.file, err);
    if (r < 0)
        return r;
    if (p.file.recipe.build != NULL)
        r = run_build(&p.file, to, err);
    double built = seconds_now();
    if (r == 0)
        r = make_image(&p, err);
    if (r < 0)
        return r;
    p.seconds = seconds_now() - start;
    if (to != NULL)
        fprintf(to, "image: %.19s, %.1f MB, made in %.1f s\n", p.file.spec.digest,
                (double)p.image_bytes / 1e6, seconds_now() - built);
    *ret = p;
    p = (struct prepared){.image_fd = -1};
    return 0;
}

void prepared_deinit(struct prepared *p)
{
    app_file_free(&p->file);
    fd_closep(&p->image_fd);
    p->image_fd = -1;
}
