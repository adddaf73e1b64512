// SPDX-License-Identifier: Apache-2.0
#include "image/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"

// Where env(1) looks when the image sets no PATH.
static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static const char blanks[] = " \t";

void start_deinit(struct start *s)
{
    strings_deinit(&s->words);
}

bool start_line(const char *text, size_t len, char ret_interpreter[static START_LINE_MAX],
                char ret_argument[static START_LINE_MAX])
{
    char line[START_LINE_MAX];
    if (len < 2 || text[0] != '#' || text[1] != '!')
        return false;
    len = MIN(len - 2, sizeof(line) - 1);
    memcpy(line, text + 2, len);
    line[len] = '\0';
    line[strcspn(line, "\n")] = '\0';
    size_t end = strlen(line);
    while (end > 0 && strchr(blanks, line[end - 1]) != NULL)
        line[--end] = '\0';
    const char *name = line + strspn(line, blanks);
    size_t name_len = strcspn(name, blanks);
    const char *argument = name + name_len + strspn(name + name_len, blanks);
    snprintf(ret_interpreter, START_LINE_MAX, "%.*s", (int)name_len, name);
    snprintf(ret_argument, START_LINE_MAX, "%s", argument);
    return name_len > 0;
}

/* Put words before those that are there. */
static int words_before(struct strings *words, const char *const *add, uint32_t add_n,
                        struct err *e)
{
    struct strings all = {.max = IMAGE_ARGS_MAX};
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < add_n; i++)
        r = strings_add(&all, add[i], "arguments", e);
    for (uint32_t i = 0; r == 0 && i < words->n; i++)
        r = strings_add(&all, words->items[i], "arguments", e);
    if (r < 0) {
        strings_deinit(&all);
        return r;
    }
    strings_deinit(words);
    *words = all;
    return 0;
}

/* Where a path of the image comes from: from the tree when it has it, else the same path here. */
static void host_of(const struct tree *t, const char *path, char *ret, size_t max)
{
    const struct erofs_node *node = tree_find(t, path);
    const char *host =
        node != NULL && (node->mode & EROFS_S_IFMT) == EROFS_S_IFREG ? tree_host_path(node) : NULL;
    snprintf(ret, max, "%s", host != NULL ? host : path);
}

static bool is_there(const struct tree *t, const char *path)
{
    char host[TREE_PATH_MAX];
    struct stat st;
    host_of(t, path, host, sizeof(host));
    return stat(host, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IXUSR) != 0;
}

static const char *path_of(const struct image_spec *s)
{
    for (uint32_t i = 0; i < s->envs.n; i++)
        if (strncmp(s->envs.items[i], "PATH=", 5) == 0)
            return s->envs.items[i] + 5;
    return default_path;
}

/* What env would run: the words of its argument; *ret is the program's path. */
static int follow_env(const struct tree *t, const struct image_spec *s, const char *script,
                      char *argument, struct strings *words, char ret[static START_LINE_MAX],
                      struct err *e)
{
    enum { WORDS_MAX = 32 };
    const char *add[WORDS_MAX];
    uint32_t n = 0;
    char *save = NULL, *text = argument;
    bool split = strncmp(text, "-S", 2) == 0;
    text += split ? 2 : 0;
    for (char *p = strtok_r(text, split ? blanks : "", &save); p != NULL && n < WORDS_MAX;
         p = strtok_r(NULL, split ? blanks : "", &save))
        add[n++] = p;
    if (n == 0 || add[0][0] == '-' || strchr(add[0], '=') != NULL || n == WORDS_MAX ||
        (split && strpbrk(add[0], "\"'\\$") != NULL))
        return err_set(e, -ENOEXEC,
                       "%s: of env's options and settings only '-S NAME WORD...' is understood: "
                       "name the interpreter itself in the first line",
                       script);
    const char *name = add[0], *folders = path_of(s);
    bool found = strchr(name, '/') != NULL;
    if (found)
        snprintf(ret, START_LINE_MAX, "%s", name);
    for (const char *p = folders; !found && *p != '\0'; p += strspn(p, ":")) {
        int len = (int)strcspn(p, ":");
        int m = snprintf(ret, START_LINE_MAX, "%.*s/%s", len, p, name);
        found = len > 0 && m < START_LINE_MAX && is_there(t, ret);
        p += len;
    }
    if (!found)
        return err_set(e, -ENOENT,
                       "%s: its first line asks env for '%s', which is not in %s: install it, or "
                       "set PATH in Env",
                       script, name, folders);
    add[0] = ret;
    return words_before(words, add, n, e);
}

