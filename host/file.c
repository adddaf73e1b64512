// SPDX-License-Identifier: Apache-2.0
#include "host/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMP_PREFIX ".tmp-"

enum { TREE_DEPTH_MAX = 64, READ_STEP = 64 * 1024 };

void file_freep(char **p)
{
    free(*p);
    *p = NULL;
}

static int fail(struct err *e, const char *path, const char *what)
{
    int code = -errno;
    return err_set(e, code, "%s: cannot %s: %s", path, what, strerror(-code));
}

static void dir_closep(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

/* The length is not known beforehand for pipes and /proc: grow until the end. */
static int read_all(int fd, size_t max, char **ret, size_t *ret_len)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    size_t len = 0, room = MIN((size_t)MAX(st.st_size, (off_t)0), max) + 1;
    CLEANUP(file_freep) char *text = malloc(room + 1);
    while (text != NULL) {
        ssize_t n = read(fd, text + len, room - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        len += (size_t)n;
        if (len > max)
            return -EFBIG;
        if (n == 0) {
            text[len] = '\0';
            *ret_len = len;
            *ret = TAKE(text);
            return 0;
        }
        if (len < room)
            continue;
        room += READ_STEP;
        char *more = realloc(text, room + 1);
        if (more == NULL)
            break;
        text = more;
    }
    return -ENOMEM;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_len, struct err *e)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(e, path, "open");
    int r = read_all(fd, max, ret, ret_len);
    if (r == -EFBIG)
        return err_set(e, r, "%s: larger than %zu bytes", path, max);
    return r < 0 ? err_set(e, r, "%s: cannot read: %s", path, strerror(-r)) : 0;
}

int file_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int new_open_once(struct file_new *f, const char *folder, mode_t mode, struct err *e)
{
    int n = snprintf(f->temp, sizeof(f->temp), "%s/" TEMP_PREFIX "XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof(f->temp))
        return err_set(e, -ENAMETOOLONG, "%s: name too long", folder);
    f->fd = mkostemp(f->temp, O_CLOEXEC);
    if (f->fd < 0)
        return fail(e, folder, "make a file in the folder");
    struct stat st;
    if (flock(f->fd, LOCK_EX) < 0 || fchmod(f->fd, mode) < 0 || fstat(f->fd, &st) < 0) {
        int r = fail(e, f->temp, "prepare");
        file_new_abort(f);
        return r;
    }
    return st.st_nlink > 0; // 0: a sweep came between its making and its locking
}

int file_new_open(struct file_new *f, const char *folder, mode_t mode, struct err *e)
{
    enum { TRIES_MAX = 10 };
    for (int i = 0; i < TRIES_MAX; i++) {
        int r = new_open_once(f, folder, mode, e);
        if (r < 0)
            f->fd = -1;
        if (r != 0)
            return MIN(r, 0);
        fd_closep(&f->fd);
    }
    return err_set(e, -EAGAIN, "%s: new files vanish at once", folder);
}

/* Make a changed folder durable. */
static int sync_folder_of(const char *path)
{
    char folder[sizeof(((struct file_new *)0)->temp)];
    const char *slash = strrchr(path, '/');
    int n = slash == NULL ? snprintf(folder, sizeof(folder), ".")
                          : snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
    if (n < 0 || (size_t)n >= sizeof(folder))
        return -ENAMETOOLONG;
    CLEANUP(fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_new_commit(struct file_new *f, const char *path, struct err *e)
{
    int r = 0;
    if (fsync(f->fd) < 0)
        r = fail(e, path, "write");
    else if (rename(f->temp, path) < 0)
        r = fail(e, path, "create");
    if (r < 0) {
        file_new_abort(f);
        return r;
    }
    fd_closep(&f->fd);
    r = sync_folder_of(path);
    return r < 0 ? err_set(e, r, "%s: cannot write: %s", path, strerror(-r)) : 0;
}

void file_new_abort(struct file_new *f)
{
    if (f->fd < 0)
        return;
    unlink(f->temp);
    fd_closep(&f->fd);
}

void file_new_sweep(const char *folder)
{
    CLEANUP(dir_closep) DIR *d = opendir(folder);
    if (d == NULL)
        return;
    for (struct dirent *de = readdir(d); de != NULL; de = readdir(d)) {
        if (strncmp(de->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0)
            continue;
        CLEANUP(fd_closep) int fd = openat(dirfd(d), de->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dirfd(d), de->d_name, 0);
    }
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char folder[sizeof(((struct file_new *)0)->temp)];
    int n = slash == NULL ? snprintf(folder, sizeof(folder), ".")
                          : snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
    if (n < 0 || (size_t)n >= sizeof(folder))
        return err_set(e, -ENAMETOOLONG, "%s: name too long", path);
    struct file_new f;
    int r = file_new_open(&f, folder, mode, e);
    if (r < 0)
        return r;
    r = file_write_all(f.fd, data, len);
    if (r < 0) {
        file_new_abort(&f);
        return err_set(e, r, "%s: cannot write: %s", path, strerror(-r));
    }
    return file_new_commit(&f, path, e);
}

int file_mkdirs(const char *path, mode_t mode, struct err *e)
{
    char part[sizeof(((struct file_new *)0)->temp)];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(part))
        return err_set(e, -EINVAL, "%s: not a folder's name", path);
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return fail(e, part, "create the folder");
        part[i] = path[i];
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return fail(e, path, "open");
    return S_ISDIR(st.st_mode) ? 0 : err_set(e, -ENOTDIR, "%s: not a folder", path);
}

static int remove_tree_at(int at, const char *name, unsigned depth)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (depth == 0)
        return -ELOOP;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP(dir_closep) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        int r = -errno;
        fd_closep(&fd);
        return r;
    }
    for (struct dirent *de = readdir(d); de != NULL; de = readdir(d)) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        int r = remove_tree_at(dirfd(d), de->d_name, depth - 1);
        if (r < 0)
            return r;
    }
    return unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int file_remove_tree(const char *path, struct err *e)
{
    int r = remove_tree_at(AT_FDCWD, path, TREE_DEPTH_MAX);
    return r < 0 ? err_set(e, r, "%s: cannot remove: %s", path, strerror(-r)) : 0;
}
