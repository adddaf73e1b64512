// SPDX-License-Identifier: Apache-2.0
/* Reading and writing files: positions, vectors, holes, sizes, mappings, sendfile. */
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "fs.h"

static char buf[300000];

static void positions(void)
{
    int fd = open("pos", O_RDWR | O_CREAT | O_EXCL, 0600);
    show("write", write(fd, "0123456789", 10));
    show("again exclusively", open("pos", O_RDWR | O_CREAT | O_EXCL, 0600));
    show("lseek set", lseek(fd, 3, SEEK_SET));
    show("read", read(fd, buf, 4));
    printf("got %.4s\n", buf);
    show("lseek cur", lseek(fd, 0, SEEK_CUR));
    show("lseek end", lseek(fd, -2, SEEK_END));
    show("read to the end", read(fd, buf, 100));
    show("read at the end", read(fd, buf, 100));
    show("lseek negative", lseek(fd, -1, SEEK_SET));
    show("lseek bad whence", lseek(fd, 0, 77));
    show("pread", pread(fd, buf, 3, 8));
    show("pread negative", pread(fd, buf, 3, -1));
    show("pwrite", pwrite(fd, "AB", 2, 4));
    show("position unchanged", lseek(fd, 0, SEEK_CUR));
    int copy = dup(fd);
    lseek(copy, 1, SEEK_SET);
    show("shared position", lseek(fd, 0, SEEK_CUR));
    show("null buffer", read(fd, NULL, 1));
    show("null buffer, nothing", read(fd, NULL, 0));
    show("kernel buffer", read(fd, (void *)0xffffffff80000000, 1));
    close(copy);
    close(fd);
    show("closed", read(fd, buf, 1));
    show("close again", close(fd));
    fd = open("pos", O_WRONLY);
    show("read of a write-only", read(fd, buf, 1));
    close(fd);
    fd = open("pos", O_RDONLY);
    show("write to a read-only", write(fd, buf, 1));
    show("ftruncate of a read-only", ftruncate(fd, 1));
    close(fd);
    show_file("pos");
}

static void appending(void)
{
    put_file("log", "one ");
    int a = open("log", O_WRONLY | O_APPEND), b = open("log", O_WRONLY | O_APPEND);
    show("append", write(a, "two ", 4));
    show("append", write(b, "three ", 6));
    show("append", write(a, "four", 4));
    show("position", lseek(a, 0, SEEK_CUR));
    show("flags", fcntl(a, F_GETFL) & (O_APPEND | O_ACCMODE));
    show("append off", fcntl(a, F_SETFL, 0));
    lseek(a, 0, SEEK_SET);
    show("overwrite", write(a, "ONE", 3));
    close(a);
    close(b);
    show_file("log");
    int fd = open("log", O_WRONLY | O_TRUNC);
    struct stat st;
    fstat(fd, &st);
    show("truncated", st.st_size);
    close(fd);
}

static void vectors(void)
{
    struct iovec v[3] = {{"abc", 3}, {"", 0}, {"defgh", 5}};
    int fd = open("vec", O_RDWR | O_CREAT, 0600);
    show("writev", writev(fd, v, 3));
    show("writev none", writev(fd, v, 0));
    show("writev negative", writev(fd, v, -1));
    show("writev too many", writev(fd, v, 1025));
    char a[2], b[10] = "";
    struct iovec r[2] = {{a, 2}, {b, 10}};
    show("preadv", preadv(fd, r, 2, 1));
    printf("%.2s %.5s\n", a, b);
    show("pwritev", pwritev(fd, v, 1, 6));
    show("preadv2 here", preadv2(fd, r, 2, -1, 0));
    show("preadv2 bad flag", preadv2(fd, r, 2, 0, 0x1000));
    show("pwritev2 append", pwritev2(fd, v, 1, 0, RWF_APPEND));
    struct iovec bad[2] = {{"ok", 2}, {NULL, 5}};
    show("writev partly bad", pwritev(fd, bad, 2, 20));
    struct iovec huge = {buf, (size_t)-1};
    show("writev huge", writev(fd, &huge, 1));
    close(fd);
    struct stat st;
    stat("vec", &st);
    show("size", st.st_size);
}