/* One step from a script to its interpreter. */
static int follow(struct tree *t, const struct image_spec *s, struct start *st, const char *line,
                  size_t len, struct err *e)
{
    char interpreter[START_LINE_MAX], argument[START_LINE_MAX], found[START_LINE_MAX];
    if (!start_line(line, len, interpreter, argument))
        return err_set(e, -ENOEXEC, "%s: is a script whose first line names no interpreter",
                       st->host);
    const char *last = argument[0] != '\0' ? argument : interpreter;
    if (last[strlen(last) - 1] == '\r')
        return err_set(e, -ENOEXEC,
                       "%s: its first line ends with a carriage return: save it with Unix line "
                       "ends",
                       st->host);
    int r = tree_put_file(t, st->program, st->host, e);
    // argv[0] of the script goes; its path comes instead.
    free(st->words.items[0]);
    st->words.items[0] = strdup(st->program);
    if (r == 0 && st->words.items[0] == NULL)
        r = err_set(e, -ENOMEM, "out of memory");
    if (r < 0)
        return r;
    const char *slash = strrchr(interpreter, '/');
    if (strcmp(slash != NULL ? slash + 1 : interpreter, "env") == 0) {
        r = follow_env(t, s, st->host, argument, &st->words, found, e);
    } else {
        snprintf(found, sizeof(found), "%s", interpreter);
        const char *add[] = {found, argument};
        r = words_before(&st->words, add, argument[0] != '\0' ? 2 : 1, e);
    }
    if (r < 0)
        return r;
    if (found[0] != '/' || !is_there(t, found))
        return err_set(e, -ENOENT,
                       "%s: needs the interpreter '%s', which its first line names and which is "
                       "not there%s",
                       st->host, found, found[0] != '/' ? ": give its whole path" : "");
    if (tree_clean(found, true, st->program, sizeof(st->program)) < 0)
        return err_set(e, -ENAMETOOLONG, "%s: the interpreter's name is too long", st->host);
    host_of(t, st->program, st->host, sizeof(st->host));
    st->script = true;
    return 0;
}

/* The beginning of a file that can be executed; its length. */
static int read_start(const char *host, char ret[static START_LINE_MAX], struct err *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = open(host, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, -errno, "%s: %s", host, strerror(errno));
    if (S_ISREG(st.st_mode) && (st.st_mode & S_IXUSR) == 0)
        return err_set(e, -EACCES, "%s: is not executable: chmod +x it", host);
    ssize_t n = S_ISREG(st.st_mode) ? read(fd, ret, START_LINE_MAX) : 0;
    return n < 0 ? err_set(e, -errno, "%s: %s", host, strerror(errno)) : (int)n;
}

int start_find(struct tree *t, const struct image_spec *s, const char *path, struct start *ret,
               struct err *e)
{
    char line[START_LINE_MAX];
    *ret = (struct start){.words = {.max = IMAGE_ARGS_MAX}};
    snprintf(ret->program, sizeof(ret->program), "%s", path);
    if ((size_t)snprintf(ret->host, sizeof(ret->host), "%s", s->program) >= sizeof(ret->host))
        return err_set(e, -ENAMETOOLONG, "%s: name too long", s->program);
    int r = strings_add(&ret->words, path, "arguments", e);
    for (int i = 0; r == 0 && i <= START_DEPTH_MAX; i++) {
        int n = read_start(ret->host, line, e);
        if (n < 2 || line[0] != '#' || line[1] != '!')
            return MIN(n, 0);
        r = follow(t, s, ret, line, (size_t)n, e);
    }
    return r < 0 ? r : err_set(e, -ELOOP, "%s: scripts that name scripts, too deep", s->program);
}

