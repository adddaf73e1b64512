// SPDX-License-Identifier: Apache-2.0
/* Pipes, eventfd, timerfd, epoll, poll and select. */
#include <pthread.h>

#include "kernel/sched/timer.h"
#include "kernel/vfs/world_host.h"

enum {
    ADD = 1,
    DEL = 2,
    MOD = 3,
    MS = 1000000,
};
#define ET        (1u << 31)
#define ONESHOT   (1u << 30)
#define EXCLUSIVE (1u << 28)

struct event {
    uint32_t events;
    uint64_t data;
} PACKED;

static int32_t p[2];
static char buf[200000];

static void close_all(void)
{
    (void)SYS(close_range, 0, UINT32_MAX, 0);
}

static int64_t ctl(int64_t ep, int op, int64_t fd, uint32_t events)
{
    struct event e = {events, (uint64_t)fd};
    return SYS(epoll_ctl, (uint64_t)ep, (uint64_t)op, (uint64_t)fd, U(&e));
}

/* Events waiting now: how many; the first one's bits in *ret. */
static int64_t wait_now(int64_t ep, uint32_t *ret)
{
    struct event e[8] = {{0, 0}};
    int64_t n = SYS(epoll_wait, (uint64_t)ep, U(e), 8, 0);
    *ret = e[0].events;
    return n;
}

static void put(int fd, const char *text)
{
    ASSERT(SYS(write, (uint64_t)fd, U(text), strlen(text)) == (int64_t)strlen(text));
}

static void test_pipe(struct test *t)
{
    CHECK_EQ(t, SYS(pipe2, U(p), FILE_NONBLOCK), 0);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 10), -EAGAIN);
    put(p[1], "hello");
    put(p[1], " world");
    int32_t n = 0;
    CHECK_EQ(t, SYS(ioctl, (uint64_t)p[0], 0x541b, U(&n)), 0);
    CHECK_EQ(t, n, 11);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 8), 8);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 8), 3);
    CHECK_EQ(t, SYS(write, (uint64_t)p[1], U(buf), sizeof(buf)), 65536);
    CHECK_EQ(t, SYS(write, (uint64_t)p[1], U(buf), 1), -EAGAIN);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 4095), 4095);
    CHECK_EQ(t, SYS(write, (uint64_t)p[1], U(buf), 1), -EAGAIN); // no slot is free yet
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 1), 1);
    CHECK_EQ(t, SYS(write, (uint64_t)p[1], U(buf), 1), 1);
    CHECK_EQ(t, SYS(fcntl, (uint64_t)p[0], 1032, 0), 65536);
    CHECK_EQ(t, SYS(fcntl, (uint64_t)p[0], 1031, 4096), -EBUSY);
    CHECK_EQ(t, SYS(fcntl, (uint64_t)p[0], 1031, 100000), 131072);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), sizeof(buf)), 61441);
    CHECK_EQ(t, SYS(close, (uint64_t)p[0]), 0);
    CHECK_EQ(t, SYS(write, (uint64_t)p[1], U(buf), 1), -EPIPE);
    CHECK_EQ(t, host_signals_sent(13), 1);
    CHECK_EQ(t, SYS(write, (uint64_t)p[0], U(buf), 1), -EBADF);
    close_all();
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    put(p[1], "tail");
    CHECK_EQ(t, SYS(close, (uint64_t)p[1]), 0);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 10), 4);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 10), 0);
    CHECK_EQ(t, SYS(lseek, (uint64_t)p[0], 0, 0), -ESPIPE);
    CHECK_EQ(t, SYS(pread64, (uint64_t)p[0], U(buf), 1, 0), -ESPIPE);
    close_all();
}

static void test_pipe_packets(struct test *t)
{
    CHECK_EQ(t, SYS(pipe2, U(p), FILE_DIRECT), 0);
    put(p[1], "one");
    put(p[1], "second");
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 2), 2);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 10), 6);
    close_all();
}

