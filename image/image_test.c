// SPDX-License-Identifier: Apache-2.0
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"
#include "host/fd.h"
#include "host/file.h"
#include "image/elf.h"
#include "image/store.h"
#include "image/tree.h"

static char folder[] = "/tmp/skerry-image-test-XXXXXX";

static const char *at(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % ARRAY_LEN(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static bool put(const char *name, const void *data, size_t len, mode_t mode)
{
    struct err e;
    return file_replace(at(name), data, len, mode, &e) == 0;
}

/* The least static program: ELF header, one program header, some bytes. */
static bool put_program(const char *name, uint8_t last)
{
    uint8_t elf[200] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    elf[16] = 2;  // ET_EXEC
    elf[18] = 62; // EM_X86_64
    elf[32] = 64; // program headers
    elf[54] = 56;
    elf[56] = 1;
    elf[64] = 1; // PT_LOAD
    elf[199] = last;
    return put(name, elf, sizeof(elf), 0755);
}

static int spec_of(const char *program, const char *config, struct image_spec **ret, struct err *e)
{
    int r = image_spec_new(ret, e);
    if (r == 0 && config != NULL) {
        char path[300];
        snprintf(path, sizeof(path), "%s/config.json", folder);
        r = image_spec_config_text(*ret, config, strlen(config), path, e);
    }
    return r == 0 && program != NULL ? image_spec_program(*ret, at(program), e) : r;
}

static void test_clean_paths(struct test *t)
{
    static const struct {
        const char *path, *clean, *clamped;
    } cases[] = {{"a/b", "/a/b", "/a/b"}, {"//a/./b//", "/a/b", "/a/b"},
                 {"a/../b", "/b", "/b"},  {"", "/", "/"},
                 {"../a", NULL, "/a"},    {"/a/../../../b/c", NULL, "/b/c"},
                 {"...", "/...", "/..."}, {"/..a/.b", "/..a/.b", "/..a/.b"}};
    char clean[64];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int r = tree_clean(cases[i].path, false, clean, sizeof(clean));
        CHECK_EQ(t, r, cases[i].clean != NULL ? 0 : -EINVAL);
        if (r == 0)
            CHECK_STR(t, clean, cases[i].clean);
        CHECK_EQ(t, tree_clean(cases[i].path, true, clean, sizeof(clean)), 0);
        CHECK_STR(t, clean, cases[i].clamped);
    }
    CHECK_EQ(t, tree_clean("/12345", false, clean, 7), 0);
    CHECK_EQ(t, tree_clean("/123456", false, clean, 7), -ENAMETOOLONG);
}

static void test_config_errors(struct test *t)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"{\"Agrs\": []}", "unknown key 'Agrs' (did you mean 'Args'?)"},
        {"{\"Args\": \"x\"}", "Args: must be an array, not a string"},
        {"{\"Env\": {\"A\": 1}}", "Env.A: must be a string, not an integer"},
        {"{\"Env\": {\"A=B\": \"\"}}", "Env.A=B: a name may not be empty or hold '='"},
        {"{\"Files\": [\"a\", \"../b\"]}", "Files[1]: '../b' leads out of the image: use MapDirs"},
        {"[]", "must be an object, not an array"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(image_spec_freep) struct image_spec *s = NULL;
        struct err e = {0};
        CHECK(t, spec_of(NULL, cases[i].text, &s, &e) < 0);
        CHECK(t, strncmp(e.text, folder, strlen(folder)) == 0);
        CHECK(t, strstr(e.text, cases[i].wanted) != NULL);
    }
}

static int build(const char *program, const char *config, const char *to,
                 struct image_digest *digest, struct err *e)
{
    CLEANUP(image_spec_freep) struct image_spec *s = NULL;
    CLEANUP(fd_closep) int fd = open(at(to), O_RDWR | O_CREAT | O_TRUNC, 0644);
    int r = spec_of(program, config, &s, e);
    return r < 0 ? r : image_build(s, fd, digest, e);
}

