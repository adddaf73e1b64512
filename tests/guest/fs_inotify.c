// SPDX-License-Identifier: Apache-2.0
/* inotify: every event of the tree's operations, in order, and the calls' errors. */
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "fs.h"

static int in;

static void show_mask(uint32_t mask)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {IN_ACCESS, "ACCESS"},           {IN_MODIFY, "MODIFY"},
        {IN_ATTRIB, "ATTRIB"},           {IN_CLOSE_WRITE, "CLOSE_WRITE"},
        {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"}, {IN_OPEN, "OPEN"},
        {IN_MOVED_FROM, "MOVED_FROM"},   {IN_MOVED_TO, "MOVED_TO"},
        {IN_CREATE, "CREATE"},           {IN_DELETE, "DELETE"},
        {IN_DELETE_SELF, "DELETE_SELF"}, {IN_MOVE_SELF, "MOVE_SELF"},
        {IN_Q_OVERFLOW, "Q_OVERFLOW"},   {IN_IGNORED, "IGNORED"},
        {IN_ISDIR, "ISDIR"},
    };
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (mask & names[i].bit)
            printf(" %s", names[i].name);
}

/* Print what waits. */
static void drain(const char *what)
{
    static char buf[65536] __attribute__((aligned(8)));
    uint32_t cookie = 0;
    printf("-- %s\n", what);
    ssize_t n = read(in, buf, sizeof(buf));
    for (char *at = buf; n > 0 && at < buf + n;) {
        struct inotify_event *e = (void *)at;
        printf("  wd %d", e->wd);
        show_mask(e->mask);
        if (e->cookie != 0)
            printf(" %s", e->cookie == cookie ? "same cookie" : "cookie");
        cookie = e->cookie;
        printf(" len %u %s\n", e->len, e->len > 0 ? e->name : "");
        at += sizeof(*e) + e->len;
    }
}

static void files(void)
{
    show("watch", inotify_add_watch(in, "d", IN_ALL_EVENTS));
    put_file("d/a", "hello");
    drain("made and written");
    int fd = open("d/a", O_RDWR);
    char c[8];
    read(fd, c, 5);
    read(fd, c, 5);
    pread(fd, c, 1, 0);
    write(fd, "x", 1);
    write(fd, "x", 1);
    struct iovec v = {c, 2};
    writev(fd, &v, 1);
    ftruncate(fd, 3);
    fchmod(fd, 0600);
    fchown(fd, getuid(), -1);
    fchown(fd, -1, -1);
    fsync(fd);
    posix_fallocate(fd, 0, 4096);
    drain("used");
    close(fd);
    drain("closed");
    show("watch the file", inotify_add_watch(in, "d/a", IN_ALL_EVENTS));
    truncate("d/a", 1);
    drain("truncated");
    struct timespec both[2] = {{1, 0}, {2, 0}}, first[2] = {{1, 0}, {0, UTIME_OMIT}},
                    second[2] = {{0, UTIME_OMIT}, {2, 0}};
    utimensat(AT_FDCWD, "d/a", both, 0);
    utimensat(AT_FDCWD, "d/a", first, 0);
    utimensat(AT_FDCWD, "d/a", second, 0);
    drain("times");
    link("d/a", "d/b");
    drain("linked");
    unlink("d/b");
    drain("one name removed");
    unlink("d/a");
    drain("removed");
}

static void names(void)
{
    mkdir("d/sub", 0755);
    symlink("x", "d/s");
    mknod("d/n", S_IFREG | 0600, 0);
    mkfifo("d/p", 0600);
    drain("made");
    show("watch below", inotify_add_watch(in, "d/sub", IN_ALL_EVENTS));
    rename("d/n", "d/m");
    drain("renamed in place");
    rename("d/m", "d/sub/m");
    drain("moved");
    put_file("d/o", "");
    drain("made another");
    show("watch the target", inotify_add_watch(in, "d/sub/m", IN_ALL_EVENTS));
    rename("d/o", "d/sub/m");
    drain("moved over");
    renameat2(AT_FDCWD, "d/s", AT_FDCWD, "d/sub/m", RENAME_EXCHANGE);
    drain("exchanged");
    rename("d/sub", "d/other");
    drain("folder renamed");
    DIR *dir = opendir("d/other");
    while (readdir(dir) != NULL) {
    }
    closedir(dir);
    drain("folder read");
    unlink("d/other/m");
    unlink("d/s");
    rmdir("d/other");
    drain("folder removed");
    struct stat st;
    stat("d/p", &st);
    access("d/p", R_OK);
    drain("looked at");
}

