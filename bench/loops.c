// SPDX-License-Identifier: Apache-2.0
/* One hot path, N times over; bench_figures.py counts the kernel's instructions of two runs with
 * different N and divides the difference. usage: loops call|pipe|fault|sleep|hello N */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };
static int there[2], back[2];
static long rounds;

static void *answer(void *arg)
{
    char byte;
    (void)arg;
    for (long i = 0; i < rounds; i++)
        if (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1)
            exit(1);
    return NULL;
}

static void ping_pong(void)
{
    pthread_t t;
    char byte = 'x';
    if (pipe(there) != 0 || pipe(back) != 0 || pthread_create(&t, NULL, answer, NULL) != 0)
        exit(1);
    for (long i = 0; i < rounds; i++)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            exit(1);
    pthread_join(t, NULL);
}

static void touch(void)
{
    char *p = mmap(NULL, (size_t)rounds * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (p == MAP_FAILED)
        exit(1);
    madvise(p, (size_t)rounds * PAGE, MADV_NOHUGEPAGE); // where large pages are: one at a time
    for (long i = 0; i < rounds; i++)
        *(volatile char *)(p + i * PAGE) = 1;
    _exit(0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "hello";
    rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    if (strcmp(what, "call") == 0)
        for (long i = 0; i < rounds; i++)
            syscall(SYS_getppid);
    if (strcmp(what, "pipe") == 0)
        ping_pong();
    if (strcmp(what, "fault") == 0)
        touch();
    puts("hello");
    fflush(stdout);
    if (strcmp(what, "sleep") == 0)
        for (;;)
            pause();
    return 0;
}
