// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "host/file.h"
#include "image/closure.h"
#include "image/digest.h"
#include "image/pyc.h"
#include "image/spec.h"
#include "image/start.h"
#include "image/tree.h"

enum { BUFFER_BYTES = 256 * 1024, SECTOR = 512 };

// ---- what goes in

static int put_defaults(struct tree *t, bool files_too, struct err *e)
{
    static const struct {
        const char *path, *text;
    } files[] = {
        {"/etc/passwd", "root:x:0:0:root:/:/\nnobody:x:65534:65534:nobody:/:/\n"},
        {"/etc/group", "root:x:0:\nnogroup:x:65534:\n"},
        {"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
        {"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
    };
    static const struct {
        const char *path;
        uint16_t permissions;
    } dirs[] = {{"/dev", 0755}, {"/proc", 0555}, {"/run", 0755},
                {"/sys", 0555}, {"/tmp", 01777}, {"/var", 0755}};
    int r = 0;
    for (size_t i = 0; r == 0 && files_too && i < ARRAY_LEN(files); i++)
        if (tree_find(t, files[i].path) == NULL)
            r = tree_put_text(t, files[i].path, files[i].text, e);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++)
        if (tree_find(t, dirs[i].path) == NULL)
            r = tree_put_dir(t, dirs[i].path, dirs[i].permissions, e);
    return r;
}

static int put_map(struct tree *t, const struct image_map *m, struct err *e)
{
    struct stat st;
    if (stat(m->from, &st) < 0)
        return err_set(e, -errno, "%s: %s", m->from, strerror(errno));
    return S_ISDIR(st.st_mode) ? tree_put_dir_from(t, m->to, m->from, e)
                               : tree_put_file(t, m->to, m->from, e);
}

/* What is asked for by name: certificates, and the local time. */
static int put_asked(struct tree *t, const struct image_spec *s, struct err *e)
{
    static const char certificates[] = "/etc/ssl/certs/ca-certificates.crt";
    static const char zones[] = "/usr/share/zoneinfo";
    char zone[TREE_PATH_MAX];
    int r = 0;
    if (s->certificates && access(certificates, R_OK) < 0)
        return err_set(e, -errno,
                       "CACertificates: %s: %s: install the package ca-certificates, or name "
                       "another file with MapDirs",
                       certificates, strerror(errno));
    if (s->certificates && tree_find(t, certificates) == NULL)
        r = tree_put_file(t, certificates, certificates, e);
    if (r < 0 || s->timezone == NULL)
        return r;
    int n = snprintf(zone, sizeof(zone), "%s/%s", zones, s->timezone);
    if (s->timezone[0] == '/' || strstr(s->timezone, "..") != NULL || n < 0 ||
        (size_t)n >= sizeof(zone) || access(zone, R_OK) < 0)
        return err_set(e, -ENOENT,
                       "Timezone: '%s' is not in %s: give a name as Europe/Berlin, or install the "
                       "package tzdata",
                       s->timezone, zones);
    return tree_put_file(t, "/etc/localtime", zone, e);
}

/* The libraries that the program opens: those of the services of nsswitch.conf, as glibc names
 * them, and others that were named. */
static int opened_libraries(const struct image_spec *s, struct strings *ret, struct err *e)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < s->nss.n; i++) {
        char name[64];
        snprintf(name, sizeof(name), "libnss_%s.so.2", s->nss.items[i]);
        r = strings_add(ret, name, "services", e);
    }
    for (uint32_t i = 0; r == 0 && i < s->libraries.n; i++)
        r = strings_add(ret, s->libraries.items[i], "libraries", e);
    return r;
}

/* An interpreter lies under its path without links, as it may look around there, and a link leads
 * from the path that the script names; unless that path is already in the tree. */
