// SPDX-License-Identifier: Apache-2.0
#include "image/closure.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/file.h"
#include "image/elf.h"
#include "image/ldcache.h"

enum {
    FOLDERS_MAX = 128,
    CONF_BYTES_MAX = 64 * 1024,
    CONF_DEPTH_MAX = 4,
    CACHE_BYTES_MAX = 16 << 20,
    LEVELS_MIN = 2, // x86-64-v2 to v4
    LEVELS_MAX = 4,
};

// One mapped ELF file: where it is here, and where it will be in the image.
struct object {
    char *host;
    char *guest;
    void *data;
    size_t len;
    struct elf_info elf;
    const struct object *loader; // who needs it; NULL for the program
    bool extra;                  // nobody needs it by name: what it needs itself may be missing
    bool soft;                   // the same, of what an extra one needs
};

struct closure {
    struct tree *tree;
    struct object objects[CLOSURE_OBJECTS_MAX];
    size_t objects_n;
    char *folders[FOLDERS_MAX]; // of the system's configuration, searched before the defaults
    size_t folders_n;
    bool musl;
    const char *library_path; // borrowed
    char *cache;              // the loader's, NULL: none
    size_t cache_len;
};

// Folders that glibc's loader knows by itself; Debian's first, then those of other systems.
static const char *const glibc_folders[] = {"/lib/x86_64-linux-gnu",
                                            "/usr/lib/x86_64-linux-gnu",
                                            "/lib64",
                                            "/usr/lib64",
                                            "/lib",
                                            "/usr/lib"};
static const char *const musl_folders[] = {"/lib", "/usr/local/lib", "/usr/lib"};
static const char musl_path_file[] = "/etc/ld-musl-x86_64.path";

static void object_close(struct object *o)
{
    if (o->data != NULL)
        munmap(o->data, o->len);
    free(o->host);
    free(o->guest);
    *o = (struct object){0};
}

static void closure_freep(struct closure **c)
{
    if (*c == NULL)
        return;
    for (size_t i = 0; i < (*c)->objects_n; i++)
        object_close(&(*c)->objects[i]);
    for (size_t i = 0; i < (*c)->folders_n; i++)
        free((*c)->folders[i]);
    free((*c)->cache);
    free(*c);
    *c = NULL;
}

/* Map and parse. What the file is not is said by *ret_why (NULL: see the code). */
static int object_open(const char *host, const char *guest, struct object *ret,
                       const char **ret_why)
{
    *ret = (struct object){0};
    *ret_why = NULL;
    CLEANUP(fd_closep) int fd = open(host, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode)) {
        *ret_why = S_ISDIR(st.st_mode) ? "is a folder, not a program" : "is not a regular file";
        return -ENOEXEC;
    }
    if (st.st_size == 0) {
        *ret_why = "is empty";
        return -ENOEXEC;
    }
    ret->len = (size_t)st.st_size;
    ret->data = mmap(NULL, ret->len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (ret->data == MAP_FAILED) {
        ret->data = NULL;
        return -errno;
    }
    ret->host = strdup(host);
    ret->guest = strdup(guest);
    int r = ret->host == NULL || ret->guest == NULL
                ? -ENOMEM
                : elf_parse(ret->data, ret->len, &ret->elf, ret_why);
    if (r < 0)
        object_close(ret);
    return r;
}

static int add_object(struct closure *c, struct object *o, struct err *e)
{
    if (c->objects_n == CLOSURE_OBJECTS_MAX) {
        int r = err_set(e, -E2BIG, "%s: more than %d libraries", o->host, CLOSURE_OBJECTS_MAX);
        object_close(o);
        return r;
    }
    bool is_program = c->objects_n == 0;
    c->objects[c->objects_n++] = *o;
    if (!is_program && tree_find(c->tree, o->guest) != NULL)
        return 0;
    return tree_put_file(c->tree, o->guest, o->host, e);
}

