// SPDX-License-Identifier: Apache-2.0
/* Record locks within one process: of open files (OFD) in each other's way, the process's own
 * never; how ranges join and split; leases; flock. */
#include <pthread.h>
#include <sys/file.h>

#include "fs.h"

static int lock(int fd, int cmd, int type, int whence, long start, long len)
{
    struct flock l = {.l_type = (short)type, .l_whence = (short)whence, .l_start = start,
                      .l_len = len};
    return fcntl(fd, cmd, &l);
}

static void test(const char *what, int fd, int cmd, int type, long start, long len)
{
    struct flock l = {.l_type = (short)type, .l_start = start, .l_len = len};
    int r = fcntl(fd, cmd, &l);
    if (r < 0)
        show(what, r);
    else if (l.l_type == F_UNLCK)
        printf("%s: free\n", what);
    else
        printf("%s: %s %ld+%ld pid %d\n", what, l.l_type == F_WRLCK ? "write" : "read",
               (long)l.l_start, (long)l.l_len, l.l_pid);
}

static void open_files(int a, int b)
{
    show("write lock", lock(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 10, 10));
    show("in the way", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 19, 1));
    show("reading in the way", lock(b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 11));
    show("beside it", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 20, 5));
    show("before it", lock(b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 10));
    test("who", b, F_OFD_GETLK, F_RDLCK, 0, 0);
    test("who has b's", a, F_OFD_GETLK, F_WRLCK, 0, 0);
    test("reading beside a reader", a, F_OFD_GETLK, F_RDLCK, 0, 10);
    show("cut the middle out", lock(a, F_OFD_SETLK, F_UNLCK, SEEK_SET, 14, 2));
    test("first part", b, F_OFD_GETLK, F_WRLCK, 5, 100);
    test("the hole", b, F_OFD_GETLK, F_WRLCK, 14, 2);
    test("second part", b, F_OFD_GETLK, F_WRLCK, 14, 100);
    show("join again", lock(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 14, 2));
    test("joined", b, F_OFD_GETLK, F_WRLCK, 11, 1);
    show("downgrade a part", lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 12, 4));
    test("write before", b, F_OFD_GETLK, F_RDLCK, 10, 100);
    test("read within", b, F_OFD_GETLK, F_WRLCK, 12, 1);
    test("may be read", b, F_OFD_GETLK, F_RDLCK, 12, 4);
    show("to the end", lock(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 100, 0));
    test("far away", b, F_OFD_GETLK, F_WRLCK, 1L << 40, 1);
    show("from the end", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_END, -10, 5));
    test("there", a, F_OFD_GETLK, F_WRLCK, 40, 1);
    show("backwards", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 35, -5));
    test("there", a, F_OFD_GETLK, F_WRLCK, 30, 1);
    lseek(b, 70, SEEK_SET);
    show("from here", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_CUR, 1, 2));
    test("there", a, F_OFD_GETLK, F_WRLCK, 72, 1);
    int c = dup(a);
    show("a duplicate is the same", lock(c, F_OFD_SETLK, F_WRLCK, SEEK_SET, 10, 10));
    close(c);
    test("still locked", b, F_OFD_GETLK, F_WRLCK, 10, 10);
    show("everything back", lock(b, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 0));
    test("nothing of b", a, F_OFD_GETLK, F_WRLCK, 0, 0);
}

static void process(int a, int b)
{
    show("own lock", lock(a, F_SETLK, F_WRLCK, SEEK_SET, 200, 10));
    show("own lock again", lock(b, F_SETLK, F_WRLCK, SEEK_SET, 205, 10));
    test("never in its own way", b, F_GETLK, F_WRLCK, 200, 10);
    show("an open file's is", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 206, 1));
    struct flock l = {.l_type = F_RDLCK, .l_start = 200, .l_len = 100};
    fcntl(b, F_OFD_GETLK, &l);
    printf("whose: mine %d, %ld+%ld\n", l.l_pid == getpid(), (long)l.l_start, (long)l.l_len);
    close(open("f", O_RDONLY));
    show("closing gave it back", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 206, 1));
    show("and is in the way now", lock(a, F_SETLK, F_RDLCK, SEEK_SET, 206, 1));
    show("unlock", lock(b, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 0));
}

