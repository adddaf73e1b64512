// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/ldisc.h"

#include <string.h>

#include "base/test.h"

static struct ldisc l;
static char got[TTY_OUT + 1];

static int type(const char *keys)
{
    int signo = 0;
    for (; *keys != 0; keys++) {
        int r = ldisc_key(&l, (uint8_t)*keys);
        signo = r != 0 ? r : signo;
    }
    return signo;
}

static const char *line(void)
{
    size_t n;
    got[0] = 0;
    if (!ldisc_read(&l, (uint8_t *)got, TTY_IN, &n))
        return "none";
    got[n] = 0;
    return got;
}

static const char *shown(void)
{
    got[ldisc_shown(&l, (uint8_t *)got, TTY_OUT)] = 0;
    return got;
}

static void test_lines(struct test *t)
{
    ldisc_init(&l);
    CHECK_EQ(t, type("ab"), 0);
    CHECK_STR(t, line(), "none");
    CHECK_EQ(t, type("\177c\r"), 0);
    CHECK_EQ(t, ldisc_readable(&l), 3);
    CHECK_STR(t, line(), "ac\n");
    CHECK_STR(t, shown(), "ab\b \bc\r\n");
    CHECK_EQ(t, type("x\004"), 0);
    CHECK_STR(t, line(), "x");
    CHECK_EQ(t, type("\004"), 0);
    CHECK_STR(t, line(), "");
    CHECK_STR(t, line(), "none");
    CHECK_EQ(t, type("a b\027\025z\n"), 0);
    CHECK_STR(t, line(), "z\n");
}

static void test_signals(struct test *t)
{
    ldisc_init(&l);
    CHECK_EQ(t, type("half\003"), 2);
    CHECK_EQ(t, type("\n"), 0);
    CHECK_STR(t, line(), "\n");
    CHECK_EQ(t, type("\034"), 3);
    CHECK_EQ(t, type("\032"), 20);
    CHECK_EQ(t, type("\026\003\n"), 0);
    CHECK_STR(t, line(), "\003\n");
}

/* Whatever is typed and never read, no more is kept than there is room for. */
static void test_full(struct test *t)
{
    ldisc_init(&l);
    for (unsigned i = 0; i < 2 * TTY_IN; i++)
        CHECK_EQ(t, ldisc_key(&l, 'x'), 0);
    CHECK_EQ(t, type("\n"), 0);
    CHECK_EQ(t, strlen(line()), TTY_IN);
    CHECK_EQ(t, strlen(shown()), TTY_IN + 1);
    for (unsigned i = 0; i < 2 * TTY_IN; i++)
        CHECK_EQ(t, ldisc_key(&l, '\n'), 0);
    CHECK_EQ(t, ldisc_readable(&l), TTY_IN);
    struct termios raw = l.t;
    raw.lflag = 0;
    ldisc_set(&l, &raw);
    CHECK(t, !ldisc_key_room(&l));
    CHECK_EQ(t, strlen(line()), TTY_IN);
    CHECK_EQ(t, type("k"), 0);
    CHECK_STR(t, line(), "k");
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_lines),
        TEST_CASE(test_signals),
        TEST_CASE(test_full),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
