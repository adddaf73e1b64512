// SPDX-License-Identifier: Apache-2.0
/* Threads: creation in numbers, join, thread-local storage, mutexes, conditions, barriers, and the
 * futex call itself. */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

enum { THREADS = 16, ROUNDS = 2000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counter;
static __thread long mine;

static void *count(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        mine++;
        if (i % 100 == 0)
            sched_yield();
    }
    return (void *)(mine == ROUNDS ? (long)arg : -1);
}

static void many(void)
{
    pthread_t t[THREADS];
    long sum = 0;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, count, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        void *r;
        pthread_join(t[i], &r);
        sum += (long)r;
    }
    printf("counter %ld, returned %ld, own %ld\n", counter, sum, mine);
}

static void *nothing(void *arg)
{
    return arg;
}

static void in_turn(void)
{
    int made = 0;
    for (int i = 0; i < 300; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0)
            made++;
    }
    printf("created and joined %d\n", made);
}

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;

static void *ping(void *arg)
{
    int me = (int)(long)arg;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&cond, &lock);
        turn = 1 - me;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void conditions(void)
{
    pthread_t a, b;
    pthread_create(&a, NULL, ping, (void *)0);
    pthread_create(&b, NULL, ping, (void *)1);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    printf("turn %d\n", turn);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&lock);
    int r = pthread_cond_timedwait(&cond, &lock, &until);
    pthread_mutex_unlock(&lock);
    printf("timedwait %s\n", strerrorname_np(r));
}

static long futex(uint32_t *word, int op, uint32_t value, void *timeout, uint32_t *other,
                  uint32_t value3)
{
    return syscall(SYS_futex, word, op, value, timeout, other, value3);
}

static uint32_t words[2];
static volatile int woken;

static void *wait_on_first(void *arg)
{
    (void)arg;
    while (futex(&words[0], FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) != 0) {
    }
    __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void calls(void)
{
    struct timespec soon = {.tv_nsec = 10000000}, bad = {.tv_nsec = -1};
    show("wait wrong value", futex(&words[0], FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0));
    show("wait time-out", futex(&words[0], FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0));
    show("wait bad time", futex(&words[0], FUTEX_WAIT_PRIVATE, 0, &bad, NULL, 0));
    show("wait odd address", futex((uint32_t *)((char *)words + 1), FUTEX_WAIT, 0, NULL, NULL, 0));
    show("wait no memory", futex((uint32_t *)8, FUTEX_WAIT, 0, NULL, NULL, 0));
    show("wake nobody", futex(&words[0], FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
    show("bitset 0", futex(&words[0], FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0));
    show("no such operation", futex(&words[0], 99, 0, NULL, NULL, 0));
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, wait_on_first, NULL);
    long moved = 0; // until all three sleep there
    while (moved < 3) {
        long n = futex(&words[0], FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)10, &words[1], 0);
        if (n > 0)
            moved += n;
        else
            sched_yield();
    }
    printf("requeued %ld, woken %d\n", moved, woken);
    show("requeue wrong value",
         futex(&words[0], FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)10, &words[1], 9));
    show("wake where they were", futex(&words[0], FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
    show("wake one", futex(&words[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    show("wake the rest", futex(&words[1], FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    printf("woken %d\n", woken);
}

static void *robust_holder(void *arg)
{
    pthread_mutex_lock(arg);
    return NULL; // dies with it
}

static void robust(void)
{
    pthread_mutex_t m;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&m, &attr);
    pthread_t t;
    pthread_create(&t, NULL, robust_holder, &m);
    pthread_join(t, NULL);
    printf("lock of the dead: %s\n", strerrorname_np(pthread_mutex_lock(&m)));
    printf("consistent: %d\n", pthread_mutex_consistent(&m));
    printf("unlock: %d\n", pthread_mutex_unlock(&m));
}

static volatile bool spinning;

static void *spin(void *arg)
{
    (void)arg;
    while (spinning) {
    }
    return NULL;
}

/* A thread that never enters the kernel must not keep the others from running. */
static void preempted(void)
{
    pthread_t t[2];
    spinning = true;
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, spin, NULL);
    for (int i = 0; i < 5; i++) {
        struct timespec ms = {.tv_nsec = 1000000};
        nanosleep(&ms, NULL);
    }
    spinning = false;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    puts("pre-empted");
}

int main(void)
{
    many();
    in_turn();
    conditions();
    calls();
    robust();
    preempted();
    show_bool("gettid is getpid in the first thread", syscall(SYS_gettid) == getpid());
    return 7;
}
