// SPDX-License-Identifier: Apache-2.0
/* Locking memory, asking what is there, and what the memory calls say to senseless arguments. */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

enum { PAGE = 4096 };

static char *map(size_t pages)
{
    return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void present(const char *when, char *p, size_t pages)
{
    unsigned char vec[16] = {0};
    show(when, mincore(p, pages * PAGE, vec));
    for (size_t i = 0; i < pages; i++)
        printf("%d", vec[i] & 1);
    puts("");
}

static void locking(void)
{
    char *p = map(8);
    madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
    present("fresh", p, 8);
    p[2 * PAGE] = 1;
    present("one touched", p, 8);
    show("mlock", mlock(p + 3 * PAGE + 5, PAGE));
    present("locked", p, 8);
    show("mlock2 on fault", syscall(SYS_mlock2, p, 8 * PAGE, 1));
    present("on fault", p, 8);
    show("mlock2 flags", syscall(SYS_mlock2, p, PAGE, 8));
    show("munlock", munlock(p, 8 * PAGE));
    show("nothing", mlock(p, 0));
    show("beyond", mlock(p, -(size_t)p));
    munmap(p + 4 * PAGE, PAGE);
    show("mlock a hole", mlock(p, 8 * PAGE));
    show("munlock a hole", munlock(p, 8 * PAGE));
    show("mincore a hole", syscall(SYS_mincore, p, 8 * PAGE, p));
    show("mincore odd", syscall(SYS_mincore, p + 1, PAGE, p));
    show("mincore nowhere", syscall(SYS_mincore, p, PAGE, -1L));
    show("msync a hole", msync(p, 8 * PAGE, MS_SYNC));
    show("msync", msync(p, 4 * PAGE, MS_ASYNC));
    show("msync both", msync(p, PAGE, MS_ASYNC | MS_SYNC));
    munmap(p, 8 * PAGE);
}

static void all(void)
{
    show("mlockall nothing", syscall(SYS_mlockall, 0));
    show("mlockall on fault only", syscall(SYS_mlockall, MCL_ONFAULT));
    show("mlockall unknown", syscall(SYS_mlockall, 64));
    show("mlockall future", mlockall(MCL_FUTURE));
    char *p = map(4);
    present("mapped later", p, 4);
    show("munlockall", munlockall());
    char *q = map(4);
    madvise(q, 4 * PAGE, MADV_NOHUGEPAGE);
    present("mapped after", q, 4);
    show("mlockall current", mlockall(MCL_CURRENT));
    present("all", q, 4);
    show("munlockall", munlockall());
    munmap(p, 4 * PAGE);
    munmap(q, 4 * PAGE);
}

static void senseless(void)
{
    char *p = map(2);
    show("mprotect odd", mprotect(p + 1, PAGE, PROT_READ));
    show("mprotect unknown", syscall(SYS_mprotect, p, PAGE, 0x100));
    show("munmap odd", munmap(p + 1, PAGE));
    show("munmap nothing", munmap(p, 0));
    show("madvise odd", madvise(p + 1, PAGE, MADV_NORMAL));
    show("madvise unknown", madvise(p, PAGE, 77));
    show("madvise nothing", madvise(p, 0, MADV_DONTNEED));
    show("mmap nothing", (long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    show("mmap no kind", (long)mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    show("mmap no file", (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
    munmap(p, 2 * PAGE);
}

int main(void)
{
    locking();
    all();
    senseless();
    return 0;
}
