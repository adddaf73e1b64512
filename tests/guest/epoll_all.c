// SPDX-License-Identifier: Apache-2.0
/* epoll: level and edge, one shot, exclusive, nesting, descriptors that go away, waiting threads.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "fs.h"

static int ep, p[2];

static void begin(void)
{
    ep = epoll_create1(EPOLL_CLOEXEC);
    pipe2(p, O_NONBLOCK);
}

static void end(void)
{
    close(ep);
    close(p[0]);
    close(p[1]);
}

static void ctl(const char *name, int op, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u32 = events};
    show(name, epoll_ctl(ep, op, fd, &e));
}

/* What is there now. */
static void now(const char *name)
{
    struct epoll_event e[8];
    int n = epoll_wait(ep, e, 8, 0);
    printf("%s: %d", name, n);
    for (int i = 0; i < n; i++)
        printf(" %x", e[i].events);
    printf("\n");
}

static void put(int n)
{
    static const char text[10000];
    write(p[1], text, (size_t)n);
}

static void get(int n)
{
    static char text[100000];
    read(p[0], text, (size_t)n);
}

static void level(void)
{
    puts("-- level");
    begin();
    ctl("add", EPOLL_CTL_ADD, p[0], EPOLLIN);
    now("nothing");
    put(1);
    now("data");
    now("data still");
    get(1);
    now("read");
    ctl("mod", EPOLL_CTL_MOD, p[0], EPOLLPRI);
    put(1);
    now("not asked for");
    ctl("mod back", EPOLL_CTL_MOD, p[0], EPOLLIN);
    now("asked again");
    close(p[1]);
    now("hung up");
    get(1);
    now("hung up and empty");
    ctl("mod none", EPOLL_CTL_MOD, p[0], 0);
    now("hang-up comes unasked");
    ctl("del", EPOLL_CTL_DEL, p[0], 0);
    now("deleted");
    end();
}

