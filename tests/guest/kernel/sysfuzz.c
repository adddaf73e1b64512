// SPDX-License-Identifier: Apache-2.0
/* A system-call fuzzer. Each round is a child process with several threads that make random calls:
 * often with arguments of the right kind (descriptors of every sort, paths, buffers, vectors),
 * often not. A round may end in any way; the kernel must live and the rounds must go on.
 *
 * usage: sysfuzz SEED SECONDS [FIRST-ROUND]    prints "round N" as it goes, "alive" at the end */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 4,
    CALLS_A_THREAD = 4000,
    CALLS = 460,
    ARENA = 1 << 20,
    FDS = 48,
    FORKS_MAX = 24,
    ROUND_MS_MAX = 1500,
    END_MS_MAX = 10000,
    STEP_US = 5000,
};

static uint8_t *arena;
static int forks; // by all threads of a round

/* Which kinds of argument a call takes: f descriptor, s path, b buffer, n length, v vector, t time,
 * a socket address, l its length, m page, i small number, g flags, z zero, p own process, w futex
 * word, o offset, r anything. Calls that are not here get anything. */
static const struct call {
    int nr;
    const char *kinds;
} known[] = {
    {SYS_read, "fbn"},
    {SYS_write, "fbn"},
    {SYS_open, "sgi"},
    {SYS_openat, "fsgi"},
    {SYS_close, "f"},
    {SYS_fstat, "fb"},
    {SYS_newfstatat, "fsbg"},
    {SYS_statx, "fsggb"},
    {SYS_poll, "bii"},
    {SYS_ppoll, "bitbi"},
    {SYS_select, "ibbbt"},
    {SYS_lseek, "foi"},
    {SYS_mmap, "mngifo"},
    {SYS_mprotect, "mni"},
    {SYS_munmap, "mn"},
    {SYS_mremap, "mnnim"},
    {SYS_madvise, "mni"},
    {SYS_msync, "mni"},
    {SYS_mincore, "mnb"},
    {SYS_ioctl, "frb"},
    {SYS_pread64, "fbno"},
    {SYS_pwrite64, "fbno"},
    {SYS_readv, "fvi"},
    {SYS_writev, "fvi"},
    {SYS_preadv2, "fvioii"},
    {SYS_pwritev2, "fvioii"},
    {SYS_pipe2, "bg"},
    {SYS_dup, "f"},
    {SYS_dup2, "ff"},
    {SYS_dup3, "ffg"},
    {SYS_nanosleep, "tb"},
    {SYS_clock_nanosleep, "iitb"},
    {SYS_setitimer, "ibb"},
    {SYS_sendfile, "ffbn"},
    {SYS_socket, "iii"},
    {SYS_socketpair, "iiib"},
    {SYS_connect, "fal"},
    {SYS_bind, "fal"},
    {SYS_listen, "fi"},
    {SYS_accept4, "fabg"},
    {SYS_sendto, "fbngal"},
    {SYS_recvfrom, "fbngab"},
    {SYS_sendmsg, "fbg"},
    {SYS_recvmsg, "fbg"},
    {SYS_sendmmsg, "fbig"},
    {SYS_recvmmsg, "fbigt"},
    {SYS_shutdown, "fi"},
    {SYS_setsockopt, "fiibl"},
    {SYS_getsockopt, "fiibb"},
    {SYS_getsockname, "fab"},
    {SYS_getpeername, "fab"},
    {SYS_fork, ""},
    {SYS_vfork, ""},
    {SYS_clone, "gzzzz"},
    {SYS_clone3, "bn"},
    {SYS_wait4, "ribb"},
    {SYS_waitid, "iibib"},
    {SYS_kill, "pi"},
    {SYS_tgkill, "ppi"},
    {SYS_rt_sigqueueinfo, "pib"},
    {SYS_fcntl, "fir"},
    {SYS_fcntl, "fib"},
    {SYS_flock, "fi"},
    {SYS_fsync, "f"},
    {SYS_truncate, "so"},
    {SYS_ftruncate, "fo"},
    {SYS_fallocate, "fioo"},
    {SYS_getdents64, "fbn"},
    {SYS_chdir, "s"},
    {SYS_fchdir, "f"},
    {SYS_renameat2, "fsfsg"},
    {SYS_mkdirat, "fsi"},
    {SYS_mknodat, "fsii"},
    {SYS_unlinkat, "fsg"},
    {SYS_linkat, "fsfsg"},
    {SYS_symlinkat, "sfs"},
    {SYS_readlinkat, "fsbn"},
    {SYS_fchmodat, "fsi"},
    {SYS_fchownat, "fsiig"},
    {SYS_utimensat, "fsbg"},
    {SYS_setxattr, "ssbni"},
    {SYS_getxattr, "ssbn"},
    {SYS_listxattr, "sbn"},
    {SYS_statfs, "sb"},
    {SYS_futex, "wiitwi"},
    {SYS_epoll_ctl, "fifb"},
    {SYS_epoll_pwait, "fbiibi"},
    {SYS_timerfd_settime, "fibb"},
    {SYS_timerfd_gettime, "fb"},
    {SYS_timer_create, "ibb"},
    {SYS_timer_settime, "iibb"},
    {SYS_timer_delete, "i"},
    {SYS_eventfd2, "ig"},
    {SYS_epoll_create1, "g"},
    {SYS_signalfd4, "fbng"},
    {SYS_inotify_init1, "g"},
    {SYS_inotify_add_watch, "fsg"},
    {SYS_inotify_rm_watch, "fi"},
    {SYS_splice, "fbfbng"},
    {SYS_tee, "ffng"},
    {SYS_vmsplice, "fvig"},
    {SYS_copy_file_range, "fbfbng"},
    {SYS_memfd_create, "sg"},
    {SYS_shmget, "ino"},
    {SYS_shmat, "img"},
    {SYS_shmctl, "iib"},
    {SYS_shmdt, "m"},
    {SYS_semget, "iio"},
    {SYS_semop, "ibi"},
    {SYS_semtimedop, "ibit"},
    {SYS_semctl, "iiib"},
    {SYS_msgget, "io"},
    {SYS_msgsnd, "ibno"},
    {SYS_msgrcv, "ibnio"},
    {SYS_msgctl, "iib"},
    {SYS_pidfd_open, "pz"},
    {SYS_pidfd_getfd, "ffz"},
    {SYS_pidfd_send_signal, "fizz"},
    {SYS_prctl, "irrrr"},
    {SYS_prlimit64, "pibb"},
    {SYS_sched_setaffinity, "pnb"},
    {SYS_sched_getaffinity, "pnb"},
    {SYS_sched_setscheduler, "pib"},
    {SYS_membarrier, "ggi"},
    {SYS_rt_sigaction, "ibbn"},
    {SYS_rt_sigprocmask, "ibbn"},
    {SYS_rt_sigtimedwait, "bbtn"},
    {SYS_sigaltstack, "bb"},
    {SYS_setpgid, "pp"},
    {SYS_setsid, ""},
    {SYS_getrandom, "bng"},
    {SYS_process_vm_readv, "pvivii"},
    {SYS_close_range, "ffg"},
    {SYS_execve, "sbb"},
    {SYS_set_robust_list, "bn"},
    {SYS_openat2, "fsbn"},
    {SYS_sysinfo, "b"},
    {SYS_times, "b"},
    {SYS_getcwd, "bn"},
};

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t anything(uint64_t *s)
{
    static const uint64_t odd[] = {0,
                                   1,
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
    switch (next(s) % 4) {
    case 0:
        return odd[next(s) % (sizeof(odd) / sizeof(odd[0]))];
    case 1:
        return 1ull << next(s) % 64;
    case 2:
        return next(s);
    default:
        return (uint64_t)arena + next(s) % ARENA;
    }
}

static uint64_t path(uint64_t *s)
{
    static const char *const paths[] = {
        "/tmp/a",
        "/tmp/b",
        "/tmp/d/c",
        "/tmp/d",
        "a",
        "b",
        "..",
        ".",
        "",
        "/",
        "/proc/self/fd",
        "/proc/self/maps",
        "/proc/self/exe",
        "/dev/null",
        "/dev/zero",
        "/tmp/link",
        "/proc/self/stat",
        "/proc/self/smaps",
        "user.x",
        "/tmp/d/../a",
        "/proc/meminfo",
        "/sys/devices",
        "/dev/urandom",
        "/proc/self/fd/5",
        "/etc/passwd",
        "/proc/self/cwd",
        "/proc/1/status",
        "/dev/shm/x",
        "/tmp/../tmp/d",
        "/none/at/all",
    };
    return (uint64_t)paths[next(s) % (sizeof(paths) / sizeof(paths[0]))];
}

/* A buffer, now and then filled with what could be meant: small numbers, pointers, descriptors. */
static uint64_t buffer(uint64_t *s)
{
    uint64_t *at = (uint64_t *)(arena + next(s) % (ARENA - 4096) / 8 * 8);
    uint64_t kind = next(s) % 4;
    for (int i = 0; kind != 0 && i < 8; i++)
        at[i] = kind == 1 ? next(s) % 16 : kind == 2 ? anything(s) : next(s) % 4096 << next(s) % 32;
    return (uint64_t)at;
}

static uint64_t vector(uint64_t *s)
{
    struct iovec {
        uint64_t base, len;
    } *v = (struct iovec *)(arena + next(s) % (ARENA - 4096) / 16 * 16);
    for (int i = 0; i < 8; i++)
        v[i] = (struct iovec){(uint64_t)arena + next(s) % ARENA, next(s) % 8192};
    return (uint64_t)v;
}

static uint64_t short_time(uint64_t *s)
{
    struct timespec *t = (struct timespec *)(arena + next(s) % (ARENA - 4096) / 16 * 16);
    *t = (struct timespec){.tv_nsec = (long)(next(s) % 2000000)};
    return (uint64_t)t;
}

static uint64_t address(uint64_t *s)
{
    uint8_t *a = arena + next(s) % (ARENA - 4096) / 16 * 16;
    static const uint8_t in[] = {AF_INET, 0, 0x10, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
    memcpy(a, in, sizeof(in));
    a[3] = (uint8_t)(next(s) % 8);
    if (next(s) % 3 == 0)
        a[0] = AF_UNIX;
    return (uint64_t)a;
}

static uint64_t argument(uint64_t *s, char kind)
{
    if (next(s) % 16 == 0)
        return anything(s);
    switch (kind) {
    case 'f':
        return next(s) % 16 == 0 ? (uint64_t)AT_FDCWD : 3 + next(s) % FDS;
    case 's':
        return path(s);
    case 'b':
        return next(s) % 8 == 0 ? 0 : buffer(s);
    case 'n':
        return next(s) % 2 ? next(s) % 64 : next(s) % (1 << 18);
    case 'v':
        return vector(s);
    case 't':
        return short_time(s);
    case 'a':
        return address(s);
    case 'l':
        return next(s) % 2 ? 16 : next(s) % 128;
    case 'm':
        return (uint64_t)arena + next(s) % (ARENA / 4096) * 4096;
    case 'i':
        return next(s) % 34;
    case 'g':
        return next(s) % 2 ? 1ull << next(s) % 32 : next(s) % 2 ? 0 : next(s) & next(s);
    case 'z':
        return 0;
    case 'p':
        return next(s) % 2 ? 0 : (uint64_t)getpid();
    case 'w':
        return (uint64_t)arena + next(s) % 16 * 4;
    case 'o':
        return next(s) % (1 << 22);
    default:
        return anything(s);
    }
}

static bool makes_child(long nr)
{
    return nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;
}

/* Calls that would end all rounds, or that only wait. */
static bool left_out(uint64_t *s, long nr, const uint64_t *a)
{
    switch (nr) {
    case SYS_reboot:
        return true;
    case SYS_kill:
    case SYS_tkill:
    case SYS_tgkill:
    case SYS_rt_sigqueueinfo:
    case SYS_rt_tgsigqueueinfo: // ourselves, and not often
        return (a[0] != 0 && a[0] != (uint64_t)getpid()) || next(s) % 64 != 0;
    case SYS_exit:
    case SYS_exit_group:
    case SYS_rt_sigreturn:
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_arch_prctl:
    case SYS_close_range:
        return next(s) % 256 != 0;
    default:
        return makes_child(nr) && __atomic_fetch_add(&forks, 1, __ATOMIC_RELAXED) >= FORKS_MAX;
    }
}

static void *calls(void *arg)
{
    uint64_t s = (uint64_t)arg | 1;
    for (int i = 0; i < CALLS_A_THREAD; i++) {
        const char *kinds = "";
        long nr = (long)(next(&s) % CALLS);
        if (next(&s) % 8 != 0) {
            const struct call *c = &known[next(&s) % (sizeof(known) / sizeof(known[0]))];
            nr = c->nr;
            kinds = c->kinds;
        }
        uint64_t a[6];
        for (int k = 0; k < 6; k++) {
            a[k] = argument(&s, *kinds != '\0' ? *kinds : 'r');
            kinds += *kinds != '\0';
        }
        if (left_out(&s, nr, a))
            continue;
        if (syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]) == 0 && makes_child(nr))
            syscall(SYS_exit, 0);
    }
    return NULL;
}

