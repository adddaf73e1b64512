// SPDX-License-Identifier: Apache-2.0
#include "control/console.h"

#include <stdlib.h>

#include "base/test.h"

static void add(struct console *c, uint64_t offset, const char *text)
{
    console_add(c, offset, text, strlen(text));
}

static void test_last_lines(struct test *t)
{
    CLEANUP(console_deinit) struct console c = {0};
    char out[64];
    console_last_lines(&c, 3, out, sizeof(out));
    CHECK_STR(t, out, "");
    add(&c, 0, "one\ntwo\nthree\n");
    console_last_lines(&c, 2, out, sizeof(out));
    CHECK_STR(t, out, "two\nthree\n");
    console_last_lines(&c, 9, out, sizeof(out));
    CHECK_STR(t, out, "one\ntwo\nthree\n");
    console_last_lines(&c, 9, out, 9); // what fits, the newest
    CHECK_STR(t, out, "o\nthree\n");
    add(&c, 14, "four");
    console_last_lines(&c, 1, out, sizeof(out));
    CHECK_STR(t, out, "four");
}

static void test_offsets(struct test *t)
{
    CLEANUP(console_deinit) struct console c = {0};
    char out[64];
    add(&c, 0, "abc\n");
    add(&c, 2, "c\ndef\n"); // overlaps: what is known is skipped
    console_last_lines(&c, 9, out, sizeof(out));
    CHECK_STR(t, out, "abc\ndef\n");
    add(&c, 0, "abc\n"); // all of it is
    CHECK_EQ(t, console_end(&c), 8);
    add(&c, 100, "gap\n"); // a gap: only the new text is whole
    console_last_lines(&c, 9, out, sizeof(out));
    CHECK_STR(t, out, "gap\n");
    CHECK_EQ(t, console_end(&c), 104);
    add(&c, 50, "again\n"); // a step back
    CHECK_EQ(t, console_end(&c), 56);
}

static void test_bound(struct test *t)
{
    CLEANUP(console_deinit) struct console c = {0};
    size_t len = CONSOLE_MAX + 1000;
    char *big = malloc(len), out[8];
    CHECK(t, big != NULL);
    memset(big, 'x', len);
    big[len - 1] = '\n';
    console_add(&c, 0, big, len);
    bool ok = c.len == CONSOLE_MAX && console_end(&c) == len;
    console_add(&c, len, big, 500);
    ok = ok && c.len == CONSOLE_MAX && console_end(&c) == len + 500;
    free(big);
    CHECK(t, ok);
    console_last_lines(&c, 1, out, sizeof(out));
    CHECK_EQ(t, strlen(out), 7);
}

static void test_read_whole_lines(struct test *t)
{
    CLEANUP(console_deinit) struct console c = {0};
    uint64_t at = 0;
    const char *text;
    CHECK_EQ(t, console_read(&c, &at, &text), 0);
    add(&c, 0, "one\ntw");
    CHECK_EQ(t, console_read(&c, &at, &text), 4);
    CHECK(t, memcmp(text, "one\n", 4) == 0 && at == 4);
    CHECK_EQ(t, console_read(&c, &at, &text), 0);
    add(&c, 6, "o\n");
    CHECK_EQ(t, console_read(&c, &at, &text), 4);
    CHECK(t, memcmp(text, "two\n", 4) == 0);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_last_lines), TEST_CASE(test_offsets),
                                             TEST_CASE(test_bound),
                                             TEST_CASE(test_read_whole_lines)};
    return test_main(cases, ARRAY_LEN(cases));
}