static void errors(int a)
{
    int r = open("f", O_RDONLY), w = open("f", O_WRONLY), p = open("f", O_PATH);
    show("write lock, read-only", lock(r, F_SETLK, F_WRLCK, SEEK_SET, 0, 1));
    show("read lock, write-only", lock(w, F_SETLK, F_RDLCK, SEEK_SET, 0, 1));
    show("by path", lock(p, F_SETLK, F_RDLCK, SEEK_SET, 0, 1));
    show("type", lock(a, F_SETLK, 7, SEEK_SET, 0, 1));
    show("whence", lock(a, F_SETLK, F_RDLCK, 7, 0, 1));
    show("negative start", lock(a, F_SETLK, F_RDLCK, SEEK_SET, -1, 1));
    show("before the start", lock(a, F_SETLK, F_RDLCK, SEEK_SET, 1, -2));
    show("too far", lock(a, F_SETLK, F_RDLCK, SEEK_SET, INT64_MAX, 2));
    show("from the end too far", lock(a, F_SETLK, F_RDLCK, SEEK_END, INT64_MAX, 2));
    show("test for nothing", lock(a, F_GETLK, F_UNLCK, SEEK_SET, 0, 1));
    struct flock l = {.l_type = F_WRLCK, .l_len = 1, .l_pid = 5};
    show("ofd with a pid", fcntl(a, F_OFD_SETLK, &l));
    show("null", fcntl(a, F_SETLK, NULL));
    show("bad descriptor", lock(77, F_SETLK, F_RDLCK, SEEK_SET, 0, 1));
    show("no lease", fcntl(a, F_GETLEASE));
    show("lease given back", fcntl(a, F_SETLEASE, F_UNLCK));
    show("lease of what", fcntl(a, F_SETLEASE, 9));
    close(r), close(w), close(p);
}

static int step[2];

static void *waits(void *arg)
{
    int fd = open("f", O_RDWR);
    write(step[1], "1", 1);
    show("waited", lock(fd, F_OFD_SETLKW, F_WRLCK, SEEK_SET, 0, 10));
    close(fd);
    return arg;
}

static void waiting(int a)
{
    pthread_t t;
    char c;
    pipe(step);
    show("hold", lock(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 10));
    pthread_create(&t, NULL, waits, NULL);
    read(step[0], &c, 1);
    show("let go", lock(a, F_OFD_SETLK, F_UNLCK, SEEK_SET, 5, 10));
    int r = lock(a, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 0);
    pthread_join(t, NULL);
    show("let go of all", r);
    test("closed with its file", a, F_OFD_GETLK, F_WRLCK, 0, 0);
}

static void whole_files(int a, int b)
{
    show("flock", flock(a, LOCK_EX));
    show("flock other", flock(b, LOCK_EX | LOCK_NB));
    show("flock shared", flock(a, LOCK_SH));
    show("both shared", flock(b, LOCK_SH | LOCK_NB));
    show("upgrade", flock(a, LOCK_EX | LOCK_NB));
    show("give back", flock(b, LOCK_UN));
    show("upgrade", flock(a, LOCK_EX | LOCK_NB));
    show("record locks are others", lock(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 0));
    show("what", flock(a, 16));
    show("mandatory", flock(a, 32));
    show("bad descriptor", flock(77, LOCK_SH));
}

int main(void)
{
    work_begin();
    put_file("f", "");
    int a = open("f", O_RDWR), b = open("f", O_RDWR);
    ftruncate(a, 50);
    open_files(a, b);
    lock(a, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 0);
    process(a, b);
    errors(a);
    waiting(a);
    whole_files(a, b);
    return 0;
}
