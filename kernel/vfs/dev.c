// SPDX-License-Identifier: Apache-2.0
/* /dev: the nodes of devices(7) that a program without hardware needs. */
#include "base/mem.h"
#include "kernel/drivers/random.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/console_file.h"
#include "kernel/vfs/pty.h"
#include "kernel/vfs/tree.h"

// Linux new_encode_dev for small numbers.
#define RDEV(major, minor) (((major) << 8) | (minor))

static int64_t null_read(struct file *f UNUSED, struct uio *u UNUSED, uint64_t *pos UNUSED,
                         bool nonblock UNUSED)
{
    return 0;
}

static int64_t null_write(struct file *f UNUSED, struct uio *u, uint64_t *pos UNUSED,
                          bool nonblock UNUSED)
{
    size_t n = u->left;
    u->left = 0;
    return (int64_t)n;
}

static int64_t zero_read(struct file *f UNUSED, struct uio *u, uint64_t *pos UNUSED,
                         bool nonblock UNUSED)
{
    size_t before = u->left;
    while (u->left > 0) {
        if (uio_zero(u, MIN(u->left, (size_t)PAGE_SIZE)) < 0)
            return before > u->left ? (int64_t)(before - u->left) : -EFAULT;
        task_breathe();
        if (signal_pending(current()))
            break;
    }
    return (int64_t)(before - u->left);
}

static int64_t full_write(struct file *f UNUSED, struct uio *u UNUSED, uint64_t *pos UNUSED,
                          bool nonblock UNUSED)
{
    return -ENOSPC;
}

static int64_t random_read(struct file *f UNUSED, struct uio *u, uint64_t *pos UNUSED,
                           bool nonblock UNUSED)
{
    uint8_t block[256];
    size_t before = u->left;
    int r = 0;
    while (u->left > 0 && r == 0) {
        size_t n = MIN(u->left, sizeof(block));
        random_bytes(block, n);
        r = uio_put(u, block, n);
        if (signal_pending(current()))
            break;
    }
    memset(block, 0, sizeof(block));
    return before > u->left ? (int64_t)(before - u->left) : r;
}

static int64_t random_write(struct file *f UNUSED, struct uio *u, uint64_t *pos UNUSED,
                            bool nonblock UNUSED)
{
    uint8_t block[256];
    size_t before = u->left;
    int r = 0;
    while (u->left > 0 && r == 0) {
        size_t n = MIN(u->left, sizeof(block));
        r = uio_take(u, block, n);
        if (r == 0)
            random_add(block, n);
    }
    return before > u->left ? (int64_t)(before - u->left) : r;
}

// The position of these devices never moves: Linux null_lseek.
static int64_t null_seek(struct file *f, int64_t offset UNUSED, int whence UNUSED)
{
    f->pos = 0;
    return 0;
}

static int node_stat(struct file *f, struct kstat *ret)
{
    inode_stat(f->inode, ret);
    return 0;
}

/* A private mapping of /dev/zero is anonymous memory: each page a new one. */
static int zero_page(struct file *f UNUSED, uint64_t index UNUSED, bool write UNUSED,
                     struct page **ret)
{
    *ret = page_alloc_zero(0);
    return *ret != NULL ? 0 : -ENOMEM;
}

#define DEV_OPS(label, read_fn, write_fn, page_fn)                                                 \
    {                                                                                              \
        .name = label, .read = read_fn, .write = write_fn, .poll = file_always_ready,              \
        .ioctl = file_no_ioctl, .seek = null_seek, .stat = node_stat, .get_page = page_fn,         \
        .release = file_no_release,                                                                \
    }
static const struct file_ops null_ops = DEV_OPS("null", null_read, null_write, file_no_page);
static const struct file_ops zero_ops = DEV_OPS("zero", zero_read, null_write, zero_page);
static const struct file_ops full_ops = DEV_OPS("full", zero_read, full_write, file_no_page);
static const struct file_ops random_ops =
    DEV_OPS("random", random_read, random_write, file_no_page);

static const struct dev_node {
    const char *name;
    uint32_t mode;
    uint64_t rdev;
    const struct file_ops *ops; // NULL: the console
    const char *target;
} nodes[] = {
    {"null", S_CHR | 0666, RDEV(1, 3), &null_ops, NULL},
    {"zero", S_CHR | 0666, RDEV(1, 5), &zero_ops, NULL},
    {"full", S_CHR | 0666, RDEV(1, 7), &full_ops, NULL},
    {"random", S_CHR | 0666, RDEV(1, 8), &random_ops, NULL},
    {"urandom", S_CHR | 0666, RDEV(1, 9), &random_ops, NULL},
    {"tty", S_CHR | 0666, RDEV(5, 0), NULL, NULL},
    {"ptmx", S_CHR | 0666, RDEV(5, 2), NULL, NULL},
    {"console", S_CHR | 0600, RDEV(5, 1), NULL, NULL},
    {"fd", S_LNK | 0777, 0, NULL, "/proc/self/fd"},
    {"stdin", S_LNK | 0777, 0, NULL, "/proc/self/fd/0"},
    {"stdout", S_LNK | 0777, 0, NULL, "/proc/self/fd/1"},
    {"stderr", S_LNK | 0777, 0, NULL, "/proc/self/fd/2"},
};

static int add_node(struct dentry *dir, const char *name, const struct node_make *what)
{
    struct dentry *none, *d;
    mutex_lock(&dir->sb->lock);
    int r = lookup_locked(dir, name, strlen(name), &none);
    if (r == 0) {
        r = memfs_make(dir, none, what, &d);
        if (r == 0)
            dentry_put(d);
        dentry_put(none);
    }
    mutex_unlock(&dir->sb->lock);
    return r;
}

int dev_populate(struct super *sb)
{
    int r = 0;
    for (unsigned i = 0; i < ARRAY_LEN(nodes) && r == 0; i++) {
        struct node_make what = {
            .mode = nodes[i].mode, .rdev = nodes[i].rdev, .target = nodes[i].target};
        r = add_node(sb->root, nodes[i].name, &what);
    }
    return r;
}

int dev_open(struct inode *inode, struct file *f)
{
    if (inode->rdev == RDEV(5, 2))
        return pty_master_open(f);
    if (inode->rdev >> 8 == PTY_MAJOR)
        return pty_slave_open(inode->rdev & 0xff, f);
    if (inode->rdev == RDEV(5, 0) && pty_session_open(f) == 0)
        return 0;
    for (unsigned i = 0; i < ARRAY_LEN(nodes); i++)
        if ((nodes[i].mode & S_FMT) == S_CHR && nodes[i].rdev == inode->rdev) {
            f->ops = nodes[i].ops != NULL ? nodes[i].ops : &console_file_ops;
            return 0;
        }
    return -ENXIO;
}
