// SPDX-License-Identifier: Apache-2.0
/* read(2), write(2) and their relatives: Linux 6.1 fs/read_write.c. */
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/notify.h"
#include "kernel/vfs/tree.h"

enum {
    ACCMODE = 3,
    SEGS_SMALL = 8, // segments of readv and writev that need no allocation
    SEEK_END_OF_LIST = 4,
    RWF_HIPRI = 1,
    RWF_DSYNC = 2,
    RWF_SYNC = 4,
    RWF_NOWAIT = 8,
    RWF_APPEND = 16,
    RWF_ALL = 31,
};

static bool may_read(const struct file *f)
{
    return (f->flags & ACCMODE) == 0 || (f->flags & ACCMODE) == FILE_RDWR;
}

static bool may_write(const struct file *f)
{
    return (f->flags & ACCMODE) == FILE_WRONLY || (f->flags & ACCMODE) == FILE_RDWR;
}

/* Files without a position: pipes, sockets, terminals, eventfd and its like. */
static bool is_stream(const struct file *f)
{
    return f->ops->seek == file_no_seek || f->ops->seek == file_noop_seek;
}

ALWAYS_INLINE int64_t transfer(struct file *f, struct uio *u, uint64_t *pos, bool write,
                               bool nonblock)
{
    nonblock = nonblock || (__atomic_load_n(&f->flags, __ATOMIC_RELAXED) & FILE_NONBLOCK) != 0;
    int64_t r = write ? f->ops->write(f, u, pos, nonblock) : f->ops->read(f, u, pos, nonblock);
    if (notify_on() && r > 0)
        notify_file_slow(f, write ? NOTIFY_MODIFY : NOTIFY_ACCESS);
    return r;
}

/* Read or write at the file's own position. */
ALWAYS_INLINE int64_t transfer_here(struct file *f, struct uio *u, bool write)
{
    if (is_stream(f))
        return transfer(f, u, NULL, write, false);
    mutex_lock(&f->pos_lock);
    int64_t r = transfer(f, u, &f->pos, write, false);
    mutex_unlock(&f->pos_lock);
    return r;
}

/* The file behind fd if it may be read (written): referenced, or NULL: -EBADF. */
ALWAYS_INLINE struct file *get(int fd, bool write)
{
    struct file *f = fd_get_io(fd);
    if (f != NULL && (write ? may_write(f) : may_read(f)))
        return f;
    file_put(f);
    return NULL;
}

ALWAYS_INLINE int64_t one(const uint64_t arg[static 6], bool write)
{
    struct uio_seg seg;
    struct uio u;
    struct file *f = get((int)arg[0], write);
    if (f == NULL)
        return -EBADF;
    int64_t r = uio_from_user_buf(&u, &seg, arg[1], arg[2]);
    if (r == 0)
        r = transfer_here(f, &u, write);
    file_put_hot(f);
    return r;
}

int64_t sys_read(const uint64_t arg[static 6])
{
    return one(arg, false);
}

int64_t sys_write(const uint64_t arg[static 6])
{
    return one(arg, true);
}

static int64_t one_at(const uint64_t arg[static 6], bool write)
{
    struct uio_seg seg;
    struct uio u;
    uint64_t pos = arg[3];
    if ((int64_t)pos < 0)
        return -EINVAL;
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int64_t r = is_stream(f) ? -ESPIPE : (write ? may_write(f) : may_read(f)) ? 0 : -EBADF;
    if (r == 0)
        r = uio_from_user_buf(&u, &seg, arg[1], arg[2]);
    if (r == 0)
        r = transfer(f, &u, &pos, write, false);
    file_put(f);
    return r;
}

int64_t sys_pread64(const uint64_t arg[static 6])
{
    return one_at(arg, false);
}

int64_t sys_pwrite64(const uint64_t arg[static 6])
{
    return one_at(arg, true);
}

/* An iovec array in kernel memory: few segments lie in the caller's frame. */
struct segs {
    struct uio_seg small[SEGS_SMALL];
    struct uio_seg *heap;
};

static int segs_load(struct segs *s, struct uio *u, uint64_t user, uint64_t count)
{
    struct uio_seg *at = s->small;
    s->heap = NULL;
    if (count > UIO_SEGS_MAX)
        return -EINVAL;
    if (count > SEGS_SMALL) {
        at = s->heap = kmalloc(count * sizeof(*at));
        if (at == NULL)
            return -ENOMEM;
    }
    int r = uio_from_user(u, at, UIO_SEGS_MAX, user, count);
    if (r < 0)
        kfree(s->heap);
    return r;
}

