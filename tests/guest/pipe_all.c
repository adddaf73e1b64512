// SPDX-License-Identifier: Apache-2.0
/* Pipes: capacity, atomic writes, ends, sizes, packets, blocking. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

#include "fs.h"

static char buf[1 << 20];

static int readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    poll(&p, 1, 0);
    return p.revents;
}

static void capacity(void)
{
    int p[2], n;
    show("pipe2", pipe2(p, O_NONBLOCK));
    printf("poll %x %x\n", readable(p[0]), readable(p[1]));
    show("empty", read(p[0], buf, 1));
    show("fill", write(p[1], buf, sizeof(buf)));
    show("full", write(p[1], buf, 1));
    printf("poll %x %x\n", readable(p[0]), readable(p[1]));
    show("FIONREAD", ioctl(p[0], FIONREAD, &n));
    printf("%d\n", n);
    show("read a bit", read(p[0], buf, 100));
    show("no room yet", write(p[1], buf, 1));
    printf("poll %x\n", readable(p[1]));
    show("a page is free", read(p[0], buf, 3996));
    show("more than fits, atomic", write(p[1], buf, 4096));
    show("full", write(p[1], buf, 4096));
    read(p[0], buf, 8192);
    show("partial", write(p[1], buf, 10000));
    show("size", fcntl(p[0], F_GETPIPE_SZ));
    show("smaller than it holds", fcntl(p[0], F_SETPIPE_SZ, 4096));
    show("larger", fcntl(p[1], F_SETPIPE_SZ, 200000));
    show("size of a file", fcntl(open("/dev/null", O_RDONLY), F_GETPIPE_SZ));
    show("all", read(p[0], buf, sizeof(buf)));
    show("smallest", fcntl(p[1], F_SETPIPE_SZ, 1));
    show("fill", write(p[1], buf, sizeof(buf)));
    show("seek", lseek(p[0], 0, SEEK_CUR));
    show("pread", pread(p[0], buf, 1, 0));
    show("read of the write end", read(p[1], buf, 1));
    show("write to the read end", write(p[0], buf, 1));
    show("ioctl", ioctl(p[0], 0x1234, 0));
    show("flags", fcntl(p[1], F_GETFL));
    close(p[0]);
    close(p[1]);
    // Small writes share a page: many fit.
    pipe2(p, O_NONBLOCK);
    n = 0;
    while (write(p[1], "0123456789", 10) == 10)
        n++;
    printf("writes of 10: %d\n", n);
    close(p[0]);
    close(p[1]);
}

static volatile sig_atomic_t broken;

static void on_pipe(int signo)
{
    broken += signo == SIGPIPE;
}

static void ends(void)
{
    int p[2];
    signal(SIGPIPE, on_pipe);
    pipe(p);
    write(p[1], "tail", 4);
    close(p[1]);
    printf("poll %x\n", readable(p[0]));
    show("rest", read(p[0], buf, 10));
    show("end", read(p[0], buf, 10));
    printf("poll %x\n", readable(p[0]));
    close(p[0]);
    pipe(p);
    close(p[0]);
    printf("poll %x\n", readable(p[1]));
    show("nobody reads", write(p[1], "x", 1));
    show("SIGPIPE", broken);
    show("nothing to write", write(p[1], "x", 0));
    close(p[1]);
    show("bad flag", pipe2(p, O_APPEND));
    show("bad pointer", pipe((int *)16));
    signal(SIGPIPE, SIG_DFL);
}

static void packets(void)
{
    int p[2];
    show("packets", pipe2(p, O_DIRECT));
    write(p[1], "first", 5);
    write(p[1], "second", 6);
    show("part of one", read(p[0], buf, 3));
    show("the next", read(p[0], buf, 100));
    close(p[0]);
    close(p[1]);
}

enum { WRITERS = 4, RECORDS = 2000, RECORD = 64 };

static void *writer(void *arg)
{
    int *fd = arg;
    char record[RECORD];
    memset(record, 'a' + fd[1], RECORD);
    for (int i = 0; i < RECORDS; i++)
        if (write(fd[0], record, RECORD) != RECORD)
            abort();
    return NULL;
}

static void atomic(void)
{
    pthread_t t[WRITERS];
    int p[2], arg[WRITERS][2], torn = 0, count[WRITERS] = {0};
    pipe(p);
    for (int i = 0; i < WRITERS; i++) {
        arg[i][0] = p[1];
        arg[i][1] = i;
        pthread_create(&t[i], NULL, writer, arg[i]);
    }
    for (int got = 0; got < WRITERS * RECORDS; got++) {
        char r[RECORD];
        for (int n = 0; n < RECORD;)
            n += (int)read(p[0], r + n, (size_t)(RECORD - n));
        for (int k = 1; k < RECORD; k++)
            torn += r[k] != r[0];
        count[r[0] - 'a']++;
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(t[i], NULL);
    printf("torn %d counts %d %d %d %d\n", torn, count[0], count[1], count[2], count[3]);
}

static void *slow_reader(void *arg)
{
    long total = 0, n;
    static char mine[7777];
    while ((n = read(*(int *)arg, mine, sizeof(mine))) > 0)
        for (long i = 0; i < n; i++, total++)
            if ((unsigned char)mine[i] != (unsigned char)(total % 253))
                return "wrong";
    return total == sizeof(buf) ? "all of it" : "too little";
}

static void blocking(void)
{
    pthread_t t;
    int p[2];
    void *said;
    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i % 253);
    pipe(p);
    pthread_create(&t, NULL, slow_reader, &p[0]);
    show("write a megabyte", write(p[1], buf, sizeof(buf)));
    close(p[1]);
    pthread_join(t, &said);
    printf("reader: %s\n", (char *)said);
}

static volatile sig_atomic_t interrupted;
static pthread_t main_thread;

static void on_usr1(int signo)
{
    interrupted += signo == SIGUSR1;
}

/* Interrupt the other thread until it has noticed, then let its read go on. */
static void *interrupter(void *arg)
{
    struct timespec t = {0, 10000000};
    nanosleep(&t, NULL);
    while (!interrupted) {
        pthread_kill(main_thread, SIGUSR1);
        nanosleep(&t, NULL);
    }
    nanosleep(&t, NULL);
    write(*(int *)arg, "x", 1);
    return NULL;
}

static void restarting(void)
{
    int p[2];
    pthread_t t;
    main_thread = pthread_self();
    pipe(p);
    for (int restart = 0; restart < 2; restart++) {
        struct sigaction a = {.sa_handler = on_usr1, .sa_flags = restart ? SA_RESTART : 0};
        sigaction(SIGUSR1, &a, NULL);
        interrupted = 0;
        pthread_create(&t, NULL, interrupter, &p[1]);
        show(restart ? "read with SA_RESTART" : "read", read(p[0], buf, 1));
        pthread_join(t, NULL);
        if (!restart)
            read(p[0], buf, 1);
    }
    // A write that moved something says how much.
    struct sigaction a = {.sa_handler = on_usr1};
    sigaction(SIGUSR1, &a, NULL);
    int nobody[2];
    pipe(nobody);
    interrupted = 0;
    pthread_create(&t, NULL, interrupter, &p[1]);
    show("write, interrupted", write(nobody[1], buf, 100000));
    pthread_join(t, NULL);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    capacity();
    ends();
    packets();
    atomic();
    blocking();
    restarting();
    return 0;
}
