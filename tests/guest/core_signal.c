// SPDX-License-Identifier: Apache-2.0
/* Signals: masks, queues, stacks, restart, what faults say, what is inherited by threads. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

static volatile sig_atomic_t caught, last_code, last_value;
static char order[64];

static void note(int signo, siginfo_t *info, void *context)
{
    (void)context;
    caught++;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    size_t n = strlen(order);
    if (n < sizeof(order) - 1)
        order[n] = (char)('A' + signo % 26);
}

static void handle(int signo, int flags)
{
    struct sigaction sa = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | flags};
    sigaction(signo, &sa, NULL);
}

static void masks(void)
{
    sigset_t set, old, pending;
    handle(SIGUSR1, 0);
    handle(SIGUSR2, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    show("block", sigprocmask(SIG_BLOCK, &set, &old));
    raise(SIGUSR1);
    raise(SIGUSR1); // standard signals do not queue
    raise(SIGUSR2);
    show("caught while blocked", caught);
    sigpending(&pending);
    show("USR1 pending", sigismember(&pending, SIGUSR1));
    show("unblock", sigprocmask(SIG_SETMASK, &old, NULL));
    show("caught after", caught);
    show("bad how", sigprocmask(77, &set, NULL));
}

static void queued(void)
{
    sigset_t set;
    int rt = SIGRTMIN + 1;
    handle(rt, 0);
    caught = 0;
    sigemptyset(&set);
    sigaddset(&set, rt);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 1; i <= 3; i++)
        show("sigqueue", sigqueue(getpid(), rt, (union sigval){.sival_int = i}));
    siginfo_t info;
    show_bool("sigwaitinfo", sigwaitinfo(&set, &info) == rt);
    printf("first value %d code %d\n", info.si_value.sival_int, info.si_code);
    struct timespec none = {0};
    sigset_t other;
    sigemptyset(&other);
    sigaddset(&other, SIGWINCH);
    show("sigtimedwait", sigtimedwait(&other, NULL, &none));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("then caught %d, last value %d\n", (int)caught, (int)last_value);
}

static sigjmp_buf back;
static volatile int code;

static void on_fault(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    code = info->si_code;
    (void)signo;
    // Step over the two bytes of ud2; everything else jumps out.
    if (signo == SIGILL)
        uc->uc_mcontext.gregs[REG_RIP] += 2;
    else
        siglongjmp(back, 1);
}

static void faults(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &sa, NULL);
    sigaction(SIGFPE, &sa, NULL);
    sigaction(SIGTRAP, &sa, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    __asm__ volatile("ud2");
    printf("SIGILL code %d, and on\n", code);
    if (sigsetjmp(back, 1) == 0)
        __asm__ volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; div %%ecx"
                         :
                         :
                         : "rax", "rcx", "rdx");
    printf("SIGFPE code %d\n", code);
    if (sigsetjmp(back, 1) == 0)
        __asm__ volatile("int3");
    printf("SIGTRAP code %d\n", code);
    if (sigsetjmp(back, 1) == 0)
        __asm__ volatile("hlt");
    printf("SIGSEGV by privilege code %d\n", code);
    if (sigsetjmp(back, 1) == 0)
        __asm__ volatile("mov (%0), %%al" : : "r"(0x8000000000000000ul) : "rax");
    printf("SIGSEGV not canonical code %d\n", code);
}

static char altstack[65536];
static volatile bool on_alt;

static void where(int signo)
{
    char here;
    (void)signo;
    on_alt = &here >= altstack && &here < altstack + sizeof(altstack);
}

static void alternate(void)
{
    stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)}, old;
    show("sigaltstack", sigaltstack(&ss, NULL));
    struct sigaction sa = {.sa_handler = where, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    show_bool("ran on it", on_alt);
    sigaltstack(NULL, &old);
    show_bool("still set", old.ss_sp == altstack && old.ss_flags == 0);
    ss.ss_size = 100;
    show("too small", sigaltstack(&ss, NULL));
    ss.ss_flags = SS_DISABLE;
    show("disable", sigaltstack(&ss, NULL));
}

static void interrupted(void)
{
    int fds[2];
    if (pipe(fds) != 0)
        return;
    struct itimerval it = {.it_value.tv_usec = 30000};
    char c;
    handle(SIGALRM, 0);
    setitimer(ITIMER_REAL, &it, NULL);
    show("read without SA_RESTART", read(fds[0], &c, 1));
    struct timespec want = {.tv_sec = 10}, left = {0};
    setitimer(ITIMER_REAL, &it, NULL);
    show("nanosleep", nanosleep(&want, &left));
    show_bool("time left is told", left.tv_sec >= 8 && left.tv_sec < 10);
    close(fds[0]);
    close(fds[1]);
}

static pthread_barrier_t barrier;

static void *thread(void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    *(pid_t *)arg = (pid_t)syscall(SYS_gettid);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void threads(void)
{
    sigset_t set;
    pthread_t t;
    pid_t tid = 0;
    handle(SIGUSR2, SA_RESTART);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&t, NULL, thread, &tid);
    pthread_barrier_wait(&barrier);
    caught = 0;
    kill(getpid(), SIGUSR2); // the thread has it unblocked, we do not
    while (caught == 0) {
    }
    printf("the thread took it, code %d\n", (int)last_code);
    show("tgkill", syscall(SYS_tgkill, getpid(), tid, SIGUSR2));
    while (caught == 1) {
    }
    printf("caught %d, code %d\n", (int)caught, (int)last_code);
    show("tgkill nobody", syscall(SYS_tgkill, getpid(), 999999, SIGUSR2));
    show("tgkill bad signal", syscall(SYS_tgkill, getpid(), tid, 65));
    show("tgkill probe", syscall(SYS_tgkill, getpid(), tid, 0));
    pthread_barrier_wait(&barrier);
    pthread_join(t, NULL);
}

static void errors(void)
{
    struct sigaction sa = {.sa_handler = SIG_IGN};
    show("sigaction KILL", sigaction(SIGKILL, &sa, NULL));
    show("sigaction 65", sigaction(65, &sa, NULL));
    show("kill 65", kill(getpid(), 65));
    show("kill nobody", kill(999999, 0));
    show("kill self probe", kill(getpid(), 0));
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    puts("ignored");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    masks();
    queued();
    faults();
    alternate();
    interrupted();
    threads();
    errors();
    printf("order %zu\n", strlen(order));
    signal(SIGTERM, SIG_DFL);
    raise(SIGTERM);
    puts("not reached");
    return 0;
}
