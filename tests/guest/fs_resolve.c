// SPDX-License-Identifier: Apache-2.0
/* openat2 with each RESOLVE_ flag, O_TMPFILE, O_PATH, /proc/self/fd, chroot, getdents. */
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "fs.h"

static int how_at(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

static void try(const char *what, int dirfd, const char *path, uint64_t flags, uint64_t mode,
                uint64_t resolve)
{
    int fd = how_at(dirfd, path, flags, mode, resolve);
    show_ok(what, fd);
    if (fd >= 0)
        close(fd);
}

static void how_errors(void)
{
    struct {
        struct open_how how;
        uint64_t more[2];
    } h = {.how = {.flags = O_RDONLY}};
    show("short", syscall(SYS_openat2, AT_FDCWD, "d", &h, 16));
    show("huge", syscall(SYS_openat2, AT_FDCWD, "d", &h, 8192));
    show_ok("longer with zeroes", close((int)syscall(SYS_openat2, AT_FDCWD, "d", &h, sizeof(h))));
    h.more[1] = 1;
    show("longer with more", syscall(SYS_openat2, AT_FDCWD, "d", &h, sizeof(h)));
    show("null", syscall(SYS_openat2, AT_FDCWD, "d", NULL, sizeof(h.how)));
    try("unknown flag", AT_FDCWD, "d", 1ull << 33, 0, 0);
    try("unknown resolve", AT_FDCWD, "d", 0, 0, 0x100);
    try("mode without create", AT_FDCWD, "d", 0, 0600, 0);
    try("wide mode", AT_FDCWD, "d/n", O_CREAT | O_RDWR, 0200600, 0);
    try("path and write", AT_FDCWD, "d", O_PATH | O_RDWR, 0, 0);
    try("beneath and in root", AT_FDCWD, "d", 0, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT);
    try("cached and create", AT_FDCWD, "d/n", O_CREAT | O_RDWR, 0600, RESOLVE_CACHED);
}

static void resolving(void)
{
    int d = open("d", O_RDONLY | O_DIRECTORY);
    try("beneath", d, "f", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath below", d, "sub/../f", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath dotdot", d, "..", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath out and in", d, "../d/f", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath absolute", d, "/", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath link", d, "good", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath bad link", d, "out", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath absolute link", d, "abs", O_RDONLY, 0, RESOLVE_BENEATH);
    try("beneath create", d, "new", O_RDWR | O_CREAT, 0600, RESOLVE_BENEATH);
    try("beneath create out", d, "../new", O_RDWR | O_CREAT, 0600, RESOLVE_BENEATH);
    try("beneath create link", d, "outnew", O_RDWR | O_CREAT, 0600, RESOLVE_BENEATH);
    try("in root dotdot", d, "../../f", O_RDONLY, 0, RESOLVE_IN_ROOT);
    try("in root absolute", d, "/f", O_RDONLY, 0, RESOLVE_IN_ROOT);
    try("in root link", d, "rooted", O_RDONLY, 0, RESOLVE_IN_ROOT);
    try("in root absolute link out", d, "abs", O_RDONLY, 0, RESOLVE_IN_ROOT);
    try("no links, none", d, "sub/../f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
    try("no links, last", d, "good", O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
    try("no links, last as path", d, "good", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
    try("no links, middle", d, "here/f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
    try("no xdev", d, "f", O_RDONLY, 0, RESOLVE_NO_XDEV);
    try("no xdev down", AT_FDCWD, "/dev/shm", O_RDONLY, 0, RESOLVE_NO_XDEV);
    try("no xdev link", d, "abs", O_RDONLY, 0, RESOLVE_NO_XDEV);
    try("no magic", AT_FDCWD, "/proc/self/fd/0", O_PATH, 0, RESOLVE_NO_MAGICLINKS);
    try("no magic, plain", AT_FDCWD, "/proc/self/fd", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS);
    try("cached", d, "f", O_RDONLY, 0, RESOLVE_CACHED);
    close(d);
}

static void nameless(void)
{
    char link[64];
    int fd = open("d", O_TMPFILE | O_RDWR, 0640);
    struct stat st;
    show_ok("tmpfile", fd);
    fstat(fd, &st);
    printf("mode %o links %ld\n", st.st_mode, (long)st.st_nlink);
    write(fd, "nameless", 8);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    show("link it", linkat(AT_FDCWD, link, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW));
    show_file("d/named");
    fstat(fd, &st);
    printf("links %ld\n", (long)st.st_nlink);
    show("unlink", unlink("d/named"));
    show("link again", linkat(AT_FDCWD, link, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW));
    close(fd);
    fd = open("d", O_TMPFILE | O_RDWR | O_EXCL, 0640);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    show("link an exclusive one", linkat(AT_FDCWD, link, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW));
    close(fd);
    show("tmpfile in a file", open("d/f", O_TMPFILE | O_RDWR, 0600));
    show("tmpfile read-only", open("d", O_TMPFILE | O_RDONLY, 0600));
    show("tmpfile without folder", open("d", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600));
}

static void descriptors(void)
{
    int p[2];
    char path[64], c = 0;
    struct stat st;
    pipe(p);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", p[1]);
    int w = open(path, O_WRONLY);
    show_ok("a pipe opened again", w);
    write(w, "p", 1);
    read(p[0], &c, 1);
    printf("through it: %c\n", c);
    show("stat through it", stat(path, &st));
    printf("kind %o\n", st.st_mode & S_IFMT);
    show("as a folder", open(path, O_RDONLY | O_DIRECTORY));
    strcat(path, "/x");
    show("below it", open(path, O_RDONLY));
    close(p[1]);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    show("still a writer", read(p[0], &c, 1));
    close(w);
    show("none", read(p[0], &c, 1));
    close(p[0]);
    int fd = open("d/f", O_RDONLY);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    unlink("d/f");
    int again = open(path, O_RDWR);
    show_ok("an unlinked file opened again", again);
    show("written", write(again, "1", 1));
    close(again);
    close(fd);
}

static void rooted(void)
{
    char text[128];
    mkdir("d/sub/deep", 0755);
    put_file("d/sub/inside", "in");
    symlink("/inside", "d/sub/link");
    show("chroot to nothing", chroot("none"));
    show("chroot to a file", chroot("d/sub/inside"));
    int out = open(".", O_RDONLY | O_DIRECTORY);
    show("chroot", chroot("d/sub"));
    show("chdir", chdir("/"));
    show_file("/inside");
    show_file("link");
    show_file("../../inside");
    show("getcwd", getcwd(text, sizeof(text)) != NULL);
    printf("%s\n", text);
    show("chdir deep", chdir("deep"));
    show("getcwd", getcwd(text, sizeof(text)) != NULL);
    printf("%s\n", text);
    show_file("../../../inside");
    show_ok("outside is gone", open("/proc/self", O_RDONLY));
    show("out by descriptor", fchdir(out));
    show("back", chroot("../../.."));
    show_bool("is the root again", access("/proc/self", F_OK) == 0);
    close(out);
}

struct old_dirent {
    unsigned long ino, off;
    unsigned short len;
    char name[];
};

static void old_entries(void)
{
    char buf[4096];
    long total = 0, dots = 0, types = 0;
    int fd = open("d/sub", O_RDONLY | O_DIRECTORY);
    long n;
    show("too small", syscall(SYS_getdents, fd, buf, 8));
    while ((n = syscall(SYS_getdents, fd, buf, sizeof(buf))) > 0)
        for (char *at = buf; at < buf + n;) {
            struct old_dirent *e = (void *)at;
            total++;
            dots += e->name[0] == '.';
            types += at[e->len - 1];
            at += e->len;
        }
    printf("entries %ld, dots %ld, types %ld\n", total, dots, types);
    show("of a file", syscall(SYS_getdents, 0, buf, sizeof(buf)));
    show("bad descriptor", syscall(SYS_getdents, 77, buf, sizeof(buf)));
    close(fd);
}

int main(void)
{
    char here[64];
    work_begin();
    mkdir("d", 0755);
    mkdir("d/sub", 0755);
    put_file("d/f", "file");
    symlink("f", "d/good");
    symlink("../d/f", "d/out");
    symlink("../x", "d/outnew");
    symlink("/dev/null", "d/abs");
    symlink("/f", "d/rooted");
    symlink(".", "d/here");
    getcwd(here, sizeof(here));
    how_errors();
    resolving();
    nameless();
    descriptors();
    if (geteuid() == 0)
        rooted();
    show("back home", chdir(here));
    old_entries();
    return 0;
}
