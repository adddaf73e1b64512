// SPDX-License-Identifier: Apache-2.0
/* mremap and madvise: growing, moving, replacing, keeping the old place; what is refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE, PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS };

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

static sigjmp_buf back;

static void on_fault(int signo)
{
    siglongjmp(back, signo);
}

/* The byte at p, or minus the signal that reading it brings. */
static int byte_at(const char *p)
{
    int signo = sigsetjmp(back, 1);
    return signo == 0 ? *(const volatile char *)p : -signo;
}

static char *map(size_t pages, int prot)
{
    char *p = mmap(NULL, pages * PAGE, prot, PRIVATE, -1, 0);
    for (size_t i = 0; i < pages && (prot & PROT_WRITE); i++)
        p[i * PAGE] = (char)(i + 1);
    return p;
}

/* Pages with an unmapped one on each side, so that nothing grows in place by chance. */
static char *island(size_t pages)
{
    char *p = map(pages + 2, PROT_NONE) + PAGE;
    mmap(p, pages * PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
    for (size_t i = 0; i < pages; i++)
        p[i * PAGE] = (char)(i + 1);
    return p;
}

static void growing(void)
{
    char *room = map(8, PROT_NONE), *p = mmap(room, 2 * PAGE, RW, PRIVATE | MAP_FIXED, -1, 0);
    p[PAGE] = 7;
    munmap(room + 2 * PAGE, 6 * PAGE);
    show_bool("grows in place", mremap(p, 2 * PAGE, 4 * PAGE, 0) == p);
    show("kept", p[PAGE]);
    show("new page", byte_at(p + 3 * PAGE));
    show_bool("shrinks in place", mremap(p, 4 * PAGE, PAGE, 0) == p);
    show("gone", byte_at(p + PAGE));
    char *q = island(3);
    show_ok("cannot grow in place", (long)mremap(q, 3 * PAGE, 4 * PAGE, 0));
    char *moved = mremap(q, 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE);
    show_bool("moves", moved != MAP_FAILED && moved != q);
    printf("%d %d %d %d\n", moved[0], moved[PAGE], moved[2 * PAGE], moved[4 * PAGE]);
    show("old place", byte_at(q));
    show_ok("part of it", (long)mremap(moved + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    show("hole", byte_at(moved + PAGE));
    show("behind the hole", byte_at(moved + 2 * PAGE));
}

static void fixed(void)
{
    char *p = island(4), *to = map(6, RW);
    show_bool("to a place",
              mremap(p, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE) == to + PAGE);
    printf("%d %d %d %d %d\n", to[0], to[PAGE], to[2 * PAGE], to[3 * PAGE], to[4 * PAGE]);
    show("left", byte_at(p));
    show("the rest", byte_at(p + 2 * PAGE));
    show_bool("smaller to a place",
              mremap(p + 2 * PAGE, 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    show("moved", to[0]);
    show("cut off", byte_at(p + 3 * PAGE));
    char *self = map(4, RW);
    show_ok("overlap",
            (long)mremap(self, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, self + PAGE));
    show_ok("odd place", (long)mremap(self, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 1));
    show_ok("fixed without maymove", (long)mremap(self, PAGE, PAGE, MREMAP_FIXED, to));
    show_ok("unknown flag", (long)mremap(self, PAGE, PAGE, 8));
    show_ok("odd address", (long)mremap(self + 1, PAGE, PAGE, 0));
    show_ok("to nothing", (long)mremap(self, PAGE, 0, 0));
    show_ok("private and no old bytes", (long)mremap(self, 0, PAGE, MREMAP_MAYMOVE));
    munmap(self + 2 * PAGE, PAGE);
    show_ok("hole", (long)mremap(self, 4 * PAGE, 5 * PAGE, MREMAP_MAYMOVE));
    show_ok("unmapped", (long)mremap(self + 2 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    mprotect(self + PAGE, PAGE, PROT_READ);
    show_ok("two mappings", (long)mremap(self, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE));
    show_ok("two mappings shrink", (long)mremap(self, 2 * PAGE, PAGE, 0));
}

static void keeping(void)
{
    char *p = island(3);
    show_ok("keep without maymove", (long)mremap(p, PAGE, PAGE, MREMAP_DONTUNMAP, NULL));
    show_ok("keep and grow",
            (long)mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
    char *q = mremap(p, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    show_bool("keep", q != MAP_FAILED && q != p);
    printf("%d %d, was %d %d\n", q[0], q[2 * PAGE], p[0], p[2 * PAGE]);
    p[0] = 9;
    printf("%d %d\n", p[0], q[0]);
    char *to = map(4, RW);
    show_bool("keep, to a place",
              mremap(q, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, to) ==
                  to);
    printf("%d %d %d, was %d %d %d\n", to[0], to[PAGE], to[2 * PAGE], q[0], q[PAGE], q[2 * PAGE]);
}

static void of_files(void)
{
    char name[] = "/tmp/core_mremap_XXXXXX", text[] = "0123456789";
    int fd = mkstemp(name);
    for (int i = 0; i < 3; i++)
        if (pwrite(fd, text + i, 1, i * PAGE) != 1)
            perror("pwrite");
    if (ftruncate(fd, 3 * PAGE) < 0)
        perror("ftruncate");
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
    char *q = mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    printf("shared file: %c %c\n", q[0], q[PAGE]);
    char *twice = mremap(q, 0, 2 * PAGE, MREMAP_MAYMOVE);
    show_bool("second mapping", twice != MAP_FAILED && twice != q);
    twice[0] = 'x';
    printf("%c %c\n", q[0], twice[PAGE]);
    char *mine = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd, 0);
    mine[0] = 'm';
    char *moved = mremap(mine, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE);
    printf("private file: %c %c %c\n", moved[0], moved[PAGE], moved[2 * PAGE]);
    show_ok("free of a file", madvise(moved, PAGE, MADV_FREE));
    show_ok("dontneed of a file", madvise(moved, 3 * PAGE, MADV_DONTNEED));
    printf("reads as the file: %c\n", moved[0]);
    show_ok("populate to read", madvise(moved, 3 * PAGE, MADV_POPULATE_READ));
    close(fd);
    unlink(name);
}

static void advice(void)
{
    char *p = map(6, RW);
    show_ok("dontneed", madvise(p, 2 * PAGE, MADV_DONTNEED));
    printf("%d %d %d\n", p[0], p[PAGE], p[2 * PAGE]);
    show_ok("free", madvise(p + 2 * PAGE, PAGE, MADV_FREE));
    p[2 * PAGE] = 5;
    show("written after free", p[2 * PAGE]);
    show_ok("no bytes", madvise(p, 0, MADV_DONTNEED));
    show_ok("odd", madvise(p + 1, PAGE, MADV_DONTNEED));
    show_ok("unknown", madvise(p, PAGE, 77));
    show_ok("cold", madvise(p, PAGE, MADV_COLD));
    show_ok("pageout", madvise(p, PAGE, MADV_PAGEOUT));
    show("kept", p[3 * PAGE]);
    show_ok("willneed", madvise(p, 6 * PAGE, MADV_WILLNEED));
    show_ok("populate", madvise(p, 6 * PAGE, MADV_POPULATE_WRITE));
    mprotect(p + PAGE, PAGE, PROT_READ);
    show_ok("populate to read", madvise(p, 2 * PAGE, MADV_POPULATE_READ));
    show_ok("populate to write", madvise(p, 2 * PAGE, MADV_POPULATE_WRITE));
    mprotect(p + PAGE, PAGE, PROT_NONE);
    show_ok("populate without access", madvise(p, 2 * PAGE, MADV_POPULATE_READ));
    munmap(p + 4 * PAGE, PAGE);
    show_ok("populate a hole", madvise(p + 3 * PAGE, 2 * PAGE, MADV_POPULATE_READ));
    show_ok("normal with a hole", madvise(p + 3 * PAGE, 3 * PAGE, MADV_NORMAL));
    show_ok("dontneed with a hole", madvise(p + 3 * PAGE, 3 * PAGE, MADV_DONTNEED));
    printf("%d %d\n", p[3 * PAGE], p[5 * PAGE]);
}

int main(void)
{
    signal(SIGSEGV, on_fault);
    growing();
    fixed();
    keeping();
    of_files();
    advice();
    return 0;
}
