// SPDX-License-Identifier: Apache-2.0
#include "control/store.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "host/file.h"

struct folder {
    char path[64], db[96];
};

static bool folder_make(struct folder *f)
{
    snprintf(f->path, sizeof(f->path), "/tmp/skerry-store-XXXXXX");
    bool ok = mkdtemp(f->path) != NULL;
    snprintf(f->db, sizeof(f->db), "%s/control.db", f->path);
    return ok;
}

static void folder_remove(struct folder *f)
{
    struct err e;
    if (file_remove_tree(f->path, &e) < 0)
        printf("# %s\n", e.text);
}

static int join(void *ctx, const char *name, const char *value, UNUSED struct err *err)
{
    char *text = ctx;
    size_t len = strlen(text);
    snprintf(text + len, 128 - len, "%s=%s ", name, value);
    return 0;
}

static void test_put_delete_each(struct test *t)
{
    CLEANUP(folder_remove) struct folder f;
    struct store *s = NULL;
    struct err e = {0};
    char text[128] = "";
    CHECK(t, folder_make(&f));
    CHECK_EQ(t, store_open(f.db, &s, &e), 0);
    int r = store_put(s, "app", "b", "1", &e) | store_put(s, "app", "a", "2", &e) |
            store_put(s, "app", "b", "3", &e) | store_put(s, "pop", "x", "4", &e) |
            store_put(s, "app", "c", "5", &e) | store_delete(s, "app", "c", &e) |
            store_delete(s, "app", "absent", &e);
    store_close(s);
    CHECK_EQ(t, r, 0);
    CHECK_EQ(t, store_open(f.db, &s, &e), 0);
    r = store_each(s, "app", join, text, &e);
    store_close(s);
    CHECK_EQ(t, r, 0);
    CHECK_STR(t, text, "a=2 b=3 ");
}

static void test_rollback(struct test *t)
{
    CLEANUP(folder_remove) struct folder f;
    struct store *s = NULL;
    struct err e = {0};
    char text[128] = "";
    CHECK(t, folder_make(&f));
    CHECK_EQ(t, store_open(f.db, &s, &e), 0);
    int r = store_begin(s, &e) | store_put(s, "k", "a", "1", &e);
    store_rollback(s);
    r |= store_begin(s, &e) | store_put(s, "k", "b", "2", &e) | store_commit(s, &e);
    r |= store_each(s, "k", join, text, &e);
    store_close(s);
    CHECK_EQ(t, r, 0);
    CHECK_STR(t, text, "b=2 ");
}

// A child commits, begins more, and is killed: what was committed is there, the rest is not.
static void test_killed_in_a_transaction(struct test *t)
{
    CLEANUP(folder_remove) struct folder f;
    struct store *s = NULL;
    struct err e = {0};
    char text[128] = "";
    CHECK(t, folder_make(&f));
    pid_t child = fork();
    if (child == 0) {
        if (store_open(f.db, &s, &e) == 0 && store_put(s, "k", "kept", "1", &e) == 0 &&
            store_begin(s, &e) == 0 && store_put(s, "k", "lost", "2", &e) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    CHECK(t, child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    CHECK_EQ(t, store_open(f.db, &s, &e), 0);
    int r = store_each(s, "k", join, text, &e);
    store_close(s);
    CHECK_EQ(t, r, 0);
    CHECK_STR(t, text, "kept=1 ");
}

static void test_second_opener_is_refused(struct test *t)
{
    CLEANUP(folder_remove) struct folder f;
    struct store *s = NULL, *other = NULL;
    struct err e = {0};
    CHECK(t, folder_make(&f));
    CHECK_EQ(t, store_open(f.db, &s, &e), 0);
    int r = store_open(f.db, &other, &e);
    store_close(s);
    CHECK_EQ(t, r, -EBUSY);
    CHECK(t, strstr(e.text, "in use by another controller") != NULL);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_put_delete_each), TEST_CASE(test_rollback),
        TEST_CASE(test_killed_in_a_transaction), TEST_CASE(test_second_opener_is_refused)};
    return test_main(cases, ARRAY_LEN(cases));
}
