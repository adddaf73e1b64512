// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the guest programs about files share: they work in a folder of their own on a tmpfs, which
 * both kernels have at /dev/shm. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

// These programs make mistakes on purpose.
#pragma GCC diagnostic ignored "-Wunused-result"
#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"

static char work_folder[] = "/dev/shm/skerry-guest-XXXXXX";

static inline int remove_tree(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY);
    DIR *d = fdopendir(fd);
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) < 0 && errno == EISDIR)
            remove_tree(fd, e->d_name);
    }
    closedir(d);
    return unlinkat(at, name, AT_REMOVEDIR);
}

static inline void work_end(void)
{
    if (chdir("/") == 0)
        remove_tree(AT_FDCWD, work_folder);
}

static inline void work_begin(void)
{
    if (mkdtemp(work_folder) == NULL || chdir(work_folder) < 0) {
        perror("work folder");
        exit(2);
    }
    umask(022);
    atexit(work_end);
}

/* Make a file with these bytes. */
static inline void put_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        perror(name);
    close(fd);
}

/* "name: contents" or "name: ENOENT". */
static inline void show_file(const char *name)
{
    char text[256];
    int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n < 0)
        show(name, -1);
    else
        printf("%s: \"%.*s\"\n", name, (int)n, text);
    if (fd >= 0)
        close(fd);
}
