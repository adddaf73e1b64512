// SPDX-License-Identifier: Apache-2.0
#include "host/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

static char folder[] = "/tmp/skerry-file-test-XXXXXX";
static char path[256];

static const char *at(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int entries(void)
{
    DIR *d = opendir(folder);
    int n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

static void test_replace_and_read(struct test *t)
{
    struct err e = {0};
    CLEANUP(file_freep) char *text = NULL;
    size_t len = 0;
    CHECK_EQ(t, file_replace(at("a"), "one", 3, 0600, &e), 0);
    CHECK_EQ(t, file_replace(at("a"), "seven\0!", 7, 0644, &e), 0);
    CHECK_EQ(t, file_read(at("a"), 7, &text, &len, &e), 0);
    CHECK_EQ(t, len, 7);
    CHECK_EQ(t, memcmp(text, "seven\0!", 8), 0);
    struct stat st;
    CHECK_EQ(t, stat(at("a"), &st), 0);
    CHECK_EQ(t, st.st_mode & 0777, 0644);
    CHECK_EQ(t, entries(), 1);
    CHECK_EQ(t, unlink(at("a")), 0);
}

static void test_read_refuses(struct test *t)
{
    struct err e = {0};
    CLEANUP(file_freep) char *text = NULL;
    size_t len = 0;
    CHECK_EQ(t, file_read(at("absent"), 7, &text, &len, &e), -ENOENT);
    CHECK(t, strstr(e.text, "absent") != NULL);
    CHECK_EQ(t, file_read(folder, 7, &text, &len, &e), -EISDIR);
    CHECK_EQ(t, file_read("/proc/self/status", 7, &text, &len, &e), -EFBIG);
    CHECK_EQ(t, file_read("/proc/self/status", 1 << 20, &text, &len, &e), 0);
    CHECK(t, len > 100);
}

static void test_abort_and_sweep(struct test *t)
{
    struct err e = {0};
    struct file_new f, g;
    CHECK_EQ(t, file_new_open(&f, folder, 0600, &e), 0);
    CHECK_EQ(t, file_new_open(&g, folder, 0600, &e), 0);
    file_new_sweep(folder); // both live
    CHECK_EQ(t, entries(), 2);
    file_new_abort(&f);
    file_new_abort(&f);
    CHECK_EQ(t, entries(), 1);
    close(g.fd); // as if killed
    file_new_sweep(folder);
    CHECK_EQ(t, entries(), 0);
}

// After a commit the descriptor may be another's: abort must not touch it.
static void test_abort_after_commit_closes_nothing(struct test *t)
{
    struct err e = {0};
    struct file_new f;
    CHECK_EQ(t, file_new_open(&f, folder, 0600, &e), 0);
    int number = f.fd;
    CHECK_EQ(t, file_new_commit(&f, at("done"), &e), 0);
    CHECK_EQ(t, dup2(0, number), number);
    file_new_abort(&f);
    CHECK(t, close(number) == 0 && unlink(at("done")) == 0);
}

static void test_trees(struct test *t)
{
    struct err e = {0};
    CHECK_EQ(t, file_mkdirs(at("x/y/z"), 0755, &e), 0);
    CHECK_EQ(t, file_mkdirs(at("x/y/z"), 0755, &e), 0);
    CHECK_EQ(t, file_replace(at("x/y/file"), "", 0, 0600, &e), 0);
    CHECK_EQ(t, file_mkdirs(at("x/y/file"), 0755, &e), -ENOTDIR);
    CHECK_EQ(t, file_mkdirs(at("x/y/file/z"), 0755, &e), -ENOTDIR);
    CHECK_EQ(t, symlink("/etc", at("x/link")), 0);
    CHECK_EQ(t, file_remove_tree(at("x"), &e), 0);
    CHECK_EQ(t, file_remove_tree(at("x"), &e), 0);
    CHECK_EQ(t, entries(), 0);
    CHECK_EQ(t, access("/etc/passwd", R_OK), 0);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_replace_and_read),
        TEST_CASE(test_read_refuses),
        TEST_CASE(test_abort_and_sweep),
        TEST_CASE(test_abort_after_commit_closes_nothing),
        TEST_CASE(test_trees),
    };
    if (mkdtemp(folder) == NULL)
        return 1;
    int r = test_main(cases, ARRAY_LEN(cases));
    rmdir(folder);
    return r;
}
