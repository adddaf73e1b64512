// SPDX-License-Identifier: Apache-2.0
/* Address space: mapping, splitting, protection, giving back, growing, faults. */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

enum { PAGE = 4096 };

static sigjmp_buf back;
static volatile int fault_signal, fault_code;
static void *volatile fault_address;

static void on_fault(int signo, siginfo_t *info, void *context)
{
    (void)context;
    fault_signal = signo;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(back, 1);
}

/* Touch a byte; says which signal came, its code, and whether the address was right. */
static void touch(const char *name, char *p, bool write)
{
    fault_signal = 0;
    if (sigsetjmp(back, 1) == 0) {
        if (write)
            *(volatile char *)p = 1;
        else
            (void)*(volatile char *)p;
    }
    if (fault_signal == 0)
        printf("%s: fine\n", name);
    else
        printf("%s: SIG%s code %d address %s\n", name, sigabbrev_np(fault_signal), fault_code,
               fault_address == p ? "right" : "wrong");
}

static void faults(void)
{
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show_ok("mmap", (long)p);
    p[0] = 42;
    show("fresh page is zero", p[PAGE + 7]);
    show_ok("mprotect none", mprotect(p + PAGE, PAGE, PROT_NONE));
    touch("read PROT_NONE", p + PAGE + 5, false);
    show_ok("mprotect read", mprotect(p + PAGE, PAGE, PROT_READ));
    touch("read PROT_READ", p + PAGE + 5, false);
    touch("write PROT_READ", p + PAGE + 5, true);
    show_ok("munmap middle", munmap(p + 2 * PAGE, PAGE));
    touch("read hole", p + 2 * PAGE, false);
    touch("write beside hole", p + 3 * PAGE, true);
    show("kept", p[0]);
    touch("null", NULL, true);
    touch("kernel half", (char *)0xffffffff80000000ul, false);
    show_ok("munmap all, hole included", munmap(p, 4 * PAGE));
}

static void fixed(void)
{
    size_t big = 64ul << 30;
    char *p = mmap(NULL, big, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    show_ok("reserve 64 GiB", (long)p);
    char *mid = p + (big / 2 & ~4095ul);
    char *q =
        mmap(mid, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    show_bool("MAP_FIXED where asked", q == mid);
    memset(q, 7, 8 * PAGE);
    show_ok("MADV_DONTNEED", madvise(q, 4 * PAGE, MADV_DONTNEED));
    show("given back reads zero", q[100]);
    show("not given back", q[4 * PAGE]);
    touch("reservation", mid - 1, true);
    char *again =
        mmap(mid, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    show("MAP_FIXED_NOREPLACE", (long)again);
    show_ok("munmap 64 GiB", munmap(p, big));
}

static void moving(void)
{
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4; i++)
        p[i * PAGE] = (char)(i + 1);
    char *q = mremap(p, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    show_ok("mremap grow", (long)q);
    printf("contents %d %d %d %d, new %d\n", q[0], q[PAGE], q[2 * PAGE], q[3 * PAGE], q[10 * PAGE]);
    char *s = mremap(q, 64 * PAGE, 2 * PAGE, 0);
    show_bool("mremap shrink stays", s == q);
    touch("behind the shrunk end", q + 2 * PAGE, false);
    show_ok("munmap", munmap(q, 2 * PAGE));
}

static void errors(void)
{
    show("mmap length 0", (long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    show("mmap no kind", (long)mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    show("mmap bad fd", (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0));
    show("mmap odd offset", (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 0, 1));
    show("munmap odd", munmap((void *)1, PAGE));
    show("mprotect unmapped", mprotect((void *)0x10000, PAGE, PROT_READ));
    show("madvise bad", madvise((void *)0x10000, PAGE, 12345));
    show("madvise unmapped", madvise((void *)0x10000, PAGE, MADV_DONTNEED));
    show("mremap nothing", (long)mremap((void *)0x10000, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
}

static void program_break(void)
{
    char *start = sbrk(0);
    show_bool("brk grows", sbrk(10 * PAGE) == start);
    start[9 * PAGE] = 5;
    show("brk memory", start[9 * PAGE]);
    show_ok("brk shrinks", brk(start));
    show_bool("back at the start", sbrk(0) == start);
    touch("behind brk", start + 9 * PAGE, true);
}

static long deep(int n)
{
    volatile char frame[1024];
    frame[0] = (char)n;
    return n == 0 ? 0 : deep(n - 1) + frame[0] % 2;
}

int main(void)
{
    static char altstack[65536];
    stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&ss, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    faults();
    fixed();
    moving();
    errors();
    program_break();
    show_bool("stack grows by megabytes", deep(4000) != 0);
    return 0;
}
