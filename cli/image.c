// SPDX-License-Identifier: Apache-2.0
/* skerry image create|list|inspect|ls|tree|cat|cp|diff|delete */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/look.h"
#include "cli/spec.h"
#include "host/file.h"
#include "host/suggest.h"
#include "image/store.h"

enum { READ_BYTES = 64 * 1024, PATH_BYTES = 4096 };

static const char options_text[] =
    "  create NAME [PROGRAM]   pack a program into an image\n"
    "      -c, --config FILE   what else goes in: config.json\n"
    "      -a, --arg ARG       argument of the program, may repeat\n"
    "      -e, --env K=V       environment variable, may repeat\n"
    "  list                    the images there are\n"
    "  inspect NAME            what an image runs and what it is\n"
    "  ls NAME [PATH]          files of an image\n"
    "  tree NAME [PATH]        all that is in a folder of an image, as a tree\n"
    "  cat NAME PATH           contents of a file of an image\n"
    "  cp NAME:PATH DEST       copy a file or folder of an image to here\n"
    "  diff NAME NAME          what differs from one image to another\n"
    "  delete NAME...          remove images\n"
    "\n"
    "      --json              print as JSON (all but cat)\n";

struct request {
    struct image_store *store;
    struct image_spec *spec;
    bool json;
    int words_n; // after the verb
    char **words;
};

/* The path of an image: a name or digest of the store, or a file. */
static int open_image(struct request *q, const char *ref, struct image_digest *digest,
                      struct image **ret, struct err *e)
{
    char path[PATH_BYTES];
    int r = image_store_resolve(q->store, ref, digest, e);
    r = r < 0 ? r : image_store_path(q->store, digest->text, path, sizeof(path), e);
    return r < 0 ? r : image_open(path, ret, e);
}

static int verb_create(struct request *q, struct err *e)
{
    struct image_digest digest;
    CLEANUP(image_closep) struct image *im = NULL;
    int r = q->words_n > 1 ? image_spec_program(q->spec, q->words[1], e) : 0;
    r = r < 0 ? r : image_store_create(q->store, q->spec, q->words[0], &digest, e);
    r = r < 0 ? r : open_image(q, digest.text, &digest, &im, e);
    if (r < 0)
        return r;
    if (q->json)
        look_print_json(json_pack("{s:s, s:s, s:I}", "name", q->words[0], "digest", digest.text,
                                  "bytes", (json_int_t)im->header.total_bytes));
    else
        printf("%s  %s  %.1f MB\n", q->words[0], digest.text, (double)im->header.total_bytes / 1e6);
    return 0;
}

static void time_text(const struct timespec *when, char ret[static 32])
{
    struct tm tm;
    gmtime_r(&when->tv_sec, &tm);
    strftime(ret, 32, "%FT%TZ", &tm);
}

static int verb_list(struct request *q, struct err *e)
{
    struct image_entry *list = NULL;
    int n = image_store_list(q->store, &list, e);
    json_t *all = json_array();
    if (n > 0 && !q->json)
        printf("%-24s %-20s %10s  %s\n", "NAME", "DIGEST", "BYTES", "CREATED");
    for (int i = 0; i < n; i++) {
        char when[32];
        time_text(&list[i].when, when);
        if (q->json)
            json_array_append_new(all, json_pack("{s:s, s:s, s:I, s:s}", "name", list[i].name,
                                                 "digest", list[i].digest.text, "bytes",
                                                 (json_int_t)list[i].bytes, "created", when));
        else
            printf("%-24s %-.19s  %10llu  %s\n", list[i].name, list[i].digest.text,
                   (unsigned long long)list[i].bytes, when);
    }
    free(list);
    if (n >= 0 && q->json)
        look_print_json(json_incref(all));
    json_decref(all);
    return MIN(n, 0);
}

static json_t *strings_json(const char *const *strings, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_stringn_nocheck(strings[i], strlen(strings[i])));
    return list;
}

/* What the image asks of the machine, without what it does not. */
static json_t *run_json(const struct image_run *run)
{
    json_t *o = json_object();
    if (run->memory != NULL)
        json_object_set_new(o, "memory", json_string(run->memory));
    if (run->cpus != 0)
        json_object_set_new(o, "cpus", json_integer(run->cpus));
    if (run->accel != NULL)
        json_object_set_new(o, "accel", json_string(run->accel));
    if (run->trace)
        json_object_set_new(o, "trace", json_true());
    if (run->written_exec)
        json_object_set_new(o, "written_exec", json_true());
    if (run->no_anonymous_exec)
        json_object_set_new(o, "no_anonymous_exec", json_true());
    if (run->ports_n > 0)
        json_object_set_new(o, "ports", strings_json(run->ports, run->ports_n));
    return o;
}

