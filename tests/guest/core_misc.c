// SPDX-License-Identifier: Apache-2.0
/* Clocks, limits, identity, randomness, start-up state, and calls that do not exist. */
#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static int64_t ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return -1;
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void clocks(void)
{
    int64_t last = ns(CLOCK_MONOTONIC);
    bool grows = true;
    for (int i = 0; i < 10000; i++) {
        int64_t now = ns(CLOCK_MONOTONIC);
        grows &= now >= last;
        last = now;
    }
    show_bool("monotonic", grows);
    struct timespec t, ask = {.tv_nsec = 20000000};
    int64_t before = ns(CLOCK_MONOTONIC);
    show("nanosleep", nanosleep(&ask, NULL));
    show_bool("slept long enough", ns(CLOCK_MONOTONIC) - before >= 20000000);
    // The vDSO and the call tell the same time.
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    int64_t kernel = t.tv_sec * 1000000000ll + t.tv_nsec, user = ns(CLOCK_MONOTONIC);
    show_bool("call and vDSO agree", user >= kernel && user - kernel < 1000000000);
    show_bool("this century", ns(CLOCK_REALTIME) > 1700000000ll * 1000000000);
    show_bool("coarse", ns(CLOCK_MONOTONIC_COARSE) <= ns(CLOCK_MONOTONIC));
    show_bool("boot", ns(CLOCK_BOOTTIME) > 0);
    show_bool("cpu time", ns(CLOCK_PROCESS_CPUTIME_ID) > 0 && ns(CLOCK_THREAD_CPUTIME_ID) > 0);
    show("no such clock", syscall(SYS_clock_gettime, 77, &t));
    show("resolution", clock_getres(CLOCK_MONOTONIC, &t) == 0 ? t.tv_nsec : -1);
    struct timespec past = {.tv_sec = 1}, wrong = {.tv_nsec = 1000000000};
    show("sleep until the past", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
    show("sleep bad time", nanosleep(&wrong, NULL));
    struct timeval tv;
    show("gettimeofday", gettimeofday(&tv, NULL));
    show_bool("time", time(NULL) - tv.tv_sec <= 1);
}

static void limits(void)
{
    struct rlimit r;
    show("getrlimit", getrlimit(RLIMIT_NOFILE, &r));
    show_bool("soft within hard", r.rlim_cur <= r.rlim_max);
    r.rlim_cur = 64;
    show("setrlimit", setrlimit(RLIMIT_NOFILE, &r));
    getrlimit(RLIMIT_NOFILE, &r);
    show("remembered", (long)r.rlim_cur);
    show("dup2 beyond", dup2(0, 64));
    show("dup2 within", dup2(0, 63));
    r.rlim_cur = r.rlim_max + 1;
    show("soft above hard", r.rlim_max == RLIM_INFINITY ? -1 : setrlimit(RLIMIT_NOFILE, &r));
    show("no such limit", getrlimit(99, &r));
    show_bool("stack limit", getrlimit(RLIMIT_STACK, &r) == 0 && r.rlim_cur >= 1 << 20);
    struct rusage u;
    show("getrusage", getrusage(RUSAGE_SELF, &u));
    show("getrusage bad", getrusage(55, &u));
}

static void identity(void)
{
    struct utsname u;
    show("uname", uname(&u));
    printf("%s %s\n", u.sysname, u.machine);
    show_bool("getppid", getppid() >= 0);
    show_bool("ids agree", getuid() == geteuid() && getgid() == getegid());
    char name[16] = {0};
    show("set name", prctl(PR_SET_NAME, "a-name-longer-than-fifteen"));
    prctl(PR_GET_NAME, name);
    puts(name);
    cpu_set_t set;
    show_bool("affinity", sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) >= 1);
    struct sysinfo si;
    show("sysinfo", sysinfo(&si));
    show_bool("memory", si.totalram * si.mem_unit > 1 << 20 && si.freeram <= si.totalram);
}

static void start(int argc, char **argv)
{
    printf("argc %d argv[argc] %s\n", argc, argv[argc] == NULL ? "NULL" : "not NULL");
    show("page size", (long)getauxval(AT_PAGESZ));
    show_bool("vDSO", getauxval(AT_SYSINFO_EHDR) != 0 &&
                          memcmp((void *)getauxval(AT_SYSINFO_EHDR), ELFMAG, 4) == 0);
    const unsigned char *r = (const void *)getauxval(AT_RANDOM);
    bool varied = false;
    for (int i = 1; i < 16; i++)
        varied |= r[i] != r[0];
    show_bool("AT_RANDOM", varied);
    show_bool("stack is aligned", ((uintptr_t)__builtin_frame_address(0) & 15) == 0);
    show("secure", (long)getauxval(AT_SECURE));
    show("clock ticks", (long)getauxval(AT_CLKTCK));
}

static void randomness(void)
{
    unsigned char a[32] = {0}, b[32] = {0};
    show("getrandom", getrandom(a, sizeof(a), 0));
    show("again", getrandom(b, sizeof(b), GRND_NONBLOCK));
    show_bool("differs", memcmp(a, b, sizeof(a)) != 0);
    show("bad flags", getrandom(a, sizeof(a), 0x100));
    show("bad address", syscall(SYS_getrandom, 8, 16, 0));
}

static void unknown(void)
{
    show("call 5000", syscall(5000));
    show("call -1", syscall(-1));
    show("write bad address", syscall(SYS_write, 1, 8, 10));
    show("prctl bad", prctl(12345, 0, 0, 0, 0));
    show("arch_prctl bad", syscall(SYS_arch_prctl, 0x9999, 0));
    show("sched_yield", sched_yield());
}

int main(int argc, char **argv)
{
    start(argc, argv);
    clocks();
    limits();
    identity();
    randomness();
    unknown();
    fflush(stdout);
    _exit(200);
}
