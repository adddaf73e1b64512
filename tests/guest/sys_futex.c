// SPDX-License-Identifier: Apache-2.0
/* The futex call in all its operations: locks with an owner, requeueing, waiting for several words,
 * words in memory that is mapped twice, and what the end of a thread leaves behind. */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
enum { NR_FUTEX_WAITV = 449 };

static long futex(uint32_t *word, int op, uint32_t value, const void *timeout, uint32_t *other,
                  uint32_t value3)
{
    return syscall(SYS_futex, word, op, value, timeout, other, value3);
}

static struct timespec after_ms(clockid_t clock, long ms)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static uint32_t word, second;

static void senseless(void)
{
    show("unknown operation", futex(&word, 77, 0, NULL, NULL, 0));
    show("FUTEX_FD", futex(&word, FUTEX_FD, 0, NULL, NULL, 0));
    show("odd address", futex((uint32_t *)((char *)&word + 1), FUTEX_WAKE, 1, NULL, NULL, 0));
    show("wait elsewhere", futex((uint32_t *)8, FUTEX_WAIT, 0, NULL, NULL, 0));
    show("wake elsewhere", futex((uint32_t *)8, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    show("value differs", futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0));
    show("no bits to wait for", futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
    show("no bits to wake", futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
    show("real time for wake", futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
    struct timespec bad = {.tv_nsec = 1000000000};
    show("bad time", futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0));
    show("negative requeue", futex(&word, FUTEX_REQUEUE, 1, (void *)-1L, &second, 0));
    show("requeue, value differs", futex(&word, FUTEX_CMP_REQUEUE, 1, NULL, &second, 5));
    show("requeue nobody", futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1L, &second, 0));
    show("wake_op unknown", futex(&word, FUTEX_WAKE_OP, 1, NULL, &second, 7u << 28));
}

static void times(void)
{
    struct timespec t = {.tv_nsec = 2000000};
    show("relative", futex(&word, FUTEX_WAIT, 0, &t, NULL, 0));
    t = after_ms(CLOCK_MONOTONIC, 2);
    show("absolute", futex(&word, FUTEX_WAIT_BITSET, 0, &t, NULL, ~0u));
    t = after_ms(CLOCK_REALTIME, 2);
    show("absolute real", futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &t, NULL, ~0u));
    t = (struct timespec){.tv_sec = 1};
    show("long past", futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &t, NULL, ~0u));
}

static uint32_t pi;
static int tid(void)
{
    return (int)syscall(SYS_gettid);
}

static void show_word(const char *name, uint32_t v)
{
    printf("%s:%s%s%s\n", name,
           v & FUTEX_TID_MASK ? (int)(v & FUTEX_TID_MASK) == tid() ? " mine" : " other's" : " free",
           v & FUTEX_WAITERS ? " waiters" : "", v & FUTEX_OWNER_DIED ? " died" : "");
}

static volatile int held, go;

