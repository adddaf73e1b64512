// SPDX-License-Identifier: Apache-2.0
/* Clocks of CPU time, timers on them, and what the time calls say to senseless arguments. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static volatile sig_atomic_t seen, count;
static volatile int code, value;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    (void)context;
    seen = signo;
    count++;
    code = info->si_code;
    value = info->si_value.sival_int;
}

static void handle(int signo)
{
    struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(signo, &a, NULL);
}

static long long ns_of(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) < 0)
        return -1;
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void clocks(void)
{
    struct timespec t;
    clockid_t id;
    for (int clock = -1; clock < 13; clock++) {
        if (clock == 8 || clock == 9 || clock == 10) // alarms need a wake-up device
            continue;
        char name[20];
        snprintf(name, sizeof(name), "clock %d", clock);
        show(name, syscall(SYS_clock_gettime, clock, &t));
    }
    show("process clock", clock_getcpuclockid(0, &id));
    show("read", syscall(SYS_clock_gettime, id, &t));
    show("by number", clock_getcpuclockid(getpid(), &id));
    show("read", syscall(SYS_clock_gettime, id, &t));
    show("thread clock", pthread_getcpuclockid(pthread_self(), &id));
    show("read", syscall(SYS_clock_gettime, id, &t));
    show("nobody's", syscall(SYS_clock_gettime, ~0x3fffff * 8 + 6, &t));
    show("bad place", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8));
    show("resolution", syscall(SYS_clock_getres, CLOCK_PROCESS_CPUTIME_ID, NULL));
    long long a = ns_of(CLOCK_THREAD_CPUTIME_ID), b = ns_of(CLOCK_PROCESS_CPUTIME_ID);
    show_bool("time is used", a > 0 && b > 0);
    show("set, bad clock", syscall(SYS_clock_settime, 99, &t));
    show("set, monotonic", syscall(SYS_clock_settime, CLOCK_MONOTONIC, &t));
    show("set, bad place", syscall(SYS_clock_settime, CLOCK_REALTIME, 8));
    t = (struct timespec){.tv_nsec = -1};
    show("set, bad time", syscall(SYS_clock_settime, CLOCK_REALTIME, &t));
    struct timeval v = {.tv_usec = 2000000};
    show("settimeofday", syscall(SYS_settimeofday, &v, NULL));
    struct timex x = {0};
    show_bool("adjtimex", adjtimex(&x) >= 0 && x.tick > 0);
    show("adjtimex elsewhere", syscall(SYS_adjtimex, 8));
    show("adjust another", syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &x));
}

static void nanosleeps(void)
{
    struct timespec t = {.tv_nsec = 1000000};
    for (int clock = 0; clock < 8; clock++) {
        if (clock == CLOCK_PROCESS_CPUTIME_ID)
            continue; // nobody else would use the time
        char name[20];
        snprintf(name, sizeof(name), "sleep on %d", clock);
        show(name, syscall(SYS_clock_nanosleep, clock, 0, &t, NULL));
    }
    t.tv_nsec = 1000000000;
    show("bad time", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL));
    t = (struct timespec){.tv_sec = -1};
    show("negative", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL));
}

static volatile bool stop;
static void *spin(void *arg)
{
    (void)arg;
    while (!stop) {
    }
    return NULL;
}

static void sleep_on_cpu_time(void)
{
    pthread_t t;
    pthread_create(&t, NULL, spin, NULL);
    long long before = ns_of(CLOCK_PROCESS_CPUTIME_ID);
    struct timespec wait = {.tv_nsec = 50000000};
    show("sleep on process time", clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &wait, NULL));
    show_bool("time used", ns_of(CLOCK_PROCESS_CPUTIME_ID) - before >= 50000000);
    stop = true;
    pthread_join(t, NULL);
}

static void until_seen(int signo)
{
    while (seen != signo) {
    }
    seen = 0;
}

static void interval_timers(void)
{
    struct itimerval v = {.it_value = {.tv_usec = 20000}, .it_interval = {.tv_usec = 10000}}, old;
    static const int kinds[] = {ITIMER_VIRTUAL, ITIMER_PROF};
    static const int signos[] = {SIGVTALRM, SIGPROF};
    for (int i = 0; i < 2; i++) {
        handle(signos[i]);
        show("set", setitimer(kinds[i], &v, NULL));
        until_seen(signos[i]);
        until_seen(signos[i]);
        show("off", setitimer(kinds[i], &(struct itimerval){0}, &old));
        printf("interval %ld\n", (long)old.it_interval.tv_usec);
    }
    show("kind", setitimer(3, &v, NULL));
    v.it_value.tv_usec = 1000000;
    show("bad time", setitimer(ITIMER_REAL, &v, NULL));
    show("get", syscall(SYS_getitimer, 7, &v));
    show("get elsewhere", syscall(SYS_getitimer, ITIMER_REAL, 8));
}

static void cpu_timers(void)
{
    static const clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    timer_t id;
    for (int i = 0; i < 2; i++) {
        struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
        e.sigev_value.sival_int = 40 + i;
        handle(SIGRTMIN + 1);
        show("create", timer_create(clocks[i], &e, &id));
        struct itimerspec s = {.it_value.tv_nsec = 20000000, .it_interval.tv_nsec = 10000000};
        long long before = ns_of(clocks[i]);
        show("set", timer_settime(id, 0, &s, NULL));
        until_seen(SIGRTMIN + 1);
        show_bool("not early", ns_of(clocks[i]) - before >= 20000000);
        printf("code %s, value %d\n", code == SI_TIMER ? "SI_TIMER" : "?", value);
        until_seen(SIGRTMIN + 1);
        show("get", timer_gettime(id, &s));
        printf("interval %ld\n", s.it_interval.tv_nsec);
        show("delete", timer_delete(id));
    }
}

static void timer_errors(void)
{
    timer_t id;
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    show("signal", syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &id));
    e = (struct sigevent){.sigev_notify = 9, .sigev_signo = SIGUSR1};
    show("notify", syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &id));
    show("clock", syscall(SYS_timer_create, 99, NULL, &id));
    show("raw", syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, NULL, &id));
    show("coarse", syscall(SYS_timer_create, CLOCK_REALTIME_COARSE, NULL, &id));
    show("bad place", syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, 8));
    show("not mine", syscall(SYS_timer_delete, 12345));
    show("overrun of none", syscall(SYS_timer_getoverrun, 12345));
    struct itimerspec s = {.it_value.tv_nsec = 1};
    show("set none", syscall(SYS_timer_settime, 12345, 0, &s, NULL));
}

static void overruns(void)
{
    timer_t id;
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_create(CLOCK_MONOTONIC, &e, &id);
    struct itimerspec s = {.it_value.tv_nsec = 1000000, .it_interval.tv_nsec = 1000000};
    timer_settime(id, 0, &s, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    show_bool("signal", sigwaitinfo(&set, &info) == SIGRTMIN);
    show_bool("many were missed", info.si_overrun >= 10);
    show_bool("told again", timer_getoverrun(id) == info.si_overrun);
    timer_delete(id);
}

int main(void)
{
    clocks();
    nanosleeps();
    sleep_on_cpu_time();
    interval_timers();
    cpu_timers();
    timer_errors();
    overruns();
    return 0;
}
