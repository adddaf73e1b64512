// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/open.h"

#include "base/mem.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/notify.h"
#include "kernel/vfs/pipe.h"

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
    if ((flags & FILE_PATH) == 0 && (flags & ACCMODE) != 0) {
        int r = inode_claim_write(d->inode);
        if (r < 0) {
            file_put(f);
            return r;
        }
    }
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
        else
            notify_dentry(d, NOTIFY_MODIFY);
    }
    return r;
}

/* A file in no tree, found through /proc/self/fd/N: only pipes can be opened again. */
static int open_object(struct file *object, uint32_t flags, struct file **ret)
{
    if (flags & FILE_PATH)
        return -ENXIO;
    return is_pipe(object) ? pipe_reopen(object, flags & KEPT, ret) : -ENXIO;
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
        if (r == 0)
            notify_name(dir->inode, last->name, last->len, false, NOTIFY_CREATE, 0);
        dentry_put(d);
    }
    mutex_unlock(&dir->sb->lock);
    return r;
}

/* One round of open with O_CREAT. 1: the last component is a link to follow, *ret_link. */
static int create_at(struct walker *w, const struct walk_last *last, uint32_t flags, uint32_t mode,
                     struct file **ret, struct dentry **ret_link)
{
    struct dentry *d;
    bool made;
    if (last->kind != LAST_NAME || last->slash)
        return -EISDIR;
    int r = find_or_make(w->at, last, mode, &d, &made);
    if (r < 0)
        return r;
    bool link = (d->inode->mode & S_FMT) == S_LNK;
    if (!made && (flags & OPEN_EXCL)) {
        r = -EEXIST;
    } else if (link && (flags & OPEN_NOFOLLOW)) {
        r = -ELOOP;
    } else if (link) {
        *ret_link = d;
        return 1;
    } else if ((w->flags & WALK_NO_XDEV) && d->sb != w->at->sb) {
        r = -EXDEV;
    } else if ((d->inode->mode & S_FMT) == S_DIR) {
        r = -EISDIR;
    } else {
        r = open_found(d, flags, made, ret);
    }
    dentry_put(d);
    return r;
}

static int open_creat(struct dentry *start, const char *path, uint32_t flags, uint32_t mode,
                      unsigned resolve, struct file **ret)
{
    struct walker w;
    struct walk_last last;
    struct dentry *link = NULL;
    walker_init(&w, start, path, resolve);
    int r = *path == 0 ? -ENOENT : 0;
    while (r == 0) {
        r = walker_parent(&w, &last);
        if (r < 0)
            break;
        r = create_at(&w, &last, flags, mode, ret, &link);
        if (r <= 0)
            break;
        r = walker_follow(&w, link);
        dentry_put(link);
    }
    if (r == 1)
        r = w.file != NULL ? open_object(w.file, flags, ret) : open_found(w.at, flags, false, ret);
    walker_done(&w);
    return r;
}

/* A file without a name in the directory d (open(2), O_TMPFILE; Linux do_tmpfile). */
static int open_tmpfile(struct dentry *d, uint32_t flags, uint32_t mode, struct file **ret)
{
    struct node_make what = {.mode = S_REG | (mode & S_PERMS & ~fs_current()->umask)};
    struct dentry *made;
    int r = inode_permission(d->inode, MAY_WRITE | MAY_EXEC);
    if (r == 0 && !d->sb->ops->writable)
        r = -EOPNOTSUPP;
    if (r < 0)
        return r;
    mutex_lock(&d->sb->lock);
    r = memfs_nameless(d, &what, NULL, (flags & OPEN_EXCL) == 0, &made);
    mutex_unlock(&d->sb->lock);
    if (r < 0)
        return r;
    r = open_dentry(made, flags & ~(uint32_t)OPEN_DIRECTORY, ret);
    dentry_put(made);
    return r;
}

int open_path(struct dentry *start, const char *path, uint32_t flags, uint32_t mode,
              unsigned resolve, struct file **ret)
{
    if (flags & OPEN_CREAT)
        return open_creat(start, path, flags, mode, resolve, ret);
    struct dentry *d;
    struct file *object;
    unsigned how = (flags & OPEN_NOFOLLOW ? 0 : (unsigned)WALK_FOLLOW) |
                   (flags & OPEN_DIRECTORY ? (unsigned)WALK_DIRECTORY : 0) | resolve;
    int r = walk_object(start, path, how, &d, &object);
    if (r < 0)
        return r;
    if (object != NULL)
        r = open_object(object, flags, ret);
    else if (flags & OPEN_TMPFILE)
        r = open_tmpfile(d, flags, mode, ret);
    else
        r = open_found(d, flags, false, ret);
    file_put(object);
    dentry_put(d);
    return r;
}
