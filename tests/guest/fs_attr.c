// SPDX-License-Identifier: Apache-2.0
/* Attributes: modes, times, access, stat and statx, statfs, umask. */
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>

#include "fs.h"

static void mode_of(const char *name)
{
    struct stat st;
    if (lstat(name, &st) < 0)
        show(name, -1);
    else
        printf("%s: %o\n", name, st.st_mode);
}

static void modes(void)
{
    put_file("f", "x");
    mode_of("f");
    show("chmod", chmod("f", 04751));
    mode_of("f");
    show("chmod bits above", chmod("f", 0170644));
    mode_of("f");
    int fd = open("f", O_RDONLY);
    show("fchmod", fchmod(fd, 0600));
    mode_of("f");
    symlink("f", "s");
    show("chmod through a link", chmod("s", 0640));
    mode_of("f");
    mode_of("s");
    show("chmod of nothing", chmod("none", 0600));
    show("fchmod closed", fchmod(77, 0600));
    show("umask", umask(0077));
    mkdir("d", 0777);
    close(open("g", O_RDWR | O_CREAT, 0666));
    mode_of("d");
    mode_of("g");
    show("umask", umask(0022));
    show("sticky", mkdir("t", 01777));
    mode_of("t");
    close(open("h", O_RDWR | O_CREAT, 07777));
    mode_of("h");
    close(fd);
}

static void access_(void)
{
    chmod("f", 0600);
    show("exists", access("f", F_OK));
    show("read", access("f", R_OK | W_OK));
    show("execute", access("f", X_OK));
    show("folder", access("d", X_OK));
    show("nothing", access("none", F_OK));
    show("bad mode", access("f", 8));
    show("below a file", access("f/x", F_OK));
    show("faccessat2 link", syscall(SYS_faccessat2, AT_FDCWD, "s", F_OK, AT_SYMLINK_NOFOLLOW));
    show("faccessat2 bad flag", syscall(SYS_faccessat2, AT_FDCWD, "s", F_OK, 1));
    show("faccessat2 empty", syscall(SYS_faccessat2, open("f", O_RDONLY), "", R_OK, AT_EMPTY_PATH));
}

static void times(void)
{
    struct timespec t[2] = {{1000, 5}, {2000, 7}};
    struct stat st;
    show("utimensat", utimensat(AT_FDCWD, "f", t, 0));
    stat("f", &st);
    printf("%ld.%09ld %ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec,
           st.st_mtim.tv_nsec);
    show_bool("change time is now", st.st_ctim.tv_sec > 1000000000);
    t[0].tv_nsec = UTIME_OMIT;
    t[1].tv_nsec = UTIME_NOW;
    show("omit and now", utimensat(AT_FDCWD, "f", t, 0));
    stat("f", &st);
    printf("%ld\n", st.st_atim.tv_sec);
    show_bool("now", st.st_mtim.tv_sec > 1000000000);
    t[1].tv_nsec = 1000000000;
    show("bad nanoseconds", utimensat(AT_FDCWD, "f", t, 0));
    t[1].tv_nsec = 0;
    show("nothing there", utimensat(AT_FDCWD, "none", t, 0));
    show("bad flag", utimensat(AT_FDCWD, "f", t, 1));
    show("link itself", utimensat(AT_FDCWD, "s", t, AT_SYMLINK_NOFOLLOW));
    int fd = open("f", O_RDONLY);
    t[0] = (struct timespec){7, 0};
    show("futimens", futimens(fd, t));
    stat("f", &st);
    printf("%ld\n", st.st_atim.tv_sec);
    struct timespec before = st.st_mtim;
    close(fd);
    fd = open("f", O_WRONLY);
    write(fd, "y", 1);
    fstat(fd, &st);
    show_bool("writing sets the time", st.st_mtim.tv_sec > before.tv_sec);
    close(fd);
}

static void stats(void)
{
    struct stat a, b;
    struct statx x;
    stat("f", &a);
    show("size", a.st_size);
    show("blksize", a.st_blksize);
    show("links", (long)a.st_nlink);
    int fd = open("f", O_RDONLY);
    fstat(fd, &b);
    show_bool("same", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    show("fstatat empty", fstatat(fd, "", &b, AT_EMPTY_PATH));
    show("fstatat empty without flag", fstatat(fd, "", &b, 0));
    show("fstatat bad flag", fstatat(fd, "f", &b, 1));
    show("statx", statx(AT_FDCWD, "f", 0, STATX_ALL, &x));
    show_bool("same inode", x.stx_ino == a.st_ino);
    show_bool("basic", (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    printf("mode %o size %llu\n", x.stx_mode, x.stx_size);
    show("statx empty", statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    show("statx bad flag", statx(fd, "", 1, STATX_BASIC_STATS, &x));
    show("statx reserved", statx(fd, "", AT_EMPTY_PATH, 0x80000000, &x));
    show("stat null", syscall(SYS_stat, "f", NULL));
    show("fstat closed", fstat(77, &a));
    stat("/dev/null", &a);
    printf("null %o %u %u\n", a.st_mode, major(a.st_rdev), minor(a.st_rdev));
    int p[2];
    pipe(p);
    fstat(p[0], &a);
    printf("pipe %o\n", a.st_mode);
    struct statfs fs;
    show("statfs", statfs(".", &fs));
    printf("tmpfs %d block %ld name %ld\n", fs.f_type == 0x01021994, (long)fs.f_bsize,
           (long)fs.f_namelen);
    show("fstatfs", fstatfs(fd, &fs));
    show("statfs of nothing", statfs("none", &fs));
    close(fd);
}

int main(void)
{
    work_begin();
    modes();
    access_();
    times();
    stats();
    return 0;
}