static void masks(void)
{
    show("narrow", inotify_add_watch(in, "d", IN_CREATE));
    put_file("d/x", "1");
    drain("creation only");
    show("add", inotify_add_watch(in, "d", IN_DELETE | IN_MASK_ADD));
    unlink("d/x");
    put_file("d/x", "1");
    drain("both");
    show("create again", inotify_add_watch(in, "d", IN_CREATE | IN_MASK_CREATE));
    show("add and create", inotify_add_watch(in, "d", IN_CREATE | IN_MASK_CREATE | IN_MASK_ADD));
    show("only a folder", inotify_add_watch(in, "d/x", IN_CREATE | IN_ONLYDIR));
    show("no events", inotify_add_watch(in, "d", 0));
    show("once", inotify_add_watch(in, "d/x", IN_OPEN | IN_ONESHOT));
    show_file("d/x");
    show_file("d/x");
    drain("once");
    symlink("x", "d/l");
    drain("a link made");
    show("the link itself", inotify_add_watch(in, "d/l", IN_ALL_EVENTS | IN_DONT_FOLLOW));
    show_file("d/l");
    unlink("d/l");
    drain("the link");
    show("excluding", inotify_add_watch(in, "d", IN_ALL_EVENTS | IN_EXCL_UNLINK));
    int fd = open("d/x", O_RDWR);
    unlink("d/x");
    write(fd, "y", 1);
    close(fd);
    drain("unlinked file used");
}

static void errors(void)
{
    char small[16];
    int left = -1;
    show("flags", inotify_init1(1));
    show("read of nothing", read(in, small, sizeof(small)));
    show("bad descriptor", inotify_add_watch(77, "d", IN_OPEN));
    show("no inotify", inotify_add_watch(0, "d", IN_OPEN));
    show("no path", inotify_add_watch(in, "none", IN_OPEN));
    show("null path", inotify_add_watch(in, NULL, IN_OPEN));
    show("no such watch", inotify_rm_watch(in, 999));
    show("rm of a bad one", inotify_rm_watch(77, 1));
    put_file("d/long-name-of-a-file", "");
    show("too small", read(in, small, sizeof(small)));
    show("ioctl", ioctl(in, FIONREAD, &left));
    printf("waiting: %d\n", left);
    struct pollfd p = {.fd = in, .events = POLLIN | POLLOUT};
    show("poll", poll(&p, 1, 0));
    printf("revents: %x\n", p.revents);
    show("write", write(in, "x", 1));
    show("seek", lseek(in, 0, SEEK_SET));
    drain("rest");
    int wd = inotify_add_watch(in, "d", IN_OPEN);
    show("remove", inotify_rm_watch(in, wd));
    show("remove again", inotify_rm_watch(in, wd));
    drain("ignored");
    char link[64];
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", in);
    ssize_t n = readlink(name, link, sizeof(link));
    printf("%.*s\n", (int)n, link);
}

static void overflow(void)
{
    static char buf[65536] __attribute__((aligned(8)));
    inotify_add_watch(in, "d", IN_OPEN | IN_CLOSE);
    put_file("d/q", "");
    for (int i = 0; i < 10000; i++)
        close(open("d/q", O_RDONLY));
    long count = 0, lost = 0;
    ssize_t n;
    while ((n = read(in, buf, sizeof(buf))) > 0)
        for (char *at = buf; at < buf + n;) {
            struct inotify_event *e = (void *)at;
            count++;
            lost += (e->mask & IN_Q_OVERFLOW) != 0 && e->wd == -1;
            at += sizeof(*e) + e->len;
        }
    printf("bounded: %s, overflows %ld\n", count <= 20002 ? "yes" : "no", lost <= 1 ? 1 : lost);
    close(open("d/q", O_RDONLY));
    drain("goes on");
}

int main(void)
{
    work_begin();
    mkdir("d", 0755);
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    files();
    names();
    masks();
    errors();
    overflow();
    close(in);
    return 0;
}