/* Signals that owners of descriptors or timers get reach the first process too: not to its end. */
static void all_signals(void (*action)(int))
{
    for (int n = 1; n <= SIGRTMAX; n++)
        if (n != SIGCHLD)
            signal(n, action);
}

/* Descriptors of every sort at 3 and up. */
static void open_all(void)
{
    static struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int p[2];
    mkdir("/tmp/d", 0755);
    chdir("/tmp/d");
    open("/tmp/a", O_RDWR | O_CREAT, 0644);
    open("/tmp/d", O_RDONLY | O_DIRECTORY);
    pipe2(p, O_NONBLOCK);
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    listen(tcp, 4);
    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socket(AF_INET, SOCK_DGRAM, 0);
    socket(AF_NETLINK, SOCK_RAW, 0);
    int e = epoll_create1(0);
    epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event);
    epoll_ctl(e, EPOLL_CTL_ADD, tcp, &event);
    eventfd(1, EFD_NONBLOCK);
    timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    signalfd(-1, &set, SFD_NONBLOCK);
    int watch = inotify_init1(IN_NONBLOCK);
    inotify_add_watch(watch, "/tmp/d", IN_ALL_EVENTS);
    syscall(SYS_memfd_create, "m", 0);
    open("/proc/self/maps", O_RDONLY);
    open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    open("/dev/zero", O_RDWR);
    open("/dev/urandom", O_RDONLY);
    open("/", O_PATH | O_DIRECTORY);
}

