// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/file.h"

#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/linux/epoll.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/async.h"
#include "kernel/vfs/flock.h"
#include "kernel/vfs/notify.h"
#include "kernel/vfs/record.h"
#include "kernel/vfs/tree.h"
#include "kernel/vfs/vfs.h"

struct file *file_new(const struct file_ops *ops, uint32_t flags, void *priv)
{
    struct file *f = kzalloc(sizeof(*f));
    if (f == NULL)
        return NULL;
    f->ops = ops;
    f->refs = 1;
    f->flags = flags;
    f->priv = priv;
    mutex_init(&f->pos_lock);
    list_init(&f->epoll_links);
    return f;
}

void file_put(struct file *f)
{
    if (f != NULL)
        file_put_hot(f);
}

void file_free(struct file *f)
{
    if (notify_on())
        notify_file_slow(f, (f->flags & (FILE_WRONLY | FILE_RDWR)) != 0 ? NOTIFY_CLOSE_WRITE
                                                                      : NOTIFY_CLOSE_NOWRITE);
    epoll_file_gone(f);
    async_file_gone(f);
    flock_file_gone(f);
    record_drop(f, f);
    f->ops->release(f);
    if (f->dentry != NULL)
        dentry_put(f->dentry);
    kfree(f->path);
    kfree(f);
}

static int64_t kernel_io(struct file *f, uint64_t at, size_t n, uint64_t *pos, bool write)
{
    size_t done = 0;
    while (done < n) {
        struct uio_seg seg;
        struct uio u = uio_one(&seg, at + done, n - done, true);
        int64_t r = write ? f->ops->write(f, &u, pos, false) : f->ops->read(f, &u, pos, false);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (int64_t)done;
}

int64_t file_read_kernel(struct file *f, void *to, size_t n, uint64_t pos)
{
    return kernel_io(f, (uint64_t)to, n, &pos, false);
}

int64_t file_write_kernel(struct file *f, const void *from, size_t n)
{
    return kernel_io(f, (uint64_t)from, n, &f->pos, true);
}

const char *file_path(struct file *f)
{
    if (f->dentry == NULL)
        return "";
    if (f->path == NULL) {
        char *buf = kmalloc(PATH_MAX_BYTES);
        if (buf == NULL)
            return "";
        size_t len = dentry_path(f->dentry, buf, PATH_MAX_BYTES);
        char *copy = kmalloc(len + 1);
        if (copy != NULL)
            memcpy(copy, buf, len + 1);
        kfree(buf);
        char *expected = NULL;
        if (copy == NULL)
            return "";
        if (!__atomic_compare_exchange_n(&f->path, &expected, copy, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            kfree(copy);
    }
    return f->path;
}

size_t file_describe(struct file *f, char *to, size_t max)
{
    if (f->dentry != NULL)
        return MIN(dentry_path(f->dentry, to, max), max - 1);
    struct kstat st = {0};
    if (f->ops->stat(f, &st) < 0)
        st.mode = S_SOCK;
    size_t len;
    if (strcmp(f->ops->name, "inotify") == 0) // the one without brackets
        len = fmt(to, max, "anon_inode:inotify");
    else if ((st.mode & S_FMT) == 0) // eventfd, eventpoll, timerfd: Linux fs/anon_inodes.c
        len = fmt(to, max, "anon_inode:[%s]", f->ops->name);
    else
        len = fmt(to, max, "%s:[%lu]", f->ops->name, st.ino);
    return MIN(len, max - 1);
}

int64_t file_no_read(struct file *f UNUSED, struct uio *u UNUSED, uint64_t *pos UNUSED,
                     bool nonblock UNUSED)
{
    return -EINVAL;
}

int64_t file_no_write(struct file *f UNUSED, struct uio *u UNUSED, uint64_t *pos UNUSED,
                      bool nonblock UNUSED)
{
    return -EINVAL;
}

uint32_t file_always_ready(struct file *f UNUSED, struct waitq **ret_queue)
{
    *ret_queue = NULL;
    return EV_IN | EV_OUT | EV_RDNORM | EV_WRNORM;
}

int64_t file_no_ioctl(struct file *f UNUSED, uint32_t cmd UNUSED, uint64_t arg UNUSED)
{
    return -ENOTTY;
}

int64_t file_no_seek(struct file *f UNUSED, int64_t offset UNUSED, int whence UNUSED)
{
    return -ESPIPE;
}

int64_t file_noop_seek(struct file *f UNUSED, int64_t offset UNUSED, int whence UNUSED)
{
    return 0;
}

int file_no_page(struct file *f UNUSED, uint64_t index UNUSED, bool write UNUSED,
                 struct page **ret UNUSED)
{
    return -ENODEV;
}

void file_no_release(struct file *f UNUSED)
{
}

void kstat_anon(struct kstat *ret, uint32_t mode, uint64_t ino)
{
    uint64_t now = clock_real_ns();
    *ret = (struct kstat){
        .dev = ANON_DEV,
        .ino = ino,
        .nlink = 1,
        .mode = mode,
        .blksize = PAGE_SIZE,
        .atime_ns = now,
        .mtime_ns = now,
        .ctime_ns = now,
    };
}

uint64_t vfs_anon_ino(void)
{
    static uint64_t last = 1000;
    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}