/* A stream at no position, a file at its own one. */
static int64_t vector_here(int fd, uint64_t iov, uint64_t count, bool write)
{
    struct segs segs;
    struct uio u;
    struct file *f = get(fd, write);
    if (f == NULL)
        return -EBADF;
    int64_t r = segs_load(&segs, &u, iov, count);
    if (r == 0) {
        r = u.left == 0 && !is_stream(f) ? 0 : transfer_here(f, &u, write);
        kfree(segs.heap);
    }
    file_put(f);
    return r;
}

int64_t sys_readv(const uint64_t arg[static 6])
{
    return vector_here((int)arg[0], arg[1], arg[2], false);
}

int64_t sys_writev(const uint64_t arg[static 6])
{
    return vector_here((int)arg[0], arg[1], arg[2], true);
}

/* What of the RWF_ flags this file takes. Linux kiocb_set_rw_flags; like tmpfs, files of the tree
 * do not know NOWAIT. */
static int check_rwf(const struct file *f, uint32_t rwf, bool write)
{
    if (rwf & ~(uint32_t)RWF_ALL)
        return -EOPNOTSUPP;
    if ((rwf & RWF_NOWAIT) && !is_stream(f))
        return -EOPNOTSUPP;
    (void)write;
    return 0;
}

static int64_t transfer_flags(struct file *f, struct uio *u, uint64_t *pos, bool write,
                              uint32_t rwf)
{
    bool in_tree = f->inode != NULL && (f->inode->mode & S_FMT) == S_REG && !is_stream(f);
    if (!write || (rwf & RWF_APPEND) == 0 || !in_tree || !f->inode->sb->ops->writable)
        return transfer(f, u, pos, write, (rwf & RWF_NOWAIT) != 0);
    int64_t r = memfs_write(f->inode, u, pos, true);
    if (r > 0)
        notify_file(f, NOTIFY_MODIFY);
    return r;
}

/* preadv and relatives. pos -1 with `own`: the file's own position. */
static int64_t vector_at(const uint64_t arg[static 6], bool write, bool own, uint32_t rwf)
{
    struct segs segs;
    struct uio u;
    uint64_t pos = arg[3];
    own = own && pos == UINT64_MAX;
    if (!own && (int64_t)pos < 0)
        return -EINVAL;
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int64_t r = !own && is_stream(f) ? -ESPIPE : (write ? may_write(f) : may_read(f)) ? 0 : -EBADF;
    if (r == 0)
        r = segs_load(&segs, &u, arg[1], arg[2]);
    if (r == 0) {
        bool lock = own && !is_stream(f);
        r = check_rwf(f, rwf, write);
        if (lock)
            mutex_lock(&f->pos_lock);
        if (r == 0 && (u.left > 0 || is_stream(f)))
            r = transfer_flags(f, &u, lock ? &f->pos : own ? NULL : &pos, write, rwf);
        if (lock)
            mutex_unlock(&f->pos_lock);
        kfree(segs.heap);
    }
    file_put(f);
    return r;
}

int64_t sys_preadv(const uint64_t arg[static 6])
{
    return vector_at(arg, false, false, 0);
}

int64_t sys_pwritev(const uint64_t arg[static 6])
{
    return vector_at(arg, true, false, 0);
}

int64_t sys_preadv2(const uint64_t arg[static 6])
{
    return vector_at(arg, false, true, (uint32_t)arg[5]);
}

int64_t sys_pwritev2(const uint64_t arg[static 6])
{
    return vector_at(arg, true, true, (uint32_t)arg[5]);
}

int64_t sys_lseek(const uint64_t arg[static 6])
{
    uint32_t whence = (uint32_t)arg[2];
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int64_t r = -EINVAL;
    if (whence <= SEEK_END_OF_LIST) {
        mutex_lock(&f->pos_lock);
        r = f->ops->seek(f, (int64_t)arg[1], (int)whence);
        mutex_unlock(&f->pos_lock);
    }
    file_put(f);
    return r;
}

// --- sendfile ---

enum { SENDFILE_PAGES = 16 };

/* Take up to SENDFILE_PAGES pages of the file from pos on: how many, or -errno. */
static int pages_take(struct file *in, uint64_t pos, uint64_t left, struct page **pages,
                      struct uio_seg *segs, uint64_t *ret_bytes)
{
    int n = 0;
    *ret_bytes = 0;
    while (n < SENDFILE_PAGES && left > 0) {
        uint64_t off = pos % PAGE_SIZE, part = MIN(left, PAGE_SIZE - off);
        int r = in->ops->get_page(in, pos / PAGE_SIZE, false, &pages[n]);
        if (r < 0)
            return n > 0 ? n : r;
        segs[n] = (struct uio_seg){(uint64_t)page_virt(pages[n]) + off, part};
        n++;
        *ret_bytes += part;
        pos += part;
        left -= part;
    }
    return n;
}

