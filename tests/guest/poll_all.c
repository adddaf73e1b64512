// SPDX-License-Identifier: Apache-2.0
/* poll, ppoll, select, pselect6: results, bounds, time, signals. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "fs.h"

static int p[2];
static struct timespec mark;

static void start(void)
{
    clock_gettime(CLOCK_MONOTONIC, &mark);
}

static bool passed(long ms)
{
    struct timespec n;
    clock_gettime(CLOCK_MONOTONIC, &n);
    return (n.tv_sec - mark.tv_sec) * 1000 + (n.tv_nsec - mark.tv_nsec) / 1000000 >= ms;
}

static void polling(void)
{
    struct pollfd f[4] = {
        {p[0], POLLIN, 0}, {p[1], POLLOUT | POLLIN, 0}, {99, POLLIN, 0}, {-1, 1, 7}};
    show("poll", poll(f, 4, -1));
    for (int i = 0; i < 4; i++)
        printf("%x ", f[i].revents);
    printf("\n");
    start();
    show("time out", poll(f, 1, 30));
    show_bool("long enough", passed(29));
    write(p[1], "x", 1);
    show("data", poll(f, 1, 1000));
    show("nothing to poll", poll(NULL, 0, 10));
    show("bad pointer", poll((struct pollfd *)16, 1, 0));
    struct rlimit l;
    getrlimit(RLIMIT_NOFILE, &l);
    struct rlimit low = {10, l.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    static struct pollfd many[11];
    show("more than the limit", poll(many, 11, 0));
    setrlimit(RLIMIT_NOFILE, &l);
    int file = open("/proc/self/exe", O_RDONLY);
    f[0] = (struct pollfd){file, POLLIN | POLLOUT | POLLPRI, 0};
    show("a file", poll(f, 1, -1));
    printf("%x\n", f[0].revents);
    char c;
    read(p[0], &c, 1);
    close(file);
}

static void on_alarm(int signo)
{
    (void)signo;
}

static void ppolling(void)
{
    struct pollfd f = {p[0], POLLIN, 0};
    struct timespec t = {0, 20000000}, bad = {0, 1000000000}, none = {0, 0}, far = {10, 0};
    sigset_t all, old;
    start();
    show("ppoll", syscall(SYS_ppoll, &f, 1, &t, NULL, 8));
    show_bool("long enough", passed(19));
    printf("left %ld %ld\n", (long)t.tv_sec, t.tv_nsec);
    show("bad time", syscall(SYS_ppoll, &f, 1, &bad, NULL, 8));
    show("at once", syscall(SYS_ppoll, &f, 1, &none, NULL, 8));
    show("bad mask size", syscall(SYS_ppoll, &f, 1, &none, &all, 4));
    signal(SIGALRM, on_alarm);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    raise(SIGALRM);
    show("pending, let in", syscall(SYS_ppoll, &f, 1, &far, &old, 8));
    show_bool("time is left", far.tv_sec >= 9);
    sigprocmask(SIG_SETMASK, &old, NULL);
    alarm(1);
    show("interrupted", poll(&f, 1, 20000));
}

static void selecting(void)
{
    fd_set in, out, ex;
    struct timeval tv = {0, 25000};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&ex);
    FD_SET(p[0], &in);
    FD_SET(p[1], &out);
    FD_SET(p[0], &ex);
    int n = p[1] + 1;
    show("select", select(n, &in, &out, &ex, NULL));
    printf("%d %d %d\n", FD_ISSET(p[0], &in) != 0, FD_ISSET(p[1], &out) != 0,
           FD_ISSET(p[0], &ex) != 0);
    FD_ZERO(&in);
    FD_SET(p[0], &in);
    start();
    show("time out", select(n, &in, NULL, NULL, &tv));
    show_bool("long enough", passed(24));
    printf("left %ld %ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
    show_bool("cleared", !FD_ISSET(p[0], &in));
    FD_ZERO(&in);
    FD_SET(p[0], &in);
    FD_SET(p[0], &ex);
    write(p[1], "x", 1);
    show("both sets", select(n, &in, NULL, &ex, NULL));
    close(dup2(p[0], 99)); // the table now reaches that far: Linux does not look beyond it
    FD_ZERO(&in);
    FD_SET(99, &in);
    show("closed", select(100, &in, NULL, NULL, &tv));
    show("beyond n", select(99, &in, NULL, NULL, &tv));
    show("negative", syscall(SYS_select, -1, NULL, NULL, NULL, NULL));
    tv = (struct timeval){-1, 0};
    show("negative time", syscall(SYS_select, 0, NULL, NULL, NULL, &tv));
    tv = (struct timeval){0, 1500000};
    start();
    show("microseconds carry", syscall(SYS_select, 0, NULL, NULL, NULL, &tv));
    show_bool("long enough", passed(1499));
    show("bad pointer", syscall(SYS_select, 1, 16, NULL, NULL, NULL));
    struct timespec t = {0, 1000};
    struct {
        void *mask;
        size_t size;
    } sig = {NULL, 8};
    show("pselect6", syscall(SYS_pselect6, 0, NULL, NULL, NULL, &t, &sig));
    sig.mask = &in;
    sig.size = 3;
    show("pselect6 bad mask", syscall(SYS_pselect6, 0, NULL, NULL, NULL, &t, &sig));
    char c;
    read(p[0], &c, 1);
}

static void *later(void *arg)
{
    (void)arg;
    struct timespec t = {0, 20000000};
    nanosleep(&t, NULL);
    write(p[1], "x", 1);
    return NULL;
}

static void waking(void)
{
    pthread_t t;
    struct pollfd f[70];
    for (int i = 0; i < 70; i++)
        f[i] = (struct pollfd){p[i == 69 ? 0 : 1], POLLIN, 0};
    pthread_create(&t, NULL, later, NULL);
    show("woken among many", poll(f, 70, -1));
    printf("%x\n", f[69].revents);
    pthread_join(t, NULL);
    char c;
    read(p[0], &c, 1);
    pthread_create(&t, NULL, later, NULL);
    fd_set in;
    FD_ZERO(&in);
    FD_SET(p[0], &in);
    show("woken in select", select(p[1] + 1, &in, NULL, NULL, NULL));
    pthread_join(t, NULL);
    read(p[0], &c, 1);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    pipe(p);
    polling();
    ppolling();
    selecting();
    waking();
    return 0;
}