// ---- what interpreters bring along

// %P is the folder above the interpreter's own, %V the digits at the end of its name.
static const struct runtime {
    const char *name; // of the interpreter's file, before the version
    const char *folders[6];
    bool needs_first; // it does not start without the first
} runtimes[] = {
    {"python", {"%P/lib/python%V", "%P/lib/python3/dist-packages"}, true},
    {"perl",
     {"%P/lib/x86_64-linux-gnu/perl-base", "%P/lib/x86_64-linux-gnu/perl", "%P/share/perl",
      "%P/lib/x86_64-linux-gnu/perl5", "%P/share/perl5"},
     false},
    {"ruby",
     {"%P/lib/ruby", "%P/lib/x86_64-linux-gnu/ruby", "%P/share/rubygems-integration"},
     true},
    {"lua", {"%P/share/lua/%V", "%P/lib/x86_64-linux-gnu/lua/%V"}, false},
    {"node",
     {"%P/share/nodejs/acorn", "%P/share/nodejs/acorn-walk", "%P/share/nodejs/cjs-module-lexer",
      "%P/share/nodejs/undici"},
     false},
};

static void expand(const char *pattern, const char *prefix, const char *version, char *ret,
                   size_t max)
{
    size_t n = 0;
    for (const char *p = pattern; *p != '\0' && n + 1 < max; p++) {
        const char *value = p[0] == '%' && p[1] == 'P'   ? prefix
                            : p[0] == '%' && p[1] == 'V' ? version
                                                         : NULL;
        if (value == NULL) {
            ret[n++] = *p;
            continue;
        }
        n += (size_t)snprintf(ret + n, max - n, "%s", value);
        n = MIN(n, max - 1);
        p++;
    }
    ret[n] = '\0';
}

/* Tests and static libraries are for those who build. */
static bool is_skipped(const char *name)
{
    return strcmp(name, "test") == 0 || strncmp(name, "config-", 7) == 0;
}

static int put_runtime(struct tree *t, const struct runtime *rt, const char *real,
                       const char *prefix, const char *version, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rt->folders) && rt->folders[i] != NULL; i++) {
        char folder[TREE_PATH_MAX];
        struct stat st;
        expand(rt->folders[i], prefix, version, folder, sizeof(folder));
        if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
            r = tree_put_dir_but(t, folder, folder, is_skipped, e);
        else if (i == 0 && rt->needs_first)
            r = err_set(e, -ENOENT,
                        "%s: its library is not at %s: name its folder among Dirs and set "
                        "\"Runtime\": false",
                        real, folder);
    }
    return r;
}

int runtime_put(struct tree *t, const char *interpreter, struct err *e)
{
    char real[TREE_PATH_MAX], prefix[TREE_PATH_MAX];
    char *resolved = realpath(interpreter, NULL);
    snprintf(real, sizeof(real), "%s", resolved != NULL ? resolved : interpreter);
    free(resolved);
    const char *name = strrchr(real, '/');
    if (name == NULL)
        return 0;
    snprintf(prefix, sizeof(prefix), "%.*s", (int)(name - real), real);
    char *slash = strrchr(prefix, '/');
    if (slash != NULL)
        *slash = '\0';
    name++;
    for (size_t i = 0; i < ARRAY_LEN(runtimes); i++) {
        size_t len = strlen(runtimes[i].name);
        const char *version = name + len;
        if (strncmp(name, runtimes[i].name, len) == 0 &&
            strspn(version, "0123456789.") == strlen(version))
            return put_runtime(t, &runtimes[i], real, prefix, version, e);
    }
    return 0;
}