static void test_eventfd(struct test *t)
{
    uint64_t n = 3;
    int64_t fd = SYS(eventfd2, 2, FILE_NONBLOCK);
    CHECK_EQ(t, SYS(write, (uint64_t)fd, U(&n), 8), 8);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(&n), 8), 8);
    CHECK_EQ(t, n, 5);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(&n), 8), -EAGAIN);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(&n), 7), -EINVAL);
    n = UINT64_MAX;
    CHECK_EQ(t, SYS(write, (uint64_t)fd, U(&n), 8), -EINVAL);
    n = UINT64_MAX - 1;
    CHECK_EQ(t, SYS(write, (uint64_t)fd, U(&n), 8), 8);
    n = 1;
    CHECK_EQ(t, SYS(write, (uint64_t)fd, U(&n), 8), -EAGAIN);
    int64_t sem = SYS(eventfd2, 2, 1 | FILE_NONBLOCK);
    CHECK_EQ(t, SYS(read, (uint64_t)sem, U(&n), 8), 8);
    CHECK_EQ(t, n, 1);
    CHECK_EQ(t, SYS(read, (uint64_t)sem, U(&n), 8), 8);
    CHECK_EQ(t, SYS(read, (uint64_t)sem, U(&n), 8), -EAGAIN);
    CHECK_EQ(t, SYS(eventfd2, 0, 4), -EINVAL);
    close_all();
}

static void test_timerfd(struct test *t)
{
    uint64_t n = 0;
    int64_t spec[4] = {0, 10 * MS, 0, 25 * MS}, got[4];
    int64_t fd = SYS(timerfd_create, 1, FILE_NONBLOCK);
    CHECK_EQ(t, SYS(timerfd_create, 2, 0), -EINVAL);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(&n), 8), -EAGAIN);
    CHECK_EQ(t, SYS(timerfd_settime, (uint64_t)fd, 0, U(spec), U(got)), 0);
    CHECK(t, got[2] == 0 && got[3] == 0);
    host_advance(20 * MS);
    CHECK_EQ(t, SYS(timerfd_gettime, (uint64_t)fd, U(got)), 0);
    CHECK_EQ(t, got[3], 5 * MS);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(&n), 8), -EAGAIN);
    host_advance(38 * MS); // at 25, 35, 45, 55
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(&n), 8), 8);
    CHECK_EQ(t, n, 4);
    CHECK_EQ(t, SYS(timerfd_gettime, (uint64_t)fd, U(got)), 0);
    CHECK_EQ(t, got[3], 7 * MS);
    spec[1] = 0; // once, at an absolute time that is over
    spec[3] = 1;
    CHECK_EQ(t, SYS(timerfd_settime, (uint64_t)fd, 1, U(spec), 0), 0);
    host_advance(0);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(&n), 8), 8);
    CHECK_EQ(t, n, 1);
    spec[3] = -1;
    CHECK_EQ(t, SYS(timerfd_settime, (uint64_t)fd, 0, U(spec), 0), -EINVAL);
    CHECK_EQ(t, SYS(timerfd_settime, (uint64_t)fd, 4, U(got), 0), -EINVAL);
    close_all();
}

static void test_level(struct test *t)
{
    uint32_t e;
    int64_t ep = SYS(epoll_create1, 0);
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    CHECK_EQ(t, ctl(ep, ADD, p[0], EV_IN), 0);
    CHECK_EQ(t, ctl(ep, ADD, p[0], EV_IN), -EEXIST);
    CHECK_EQ(t, wait_now(ep, &e), 0);
    put(p[1], "x");
    CHECK_EQ(t, wait_now(ep, &e), 1);
    CHECK_EQ(t, e, EV_IN);
    CHECK_EQ(t, wait_now(ep, &e), 1); // still
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 9), 1);
    CHECK_EQ(t, wait_now(ep, &e), 0);
    CHECK_EQ(t, SYS(close, (uint64_t)p[1]), 0);
    CHECK_EQ(t, wait_now(ep, &e), 1);
    CHECK_EQ(t, e, EV_HUP);
    CHECK_EQ(t, ctl(ep, DEL, p[0], 0), 0);
    CHECK_EQ(t, ctl(ep, DEL, p[0], 0), -ENOENT);
    CHECK_EQ(t, wait_now(ep, &e), 0);
    close_all();
}

