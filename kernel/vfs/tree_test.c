// SPDX-License-Identifier: Apache-2.0
/* Names, data and attributes: an image under a writable tree, tmpfs, /dev, /proc. */
#include "kernel/vfs/world_host.h"

static struct block_dev *disk;
static char buf[65536];

static int64_t open_at(const char *path, int flags)
{
    return SYS(openat, CWD, U(path), (uint64_t)flags, 0644);
}

/* The whole of a small file, NUL-ended, in buf; or -errno. */
static int64_t slurp(const char *path)
{
    int64_t fd = open_at(path, 0);
    if (fd < 0)
        return fd;
    int64_t n = SYS(read, (uint64_t)fd, U(buf), sizeof(buf) - 1);
    buf[n > 0 ? n : 0] = 0;
    SYS(close, (uint64_t)fd);
    return n;
}

static int64_t spill(const char *path, const char *text, int flags)
{
    int64_t fd = open_at(path, FILE_WRONLY | OPEN_CREAT | flags);
    if (fd < 0)
        return fd;
    int64_t n = SYS(write, (uint64_t)fd, U(text), strlen(text));
    SYS(close, (uint64_t)fd);
    return n;
}

/* Names in a directory, in order, each with a space behind it. */
static const char *names(const char *path)
{
    static char out[4096];
    static char raw[300]; // several rounds
    size_t len = 0;
    int64_t fd = open_at(path, OPEN_DIRECTORY), n;
    out[0] = 0;
    while (fd >= 0 && (n = SYS(getdents64, (uint64_t)fd, U(raw), sizeof(raw))) > 0)
        for (int64_t at = 0; at < n;) {
            uint16_t reclen;
            memcpy(&reclen, raw + at + 16, 2);
            if (strcmp(raw + at + 19, ".") != 0 && strcmp(raw + at + 19, "..") != 0)
                len += (size_t)snprintf(out + len, sizeof(out) - len, "%s ", raw + at + 19);
            at += reclen;
        }
    if (fd >= 0)
        SYS(close, (uint64_t)fd);
    return out;
}

static struct {
    uint64_t dev, ino, nlink;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, rest[14];
} st;

static int64_t stat_of(const char *path)
{
    return SYS(stat, U(path), U(&st));
}

static void test_read_image(struct test *t)
{
    CHECK_EQ(t, slurp("/etc/passwd"), 5);
    CHECK_STR(t, buf, "root\n");
    CHECK_EQ(t, slurp("/etc/link"), 5);
    CHECK_EQ(t, slurp("/etc/loop"), -ELOOP);
    CHECK_EQ(t, slurp("/etc/none"), -ENOENT);
    CHECK_EQ(t, slurp("/etc/passwd/x"), -ENOTDIR);
    CHECK_EQ(t, slurp("/etc/passwd/"), -ENOTDIR);
    CHECK_EQ(t, slurp("/etc/link/"), -ENOTDIR);
    CHECK_EQ(t, slurp("//etc/.././etc//passwd"), 5);
    CHECK_EQ(t, stat_of("/big"), 0);
    CHECK_EQ(t, st.size, BIG_BYTES);
    CHECK_STR(t, names("/dir"), "a b c ");
    CHECK_STR(t, names("/tmp"), "shipped ");
    CHECK_EQ(t, SYS(readlink, U("/etc/link"), U(buf), 4), 4);
    CHECK(t, memcmp(buf, "pass", 4) == 0);
}

static void test_big_file(struct test *t)
{
    int64_t fd = open_at("/big", 0);
    for (uint64_t at = 0; at < BIG_BYTES; at += 5000) {
        uint64_t n = MIN(5000ull, BIG_BYTES - at);
        CHECK_EQ(t, SYS(pread64, (uint64_t)fd, U(buf), 5000, at), n);
        for (uint64_t i = 0; i < n; i++)
            CHECK_EQ(t, (uint8_t)buf[i], big_byte(at + i));
    }
    (void)host_shrink(1000);
    CHECK_EQ(t, pagecache_clean_bytes(), 0);
    CHECK_EQ(t, SYS(pread64, (uint64_t)fd, U(buf), 200, BIG_BYTES - 100), 100);
    CHECK_EQ(t, (uint8_t)buf[99], big_byte(BIG_BYTES - 1));
    (void)host_shrink(1000);
    host_disk_fail(disk, true);
    CHECK_EQ(t, SYS(pread64, (uint64_t)fd, U(buf), 100, 0), -EIO);
    host_disk_fail(disk, false);
    CHECK_EQ(t, SYS(pread64, (uint64_t)fd, U(buf), 100, 0), 100);
    SYS(close, (uint64_t)fd);
}

