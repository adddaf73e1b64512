// SPDX-License-Identifier: Apache-2.0
/* What becomes of programs that break: each way in a child of its own, whose end is printed; and
 * what running out of descriptors and address space looks like from inside. */
#include "guest.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int zero;
static char data[64] = {'\xc3'}; // ret
static const char constant[64] = {1};

static int deep(volatile char *above)
{
    volatile char here[4096];
    here[0] = above != NULL ? above[0] : 0;
    return zero == 0 ? deep(here) + here[0] : 0;
}

static void overflow(void)
{
    deep(NULL);
}

static void *overflow_thread(void *arg)
{
    deep(arg);
    return NULL;
}

static void thread_overflow(void)
{
    pthread_t t;
    pthread_create(&t, NULL, overflow_thread, NULL);
    pthread_join(t, NULL);
}

static void call(uintptr_t address)
{
    ((void (*)(void))address)();
}

static void write_text(void)
{
    *(volatile char *)(uintptr_t)overflow = 1;
}

static void write_constant(void)
{
    *(volatile char *)(uintptr_t)constant = 1;
}

static void jump_null(void)
{
    call(0);
}

static void jump_kernel(void)
{
    call(0xffffffff80100000);
}

static void jump_not_canonical(void)
{
    call(0x8000000000000000);
}

static void run_data(void)
{
    call((uintptr_t)data);
}

static void run_stack(void)
{
    volatile char code[16] = {'\xc3'};
    call((uintptr_t)code);
}

static void run_heap(void)
{
    char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    code[0] = '\xc3';
    call((uintptr_t)code);
}

static void divide(void)
{
    zero = 100 / zero;
}

static void privileged(void)
{
    __asm__ volatile("cli");
}

static void port(void)
{
    __asm__ volatile("outb %%al, $0x80" : : "a"(0));
}

static void opcode(void)
{
    __asm__ volatile("ud2");
}

static void breakpoint(void)
{
    __asm__ volatile("int3");
}

static void software_interrupt(void)
{
    __asm__ volatile("int $0x42");
}

static void lost_stack(void)
{
    __asm__ volatile("mov $0x10, %%rsp; push %%rax" : : : "memory");
}

/* The handler's frame has nowhere to go: the signal's default action ends the program. */
static void on_segv(int signo)
{
    _exit(signo);
}

static void handler_without_stack(void)
{
    signal(SIGSEGV, on_segv);
    lost_stack();
}

static void past_file(void)
{
    char name[] = "/tmp/breaksXXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    volatile char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    zero = p[0];
}

static void blocked_fault(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    zero = *(volatile int *)(uintptr_t)8;
}

static void ignored_fault(void)
{
    signal(SIGFPE, SIG_IGN);
    divide();
}

static void bad_return(void)
{
    // What rt_sigreturn finds on the stack is no frame.
    __asm__ volatile("xor %%esp, %%esp; mov $15, %%eax; syscall" : : : "memory");
}

static const struct way {
    const char *name;
    void (*run)(void);
} ways[] = {
    {"overflow", overflow},
    {"thread overflow", thread_overflow},
    {"write text", write_text},
    {"write constant", write_constant},
    {"jump null", jump_null},
    {"jump kernel", jump_kernel},
    {"jump not canonical", jump_not_canonical},
    {"run data", run_data},
    {"run stack", run_stack},
    {"run heap", run_heap},
    {"divide", divide},
    {"privileged", privileged},
    {"port", port},
    {"opcode", opcode},
    {"breakpoint", breakpoint},
    {"software interrupt", software_interrupt},
    {"lost stack", lost_stack},
    {"handler without stack", handler_without_stack},
    {"past file", past_file},
    {"blocked fault", blocked_fault},
    {"ignored fault", ignored_fault},
    {"bad return", bad_return},
    {"abort", abort},
};

static void end_of(const struct way *w)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0}; // no core files on the host
        setrlimit(RLIMIT_CORE, &none);
        w->run();
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        printf("%s: no child, %s\n", w->name, strerror(errno));
    else if (WIFSIGNALED(status))
        printf("%s: signal %d\n", w->name, WTERMSIG(status));
    else
        printf("%s: exit %d\n", w->name, WEXITSTATUS(status));
}

static void descriptors(void)
{
    struct rlimit few = {64, 64};
    int fds[64], n = 0, fd;
    int pair[2] = {-1, -1};
    setrlimit(RLIMIT_NOFILE, &few);
    while (n < 64 && (fd = dup(0)) >= 0)
        fds[n++] = fd;
    printf("descriptors: %s\n", strerrorname_np(errno));
    show("  pipe", pipe(pair));
    close(fds[--n]);
    show("  one for two", pipe(pair));
    show_bool("  again", dup(0) == fds[n]);
    for (int i = 0; i <= n; i++)
        close(fds[i]);
    show("  after", pipe(pair));
}

static void address_space(void)
{
    const size_t part = 1ul << 45; // a quarter of what there is, of which we hold a little
    int n = 0;
    while (n < 8 && mmap(NULL, part, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                         0) != MAP_FAILED)
        n++;
    printf("address space: %d, %s\n", n, strerrorname_np(errno));
    errno = 0;
    printf("  malloc %d", malloc(part) != NULL);
    printf(" %s\n", strerrorname_np(errno));
    show("  beyond all",
         (long)mmap(NULL, 1ul << 47, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    show_bool("  small ones", malloc(100000) != NULL);
}

static void in_child(void (*run)(void))
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run();
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    if (status != 0)
        printf("status %x\n", (unsigned)status);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        end_of(&ways[i]);
    in_child(descriptors);
    in_child(address_space);
    return 0;
}
