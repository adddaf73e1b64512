// SPDX-License-Identifier: Apache-2.0
/* This program's own file as the kernel, and pieces of it. */
#include "provider/local/symbols.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/test.h"
#include "host/file.h"

static void test_own_file(struct test *t)
{
    struct err e;
    CLEANUP(symbols_freep) struct symbols *s = NULL;
    char name[SYMBOL_NAME_MAX];
    CHECK_EQ(t, symbols_open("/proc/self/exe", &s, &e), 0);
    CHECK(t, !symbols_name(s, 0, name));
    unsigned found = 0;
    for (uint64_t at = 0x1000; at < 0x40000; at += 16) {
        if (symbols_name(s, at, name))
            found += strncmp(name, "test_own_file+0x", 16) == 0;
    }
    CHECK(t, found > 3);
}

/* Cut or changed anywhere, it is read within its bounds (the sanitizers look) or refused. */
static void test_damaged(struct test *t)
{
    struct err e;
    char *bytes, path[] = "/tmp/symbols_test_XXXXXX", name[SYMBOL_NAME_MAX];
    size_t len;
    CHECK_EQ(t, file_read("/proc/self/exe", 64 << 20, &bytes, &len, &e), 0);
    int fd = mkstemp(path);
    unsigned seed = 5, refused = 0;
    for (int i = 0; i < 60; i++) {
        char *copy = malloc(len);
        memcpy(copy, bytes, len);
        for (int k = 0; k < 20; k++) {
            seed = seed * 1103515245u + 12345u;
            // Mostly in the header and the section headers at the end.
            size_t at = seed % 3 ? (seed >> 8) % 64 : len - 1 - (seed >> 8) % 2048;
            copy[at] = (char)(seed >> 24);
        }
        size_t cut = i % 3 ? len : (seed >> 4) % len;
        CHECK(t, ftruncate(fd, 0) == 0 && pwrite(fd, copy, cut, 0) == (ssize_t)cut);
        free(copy);
        CLEANUP(symbols_freep) struct symbols *s = NULL;
        if (symbols_open(path, &s, &e) == 0)
            (void)symbols_name(s, seed, name);
        else
            refused++;
    }
    close(fd);
    unlink(path);
    free(bytes);
    CHECK(t, refused > 10);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_own_file), TEST_CASE(test_damaged)};
    return test_main(cases, ARRAY_LEN(cases));
}