static void test_edge(struct test *t)
{
    uint32_t e;
    int64_t ep = SYS(epoll_create1, 0);
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    CHECK_EQ(t, ctl(ep, ADD, p[0], EV_IN | EV_OUT | EV_RDHUP | ET), 0);
    CHECK_EQ(t, ctl(ep, ADD, p[1], EV_IN | EV_OUT | ET), 0);
    CHECK_EQ(t, wait_now(ep, &e), 1); // writable, told once
    CHECK_EQ(t, e, EV_OUT);
    CHECK_EQ(t, wait_now(ep, &e), 0);
    put(p[1], "x");
    CHECK_EQ(t, wait_now(ep, &e), 1);
    CHECK_EQ(t, e, EV_IN);
    CHECK_EQ(t, wait_now(ep, &e), 0); // the edge was told
    put(p[1], "y");                   // a new one, though nothing was read
    CHECK_EQ(t, wait_now(ep, &e), 1);
    CHECK_EQ(t, ctl(ep, MOD, p[0], EV_IN | ET), 0); // asks again
    CHECK_EQ(t, wait_now(ep, &e), 1);
    CHECK_EQ(t, wait_now(ep, &e), 0);
    close_all();
}

static void test_oneshot_and_errors(struct test *t)
{
    uint32_t e;
    int64_t ep = SYS(epoll_create1, OPEN_CLOEXEC);
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    CHECK_EQ(t, ctl(ep, ADD, p[0], EV_IN | ONESHOT), 0);
    put(p[1], "x");
    CHECK_EQ(t, wait_now(ep, &e), 1);
    put(p[1], "y");
    CHECK_EQ(t, wait_now(ep, &e), 0); // disabled until MOD
    CHECK_EQ(t, ctl(ep, MOD, p[0], EV_IN | ONESHOT), 0);
    CHECK_EQ(t, wait_now(ep, &e), 1);
    int64_t file = SYS(openat, CWD, U("/etc/passwd"), 0, 0);
    CHECK_EQ(t, ctl(ep, ADD, file, EV_IN), -EPERM);
    CHECK_EQ(t, ctl(ep, ADD, 99, EV_IN), -EBADF);
    CHECK_EQ(t, ctl(99, ADD, p[0], EV_IN), -EBADF);
    CHECK_EQ(t, ctl(p[0], ADD, p[1], EV_IN), -EINVAL);
    CHECK_EQ(t, ctl(ep, ADD, ep, EV_IN), -EINVAL);
    CHECK_EQ(t, ctl(ep, 9, p[1], EV_IN), -EINVAL);
    CHECK_EQ(t, ctl(ep, MOD, p[1], EV_IN), -ENOENT);
    CHECK_EQ(t, ctl(ep, ADD, p[1], EV_OUT | EXCLUSIVE | ONESHOT), -EINVAL);
    CHECK_EQ(t, ctl(ep, ADD, p[1], EV_OUT | EXCLUSIVE), 0);
    CHECK_EQ(t, ctl(ep, MOD, p[1], EV_OUT), -EINVAL);
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(buf), 0, 0), -EINVAL);
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)p[0], U(buf), 1, 0), -EINVAL);
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, 16, 1, 0), -EFAULT);
    CHECK_EQ(t, wait_now(ep, &e), 1); // what could not be told was kept
    CHECK_EQ(t, SYS(epoll_create1, 1), -EINVAL);
    CHECK_EQ(t, SYS(epoll_create, 0), -EINVAL);
    close_all();
}

static void test_nested(struct test *t)
{
    uint32_t e;
    int64_t ep[7];
    for (int i = 0; i < 7; i++)
        ep[i] = SYS(epoll_create1, 0);
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    CHECK_EQ(t, ctl(ep[0], ADD, ep[1], EV_IN), 0);
    CHECK_EQ(t, ctl(ep[1], ADD, ep[2], EV_IN), 0);
    CHECK_EQ(t, ctl(ep[2], ADD, ep[0], EV_IN), -ELOOP);
    CHECK_EQ(t, ctl(ep[2], ADD, p[0], EV_IN), 0);
    CHECK_EQ(t, wait_now(ep[0], &e), 0);
    put(p[1], "x");
    CHECK_EQ(t, wait_now(ep[0], &e), 1);
    CHECK_EQ(t, e, EV_IN);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 1), 1);
    CHECK_EQ(t, wait_now(ep[0], &e), 0);
    put(p[1], "x");
    CHECK_EQ(t, SYS(close, (uint64_t)ep[1]), 0);
    CHECK_EQ(t, wait_now(ep[0], &e), 0);
    close_all();
}

