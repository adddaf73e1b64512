// SPDX-License-Identifier: Apache-2.0
/* Reading directories: complete, in pieces, from a place, while names come and go. */
#include <sys/syscall.h>

#include "fs.h"

enum { MANY = 3000 };
static bool seen[MANY];

static int count(DIR *d)
{
    struct dirent *e;
    int n = 0;
    while ((e = readdir(d)) != NULL)
        n++;
    return n;
}

static void complete(void)
{
    char name[32];
    mkdir("many", 0755);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "many/n%d", i);
        if (i % 3 == 0)
            mkdir(name, 0755);
        else if (i % 3 == 1)
            symlink("x", name);
        else
            put_file(name, "");
    }
    DIR *d = opendir("many");
    struct dirent *e;
    int n = 0, wrong = 0, dots = 0;
    while ((e = readdir(d)) != NULL) {
        int i;
        if (e->d_name[0] == '.') {
            dots++;
            wrong += e->d_type != DT_DIR;
        } else if (sscanf(e->d_name, "n%d", &i) == 1 && i >= 0 && i < MANY) {
            static const unsigned char types[3] = {DT_DIR, DT_LNK, DT_REG};
            wrong += seen[i] || e->d_type != types[i % 3];
            struct stat st;
            snprintf(name, sizeof(name), "many/n%d", i);
            if (i % 100 == 0)
                wrong += lstat(name, &st) != 0 || st.st_ino != e->d_ino;
            seen[i] = true;
            n++;
        }
    }
    printf("names %d dots %d wrong %d\n", n, dots, wrong);
    rewinddir(d);
    printf("again %d\n", count(d));
    closedir(d);
    struct stat st;
    stat("many", &st);
    printf("links %ld\n", (long)st.st_nlink);
}

static void removing_while_reading(void)
{
    DIR *d = opendir("many");
    struct dirent *e;
    int removed = 0, failed = 0;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        int r = unlinkat(dirfd(d), e->d_name, e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
        removed += r == 0;
        failed += r != 0;
    }
    closedir(d);
    printf("removed %d failed %d\n", removed, failed);
    show("rmdir", rmdir("many"));
}

static void places(void)
{
    char name[32];
    mkdir("few", 0755);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "few/f%02d", i);
        put_file(name, "");
    }
    DIR *d = opendir("few");
    for (int i = 0; i < 10; i++)
        readdir(d);
    long at = telldir(d);
    struct dirent *e = readdir(d);
    char next[256];
    snprintf(next, sizeof(next), "%s", e->d_name);
    int rest = count(d);
    seekdir(d, at);
    e = readdir(d);
    show_bool("same place", strcmp(next, e->d_name) == 0);
    printf("rest %d %d\n", rest, count(d));
    closedir(d);
}

static void errors(void)
{
    char buf[1024];
    int d = open("few", O_RDONLY | O_DIRECTORY), f = open("few/f00", O_RDONLY);
    show("too small", syscall(SYS_getdents64, d, buf, 10));
    show("a file", syscall(SYS_getdents64, f, buf, sizeof(buf)));
    show("closed", syscall(SYS_getdents64, 77, buf, sizeof(buf)));
    show("null", syscall(SYS_getdents64, d, NULL, sizeof(buf)));
    show("read", read(d, buf, 10));
    show("write", write(d, buf, 10));
    show("ftruncate", ftruncate(d, 0));
    show_bool("a piece", syscall(SYS_getdents64, d, buf, 80) > 0);
    show("seek", lseek(d, 0, SEEK_SET));
    long total = 0, n;
    while ((n = syscall(SYS_getdents64, d, buf, 100)) > 0)
        total += n;
    show("bytes in pieces", total);
    show("at the end", syscall(SYS_getdents64, d, buf, sizeof(buf)));
    close(d);
    close(f);
    d = open("few", O_RDONLY | O_DIRECTORY);
    remove_tree(AT_FDCWD, "few");
    show("a removed one", syscall(SYS_getdents64, d, buf, sizeof(buf)));
}

int main(void)
{
    work_begin();
    complete();
    removing_while_reading();
    places();
    errors();
    return 0;
}
