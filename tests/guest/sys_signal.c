// SPDX-License-Identifier: Apache-2.0
/* Faults and what their handlers are told; the order and the story of queued signals; alternative
 * stacks; which calls go on after a handler and which end. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "guest.h"

static sigjmp_buf back;
static siginfo_t info;
static greg_t trap_number, error_code, cr2;
static volatile sig_atomic_t seen;

static void on_fault(int signo, siginfo_t *i, void *context)
{
    const ucontext_t *u = context;
    info = *i;
    trap_number = u->uc_mcontext.gregs[REG_TRAPNO];
    error_code = u->uc_mcontext.gregs[REG_ERR];
    cr2 = u->uc_mcontext.gregs[REG_CR2];
    seen = signo;
    siglongjmp(back, 1);
}

static void handle(int signo, void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction a = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags};
    sigaction(signo, &a, NULL);
}

static void told(const char *what, const void *address, bool with_cr2)
{
    printf("%s: signal %d code %d trap %d error %#llx, address %s%s\n", what, info.si_signo,
           info.si_code, (int)trap_number, (unsigned long long)error_code,
           address == NULL           ? "any"
           : info.si_addr == address ? "right"
                                     : "wrong",
           !with_cr2                ? ""
           : cr2 == (greg_t)address ? ", cr2 right"
                                    : ", cr2 wrong");
}

#define FAULT(what, address, with_cr2, ...)                                                        \
    do {                                                                                           \
        if (sigsetjmp(back, 1) == 0) {                                                             \
            __VA_ARGS__;                                                                           \
            puts(what ": nothing happened");                                                       \
        } else {                                                                                   \
            told(what, address, with_cr2);                                                         \
        }                                                                                          \
    } while (0)

static void faults(void)
{
    static const int signos[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (size_t i = 0; i < sizeof(signos) / sizeof(signos[0]); i++)
        handle(signos[i], on_fault, 0);
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *gone = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(gone, 4096);
    *data = (char)0xc3; // ret
    FAULT("read unmapped", gone, true, *(volatile char *)gone);
    FAULT("write unmapped", gone + 5, true, *(volatile char *)(gone + 5) = 1);
    FAULT("read none", none, true, *(volatile char *)none);
    FAULT("write read-only", read_only + 9, true, (void)*(volatile char *)read_only;
          *(volatile char *)(read_only + 9) = 1);
    FAULT("run data", data, true, ((void (*)(void))data)());
    FAULT("null", NULL, false, __asm__ volatile("movb $1, 0"));
    FAULT("not canonical", NULL, false,
          __asm__ volatile("movb $1, (%0)"
                           :
                           : "r"(0x8000000000000000ull)));
    FAULT("kernel half", NULL, false,
          __asm__ volatile("movb (%0), %%al"
                           :
                           : "r"(0xffff800000000000ull)
                           : "rax"));
    FAULT("privileged", NULL, false, __asm__ volatile("hlt"));
    FAULT("undefined", NULL, false, __asm__ volatile("ud2"));
    FAULT("breakpoint", NULL, false, __asm__ volatile("int3"));
    FAULT("divide", NULL, false, {
        int zero = 0;
        __asm__ volatile("idivl %0" : : "r"(zero), "a"(1), "d"(0));
    });
    FILE *f = tmpfile();
    char *behind = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(f), 0);
    FAULT("behind the file", behind, true, *(volatile char *)behind);
    fclose(f);
}

/* x87 reports at the next instruction that waits. (SSE's exceptions are not there in every
 * emulator.)
 */
static void floating(void)
{
    static const struct {
        const char *name;
        uint16_t mask;
    } kinds[] = {{"x87 divide", 0x37f & ~4}, {"x87 invalid", 0x37f & ~1}};
    uint16_t control = 0x37f;
    for (volatile int i = 0; i < 2; i++) {
        if (sigsetjmp(back, 1) == 0) {
            double x = i == 0 ? 1 : 0, zero = 0;
            __asm__ volatile("fldcw %0" : : "m"(kinds[i].mask));
            __asm__ volatile("fldl %1; fdivrl %0; fwait; fstp %%st(0)" : : "m"(x), "m"(zero));
            printf("%s: nothing happened\n", kinds[i].name);
        } else {
            told(kinds[i].name, NULL, false);
        }
        __asm__ volatile("fninit; fldcw %0" : : "m"(control));
    }
}