static void add_folder(struct closure *c, const char *folder, size_t len)
{
    char *copy = len > 0 && c->folders_n < FOLDERS_MAX ? strndup(folder, len) : NULL;
    if (copy != NULL)
        c->folders[c->folders_n++] = copy;
}

/* ld.so.conf(5): a folder a line, '#' comments, "include PATTERN". A file that is not there or too
 * large adds nothing, as with ldconfig. */
static void read_conf(struct closure *c, const char *path, unsigned depth)
{
    CLEANUP(file_freep) char *text = NULL;
    size_t len;
    struct err ignored;
    if (depth == 0 || file_read(path, CONF_BYTES_MAX, &text, &len, &ignored) < 0)
        return;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line[strcspn(line, "#")] = '\0';
        line += strspn(line, " \t");
        size_t n = strcspn(line, " \t\r");
        if (n == strlen("include") && strncmp(line, "include", n) == 0) {
            glob_t found;
            char *pattern = line + n + strspn(line + n, " \t");
            pattern[strcspn(pattern, " \t\r")] = '\0';
            if (glob(pattern, 0, NULL, &found) != 0)
                continue;
            for (size_t i = 0; i < found.gl_pathc; i++)
                read_conf(c, found.gl_pathv[i], depth - 1);
            globfree(&found);
        } else if (line[0] == '/') {
            add_folder(c, line, n);
        }
    }
}

/* musl: one line of folders, separated by ':' or line ends; without it three defaults. The file
 * goes into the image, where musl's loader reads it again. */
static int read_musl_path(struct closure *c, struct err *e)
{
    CLEANUP(file_freep) char *text = NULL;
    size_t len;
    if (file_read(musl_path_file, CONF_BYTES_MAX, &text, &len, e) < 0) {
        for (size_t i = 0; i < ARRAY_LEN(musl_folders); i++)
            add_folder(c, musl_folders[i], strlen(musl_folders[i]));
        return 0;
    }
    char *save = NULL;
    for (char *part = strtok_r(text, ":\n", &save); part; part = strtok_r(NULL, ":\n", &save))
        add_folder(c, part, strlen(part));
    return tree_put_file(c->tree, musl_path_file, musl_path_file, e);
}

static bool is_default(const char *folder)
{
    for (size_t i = 0; i < ARRAY_LEN(glibc_folders); i++)
        if (strcmp(folder, glibc_folders[i]) == 0)
            return true;
    return false;
}

/* Beside a library there may be one for better processors; which of them the loader takes is known
 * only where it runs, so all go in (ld.so(8), glibc-hwcaps). */
static int add_levels(struct closure *c, const struct object *loader, const char *host_folder,
                      const char *guest_folder, const char *name, struct err *e)
{
    int r = 0;
    for (int level = LEVELS_MIN; r == 0 && !c->musl && level <= LEVELS_MAX; level++) {
        char host[TREE_PATH_MAX], guest[TREE_PATH_MAX];
        static const char format[] = "%s/glibc-hwcaps/x86-64-v%d/%s";
        int a = snprintf(host, sizeof(host), format, host_folder, level, name);
        int b = snprintf(guest, sizeof(guest), format, guest_folder, level, name);
        struct object o;
        const char *why;
        if (a < 0 || b < 0 || (size_t)MAX(a, b) >= sizeof(host) || access(host, F_OK) != 0 ||
            object_open(host, guest, &o, &why) < 0)
            continue;
        o.loader = loader;
        o.extra = true;
        r = add_object(c, &o, e);
    }
    return r;
}

