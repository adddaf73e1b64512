// SPDX-License-Identifier: Apache-2.0
/* memfd_create(2) and the seals of its files. What Linux changed after 6.1 (reading through a
 * shared mapping of a file sealed against writing) is not asked. */
#include "guest.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, ANY = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE };

static void show_mask(const char *name, int seals)
{
    printf("%s: %#x\n", name, seals);
}

static int sealable(off_t bytes)
{
    int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, bytes) < 0)
        show("no file", -1);
    return fd;
}

static void creation(void)
{
    char name[300], link[400], proc[64];
    struct stat st;
    memset(name, 'n', sizeof(name));
    name[249] = 0;
    int fd = memfd_create(name, 0);
    show_bool("longest name", fd >= 0);
    close(fd);
    name[249] = 'n';
    name[250] = 0;
    show("name too long", memfd_create(name, 0));
    show("unknown flag", memfd_create("x", 0x4000000));
    show("flags before name", syscall(SYS_memfd_create, 8, 0x4000000));
    show("bad name", syscall(SYS_memfd_create, 8, 0));

    fd = memfd_create("a name/with parts", 0);
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(proc, link, sizeof(link) - 1);
    printf("link: %.*s\n", (int)n, link);
    fstat(fd, &st);
    printf("mode %o, links %lu, size %ld\n", st.st_mode, (long)st.st_nlink, (long)st.st_size);
    printf("close on exec %d, flags %#x\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & ~0100000);
    show_mask("seals", fcntl(fd, F_GET_SEALS));
    show("seal it", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    show("write", write(fd, "hello", 5));
    show("seek", lseek(fd, 1, SEEK_SET));
    n = read(fd, link, sizeof(link));
    printf("read: %.*s\n", (int)n, link);
    show("no name for it", linkat(fd, "", AT_FDCWD, "/tmp/named", AT_EMPTY_PATH));

    int again = open(proc, O_RDONLY);
    n = read(again, link, sizeof(link));
    printf("opened again: %.*s\n", (int)n, link);
    show("seal through a reader", fcntl(again, F_ADD_SEALS, F_SEAL_GROW));
    close(again);
    close(fd);
    fd = memfd_create("", MFD_CLOEXEC);
    show("close on exec", fcntl(fd, F_GETFD));
    close(fd);
}

static void other_files(void)
{
    int fds[2];
    int fd = open("/dev/shm", O_RDWR | O_TMPFILE, 0600);
    show_mask("of a tmpfs", fcntl(fd, F_GET_SEALS));
    show("add there", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    show("unknown there", fcntl(fd, F_ADD_SEALS, 0x1000));
    close(fd);
    if (pipe(fds) < 0)
        return;
    show("of a pipe", fcntl(fds[0], F_GET_SEALS));
    show("add to a pipe's reader", fcntl(fds[0], F_ADD_SEALS, F_SEAL_GROW));
    show("add to a pipe's writer", fcntl(fds[1], F_ADD_SEALS, F_SEAL_GROW));
    close(fds[0]);
    close(fds[1]);
}

static void sizes(void)
{
    char block[2 * PAGE] = {0};
    int fd = sealable(PAGE + 100);
    show("shrink", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    show("smaller", ftruncate(fd, 100));
    show("as large", ftruncate(fd, PAGE + 100));
    show("larger", ftruncate(fd, PAGE + 200));
    show("grow", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    show_mask("seals", fcntl(fd, F_GET_SEALS));
    show("larger", ftruncate(fd, PAGE + 300));
    show("write inside", pwrite(fd, block, 200, PAGE));
    show("write over the end", pwrite(fd, block, 201, PAGE));
    show("write up to the page of the end", pwrite(fd, block, 2 * PAGE, 0));
    show("write nothing", pwrite(fd, block, 0, 3 * PAGE));
    show("write behind", pwrite(fd, block, 1, 3 * PAGE));
    show("allocate inside", fallocate(fd, 0, 0, PAGE));
    show("allocate behind", fallocate(fd, 0, 0, 2 * PAGE));
    show("allocate behind, keep", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE));
    show("punch", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE));
    char proc[64];
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    show("cut by open", open(proc, O_RDWR | O_TRUNC));
    show("unknown", fcntl(fd, F_ADD_SEALS, 0x1000));
    show("seal", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    show("no more", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    show("not even none", fcntl(fd, F_ADD_SEALS, 0));
    close(fd);
}

static void *map(int fd, int prot, int flags)
{
    return mmap(NULL, 2 * PAGE, prot, flags, fd, 0);
}

static void writing(void)
{
    int fd = sealable(2 * PAGE), status;
    char *p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    show("mapped", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    show("split", mprotect(p, PAGE, PROT_READ));
    show("half gone", munmap(p, PAGE));
    show("half mapped", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    fflush(stdout);
    int go[2];
    if (pipe(go) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        close(go[1]);
        _exit((int)read(go[0], &c, 1));
    }
    close(go[0]);
    munmap(p + PAGE, PAGE);
    show("mapped by a child", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    close(go[1]);
    waitpid(pid, &status, 0);
    char *private = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    show("child gone", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    show_mask("seals", fcntl(fd, F_GET_SEALS));
    show("write", write(fd, "x", 1));
    show("size may change", ftruncate(fd, 3 * PAGE));
    show("punch", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE));
    p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    show("map to write", p == MAP_FAILED ? -1 : 0);
    private[0] = 'p';
    printf("private copy: %c\n", private[0]);
    show("again", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    char proc[64];
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    int reader = open(proc, O_RDONLY);
    p = map(reader, PROT_READ, MAP_SHARED);
    show_bool("map a reader's", p != MAP_FAILED);
    show("make it writable", mprotect(p, PAGE, PROT_READ | PROT_WRITE));
    close(reader);
    close(fd);
}

static void future(void)
{
    int fd = sealable(2 * PAGE);
    char *p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED), *q, c = 0;
    show("future", fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    p[PAGE] = 'm'; // what is mapped already may be written on
    show("read", pread(fd, &c, 1, PAGE));
    printf("got %c\n", c);
    show("write", write(fd, "x", 1));
    show("punch", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE));
    q = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    show("map to write", q == MAP_FAILED ? -1 : 0);
    q = map(fd, PROT_READ, MAP_SHARED);
    printf("map to read: %c\n", q[PAGE]);
    show("make it writable", mprotect(q, PAGE, PROT_READ | PROT_WRITE));
    show_mask("seals", fcntl(fd, F_GET_SEALS));
    show("all others", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_GROW));
    close(fd);
}

/* The receiver of a sealed file may trust what it maps. */
static void handed_on(void)
{
    int fd = sealable(PAGE), status;
    show("fill", pwrite(fd, "sealed", 6, 0));
    show("seal", fcntl(fd, F_ADD_SEALS, ANY));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        show_mask("child sees", fcntl(fd, F_GET_SEALS));
        show("child writes", write(fd, "x", 1));
        char *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
        printf("child reads %s\n", p);
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    show("child", status);
}

int main(void)
{
    creation();
    other_files();
    sizes();
    writing();
    future();
    handed_on();
    return 0;
}