static void test_order_and_max(struct test *t)
{
    struct event e[4];
    int64_t ep = SYS(epoll_create1, 0), fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = SYS(eventfd2, 1, 0);
        CHECK_EQ(t, ctl(ep, ADD, fd[i], EV_IN), 0);
    }
    // Round robin: who was told goes to the back.
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(e), 2, 0), 2);
    CHECK(t, e[0].data == (uint64_t)fd[0] && e[1].data == (uint64_t)fd[1]);
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(e), 2, 0), 2);
    CHECK(t, e[0].data == (uint64_t)fd[2] && e[1].data == (uint64_t)fd[0]);
    close_all();
}

static void test_dup_outlives_close(struct test *t)
{
    uint32_t e;
    int64_t ep = SYS(epoll_create1, 0), fd = SYS(eventfd2, 1, 0);
    CHECK_EQ(t, ctl(ep, ADD, fd, EV_IN), 0);
    int64_t copy = SYS(dup, (uint64_t)fd);
    CHECK_EQ(t, SYS(close, (uint64_t)fd), 0);
    CHECK_EQ(t, wait_now(ep, &e), 1); // the open file is still there
    CHECK_EQ(t, SYS(close, (uint64_t)copy), 0);
    CHECK_EQ(t, wait_now(ep, &e), 0);
    close_all();
}

static void test_timeouts(struct test *t)
{
    struct event e;
    int64_t ep = SYS(epoll_create1, 0);
    uint64_t start = clock_mono_ns();
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(&e), 1, 30), 0);
    CHECK_EQ(t, clock_mono_ns() - start, 30 * MS);
    int64_t ts[2] = {0, 1500};
    CHECK_EQ(t, SYS(epoll_pwait2, (uint64_t)ep, U(&e), 1, U(ts), 0, 0), 0);
    CHECK_EQ(t, clock_mono_ns() - start, 30 * MS + 1500);
    host_signal(true);
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(&e), 1, (uint64_t)-1), -EINTR);
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(&e), 1, 0), 0);
    host_signal(false);
    int64_t spec[4] = {0, 0, 0, 5 * MS}, tfd = SYS(timerfd_create, 1, 0);
    CHECK_EQ(t, ctl(ep, ADD, tfd, EV_IN), 0);
    CHECK_EQ(t, SYS(timerfd_settime, (uint64_t)tfd, 0, U(spec), 0), 0);
    CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(&e), 1, 1000), 1);
    CHECK_EQ(t, SYS(epoll_pwait, (uint64_t)ep, U(&e), 1, 0, U(&e), 4), -EINVAL);
    close_all();
}

