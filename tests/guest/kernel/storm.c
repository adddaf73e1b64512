// SPDX-License-Identifier: Apache-2.0
/* System calls with arguments that make no sense, from several threads, seeded: whatever they
 * return, the kernel must live. usage: storm SEED ROUNDS */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, CALLS = 512, ARENA = 1 << 20 };
static uint8_t *arena; // what pointers point at, mostly
static long rounds;

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t argument(uint64_t *s)
{
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   7,
                                   8,
                                   16,
                                   4095,
                                   4096,
                                   (uint64_t)-1,
                                   (uint64_t)-100,
                                   INT32_MAX,
                                   INT64_MAX,
                                   (uint64_t)INT64_MIN,
                                   0x7ffffffff000,
                                   0x7fffffffefff,
                                   0x800000000000,
                                   0xffff800000000000,
                                   0xffffffff80100000};
    switch (next(s) % 8) {
    case 0:
    case 1:
        return odd[next(s) % (sizeof(odd) / sizeof(odd[0]))];
    case 2:
        return next(s) % 16; // a descriptor, perhaps
    case 3:
        return 1ull << next(s) % 64;
    case 4:
        return next(s);
    default:
        return (uint64_t)arena + next(s) % ARENA / (next(s) % 2 ? 1 : 8) * 8 % ARENA;
    }
}

/* Calls that would end the test rather than the kernel. */
static int left_out(long nr)
{
    switch (nr) {
    case SYS_exit:
    case SYS_exit_group:
    case SYS_kill:
    case SYS_tkill:
    case SYS_tgkill:
    case SYS_rt_sigqueueinfo:
    case SYS_rt_tgsigqueueinfo:
    case SYS_rt_sigreturn:
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
    case SYS_execve:
    case SYS_execveat:
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_rt_sigtimedwait:
    case SYS_rt_sigaction:
    case SYS_rt_sigprocmask:
    case SYS_sigaltstack:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_arch_prctl:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_mmap: // MAP_FIXED over ourselves
    case SYS_madvise:
    case SYS_brk:
    case SYS_shmat:
    case SYS_setrlimit: // of CPU time
    case SYS_prlimit64:
    case SYS_mlockall: // all memory
    case SYS_alarm:
    case SYS_setitimer:
    case SYS_set_tid_address:
    case SYS_dup2:
    case SYS_dup3:
    case SYS_close_range:
        return 1;
    default:
        return 0;
    }
}

/* The address space's calls, within the arena. */
static void space(uint64_t *s)
{
    uint64_t at = (uint64_t)arena + next(s) % (ARENA / 4096) * 4096;
    uint64_t len = next(s) % 64 * 4096;
    if (at + len > (uint64_t)arena + ARENA)
        len = (uint64_t)arena + ARENA - at;
    switch (next(s) % 6) {
    case 0:
        syscall(SYS_mprotect, at, len, next(s) % 8);
        break;
    case 1:
        syscall(SYS_madvise, at, len, next(s) % 26);
        break;
    case 2:
        syscall(SYS_munmap, at, len);
        break;
    case 3:
        syscall(SYS_mremap, at, len, next(s) % 64 * 4096, 0, 0);
        break;
    default:
        syscall(SYS_mmap, at, len, next(s) % 8, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        break;
    }
}

static void *storm(void *arg)
{
    uint64_t s = (uint64_t)arg * 0x9e3779b97f4a7c15 + 1;
    for (long i = 0; i < rounds; i++) {
        long nr = (long)(next(&s) % CALLS);
        if (next(&s) % 8 == 0)
            space(&s);
        if (left_out(nr))
            continue;
        uint64_t a[6];
        for (int k = 0; k < 6; k++)
            a[k] = argument(&s);
        if (a[0] < 3) // the console stays ours
            a[0] += 3;
        syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return NULL;
}

static void nothing(int signo)
{
    (void)signo;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    struct utsname u;
    if (uname(&u) != 0 || strstr(u.release, "skerry") == NULL)
        return 2; // never on a machine that somebody needs
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    rounds = argc > 2 ? atol(argv[2]) : 20000;
    arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction sa = {.sa_handler = nothing}; // no SA_RESTART: it ends every wait
    sigaction(SIGUSR1, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, storm, (void *)(seed * THREADS + (uint64_t)i));
    for (int i = 0; i < THREADS; i++) {
        struct timespec soon;
        do {
            for (int k = i; k < THREADS; k++)
                pthread_kill(threads[k], SIGUSR1);
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 2000000;
            if (soon.tv_nsec >= 1000000000) {
                soon.tv_sec++;
                soon.tv_nsec -= 1000000000;
            }
        } while (pthread_timedjoin_np(threads[i], NULL, &soon) != 0);
    }
    printf("alive\n");
    return 0;
}