static void test_copy_up(struct test *t)
{
    int64_t fd = open_at("/big", FILE_RDWR);
    CHECK_EQ(t, SYS(pwrite64, (uint64_t)fd, U("XYZ"), 3, 4095), 3);
    (void)host_shrink(1000);
    CHECK_EQ(t, SYS(pread64, (uint64_t)fd, U(buf), 5, 4094), 5);
    CHECK_EQ(t, (uint8_t)buf[0], big_byte(4094));
    CHECK(t, memcmp(buf + 1, "XYZ", 3) == 0);
    CHECK_EQ(t, (uint8_t)buf[4], big_byte(4098));
    // Cut in the middle of a page, grow again: zeroes, not the old data.
    CHECK_EQ(t, SYS(ftruncate, (uint64_t)fd, 5000), 0);
    CHECK_EQ(t, SYS(ftruncate, (uint64_t)fd, 20000), 0);
    CHECK_EQ(t, SYS(pread64, (uint64_t)fd, U(buf), 8192, 4999), 8192);
    CHECK_EQ(t, (uint8_t)buf[0], big_byte(4999));
    for (int i = 1; i < 8192; i++)
        CHECK_EQ(t, buf[i], 0);
    SYS(close, (uint64_t)fd);
    CHECK_EQ(t, stat_of("/big"), 0);
    CHECK_EQ(t, st.size, 20000);
}

static void test_unlink_and_whiteout(struct test *t)
{
    CHECK_EQ(t, SYS(unlink, U("/dir/b")), 0);
    CHECK_EQ(t, slurp("/dir/b"), -ENOENT);
    CHECK_STR(t, names("/dir"), "a c ");
    CHECK_EQ(t, spill("/dir/b", "new", OPEN_EXCL), 3);
    CHECK_STR(t, names("/dir"), "a c b ");
    CHECK_EQ(t, SYS(unlink, U("/dir/b")), 0);
    CHECK_EQ(t, slurp("/dir/b"), -ENOENT);
    CHECK_STR(t, names("/dir"), "a c ");
    CHECK_EQ(t, SYS(rmdir, U("/dir")), -ENOTEMPTY);
    // An open file lives on without its name.
    int64_t fd = open_at("/dir/a", 0);
    CHECK_EQ(t, SYS(unlink, U("/dir/a")), 0);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(buf), 10), 2);
    SYS(close, (uint64_t)fd);
}

static void test_rename(struct test *t)
{
    CHECK_EQ(t, SYS(rename, U("/dir"), U("/moved")), 0);
    CHECK_STR(t, names("/moved"), "c ");
    CHECK_EQ(t, slurp("/moved/c"), 2);
    CHECK_EQ(t, slurp("/dir/c"), -ENOENT);
    CHECK_EQ(t, SYS(rename, U("/moved"), U("/moved/below")), -EINVAL);
    CHECK_EQ(t, SYS(mkdir, U("/dir"), 0755), 0);
    CHECK_STR(t, names("/dir"), "");
    CHECK_EQ(t, SYS(rename, U("/moved/c"), U("/dir/d")), 0);
    CHECK_EQ(t, SYS(rename, U("/etc/passwd"), U("/tmp/x")), 0);
    CHECK_EQ(t, slurp("/etc/link"), -ENOENT);
    CHECK_EQ(t, SYS(renameat2, CWD, U("/tmp/x"), CWD, U("/dir/d"), MOVE_NOREPLACE), -EEXIST);
    CHECK_EQ(t, SYS(renameat2, CWD, U("/tmp/x"), CWD, U("/dir/d"), MOVE_EXCHANGE), 0);
    CHECK_EQ(t, slurp("/dir/d"), 5);
    CHECK_EQ(t, slurp("/tmp/x"), 2);
    CHECK_EQ(t, SYS(rename, U("/dir/d"), U("/etc/passwd")), 0);
    CHECK_EQ(t, SYS(rename, U("/moved"), U("/dir")), 0);
    CHECK_EQ(t, SYS(rename, U("/etc/passwd"), U("/dir")), -EISDIR);
    CHECK_EQ(t, SYS(rename, U("/dir"), U("/etc/passwd")), -ENOTDIR);
    CHECK_EQ(t, SYS(rename, U("/etc/passwd"), U("/dev/shm/p")), -EXDEV);
    CHECK_EQ(t, SYS(rmdir, U("/dir")), 0);
    CHECK_STR(t, names("/etc"), "link loop passwd ");
}

