// SPDX-License-Identifier: Apache-2.0
#include "host/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/test.h"

static void test_run_passes_output_and_status(struct test *t)
{
    struct err err;
    char out[64];
    const char *const argv[] = {"sh", "-c", "echo out; echo err >&2; exit 7", NULL};
    CHECK_EQ(t, proc_run(argv, 5000, out, sizeof(out), &err), 7);
    CHECK_STR(t, out, "out\nerr\n");
}

static void test_long_output_is_cut(struct test *t)
{
    struct err err;
    char out[8];
    const char *const argv[] = {"sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x", NULL};
    CHECK_EQ(t, proc_run(argv, 5000, out, sizeof(out), &err), 0);
    CHECK_STR(t, out, "xxxxxxx");
}

static void test_time_out_kills(struct test *t)
{
    struct err err;
    char out[64];
    const char *const argv[] = {"sh", "-c", "echo begun; exec sleep 100", NULL};
    CHECK_EQ(t, proc_run(argv, 200, out, sizeof(out), &err), -ETIMEDOUT);
    CHECK_STR(t, out, "begun\n");
}

static void test_no_such_program(struct test *t)
{
    struct err err;
    struct proc p;
    const char *const argv[] = {"/no/such/program", NULL};
    struct proc_spec spec = proc_spec_of(argv);
    CHECK_EQ(t, proc_spawn(&spec, &p, &err), -ENOENT);
    CHECK(t, strstr(err.text, "/no/such/program") != NULL);
}

static void test_kill_and_wait(struct test *t)
{
    struct err err;
    struct proc p;
    const char *const argv[] = {"sleep", "100", NULL};
    struct proc_spec spec = proc_spec_of(argv);
    int status = -1;
    CHECK_EQ(t, proc_spawn(&spec, &p, &err), 0);
    CHECK_EQ(t, proc_wait(&p, 0, &status), -ETIMEDOUT);
    CHECK_EQ(t, proc_kill(&p, SIGKILL), 0);
    CHECK_EQ(t, proc_wait(&p, 5000, &status), 0);
    CHECK_EQ(t, status, 128 + SIGKILL);
    CHECK_EQ(t, p.pid, 0);
    CHECK_EQ(t, proc_kill(&p, SIGKILL), -ESRCH);
}

static void test_stop_is_patient_then_not(struct test *t)
{
    struct err err;
    struct proc p;
    const char *const gentle[] = {"sleep", "100", NULL};
    struct proc_spec spec = proc_spec_of(gentle);
    CHECK_EQ(t, proc_spawn(&spec, &p, &err), 0);
    CHECK_EQ(t, proc_stop(&p, 5000), 128 + SIGTERM);
    int fds[2];
    CHECK_EQ(t, pipe2(fds, O_CLOEXEC), 0);
    const char *const deaf[] = {"sh", "-c", "trap '' TERM; echo; while :; do sleep 1; done", NULL};
    spec = proc_spec_of(deaf);
    spec.stdout_fd = fds[1];
    CHECK_EQ(t, proc_spawn(&spec, &p, &err), 0);
    char byte;
    CHECK_EQ(t, read(fds[0], &byte, 1), 1); // the trap is set
    CHECK_EQ(t, proc_stop(&p, 50), 128 + SIGKILL);
    close(fds[0]);
    close(fds[1]);
    CHECK_EQ(t, proc_stop(&p, 50), 0);
}

// Whatever the parent has open, the child sees its standard descriptors and what it was given.
static void test_descriptors(struct test *t)
{
    struct err err;
    int leak = open("/dev/null", O_RDONLY); // deliberately without close-on-exec
    int keep = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char script[128];
    snprintf(script, sizeof(script), "[ ! -e /proc/$$/fd/%d ] && [ -e /proc/$$/fd/%d ]", leak,
             keep);
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct proc_spec spec = proc_spec_of(argv);
    spec.keep_fds[0] = keep;
    spec.keep_fds_len = 1;
    struct proc p;
    int status = -1;
    CHECK_EQ(t, proc_spawn(&spec, &p, &err), 0);
    CHECK_EQ(t, proc_wait(&p, 5000, &status), 0);
    CHECK_EQ(t, status, 0);
    close(leak);
    close(keep);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_run_passes_output_and_status),
        TEST_CASE(test_long_output_is_cut),
        TEST_CASE(test_time_out_kills),
        TEST_CASE(test_no_such_program),
        TEST_CASE(test_kill_and_wait),
        TEST_CASE(test_stop_is_patient_then_not),
        TEST_CASE(test_descriptors),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