static void *locker(void *arg)
{
    long r = futex(&pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    held++;
    (void)arg;
    if (r == 0)
        r = futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    return (void *)r;
}

/* Until somebody waits for the lock. */
static void until_waited(uint32_t *w)
{
    while (!(__atomic_load_n(w, __ATOMIC_SEQ_CST) & FUTEX_WAITERS))
        sched_yield();
}

static void owned(void)
{
    pthread_t t[3];
    show("lock", futex(&pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    show_word("word", pi);
    show("lock again", futex(&pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    show("try again", futex(&pi, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, locker, NULL);
    until_waited(&pi);
    show_word("waited for", pi);
    show("plain wake", futex(&pi, FUTEX_WAKE, 1, NULL, NULL, 0) == -1 ? 0 : 1);
    printf("held by others %d\n", held);
    show("unlock", futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    for (int i = 0; i < 3; i++) {
        void *r;
        pthread_join(t[i], &r);
        printf("locker %ld\n", (long)r);
    }
    show_word("at the end", pi);
    show("unlock what is not mine", futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    pi = 0x3ffffff0; // no such thread
    show("owner unknown", futex(&pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    pi = FUTEX_OWNER_DIED;
    show("owner died", futex(&pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    show_word("taken over", pi);
    show("unlock", futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    pi = 0;
}

static void *hold(void *arg)
{
    futex(&pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    held = 1;
    while (!go)
        sched_yield();
    if (arg == NULL)
        futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    return NULL;
}

static void held_by_other(void)
{
    pthread_t t;
    held = go = 0;
    pthread_create(&t, NULL, hold, NULL);
    while (!held)
        sched_yield();
    show("try", futex(&pi, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    struct timespec u = after_ms(CLOCK_REALTIME, 3);
    show("lock with a time", futex(&pi, FUTEX_LOCK_PI, 0, &u, NULL, 0));
    u = after_ms(CLOCK_MONOTONIC, 3);
    show("LOCK_PI2", futex(&pi, FUTEX_LOCK_PI2, 0, &u, NULL, 0));
    show("not mine", futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    go = 1;
    pthread_join(t, NULL);
    show("free again", futex(&pi, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    show("unlock", futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
}

static uint32_t pair[2];

static void *cross(void *arg)
{
    int mine = (int)(long)arg;
    long r = futex(&pair[mine], FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    __atomic_fetch_add(&held, 1, __ATOMIC_SEQ_CST);
    while (held < 2)
        sched_yield();
    if (mine == 1) // second: the other waits for us already
        until_waited(&pair[1]);
    r = futex(&pair[1 - mine], FUTEX_LOCK_PI, 0, NULL, NULL, 0);
    const char *name = r == 0 ? "got it" : strerrorname_np(errno);
    if (r == 0)
        futex(&pair[1 - mine], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    futex(&pair[mine], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    return (void *)(uintptr_t)name;
}

static void circle(void)
{
    pthread_t t[2];
    held = 0;
    pthread_create(&t[0], NULL, cross, (void *)0);
    pthread_create(&t[1], NULL, cross, (void *)1);
    int refused = 0, got = 0; // who is refused, or both, is a matter of luck
    for (int i = 0; i < 2; i++) {
        void *r;
        pthread_join(t[i], &r);
        refused += strcmp(r, "EDEADLK") == 0;
        got += strcmp(r, "got it") == 0;
    }
    show_bool("crosswise: refused", refused > 0 && got + refused == 2);
}

static void owner_dies(void)
{
    pthread_t t;
    pi = 0;
    held = go = 0;
    pthread_create(&t, NULL, hold, (void *)1); // ends without unlocking
    while (!held)
        sched_yield();
    pthread_t w[2];
    held = 0;
    pthread_create(&w[0], NULL, locker, NULL);
    pthread_create(&w[1], NULL, locker, NULL);
    until_waited(&pi);
    go = 1;
    pthread_join(t, NULL);
    bool inherited = false; // who comes after the death is refused
    for (int i = 0; i < 2; i++) {
        void *r;
        pthread_join(w[i], &r);
        inherited |= r == NULL;
    }
    show_bool("inherited", inherited);
    printf("held %d\n", held);
}

static void *die_with(void *m)
{
    printf("lock: %d\n", pthread_mutex_lock(m));
    return NULL;
}

static void library(void)
{
    pthread_mutex_t m;
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    printf("init: %d\n", pthread_mutex_init(&m, &a));
    pthread_t t;
    pthread_create(&t, NULL, die_with, &m);
    pthread_join(t, NULL);
    printf("lock of the dead: %s\n", strerrorname_np(pthread_mutex_lock(&m)));
    printf("consistent: %d\n", pthread_mutex_consistent(&m));
    printf("unlock: %d\n", pthread_mutex_unlock(&m));
    struct timespec past = {.tv_sec = 1};
    printf("timed: %d\n", pthread_mutex_timedlock(&m, &past));
    printf("unlock: %d\n", pthread_mutex_unlock(&m));
}

static uint32_t condition;
static volatile int ready;

static void *wait_requeue(void *arg)
{
    (void)arg;
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    long r = futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &pi, 0);
    if (r == 0)
        r = (int)(pi & FUTEX_TID_MASK) == tid() ? 0 : 99;
    futex(&pi, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    return (void *)r;
}

static void requeue_pi(void)
{
    pthread_t t[3];
    pi = 0;
    show("same word", futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &condition, 0));
    show("two to wake", futex(&condition, FUTEX_CMP_REQUEUE_PI, 2, NULL, &pi, 0));
    show("value differs", futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, NULL, &pi, 9));
    show("nobody", futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)9L, &pi, 0));
    struct timespec u = after_ms(CLOCK_MONOTONIC, 2);
    show("time", futex(&condition, FUTEX_WAIT_REQUEUE_PI, 0, &u, &pi, 0));
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, wait_requeue, NULL);
    long moved = 0;
    while (moved < 3) {
        long r = futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)9L, &pi, 0);
        if (r < 0 && errno != EAGAIN)
            break;
        moved += r > 0 ? r : 0;
        sched_yield();
    }
    printf("moved %ld\n", moved);
    for (int i = 0; i < 3; i++) {
        void *r;
        pthread_join(t[i], &r);
        printf("moved one: %ld\n", (long)r);
    }
}

struct waitv {
    uint64_t value, address;
    uint32_t flags, reserved;
};

static uint32_t several[4];

static void *wait_several(void *arg)
{
    struct waitv v[4];
    for (int i = 0; i < 4; i++)
        v[i] = (struct waitv){.address = (uint64_t)&several[i], .flags = 2 | (i % 2 ? 128 : 0)};
    (void)arg;
    ready = 1;
    return (void *)syscall(NR_FUTEX_WAITV, v, 4, 0, NULL, 0);
}

static void waitv(void)
{
    struct waitv v[2] = {{.address = (uint64_t)&several[0], .flags = 2},
                         {.value = 7, .address = (uint64_t)&several[1], .flags = 2}};
    show("none", syscall(NR_FUTEX_WAITV, v, 0, 0, NULL, 0));
    show("too many", syscall(NR_FUTEX_WAITV, v, 129, 0, NULL, 0));
    show("flags", syscall(NR_FUTEX_WAITV, v, 1, 1, NULL, 0));
    show("differs", syscall(NR_FUTEX_WAITV, v, 2, 0, NULL, 0));
    struct timespec u = after_ms(CLOCK_MONOTONIC, 2);
    show("time", syscall(NR_FUTEX_WAITV, v, 1, 0, &u, CLOCK_MONOTONIC));
    show("clock", syscall(NR_FUTEX_WAITV, v, 1, 0, &u, CLOCK_BOOTTIME));
    v[0].flags = 0;
    show("size", syscall(NR_FUTEX_WAITV, v, 1, 0, NULL, 0));
    v[0].flags = 2;
    v[0].reserved = 1;
    show("reserved", syscall(NR_FUTEX_WAITV, v, 1, 0, NULL, 0));
    for (int i = 0; i < 4; i += 3) {
        pthread_t t;
        void *r;
        ready = 0;
        pthread_create(&t, NULL, wait_several, NULL);
        while (futex(&several[i], i % 2 ? FUTEX_WAKE_PRIVATE : FUTEX_WAKE, 1, NULL, NULL, 0) != 1)
            sched_yield();
        pthread_join(t, &r);
        printf("woken by %ld\n", (long)r);
    }
}

static uint32_t *mapped[2];

static void *wait_mapped(void *arg)
{
    (void)arg;
    return (void *)futex(mapped[0], FUTEX_WAIT, 0, NULL, NULL, 0);
}

/* One page of a file at two addresses is one word; each address alone for private waits. */
static void mapped_twice(void)
{
    char path[] = "/tmp/futexXXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    if (ftruncate(fd, 4096) < 0)
        return;
    for (int i = 0; i < 2; i++)
        mapped[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pthread_t t;
    void *r;
    pthread_create(&t, NULL, wait_mapped, NULL);
    int private = 0;
    long woken;
    do {
        private += (int)futex(mapped[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        woken = futex(mapped[1], FUTEX_WAKE, 1, NULL, NULL, 0);
        sched_yield();
    } while (woken == 0);
    pthread_join(t, &r);
    printf("through the other mapping: %ld, private %d, result %ld\n", woken, private, (long)r);
    close(fd);
}

/* Between processes: through shared memory, not through what each has of its own. */
static void processes(void)
{
    uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static uint32_t own;
    int status;
    pid_t child = fork();
    if (child == 0) {
        long r = futex(&shared[0], FUTEX_WAIT, 0, NULL, NULL, 0);
        if (r == 0)
            r = futex(&shared[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0);
        _exit(r == 0 ? 7 : 1); // with the lock
    }
    show("own word", futex(&own, FUTEX_WAKE, 9, NULL, NULL, 0));
    while (futex(&shared[0], FUTEX_WAKE, 9, NULL, NULL, 0) != 1)
        sched_yield();
    waitpid(child, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    show("lock of the dead", futex(&shared[1], FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    shared[1] = 0;
    pthread_mutex_t *m = (pthread_mutex_t *)&shared[16];
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(m, &a);
    child = fork();
    if (child == 0)
        _exit(pthread_mutex_lock(m));
    waitpid(child, &status, 0);
    printf("robust across: %s\n", strerrorname_np(pthread_mutex_lock(m)));
}

static volatile int signals;
static void on_signal(int signo)
{
    (void)signo;
    signals++;
}

static void *wait_for_signal(void *arg)
{
    long r = arg != NULL ? futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0)
                         : futex(&word, FUTEX_WAIT, 0, &(struct timespec){.tv_sec = 60}, NULL, 0);
    return r == 0 ? NULL : (void *)(uintptr_t)strerrorname_np(errno);
}

/* Without a time the wait restarts if the handler says so, with one it never does. */
static void interrupted(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    for (int restart = 0; restart < 2; restart++) {
        a.sa_flags = restart ? SA_RESTART : 0;
        sigaction(SIGUSR1, &a, NULL);
        for (long timed = 0; timed < 2; timed++) {
            pthread_t t;
            void *r;
            signals = 0;
            pthread_create(&t, NULL, wait_for_signal, (void *)(1 - timed));
            bool waits_on = restart && !timed;
            if (waits_on) {
                pthread_kill(t, SIGUSR1);
                while (signals == 0)
                    sched_yield();
                while (futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0) != 1)
                    sched_yield();
            } else {
                // Moving it to a word of its own shows that it waits.
                while (futex(&word, FUTEX_REQUEUE, 0, (void *)1L, &second, 0) != 1)
                    sched_yield();
                pthread_kill(t, SIGUSR1);
            }
            pthread_join(t, &r);
            printf("restart %d timed %ld: %s, signals %d\n", restart, timed,
                   r == NULL ? "woken" : (char *)r, signals);
        }
    }
}

int main(void)
{
    void *head;
    size_t bytes;
    show("robust list", syscall(SYS_get_robust_list, 0, &head, &bytes));
    printf("head %s, %zu bytes\n", head != NULL ? "set" : "none", bytes);
    show("of nobody", syscall(SYS_get_robust_list, 0x3ffffff0, &head, &bytes));
    senseless();
    times();
    owned();
    held_by_other();
    circle();
    owner_dies();
    library();
    requeue_pi();
    waitv();
    mapped_twice();
    processes();
    interrupted();
    return 0;
}