static void test_build_and_open(struct test *t)
{
    CLEANUP(image_closep) struct image *im = NULL;
    struct image_digest digest;
    struct erofs_inode inode;
    struct err e = {0};
    char text[16] = {0};
    CHECK(t, put_program("prog", 1));
    CHECK_EQ(t, mkdir(at("static"), 0700), 0);
    CHECK(t, put("static/index.html", "<html>", 6, 0600));
    CHECK_EQ(t, symlink("index.html", at("static/link")), 0);
    CHECK(t, put("hosts", "mine", 4, 0644));
    CHECK_EQ(t,
             build("prog",
                   "{\"Args\": [\"-v\", \"\"], \"Env\": {\"A\": \"b c\", \"E\": \"\"},"
                   " \"Dirs\": [\"static\"], \"MapDirs\": {\"static/*\": \"/www\"},"
                   " \"Files\": [\"hosts\"]}",
                   "image", &digest, &e),
             0);
    CHECK_EQ(t, image_open(at("image"), &im, &e), 0);
    CHECK_STR(t, im->program, "/prog");
    CHECK_EQ(t, im->header.argc, 3);
    CHECK_STR(t, im->args[0], "/prog");
    CHECK_STR(t, im->args[1], "-v");
    CHECK_STR(t, im->args[2], "");
    CHECK_EQ(t, im->header.envc, 2);
    CHECK_STR(t, im->envs[0], "A=b c");
    CHECK_STR(t, im->envs[1], "E=");
    CHECK_EQ(t, erofs_walk(&im->fs, "/static/index.html", &inode), 0);
    CHECK_EQ(t, inode.mode & 07777, 0644);
    CHECK_EQ(t, erofs_walk(&im->fs, "/www/link", &inode), 0);
    CHECK_EQ(t, erofs_readlink(&im->fs, &inode, text, sizeof(text)), 10);
    CHECK_STR(t, text, "index.html");
    CHECK_EQ(t, erofs_walk(&im->fs, "/prog", &inode), 0);
    CHECK_EQ(t, inode.mode & 07777, 0755);
    CHECK_EQ(t, inode.uid, 0);
    CHECK_EQ(t, erofs_walk(&im->fs, "/hosts", &inode), 0);
    CHECK_EQ(t, erofs_walk(&im->fs, "/etc/passwd", &inode), 0);
    CHECK_EQ(t, erofs_walk(&im->fs, "/tmp", &inode), 0);
    CHECK_EQ(t, inode.mode & 07777, 01777);
}

static void test_contents_alone_count(struct test *t)
{
    struct image_digest a, b, c;
    struct err e = {0};
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 2}};
    CHECK(t, put_program("prog", 1));
    CHECK_EQ(t, build("prog", NULL, "one", &a, &e), 0);
    CHECK_EQ(t, utimensat(AT_FDCWD, at("prog"), old, 0), 0);
    CHECK_EQ(t, chmod(at("prog"), 0700), 0);
    CHECK_EQ(t, build("prog", NULL, "two", &b, &e), 0);
    CHECK_STR(t, a.text, b.text);
    CHECK(t, put_program("prog", 2));
    CHECK_EQ(t, build("prog", NULL, "three", &c, &e), 0);
    CHECK(t, strcmp(a.text, c.text) != 0);
}

static void test_build_refuses(struct test *t)
{
    struct image_digest d;
    struct err e = {0};
    CHECK(t, put("text", "#!\n", 3, 0755));
    CHECK_EQ(t, build("text", NULL, "x", &d, &e), -ENOEXEC);
    CHECK(t, strstr(e.text, "script") != NULL);
    CHECK(t, put("text", "#!/none/sh\n", 11, 0755));
    CHECK_EQ(t, build("text", NULL, "x", &d, &e), -ENOENT);
    CHECK(t, strstr(e.text, "interpreter '/none/sh'") != NULL);
    CHECK(t, put("text", "#!/bin/sh\n", 10, 0644));
    CHECK_EQ(t, build("text", NULL, "x", &d, &e), -EACCES);
    CHECK_EQ(t, build("absent", NULL, "x", &d, &e), -ENOENT);
    CHECK_EQ(t, build(NULL, NULL, "x", &d, &e), -EINVAL);
    CHECK_EQ(t, build(".", NULL, "x", &d, &e), -EISDIR);
    CHECK(t, put_program("prog", 1));
    CHECK_EQ(t, build("prog", "{\"Files\": [\"none\"]}", "x", &d, &e), -ENOENT);
    CHECK(t, strstr(e.text, "/none") != NULL);
    CHECK_EQ(t,
             build("prog", "{\"MapDirs\": {\"prog\": \"/etc\"}, \"Files\": [\"/etc/passwd\"]}", "x",
                   &d, &e),
             -EISDIR);
    CLEANUP(image_closep) struct image *im = NULL;
    CHECK_EQ(t, image_open(at("prog"), &im, &e), -EINVAL);
}

static void test_damaged_image(struct test *t)
{
    CLEANUP(image_closep) struct image *im = NULL;
    struct image_digest d;
    struct err e = {0};
    CHECK(t, put_program("prog", 1));
    CHECK_EQ(t, build("prog", NULL, "image", &d, &e), 0);
    CLEANUP(fd_closep) int fd = open(at("image"), O_RDWR);
    struct image_header h;
    CHECK_EQ(t, pread(fd, &h, sizeof(h), 0), sizeof(h));
    CHECK_EQ(t, pwrite(fd, "X", 1, (off_t)h.manifest_offset + 1), 1);
    CHECK_EQ(t, image_open(at("image"), &im, &e), -EINVAL);
    CHECK(t, strstr(e.text, "damaged manifest") != NULL);
    CHECK_EQ(t, ftruncate(fd, (off_t)h.total_bytes - 512), 0);
    CHECK_EQ(t, image_open(at("image"), &im, &e), -EINVAL);
    CHECK(t, strstr(e.text, "truncated") != NULL);
}