static void test_links(struct test *t)
{
    CHECK_EQ(t, spill("/tmp/one", "1", 0), 1);
    CHECK_EQ(t, SYS(link, U("/tmp/one"), U("/tmp/two")), 0);
    CHECK_EQ(t, stat_of("/tmp/two"), 0);
    CHECK_EQ(t, st.nlink, 2);
    CHECK_EQ(t, SYS(link, U("/tmp/one"), U("/tmp/two")), -EEXIST);
    CHECK_EQ(t, SYS(link, U("/tmp"), U("/tmp2")), -EPERM);
    CHECK_EQ(t, SYS(unlink, U("/tmp/one")), 0);
    CHECK_EQ(t, slurp("/tmp/two"), 1);
    CHECK_EQ(t, SYS(symlink, U("two"), U("/tmp/sym")), 0);
    CHECK_EQ(t, slurp("/tmp/sym"), 1);
    CHECK_EQ(t, open_at("/tmp/sym", OPEN_NOFOLLOW), -ELOOP);
    CHECK_EQ(t, open_at("/tmp/sym", OPEN_CREAT | OPEN_EXCL), -EEXIST);
    CHECK_EQ(t, SYS(symlink, U("/tmp/born"), U("/tmp/dangling")), 0);
    CHECK_EQ(t, spill("/tmp/dangling", "b", 0), 1);
    CHECK_EQ(t, slurp("/tmp/born"), 1);
    CHECK_EQ(t, SYS(symlink, U(""), U("/tmp/empty")), -ENOENT);
}

static void test_open_errors(struct test *t)
{
    CHECK_EQ(t, open_at("/etc", FILE_WRONLY), -EISDIR);
    CHECK_EQ(t, open_at("/etc/passwd", OPEN_DIRECTORY), -ENOTDIR);
    CHECK_EQ(t, open_at("/etc/new/", OPEN_CREAT), -EISDIR);
    CHECK_EQ(t, open_at("/etc/.", OPEN_CREAT), -EISDIR);
    CHECK_EQ(t, open_at("/nowhere/new", OPEN_CREAT), -ENOENT);
    CHECK_EQ(t, open_at("", 0), -ENOENT);
    CHECK_EQ(t, open_at("/proc", OPEN_TMPFILE | OPEN_DIRECTORY | FILE_RDWR), -EOPNOTSUPP);
    CHECK_EQ(t, SYS(openat, CWD, 0, 0, 0), -EFAULT);
    CHECK_EQ(t, SYS(openat, 77, U("x"), 0, 0), -EBADF);
    memset(buf, 'n', 300);
    buf[300] = 0;
    CHECK_EQ(t, open_at(buf, 0), -ENAMETOOLONG);
    memset(buf, '/', 5000);
    CHECK_EQ(t, open_at(buf, 0), -ENAMETOOLONG);
    CHECK_EQ(t, SYS(mkdir, U("/etc"), 0), -EEXIST);
    CHECK_EQ(t, SYS(mkdir, U("/"), 0), -EEXIST);
    CHECK_EQ(t, SYS(rmdir, U("/tmp/.")), -EINVAL);
    CHECK_EQ(t, SYS(rmdir, U("/etc/..")), -ENOTEMPTY);
    CHECK_EQ(t, SYS(rmdir, U("/dev")), -EBUSY);
    CHECK_EQ(t, SYS(unlink, U("/etc")), -EISDIR);
    CHECK_EQ(t, SYS(mknod, U("/tmp/disk"), S_BLK | 0600, 0), -EPERM);
    CHECK_EQ(t, open_at("/proc/new", OPEN_CREAT), -ENOENT);
}