static int put_interpreter(struct tree *t, struct start *st, struct err *e)
{
    if (tree_find(t, st->program) != NULL)
        return 0;
    CLEANUP(file_freep) char *real = realpath(st->host, NULL);
    if (real == NULL)
        return err_set(e, -errno, "%s: %s", st->host, strerror(errno));
    if (strcmp(real, st->program) == 0 || strlen(real) >= sizeof(st->program))
        return 0;
    int r = tree_put_link(t, st->program, real, e);
    snprintf(st->program, sizeof(st->program), "%s", real);
    snprintf(st->host, sizeof(st->host), "%s", real);
    return r;
}

static int put_program(struct tree *t, const struct image_spec *s, struct start *st, struct err *e)
{
    static const char library_path[] = "LD_LIBRARY_PATH=";
    struct closure_wish wish = {.library_path = ""};
    struct strings opened = {.max = IMAGE_NSS_MAX + IMAGE_LIBRARIES_MAX};
    for (uint32_t i = 0; i < s->envs.n; i++)
        if (strncmp(s->envs.items[i], library_path, strlen(library_path)) == 0)
            wish.library_path = s->envs.items[i] + strlen(library_path);
    int r = st->script ? put_interpreter(t, st, e) : 0;
    if (r == 0 &&
        (s->runtime == RUNTIME_ALWAYS || (s->runtime == RUNTIME_OF_SCRIPTS && st->script)))
        r = runtime_put(t, st->host, e);
    r = r < 0 ? r : opened_libraries(s, &opened, e);
    wish.opened = (const char *const *)opened.items;
    wish.opened_n = opened.n;
    r = r < 0 ? r : closure_put(t, st->program, st->host, &wish, e);
    strings_deinit(&opened);
    return r;
}

static int fill_tree(struct tree *t, const struct image_spec *s, const char *path,
                     struct start *ret_start, struct err *e)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < s->maps_n; i++)
        r = put_map(t, &s->maps[i], e);
    r = r < 0 ? r : start_find(t, s, path, ret_start, e);
    r = r < 0 ? r : put_program(t, s, ret_start, e);
    r = r < 0 ? r : put_asked(t, s, e);
    return r < 0 ? r : put_defaults(t, !s->no_defaults, e);
}

/* The program's path in the image: what ProgramPath says, else its file's name in the root folder.
 */
static int program_path(const struct image_spec *s, char *ret, size_t max, struct err *e)
{
    if (s->program == NULL)
        return err_set(e, -EINVAL, "no program: name one, or set Program in config.json");
    const char *slash = strrchr(s->program, '/');
    const char *name = slash != NULL ? slash + 1 : s->program;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, -EISDIR, "%s: is a folder, not a program", s->program);
    if (s->program_path != NULL)
        snprintf(ret, max, "%s", s->program_path);
    else
        snprintf(ret, max, "/%s", name);
    return 0;
}

static int write_manifest(const struct image_spec *s, const struct start *st, struct writer *w,
                          struct err *e)
{
    if (st->words.n + s->args.n > IMAGE_ARGS_MAX)
        return err_set(e, -E2BIG, "more than %d arguments", IMAGE_ARGS_MAX - 1);
    writer_bytes(w, st->program, strlen(st->program) + 1);
    writer_bytes(w, "/", 2);
    for (uint32_t i = 0; i < st->words.n; i++)
        writer_bytes(w, st->words.items[i], strlen(st->words.items[i]) + 1);
    for (uint32_t i = 0; i < s->args.n; i++)
        writer_bytes(w, s->args.items[i], strlen(s->args.items[i]) + 1);
    for (uint32_t i = 0; i < s->envs.n; i++)
        writer_bytes(w, s->envs.items[i], strlen(s->envs.items[i]) + 1);
    if (w->full)
        return err_set(e, -E2BIG, "arguments and environment: longer than %d bytes",
                       IMAGE_MANIFEST_MAX);
    return 0;
}