/* One batch of pages, straight from the page cache. */
static int64_t send_pages(struct file *out, struct file *in, uint64_t pos, uint64_t left)
{
    struct page *pages[SENDFILE_PAGES];
    struct uio_seg segs[SENDFILE_PAGES];
    uint64_t bytes;
    int n = pages_take(in, pos, left, pages, segs, &bytes);
    if (n <= 0)
        return n;
    struct uio u = {.seg = segs, .seg_count = (unsigned)n, .left = bytes, .kernel = true};
    uint64_t *out_pos = is_stream(out) ? NULL : &out->pos;
    int64_t r = transfer(out, &u, out_pos, true, false);
    while (n > 0)
        page_put(pages[--n]);
    return r;
}

/* The same for files without pages (/proc): through a buffer. */
static int64_t send_copy(struct file *out, struct file *in, uint64_t *pos, uint64_t left)
{
    struct uio_seg seg;
    char *buf = kmalloc(PAGE_SIZE);
    if (buf == NULL)
        return -ENOMEM;
    uint64_t from = *pos;
    struct uio u = uio_one(&seg, (uint64_t)buf, MIN(left, (uint64_t)PAGE_SIZE), true);
    int64_t r = transfer(in, &u, &from, false, false);
    if (r > 0) {
        u = uio_one(&seg, (uint64_t)buf, (size_t)r, true);
        r = transfer(out, &u, is_stream(out) ? NULL : &out->pos, true, false);
    }
    kfree(buf);
    return r;
}

static int64_t send_all(struct file *out, struct file *in, uint64_t *pos, uint64_t count)
{
    int64_t done = 0;
    bool paged =
        in->inode != NULL && (in->inode->mode & S_FMT) == S_REG && in->inode->sb->ops->writable;
    while ((uint64_t)done < count) {
        uint64_t left = count - (uint64_t)done;
        int64_t r;
        if (paged) {
            uint64_t size = __atomic_load_n(&in->inode->size, __ATOMIC_ACQUIRE);
            left = MIN(left, size > *pos ? size - *pos : 0);
            r = left > 0 ? send_pages(out, in, *pos, left) : 0;
            if (r > 0)
                notify_file(in, NOTIFY_ACCESS);
        } else {
            r = send_copy(out, in, pos, left);
        }
        if (r <= 0)
            return done > 0 ? done : r;
        *pos += (uint64_t)r;
        done += r;
        task_breathe(); // the count may be gigabytes
        if (signal_pending(current()))
            return done;
    }
    return done;
}

/* Linux do_sendfile's checks, in its order. */
static int64_t do_sendfile(int out_fd, int in_fd, uint64_t *pos, uint64_t count)
{
    enum { COUNT_MAX = 0x7ffff000 };
    struct file *in = get(in_fd, false), *out = NULL;
    int64_t r = in == NULL ? -EBADF : 0;
    if (r == 0 && is_stream(in))
        r = pos != NULL ? -ESPIPE : -EINVAL;
    if (r == 0 && (out = get(out_fd, true)) == NULL)
        r = -EBADF;
    if (r == 0 && (out->flags & FILE_APPEND))
        r = -EINVAL;
    if (r == 0 && (in->inode == NULL || (in->inode->mode & S_FMT) == S_DIR))
        r = -EINVAL;
    if (r == 0) {
        bool own = pos == NULL, lock_out = !is_stream(out) && (!own || in != out);
        uint64_t here;
        if (own) {
            mutex_lock(&in->pos_lock);
            here = in->pos;
            pos = &here;
        }
        if (lock_out)
            mutex_lock(&out->pos_lock);
        r = send_all(out, in, pos, MIN(count, (uint64_t)COUNT_MAX));
        if (lock_out)
            mutex_unlock(&out->pos_lock);
        if (own) {
            in->pos = here;
            mutex_unlock(&in->pos_lock);
        }
    }
    file_put(out);
    file_put(in);
    return r;
}

int64_t sys_sendfile(const uint64_t arg[static 6])
{
    uint64_t pos = 0;
    if (arg[2] == 0)
        return do_sendfile((int)arg[0], (int)arg[1], NULL, arg[3]);
    if (copy_from_user(&pos, arg[2], sizeof(pos)) < 0)
        return -EFAULT;
    int64_t r = (int64_t)pos < 0 ? -EINVAL : do_sendfile((int)arg[0], (int)arg[1], &pos, arg[3]);
    if (copy_to_user(arg[2], &pos, sizeof(pos)) < 0)
        return -EFAULT;
    return r;
}
