// SPDX-License-Identifier: Apache-2.0
/* The registers of x87, SSE and AVX belong to their thread: across pre-emption, across signal
 * handlers that use them, and into a new thread. */
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "guest.h"

enum { THREADS = 4, MILLISECONDS = 60 };
static volatile sig_atomic_t ticks;
static bool avx;

/* Fill the vector registers, burn time in registers alone, look whether they are still the same. */
static bool vectors_kept(uint64_t mark, long spins)
{
    uint64_t out[4] __attribute__((aligned(32))) = {0};
    uint64_t in[4] __attribute__((aligned(32))) = {mark, ~mark, mark * 3, mark * 5};
    if (avx)
        __asm__ volatile("vmovdqa %1, %%ymm7; vmovdqa %1, %%ymm15\n"
                         "1: dec %2; jnz 1b\n"
                         "vpxor %%xmm7, %%xmm15, %%xmm0; vptest %%xmm0, %%xmm0; jnz 2f\n"
                         "vmovdqa %%ymm7, %0; 2:"
                         : "=m"(out), "+m"(in), "+r"(spins)
                         :
                         : "xmm0", "xmm7", "xmm15", "cc", "memory");
    else
        __asm__ volatile("movdqa %1, %%xmm7\n1: dec %2; jnz 1b\nmovdqa %%xmm7, %0"
                         : "=m"(out), "+m"(in), "+r"(spins)
                         :
                         : "xmm7", "cc", "memory");
    return memcmp(out, in, avx ? 32 : 16) == 0;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void *keep(void *arg)
{
    double end = now_ms() + MILLISECONDS;
    bool kept = true;
    while (kept && now_ms() < end)
        kept = vectors_kept((uint64_t)arg * 0x9e3779b97f4a7c15, 5000);
    return (void *)(uintptr_t)kept;
}

static void on_tick(int signo)
{
    volatile double x = signo;
    x = x * 1.5 + 0.25;
    (void)vectors_kept((uint64_t)x + (uint64_t)ticks, 10);
    fesetround(FE_UPWARD); // the handler's own: undone at its return
    ticks++;
}

static void *rounding(void *arg)
{
    (void)arg;
    return (void *)(uintptr_t)(fegetround() == FE_TOWARDZERO);
}

int main(void)
{
    pthread_t t[THREADS];
    void *kept;
    bool all = true;
    avx = __builtin_cpu_supports("avx");
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, keep, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], &kept);
        all = all && kept != NULL;
    }
    show_bool("kept by threads", all);

    signal(SIGALRM, on_tick);
    const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    all = true;
    time_t end = time(NULL) + 20; // a busy host gives few ticks a time
    do
        all = all && keep((void *)7) != NULL;
    while (ticks <= 3 && time(NULL) < end);
    setitimer(ITIMER_REAL, &never, NULL);
    show_bool("kept across signals", all);
    show_bool("signals came", ticks > 3);
    show_bool("rounding kept across signals", fegetround() == FE_TONEAREST);

    fesetround(FE_TOWARDZERO);
    pthread_create(&t[0], NULL, rounding, NULL);
    pthread_join(t[0], &kept);
    show_bool("a thread inherits the rounding", kept != NULL);
    return 0;
}