/* What RunConfig asks for (abi/image.h); returns the number of strings. */
static uint32_t write_advice(const struct image_spec *s, struct writer *w)
{
    char cpus[16];
    uint32_t n = 0;
    snprintf(cpus, sizeof(cpus), "%u", s->cpus);
    const struct {
        const char *name, *value; // NULL: not given
    } one[] = {{"memory=", s->memory},
               {"cpus=", s->cpus != 0 ? cpus : NULL},
               {"accel=", s->accel},
               {"trace=", s->trace ? "1" : NULL},
               {"written-exec=", s->written_exec ? "1" : NULL},
               {"no-anonymous-exec=", s->no_anonymous_exec ? "1" : NULL}};
    for (size_t i = 0; i < ARRAY_LEN(one); i++) {
        if (one[i].value == NULL)
            continue;
        writer_bytes(w, one[i].name, strlen(one[i].name));
        writer_bytes(w, one[i].value, strlen(one[i].value) + 1);
        n++;
    }
    for (uint32_t i = 0; i < s->ports.n; i++, n++) {
        writer_bytes(w, "port=", strlen("port="));
        writer_bytes(w, s->ports.items[i], strlen(s->ports.items[i]) + 1);
    }
    return n;
}

// ---- the stream

struct build {
    int out;
    struct digest *digest;
    int in; // of the file that is being read
    const struct erofs_node *node;
    bool is_pyc; // it is a compiled Python module, whose time is not that of its source here
    struct err *e;
};

static int build_write(void *ctx, const void *data, size_t len)
{
    struct build *b = ctx;
    digest_add(b->digest, data, len);
    int r = file_write_all(b->out, data, len);
    return r < 0 ? err_set(b->e, r, "cannot write the image: %s", strerror(-r)) : 0;
}

static int changed(struct build *b, const char *path)
{
    return err_set(b->e, -ESTALE, "%s: changed while it was read", path);
}

static int build_open(struct build *b, const struct erofs_node *node, const char *path)
{
    struct stat st;
    fd_closep(&b->in);
    b->in = open(path, O_RDONLY | O_CLOEXEC);
    if (b->in < 0 || fstat(b->in, &st) < 0)
        return err_set(b->e, -errno, "%s: %s", path, strerror(errno));
    if ((uint64_t)st.st_size != node->size)
        return changed(b, path);
    b->node = node;
    b->is_pyc = pyc_is_current(node, b->in);
    return 0;
}

static int build_read(void *ctx, struct erofs_node *node, uint64_t offset, void *to, size_t len)
{
    struct build *b = ctx;
    const char *path = tree_host_path(node);
    int r = b->node != node ? build_open(b, node, path) : 0;
    for (size_t done = 0; r == 0 && done < len;) {
        ssize_t n = pread(b->in, (char *)to + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR)
            r = err_set(b->e, -errno, "%s: %s", path, strerror(errno));
        else if (n == 0)
            r = changed(b, path);
        done += n > 0 ? (size_t)n : 0;
    }
    if (r == 0 && b->is_pyc && offset == 0 && len >= PYC_HEADER_BYTES)
        memset((char *)to + PYC_TIME_AT, 0, PYC_TIME_BYTES);
    return r;
}

static int layout_failed(int code, const struct erofs_node *bad, struct err *e)
{
    char path[TREE_PATH_MAX];
    tree_path(bad, path, sizeof(path));
    return err_set(e, code, "'%s' in the image: %s", path,
                   code == -EFBIG ? "too large, or too many files" : strerror(-code));
}

/* Header and UUID: both follow from the tree and the manifest. h has the counts of its strings;
 * manifest holds the advice too. */
