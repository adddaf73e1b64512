// SPDX-License-Identifier: Apache-2.0
/* copy_file_range(2), and what a program says of the pages it will use: readahead(2),
 * posix_fadvise(2), sync_file_range(2). Linux 6.1 fs/read_write.c, mm/fadvise.c, fs/sync.c. */
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/notify.h"
#include "kernel/vfs/tree.h"

enum { ACCMODE = 3, COPY_MAX = 0x7ffff000 };

static bool may_read(const struct file *f)
{
    return (f->flags & ACCMODE) == 0 || (f->flags & ACCMODE) == FILE_RDWR;
}

static bool may_write(const struct file *f)
{
    return (f->flags & ACCMODE) == FILE_WRONLY || (f->flags & ACCMODE) == FILE_RDWR;
}

static uint32_t kind_of(const struct file *f)
{
    return f->inode != NULL ? f->inode->mode & S_FMT : 0;
}

// --- copy_file_range ---

/* Linux generic_file_rw_checks and generic_copy_file_checks: 0 with *len cut to what there is. */
static int copy_check(const struct file *in, uint64_t in_pos, const struct file *out,
                      uint64_t out_pos, uint64_t *len)
{
    uint64_t in_end, out_end;
    if (kind_of(in) == S_DIR || kind_of(out) == S_DIR)
        return -EISDIR;
    if (kind_of(in) != S_REG || kind_of(out) != S_REG)
        return -EINVAL;
    if (!may_read(in) || !may_write(out) || (out->flags & FILE_APPEND))
        return -EBADF;
    if (in->inode->sb != out->inode->sb)
        return -EXDEV;
    if (!in->inode->sb->ops->writable)
        return -EINVAL; // /proc and /sys have no pages
    if (__builtin_add_overflow(in_pos, *len, &in_end) || in_end > INT64_MAX ||
        __builtin_add_overflow(out_pos, *len, &out_end) || out_end > INT64_MAX)
        return -EOVERFLOW;
    uint64_t size = __atomic_load_n(&in->inode->size, __ATOMIC_ACQUIRE);
    *len = in_pos < size ? MIN(*len, size - in_pos) : 0;
    if (in->inode == out->inode && out_pos + *len > in_pos && out_pos < in_pos + *len)
        return -EINVAL;
    return 0;
}

/* Copy page by page through the page cache: bytes, or -errno when there were none. */
static int64_t copy_pages(struct file *in, uint64_t *in_pos, struct file *out, uint64_t *out_pos,
                          uint64_t len)
{
    uint64_t done = 0;
    while (done < len) {
        struct page *page;
        struct uio_seg seg;
        uint64_t off = *in_pos % PAGE_SIZE, n = MIN(len - done, PAGE_SIZE - off);
        int64_t r = in->ops->get_page(in, *in_pos / PAGE_SIZE, false, &page);
        if (r == 0) {
            struct uio u = uio_one(&seg, (uint64_t)page_virt(page) + off, n, true);
            r = memfs_write(out->inode, &u, out_pos, false);
            page_put(page);
        }
        if (r <= 0)
            return done > 0 ? (int64_t)done : r == -EFAULT ? 0 : r;
        *in_pos += (uint64_t)r;
        done += (uint64_t)r;
        if ((uint64_t)r < n || signal_pending(current()))
            break;
    }
    return (int64_t)done;
}

struct copy_end {
    struct file *f;
    uint64_t user; // where the program keeps the offset; 0: the file's own position
    uint64_t pos;
};

static int end_begin(struct copy_end *e)
{
    if (e->user == 0)
        e->pos = e->f->pos;
    else if (copy_from_user(&e->pos, e->user, sizeof(e->pos)) < 0)
        return -EFAULT;
    return 0;
}

static int end_done(const struct copy_end *e)
{
    if (e->user != 0)
        return copy_to_user(e->user, &e->pos, sizeof(e->pos));
    e->f->pos = e->pos;
    return 0;
}

