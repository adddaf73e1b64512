// SPDX-License-Identifier: Apache-2.0
/* eventfd and timerfd. */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

#include "fs.h"

static uint64_t v;

static void value(const char *name, int fd)
{
    v = 77;
    ssize_t n = read(fd, &v, 8);
    if (n == 8)
        printf("%s: %llu\n", name, (unsigned long long)v);
    else
        show(name, n);
}

static void add(const char *name, int fd, uint64_t n)
{
    show(name, write(fd, &n, 8));
}

static int ready(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    poll(&p, 1, 0);
    return p.revents;
}

static void *adder(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        uint64_t one = 1;
        write(*(int *)arg, &one, 8);
    }
    return NULL;
}

static void events(void)
{
    int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
    printf("poll %x\n", ready(fd));
    value("start", fd);
    value("empty", fd);
    printf("poll %x\n", ready(fd));
    add("add", fd, 5);
    add("add", fd, 6);
    value("sum", fd);
    add("too much", fd, UINT64_MAX);
    add("most", fd, UINT64_MAX - 1);
    printf("poll %x\n", ready(fd));
    add("one more", fd, 1);
    add("zero", fd, 0);
    value("most", fd);
    show("short read", read(fd, &v, 7));
    show("short write", write(fd, &v, 7));
    show("pread", pread(fd, &v, 8, 0));
    show("seek", lseek(fd, 0, SEEK_SET));
    show("cloexec", fcntl(fd, F_GETFD));
    show("flags", fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    show("bad flags", eventfd(0, 2));
    close(fd);
    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    value("semaphore", fd);
    value("semaphore", fd);
    value("semaphore", fd);
    close(fd);
    fd = eventfd(0, 0);
    pthread_t t[2];
    pthread_create(&t[0], NULL, adder, &fd);
    pthread_create(&t[1], NULL, adder, &fd);
    uint64_t total = 0;
    while (total < 20000) {
        read(fd, &v, 8);
        total += v;
    }
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    printf("total %llu\n", (unsigned long long)total);
    close(fd);
}

static struct itimerspec every(long first_ms, long interval_ms)
{
    return (struct itimerspec){
        .it_value = {first_ms / 1000, first_ms % 1000 * 1000000},
        .it_interval = {interval_ms / 1000, interval_ms % 1000 * 1000000},
    };
}

static void nap(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void timers(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec s = every(20, 0), old;
    value("not set", fd);
    show("set", timerfd_settime(fd, 0, &s, NULL));
    value("not yet", fd);
    printf("poll %x\n", ready(fd));
    nap(30);
    printf("poll %x\n", ready(fd));
    value("once", fd);
    value("only once", fd);
    show("get", timerfd_gettime(fd, &old));
    printf("left %ld %ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
    s = every(100000, 5000);
    show("set", timerfd_settime(fd, 0, &s, NULL));
    s = every(0, 0);
    show("clear", timerfd_settime(fd, 0, &s, &old));
    show_bool("old value", old.it_value.tv_sec == 99 && old.it_interval.tv_sec == 5);
    s = every(10, 10);
    timerfd_settime(fd, 0, &s, NULL);
    nap(55);
    show_bool("several", read(fd, &v, 8) == 8 && v >= 5);
    timerfd_gettime(fd, &old);
    show_bool("next", old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 10000000);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    s = (struct itimerspec){.it_value = now};
    show("absolute, over", timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, NULL));
    nap(5);
    value("at once", fd);
    s.it_value.tv_nsec = 1000000000;
    show("bad time", timerfd_settime(fd, 0, &s, NULL));
    show("bad flag", timerfd_settime(fd, 8, &old, NULL));
    show("bad pointer", timerfd_settime(fd, 0, NULL, NULL));
    show("short", read(fd, &v, 4));
    show("write", write(fd, &v, 8));
    show("not a timer", timerfd_gettime(0, &old));
    show("closed", timerfd_gettime(99, &old));
    show("no such clock", timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    show("bad create flag", timerfd_create(CLOCK_MONOTONIC, 1));
    close(fd);
    fd = timerfd_create(CLOCK_REALTIME, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_nsec += 30000000;
    if (now.tv_nsec >= 1000000000) {
        now.tv_nsec -= 1000000000;
        now.tv_sec++;
    }
    s = (struct itimerspec){.it_value = now};
    show("absolute, real",
         timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &s, NULL));
    value("blocks until then", fd);
    struct timespec then;
    clock_gettime(CLOCK_REALTIME, &then);
    show_bool("not early", then.tv_sec > now.tv_sec ||
                               (then.tv_sec == now.tv_sec && then.tv_nsec >= now.tv_nsec));
    close(fd);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    events();
    timers();
    return 0;
}
