// SPDX-License-Identifier: Apache-2.0
/* Named pipes, copy_file_range, vmsplice, fallocate's modes, advice, pwritev2's flags, mount. */
#include <poll.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "fs.h"

static void *opens_writer(void *arg)
{
    int fd = open("p", O_WRONLY);
    write(fd, "from the other", 14);
    close(fd);
    return arg;
}

static void *opens_reader(void *arg)
{
    char text[32];
    int fd = open("p", O_RDONLY);
    long n;
    while ((n = read(fd, text, sizeof(text))) > 0)
        printf("reader: %.*s\n", (int)n, text);
    close(fd);
    return arg;
}

static void show_poll(const char *what, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    int r = poll(&p, 1, 0);
    printf("%s: %d %x\n", what, r, p.revents);
}

static void fifos(void)
{
    char text[32];
    struct stat st;
    pthread_t t;
    show("mkfifo", mkfifo("p", 0640));
    show("mkfifo again", mkfifo("p", 0640));
    stat("p", &st);
    printf("mode %o size %ld\n", st.st_mode, (long)st.st_size);
    show("no reader", open("p", O_WRONLY | O_NONBLOCK));
    int r = open("p", O_RDONLY | O_NONBLOCK);
    show_ok("reader", r);
    show("nobody writes", read(r, text, sizeof(text)));
    show_poll("before a writer", r);
    int w = open("p", O_WRONLY | O_NONBLOCK);
    show_ok("writer", w);
    show("nothing yet", read(r, text, sizeof(text)));
    show("write", write(w, "abc", 3));
    show_poll("with data", r);
    show("read", read(r, text, sizeof(text)));
    show("read of the writer", read(w, text, 1));
    show("write of the reader", write(r, text, 1));
    show("seek", lseek(r, 0, SEEK_SET));
    close(w);
    show_poll("after the writer", r);
    show("at the end", read(r, text, sizeof(text)));
    w = open("p", O_WRONLY);
    show_poll("another writer", r);
    close(r);
    show_poll("without readers", w);
    close(w);
    int both = open("p", O_RDWR);
    show_poll("both", both);
    show("write to itself", write(both, "self", 4));
    show_poll("both with data", both);
    show("read from itself", read(both, text, sizeof(text)));
    fstat(both, &st);
    printf("mode of it %o\n", st.st_mode);
    close(both);
    pthread_create(&t, NULL, opens_writer, NULL);
    r = open("p", O_RDONLY);
    long n = read(r, text, sizeof(text));
    printf("%.*s\n", (int)n, text);
    pthread_join(t, NULL);
    close(r);
    pthread_create(&t, NULL, opens_reader, NULL);
    w = open("p", O_WRONLY);
    write(w, "hello", 5);
    close(w);
    pthread_join(t, NULL);
    show("truncate", truncate("p", 0));
    show("unlink", unlink("p"));
}

static void copying(void)
{
    put_file("a", "0123456789");
    put_file("b", "");
    int a = open("a", O_RDWR), b = open("b", O_RDWR);
    show("copy", copy_file_range(a, NULL, b, NULL, 4, 0));
    show("copy on", copy_file_range(a, NULL, b, NULL, 100, 0));
    show("copy at the end", copy_file_range(a, NULL, b, NULL, 100, 0));
    show_file("b");
    loff_t from = 2, to = 20;
    show("copy at offsets", copy_file_range(a, &from, b, &to, 3, 0));
    printf("offsets %ld %ld, position %ld\n", (long)from, (long)to, (long)lseek(a, 0, SEEK_CUR));
    from = 0, to = 2;
    show("overlap", copy_file_range(a, &from, a, &to, 5, 0));
    to = 5;
    show("same file apart", copy_file_range(a, &from, a, &to, 5, 0));
    show_file("a");
    show("flags", copy_file_range(a, NULL, b, NULL, 1, 1));
    show("bad descriptor", copy_file_range(77, NULL, b, NULL, 1, 0));
    from = -1;
    show_bool("negative offset", copy_file_range(a, &from, b, NULL, 1, 0) == -1);
    int p[2];
    pipe(p);
    show("from a pipe", copy_file_range(p[0], NULL, b, NULL, 1, 0));
    int dir = open(".", O_RDONLY);
    show("from a folder", copy_file_range(dir, NULL, b, NULL, 1, 0));
    int ro = open("b", O_RDONLY), append = open("b", O_WRONLY | O_APPEND);
    show("to a read-only one", copy_file_range(a, NULL, ro, NULL, 1, 0));
    show("to an appending one", copy_file_range(a, NULL, append, NULL, 1, 0));
    show("zero", copy_file_range(a, NULL, b, NULL, 0, 0));
    char big[10000];
    memset(big, 'z', sizeof(big));
    pwrite(a, big, sizeof(big), 0);
    from = 100, to = 3;
    show("many pages", copy_file_range(a, &from, b, &to, 9000, 0));
    struct stat st;
    fstat(b, &st);
    printf("size %ld\n", (long)st.st_size);
    close(ro), close(append), close(dir), close(a), close(b), close(p[0]), close(p[1]);
}

