// SPDX-License-Identifier: Apache-2.0
/* Data and attributes of the writable filesystem's files (memfs.c). */
#include "base/mem.h"
#include "kernel/mm/mm.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/tree.h"

enum { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE };
enum { SIGXFSZ = 25, RLIMIT_FSIZE = 1 };
enum { FALLOC_KEEP_SIZE = 1, FALLOC_PUNCH_HOLE = 2 };

static uint64_t size_of(const struct inode *inode)
{
    return __atomic_load_n(&inode->size, __ATOMIC_ACQUIRE);
}

static void size_set(struct inode *inode, uint64_t size)
{
    __atomic_store_n(&inode->size, size, __ATOMIC_RELEASE);
}

static uint64_t pages_used; // atomic; of all writable filesystems: they share one bound

void memfs_uncharge(struct super *sb, uint64_t pages)
{
    __atomic_fetch_sub(&sb->pages_used, pages, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&pages_used, pages, __ATOMIC_RELAXED);
}

uint64_t memfs_pages_used(void)
{
    return __atomic_load_n(&pages_used, __ATOMIC_RELAXED);
}

static void uncharge(struct inode *inode, uint64_t pages)
{
    memfs_uncharge(inode->sb, pages);
}

/* Files may not take the last of the memory: the program needs it to go on. */
static bool memory_is_short(void)
{
    enum { RESERVE_SHARE = 32 };
    struct mem_stats m;
    mem_stats_get(&m);
    return m.free_bytes + m.cache_bytes < m.total_bytes / RESERVE_SHARE;
}

/* Count one page: false when the bound is reached. */
static bool charge(struct super *sb)
{
    __atomic_fetch_add(&sb->pages_used, 1, __ATOMIC_RELAXED);
    uint64_t used = __atomic_add_fetch(&pages_used, 1, __ATOMIC_RELAXED);
    if (used <= sb->pages_max && !memory_is_short())
        return true;
    memfs_uncharge(sb, 1);
    return false;
}

/* A page to write to, counted against the bound: 0, -ENOSPC, -EIO, -ENOMEM. */
static int dirty_page(struct inode *inode, uint64_t index, bool whole, struct page **ret)
{
    bool fresh, charged = charge(inode->sb);
    // The page may be there already: then it costs nothing (but one of the image's may).
    if (!charged && pagecache_next(&inode->pages, index) != index)
        return -ENOSPC;
    int r = pagecache_get_dirty(&inode->pages, index, whole, ret, &fresh);
    bool costs = r == 0 && fresh;
    if (costs && !charged) {
        __atomic_fetch_add(&inode->sb->pages_used, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&pages_used, 1, __ATOMIC_RELAXED);
    } else if (!costs && charged) {
        uncharge(inode, 1);
    }
    return r;
}

/* A call ran out of memory: whether it is worth another try. */
static bool more_memory(void)
{
    const struct process *p = current()->process;
    return p != NULL && p->mm != NULL && mm_give_back(p->mm);
}

static int64_t memfs_read(struct file *f, struct uio *u, uint64_t *pos, bool nonblock UNUSED)
{
    struct inode *inode = f->inode;
    int64_t done = 0;
    while (u->left > 0) {
        uint64_t size = size_of(inode), in = *pos % PAGE_SIZE;
        if (*pos >= size)
            break;
        size_t n = MIN(u->left, PAGE_SIZE - in), before = u->left;
        n = MIN(n, size - *pos);
        struct page *p;
        int r = pagecache_get(&inode->pages, *pos / PAGE_SIZE, &p);
        if (r == -ENOMEM && more_memory())
            continue;
        if (r == 0) {
            r = uio_put(u, (const char *)page_virt(p) + in, n);
            page_put(p);
        } else if (r == -ENOENT) {
            r = uio_zero(u, n);
        }
        done += (int64_t)(before - u->left);
        *pos += before - u->left;
        if (r < 0)
            return done > 0 ? done : r;
    }
    return done;
}

