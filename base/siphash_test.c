// SPDX-License-Identifier: Apache-2.0
#include "base/siphash.h"

#include "base/test.h"

// Key 00 01 .. 0f, as in the paper's appendix A.
static const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

static void test_paper_vectors(struct test *t)
{
    uint8_t data[16];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    CHECK(t, siphash(&key, data, 0) == 0x726fdb47dd0e0e31);
    CHECK(t, siphash(&key, data, 8) == 0x93f5f5799a932462);
    CHECK(t, siphash(&key, data, 15) == 0xa129ca6149be45e5);
}

static void test_fast_depends_on_all_input(struct test *t)
{
    uint64_t h = siphash_fast(&key, 1, 2);
    struct siphash_key other = {key.k0, key.k1 ^ 1};
    CHECK(t, h == siphash_fast(&key, 1, 2));
    CHECK(t, h != siphash_fast(&key, 2, 1));
    CHECK(t, h != siphash_fast(&key, 1, 3));
    CHECK(t, h != siphash_fast(&other, 1, 2));
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_paper_vectors),
        TEST_CASE(test_fast_depends_on_all_input),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