static int order[16], orders;
static void note(int signo, siginfo_t *i, void *context)
{
    (void)context;
    if (orders < 16)
        order[orders++] = signo * 100 + (i->si_code == SI_QUEUE ? i->si_value.sival_int : 99);
}

static void queued(void)
{
    sigset_t all, old, now;
    handle(SIGRTMIN + 2, note, 0);
    handle(SIGRTMIN + 1, note, 0);
    handle(SIGUSR1, note, 0);
    handle(SIGUSR2, note, 0);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 1});
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 2});
    sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 3});
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 4});
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 5});
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 6});
    raise(SIGUSR1);
    sigpending(&now);
    printf("pending %d %d %d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2),
           sigismember(&now, SIGALRM));
    sigprocmask(SIG_SETMASK, &old, NULL);
    // Each handler is interrupted by the next one's: they end in the order of the numbers reversed.
    for (int i = 0; i < orders; i++)
        printf("%d ", order[i]);
    puts("");
}

static volatile uintptr_t where;
static volatile int armed_inside;
static void on_stack(int signo, siginfo_t *i, void *context)
{
    stack_t s;
    (void)signo;
    (void)i;
    (void)context;
    where = (uintptr_t)&s;
    sigaltstack(NULL, &s);
    armed_inside = s.ss_flags;
}