static int64_t do_copy(struct copy_end *in, struct copy_end *out, uint64_t len)
{
    int64_t r = end_begin(in);
    if (r == 0)
        r = end_begin(out);
    if (r == 0)
        r = copy_check(in->f, in->pos, out->f, out->pos, &len);
    if (r == 0)
        r = copy_pages(in->f, &in->pos, out->f, &out->pos, MIN(len, (uint64_t)COPY_MAX));
    if (r > 0 && (end_done(in) < 0 || end_done(out) < 0))
        return -EFAULT;
    if (r > 0) {
        notify_file(in->f, NOTIFY_ACCESS);
        notify_file(out->f, NOTIFY_MODIFY);
    }
    return r;
}

int64_t sys_copy_file_range(const uint64_t arg[static 6])
{
    struct copy_end in = {.f = fd_get_io((int)arg[0]), .user = arg[1]};
    struct copy_end out = {.f = fd_get_io((int)arg[2]), .user = arg[3]};
    int64_t r = -EBADF;
    if (in.f != NULL && out.f != NULL)
        r = (uint32_t)arg[5] != 0 ? -EINVAL : do_copy(&in, &out, arg[4]);
    file_put(out.f);
    file_put(in.f);
    return r;
}

// --- advice ---

enum { ADVICE_WILLNEED = 3, ADVICE_DONTNEED = 4, ADVICE_MAX = 5 };

/* The pages of a range: read what is on the disk, or drop what can be read again. */
static void advise(struct inode *inode, uint64_t offset, uint64_t len, unsigned advice)
{
    uint64_t end = len == 0 || len > UINT64_MAX - offset ? UINT64_MAX : offset + len;
    end = MIN(end, __atomic_load_n(&inode->size, __ATOMIC_ACQUIRE));
    if (advice == ADVICE_WILLNEED && end > offset)
        pagecache_prefetch(&inode->pages, offset / PAGE_SIZE, (end + PAGE_SIZE - 1) / PAGE_SIZE);
}

int64_t sys_fadvise64(const uint64_t arg[static 6])
{
    struct file *f = fd_get_io((int)arg[0]);
    int64_t len = (int64_t)arg[2], r = 0;
    if (f == NULL)
        return -EBADF;
    if (f->ops->seek == file_no_seek)
        r = -ESPIPE;
    else if (len < 0 || (uint32_t)arg[3] > ADVICE_MAX)
        r = -EINVAL;
    else if (kind_of(f) == S_REG && (int64_t)arg[1] >= 0)
        advise(f->inode, arg[1], (uint64_t)len, (uint32_t)arg[3]);
    file_put(f);
    return r;
}

int64_t sys_readahead(const uint64_t arg[static 6])
{
    struct file *f = fd_get_io((int)arg[0]);
    int64_t r = 0;
    if (f == NULL || !may_read(f))
        r = -EBADF;
    else if (kind_of(f) != S_REG || (int64_t)arg[2] < 0)
        r = -EINVAL;
    else if ((int64_t)arg[1] >= 0 && arg[2] > 0)
        advise(f->inode, arg[1], arg[2], ADVICE_WILLNEED);
    file_put(f);
    return r;
}

int64_t sys_sync_file_range(const uint64_t arg[static 6])
{
    enum { FLAGS_ALL = 7 };
    struct file *f = fd_get_io((int)arg[0]);
    int64_t offset = (int64_t)arg[1], len = (int64_t)arg[2], end, r = 0;
    if (f == NULL)
        return -EBADF;
    uint32_t kind = kind_of(f);
    if ((uint32_t)arg[3] & ~(uint32_t)FLAGS_ALL)
        r = -EINVAL;
    else if (offset < 0 || __builtin_add_overflow(offset, len, &end) || end < offset)
        r = -EINVAL;
    else if (kind != S_REG && kind != S_DIR && kind != S_LNK)
        r = -ESPIPE;
    file_put(f); // written data has nowhere to go: memory is where it lives
    return r;
}