static void edge(void)
{
    puts("-- edge");
    begin();
    ctl("add reader", EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    ctl("add writer", EPOLL_CTL_ADD, p[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    now("writable");
    now("told");
    put(1);
    now("data");
    now("told");
    put(1);
    now("more data");
    get(1);
    now("some was read");
    get(100);
    now("all was read");
    put(1);
    put(1);
    now("two writes, one event");
    for (int i = 0; i < 20; i++)
        put(10000);
    now("full");
    get(4096);
    now("a page was read");
    get(100000);
    now("emptied");
    ctl("mod", EPOLL_CTL_MOD, p[1], EPOLLOUT | EPOLLET);
    now("mod tells again");
    close(p[0]);
    now("reader gone");
    now("told");
    end();
}

static void one_shot(void)
{
    puts("-- one shot");
    begin();
    ctl("add", EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLONESHOT);
    put(1);
    now("once");
    put(1);
    now("disabled");
    close(p[1]);
    now("also for hang-up");
    ctl("arm", EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT);
    now("armed");
    now("disabled");
    end();
}

static void counters(void)
{
    puts("-- eventfd");
    ep = epoll_create1(0);
    int fd = eventfd(0, EFD_NONBLOCK);
    uint64_t v = 1;
    ctl("add", EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET);
    now("writable");
    write(fd, &v, 8);
    now("written");
    write(fd, &v, 8);
    now("written again");
    read(fd, &v, 8);
    now("read");
    v = UINT64_MAX - 1;
    write(fd, &v, 8);
    now("at its end");
    close(fd);
    now("closed");
    close(ep);
}

static void errors(void)
{
    puts("-- errors");
    begin();
    struct epoll_event e;
    int file = open("/proc/self/exe", O_RDONLY), dir = open("/", O_RDONLY);
    int null = open("/dev/null", O_RDONLY);
    ctl("regular file", EPOLL_CTL_ADD, file, EPOLLIN);
    ctl("folder", EPOLL_CTL_ADD, dir, EPOLLIN);
    ctl("null", EPOLL_CTL_ADD, null, EPOLLIN);
    ctl("closed", EPOLL_CTL_ADD, 99, EPOLLIN);
    ctl("itself", EPOLL_CTL_ADD, ep, EPOLLIN);
    ctl("bad op", 7, p[0], EPOLLIN);
    ctl("del what is not there", EPOLL_CTL_DEL, p[0], 0);
    ctl("mod what is not there", EPOLL_CTL_MOD, p[0], EPOLLIN);
    ctl("add", EPOLL_CTL_ADD, p[0], EPOLLIN);
    ctl("add again", EPOLL_CTL_ADD, p[0], EPOLLIN);
    ctl("exclusive and one shot", EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLEXCLUSIVE | EPOLLONESHOT);
    ctl("exclusive", EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLEXCLUSIVE);
    ctl("mod of an exclusive", EPOLL_CTL_MOD, p[1], EPOLLOUT);
    ctl("mod to exclusive", EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLEXCLUSIVE);
    show("null event", syscall(SYS_epoll_ctl, ep, EPOLL_CTL_MOD, p[0], NULL));
    show("not an epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
    show("wait on no epoll", epoll_wait(p[0], &e, 1, 0));
    show("wait on closed", epoll_wait(99, &e, 1, 0));
    show("wait for none", epoll_wait(ep, &e, 0, 0));
    show("wait for too many", syscall(SYS_epoll_wait, ep, &e, 0x7fffffff, 0));
    put(1);
    show("bad buffer", syscall(SYS_epoll_wait, ep, 16, 8, 0));
    now("nothing was lost");
    show("create flags", epoll_create1(1));
    show("create size", epoll_create(0));
    show("pwait bad size", syscall(SYS_epoll_pwait, ep, &e, 1, 0, &e, 4));
    struct timespec bad = {0, 1000000000};
    show("pwait2 bad time", syscall(SYS_epoll_pwait2, ep, &e, 1, &bad, NULL, 8));
    show("read", read(ep, &e, 1));
    show("write", write(ep, &e, 1));
    show("seek", lseek(ep, 0, SEEK_SET));
    end();
}

static void nesting(void)
{
    puts("-- nesting");
    begin();
    int outer = ep, inner = epoll_create1(0), third = epoll_create1(0);
    ctl("inner in outer", EPOLL_CTL_ADD, inner, EPOLLIN);
    ep = inner;
    ctl("third in inner", EPOLL_CTL_ADD, third, EPOLLIN | EPOLLET);
    ep = third;
    ctl("outer in third", EPOLL_CTL_ADD, outer, EPOLLIN);
    ctl("pipe in third", EPOLL_CTL_ADD, p[0], EPOLLIN);
    ep = outer;
    now("nothing");
    put(1);
    now("outer");
    now("outer again");
    ep = inner;
    now("inner");
    now("inner, edge told");
    ep = outer;
    now("outer, inner has nothing");
    ep = third;
    now("third");
    get(1);
    now("third, read");
    int chain[8];
    for (int i = 0; i < 8; i++)
        chain[i] = epoll_create1(0);
    for (int i = 6; i >= 0; i--) {
        ep = chain[i];
        ctl("chain", EPOLL_CTL_ADD, chain[i + 1], EPOLLIN);
    }
    for (int i = 0; i < 8; i++)
        close(chain[i]);
    close(third);
    close(inner);
    ep = outer;
    now("inner closed");
    end();
}

static void going_away(void)
{
    puts("-- going away");
    begin();
    ctl("add", EPOLL_CTL_ADD, p[0], EPOLLIN);
    put(1);
    int copy = dup(p[0]);
    close(p[0]);
    now("a copy keeps it");
    struct epoll_event e;
    show("del by the closed number", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], &e));
    ctl("add the copy too", EPOLL_CTL_ADD, copy, EPOLLIN);
    now("twice");
    close(copy);
    now("gone");
    p[0] = open("/dev/null", O_RDONLY);
    end();
}

static void order(void)
{
    puts("-- order");
    struct epoll_event e;
    int fd[4];
    ep = epoll_create1(0);
    for (int i = 0; i < 4; i++) {
        fd[i] = eventfd(1, 0);
        e = (struct epoll_event){.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e);
    }
    for (int i = 0; i < 10; i++) {
        epoll_wait(ep, &e, 1, 0);
        printf("%u ", e.data.u32);
    }
    printf("\n");
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    close(ep);
}

static long ms_since(const struct timespec *t)
{
    struct timespec n;
    clock_gettime(CLOCK_MONOTONIC, &n);
    return (n.tv_sec - t->tv_sec) * 1000 + (n.tv_nsec - t->tv_nsec) / 1000000;
}

static void on_alarm(int signo)
{
    (void)signo;
}

static void waiting(void)
{
    puts("-- waiting");
    struct epoll_event e;
    struct timespec t, span = {0, 30000000};
    begin();
    clock_gettime(CLOCK_MONOTONIC, &t);
    show("30 ms", epoll_wait(ep, &e, 1, 30));
    show_bool("long enough", ms_since(&t) >= 29);
    clock_gettime(CLOCK_MONOTONIC, &t);
    show("pwait2 30 ms", syscall(SYS_epoll_pwait2, ep, &e, 1, &span, NULL, 8));
    show_bool("long enough", ms_since(&t) >= 29);
    signal(SIGALRM, on_alarm);
    alarm(1);
    show("signal", epoll_wait(ep, &e, 1, 20000));
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    raise(SIGALRM);
    show("blocked signal", epoll_wait(ep, &e, 1, 10));
    show("unblocked for the wait", epoll_pwait(ep, &e, 1, 10000, &old));
    sigprocmask(SIG_SETMASK, &old, NULL);
    end();
}

enum { THREADS = 4, ROUNDS = 3000 };
static int woken[THREADS];

static void *worker(void *arg)
{
    int me = (int)(intptr_t)arg;
    struct epoll_event e;
    char c;
    for (;;) {
        if (epoll_wait(ep, &e, 1, -1) != 1)
            abort();
        ssize_t n = read(p[0], &c, 1);
        if (n == 0)
            return NULL;
        woken[me] += n == 1;
    }
}

/* Each byte is taken exactly once, by somebody. */
static void threads(void)
{
    puts("-- threads");
    pthread_t t[THREADS];
    begin();
    ctl("add", EPOLL_CTL_ADD, p[0], EPOLLIN);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, worker, (void *)(intptr_t)i);
    for (int i = 0; i < ROUNDS; i++)
        while (write(p[1], "x", 1) != 1)
            sched_yield();
    close(p[1]);
    int total = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        total += woken[i];
    }
    printf("taken %d\n", total);
    close(p[0]);
    close(ep);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    level();
    edge();
    one_shot();
    counters();
    errors();
    nesting();
    going_away();
    order();
    waiting();
    threads();
    return 0;
}
