// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include "base/test.h"

static void test_lengths(struct test *t)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
        {"a", 1},     {"\xc3\xa9", 2},         {"\xe2\x82\xac", 3},     {"\xf0\x9f\x98\x80", 4},
        {"\x80", 0},  {"\xc0\x80", 0},         {"\xc1\xbf", 0},         {"\xc3", 0},
        {"\xc3z", 0}, {"\xe0\x9f\xbf", 0},     {"\xed\xa0\x80", 0},     {"\xf0\x8f\xbf\xbf", 0},
        {"\xff", 0},  {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xe2\x82", 0},
        {"", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_EQ(t, utf8_len((const unsigned char *)cases[i].text, strlen(cases[i].text)),
                 cases[i].len);
}

// Against the definition: every code point, encoded by the book, is taken whole.
static void test_all_code_points(struct test *t)
{
    for (uint32_t c = 0x80; c < 0x110000; c++) {
        unsigned char b[4];
        size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n; i-- > 1;)
            b[i] = (unsigned char)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
        b[0] = (unsigned char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c >> (6 * (n - 1)));
        bool surrogate = c >= 0xd800 && c < 0xe000;
        CHECK_EQ(t, utf8_len(b, n), surrogate ? 0 : n);
    }
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_lengths),
                                             TEST_CASE(test_all_code_points)};
    return test_main(cases, ARRAY_LEN(cases));
}
