// SPDX-License-Identifier: Apache-2.0
#include "provider/local/status.h"

#include "base/test.h"

static void test_what_guests_say(struct test *t)
{
    static const struct {
        const char *text;
        enum instance_state state;
        int status;
        uint64_t up;
        const char *reason;
    } cases[] = {
        {"", INSTANCE_RUNNING, 0, 0, ""},
        {"up 1234\n", INSTANCE_RUNNING, 0, 1234, ""},
        {"up 0\nexit 7\n", INSTANCE_EXITED, 7, 1, ""},
        {"up 5\nsignal 11\n", INSTANCE_SIGNALED, 11, 5, ""},
        {"panic no \x1b[31mluck\n", INSTANCE_PANICKED, 0, 0, "no ?[31mluck"},
        {"exit 3", INSTANCE_RUNNING, 0, 0, ""}, // not a whole line yet
        {"exit 1\nexit 2\npanic x\n", INSTANCE_EXITED, 1, 0, ""},
        {"exit 256\nexit -1\nexit \nexit 1x\nsignal 65\n", INSTANCE_RUNNING, 0, 0, ""},
        {"exit 99999999999999999999999\nup 99999999999999999999\n", INSTANCE_RUNNING, 0, 0, ""},
        {"ex\nit 3\n\n\nexit 4\n", INSTANCE_EXITED, 4, 0, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct instance_info info = {.status = 77, .text = "old"};
        status_parse(cases[i].text, strlen(cases[i].text), &info);
        CHECK_EQ(t, info.state, cases[i].state);
        CHECK_EQ(t, info.status, cases[i].status);
        CHECK_EQ(t, info.up_micros, cases[i].up);
        CHECK_STR(t, info.text, cases[i].reason);
    }
}

static void test_trace(struct test *t)
{
    static const struct {
        const char *text;
        uint32_t n;
        uint64_t first;
    } cases[] = {
        {"panic x\ntrace ffffffff80101234 ffffffff80105678\n", 2, 0xffffffff80101234},
        {"panic x\ntrace ffffffff80101234\ntrace 1 2 3\n", 1, 0xffffffff80101234},
        {"trace 1\nexit 3\ntrace 1\n", 0, 0},
        {"panic x\ntrace 1 zz 3\n", 1, 1},
        {"panic x\ntrace 12345678123456789\n", 0, 0},
        {"panic x\ntrace  1\n", 0, 0},
        {"panic x\ntrace 1 2 3 4 5 6 7 8 9 a b c d e f 1 2 3 4 5 6 7 8 9 a b c\n",
         INSTANCE_TRACE_MAX, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct instance_info info = {.trace_n = 9};
        status_parse(cases[i].text, strlen(cases[i].text), &info);
        CHECK_EQ(t, info.trace_n, cases[i].n);
        CHECK(t, info.trace_n == 0 || info.trace[0] == cases[i].first);
    }
}

static void test_end_without_a_word(struct test *t)
{
    struct instance_info info = {.pid = 12};
    status_end(&info, "qemu: warning: x\nqemu: no memory\n\n");
    CHECK_EQ(t, info.state, INSTANCE_KILLED);
    CHECK_EQ(t, info.pid, 0);
    CHECK_STR(t, info.text, "qemu: no memory");
    info = (struct instance_info){.state = INSTANCE_EXITED, .pid = 1};
    status_end(&info, "noise\n");
    CHECK_EQ(t, info.state, INSTANCE_EXITED);
    CHECK_STR(t, info.text, "");
    info = (struct instance_info){.pid = 1};
    status_end(&info, "");
    CHECK_STR(t, info.text, "");
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_what_guests_say), TEST_CASE(test_trace),
                                             TEST_CASE(test_end_without_a_word)};
    return test_main(cases, ARRAY_LEN(cases));
}