/* Take folder/name if it is a library for us: 1 found, 0 not there, or an error. */
static int try_folder(struct closure *c, const struct object *loader, const char *host_folder,
                      const char *guest_folder, const char *name, struct err *e)
{
    char host[TREE_PATH_MAX], guest[TREE_PATH_MAX];
    int a = snprintf(host, sizeof(host), "%s/%s", host_folder, name);
    int b = snprintf(guest, sizeof(guest), "%s/%s", guest_folder, name);
    if (a < 0 || b < 0 || (size_t)a >= sizeof(host) || (size_t)b >= sizeof(guest))
        return 0;
    struct object o;
    const char *why;
    if (object_open(host, guest, &o, &why) < 0)
        return 0; // as the loader: one that is absent or for another machine is passed over
    o.loader = loader;
    o.soft = loader->extra || loader->soft;
    int r = add_object(c, &o, e);
    r = r < 0 ? r : add_levels(c, loader, host_folder, guest_folder, name, e);
    return r < 0 ? r : 1;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* The folder of a path, without its last part; "/" has itself. */
static void folder_of(const char *path, char *ret, size_t max)
{
    const char *slash = strrchr(path, '/');
    int len = slash == NULL || slash == path ? 1 : (int)(slash - path);
    snprintf(ret, max, "%.*s", len, slash == NULL ? "." : path);
}

/* Replace $ORIGIN, $LIB and $PLATFORM (also in braces) of one element of a path; false: too long.
 */
static bool expand(const char *element, size_t len, const char *origin, char *ret, size_t max)
{
    const struct {
        const char *token, *value;
    } tokens[] = {{"$ORIGIN", origin},
                  {"${ORIGIN}", origin},
                  {"$LIB", "lib/x86_64-linux-gnu"},
                  {"${LIB}", "lib/x86_64-linux-gnu"},
                  {"$PLATFORM", "x86_64"},
                  {"${PLATFORM}", "x86_64"}};
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        const char *value = &element[i];
        size_t value_len = 1, skip = 1;
        for (size_t k = 0; k < ARRAY_LEN(tokens); k++) {
            size_t token_len = strlen(tokens[k].token);
            if (len - i >= token_len && memcmp(&element[i], tokens[k].token, token_len) == 0) {
                value = tokens[k].value;
                value_len = strlen(value);
                skip = token_len;
            }
        }
        if (value_len >= max - n)
            return false;
        memcpy(ret + n, value, value_len);
        n += value_len;
        i += skip;
    }
    ret[n] = '\0';
    return n > 0;
}

/* Look through a DT_RPATH or DT_RUNPATH of the object that has it: 1 found, 0 not. */
static int try_path(struct closure *c, const struct object *owner, const char *path,
                    const struct object *loader, const char *name, struct err *e)
{
    char real[PATH_MAX], host_origin[TREE_PATH_MAX], guest_origin[TREE_PATH_MAX];
    folder_of(realpath(owner->host, real) != NULL ? real : owner->host, host_origin,
              sizeof(host_origin));
    folder_of(owner->guest, guest_origin, sizeof(guest_origin));
    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        char host[TREE_PATH_MAX], guest[TREE_PATH_MAX], clean[TREE_PATH_MAX];
        if (expand(path, len, host_origin, host, sizeof(host)) && host[0] == '/' &&
            expand(path, len, guest_origin, guest, sizeof(guest)) &&
            tree_clean(guest, true, clean, sizeof(clean)) == 0) {
            int r = try_folder(c, loader, host, clean, name, e);
            if (r != 0)
                return r;
        }
        path += len + (path[len] == ':');
    }
    return 0;
}

/* The folders of LD_LIBRARY_PATH are folders of the tree: what will be there counts. */
static int try_library_path(struct closure *c, const struct object *loader, const char *name,
                            struct err *e)
{
    for (const char *p = c->library_path; *p != '\0'; p += strspn(p, ":;")) {
        char guest[TREE_PATH_MAX];
        int len = (int)strcspn(p, ":;");
        int n = snprintf(guest, sizeof(guest), "%.*s/%s", len, p, name);
        p += len;
        const struct erofs_node *node =
            n > 0 && (size_t)n < sizeof(guest) ? tree_find(c->tree, guest) : NULL;
        struct object o;
        const char *host = node != NULL ? tree_host_path(node) : NULL, *why;
        if (host == NULL || object_open(host, guest, &o, &why) < 0)
            continue;
        o.loader = loader;
        int r = add_object(c, &o, e);
        return r < 0 ? r : 1;
    }
    return 0;
}