static void vmsplicing(void)
{
    int p[2];
    char text[16] = "spliced";
    struct iovec v = {text, 7};
    pipe(p);
    show("vmsplice", vmsplice(p[1], &v, 1, 0));
    char back[16] = {0};
    v = (struct iovec){back, sizeof(back)};
    show("vmsplice out", vmsplice(p[0], &v, 1, 0));
    printf("%s\n", back);
    show("flags", vmsplice(p[1], &v, 1, 0x100));
    show("bad descriptor", vmsplice(77, &v, 1, 0));
    int fd = open("a", O_RDWR);
    show("no pipe", vmsplice(fd, &v, 1, 0));
    show("nothing", vmsplice(p[1], &v, 0, 0));
    show("too many", vmsplice(p[1], &v, 2000, 0));
    static char big[128 * 1024];
    v = (struct iovec){big, sizeof(big)};
    show_bool("what fits", vmsplice(p[1], &v, 1, SPLICE_F_NONBLOCK) > 0);
    show("full", vmsplice(p[1], &v, 1, SPLICE_F_NONBLOCK));
    close(fd), close(p[0]), close(p[1]);
}

static void allocating(void)
{
    int fd = open("c", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct stat st;
    show("allocate", fallocate(fd, 0, 0, 10000));
    fstat(fd, &st);
    printf("size %ld blocks %ld\n", (long)st.st_size, (long)st.st_blocks);
    show("keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 10000, 10000));
    fstat(fd, &st);
    printf("size %ld blocks %ld\n", (long)st.st_size, (long)st.st_blocks);
    pwrite(fd, "data", 4, 4096);
    show("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096));
    char c = 1;
    pread(fd, &c, 1, 4096);
    fstat(fd, &st);
    printf("byte %d blocks %ld\n", c, (long)st.st_blocks);
    show("punch alone", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1));
    show("zero range", fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 1));
    show("collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
    show("insert", fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096));
    show("unknown", fallocate(fd, 0x1000, 0, 4096));
    show("zero bytes", fallocate(fd, 0, 0, 0));
    show("negative", fallocate(fd, 0, -1, 1));
    show("too far", fallocate(fd, 0, INT64_MAX, 1));
    show("sync range", sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    show("sync flags", sync_file_range(fd, 0, 0, 8));
    show("sync negative", sync_file_range(fd, -1, 0, 0));
    show("readahead", readahead(fd, 0, 4096));
    show("fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    show("fadvise drop", posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    show("fadvise unknown", posix_fadvise(fd, 0, 0, 9));
    int p[2];
    pipe(p);
    show("readahead of a pipe", readahead(p[0], 0, 1));
    show("sync of a pipe", sync_file_range(p[0], 0, 0, 0));
    show("allocate a pipe", fallocate(p[1], 0, 0, 1));
    show("fadvise of a pipe", posix_fadvise(p[0], 0, 0, 0));
    close(p[0]), close(p[1]), close(fd);
}

static void vectors(void)
{
    int fd = open("v", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct iovec v = {"abc", 3};
    show("sync", pwritev2(fd, &v, 1, 0, RWF_SYNC));
    show("dsync", pwritev2(fd, &v, 1, 3, RWF_DSYNC));
    show("append", pwritev2(fd, &v, 1, 0, RWF_APPEND));
    show("own position", pwritev2(fd, &v, 1, -1, 0));
    show("unknown", pwritev2(fd, &v, 1, 0, 0x1000));
    show("offset", pwritev2(fd, &v, 1, -2, 0));
    show_file("v");
    off_t off = 1;
    int out = open("w", O_RDWR | O_CREAT | O_TRUNC, 0600);
    show("sendfile", sendfile(out, fd, &off, 100));
    printf("offset %ld\n", (long)off);
    show_file("w");
    show("sendfile to itself", sendfile(fd, fd, NULL, 1));
    close(out), close(fd);
}

static void mounting(void)
{
    show("umount flags", umount2("/", 0x100));
    show("umount nothing", umount2("/none", 0));
    show("mount nowhere", mount("none", "/none", "tmpfs", 0, NULL));
    show("mount null", mount("none", NULL, "tmpfs", 0, NULL));
}

int main(void)
{
    work_begin();
    fifos();
    copying();
    vmsplicing();
    allocating();
    vectors();
    mounting();
    return 0;
}