/* Writing by others than root takes set-user-id bits away. */
static void drop_privileges(struct inode *inode)
{
    if ((inode->mode & (S_SETUID | S_SETGID)) != 0 && creds_current()->euid != 0)
        inode->mode &= ~(uint32_t)(S_SETUID | S_SETGID);
}

static void modified(struct inode *inode)
{
    inode->mtime_ns = inode->ctime_ns = clock_real_ns();
    memfs_pin(inode);
}

/* RLIMIT_FSIZE: how far a file may reach. */
static uint64_t reach(void)
{
    const struct process *p = current()->process;
    const bool limited = p != NULL && p->limits.set & 1u << RLIMIT_FSIZE;
    return limited ? p->limits.limit[RLIMIT_FSIZE].soft : UINT64_MAX;
}

static int too_large(void)
{
    signal_send_task(current(), SIGXFSZ);
    return -EFBIG;
}

/* May not be written up to `end`: Linux shmem_write_begin. */
static bool sealed(const struct inode *inode, uint64_t end)
{
    return (inode->seals & SEAL_NO_WRITE) || ((inode->seals & SEAL_GROW) && end > inode->size);
}

static int64_t write_locked(struct inode *inode, struct uio *u, uint64_t *pos)
{
    int64_t done = 0;
    const uint64_t end = reach();
    if (UNLIKELY(end != UINT64_MAX)) { // as much as fits
        if (*pos >= end)
            return too_large();
        u->left = MIN(u->left, end - *pos);
    }
    if (u->left > INT64_MAX - *pos) {
        if (*pos >= INT64_MAX)
            return -EFBIG;
        u->left = (size_t)(INT64_MAX - *pos);
    }
    drop_privileges(inode);
    while (u->left > 0) {
        size_t in = *pos % PAGE_SIZE, n = MIN(u->left, PAGE_SIZE - in), before = u->left;
        struct page *p;
        if (UNLIKELY(inode->seals & ~(uint32_t)SEAL_SEAL) && sealed(inode, *pos + n))
            return done > 0 ? done : -EPERM;
        int r = dirty_page(inode, *pos / PAGE_SIZE, n == PAGE_SIZE, &p);
        if (r == -ENOMEM && more_memory())
            continue;
        if (r == 0) {
            r = uio_take(u, (char *)page_virt(p) + in, n);
            page_put(p);
        }
        done += (int64_t)(before - u->left);
        *pos += before - u->left;
        if (*pos > inode->size)
            size_set(inode, *pos);
        if (r < 0 && done == 0)
            return r;
        if (r < 0)
            break;
    }
    modified(inode);
    return done;
}

int64_t memfs_write(struct inode *inode, struct uio *u, uint64_t *pos, bool append)
{
    if (u->left == 0)
        return 0;
    mutex_lock(&inode->lock);
    if (append)
        *pos = inode->size;
    int64_t r = write_locked(inode, u, pos);
    mutex_unlock(&inode->lock);
    return r;
}

static int64_t memfs_file_write(struct file *f, struct uio *u, uint64_t *pos, bool nonblock UNUSED)
{
    return memfs_write(f->inode, u, pos, (f->flags & FILE_APPEND) != 0);
}

static int memfs_get_page(struct file *f, uint64_t index, bool write, struct page **ret)
{
    struct inode *inode = f->inode;
    if (index >= (size_of(inode) + PAGE_SIZE - 1) / PAGE_SIZE)
        return -EFAULT;
    int r = write ? -ENOENT : pagecache_get(&inode->pages, index, ret);
    if (r == -ENOENT) {
        r = dirty_page(inode, index, false, ret);
        memfs_pin(inode);
    }
    return r == -ENOSPC || r == -EIO ? -EFAULT : r;
}

/* Set the bytes of one page from `from` up to `to` to zero, when the page is there. */
static int zero_part(struct inode *inode, uint64_t index, size_t from, size_t to)
{
    struct page *p;
    if (pagecache_next(&inode->pages, index) != index &&
        index * PAGE_SIZE >= inode->pages.disk_bytes)
        return 0;
    int r = dirty_page(inode, index, false, &p);
    if (r < 0)
        return r;
    memset((char *)page_virt(p) + from, 0, to - from);
    page_put(p);
    return 0;
}

