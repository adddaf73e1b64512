// SPDX-License-Identifier: Apache-2.0
#include "base/fmt.h"
#include "base/test.h"

// Differential: libc's snprintf must agree byte for byte.
#define SAME(t, ...)                                                                               \
    do {                                                                                           \
        char ours_[128], theirs_[128];                                                             \
        size_t n_ = fmt(ours_, sizeof(ours_), __VA_ARGS__);                                        \
        int m_ = snprintf(theirs_, sizeof(theirs_), __VA_ARGS__);                                  \
        CHECK_STR(t, ours_, theirs_);                                                              \
        CHECK_EQ(t, n_, m_);                                                                       \
    } while (0)

static void test_numbers(struct test *t)
{
    static const long values[] = {0,         1,          -1,         42,       -42,      255,
                                  65535,     2147483647, -2147483647 - 1, 1L << 40, -(1L << 40)};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        long v = values[i];
        SAME(t, "%d|%5d|%-5d|%05d|%+d|% d", (int)v, (int)v, (int)v, (int)v, (int)v, (int)v);
        SAME(t, "%ld|%20ld|%-20ld|%020ld", v, v, v, v);
        SAME(t, "%lx|%#lx|%18lX|%#018lx|%lo|%#lo", (unsigned long)v, (unsigned long)v,
             (unsigned long)v, (unsigned long)v, (unsigned long)v, (unsigned long)v);
        SAME(t, "%.3d|%8.3d|%-8.3d|%.0d", (int)v, (int)v, (int)v, (int)v);
        SAME(t, "%hhd|%hd|%hhu|%hu|%zu", (signed char)v, (short)v, (unsigned char)v,
             (unsigned short)v, (size_t)v);
    }
}

static void test_text(struct test *t)
{
    SAME(t, "%s|%10s|%-10s|%.2s|%.*s|%c|%%", "abc", "abc", "abc", "abc", 1, "abc", 'x');
    SAME(t, "%*d|%-*d|%*s", 6, 42, 6, 42, -6, "ab");
    SAME(t, "%p", (void *)0x1234abcd);
}

static void test_truncation(struct test *t)
{
    char buf[4] = "zzz";
    CHECK_EQ(t, fmt(buf, sizeof(buf), "%s", "hello"), 5);
    CHECK_STR(t, buf, "hel");
    CHECK_EQ(t, fmt(buf, 0, "%s", "hello"), 5);
    CHECK_STR(t, buf, "hel");
    CHECK_EQ(t, fmt(buf, 1, "x"), 1);
    CHECK_STR(t, buf, "");
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_numbers),
        TEST_CASE(test_text),
        TEST_CASE(test_truncation),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
