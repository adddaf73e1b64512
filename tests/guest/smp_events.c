// SPDX-License-Identifier: Apache-2.0
/* Pipes, eventfds, epoll, local TCP and signals between threads on several CPUs, all at once:
 * nothing is lost, nothing comes twice. An argument multiplies the rounds. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

enum { ROUNDS = 600, WRITERS = 4, SENDERS = 3, TCP_BYTES = 200000 };

static int scale = 1;

static void start(pthread_t *t, void *(*f)(void *), void *arg)
{
    if (pthread_create(t, NULL, f, arg) != 0)
        abort();
}

// ---- many writers, many readers, one pipe; records stay whole

struct record {
    uint32_t from, number, check[6];
};
static int pipe_fds[2];
static uint64_t pipe_sum, pipe_torn;

static void *pipe_writer(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;
    for (uint32_t i = 1; i <= (uint32_t)(ROUNDS * scale); i++) {
        struct record r = {.from = me, .number = i};
        for (uint32_t k = 0; k < 6; k++)
            r.check[k] = me * 1000003 + i * 17 + k;
        if (write(pipe_fds[1], &r, sizeof(r)) != sizeof(r))
            abort();
    }
    return NULL;
}

static void *pipe_reader(void *arg)
{
    struct record r;
    while (read(pipe_fds[0], &r, sizeof(r)) == sizeof(r)) {
        for (uint32_t k = 0; k < 6; k++)
            if (r.check[k] != r.from * 1000003 + r.number * 17 + k)
                __atomic_fetch_add(&pipe_torn, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&pipe_sum, r.number, __ATOMIC_RELAXED);
    }
    return arg;
}

static void pipes(void)
{
    pthread_t w[WRITERS], r[2];
    if (pipe(pipe_fds) != 0)
        abort();
    for (uintptr_t i = 0; i < WRITERS; i++)
        start(&w[i], pipe_writer, (void *)i);
    for (int i = 0; i < 2; i++)
        start(&r[i], pipe_reader, NULL);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(w[i], NULL);
    close(pipe_fds[1]);
    for (int i = 0; i < 2; i++)
        pthread_join(r[i], NULL);
    uint64_t n = (uint64_t)(ROUNDS * scale);
    printf("pipe: torn %lu, complete %d\n", pipe_torn, pipe_sum == WRITERS * n * (n + 1) / 2);
    close(pipe_fds[0]);
}

// ---- eventfds added to by some threads, drained by others through one epoll

static int events[WRITERS], done_fd, epoll_fd;
static uint64_t drained;

static void *event_writer(void *arg)
{
    for (int i = 0; i < ROUNDS * scale; i++) {
        const uint64_t one = 1;
        if (write(events[(uintptr_t)arg], &one, sizeof(one)) != sizeof(one))
            abort();
    }
    return NULL;
}

static void *event_reader(void *arg)
{
    for (;;) {
        struct epoll_event e[4];
        int n = epoll_wait(epoll_fd, e, 4, -1);
        for (int i = 0; i < n; i++) {
            uint64_t v;
            if (e[i].data.fd == done_fd)
                return arg;
            if (read(e[i].data.fd, &v, sizeof(v)) == sizeof(v))
                __atomic_fetch_add(&drained, v, __ATOMIC_RELAXED);
        }
    }
}

static void epolls(uint32_t flags, const char *name)
{
    pthread_t w[WRITERS], r[2];
    drained = 0;
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < WRITERS; i++) {
        events[i] = eventfd(0, EFD_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN | flags, .data.fd = events[i]};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, events[i], &e) != 0)
            abort();
    }
    for (int i = 0; i < 2; i++)
        start(&r[i], event_reader, NULL);
    for (uintptr_t i = 0; i < WRITERS; i++)
        start(&w[i], event_writer, (void *)i);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(w[i], NULL);
    uint64_t all = (uint64_t)(WRITERS * ROUNDS * scale);
    while (__atomic_load_n(&drained, __ATOMIC_RELAXED) < all)
        usleep(100); // a lost event would leave us here
    done_fd = eventfd(1, EFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = done_fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, done_fd, &e);
    for (int i = 0; i < 2; i++)
        pthread_join(r[i], NULL);
    printf("%s: complete %d\n", name, drained == all);
    for (int i = 0; i < WRITERS; i++)
        close(events[i]);
    close(done_fd);
    close(epoll_fd);
}

// ---- descriptors made and closed by all at once

static uint64_t fd_errors;

static void *open_and_close(void *arg)
{
    for (int i = 0; i < 150 * scale; i++) {
        int p[2], copy;
        char c = 0;
        if (pipe(p) != 0 || (copy = dup(p[1])) < 0 || write(copy, "x", 1) != 1 ||
            read(p[0], &c, 1) != 1 || c != 'x' || close(p[0]) != 0 || close(p[1]) != 0 ||
            close(copy) != 0)
            __atomic_fetch_add(&fd_errors, 1, __ATOMIC_RELAXED);
    }
    return arg;
}

static void descriptors(void)
{
    pthread_t t[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        start(&t[i], open_and_close, NULL);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(t[i], NULL);
    printf("descriptors: errors %lu\n", fd_errors);
}

// ---- signals to threads that compute, sleep and read

static volatile bool over;
static __thread volatile uint64_t got;
static uint64_t got_all;

static void on_signal(int signo)
{
    (void)signo;
    got++;
}

static void *target(void *arg)
{
    uintptr_t kind = (uintptr_t)arg;
    volatile uint64_t spin = 0;
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
        if (kind == 0)
            spin++;
        else if (kind == 1)
            usleep(300);
        else
            getppid();
    }
    getppid(); // what was sent has come when this returns
    __atomic_fetch_add(&got_all, got, __ATOMIC_RELAXED);
    return NULL;
}

struct aim {
    pthread_t *targets;
    uint64_t failed;
};

static void *sender(void *arg)
{
    struct aim *a = arg;
    for (int i = 0; i < ROUNDS * scale; i++) {
        union sigval v = {.sival_int = i};
        while (pthread_sigqueue(a->targets[i % 3], SIGRTMIN, v) != 0)
            usleep(100); // the queue is full
        if (i % 16 == 0)
            sched_yield();
    }
    return NULL;
}

static void signals(void)
{
    pthread_t t[3], s[SENDERS];
    struct aim a = {.targets = t};
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGRTMIN, &act, NULL);
    for (uintptr_t i = 0; i < 3; i++)
        start(&t[i], target, (void *)i);
    for (int i = 0; i < SENDERS; i++)
        start(&s[i], sender, &a);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(s[i], NULL);
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    // Every one was queued, so every one has come, at the latest on the way out of the last call.
    printf("signals: complete %d\n", got_all == (uint64_t)(SENDERS * ROUNDS * scale));
}

// ---- TCP over loopback, several connections at once

static int listener;
static uint64_t tcp_bad;

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static void *tcp_server(void *arg)
{
    int fd = accept(listener, NULL, NULL);
    static __thread uint8_t b[8192];
    size_t at = 0;
    for (ssize_t n; (n = read(fd, b, sizeof(b))) > 0;)
        for (ssize_t i = 0; i < n; i++, at++)
            if (b[i] != byte_at(at))
                __atomic_fetch_add(&tcp_bad, 1, __ATOMIC_RELAXED);
    if (at != TCP_BYTES)
        __atomic_fetch_add(&tcp_bad, 1, __ATOMIC_RELAXED);
    close(fd);
    return arg;
}

static void *tcp_client(void *arg)
{
    struct sockaddr_in *to = arg;
    static __thread uint8_t b[TCP_BYTES];
    for (size_t i = 0; i < TCP_BYTES; i++)
        b[i] = byte_at(i);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)to, sizeof(*to)) != 0)
        abort();
    for (size_t at = 0; at < TCP_BYTES;) {
        ssize_t n = write(fd, b + at, TCP_BYTES - at < 3000 ? TCP_BYTES - at : 3000);
        if (n <= 0)
            abort();
        at += (size_t)n;
    }
    close(fd);
    return NULL;
}

static void tcp(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&a, len) != 0 || listen(listener, 16) != 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) != 0)
        abort();
    for (int r = 0; r < scale; r++) {
        pthread_t s[3], c[3];
        for (int i = 0; i < 3; i++)
            start(&s[i], tcp_server, NULL);
        for (int i = 0; i < 3; i++)
            start(&c[i], tcp_client, &a);
        for (int i = 0; i < 3; i++) {
            pthread_join(c[i], NULL);
            pthread_join(s[i], NULL);
        }
    }
    printf("tcp: wrong %lu\n", tcp_bad);
    close(listener);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        scale = atoi(argv[1]);
    pipes();
    epolls(0, "epoll level");
    epolls(EPOLLET, "epoll edge");
    descriptors();
    signals();
    tcp();
    return 0;
}