static void test_cwd_and_at(struct test *t)
{
    CHECK_EQ(t, SYS(mkdir, U("/tmp/d"), 0700), 0);
    CHECK_EQ(t, SYS(chdir, U("/tmp/d")), 0);
    CHECK_EQ(t, SYS(getcwd, U(buf), 100), 7);
    CHECK_STR(t, buf, "/tmp/d");
    CHECK_EQ(t, SYS(getcwd, U(buf), 6), -ERANGE);
    CHECK_EQ(t, spill("f", "here", 0), 4);
    int64_t fd = open_at("/tmp/d", OPEN_DIRECTORY);
    CHECK_EQ(t, SYS(newfstatat, (uint64_t)fd, U("f"), U(&st), 0), 0);
    CHECK_EQ(t, st.size, 4);
    CHECK_EQ(t, SYS(newfstatat, (uint64_t)fd, U(""), U(&st), 0x1000), 0);
    CHECK_EQ(t, st.mode, S_DIR | 0700);
    CHECK_EQ(t, SYS(unlinkat, (uint64_t)fd, U("f"), 0), 0);
    CHECK_EQ(t, SYS(unlinkat, CWD, U("/tmp/d"), 0x200), 0);
    CHECK_EQ(t, SYS(getcwd, U(buf), 100), -ENOENT);
    CHECK_EQ(t, spill("f", "x", 0), -ENOENT);
    CHECK_EQ(t, SYS(chdir, U("/")), 0);
    SYS(close, (uint64_t)fd);
}

static void test_append_seek_holes(struct test *t)
{
    const struct uio_seg plus = {U("++"), 2};
    CHECK_EQ(t, spill("/tmp/log", "ab", 0), 2);
    CHECK_EQ(t, spill("/tmp/log", "cd", FILE_APPEND), 2);
    CHECK_EQ(t, slurp("/tmp/log"), 4);
    CHECK_STR(t, buf, "abcd");
    int64_t fd = open_at("/tmp/log", FILE_RDWR);
    CHECK_EQ(t, SYS(lseek, (uint64_t)fd, 1 << 20, 0), 1 << 20);
    CHECK_EQ(t, SYS(write, (uint64_t)fd, U("end"), 3), 3);
    CHECK_EQ(t, SYS(lseek, (uint64_t)fd, 0, 4), 4096);       // SEEK_HOLE
    CHECK_EQ(t, SYS(lseek, (uint64_t)fd, 5000, 3), 1 << 20); // SEEK_DATA
    CHECK_EQ(t, SYS(lseek, (uint64_t)fd, 1 << 21, 3), -ENXIO);
    CHECK_EQ(t, SYS(lseek, (uint64_t)fd, (uint64_t)-1, 0), -EINVAL);
    CHECK_EQ(t, SYS(fallocate, (uint64_t)fd, 3, 0, 4096), 0);
    CHECK_EQ(t, SYS(pread64, (uint64_t)fd, U(buf), 4, 0), 4);
    CHECK(t, memcmp(buf, "\0\0\0\0", 4) == 0);
    CHECK_EQ(t, SYS(fallocate, (uint64_t)fd, 8, 0, 4096), -EOPNOTSUPP);
    CHECK_EQ(t, SYS(pwritev2, (uint64_t)fd, U(&plus), 1, 0, 0, 16), 2);
    CHECK_EQ(t, SYS(lseek, (uint64_t)fd, 0, 2), (1 << 20) + 5);
    CHECK_EQ(t, SYS(write, (uint64_t)fd, 1, 3), -EFAULT);
    SYS(close, (uint64_t)fd);
    fd = open_at("/tmp/log", 0);
    CHECK_EQ(t, SYS(write, (uint64_t)fd, U("x"), 1), -EBADF);
    SYS(close, (uint64_t)fd);
}

static void test_tmpfs_is_bounded(struct test *t)
{
    static const char page[4096] = "p";
    int64_t fd = open_at("/dev/shm/fill", FILE_RDWR | OPEN_CREAT), n = 0;
    uint64_t pages = 0;
    while ((n = SYS(write, (uint64_t)fd, U(page), sizeof(page))) == 4096 && pages < 20000)
        pages++;
    CHECK_EQ(t, n, -ENOSPC);
    CHECK(t, pages > 8100 && pages <= 8192); // half of the host world's 64 MiB, for all files
    CHECK_EQ(t, SYS(ftruncate, (uint64_t)fd, 0), 0);
    CHECK_EQ(t, SYS(pwrite64, (uint64_t)fd, U(page), 1, 0), 1);
    SYS(close, (uint64_t)fd);
    CHECK_EQ(t, SYS(unlink, U("/dev/shm/fill")), 0);
}