static void holes(void)
{
    int fd = open("holes", O_RDWR | O_CREAT, 0600);
    pwrite(fd, "x", 1, 100000);
    show("data", lseek(fd, 0, SEEK_DATA));
    show("hole", lseek(fd, 98304, SEEK_HOLE));
    show("data behind the end", lseek(fd, 200000, SEEK_DATA));
    show("read of a hole", pread(fd, buf, 100, 50000));
    bool zero = true;
    for (int i = 0; i < 100; i++)
        zero &= buf[i] == 0;
    show_bool("zeroes", zero);
    struct stat st;
    fstat(fd, &st);
    show("size", st.st_size);
    show("blocks", st.st_blocks);
    memset(buf, 'y', sizeof(buf));
    pwrite(fd, buf, 20000, 0);
    show("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 10000));
    pread(fd, buf, 20000, 0);
    show("first zero", (long)strlen(buf));
    int last = 0;
    for (int i = 0; i < 20000; i++)
        last = buf[i] == 0 ? i : last;
    show("last zero", last);
    fstat(fd, &st);
    show("blocks", st.st_blocks);
    show("allocate", fallocate(fd, 0, 0, 150000));
    fstat(fd, &st);
    show("size", st.st_size);
    show("allocate beyond", fallocate(fd, FALLOC_FL_KEEP_SIZE, 150000, 50000));
    fstat(fd, &st);
    show("size", st.st_size);
    show("collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
    show("nothing", fallocate(fd, 0, 0, 0));
    close(fd);
}

static void truncating(void)
{
    memset(buf, 'z', sizeof(buf));
    int fd = open("trunc", O_RDWR | O_CREAT, 0600);
    write(fd, buf, 10000);
    show("shrink", ftruncate(fd, 5000));
    show("grow", ftruncate(fd, 9000));
    show("read", pread(fd, buf, 10000, 0));
    show("text", (long)strnlen(buf, 9000));
    bool zero = true;
    for (int i = 5000; i < 9000; i++)
        zero &= buf[i] == 0;
    show_bool("the rest is zero", zero);
    show("negative", ftruncate(fd, -1));
    show("by name", truncate("trunc", 3));
    show("a folder", truncate(".", 3));
    show("nothing there", truncate("none", 3));
    struct stat st;
    fstat(fd, &st);
    show("size", st.st_size);
    show("write far", pwrite(fd, "x", 1, 1ll << 40));
    fstat(fd, &st);
    show("size", st.st_size);
    close(fd);
}

static void mapping(void)
{
    int fd = open("map", O_RDWR | O_CREAT, 0600);
    ftruncate(fd, 3 * 4096);
    char *shared = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    strcpy(shared + 4096, "by the mapping");
    show("pread", pread(fd, buf, 20, 4096));
    printf("%s\n", buf);
    pwrite(fd, "BY", 2, 4096);
    printf("%s\n", shared + 4096);
    printf("%s\n", private + 4096);
    strcpy(private, "mine");
    printf("[%s]\n", shared);
    char *again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
    close(fd);
    unlink("map");
    shared[4096] = 'b';
    printf("%s\n", again);
    show("munmap", munmap(shared, 3 * 4096));
    fd = open("map2", O_RDONLY | O_CREAT, 0600);
    show_bool("writable mapping of a read-only file",
              mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
    close(fd);
}

static void sending(void)
{
    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i % 251);
    int in = open("src", O_RDWR | O_CREAT, 0600), out = open("dst", O_RDWR | O_CREAT, 0600);
    write(in, buf, sizeof(buf));
    off_t at = 1000;
    show("sendfile", sendfile(out, in, &at, 1000000));
    show("offset", at);
    show("own position", lseek(in, 0, SEEK_CUR));
    show("at the end", sendfile(out, in, &at, 10));
    lseek(in, 5, SEEK_SET);
    show("from here", sendfile(out, in, NULL, 10));
    show("position", lseek(in, 0, SEEK_CUR));
    static char got[sizeof(buf)];
    show("read", pread(out, got, sizeof(got), 0));
    show_bool("same", memcmp(got, buf + 1000, sizeof(buf) - 1000) == 0 &&
                          memcmp(got + sizeof(buf) - 1000, buf + 5, 10) == 0);
    show("to a read-only", sendfile(open("src", O_RDONLY), in, NULL, 1));
    show("from nowhere", sendfile(out, 99, NULL, 1));
    int p[2];
    pipe(p);
    show("from a pipe", sendfile(out, p[0], NULL, 1));
    at = 0;
    show("to a pipe", sendfile(p[1], in, &at, 10000));
    show("arrived", read(p[0], got, sizeof(got)));
    show_bool("same", memcmp(got, buf, 10000) == 0);
    close(in);
    close(out);
}

static void syncing(void)
{
    int p[2], fd = open("pos", O_RDWR);
    pipe(p);
    show("fsync", fsync(fd));
    show("fdatasync", fdatasync(fd));
    show("fsync of a pipe", fsync(p[0]));
    show("fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    show("fadvise of a pipe", posix_fadvise(p[0], 0, 0, POSIX_FADV_WILLNEED));
    show("fadvise bad", posix_fadvise(fd, 0, 0, 77));
    sync();
    close(fd);
}

int main(void)
{
    work_begin();
    positions();
    appending();
    vectors();
    holes();
    truncating();
    mapping();
    sending();
    syncing();
    return 0;
}
