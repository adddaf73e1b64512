// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/open.h"

#include "base/mem.h"
#include "kernel/sched/task.h"

enum { ACCMODE = 3 };
// What stays with the file (Linux keeps O_CREAT, O_EXCL, O_NOCTTY and O_TRUNC out of f_flags).
static const uint32_t KEPT = ACCMODE | FILE_APPEND | FILE_NONBLOCK | FILE_DIRECT | FILE_PATH |
                             OPEN_DSYNC | OPEN_SYNC | OPEN_LARGEFILE | OPEN_DIRECTORY |
                             OPEN_NOFOLLOW | OPEN_NOATIME;

static unsigned may_of(uint32_t flags)
{
    static const unsigned may[4] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE,
                                    MAY_READ | MAY_WRITE};
    return may[flags & ACCMODE] | (flags & OPEN_TRUNC ? (unsigned)MAY_WRITE : 0);
}

/* What open(2) checks of an object that was there already. Linux may_open. */
static int may_open(const struct dentry *d, uint32_t flags)
{
    uint32_t kind = d->inode->mode & S_FMT;
    if (kind == S_LNK)
        return -ELOOP;
    if (kind == S_DIR && (may_of(flags) & MAY_WRITE))
        return -EISDIR;
    if ((flags & OPEN_DIRECTORY) && kind != S_DIR)
        return -ENOTDIR;
    int r = inode_permission(d->inode, may_of(flags));
    if (r < 0)
        return r;
    if ((flags & OPEN_NOATIME) && !inode_owner(d->inode))
        return -EPERM;
    return 0;
}

static struct file *file_on(struct dentry *d, uint32_t flags)
{
    struct file *f = file_new(&dir_file_ops, flags & KEPT, NULL);
    if (f == NULL)
        return NULL;
    f->inode = d->inode;
    f->dentry = dentry_get(d);
    return f;
}

int open_dentry(struct dentry *d, uint32_t flags, struct file **ret)
{
    struct file *f = file_on(d, flags);
    if (f == NULL)
        return -ENOMEM;
    if ((flags & FILE_PATH) == 0) {
        bool regular = (d->inode->mode & S_FMT) == S_REG && d->sb->ops->writable;
        int r = regular && (flags & FILE_DIRECT) ? -EINVAL : d->sb->ops->open(d->inode, f);
        if (r < 0) {
            f->ops = &dir_file_ops; // nothing to release
            file_put(f);
            return r;
        }
    }
    *ret = f;
    return 0;
}

static int open_found(struct dentry *d, uint32_t flags, bool made, struct file **ret)
{
    int r = made || (flags & FILE_PATH) ? 0 : may_open(d, flags);
    if (r == 0)
        r = open_dentry(d, flags, ret);
    if (r == 0 && (flags & OPEN_TRUNC) && !made && (d->inode->mode & S_FMT) == S_REG &&
        d->sb->ops->writable) {
        r = memfs_truncate(d->inode, 0);
        if (r < 0)
            file_put(*ret);
    }
    return r;
}

/* Find or make the last component in dir: 0 with a referenced dentry. */
static int find_or_make(struct dentry *dir, const struct walk_last *last, uint32_t mode,
                        struct dentry **ret, bool *ret_made)
{
    struct dentry *d;
    *ret_made = false;
    int r = lookup_one(dir, last->name, last->len, &d);
    if (r < 0)
        return r;
    if (d->inode != NULL || !dir->sb->ops->writable) {
        *ret = d;
        if (d->inode != NULL)
            return 0;
        dentry_put(d);
        return dir->sb->ops->make_error;
    }
    dentry_put(d);
    struct node_make what = {.mode = S_REG | (mode & S_PERMS & ~fs_current()->umask)};
    mutex_lock(&dir->sb->lock);
    r = lookup_locked(dir, last->name, last->len, &d);
    if (r == 0 && d->inode != NULL) {
        *ret = d;
    } else if (r == 0) {
        r = inode_permission(dir->inode, MAY_WRITE | MAY_EXEC);
        if (r == 0)
            r = memfs_make(dir, d, &what, ret);
        *ret_made = r == 0;
        dentry_put(d);
    }
    mutex_unlock(&dir->sb->lock);
    return r;
}