static void test_attributes(struct test *t)
{
    CHECK_EQ(t, SYS(chmod, U("/etc/passwd"), 0600), 0);
    CHECK_EQ(t, SYS(chown, U("/etc/passwd"), 7, (uint64_t)-1), 0);
    CHECK_EQ(t, stat_of("/etc/passwd"), 0);
    CHECK_EQ(t, st.mode, S_REG | 0600);
    CHECK_EQ(t, st.uid, 7);
    const int64_t times[4] = {5, 6, 7, 0x3ffffffe};
    CHECK_EQ(t, SYS(utimensat, CWD, U("/etc/passwd"), U(times), 0), 0);
    CHECK_EQ(t, stat_of("/etc/passwd"), 0);
    CHECK_EQ(t, SYS(umask, 077), 022);
    CHECK_EQ(t, SYS(mkdir, U("/tmp/m"), 0777), 0);
    CHECK_EQ(t, SYS(umask, 022), 077);
    CHECK_EQ(t, stat_of("/tmp/m"), 0);
    CHECK_EQ(t, st.mode, S_DIR | 0700);
    CHECK_EQ(t, SYS(access, U("/etc/passwd"), 4), 0);
    CHECK_EQ(t, SYS(access, U("/etc/passwd"), 1), -EACCES);
    CHECK_EQ(t, SYS(access, U("/etc/passwd"), 8), -EINVAL);
}

/* What a process that gave up being root may still do. */
static void test_permissions(struct test *t)
{
    struct creds *me = &current()->process->creds;
    CHECK_EQ(t, SYS(mkdir, U("/tmp/private"), 0700), 0);
    CHECK_EQ(t, spill("/tmp/private/f", "x", 0), 1);
    CHECK_EQ(t, spill("/tmp/roots", "x", 0), 1);
    CHECK_EQ(t, SYS(chmod, U("/tmp"), 01777), 0);
    *me = (struct creds){.uid = 1000, .euid = 1000, .suid = 1000, .gid = 50, .egid = 50};
    CHECK_EQ(t, slurp("/tmp/private/f"), -EACCES);
    CHECK_EQ(t, stat_of("/tmp/private/f"), -EACCES);
    CHECK_EQ(t, spill("/tmp/roots", "y", 0), -EACCES);
    CHECK_EQ(t, slurp("/tmp/roots"), 1);
    CHECK_EQ(t, SYS(unlink, U("/tmp/roots")), -EPERM); // sticky
    CHECK_EQ(t, SYS(unlink, U("/etc/passwd")), -EACCES);
    CHECK_EQ(t, SYS(mkdir, U("/new"), 0700), -EACCES);
    CHECK_EQ(t, SYS(chmod, U("/tmp/roots"), 0777), -EPERM);
    CHECK_EQ(t, SYS(chown, U("/tmp/roots"), 1000, 50), -EPERM);
    CHECK_EQ(t, SYS(truncate, U("/tmp/roots"), 0), -EACCES);
    CHECK_EQ(t, SYS(rename, U("/tmp/roots"), U("/tmp/mine")), -EPERM);
    CHECK_EQ(t, spill("/tmp/mine", "mine", 0), 4);
    CHECK_EQ(t, stat_of("/tmp/mine"), 0);
    CHECK(t, st.uid == 1000 && st.gid == 50);
    CHECK_EQ(t, SYS(chmod, U("/tmp/mine"), 04755), 0);
    CHECK_EQ(t, spill("/tmp/mine", "more", 0), 4);
    CHECK_EQ(t, stat_of("/tmp/mine"), 0);
    CHECK_EQ(t, st.mode, S_REG | 0755); // writing takes the set-user-id bit away
    CHECK_EQ(t, SYS(mknod, U("/tmp/null"), S_CHR | 0666, 0x103), -EPERM);
    me->euid = 0;
    CHECK_EQ(t, SYS(access, U("/tmp/private/f"), 4), -EACCES); // access asks for the real user
    *me = (struct creds){0};
    CHECK_EQ(t, SYS(unlink, U("/tmp/roots")), 0);
    CHECK_EQ(t, SYS(unlink, U("/tmp/mine")), 0);
}

