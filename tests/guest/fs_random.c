// SPDX-License-Identifier: Apache-2.0
/* Seeded random work on a few files and names; what is left must be the same everywhere. */
#include "fs.h"

enum { STEPS = 30000, FILES = 6, DIRS = 3, BYTES = 70000 };
static uint64_t state = 88172645463325252ull, sum = 14695981039346656037ull;

static unsigned rnd(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 20) % n;
}

static void mix(const void *data, size_t n)
{
    const unsigned char *b = data;
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ b[i]) * 1099511628211ull;
}

static void result(long r)
{
    int64_t v = r < 0 ? -errno : r;
    mix(&v, sizeof(v));
}

static const char *some_name(void)
{
    static char names[4][32];
    static int next;
    char *n = names[next++ % 4];
    unsigned d = rnd(DIRS + 1);
    if (d == DIRS)
        snprintf(n, 32, "f%u", rnd(FILES));
    else if (rnd(4) == 0)
        snprintf(n, 32, "d%u", d);
    else
        snprintf(n, 32, "d%u/f%u", d, rnd(FILES));
    return n;
}

static void data_step(void)
{
    static char buf[BYTES];
    int fd = open(some_name(), O_RDWR | (rnd(3) == 0 ? O_CREAT : 0) | (rnd(8) == 0 ? O_APPEND : 0),
                  0644);
    result(fd < 0 ? fd : 0);
    if (fd < 0)
        return;
    off_t at = rnd(BYTES);
    size_t n = rnd(rnd(5) == 0 ? 20000 : 300);
    switch (rnd(6)) {
    case 0:
    case 1:
        memset(buf, 'a' + (int)rnd(26), n);
        result(pwrite(fd, buf, n, at));
        break;
    case 2:
    case 3: {
        ssize_t r = pread(fd, buf, n, at);
        result(r);
        mix(buf, r > 0 ? (size_t)r : 0);
        break;
    }
    case 4:
        result(ftruncate(fd, (off_t)rnd(BYTES)));
        break;
    default:
        result(fallocate(fd, rnd(2) ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0, at,
                         (off_t)n + 1));
    }
    close(fd);
}

static void name_step(void)
{
    struct stat st;
    switch (rnd(8)) {
    case 0:
        result(mkdir(some_name(), 0755));
        break;
    case 1:
        result(unlink(some_name()));
        break;
    case 2:
        result(rmdir(some_name()));
        break;
    case 3:
        result(rename(some_name(), some_name()));
        break;
    case 4:
        result(link(some_name(), some_name()));
        break;
    case 5:
        result(symlink("f0", some_name()));
        break;
    case 6:
        result(renameat2(AT_FDCWD, some_name(), AT_FDCWD, some_name(), 1 + rnd(2)));
        break;
    default:
        if (lstat(some_name(), &st) == 0) {
            uint64_t facts[3] = {st.st_mode, st.st_nlink, S_ISDIR(st.st_mode) ? 0 : st.st_size};
            mix(facts, sizeof(facts));
        }
    }
}

int main(void)
{
    work_begin();
    for (int i = 0; i < STEPS; i++) {
        if (rnd(2))
            data_step();
        else
            name_step();
        if (i % 1000 == 999)
            printf("%d: %016llx\n", i + 1, (unsigned long long)sum);
    }
    return 0;
}