static int try_paths(struct closure *c, const struct object *o, const char *name, struct err *e)
{
    int r = 0;
    if (o->elf.runpath == NULL || c->musl)
        for (const struct object *up = o; r == 0 && up != NULL; up = up->loader)
            if (up->elf.runpath == NULL || c->musl)
                r = try_path(c, up, up->elf.rpath, o, name, e);
    if (r == 0)
        r = try_library_path(c, o, name, e);
    if (r == 0)
        r = try_path(c, o, o->elf.runpath, o, name, e);
    return r;
}

static int try_system(struct closure *c, const struct object *o, const char *name, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->folders_n; i++) {
        // The image has no ld.so.cache: what is outside the loader's own folders moves into one.
        bool stays = c->musl || is_default(c->folders[i]);
        r = try_folder(c, o, c->folders[i], stays ? c->folders[i] : glibc_folders[0], name, e);
    }
    for (size_t i = 0; r == 0 && !c->musl && i < ARRAY_LEN(glibc_folders); i++)
        r = try_folder(c, o, glibc_folders[i], glibc_folders[i], name, e);
    const char *cached =
        r == 0 && c->cache != NULL ? ldcache_find(c->cache, c->cache_len, name) : NULL;
    if (cached == NULL || strcmp(last_part(cached), name) != 0)
        return r;
    char folder[TREE_PATH_MAX]; // of a cache that knows more than ld.so.conf says
    folder_of(cached, folder, sizeof(folder));
    return try_folder(c, o, folder, glibc_folders[0], name, e);
}

/* A loader takes a name once, whoever asks for it, and knows itself. */
static bool is_there(const struct closure *c, const char *name)
{
    if (c->musl && (strcmp(name, "libc.so") == 0 || strncmp(name, "libc.musl-", 10) == 0))
        return true;
    for (size_t i = 0; i < c->objects_n; i++) {
        const struct object *o = &c->objects[i];
        if (o->extra)
            continue;
        if ((o->elf.soname != NULL && strcmp(o->elf.soname, name) == 0) ||
            (i > 0 && strcmp(last_part(o->guest), name) == 0))
            return true;
    }
    return false;
}

static int add_needed(struct closure *c, const struct object *o, const char *name, struct err *e)
{
    if (is_there(c, name))
        return 0;
    int r;
    if (strchr(name, '/') != NULL)
        r = name[0] == '/' ? try_folder(c, o, "", "", name + 1, e) : 0;
    else {
        r = try_paths(c, o, name, e);
        r = r != 0 ? r : try_system(c, o, name, e);
    }
    if (r != 0 || o->extra || o->soft)
        return MIN(r, 0);
    const char *path = o->elf.runpath != NULL ? o->elf.runpath : o->elf.rpath;
    return err_set(e, -ENOENT,
                   "%s: needs the library '%s', which is not in %s%sthe system's "
                   "folders: install the package that has it, or "
                   "pack it with Files and set LD_LIBRARY_PATH",
                   o->host, name, path != NULL ? path : "", path != NULL ? " or " : "");
}

static void read_system(struct closure *c)
{
    struct err ignored;
    read_conf(c, "/etc/ld.so.conf", CONF_DEPTH_MAX);
    if (file_read("/etc/ld.so.cache", CACHE_BYTES_MAX, &c->cache, &c->cache_len, &ignored) < 0)
        c->cache = NULL;
}

static int add_interpreter(struct closure *c, const struct object *program, struct err *e)
{
    const char *path = program->elf.interp, *why;
    struct object o;
    int r = object_open(path, path, &o, &why);
    if (r < 0)
        return err_set(e, r, "%s: needs the interpreter '%s', which %s", program->host, path,
                       why != NULL    ? why
                       : r == -ENOENT ? "is not there"
                                      : strerror(-r));
    o.elf.needed_n = 0; // it loads the others
    o.loader = program;
    c->musl = strncmp(last_part(path), "ld-musl-", 8) == 0;
    if (c->musl)
        r = read_musl_path(c, e);
    else
        read_system(c);
    if (r < 0) {
        object_close(&o);
        return r;
    }
    return add_object(c, &o, e);
}

