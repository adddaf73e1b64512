// SPDX-License-Identifier: Apache-2.0
/* Threads on several CPUs: atomics, mutexes, conditions, futexes handed to and fro, vector
 * registers that travel, CPU affinity, threads that come and go. An argument multiplies the rounds.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

enum { THREADS = 8, ROUNDS = 3000, PAIRS = 3, TURNS = 1500, CPUS_MAX = 64 };

static int scale = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static uint64_t by_atomic, by_mutex, by_exchange;

static void *count(void *arg)
{
    for (int i = 0; i < ROUNDS * scale; i++) {
        __atomic_fetch_add(&by_atomic, 1, __ATOMIC_RELAXED);
        uint64_t v = __atomic_load_n(&by_exchange, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&by_exchange, &v, v + 3, false, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED))
            continue;
        pthread_mutex_lock(&lock);
        by_mutex++;
        pthread_mutex_unlock(&lock);
        if (i % 512 == 0)
            sched_yield();
    }
    return arg;
}

static void run(void *(*f)(void *), unsigned n)
{
    pthread_t t[64];
    for (uintptr_t i = 0; i < n; i++)
        if (pthread_create(&t[i], NULL, f, (void *)i) != 0)
            abort();
    for (unsigned i = 0; i < n; i++)
        pthread_join(t[i], NULL);
}

static uint32_t turn[PAIRS];
static uint64_t turns[PAIRS];

static long futex(uint32_t *word, int op, uint32_t value)
{
    return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* Threads 2i and 2i + 1 pass a word between them. */
static void *ping_pong(void *arg)
{
    uintptr_t me = (uintptr_t)arg, pair = me / 2;
    for (uint32_t i = 0; i < (uint32_t)(TURNS * scale); i++) {
        uint32_t mine = 2 * i + me % 2, now;
        while ((now = __atomic_load_n(&turn[pair], __ATOMIC_ACQUIRE)) != mine)
            futex(&turn[pair], FUTEX_WAIT, now);
        turns[pair]++; // whose turn it is holds it alone
        __atomic_store_n(&turn[pair], mine + 1, __ATOMIC_RELEASE);
        futex(&turn[pair], FUTEX_WAKE, 1);
    }
    return NULL;
}

/* A token goes round: who has it hands it on by the condition. */
static unsigned token;
static uint64_t handed;

static void *hand_on(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < 100 * scale; i++) {
        pthread_mutex_lock(&lock);
        while (token != me)
            pthread_cond_wait(&cond, &lock);
        token = (token + 1) % THREADS;
        handed++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static uint64_t registers_lost;

static void *keep_registers(void *arg)
{
    double x[2] __attribute__((aligned(16))) = {(double)(uintptr_t)arg + 0.5, 3.25}, y[2];
    for (int i = 0; i < 150 * scale; i++) {
        const struct timespec nap = {0, i % 3 * 10000};
        const struct timespec *at = &nap;
        long nr = i % 2 ? SYS_sched_yield : SYS_nanosleep, r;
        __asm__ volatile("movapd %2, %%xmm9; syscall; movapd %%xmm9, %1"
                         : "=a"(r), "=m"(y)
                         : "m"(x), "a"(nr), "D"(at), "S"(0l)
                         : "rcx", "r11", "xmm9", "memory");
        if (y[0] != x[0] || y[1] != x[1])
            __atomic_fetch_add(&registers_lost, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static uint64_t elsewhere;

/* Bind to each CPU that there is in turn and see where we run. */
static void *wander(void *arg)
{
    cpu_set_t all, one, got;
    sched_getaffinity(0, sizeof(all), &all);
    for (int round = 0; round < 10 * scale; round++)
        for (int c = 0; c < CPUS_MAX; c++) {
            int cpu = (c + (int)(uintptr_t)arg) % CPUS_MAX;
            if (!CPU_ISSET(cpu, &all))
                continue;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            if (sched_setaffinity(0, sizeof(one), &one) != 0)
                abort();
            unsigned by_call = CPUS_MAX;
            syscall(SYS_getcpu, &by_call, NULL, NULL);
            sched_getaffinity(0, sizeof(got), &got);
            if (sched_getcpu() != cpu || by_call != (unsigned)cpu || !CPU_EQUAL(&one, &got))
                __atomic_fetch_add(&elsewhere, 1, __ATOMIC_RELAXED);
        }
    sched_setaffinity(0, sizeof(all), &all);
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static uint64_t made;

static void *make_threads(void *arg)
{
    for (int i = 0; i < 40 * scale; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0)
            __atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
    }
    return arg;
}

/* Time never runs back, on whichever CPU one looks. */
static uint64_t latest, backwards;

static void *look_at_clock(void *arg)
{
    for (int i = 0; i < 400 * scale; i++) {
        struct timespec t;
        uint64_t before = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);
        clock_gettime(CLOCK_MONOTONIC, &t);
        uint64_t now = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
        if (now < before)
            __atomic_fetch_add(&backwards, 1, __ATOMIC_RELAXED);
        while (before < now && !__atomic_compare_exchange_n(&latest, &before, now, false,
                                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        if (i % 64 == 0)
            usleep(1);
    }
    return arg;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        scale = atoi(argv[1]);
    run(count, THREADS);
    show_bool("atomic", by_atomic == (uint64_t)ROUNDS * THREADS * (unsigned)scale);
    show_bool("exchange", by_exchange == 3ull * ROUNDS * THREADS * (unsigned)scale);
    show_bool("mutex", by_mutex == (uint64_t)ROUNDS * THREADS * (unsigned)scale);
    run(ping_pong, 2 * PAIRS);
    for (int i = 0; i < PAIRS; i++)
        show_bool("ping-pong", turns[i] == 2ull * TURNS * (unsigned)scale);
    run(hand_on, THREADS);
    show_bool("token", handed == 100ull * THREADS * (unsigned)scale);
    run(keep_registers, THREADS);
    printf("registers lost: %lu\n", registers_lost);
    run(wander, 4);
    printf("elsewhere: %lu\n", elsewhere);
    run(make_threads, 4);
    show_bool("made", made == 160ull * (unsigned)scale);
    run(look_at_clock, 4);
    printf("time ran back: %lu\n", backwards);
    cpu_set_t none;
    CPU_ZERO(&none);
    show("no CPU", sched_setaffinity(0, sizeof(none), &none));
    show("no such thread", sched_setaffinity(0x3fffff, sizeof(none), &none));
    show("small mask", sched_getaffinity(0, 4, &none));
    show_bool("membarrier", syscall(SYS_membarrier, 0, 0, 0) > 0);
    show("unregistered", syscall(SYS_membarrier, 8, 0, 0));
    show("register", syscall(SYS_membarrier, 16, 0, 0));
    show("barrier", syscall(SYS_membarrier, 8, 0, 0));
    show("barrier for all", syscall(SYS_membarrier, 1, 0, 0));
    show("bad flags", syscall(SYS_membarrier, 0, 4, 0));
    return 0;
}