/* One round of open with O_CREAT. 1: the last component is a link to follow. */
static int create_at(struct dentry *dir, const struct walk_last *last, uint32_t flags,
                     uint32_t mode, struct file **ret)
{
    struct dentry *d;
    bool made;
    if (last->kind != LAST_NAME || last->slash)
        return -EISDIR;
    int r = find_or_make(dir, last, mode, &d, &made);
    if (r < 0)
        return r;
    bool link = (d->inode->mode & S_FMT) == S_LNK;
    if (!made && (flags & OPEN_EXCL))
        r = -EEXIST;
    else if (link && (flags & OPEN_NOFOLLOW))
        r = -ELOOP;
    else if (link)
        r = 1;
    else if ((d->inode->mode & S_FMT) == S_DIR)
        r = -EISDIR;
    else
        r = open_found(d, flags, made, ret);
    dentry_put(d);
    return r;
}

/* The path that a link in dir stands for, in a buffer of PATH_MAX_BYTES that the caller frees; or
 * the object that it leads to at once (*ret_object). */
static int read_link(struct dentry *dir, const struct walk_last *last, char **ret_path,
                     struct dentry **ret_object)
{
    struct dentry *d;
    *ret_object = NULL;
    int r = lookup_one(dir, last->name, last->len, &d);
    if (r < 0)
        return r;
    if (d->inode == NULL || (d->inode->mode & S_FMT) != S_LNK) {
        dentry_put(d);
        return -ENOENT; // changed under our eyes
    }
    const struct super_ops *ops = d->sb->ops;
    char *path = kmalloc(PATH_MAX_BYTES);
    if (path == NULL)
        r = -ENOMEM;
    else if (ops->jump == NULL || (r = ops->jump(d->inode, ret_object)) == -ENOENT)
        r = (int)MIN(ops->readlink(d->inode, path, PATH_MAX_BYTES), 0l);
    dentry_put(d);
    if (r < 0 || *ret_object != NULL) {
        kfree(path);
        path = NULL;
    }
    *ret_path = path;
    return r;
}

static int open_creat(struct dentry *start, const char *path, uint32_t flags, uint32_t mode,
                      struct file **ret)
{
    struct dentry *from = dentry_get(start);
    char *owned = NULL;
    int r = -ELOOP;
    for (unsigned links = 0; links <= SYMLINKS_MAX; links++) {
        struct walk_last last;
        struct dentry *dir, *object = NULL;
        char *buf, *next = NULL;
        r = walk_parent(from, path, &dir, &last, &buf);
        if (r < 0)
            break;
        r = create_at(dir, &last, flags, mode, ret);
        if (r == 1)
            r = read_link(dir, &last, &next, &object);
        kfree(buf);
        kfree(owned);
        dentry_put(from);
        owned = next;
        path = next;
        from = dir;
        if (object != NULL) {
            r = open_found(object, flags, false, ret);
            dentry_put(object);
        }
        if (next == NULL)
            break;
        r = -ELOOP;
    }
    kfree(owned);
    dentry_put(from);
    return r;
}

int open_path(struct dentry *start, const char *path, uint32_t flags, uint32_t mode,
              struct file **ret)
{
    if (flags & OPEN_CREAT)
        return open_creat(start, path, flags, mode, ret);
    struct dentry *d;
    unsigned how = (flags & OPEN_NOFOLLOW ? 0 : (unsigned)WALK_FOLLOW) |
                   (flags & OPEN_DIRECTORY ? (unsigned)WALK_DIRECTORY : 0);
    int r = walk(start, path, how, &d);
    if (r < 0)
        return r;
    r = open_found(d, flags, false, ret);
    dentry_put(d);
    return r;
}
