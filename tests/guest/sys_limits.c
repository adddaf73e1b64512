// SPDX-License-Identifier: Apache-2.0
/* Resource limits: what can be set, and what happens when one is reached. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static long limit(int which, rlim_t soft, rlim_t hard)
{
    return setrlimit(which, &(struct rlimit){soft, hard});
}

static void setting(void)
{
    struct rlimit l, old;
    show("unknown", getrlimit(16, &l));
    show("nowhere", syscall(SYS_getrlimit, RLIMIT_CPU, 8));
    show("soft over hard", limit(RLIMIT_FSIZE, 2, 1));
    show("core", limit(RLIMIT_CORE, 0, 4096));
    getrlimit(RLIMIT_CORE, &l);
    printf("core %lu %lu\n", (long)l.rlim_cur, (long)l.rlim_max);
    show("rss", limit(RLIMIT_RSS, 1 << 20, RLIM_INFINITY));
    show("both at once", syscall(SYS_prlimit64, 0, RLIMIT_RSS, &(struct rlimit){5, 6}, &old));
    printf("rss was %lu\n", (long)old.rlim_cur);
    show("nobody", syscall(SYS_prlimit64, 0x3ffffff0, RLIMIT_RSS, NULL, &old));
    show("mine by number", syscall(SYS_prlimit64, getpid(), RLIMIT_RSS, NULL, &old));
    printf("rss %lu %lu\n", (long)old.rlim_cur, (long)old.rlim_max);
}

static long map(size_t bytes, int prot, int flags)
{
    void *p = mmap(NULL, bytes, prot, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -1;
    munmap(p, bytes);
    return 0;
}

static void memory(void)
{
    const size_t gib = 1 << 30;
    show("reserve 1 GiB", map(gib, PROT_NONE, MAP_PRIVATE));
    show("space", limit(RLIMIT_AS, 512 << 20, RLIM_INFINITY));
    show("reserve 1 GiB", map(gib, PROT_NONE, MAP_PRIVATE));
    show("reserve 64 MiB", map(64 << 20, PROT_NONE, MAP_PRIVATE));
    show("space free", limit(RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY));
    show("data", limit(RLIMIT_DATA, 64 << 20, RLIM_INFINITY));
    show("data of 128 MiB", map(128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE));
    show("shared", map(128 << 20, PROT_READ | PROT_WRITE, MAP_SHARED));
    show("read only", map(128 << 20, PROT_READ, MAP_PRIVATE));
    char *top = sbrk(0);
    show("break", syscall(SYS_brk, top + (128 << 20)) == (long)top ? 0 : 1);
    show("data free", limit(RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY));
    show("break", syscall(SYS_brk, top + (128 << 20)) == (long)top + (128 << 20) ? 0 : 1);
}

static void files(void)
{
    show("files", limit(RLIMIT_NOFILE, 6, 1024));
    int fd, last = -1;
    while ((fd = dup(0)) >= 0)
        last = fd;
    printf("last %d: %s\n", last, strerrorname_np(errno));
    show("dup2 beyond", dup2(0, 6));
    show("files", limit(RLIMIT_NOFILE, 1024, 1024));
    for (int i = 3; i <= last; i++)
        close(i);
}

static volatile sig_atomic_t seen;
static void on_signal(int signo)
{
    seen = signo;
}

static void size(void)
{
    char path[] = "/tmp/limitXXXXXX", page[4096] = "";
    int fd = mkstemp(path);
    signal(SIGXFSZ, on_signal);
    show("size", limit(RLIMIT_FSIZE, 6000, RLIM_INFINITY));
    show("whole", write(fd, page, 4096));
    show("part", write(fd, page, 4096));
    show_bool("no signal yet", seen == 0);
    show("none", write(fd, page, 4096));
    show_bool("signal", seen == SIGXFSZ);
    seen = 0;
    show("elsewhere", pwrite(fd, page, 1, 6000));
    show_bool("signal", seen == SIGXFSZ);
    seen = 0;
    show("longer", ftruncate(fd, 6001));
    show_bool("signal", seen == SIGXFSZ);
    seen = 0;
    show("just", ftruncate(fd, 6000));
    show("allocated", fallocate(fd, 0, 0, 10000));
    show_bool("signal", seen == SIGXFSZ);
    show("size", limit(RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY));
    show("free again", pwrite(fd, page, 1, 9000));
    unlink(path);
    close(fd);
}

static void signals(void)
{
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGRTMIN);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    show("queued", sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 7}));
    show("pending", limit(RLIMIT_SIGPENDING, 0, 4096));
    show("one more", sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 8}));
    show("an ordinary one", kill(getpid(), SIGUSR1));
    show("pending", limit(RLIMIT_SIGPENDING, 4096, 4096));
    struct timespec none = {0};
    siginfo_t info;
    while (sigtimedwait(&block, &info, &none) > 0)
        printf("%s %d\n", info.si_signo == SIGUSR1 ? "usr1" : "real-time",
               info.si_signo == SIGUSR1 ? 0 : info.si_value.sival_int);
}

static void cpu(void)
{
    signal(SIGXCPU, on_signal);
    seen = 0;
    show("cpu", limit(RLIMIT_CPU, 1, 4));
    while (seen == 0) {
    }
    show_bool("time is over", seen == SIGXCPU);
    show("cpu", limit(RLIMIT_CPU, RLIM_INFINITY, 4) == -1 ? 0 : 1);
}

int main(void)
{
    setting();
    memory();
    files();
    size();
    signals();
    cpu();
    return 0;
}
