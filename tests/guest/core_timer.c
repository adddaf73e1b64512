// SPDX-License-Identifier: Apache-2.0
/* POSIX and interval timers: what arrives, in which order, with which value; what is refused. */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static const long MS = 1000000;

static timer_t make(clockid_t clock, int signo, int value)
{
    timer_t t;
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};
    e.sigev_value.sival_int = value;
    show_ok("create", timer_create(clock, &e, &t));
    return t;
}

static void set(timer_t t, int flags, long ns, long interval_ns)
{
    const struct itimerspec s = {{0, interval_ns}, {ns / 1000000000, ns % 1000000000}};
    show_ok("set", timer_settime(t, flags, &s, NULL));
}

static void await(const sigset_t *s)
{
    siginfo_t info;
    int signo = sigwaitinfo(s, &info);
    printf("signal %d code %d value %d\n", signo, info.si_code, info.si_value.sival_int);
}

static void refused(timer_t good)
{
    timer_t t;
    struct sigevent bad = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 99};
    struct itimerspec s = {{0, 0}, {0, 1000000000}};
    show("bad clock", syscall(SYS_timer_create, 77, NULL, &t));
    show("bad signal", syscall(SYS_timer_create, CLOCK_MONOTONIC, &bad, &t));
    bad.sigev_notify = 17;
    show("bad notify", syscall(SYS_timer_create, CLOCK_MONOTONIC, &bad, &t));
    show("bad time", timer_settime(good, 0, &s, NULL));
    show("bad id", syscall(SYS_timer_gettime, 1000, &s));
    show("bad address", syscall(SYS_timer_gettime, good, 8));
    show("delete", timer_delete(good));
    show("deleted", syscall(SYS_timer_getoverrun, 0));
}

static void interval_timer(const sigset_t *set_)
{
    struct itimerval v = {{0, 0}, {0, 5000}}, old;
    show_ok("setitimer", setitimer(ITIMER_REAL, &v, NULL));
    await(set_);
    show_ok("getitimer", getitimer(ITIMER_REAL, &old));
    printf("left %ld.%06ld\n", (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);
    v.it_value.tv_sec = 1000;
    setitimer(ITIMER_REAL, &v, NULL);
    printf("alarm had %u\n", alarm(0));
    v.it_value.tv_usec = 1000000;
    show("bad interval", setitimer(ITIMER_REAL, &v, NULL));
}

static volatile sig_atomic_t profiled;

static void on_prof(int signo)
{
    (void)signo;
    profiled++;
}

/* The clock of a profiler runs with the work that is done, not with time. */
static void profile(void)
{
    struct itimerval v = {{0, 4000}, {0, 4000}}, none = {{0, 0}, {0, 0}};
    signal(SIGPROF, on_prof);
    show_ok("setitimer PROF", setitimer(ITIMER_PROF, &v, NULL));
    struct timespec t;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    while (profiled < 3 && t.tv_sec < 5);
    show_bool("profiled", profiled >= 3);
    setitimer(ITIMER_PROF, &none, &v);
    printf("interval %ld\n", (long)v.it_interval.tv_usec);
    sig_atomic_t before = profiled;
    v.it_value.tv_usec = 100000;
    setitimer(ITIMER_PROF, &v, NULL);
    nanosleep(&(struct timespec){0, 150 * MS}, NULL);
    show_bool("not while asleep", profiled == before);
    setitimer(ITIMER_PROF, &none, NULL);
}

int main(void)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGALRM);
    sigaddset(&s, SIGRTMIN);
    sigaddset(&s, SIGUSR1);
    sigprocmask(SIG_BLOCK, &s, NULL);

    timer_t first = make(CLOCK_MONOTONIC, SIGRTMIN, 11), second = make(CLOCK_REALTIME, SIGUSR1, 22);
    set(first, 0, 30 * MS, 0);
    set(second, 0, 5 * MS, 0);
    await(&s);
    await(&s);
    struct itimerspec left;
    timer_gettime(first, &left);
    printf("left %ld.%09ld\n", (long)left.it_value.tv_sec, left.it_value.tv_nsec);

    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct itimerspec at = {{0, 2 * MS}, now};
    show_ok("absolute, now, repeating", timer_settime(second, TIMER_ABSTIME, &at, NULL));
    for (int i = 0; i < 3; i++)
        await(&s);
    set(second, 0, 0, 0);
    const struct timespec none = {0, 0};
    while (sigtimedwait(&s, NULL, &none) > 0)
        continue;
    set(second, 0, 2 * MS, 2 * MS);
    nanosleep(&(struct timespec){0, 50 * MS}, NULL); // blocked: expirations pile up
    siginfo_t info;
    sigwaitinfo(&s, &info);
    show_bool("counted overruns",
              info.si_overrun > 5 && timer_getoverrun(second) == info.si_overrun);
    show("delete", timer_delete(second));
    while (sigtimedwait(&s, NULL, &none) > 0) // it may have expired once more
        continue;
    refused(first);
    interval_timer(&s);
    profile();
    return 0;
}
