// SPDX-License-Identifier: Apache-2.0
/* Images are foreign: whatever their bytes are, mounting and walking them ends and touches nothing
 * that is not ours. Each damaged image is tried in a process of its own. */
#include <sys/wait.h>

#include "kernel/vfs/world_host.h"

enum { IMAGES = 60, POKES_MAX = 6, DEPTH_MAX = 4, SECONDS_MAX = 20 };

static struct block_dev disk;
static uint64_t bytes;
static char data[8192];

static void visit(const char *path, unsigned depth);

static void visit_children(const char *path, unsigned depth, int64_t fd)
{
    static char raw[DEPTH_MAX + 1][2048];
    int64_t n;
    unsigned rounds = 0;
    while ((n = SYS(getdents64, (uint64_t)fd, U(raw[depth]), sizeof(raw[0]))) > 0 && rounds++ < 50)
        for (int64_t at = 0; at < n;) {
            char child[4096];
            uint16_t reclen;
            memcpy(&reclen, raw[depth] + at + 16, 2);
            snprintf(child, sizeof(child), "%.3000s/%.300s", path, raw[depth] + at + 19);
            if (raw[depth][at + 19] != '.')
                visit(child, depth + 1);
            at += reclen;
        }
}

/* Everything that can be asked of a name. */
static void visit(const char *path, unsigned depth)
{
    char st[144];
    if (depth > DEPTH_MAX || strncmp(path, "/proc", 5) == 0 || strncmp(path, "/dev", 4) == 0)
        return;
    (void)SYS(lstat, U(path), U(st));
    (void)SYS(readlink, U(path), U(data), sizeof(data));
    int64_t fd = SYS(openat, CWD, U(path), FILE_NONBLOCK, 0);
    if (fd < 0)
        return;
    for (int i = 0; i < 20 && SYS(read, (uint64_t)fd, U(data), sizeof(data)) > 0; i++)
        continue;
    (void)SYS(lseek, (uint64_t)fd, (uint64_t)-1, 2);
    (void)SYS(read, (uint64_t)fd, U(data), 100);
    (void)SYS(lseek, (uint64_t)fd, 0, 0);
    visit_children(path, depth, fd);
    (void)SYS(close, (uint64_t)fd);
    (void)SYS(rename, U(path), U("/renamed"));
    (void)SYS(truncate, U("/renamed"), 5);
    (void)SYS(unlink, U("/renamed"));
    (void)SYS(rmdir, U("/renamed"));
}

static void child(void)
{
    alarm(SECONDS_MAX);
    if (vfs_init(&disk, bytes) < 0)
        _exit(0); // refused: that is fine
    host_init();
    visit("", 0);
    visit("/", 0);
    visit("/dir", 0);
    visit("/etc/link", 0);
    _exit(0);
}

static void test_damaged_images(struct test *t)
{
    srand(7);
    world_image(&disk, &bytes);
    for (int i = 0; i < IMAGES; i++) {
        uint64_t at[POKES_MAX];
        uint8_t old[POKES_MAX];
        int n = 1 + rand() % POKES_MAX, status = 0;
        for (int k = 0; k < n; k++) { // inodes and names lie in the first blocks
            at[k] = 1024 + (uint64_t)rand() % 3072;
            old[k] = host_disk_poke(&disk, at[k], (uint8_t)rand());
        }
        pid_t pid = fork();
        if (pid == 0)
            child();
        CHECK_EQ(t, waitpid(pid, &status, 0), pid);
        CHECK_EQ(t, status, 0);
        while (n-- > 0)
            (void)host_disk_poke(&disk, at[n], old[n]);
    }
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_damaged_images)};
    return test_main(cases, ARRAY_LEN(cases));
}
