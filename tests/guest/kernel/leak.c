// SPDX-License-Identifier: Apache-2.0
/* What is taken and given back many times must not cost memory in the end. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 300, PAGE = 4096, ALLOWED_KIB = 256 };

static void *touch(void *arg)
{
    volatile char stack[3 * PAGE];
    for (size_t i = 0; i < sizeof(stack); i += PAGE)
        stack[i] = (char)(uintptr_t)arg;
    return NULL;
}

static void threads(void)
{
    pthread_t t[8];
    for (uintptr_t i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, touch, (void *)i);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
}

static void memory(void)
{
    enum { BYTES = 64 * PAGE };
    char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, BYTES);
    for (int i = 0; i < 64; i += 2)
        mprotect(p + i * PAGE, PAGE, PROT_READ);
    char *moved = mremap(p, PAGE, 9 * PAGE, MREMAP_MAYMOVE);
    if (moved != MAP_FAILED)
        munmap(moved, 9 * PAGE);
    munmap(p, BYTES);
}

static void far_apart(void) // page tables come and go
{
    char *at = (char *)0x100000000000;
    for (int i = 0; i < 4; i++, at += 1ll << 39) {
        char *p = mmap(at, PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == MAP_FAILED)
            exit(1);
        *p = 1;
        munmap(p, PAGE);
    }
}

static void descriptors(void)
{
    int fds[2], e = epoll_create1(0), v = eventfd(0, 0), t = timerfd_create(CLOCK_MONOTONIC, 0);
    struct epoll_event ev = {.events = EPOLLIN};
    epoll_ctl(e, EPOLL_CTL_ADD, v, &ev);
    epoll_ctl(e, EPOLL_CTL_ADD, t, &ev);
    close(v);
    close(t);
    close(e);
    if (pipe(fds) == 0) {
        char data[3000] = {0};
        if (write(fds[1], data, sizeof(data)) < 0)
            exit(1);
        close(fds[0]);
        close(fds[1]);
    }
    int s = socket(AF_INET, SOCK_STREAM, 0);
    close(s);
    int f = open("/tmp/file", O_RDWR | O_CREAT, 0600);
    if (f < 0 || write(f, "x", 1) != 1)
        exit(1);
    close(f);
    unlink("/tmp/file");
}

static void signals(void)
{
    sigset_t set;
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 20; i++)
        sigqueue(getpid(), SIGRTMIN + i % 3, (union sigval){.sival_int = i});
    for (int i = 0; i < 20; i++)
        sigwaitinfo(&set, NULL);
    timer_t t;
    timer_create(CLOCK_MONOTONIC, NULL, &t);
    timer_delete(t);
}

static long free_kib(void)
{
    struct sysinfo s;
    sysinfo(&s);
    return (long)((s.freeram + s.bufferram) * s.mem_unit >> 10);
}

static const struct {
    const char *name;
    void (*run)(void);
} kinds[] = {{"threads", threads},
             {"memory", memory},
             {"far apart", far_apart},
             {"descriptors", descriptors},
             {"signals", signals}};

int main(void)
{
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (int i = 0; i < ROUNDS / 10; i++) // what is kept for the next time
            kinds[k].run();
        long before = free_kib();
        for (int i = 0; i < ROUNDS; i++)
            kinds[k].run();
        long lost = before - free_kib();
        printf("%s: %s\n", kinds[k].name, lost <= ALLOWED_KIB ? "ok" : "leaks");
        if (lost > ALLOWED_KIB)
            printf("%ld KiB gone after %d rounds\n", lost, ROUNDS);
    }
    return 0;
}
