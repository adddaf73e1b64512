// SPDX-License-Identifier: Apache-2.0
/* signalfd: reading, polling, epoll, masks changed, and which members are set. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static void take(const char *what, int fd)
{
    struct signalfd_siginfo s[8];
    ssize_t n = read(fd, s, sizeof(s));
    if (n < 0) {
        show(what, n);
        return;
    }
    printf("%s: %ld\n", what, (long)(n / (long)sizeof(s[0])));
    for (ssize_t i = 0; i < n / (ssize_t)sizeof(s[0]); i++)
        printf("  signal %u code %d from me %d int %d overrun %d\n", s[i].ssi_signo,
               s[i].ssi_code, (int)s[i].ssi_pid == getpid() && s[i].ssi_uid == getuid(),
               s[i].ssi_int, s[i].ssi_overrun > 0);
}

static sigset_t set_of(int a, int b)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, a);
    if (b != 0)
        sigaddset(&s, b);
    return s;
}

static void *sends(void *arg)
{
    kill(getpid(), SIGUSR2);
    return arg;
}

int main(void)
{
    sigset_t all = set_of(SIGUSR1, SIGUSR2), one = set_of(SIGUSR1, 0), none;
    sigaddset(&all, SIGRTMIN);
    sigaddset(&all, SIGALRM);
    sigaddset(&all, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_BLOCK, &all, NULL);
    int fd = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    show_bool("made", fd >= 0);
    printf("flags %x\n", fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE));
    take("nothing", fd);
    raise(SIGUSR1);
    raise(SIGUSR1);
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    show("poll", poll(&p, 1, 0));
    printf("revents %x\n", p.revents);
    take("one of two", fd);
    show("poll", poll(&p, 1, 0));
    union sigval v = {.sival_int = 42};
    sigqueue(getpid(), SIGRTMIN, v);
    v.sival_int = 43;
    sigqueue(getpid(), SIGRTMIN, v);
    kill(getpid(), SIGUSR2);
    take("three", fd);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM,
                          .sigev_value.sival_int = 7};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, &ev, &timer);
    struct itimerspec when = {.it_value.tv_nsec = 1000000};
    timer_settime(timer, 0, &when, NULL);
    show("timer came", poll(&p, 1, 5000));
    take("timer", fd);
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    show("epoll add", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    show("epoll nothing", epoll_wait(ep, &e, 1, 0));
    raise(SIGUSR2);
    show("epoll", epoll_wait(ep, &e, 1, 1000));
    show("epoll edge", epoll_wait(ep, &e, 1, 0));
    take("after epoll", fd);
    show("narrowed", signalfd(fd, &one, 0) == fd);
    raise(SIGUSR2);
    take("not in the mask", fd);
    show("widened", signalfd(fd, &all, 0) == fd);
    take("now it is", fd);
    fcntl(fd, F_SETFL, 0);
    pthread_t t;
    pthread_create(&t, NULL, sends, NULL);
    take("waited", fd);
    pthread_join(t, NULL);
    char small[64];
    show("small", read(fd, small, sizeof(small)));
    show("write", write(fd, small, 1));
    show("seek", lseek(fd, 0, SEEK_SET));
    show("not one", signalfd(0, &all, 0));
    show("bad", signalfd(77, &all, 0));
    show("flags", signalfd(-1, &all, 1));
    show("size", syscall(SYS_signalfd4, -1, &all, 4, 0));
    show("null", syscall(SYS_signalfd4, -1, NULL, 8, 0));
    ssize_t n = readlink("/proc/self/fd/3", small, sizeof(small));
    printf("%.*s\n", (int)n, small);
    raise(SIGUSR1);
    close(fd);
    show("still pending", sigwaitinfo(&one, NULL));
    return 0;
}