int memfs_truncate(struct inode *inode, uint64_t size)
{
    if (size > INT64_MAX)
        return -EFBIG;
    int r = inode_claim_write(inode);
    if (r < 0)
        return r;
    mutex_lock(&inode->lock);
    uint64_t old = inode->size;
    if (size > old && size > reach()) {
        r = too_large();
    } else if ((size < old && (inode->seals & SEAL_SHRINK)) ||
               (size > old && (inode->seals & SEAL_GROW))) {
        r = -EPERM;
    } else if (size < old) {
        if (size % PAGE_SIZE != 0)
            r = zero_part(inode, size / PAGE_SIZE, size % PAGE_SIZE, PAGE_SIZE);
        if (r == 0) {
            uint64_t disk = MIN(inode->pages.disk_bytes, size);
            size_set(inode, size);
            __atomic_store_n(&inode->pages.disk_bytes, disk, __ATOMIC_RELEASE);
            uncharge(inode, pagecache_drop(&inode->pages, (size + PAGE_SIZE - 1) / PAGE_SIZE,
                                           UINT64_MAX - 1));
        }
    } else {
        size_set(inode, size);
    }
    if (r == 0) {
        drop_privileges(inode);
        modified(inode);
    }
    mutex_unlock(&inode->lock);
    return r;
}

/* Zero a range: pages that are whole in it go, unless the image has data there. */
static int punch(struct inode *inode, uint64_t from, uint64_t to)
{
    int r = 0;
    while (from < to && r == 0) {
        uint64_t index = from / PAGE_SIZE;
        uint64_t end = MIN(to, (index + 1) * PAGE_SIZE);
        bool whole = from % PAGE_SIZE == 0 && end % PAGE_SIZE == 0;
        if (whole && from >= inode->pages.disk_bytes) {
            // Behind the image's data all whole pages can go at once.
            end = ALIGN_DOWN(to, (uint64_t)PAGE_SIZE);
            uncharge(inode, pagecache_drop(&inode->pages, index, end / PAGE_SIZE - 1));
        } else {
            r = zero_part(inode, index, from % PAGE_SIZE, from % PAGE_SIZE + (end - from));
        }
        from = end;
    }
    return r;
}

static int allocate(struct inode *inode, uint64_t from, uint64_t to)
{
    int r = 0;
    for (uint64_t index = from / PAGE_SIZE; index * PAGE_SIZE < to && r == 0; index++) {
        struct page *p;
        if (index * PAGE_SIZE < inode->pages.disk_bytes)
            continue;
        r = dirty_page(inode, index, false, &p);
        if (r == 0)
            page_put(p);
    }
    return r;
}

int memfs_fallocate(struct inode *inode, int mode, uint64_t offset, uint64_t len)
{
    int r;
    mutex_lock(&inode->lock);
    if (mode & FALLOC_PUNCH_HOLE) {
        r = inode->seals & SEAL_NO_WRITE ? -EPERM : punch(inode, offset, offset + len);
    } else if (!(mode & FALLOC_KEEP_SIZE) && offset + len > inode->size && offset + len > reach()) {
        r = too_large();
    } else if ((inode->seals & SEAL_GROW) && offset + len > inode->size) {
        r = -EPERM;
    } else {
        r = allocate(inode, offset, offset + len);
        if (r == 0 && (mode & FALLOC_KEEP_SIZE) == 0 && offset + len > inode->size)
            size_set(inode, offset + len);
    }
    if (r == 0)
        modified(inode);
    mutex_unlock(&inode->lock);
    return r;
}