static void round_of(uint64_t seed)
{
    pthread_t t[THREADS];
    int quiet = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(quiet, i);
    close(quiet);
    setpgid(0, 0);
    all_signals(SIG_DFL);
    struct rlimit most = {1 << 16, 1 << 16};
    setrlimit(RLIMIT_NOFILE, &most);
    signal(SIGPIPE, SIG_IGN);
    open_all();
    for (uint64_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, calls, (void *)((seed * THREADS + i) * 0x9e3779b97f4a7c15));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Wait for the round's process, then end all that it left behind. 0 when nothing is left. */
static int reap(pid_t child)
{
    uint64_t end = now_ms() + ROUND_MS_MAX;
    while (now_ms() < end && waitpid(child, NULL, WNOHANG) == 0)
        usleep(STEP_US);
    end = now_ms() + END_MS_MAX;
    kill(child, SIGKILL);
    do {
        kill(-1, SIGKILL); // we are process 1, which this spares
        while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, __WALL | WNOHANG) < 0)
            return 0;
        usleep(STEP_US);
    } while (now_ms() < end);
    return -1;
}

int main(int argc, char **argv)
{
    struct utsname u;
    if (uname(&u) != 0 || strstr(u.release, "skerry") == NULL)
        return 2; // never on a machine that somebody needs
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t end = now_ms() + (argc > 2 ? strtoull(argv[2], NULL, 0) : 10) * 1000;
    setvbuf(stdout, NULL, _IOLBF, 0);
    all_signals(SIG_IGN);
    for (uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 0) : 0; now_ms() < end; n++) {
        printf("round %lu\n", (unsigned long)n);
        arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pid_t child = fork();
        if (child < 0) {
            perror("fork");
            return 1;
        }
        if (child == 0) {
            round_of(seed * 1000003 + n);
            _exit(0);
        }
        if (reap(child) != 0) {
            printf("killed processes do not end\n");
            return 1;
        }
        munmap(arena, ARENA);
    }
    printf("alive\n");
    return 0;
}
