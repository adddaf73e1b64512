// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Unit tests for the host: explicit tables of cases, TAP output (testanything.org, version 13).
 *
 *     static void test_push(struct test *t) { CHECK(t, list_empty(&l)); }
 *     int main(void)
 *     {
 *         static const struct test_case cases[] = {TEST_CASE(test_push)};
 *         return test_main(cases, ARRAY_LEN(cases));
 *     }
 *
 * A failed CHECK ends its case (it returns from the function it stands in). */
#include <stdio.h>
#include <string.h>

#include "base/base.h"

struct test {
    bool failed;
    const char *skip; // reason, when the case cannot run here
};

struct test_case {
    const char *name;
    void (*run)(struct test *t);
};

#define TEST_CASE(fn)                                                                              \
    {                                                                                              \
        .name = #fn, .run = fn                                                                     \
    }

#define CHECK(t, x)                                                                                \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            printf("# %s:%d: failed: %s\n", __FILE__, __LINE__, #x);                               \
            (t)->failed = true;                                                                    \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(t, a, b)                                                                          \
    do {                                                                                           \
        long long check_a_ = (long long)(a), check_b_ = (long long)(b);                            \
        if (check_a_ != check_b_) {                                                                \
            printf("# %s:%d: failed: %s (%lld) == %s (%lld)\n", __FILE__, __LINE__, #a, check_a_,  \
                   #b, check_b_);                                                                  \
            (t)->failed = true;                                                                    \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_STR(t, a, b)                                                                         \
    do {                                                                                           \
        const char *check_a_ = (a), *check_b_ = (b);                                               \
        if (strcmp(check_a_, check_b_) != 0) {                                                     \
            printf("# %s:%d: failed: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #a,          \
                   check_a_, check_b_);                                                            \
            (t)->failed = true;                                                                    \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define SKIP(t, reason)                                                                            \
    do {                                                                                           \
        (t)->skip = (reason);                                                                      \
        return;                                                                                    \
    } while (0)

static inline int test_main(const struct test_case *cases, size_t n)
{
    int failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("TAP version 13\n1..%zu\n", n);
    for (size_t i = 0; i < n; i++) {
        struct test t = {0};
        cases[i].run(&t);
        failed += t.failed;
        printf("%s %zu - %s%s%s\n", t.failed ? "not ok" : "ok", i + 1, cases[i].name,
               t.skip != NULL && !t.failed ? " # SKIP " : "",
               t.skip != NULL && !t.failed ? t.skip : "");
    }
    return failed == 0 ? 0 : 1;
}