static void test_xattr(struct test *t)
{
    CHECK_EQ(t, SYS(getxattr, U("/etc/passwd"), U("user.x"), U(buf), 10), -EOPNOTSUPP);
    CHECK_EQ(t, SYS(getxattr, U("/nothing"), U("user.x"), U(buf), 10), -ENOENT);
    CHECK_EQ(t, SYS(getxattr, U("/etc/passwd"), U(""), U(buf), 10), -ERANGE);
    CHECK_EQ(t, SYS(setxattr, U("/etc/passwd"), U("user.x"), U(buf), 10, 4), -EINVAL);
    CHECK_EQ(t, SYS(setxattr, U("/etc/passwd"), U("user.x"), U(buf), 1 << 20, 0), -E2BIG);
    CHECK_EQ(t, SYS(setxattr, U("/etc/passwd"), U("user.x"), U(buf), 10, 0), -EOPNOTSUPP);
    CHECK_EQ(t, SYS(llistxattr, U("/etc/loop"), U(buf), 10), 0);
    CHECK_EQ(t, SYS(listxattr, U("/etc/loop"), U(buf), 10), -ELOOP);
    CHECK_EQ(t, SYS(fremovexattr, 77, U("user.x")), -EBADF);
}

static void test_dev(struct test *t)
{
    CHECK_EQ(t, slurp("/dev/null"), 0);
    CHECK_EQ(t, spill("/dev/null", "gone", 0), 4);
    CHECK_EQ(t, spill("/dev/full", "no", 0), -ENOSPC);
    CHECK_EQ(t, slurp("/dev/zero"), sizeof(buf) - 1);
    CHECK_EQ(t, buf[77], 0);
    CHECK_EQ(t, slurp("/dev/urandom"), sizeof(buf) - 1);
    CHECK_STR(t, names("/dev"),
              "null zero full random urandom tty ptmx console fd stdin stdout stderr pts shm ");
    const char *out;
    CHECK_EQ(t, spill("/dev/console", "hello", 0), 5);
    CHECK_EQ(t, host_console(&out), 5);
    CHECK(t, memcmp(out, "hello", 5) == 0);
    host_type("typed");
    int64_t fd = open_at("/dev/tty", FILE_RDWR | FILE_NONBLOCK);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(buf), 100), 5);
    CHECK_EQ(t, SYS(read, (uint64_t)fd, U(buf), 100), -EAGAIN);
    SYS(close, (uint64_t)fd);
}

static void test_proc(struct test *t)
{
    CHECK_EQ(t, SYS(readlink, U("/proc/self/exe"), U(buf), 100), 12);
    CHECK(t, slurp("/proc/meminfo") > 0);
    CHECK(t, strncmp(buf, "MemTotal:          65536 kB\n", 28) == 0);
    CHECK(t, slurp("/proc/self/maps") > 0);
    CHECK_STR(
        t, buf,
        "00400000-00401000 r-xp 00000000 00:00 0                                  /bin/program\n");
    CHECK(t, slurp("/proc/mounts") > 0);
    CHECK(t, strstr(buf, "tmpfs /dev/shm tmpfs rw") != NULL);
    CHECK_EQ(t, slurp("/proc/self/cgroup"), 5);
    CHECK_EQ(t, slurp("/sys/devices/system/cpu/online"), 2);
    CHECK_EQ(t, slurp("/proc/sys/net/core/somaxconn"), 5);
    CHECK_EQ(t, slurp("/proc/self"), -EISDIR);
    CHECK_EQ(t, slurp("/proc/2"), -ENOENT);
    int64_t fd = open_at("/etc/passwd", 0);
    CHECK_STR(t, names("/proc/self/fd"), "0 1 ");
    snprintf(buf, sizeof(buf), "/proc/self/fd/%d", (int)fd);
    char link[64] = "";
    CHECK_EQ(t, SYS(readlink, U(buf), U(link), sizeof(link)), 11);
    CHECK_STR(t, link, "/etc/passwd");
    CHECK_EQ(t, slurp(buf), 5);
    SYS(close, (uint64_t)fd);
    CHECK_EQ(t, spill("/proc/self/comm", "renamed", 0), 7);
    CHECK_EQ(t, slurp("/proc/self/comm"), 8);
    CHECK_STR(t, buf, "renamed\n");
}

