// SPDX-License-Identifier: Apache-2.0
/* Scheduling policies, nice values, and that they count: who is nicer gets less of the CPU. */
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

enum { NOBODY = 0x3ffffff0 };

struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static long set(int policy, int priority)
{
    struct sched_param p = {.sched_priority = priority};
    return sched_setscheduler(0, policy, &p);
}

static void ranges(void)
{
    for (int policy = -1; policy < 7; policy++)
        printf("policy %d: %d to %d\n", policy, sched_get_priority_min(policy),
               sched_get_priority_max(policy));
}

static void policies(void)
{
    struct sched_param p = {.sched_priority = 9};
    show("at first", sched_getscheduler(0));
    show("param", sched_getparam(0, &p));
    printf("priority %d\n", p.sched_priority);
    show("batch", set(SCHED_BATCH, 0));
    show("now", sched_getscheduler(0));
    show("batch with priority", set(SCHED_BATCH, 1));
    show("fifo without", set(SCHED_FIFO, 0));
    show("fifo beyond", set(SCHED_FIFO, 100));
    show("unknown", set(4, 0));
    show("negative", set(-1, 0));
    show("param alone", sched_setparam(0, &(struct sched_param){0}));
    show("param alone, wrong", sched_setparam(0, &(struct sched_param){5}));
    show("nobody", sched_getscheduler(NOBODY));
    show("negative", sched_getscheduler(-1));
    show("nobody's param", sched_getparam(NOBODY, &p));
    show("no place", syscall(SYS_sched_getparam, 0, NULL));
    show("no param", syscall(SYS_sched_setscheduler, 0, 0, NULL));
    show("bad place", syscall(SYS_sched_getparam, 0, 8));
    struct timespec t;
    show("interval of nobody", sched_rr_get_interval(NOBODY, &t));
    show("interval", sched_rr_get_interval(0, &t));
}

static void attributes(void)
{
    struct attr a = {.size = sizeof(a)};
    show("get", syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0));
    printf("size %u policy %u flags %lu nice %d priority %u\n", a.size, a.policy, a.flags, a.nice,
           a.priority);
    show("get, short", syscall(SYS_sched_getattr, 0, &a, 40, 0));
    show("get, flags", syscall(SYS_sched_getattr, 0, &a, sizeof(a), 1));
    a = (struct attr){.size = sizeof(a), .policy = SCHED_BATCH, .nice = 3};
    show("set", syscall(SYS_sched_setattr, 0, &a, 0));
    a = (struct attr){0};
    show("get", syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0));
    printf("policy %u flags %lu nice %d\n", a.policy, a.flags, a.nice);
    a.size = 12;
    show("set, short", syscall(SYS_sched_setattr, 0, &a, 0));
    printf("size %u\n", a.size >= 48);
    a = (struct attr){.size = sizeof(a), .flags = 1u << 30};
    show("set, flags", syscall(SYS_sched_setattr, 0, &a, 0));
    a = (struct attr){.size = sizeof(a), .policy = 9};
    show("set, policy", syscall(SYS_sched_setattr, 0, &a, 0));
}

static void nice_values(void)
{
    show("mine", syscall(SYS_getpriority, PRIO_PROCESS, 0));
    show("set 5", setpriority(PRIO_PROCESS, 0, 5));
    show("mine", syscall(SYS_getpriority, PRIO_PROCESS, 0));
    show("of the group", syscall(SYS_getpriority, PRIO_PGRP, 0) > 0);
    show("set 99", setpriority(PRIO_PROCESS, 0, 99));
    show("mine", syscall(SYS_getpriority, PRIO_PROCESS, 0));
    show("nobody", setpriority(PRIO_PROCESS, NOBODY, 1));
    show("kind", setpriority(9, 0, 1));
    show("kind", getpriority(9, 0));
}

static pthread_barrier_t barrier;
static volatile bool stop;

static void *work(void *arg)
{
    struct timespec t;
    setpriority(PRIO_PROCESS, 0, (int)(long)arg);
    pthread_barrier_wait(&barrier);
    while (!stop) {
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (void *)(t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

/* On one CPU, ten steps apart are a factor of nine. */
static void effect(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof(one), &one);
    pthread_t t[2];
    void *us[2];
    pthread_barrier_init(&barrier, NULL, 3);
    for (long i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, work, (void *)(i * 10 + 5));
    pthread_barrier_wait(&barrier);
    struct timespec now, until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < until.tv_sec ||
             (now.tv_sec == until.tv_sec && now.tv_nsec < until.tv_nsec));
    stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], &us[i]);
    show_bool("the nicer one had less", (long)us[0] > 3 * (long)us[1]);
}

int main(void)
{
    setpriority(PRIO_PROCESS, 0, 0); // whatever the shell's was
    ranges();
    policies();
    attributes();
    set(SCHED_OTHER, 0);
    effect();
    nice_values();
    show("idle", set(SCHED_IDLE, 0));
    show("reset on fork", set(SCHED_IDLE | SCHED_RESET_ON_FORK, 0));
    show("now", sched_getscheduler(0));
    return 0;
}