static int verb_inspect(struct request *q, struct err *e)
{
    struct image_digest digest;
    CLEANUP(image_closep) struct image *im = NULL;
    int r = open_image(q, q->words[0], &digest, &im, e);
    if (r < 0)
        return r;
    const struct image_header *h = &im->header;
    if (q->json) {
        look_print_json(json_pack(
            "{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:o, s:o, s:o}", "name", q->words[0], "digest",
            digest.text, "bytes", (json_int_t)h->total_bytes, "filesystem_bytes",
            (json_int_t)h->erofs_bytes, "files", (json_int_t)im->fs.inodes, "program", im->program,
            "directory", im->cwd, "args", strings_json(im->args, h->argc), "env",
            strings_json(im->envs, h->envc), "run", run_json(&im->run)));
        return 0;
    }
    printf("name       %s\ndigest     %s\nbytes      %llu\nfiles      %llu\nprogram    %s\n"
           "directory  %s\n",
           q->words[0], digest.text, (unsigned long long)h->total_bytes,
           (unsigned long long)im->fs.inodes, im->program, im->cwd);
    for (uint32_t i = 0; i < h->argc; i++)
        printf("arg        %s\n", im->args[i]);
    for (uint32_t i = 0; i < h->envc; i++)
        printf("env        %s\n", im->envs[i]);
    json_t *run = run_json(&im->run);
    char *text = json_object_size(run) > 0 ? json_dumps(run, 0) : NULL;
    if (text != NULL)
        printf("run        %s\n", text);
    free(text);
    json_decref(run);
    return 0;
}

static void print_entry(const struct erofs *fs, const struct erofs_inode *inode, const char *name,
                        json_t *all)
{
    char target[EROFS_SYMLINK_MAX + 1] = "", kind[2] = {look_kind(inode->mode), '\0'};
    if (kind[0] == 'l' && erofs_readlink(fs, inode, target, sizeof(target)) < 0)
        target[0] = '\0';
    if (all != NULL) {
        json_t *entry =
            json_pack("{s:s, s:s, s:i, s:I}", "name", name, "kind", look_kind_text(inode->mode),
                      "mode", inode->mode & 07777, "bytes", (json_int_t)inode->size);
        if (kind[0] == 'l')
            json_object_set_new(entry, "target", json_string(target));
        json_array_append_new(all, entry);
        return;
    }
    printf("%s%04o %10llu  %s%s%s\n", kind, inode->mode & 07777, (unsigned long long)inode->size,
           name, target[0] != '\0' ? " -> " : "", target);
}

static int list_dir(const struct erofs *fs, const struct erofs_inode *dir, json_t *all)
{
    struct erofs_dirent entry;
    struct erofs_inode inode;
    uint64_t offset = 0;
    int r = erofs_dir_next(fs, dir, &offset, &entry);
    for (; r == 1; r = erofs_dir_next(fs, dir, &offset, &entry)) {
        if (strcmp(entry.name, ".") == 0 || strcmp(entry.name, "..") == 0)
            continue;
        r = erofs_inode_read(fs, entry.nid, &inode);
        if (r < 0)
            break;
        print_entry(fs, &inode, entry.name, all);
    }
    return r;
}

static int verb_ls(struct request *q, struct err *e)
{
    struct image_digest digest;
    CLEANUP(image_closep) struct image *im = NULL;
    struct erofs_inode inode;
    const char *path = q->words_n > 1 ? q->words[1] : "/";
    int r = open_image(q, q->words[0], &digest, &im, e);
    if (r < 0)
        return r;
    json_t *all = q->json ? json_array() : NULL;
    r = erofs_walk(&im->fs, path, &inode);
    if (r == 0 && look_kind(inode.mode) == 'd')
        r = list_dir(&im->fs, &inode, all);
    else if (r == 0)
        print_entry(&im->fs, &inode, path, all);
    if (r == 0 && all != NULL)
        look_print_json(json_incref(all));
    json_decref(all);
    return r < 0 ? look_failed(q->words[0], path, r, e) : 0;
}

static int verb_cat(struct request *q, struct err *e)
{
    struct image_digest digest;
    CLEANUP(image_closep) struct image *im = NULL;
    struct erofs_inode inode;
    char buf[READ_BYTES];
    int r = open_image(q, q->words[0], &digest, &im, e);
    if (r < 0)
        return r;
    r = look_find(&im->fs, q->words[1], &inode);
    if (r == 0 && look_kind(inode.mode) == 'd')
        r = -EISDIR;
    int64_t n = 0;
    for (uint64_t at = 0; r == 0 && at < inode.size; at += (uint64_t)n) {
        n = erofs_read(&im->fs, &inode, at, buf, sizeof(buf));
        r = n < 0 ? (int)n : 0;
        int w = r < 0 ? 0 : file_write_all(STDOUT_FILENO, buf, (size_t)n);
        if (w < 0)
            return err_set(e, w, "cannot write to standard output: %s", strerror(-w));
    }
    return r < 0 ? look_failed(q->words[0], q->words[1], r, e) : 0;
}

static int verb_tree(struct request *q, struct err *e)
{
    struct image_digest digest;
    CLEANUP(image_closep) struct image *im = NULL;
    int r = open_image(q, q->words[0], &digest, &im, e);
    return r < 0 ? r : look_tree(im, q->words[0], q->words_n > 1 ? q->words[1] : "/", q->json, e);
}