/* First byte >= offset that is data (or, with hole, is none): it, or -ENXIO behind the end. */
static int64_t seek_data(struct inode *inode, uint64_t offset, bool hole)
{
    uint64_t size = size_of(inode);
    if (offset >= size)
        return -ENXIO;
    uint64_t at = offset;
    while (at < size) {
        if (at < inode->pages.disk_bytes) {
            if (!hole)
                return (int64_t)at;
            at = ALIGN_UP(inode->pages.disk_bytes, (uint64_t)PAGE_SIZE);
            continue;
        }
        uint64_t index = at / PAGE_SIZE, next = pagecache_next(&inode->pages, index);
        if (hole != (next == index))
            return (int64_t)at;
        if (!hole && next == UINT64_MAX)
            return -ENXIO;
        at = hole ? (index + 1) * PAGE_SIZE : next * PAGE_SIZE;
    }
    return hole ? (int64_t)size : -ENXIO;
}

static int64_t memfs_seek(struct file *f, int64_t offset, int whence)
{
    int64_t to;
    switch (whence) {
    case SEEK_SET:
        to = offset;
        break;
    case SEEK_CUR:
        if (__builtin_add_overflow((int64_t)f->pos, offset, &to))
            return -EOVERFLOW;
        break;
    case SEEK_END:
        if (__builtin_add_overflow((int64_t)size_of(f->inode), offset, &to))
            return -EOVERFLOW;
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (offset < 0)
            return -ENXIO;
        to = seek_data(f->inode, (uint64_t)offset, whence == SEEK_HOLE);
        if (to < 0)
            return to;
        break;
    default:
        return -EINVAL;
    }
    if (to < 0)
        return -EINVAL;
    f->pos = (uint64_t)to;
    return to;
}

static int64_t memfs_ioctl(struct file *f, uint32_t cmd, uint64_t arg)
{
    enum { FIONREAD = 0x541b };
    if (cmd != FIONREAD)
        return -ENOTTY;
    int32_t left = (int32_t)(size_of(f->inode) - f->pos);
    return copy_to_user(arg, &left, sizeof(left));
}

static int memfs_stat(struct file *f, struct kstat *ret)
{
    inode_stat(f->inode, ret);
    return 0;
}

const struct file_ops memfs_file_ops = {
    .name = "file",
    .read = memfs_read,
    .write = memfs_file_write,
    .poll = file_always_ready,
    .ioctl = memfs_ioctl,
    .seek = memfs_seek,
    .stat = memfs_stat,
    .get_page = memfs_get_page,
    .release = file_no_release,
};

// --- attributes ---

void inode_stat(struct inode *inode, struct kstat *ret)
{
    uint64_t size = size_of(inode);
    // Blocks of 512 bytes: what lies on the image and what was written.
    uint64_t bytes = ALIGN_UP(inode->pages.disk_bytes, 512ull) + inode->pages.dirty * PAGE_SIZE;
    if ((inode->mode & S_FMT) == S_REG && inode->has_lower)
        bytes = MIN(bytes, ALIGN_UP(size, (uint64_t)PAGE_SIZE));
    *ret = (struct kstat){
        .dev = inode->sb->dev,
        .ino = inode->ino,
        .nlink = inode->nlink,
        .size = size,
        .blocks = bytes / 512,
        .rdev = inode->rdev,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .blksize = PAGE_SIZE,
        .atime_ns = inode->atime_ns,
        .mtime_ns = inode->mtime_ns,
        .ctime_ns = inode->ctime_ns,
        .btime_ns = inode->btime_ns,
    };
}

int inode_setattr(struct inode *inode, const struct attr_change *c)
{
    if (!inode->sb->ops->writable)
        return -EPERM;
    if (c->set_mode)
        inode->mode = (inode->mode & S_FMT) | (c->mode & S_PERMS);
    if (c->set_uid)
        inode->uid = c->uid;
    if (c->set_gid)
        inode->gid = c->gid;
    if (c->set_atime)
        inode->atime_ns = c->atime_ns;
    if (c->set_mtime)
        inode->mtime_ns = c->mtime_ns;
    inode->ctime_ns = clock_real_ns();
    memfs_pin(inode);
    return 0;
}