static void test_poll_select(struct test *t)
{
    struct {
        int32_t fd;
        int16_t events, revents;
    } f[100] = {{0, 0, 0}};
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    f[0].fd = p[0];
    f[0].events = EV_IN;
    f[1].fd = p[1];
    f[1].events = EV_OUT;
    f[2].fd = 99;
    f[3].fd = -1;
    CHECK_EQ(t, SYS(poll, U(f), 4, 0), 2);
    CHECK(t, f[0].revents == 0 && f[1].revents == EV_OUT && f[2].revents == 0x20);
    CHECK_EQ(t, f[3].revents, 0);
    CHECK_EQ(t, SYS(poll, U(f), 1, 20), 0);
    put(p[1], "x");
    CHECK_EQ(t, SYS(poll, U(f), 1, (uint64_t)-1), 1);
    for (int i = 0; i < 100; i++) {
        f[i].fd = i == 99 ? p[0] : p[1];
        f[i].events = EV_IN;
    }
    CHECK_EQ(t, SYS(poll, U(f), 100, (uint64_t)-1), 1);
    CHECK_EQ(t, f[99].revents, EV_IN);
    uint64_t in[16] = {0}, out[16] = {0};
    in[0] = out[0] = 3;
    CHECK_EQ(t, SYS(select, 2, U(in), U(out), 0, 0), 2);
    CHECK(t, in[0] == 1ull << p[0] && out[0] == 1ull << p[1]);
    in[0] = 1ull << 60;
    CHECK_EQ(t, SYS(select, 61, U(in), 0, 0, 0), -EBADF);
    CHECK_EQ(t, SYS(select, (uint64_t)-1, 0, 0, 0, 0), -EINVAL);
    int64_t tv[2] = {0, 7000};
    uint64_t start = clock_mono_ns();
    CHECK_EQ(t, SYS(select, 0, 0, 0, 0, U(tv)), 0);
    CHECK_EQ(t, clock_mono_ns() - start, 7 * MS);
    host_signal(true);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 1), 1);
    f[0].fd = p[0];
    CHECK_EQ(t, SYS(poll, U(f), 1, (uint64_t)-1), -ERESTART_RESTARTBLOCK);
    host_signal(false);
    close_all();
}

enum { PUMP_BYTES = 4 << 20 };

static void *pump(void *arg)
{
    static char block[10007];
    int fd = *(int *)arg;
    uint64_t done = 0;
    while (done < PUMP_BYTES) {
        uint64_t n = MIN(sizeof(block), PUMP_BYTES - done);
        for (uint64_t i = 0; i < n; i++)
            block[i] = (char)(uint8_t)((done + i) % 251);
        int64_t r = SYS(write, (uint64_t)fd, U(block), n);
        ASSERT(r > 0);
        done += (uint64_t)r;
    }
    ASSERT(SYS(close, (uint64_t)fd) == 0);
    return NULL;
}

/* A writer in another thread; the reader sleeps in epoll. */
static void test_threads(struct test *t)
{
    pthread_t thread;
    struct event e;
    uint64_t done = 0;
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    int64_t ep = SYS(epoll_create1, 0);
    CHECK_EQ(t, ctl(ep, ADD, p[0], EV_IN), 0);
    CHECK_EQ(t, pthread_create(&thread, NULL, pump, &p[1]), 0);
    for (;;) {
        CHECK_EQ(t, SYS(epoll_wait, (uint64_t)ep, U(&e), 1, (uint64_t)-1), 1);
        int64_t n = SYS(read, (uint64_t)p[0], U(buf), 30000);
        if (n == 0)
            break;
        CHECK(t, n > 0);
        for (int64_t i = 0; i < n; i++)
            CHECK_EQ(t, (uint8_t)buf[i], (done + (uint64_t)i) % 251);
        done += (uint64_t)n;
    }
    CHECK_EQ(t, done, PUMP_BYTES);
    CHECK_EQ(t, pthread_join(thread, NULL), 0);
    close_all();
}

static void test_nothing_leaks(struct test *t)
{
    static void (*const again[])(struct test *) = {
        test_pipe,     test_eventfd,     test_timerfd,       test_level,
        test_edge,     test_nested,      test_order_and_max, test_dup_outlives_close,
        test_timeouts, test_poll_select,
    };
    size_t before = host_live();
    for (unsigned i = 0; i < ARRAY_LEN(again); i++) {
        again[i](t);
        CHECK_EQ(t, host_live(), before);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_pipe),
        TEST_CASE(test_pipe_packets),
        TEST_CASE(test_eventfd),
        TEST_CASE(test_timerfd),
        TEST_CASE(test_level),
        TEST_CASE(test_edge),
        TEST_CASE(test_oneshot_and_errors),
        TEST_CASE(test_nested),
        TEST_CASE(test_order_and_max),
        TEST_CASE(test_dup_outlives_close),
        TEST_CASE(test_timeouts),
        TEST_CASE(test_poll_select),
        TEST_CASE(test_threads),
        TEST_CASE(test_nothing_leaks),
    };
    (void)world_init();
    return test_main(cases, ARRAY_LEN(cases));
}