static void finish_meta(uint8_t *meta, const struct erofs_plan *plan, const struct writer *manifest,
                        struct image_header h)
{
    h.version = IMAGE_VERSION;
    h.header_bytes = sizeof(h);
    h.erofs_bytes = plan->bytes;
    h.manifest_offset = plan->bytes;
    h.total_bytes = ALIGN_UP(plan->bytes + manifest->len, (uint64_t)SECTOR);
    memcpy(h.magic, IMAGE_MAGIC, sizeof(h.magic));
    digest_of(manifest->start, manifest->len, h.manifest_sha256);
    memcpy(meta, &h, sizeof(h));
    uint8_t id[DIGEST_BYTES];
    digest_of(meta, plan->meta_blocks * EROFS_BLOCK, id);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x80); // RFC 9562 5.8: a custom UUID
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    erofs_set_uuid(meta, id);
}

static int emit(struct tree *t, const struct erofs_plan *plan, const struct image_header *h,
                struct writer *manifest, struct build *b)
{
    uint8_t *meta = malloc(plan->meta_blocks * EROFS_BLOCK);
    struct erofs_io io = {.read = build_read,
                          .write = build_write,
                          .ctx = b,
                          .buffer = malloc(BUFFER_BYTES),
                          .buffer_bytes = BUFFER_BYTES};
    int r = meta != NULL && io.buffer != NULL ? 0 : err_set(b->e, -ENOMEM, "out of memory");
    r = r < 0 ? r : erofs_emit_meta(tree_root(t), plan, &io, meta);
    if (r == 0) {
        finish_meta(meta, plan, manifest, *h);
        r = build_write(b, meta, plan->meta_blocks * EROFS_BLOCK);
    }
    r = r < 0 ? r : erofs_emit_data(tree_root(t), &io);
    size_t padded = ALIGN_UP(manifest->len, (size_t)SECTOR);
    r = r < 0 ? r : build_write(b, manifest->start, padded);
    free(meta);
    free(io.buffer);
    return r;
}

static int build(const struct image_spec *s, int fd, struct start *st, char *manifest,
                 struct image_digest *ret, struct err *e)
{
    CLEANUP(tree_freep) struct tree *t = NULL;
    char path[TREE_PATH_MAX];
    struct erofs_plan plan;
    const struct erofs_node *bad;
    int r = tree_new(&t, e);
    r = r < 0 ? r : program_path(s, path, sizeof(path), e);
    r = r < 0 ? r : fill_tree(t, s, path, st, e);
    if (r < 0)
        return r;
    struct writer w = writer_of(manifest, IMAGE_MANIFEST_MAX);
    r = write_manifest(s, st, &w, e);
    if (r < 0)
        return r;
    struct writer advice = writer_of(manifest + w.len, IMAGE_ADVICE_MAX);
    uint32_t advicec = write_advice(s, &advice);
    struct image_header h = {.argc = st->words.n + s->args.n,
                             .envc = s->envs.n,
                             .manifest_bytes = (uint32_t)w.len,
                             .advice_bytes = (uint32_t)advice.len,
                             .advicec = advicec};
    if (advice.full)
        return err_set(e, -E2BIG, "RunConfig: longer than %d bytes", IMAGE_ADVICE_MAX);
    w.len += advice.len;
    r = erofs_layout(tree_root(t), &plan, &bad);
    if (r < 0)
        return layout_failed(r, bad, e);
    struct build b = {.out = fd, .digest = digest_new(), .in = -1, .e = e};
    if (b.digest == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    r = emit(t, &plan, &h, &w, &b);
    fd_closep(&b.in);
    digest_end(b.digest, ret);
    return r;
}

int image_build(const struct image_spec *s, int fd, struct image_digest *ret, struct err *e)
{
    CLEANUP(file_freep) char *manifest = calloc(1, IMAGE_MANIFEST_MAX + IMAGE_ADVICE_MAX);
    struct start *st = calloc(1, sizeof(*st));
    int r = manifest != NULL && st != NULL ? build(s, fd, st, manifest, ret, e)
                                           : err_set(e, -ENOMEM, "out of memory");
    if (st != NULL)
        start_deinit(st);
    free(st);
    return r;
}
