// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/vfs.h"

#include "base/mem.h"
#include "kernel/drivers/block.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/open.h"
#include "kernel/vfs/pty.h"
#include "kernel/vfs/tree.h"

struct list vfs_supers = {&vfs_supers, &vfs_supers};
static struct super *root_super;       // immutable after vfs_init
static struct fs_context boot_context; // before there is a process

struct dentry *vfs_root(void)
{
    return root_super->root;
}

struct fs_context *fs_current(void)
{
    const struct process *p = current()->process;
    return p != NULL && p->fs != NULL ? p->fs : &boot_context;
}

// --- making the tree ---

/* A directory by its absolute path, made when it is missing. Referenced. */
static int make_dir(const char *path, uint32_t mode, struct dentry **ret)
{
    struct walk_last last;
    struct dentry *dir, *d;
    char *buf;
    int r = walk(vfs_root(), path, WALK_FOLLOW | WALK_DIRECTORY, ret);
    if (r != -ENOENT)
        return r;
    r = walk_parent(vfs_root(), path, &dir, &last, &buf);
    if (r < 0)
        return r;
    mutex_lock(&dir->sb->lock);
    r = lookup_locked(dir, last.name, last.len, &d);
    if (r == 0) {
        struct node_make what = {.mode = S_DIR | mode};
        r = d->inode != NULL ? -EEXIST : memfs_make(dir, d, &what, ret);
        dentry_put(d);
    }
    mutex_unlock(&dir->sb->lock);
    dentry_put(dir);
    kfree(buf);
    return r;
}

int vfs_mount(struct super *sb, const char *path)
{
    struct dentry *at;
    int r = make_dir(path, 0755, &at);
    if (r < 0)
        return r;
    sb->mountpoint = at; // keeps the reference: mounts stay
    at->mounted = sb;
    list_push_back(&vfs_supers, &sb->link);
    return 0;
}

/* 1: there is something in the directory, 0: not, also when it does not exist; or -errno. */
static int has_entries(const char *path)
{
    struct dentry *d;
    char room[1024];
    int r = walk(vfs_root(), path, WALK_FOLLOW | WALK_DIRECTORY, &d);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    struct dirbuf b = {.buf = room, .max = sizeof(room)};
    uint64_t pos = 2; // behind "." and ".."
    r = d->sb->ops->iterate(d, &pos, &b);
    dentry_put(d);
    return r < 0 ? r : b.len > 0;
}

static int mount_new(const struct super_ops *ops, const char *source, const char *path,
                     uint64_t pages, uint32_t mode, struct super **ret)
{
    struct super *sb = super_new(ops, source, pages);
    if (sb == NULL)
        return -ENOMEM;
    int r = super_root(sb, mode);
    if (r == 0)
        r = vfs_mount(sb, path);
    *ret = sb;
    return r;
}

/* A tmpfs where the image has nothing: what an image ships there stays visible. */
static int mount_tmp(const char *path, uint32_t mode, uint64_t pages)
{
    struct super *sb;
    int r = has_entries(path);
    if (r != 0)
        return r < 0 ? r : 0;
    return mount_new(&memfs_tmp_ops, "tmpfs", path, pages, mode, &sb);
}

static int mount_all(uint64_t pages)
{
    struct super *sb;
    struct dentry *etc;
    int r = make_dir("/etc", 0755, &etc);
    if (r < 0)
        return r;
    dentry_put(etc);
    r = mount_new(&memfs_dev_ops, "devtmpfs", "/dev", pages, 0755, &sb);
    if (r == 0)
        r = dev_populate(sb);
    if (r == 0)
        r = mount_new(&memfs_pts_ops, "devpts", "/dev/pts", pages, 0755, &sb);
    if (r == 0)
        pty_mounted(sb);
    if (r == 0)
        r = mount_tmp("/dev/shm", 01777, pages);
    if (r == 0)
        r = mount_new(&proc_ops, "proc", "/proc", 0, 0555, &sb);
    if (r == 0)
        r = mount_new(&sys_ops, "sysfs", "/sys", 0, 0555, &sb);
    if (r == 0)
        r = mount_tmp("/tmp", 01777, pages);
    if (r == 0)
        r = mount_tmp("/run", 0755, pages);
    return r == 0 ? memory_files_init(pages) : r;
}

int vfs_init(struct block_dev *dev, uint64_t erofs_bytes)
{
    struct mem_stats m;
    mem_stats_get(&m);
    uint64_t pages = m.total_bytes / PAGE_SIZE / 2; // as Linux: half of the memory
    dcache_init(m.total_bytes / PAGE_SIZE);
    pagecache_module_init();
    root_super = super_new(&memfs_root_ops, "overlay", pages);
    if (root_super == NULL)
        return -ENOMEM;
    int r = dev != NULL ? lower_open(dev, erofs_bytes, root_super) : 0;
    if (r == 0)
        r = super_root(root_super, 0755);
    if (r < 0)
        return r;
    list_push_back(&vfs_supers, &root_super->link);
    boot_context =
        (struct fs_context){.refs = 1, .root = vfs_root(), .cwd = vfs_root(), .umask = 022};
    return mount_all(pages);
}

// --- contexts ---

struct fs_context *fs_context_new(const char *cwd)
{
    struct fs_context *c = kzalloc(sizeof(*c));
    if (c == NULL)
        return NULL;
    c->refs = 1;
    c->umask = 022;
    c->root = vfs_root();
    if (walk(vfs_root(), cwd, WALK_FOLLOW | WALK_DIRECTORY, &c->cwd) < 0) {
        kfree(c);
        return NULL;
    }
    return c;
}

struct fs_context *fs_context_copy(struct fs_context *from)
{
    struct fs_context *c = kzalloc(sizeof(*c));
    if (c == NULL)
        return NULL;
    c->refs = 1;
    spin_lock(&from->lock);
    c->umask = from->umask;
    c->root = from->root == vfs_root() ? from->root : dentry_get(from->root);
    c->cwd = dentry_get(from->cwd);
    spin_unlock(&from->lock);
    return c;
}

struct fs_context *fs_context_get(struct fs_context *c)
{
    __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void fs_context_put(struct fs_context *c)
{
    if (c == NULL || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    dentry_put(c->cwd);
    fs_root_put(c->root);
    kfree(c);
}

// --- for the kernel itself ---

int vfs_open(const char *path, int flags, uint32_t mode, struct file **ret)
{
    struct dentry *start;
    int r = walk_start(AT_FDCWD, path, &start);
    if (r < 0)
        return r;
    r = open_path(start, path, (uint32_t)flags, mode, 0, ret);
    dentry_put(start);
    return r;
}

int vfs_write_file(const char *path, const void *data, size_t len, uint32_t mode)
{
    struct file *f;
    int r = vfs_open(path, FILE_WRONLY | OPEN_CREAT | OPEN_TRUNC, mode, &f);
    if (r < 0)
        return r;
    int64_t done = file_write_kernel(f, data, len);
    file_put(f);
    return done < 0 ? (int)done : 0;
}