static void test_store(struct test *t)
{
    CLEANUP(image_store_freep) struct image_store *s = NULL;
    CLEANUP(image_spec_freep) struct image_spec *spec = NULL;
    struct image_digest a, b;
    struct image_entry *list = NULL;
    struct err e = {0};
    char path[512];
    CHECK_EQ(t, image_store_open(at("store"), &s, &e), 0);
    CHECK(t, put_program("prog", 7));
    CHECK_EQ(t, spec_of("prog", NULL, &spec, &e), 0);
    CHECK_EQ(t, image_store_create(s, spec, "../x", &a, &e), -EINVAL);
    CHECK_EQ(t, image_store_create(s, spec, "one", &a, &e), 0);
    CHECK_EQ(t, image_store_create(s, spec, "two", &b, &e), 0);
    CHECK_STR(t, a.text, b.text);
    CHECK(t, image_digest_is(a.text));
    CHECK_EQ(t, image_store_list(s, &list, &e), 2);
    CHECK_STR(t, list[1].name, "two");
    free(list);
    CHECK_EQ(t, image_store_delete(s, a.text, &e), -EBUSY);
    CHECK_EQ(t, image_store_delete(s, "one", &e), 0);
    CHECK_EQ(t, image_store_delete(s, "one", &e), -ENOENT);
    CHECK_EQ(t, image_store_resolve(s, "two", &b, &e), 0);
    CHECK_EQ(t, image_store_resolve(s, a.text, &b, &e), 0);
    CHECK_EQ(t, image_store_path(s, a.text, path, sizeof(path), &e), 0);
    CHECK_EQ(t, image_store_delete(s, "two", &e), 0);
    CHECK_EQ(t, access(path, F_OK), -1);
    CHECK_EQ(t, image_store_resolve(s, a.text, &b, &e), -ENOENT);
}

static void test_import(struct test *t)
{
    CLEANUP(image_store_freep) struct image_store *s = NULL;
    CLEANUP(file_freep) char *bytes = NULL;
    struct image_import *im = NULL;
    struct image_digest d;
    struct err e = {0};
    char path[512];
    size_t len;
    CHECK_EQ(t, image_store_open(at("other"), &s, &e), 0);
    CHECK(t, put_program("prog", 8));
    CHECK_EQ(t, build("prog", NULL, "image", &d, &e), 0);
    CHECK_EQ(t, file_read(at("image"), 1 << 20, &bytes, &len, &e), 0);

    CHECK_EQ(t, image_import_begin(s, d.text, &im, &e), 0);
    CHECK_EQ(t, image_import_write(im, bytes, len - 1, &e), 0);
    CHECK_EQ(t, image_import_commit(&im, &e), -EBADMSG);
    CHECK(t, im == NULL);
    CHECK_EQ(t, image_store_path(s, d.text, path, sizeof(path), &e), -ENOENT);

    CHECK_EQ(t, image_import_begin(s, d.text, &im, &e), 0);
    CHECK_EQ(t, image_import_write(im, bytes, 1000, &e), 0);
    CHECK_EQ(t, image_import_write(im, bytes + 1000, len - 1000, &e), 0);
    CHECK_EQ(t, image_import_commit(&im, &e), 0);
    CHECK_EQ(t, image_store_path(s, d.text, path, sizeof(path), &e), 0);
    CHECK_EQ(t, image_import_begin(s, d.text, &im, &e), 1);
    CHECK_EQ(t, image_store_delete(s, d.text, &e), 0);
    CHECK_EQ(t, image_store_delete(s, d.text, &e), -ENOENT);
    image_import_abort(&im);
    CHECK_EQ(t, image_import_begin(s, "sha256:abc", &im, &e), -EINVAL);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_clean_paths),    TEST_CASE(test_config_errors),
        TEST_CASE(test_build_and_open), TEST_CASE(test_contents_alone_count),
        TEST_CASE(test_build_refuses),  TEST_CASE(test_damaged_image),
        TEST_CASE(test_store),          TEST_CASE(test_import),
    };
    struct err e;
    if (mkdtemp(folder) == NULL)
        return 1;
    int r = test_main(cases, ARRAY_LEN(cases));
    return file_remove_tree(folder, &e) < 0 ? 1 : r;
}