/* glibc opens libgcc_s.so.1, if it is there, when a thread is cancelled or exits early
 * (sysdeps/nptl/unwind-forcedunwind.c), and aborts without it. libc itself names the functions too.
 */
static int add_unwinder(struct closure *c, struct object *o, struct err *e)
{
    bool is_libc = o->elf.soname != NULL && strcmp(o->elf.soname, "libc.so.6") == 0, soft = o->soft;
    if (c->musl || is_libc || !o->elf.ends_threads)
        return 0;
    o->soft = true;
    int r = add_needed(c, o, "libgcc_s.so.1", e);
    o->soft = soft;
    return r;
}

/* The list grows while it is walked: each object's needs come behind those of earlier ones. */
static int add_all_needed(struct closure *c, size_t from, struct err *e)
{
    int r = 0;
    for (size_t i = from; r == 0 && i < c->objects_n; i++) {
        for (uint32_t k = 0; r == 0 && k < c->objects[i].elf.needed_n; k++)
            r = add_needed(c, &c->objects[i], c->objects[i].elf.needed[k], e);
        r = r < 0 ? r : add_unwinder(c, &c->objects[i], e);
    }
    return r;
}

/* Is it NAME.so or NAME.so.1? */
static bool is_shared(const char *name)
{
    const char *so = strstr(name, ".so");
    return so != NULL && (so[3] == '\0' || so[3] == '.');
}

/* The shared objects that are in the tree but that nobody needs by name: an interpreter opens them
 * while it runs. */
static int add_modules(struct closure *c, const struct erofs_node *dir, struct err *e)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < dir->children_n; i++) {
        const struct erofs_node *n = dir->children[i];
        const char *host = tree_host_path(n), *why;
        char path[TREE_PATH_MAX];
        struct object o;
        if ((n->mode & EROFS_S_IFMT) == EROFS_S_IFDIR) {
            r = add_modules(c, n, e);
            continue;
        }
        if (host == NULL || !is_shared(n->name))
            continue;
        tree_path(n, path, sizeof(path));
        bool known = false;
        for (size_t k = 0; !known && k < c->objects_n; k++)
            known = strcmp(c->objects[k].guest, path) == 0;
        if (known || object_open(host, path, &o, &why) < 0)
            continue;
        o.loader = &c->objects[0];
        o.extra = true;
        r = add_object(c, &o, e);
    }
    return r;
}

/* What a dynamic program needs. */
static int put_needs(struct closure *c, const struct closure_wish *wish, struct err *e)
{
    int r = add_interpreter(c, &c->objects[0], e);
    for (uint32_t i = 0; r == 0 && i < wish->opened_n; i++)
        r = add_needed(c, &c->objects[0], wish->opened[i], e);
    r = r < 0 ? r : add_all_needed(c, 0, e);
    size_t known = c->objects_n;
    r = r < 0 ? r : add_modules(c, tree_root(c->tree), e);
    return r < 0 ? r : add_all_needed(c, known, e);
}

int closure_put(struct tree *t, const char *program, const char *host_path,
                const struct closure_wish *wish, struct err *e)
{
    CLEANUP(closure_freep) struct closure *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    c->tree = t;
    c->library_path = wish->library_path;
    struct object o;
    const char *why;
    int r = object_open(host_path, program, &o, &why);
    if (r < 0)
        return err_set(e, r, "%s%s %s", host_path, why != NULL ? "" : ":",
                       why != NULL ? why : strerror(-r));
    bool runs = o.elf.interp != NULL;
    r = add_object(c, &o, e);
    if (r == 0 && !runs && wish->opened_n > 0)
        return err_set(e, -EINVAL,
                       "%s: is a static program and opens no libraries: leave out NSS and "
                       "Libraries",
                       host_path);
    return r < 0 || !runs ? r : put_needs(c, wish, e);
}