static int verb_diff(struct request *q, struct err *e)
{
    struct image_digest digest;
    CLEANUP(image_closep) struct image *a = NULL;
    CLEANUP(image_closep) struct image *b = NULL;
    int r = open_image(q, q->words[0], &digest, &a, e);
    r = r < 0 ? r : open_image(q, q->words[1], &digest, &b, e);
    return r < 0 ? r
                 : look_diff(&(struct look_side){a, q->words[0]},
                             &(struct look_side){b, q->words[1]}, q->json, e);
}

static int verb_cp(struct request *q, struct err *e)
{
    struct image_digest digest;
    CLEANUP(image_closep) struct image *im = NULL;
    char *path = q->words[0];
    // A digest has a colon of its own.
    size_t skip = strncmp(path, IMAGE_DIGEST_PREFIX, strlen(IMAGE_DIGEST_PREFIX)) == 0
                      ? strlen(IMAGE_DIGEST_PREFIX)
                      : 0;
    path = strchr(path + skip, ':');
    if (path == NULL || path[1] == '\0')
        return err_set(e, -EINVAL, "'%s': must be IMAGE:PATH", q->words[0]);
    *path++ = '\0';
    int r = open_image(q, q->words[0], &digest, &im, e);
    r = r < 0 ? r : look_copy(im, q->words[0], path, q->words[1], e);
    if (r == 0 && q->json)
        look_print_json(
            json_pack("{s:s, s:s, s:s}", "image", q->words[0], "path", path, "to", q->words[1]));
    return r;
}

static int verb_delete(struct request *q, struct err *e)
{
    int r = 0;
    for (int i = 0; r == 0 && i < q->words_n; i++)
        r = image_store_delete(q->store, q->words[i], e);
    if (r == 0 && q->json) {
        json_t *names = json_array();
        for (int i = 0; i < q->words_n; i++)
            json_array_append_new(names, json_string(q->words[i]));
        look_print_json(json_pack("{s:o}", "deleted", names));
    }
    return r;
}

static const struct verb {
    const char *name;
    int words_min, words_max;
    const char *words;
    bool builds;  // takes -c, -a and -e
    bool differs; // as diff(1): 1 with a difference, 2 after an error
    int (*run)(struct request *q, struct err *e);
} verbs[] = {
    {"create", 1, 2, "NAME [PROGRAM]", true, false, verb_create},
    {"list", 0, 0, "no arguments", false, false, verb_list},
    {"inspect", 1, 1, "NAME", false, false, verb_inspect},
    {"ls", 1, 2, "NAME [PATH]", false, false, verb_ls},
    {"tree", 1, 2, "NAME [PATH]", false, false, verb_tree},
    {"cat", 2, 2, "NAME PATH", false, false, verb_cat},
    {"cp", 2, 2, "NAME:PATH DEST", false, false, verb_cp},
    {"diff", 2, 2, "NAME NAME", false, true, verb_diff},
    {"delete", 1, 1 << 20, "NAME...", false, false, verb_delete},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int no_verb(const char *name)
{
    const char *names[ARRAY_LEN(verbs) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        names[i] = verbs[i].name;
    const char *near = suggest(name, names);
    if (near != NULL)
        return cli_usage("image", "no verb '%s' (did you mean '%s'?)", name, near);
    return cli_usage("image", "no verb '%s'", name);
}

static int act(const struct verb *v, struct request *q)
{
    struct err e;
    int r = image_store_open(NULL, &q->store, &e);
    r = r < 0 ? r : v->run(q, &e);
    image_store_free(q->store);
    if (r < 0 && v->differs) {
        cli_fail(&e);
        return CLI_USAGE;
    }
    return r < 0 ? cli_fail(&e) : r;
}

int cli_image(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"arg", required_argument, NULL, 'a'},
        {"env", required_argument, NULL, 'e'},    {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {0}};
    CLEANUP(image_spec_freep) struct image_spec *spec = NULL;
    struct cli_spec given = {0};
    struct request q = {0};
    struct err e;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":c:a:e:h", options, NULL)) != -1;) {
        if (c == 'h')
            return cli_help("image", options_text);
        if (c == 'j')
            q.json = true;
        else if (!cli_spec_option(&given, c))
            return cli_bad_option("image", c, argv);
    }
    if (optind == argc)
        return cli_usage("image",
                         "a verb is missing: create, list, inspect, ls, tree, cat, cp, diff "
                         "or delete");
    const struct verb *v = find_verb(argv[optind]);
    if (v == NULL)
        return no_verb(argv[optind]);
    q.words = argv + optind + 1;
    q.words_n = argc - optind - 1;
    if (q.words_n < v->words_min || q.words_n > v->words_max)
        return cli_usage("image", "%s takes %s", v->name, v->words);
    if (!v->builds && cli_spec_any(&given))
        return cli_usage("image", "%s takes no -c, -a or -e", v->name);
    if (image_spec_new(&spec, &e) < 0 || (v->builds && cli_spec_apply(&given, spec, &e) < 0))
        return cli_fail(&e);
    q.spec = spec;
    return act(v, &q);
}