static void stacks(void)
{
    static char area[65536];
    stack_t s = {.ss_sp = area, .ss_size = sizeof(area)}, old;
    show("set", sigaltstack(&s, NULL));
    handle(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    show_bool("on it", where >= (uintptr_t)area && where < (uintptr_t)area + sizeof(area));
    printf("inside %d\n", armed_inside);
    s.ss_flags = (int)(1u << 31); // SS_AUTODISARM
    show("autodisarm", sigaltstack(&s, NULL));
    raise(SIGUSR1);
    printf("inside %d\n", armed_inside);
    sigaltstack(NULL, &old);
    show_bool("back after", old.ss_sp == area && (unsigned)old.ss_flags == 1u << 31);
    s.ss_flags = 77;
    show("flags", sigaltstack(&s, NULL));
    s = (stack_t){.ss_sp = area, .ss_size = 100};
    show("small", sigaltstack(&s, NULL));
    s = (stack_t){.ss_flags = SS_DISABLE};
    show("off", sigaltstack(&s, NULL));
    handle(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    show_bool("on the ordinary one",
              !(where >= (uintptr_t)area && where < (uintptr_t)area + sizeof(area)));
}

static volatile sig_atomic_t hits;
static void hit(int signo, siginfo_t *i, void *context)
{
    (void)signo;
    (void)i;
    (void)context;
    hits++;
}

enum { CALLS = 9 };
static const char *const names[CALLS] = {"read",   "nanosleep", "poll",     "select", "pause",
                                         "accept", "recv",      "sem_wait", "epoll"};
static int ends[2], pair[2], listener;
static volatile int call, done, entered;

static void *interrupted(void *arg)
{
    char c;
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    fd_set set;
    struct timespec t = {.tv_sec = 60};
    long r = 0;
    (void)arg;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    entered = 1;
    errno = 0;
    switch (call) {
    case 0:
        r = read(ends[0], &c, 1);
        break;
    case 1:
        r = nanosleep(&t, NULL);
        break;
    case 2:
        r = poll(&p, 1, 60000);
        break;
    case 3:
        r = select(ends[0] + 1, &set, NULL, NULL, NULL);
        break;
    case 4:
        r = pause();
        break;
    case 5:
        r = accept(listener, NULL, NULL);
        break;
    case 6:
        r = recv(pair[0], &c, 1, 0);
        break;
    case 7:
        r = syscall(SYS_rt_sigtimedwait, &(uint64_t){0}, NULL, &t, 8);
        break;
    default:
        r = syscall(SYS_epoll_pwait, listener, NULL, 1, 0, NULL, 8); // an error at once
        break;
    }
    done = 1;
    return (void *)(intptr_t)(r < 0 ? errno : 0);
}

/* Signals until the call has ended or `hits` handlers have run without ending it. */
static void restarts(void)
{
    if (pipe(ends) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return;
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct {
        sa_family_t family;
        char path[14];
    } name = {AF_UNIX, "\0sys_signal"};
    bind(listener, (struct sockaddr *)&name, sizeof(name));
    listen(listener, 5);
    for (int restart = 0; restart < 2; restart++) {
        handle(SIGUSR1, hit, restart ? SA_RESTART : 0);
        for (call = 0; call < CALLS; call++) {
            pthread_t t;
            void *r;
            hits = done = entered = 0;
            pthread_create(&t, NULL, interrupted, NULL);
            while (!done && hits < 20) {
                nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
                if (!done)
                    pthread_kill(t, SIGUSR1);
            }
            bool ended = done;
            if (!ended && call == 5) {
                int s = socket(AF_UNIX, SOCK_STREAM, 0);
                connect(s, (struct sockaddr *)&name, sizeof(name));
            } else if (!ended && write(call == 6 ? pair[1] : ends[1], "x", 1) != 1) {
                return;
            }
            pthread_join(t, &r);
            printf("restart %d %s: %s, %s\n", restart, names[call], ended ? "ended" : "went on",
                   r == NULL ? "well" : strerrorname_np((int)(intptr_t)r));
        }
    }
}

static void errors(void)
{
    struct sigaction a = {.sa_handler = SIG_IGN};
    show("kill action", sigaction(SIGKILL, &a, NULL));
    show("stop action", sigaction(SIGSTOP, &a, NULL));
    show("signal 0", syscall(SYS_rt_sigaction, 0, &a, NULL, 8));
    show("signal 65", syscall(SYS_rt_sigaction, 65, NULL, NULL, 8));
    show("set size", syscall(SYS_rt_sigaction, 10, NULL, NULL, 4));
    show("how", syscall(SYS_rt_sigprocmask, 9, &(uint64_t){0}, NULL, 8));
    show("how without set", syscall(SYS_rt_sigprocmask, 9, NULL, NULL, 8));
    show("kill 65", kill(getpid(), 65));
    show("kill nobody", kill(0x3ffffff0, 0));
    show("kill me not", kill(getpid(), 0));
    show("tgkill wrong group", syscall(SYS_tgkill, 0x3ffffff0, syscall(SYS_gettid), 0));
    show("tgkill 0", syscall(SYS_tgkill, 0, 0, 0));
    show("tkill negative", syscall(SYS_tkill, -1, 0));
    siginfo_t i = {.si_code = SI_USER};
    show("queue as kernel to another", syscall(SYS_rt_sigqueueinfo, 0x3ffffff0, SIGUSR1, &i));
    show("queue 65", syscall(SYS_rt_sigqueueinfo, getpid(), 65, &i));
    show("timedwait time",
         syscall(SYS_rt_sigtimedwait, &(uint64_t){0}, NULL, &(struct timespec){.tv_nsec = -1}, 8));
    show("timedwait nothing",
         syscall(SYS_rt_sigtimedwait, &(uint64_t){0}, NULL, &(struct timespec){0}, 8));
    show("suspend size", syscall(SYS_rt_sigsuspend, &(uint64_t){0}, 4));
    show("pending size", syscall(SYS_rt_sigpending, &(uint64_t){0}, 16));
}

int main(void)
{
    faults();
    floating();
    queued();
    stacks();
    restarts();
    errors();
    return 0;
}
