// SPDX-License-Identifier: Apache-2.0
/* What madvise(2) says that a fork makes of memory: nothing of it, or empty memory. */
#include "guest.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static char *map(size_t pages, int flags)
{
    char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < pages; i++)
        p[i * PAGE] = (char)('a' + i);
    return p;
}

/* The pages' first bytes; '-' for what is not mapped, '.' for zero. */
static void look(const char *who, const char *p, size_t pages)
{
    int fds[2];
    if (pipe(fds) < 0)
        return;
    printf("%s: ", who);
    for (size_t i = 0; i < pages; i++) {
        char c;
        if (write(fds[1], p + i * PAGE, 1) != 1)
            c = '-';
        else if (read(fds[0], &c, 1) == 1 && c == 0)
            c = '.';
        putchar(c);
    }
    puts("");
    close(fds[0]);
    close(fds[1]);
}

static void in_children(const char *what, char *p, size_t pages)
{
    puts(what);
    fflush(stdout);
    if (fork() == 0) {
        look("child", p, pages);
        p[0] = p[0] != 0 ? 'C' : 0;
        fflush(stdout);
        if (fork() == 0) {
            look("its child", p, pages);
            fflush(stdout);
            _exit(0);
        }
        wait(NULL);
        _exit(0);
    }
    wait(NULL);
    look("parent", p, pages);
}

int main(void)
{
    char *p = map(6, MAP_PRIVATE);
    show("not", madvise(p + PAGE, PAGE, MADV_DONTFORK));
    show("wipe", madvise(p + 3 * PAGE, 2 * PAGE, MADV_WIPEONFORK));
    in_children("private", p, 6);
    show("again", madvise(p + PAGE, PAGE, MADV_DOFORK));
    show("keep", madvise(p + 4 * PAGE, PAGE, MADV_KEEPONFORK));
    in_children("private, less of it", p, 6);
    show("both", madvise(p + 3 * PAGE, PAGE, MADV_DONTFORK));
    show("moved", mremap(p + 3 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    look("parent", p, 6);
    show("with a hole", madvise(p, 6 * PAGE, MADV_WIPEONFORK));
    in_children("all wiped", p, 6);

    char *q = map(3, MAP_PRIVATE);
    show("not", madvise(q, 3 * PAGE, MADV_DONTFORK));
    q = mremap(q, 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE);
    q[3 * PAGE] = 'd';
    puts("moved");
    fflush(stdout);
    if (fork() == 0) {
        look("child", q, 5);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    look("parent", q, 5);

    char *s = map(2, MAP_SHARED);
    show("wipe shared", madvise(s, PAGE, MADV_WIPEONFORK));
    show("wipe a file", madvise((void *)((uintptr_t)main & ~4095ul), PAGE, MADV_WIPEONFORK));
    show("keep shared", madvise(s, PAGE, MADV_KEEPONFORK));
    show("shared, not", madvise(s + PAGE, PAGE, MADV_DONTFORK));
    puts("shared");
    fflush(stdout);
    if (fork() == 0) {
        look("child", s, 2);
        s[0] = 'S';
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    look("parent", s, 2);
    show("not mapped", madvise((void *)0x10000, PAGE, MADV_DONTFORK));
    show("odd", madvise(p + 1, PAGE, MADV_DONTFORK));
    return 0;
}
