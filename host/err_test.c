// SPDX-License-Identifier: Apache-2.0
#include "host/err.h"

#include <errno.h>

#include "base/test.h"

static void test_prefix(struct test *t)
{
    struct err e = {0};
    CHECK_EQ(t, err_set(&e, -ENOENT, "file '%s': not found", "a"), -ENOENT);
    CHECK_EQ(t, err_prefix(&e, "image '%s'", "b"), -ENOENT);
    CHECK_STR(t, e.text, "image 'b': file 'a': not found");
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_prefix)};
    return test_main(cases, ARRAY_LEN(cases));
}
