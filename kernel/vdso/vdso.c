// SPDX-License-Identifier: Apache-2.0
/* Clocks without a system call. Runs in the program: no kernel code, no data of its own. What it
 * does not know it asks the kernel. vdso(7). */
#include "base/errno.h"
#include "kernel/vdso/data.h"

extern const struct vdso_data vdso_data __attribute__((visibility("hidden")));

enum {
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC = 1,
    CLOCK_MONOTONIC_RAW = 4,
    CLOCK_REALTIME_COARSE = 5,
    CLOCK_MONOTONIC_COARSE = 6,
    CLOCK_BOOTTIME = 7,
    CLOCK_TAI = 11,
    NR_CLOCK_GETTIME = 228,
    NR_CLOCK_GETRES = 229,
    NR_GETCPU = 309,
    NS_PER_SEC = 1000000000,
};

struct timespec {
    int64_t sec, nsec;
};

struct timeval {
    int64_t sec, usec;
};

long __vdso_clock_gettime(int clock, struct timespec *ret);
long __vdso_clock_getres(int clock, struct timespec *ret);
long __vdso_gettimeofday(struct timeval *ret, void *zone);
long __vdso_time(int64_t *ret);
long __vdso_getcpu(unsigned *ret_cpu, unsigned *ret_node, void *unused);

static long syscall2(long nr, long a, long b)
{
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return r;
}

static uint64_t mono_ns(void)
{
    uint32_t lo, hi;
    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    uint64_t ticks = ((uint64_t)hi << 32 | lo) - vdso_data.tsc_start;
    return (uint64_t)((unsigned __int128)ticks * vdso_data.mult >> 32);
}

long __vdso_clock_gettime(int clock, struct timespec *ret)
{
    uint64_t ns;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        ns = mono_ns() + vdso_data.real_offset_ns;
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        ns = mono_ns();
        break;
    default:
        return syscall2(NR_CLOCK_GETTIME, clock, (long)ret);
    }
    ret->sec = (int64_t)(ns / NS_PER_SEC);
    ret->nsec = (int64_t)(ns % NS_PER_SEC);
    return 0;
}

long __vdso_clock_getres(int clock, struct timespec *ret)
{
    return syscall2(NR_CLOCK_GETRES, clock, (long)ret);
}

long __vdso_gettimeofday(struct timeval *ret, void *zone)
{
    uint64_t ns = mono_ns() + vdso_data.real_offset_ns;
    if (ret != NULL) {
        ret->sec = (int64_t)(ns / NS_PER_SEC);
        ret->usec = (int64_t)(ns % NS_PER_SEC / 1000);
    }
    if (zone != NULL)
        *(uint64_t *)zone = 0; // struct timezone: two ints
    return 0;
}

long __vdso_time(int64_t *ret)
{
    int64_t now = (int64_t)((mono_ns() + vdso_data.real_offset_ns) / NS_PER_SEC);
    if (ret != NULL)
        *ret = now;
    return now;
}

long __vdso_getcpu(unsigned *ret_cpu, unsigned *ret_node, UNUSED void *unused)
{
    if (!vdso_data.has_rdtscp)
        return syscall2(NR_GETCPU, (long)ret_cpu, (long)ret_node);
    uint32_t cpu;
    __asm__ volatile("rdtscp" : "=c"(cpu) : : "rax", "rdx");
    if (ret_cpu != NULL)
        *ret_cpu = cpu;
    if (ret_node != NULL)
        *ret_node = 0;
    return 0;
}