static void test_sendfile(struct test *t)
{
    int32_t p[2];
    CHECK_EQ(t, SYS(pipe2, U(p), 0), 0);
    CHECK_EQ(t, spill("/tmp/src", "0123456789", 0), 10);
    int64_t fd = open_at("/tmp/src", 0);
    uint64_t pos = 3;
    CHECK_EQ(t, SYS(sendfile, (uint64_t)p[1], (uint64_t)fd, U(&pos), 100), 7);
    CHECK_EQ(t, pos, 10);
    CHECK_EQ(t, SYS(sendfile, (uint64_t)p[1], (uint64_t)fd, 0, 4), 4);
    CHECK_EQ(t, SYS(read, (uint64_t)p[0], U(buf), 100), 11);
    buf[11] = 0;
    CHECK_STR(t, buf, "34567890123");
    CHECK_EQ(t, SYS(sendfile, (uint64_t)fd, (uint64_t)fd, 0, 4), -EBADF);
    CHECK_EQ(t, SYS(sendfile, (uint64_t)p[1], (uint64_t)p[0], 0, 4), -EINVAL);
    for (uint64_t f = 0; f < 3; f++)
        SYS(close, f);
}

static void test_memory_short(struct test *t)
{
    for (unsigned n = 1; n < 40; n++) {
        host_fail_alloc(n);
        int64_t r = spill("/tmp/short", "text", OPEN_TRUNC);
        host_fail_alloc(0);
        CHECK(t, r == 4 || r == -ENOMEM);
        (void)SYS(unlink, U("/tmp/short"));
        (void)host_shrink(1000);
        host_fail_alloc(n);
        r = slurp("/etc/passwd");
        host_fail_alloc(0);
        CHECK(t, r == 5 || r == -ENOMEM);
    }
}

/* A storm of names against a model of which exist. */
static void test_random_names(struct test *t)
{
    bool there[16] = {false};
    char a[32], b[32];
    size_t before = 0;
    for (int i = 0; i < 20000; i++) {
        int x = rand() % 16, y = rand() % 16;
        snprintf(a, sizeof(a), "/dev/shm/name-%d", x);
        snprintf(b, sizeof(b), "/dev/shm/name-%d", y);
        int64_t r;
        switch (rand() % 4) {
        case 0:
            r = spill(a, "x", OPEN_EXCL);
            CHECK_EQ(t, r, there[x] ? -EEXIST : 1);
            there[x] = true;
            break;
        case 1:
            CHECK_EQ(t, SYS(unlink, U(a)), there[x] ? 0 : -ENOENT);
            there[x] = false;
            break;
        case 2:
            CHECK_EQ(t, SYS(rename, U(a), U(b)), there[x] ? 0 : -ENOENT);
            if (there[x] && x != y) {
                there[x] = false;
                there[y] = true;
            }
            break;
        default:
            CHECK_EQ(t, slurp(a), there[x] ? 1 : -ENOENT);
        }
        if (i == 1000) {
            for (int k = 0; k < 16; k++) {
                snprintf(a, sizeof(a), "/dev/shm/name-%d", k);
                (void)SYS(unlink, U(a));
                there[k] = false;
            }
            before = host_live();
        }
    }
    for (int k = 0; k < 16; k++) {
        snprintf(a, sizeof(a), "/dev/shm/name-%d", k);
        (void)SYS(unlink, U(a));
    }
    CHECK_EQ(t, host_live(), before); // nothing is left behind
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_read_image),
        TEST_CASE(test_big_file),
        TEST_CASE(test_copy_up),
        TEST_CASE(test_unlink_and_whiteout),
        TEST_CASE(test_rename),
        TEST_CASE(test_links),
        TEST_CASE(test_open_errors),
        TEST_CASE(test_cwd_and_at),
        TEST_CASE(test_append_seek_holes),
        TEST_CASE(test_tmpfs_is_bounded),
        TEST_CASE(test_permissions),
        TEST_CASE(test_xattr),
        TEST_CASE(test_attributes),
        TEST_CASE(test_dev),
        TEST_CASE(test_proc),
        TEST_CASE(test_sendfile),
        TEST_CASE(test_memory_short),
        TEST_CASE(test_random_names),
    };
    disk = world_init();
    return test_main(cases, ARRAY_LEN(cases));
}
