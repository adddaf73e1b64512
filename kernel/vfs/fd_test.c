// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/fd.h"

#include "kernel/vfs/world_host.h"

static int64_t null_fd(void)
{
    return SYS(openat, CWD, U("/dev/null"), 0, 0);
}

static void test_lowest(struct test *t)
{
    for (int64_t i = 0; i < 1000; i++)
        CHECK_EQ(t, null_fd(), i);
    CHECK_EQ(t, SYS(close, 3), 0);
    CHECK_EQ(t, SYS(close, 700), 0);
    CHECK_EQ(t, SYS(close, 700), -EBADF);
    CHECK_EQ(t, null_fd(), 3);
    CHECK_EQ(t, SYS(dup, 5), 700);
    CHECK_EQ(t, null_fd(), 1000);
    CHECK_EQ(t, SYS(close_range, 0, UINT32_MAX, 0), 0);
    CHECK_EQ(t, SYS(close, 0), -EBADF);
    CHECK_EQ(t, null_fd(), 0);
    CHECK_EQ(t, SYS(close, 0), 0);
}

static void test_dup(struct test *t)
{
    CHECK_EQ(t, null_fd(), 0);
    CHECK_EQ(t, SYS(dup2, 0, 0), 0);
    CHECK_EQ(t, SYS(dup2, 1, 1), -EBADF);
    CHECK_EQ(t, SYS(dup3, 0, 0, 0), -EINVAL);
    CHECK_EQ(t, SYS(dup3, 0, 60000, OPEN_CLOEXEC), 60000);
    CHECK_EQ(t, SYS(fcntl, 60000, 1, 0), 1);
    CHECK_EQ(t, SYS(fcntl, 60000, 2, 0), 0);
    CHECK_EQ(t, SYS(fcntl, 60000, 1, 0), 0);
    CHECK_EQ(t, SYS(fcntl, 0, 0, 50), 50);
    CHECK_EQ(t, SYS(fcntl, 0, 1030, 50), 51);
    CHECK_EQ(t, SYS(fcntl, 51, 1, 0), 1);
    CHECK_EQ(t, SYS(fcntl, 0, 0, FD_LIMIT_MAX), -EINVAL);
    CHECK_EQ(t, SYS(dup2, 0, FD_LIMIT_MAX), -EBADF);
    CHECK_EQ(t, SYS(fcntl, 0, 77, 0), -EINVAL);
    fdtable_close_on_exec(current()->process->files);
    CHECK_EQ(t, SYS(close, 51), -EBADF);
    CHECK_EQ(t, SYS(close, 50), 0);
    CHECK_EQ(t, SYS(close_range, 0, UINT32_MAX, 0), 0);
}

static void test_limit(struct test *t)
{
    fdtable_limit_set(current()->process->files, 4);
    for (int64_t i = 0; i < 4; i++)
        CHECK_EQ(t, null_fd(), i);
    CHECK_EQ(t, null_fd(), -EMFILE);
    int32_t p[2];
    CHECK_EQ(t, SYS(pipe, U(p)), -EMFILE);
    CHECK_EQ(t, SYS(close, 2), 0);
    CHECK_EQ(t, SYS(pipe, U(p)), -EMFILE);
    CHECK_EQ(t, null_fd(), 2); // the half-made pipe gave its descriptor back
    fdtable_limit_set(current()->process->files, FD_LIMIT_DEFAULT);
    CHECK_EQ(t, SYS(close_range, 0, UINT32_MAX, 0), 0);
}

static void test_shared_position(struct test *t)
{
    char c[2];
    CHECK_EQ(t, SYS(openat, CWD, U("/etc/passwd"), 0, 0), 0);
    CHECK_EQ(t, SYS(dup, 0), 1);
    CHECK_EQ(t, SYS(read, 0, U(c), 1), 1);
    CHECK_EQ(t, SYS(read, 1, U(c + 1), 1), 1);
    CHECK(t, c[0] == 'r' && c[1] == 'o');
    CHECK_EQ(t, SYS(fcntl, 0, 4, FILE_NONBLOCK), 0);
    CHECK_EQ(t, SYS(fcntl, 1, 3, 0), FILE_NONBLOCK | OPEN_LARGEFILE);
    CHECK_EQ(t, SYS(close_range, 0, UINT32_MAX, 0), 0);
}

static void test_flock(struct test *t)
{
    enum { SH = 1, EX = 2, NB = 4, UN = 8 };
    CHECK_EQ(t, SYS(openat, CWD, U("/etc/passwd"), 0, 0), 0);
    CHECK_EQ(t, SYS(openat, CWD, U("/etc/passwd"), 0, 0), 1);
    CHECK_EQ(t, SYS(flock, 0, EX), 0);
    CHECK_EQ(t, SYS(flock, 1, SH | NB), -EAGAIN);
    CHECK_EQ(t, SYS(flock, 0, SH), 0);
    CHECK_EQ(t, SYS(flock, 1, SH | NB), 0);
    CHECK_EQ(t, SYS(flock, 0, EX | NB), -EAGAIN);
    CHECK_EQ(t, SYS(flock, 1, UN), 0);
    CHECK_EQ(t, SYS(flock, 0, EX | NB), 0);
    CHECK_EQ(t, SYS(flock, 0, 3), -EINVAL);
    host_signal(true);
    CHECK_EQ(t, SYS(flock, 1, EX), -ERESTARTSYS);
    host_signal(false);
    CHECK_EQ(t, SYS(close, 0), 0); // gives its lock back
    CHECK_EQ(t, SYS(flock, 1, EX | NB), 0);
    CHECK_EQ(t, SYS(close, 1), 0);
}

static void test_record_locks(struct test *t)
{
    struct {
        int16_t type, whence;
        int64_t start, len;
        int32_t pid;
    } l = {.type = 1, .len = 10};
    CHECK_EQ(t, SYS(openat, CWD, U("/etc/passwd"), FILE_RDWR, 0), 0);
    CHECK_EQ(t, SYS(fcntl, 0, 6, U(&l)), 0);
    CHECK_EQ(t, SYS(fcntl, 0, 5, U(&l)), 0);
    CHECK_EQ(t, l.type, 2); // nobody is in the way
    l.type = 9;
    CHECK_EQ(t, SYS(fcntl, 0, 6, U(&l)), -EINVAL);
    l.type = 0;
    l.start = -1;
    CHECK_EQ(t, SYS(fcntl, 0, 6, U(&l)), -EINVAL);
    CHECK_EQ(t, SYS(close, 0), 0);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_lowest),          TEST_CASE(test_dup),   TEST_CASE(test_limit),
        TEST_CASE(test_shared_position), TEST_CASE(test_flock), TEST_CASE(test_record_locks),
    };
    (void)world_init();
    return test_main(cases, ARRAY_LEN(cases));
}
