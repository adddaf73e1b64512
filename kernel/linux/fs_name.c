// SPDX-License-Identifier: Apache-2.0
/* Names made and removed: mkdir(2), unlink(2), rename(2), link(2), symlink(2), mknod(2). The order
 * of checks is that of Linux 6.1 fs/namei.c. */
#include "base/mem.h"
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/notify.h"

/* The place a path names: its directory and its last component. */
struct spot {
    struct path path;
    struct dentry *dir; // referenced
    struct walk_last last;
    char *buf;
};

static int spot_find(struct spot *s, int dirfd, uint64_t user_path)
{
    struct dentry *start;
    int r = path_from_user(&s->path, user_path, 0);
    if (r < 0)
        return r;
    r = walk_start(dirfd, s->path.s, &start);
    if (r == 0) {
        r = walk_parent(start, s->path.s, &s->dir, &s->last, &s->buf);
        dentry_put(start);
    }
    if (r < 0)
        path_done(&s->path);
    return r;
}

static void spot_done(struct spot *s)
{
    kfree(s->buf);
    dentry_put(s->dir);
    path_done(&s->path);
}

/* Linux vfs_link. */
static int may_link(const struct inode *inode)
{
    if ((inode->mode & S_FMT) == S_DIR)
        return -EPERM;
    return inode->nlink == 0 && !inode->linkable ? -ENOENT : 0;
}

/* Make something at a spot. Linux filename_create, then vfs_mkdir and relatives. */
static int make_at(struct spot *s, const struct node_make *what)
{
    struct dentry *d, *made;
    bool dir = (what->mode & S_FMT) == S_DIR && what->link == NULL;
    if (s->last.kind != LAST_NAME)
        return -EEXIST;
    mutex_lock(&s->dir->sb->lock);
    int r = lookup_locked(s->dir, s->last.name, s->last.len, &d);
    if (r == 0) {
        if (d->inode != NULL)
            r = -EEXIST;
        else if (s->last.slash && !dir)
            r = -ENOENT;
        else if (!s->dir->sb->ops->writable)
            r = s->dir->sb->ops->make_error;
        else if (what->link != NULL && what->link->sb != s->dir->sb)
            r = -EXDEV;
        else
            r = inode_permission(s->dir->inode, MAY_WRITE | MAY_EXEC);
        if (r == 0 && what->link != NULL)
            r = may_link(what->link);
        if (r == 0)
            r = memfs_make(s->dir, d, what, &made);
        if (r == 0 && what->link != NULL)
            notify_inode(what->link, NOTIFY_ATTRIB);
        if (r == 0) {
            notify_name(s->dir->inode, s->last.name, s->last.len, dir, NOTIFY_CREATE, 0);
            dentry_put(made);
        }
        dentry_put(d);
    }
    mutex_unlock(&s->dir->sb->lock);
    return r;
}

static int64_t make_path(int dirfd, uint64_t user_path, const struct node_make *what)
{
    struct spot s;
    int r = spot_find(&s, dirfd, user_path);
    if (r < 0)
        return r;
    r = make_at(&s, what);
    spot_done(&s);
    return r;
}

static int64_t do_mkdir(int dirfd, uint64_t user_path, uint32_t mode)
{
    struct node_make what = {.mode = S_DIR | (mode & 01777 & ~fs_current()->umask)};
    return make_path(dirfd, user_path, &what);
}

int64_t sys_mkdir(const uint64_t arg[static 6])
{
    return do_mkdir(AT_FDCWD, arg[0], (uint32_t)arg[1]);
}

int64_t sys_mkdirat(const uint64_t arg[static 6])
{
    return do_mkdir((int)arg[0], arg[1], (uint32_t)arg[2]);
}

/* Regular files, named pipes, sockets and the character devices that /dev has; block devices are
 * not for this machine's root. */
static int64_t do_mknod(int dirfd, uint64_t user_path, uint32_t mode, uint64_t rdev)
{
    uint32_t kind = mode & S_FMT;
    switch (kind) {
    case 0:
        kind = S_REG;
        break;
    case S_REG:
    case S_SOCK:
    case S_FIFO:
    case S_CHR:
        break;
    case S_BLK:
    case S_DIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
    if (kind == S_CHR && creds_current()->euid != 0)
        return -EPERM;
    struct node_make what = {.mode = kind | (mode & S_PERMS & ~fs_current()->umask),
                             .rdev = kind == S_CHR ? rdev : 0};
    return make_path(dirfd, user_path, &what);
}

int64_t sys_mknod(const uint64_t arg[static 6])
{
    return do_mknod(AT_FDCWD, arg[0], (uint32_t)arg[1], (uint32_t)arg[2]);
}

int64_t sys_mknodat(const uint64_t arg[static 6])
{
    return do_mknod((int)arg[0], arg[1], (uint32_t)arg[2], (uint32_t)arg[3]);
}

static int64_t do_symlink(uint64_t user_target, int dirfd, uint64_t user_path)
{
    struct path target;
    int r = path_from_user(&target, user_target, 0);
    if (r < 0)
        return r;
    struct node_make what = {.mode = S_LNK | 0777, .target = target.s};
    int64_t n = make_path(dirfd, user_path, &what);
    path_done(&target);
    return n;
}

int64_t sys_symlink(const uint64_t arg[static 6])
{
    return do_symlink(arg[0], AT_FDCWD, arg[1]);
}

int64_t sys_symlinkat(const uint64_t arg[static 6])
{
    return do_symlink(arg[0], (int)arg[1], arg[2]);
}

static int64_t do_link(int from_fd, uint64_t from, int to_fd, uint64_t to, uint32_t flags)
{
    struct at_object o;
    if (flags & ~(uint32_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    unsigned how = (flags & AT_SYMLINK_FOLLOW ? (unsigned)WALK_FOLLOW : 0) |
                   (flags & AT_EMPTY_PATH ? (unsigned)WALK_EMPTY : 0);
    int64_t r = at_object(from_fd, from, how, &o);
    if (r < 0)
        return r;
    struct inode *inode = at_object_inode(&o);
    if (inode == NULL)
        r = -EXDEV;
    if (r == 0) {
        struct node_make what = {.mode = inode->mode, .link = inode};
        r = make_path(to_fd, to, &what);
    }
    at_object_done(&o);
    return r;
}

int64_t sys_link(const uint64_t arg[static 6])
{
    return do_link(AT_FDCWD, arg[0], AT_FDCWD, arg[1], 0);
}

int64_t sys_linkat(const uint64_t arg[static 6])
{
    return do_link((int)arg[0], arg[1], (int)arg[2], arg[3], (uint32_t)arg[4]);
}

// --- removing ---

static int remove_at(struct spot *s, bool dir)
{
    struct dentry *d;
    if (dir && s->last.kind != LAST_NAME)
        return s->last.kind == LAST_DOTDOT ? -ENOTEMPTY
               : s->last.kind == LAST_DOT  ? -EINVAL
                                           : -EBUSY;
    if (s->last.kind != LAST_NAME)
        return -EISDIR;
    mutex_lock(&s->dir->sb->lock);
    int r = lookup_locked(s->dir, s->last.name, s->last.len, &d);
    if (r == 0) {
        if (d->inode == NULL)
            r = -ENOENT;
        else if (!dir && s->last.slash)
            r = (d->inode->mode & S_FMT) == S_DIR ? -EISDIR : -ENOTDIR;
        else if (!s->dir->sb->ops->writable)
            r = -EPERM;
        else
            r = may_delete(s->dir, d, dir);
        if (r == 0)
            r = memfs_unlink(s->dir, d);
        if (r == 0 && !dir)
            notify_inode(d->inode, NOTIFY_ATTRIB);
        dentry_put(d);
        if (r == 0)
            notify_name(s->dir->inode, s->last.name, s->last.len, dir, NOTIFY_DELETE, 0);
    }
    mutex_unlock(&s->dir->sb->lock);
    return r;
}

static int64_t do_remove(int dirfd, uint64_t user_path, bool dir)
{
    struct spot s;
    int r = spot_find(&s, dirfd, user_path);
    if (r < 0)
        return r;
    r = remove_at(&s, dir);
    spot_done(&s);
    return r;
}

int64_t sys_unlink(const uint64_t arg[static 6])
{
    return do_remove(AT_FDCWD, arg[0], false);
}

int64_t sys_rmdir(const uint64_t arg[static 6])
{
    return do_remove(AT_FDCWD, arg[0], true);
}

int64_t sys_unlinkat(const uint64_t arg[static 6])
{
    uint32_t flags = (uint32_t)arg[2];
    if (flags & ~(uint32_t)AT_REMOVEDIR)
        return -EINVAL;
    return do_remove((int)arg[0], arg[1], (flags & AT_REMOVEDIR) != 0);
}

// --- renaming ---

static bool is_dir(const struct dentry *d)
{
    return d->inode != NULL && (d->inode->mode & S_FMT) == S_DIR;
}

/* What Linux do_renameat2 and vfs_rename check once both names are found. 1: nothing to do. */
static int rename_check(const struct spot *from, struct dentry *a, const struct spot *to,
                        struct dentry *b, uint32_t flags)
{
    bool exchange = (flags & MOVE_EXCHANGE) != 0;
    if (a->inode == NULL)
        return -ENOENT;
    if ((flags & MOVE_NOREPLACE) && b->inode != NULL)
        return -EEXIST;
    if (exchange && b->inode == NULL)
        return -ENOENT;
    if (exchange && !is_dir(b) && to->last.slash)
        return -ENOTDIR;
    if (!is_dir(a) && (from->last.slash || (!exchange && to->last.slash)))
        return -ENOTDIR;
    if (is_dir(a) && dentry_below(to->dir, a))
        return -EINVAL;
    if (is_dir(b) && dentry_below(from->dir, b))
        return exchange ? -EINVAL : -ENOTEMPTY;
    if (a->inode == b->inode)
        return 1;
    int r = may_delete(from->dir, a, is_dir(a));
    if (r == 0 && b->inode == NULL)
        r = inode_permission(to->dir->inode, MAY_WRITE | MAY_EXEC);
    else if (r == 0)
        r = may_delete(to->dir, b, exchange ? is_dir(b) : is_dir(a));
    if (r == 0 && from->dir != to->dir && is_dir(a))
        r = inode_permission(a->inode, MAY_WRITE);
    if (r == 0 && from->dir != to->dir && exchange && is_dir(b))
        r = inode_permission(b->inode, MAY_WRITE);
    return r;
}

static void notify_move(const struct spot *from, const struct dentry *d, const struct spot *to)
{
    uint32_t cookie = notify_cookie();
    notify_name(from->dir->inode, from->last.name, from->last.len, is_dir(d), NOTIFY_MOVED_FROM,
                cookie);
    notify_name(to->dir->inode, to->last.name, to->last.len, is_dir(d), NOTIFY_MOVED_TO, cookie);
}

/* Linux fsnotify_move: a is at b's place now, and with exchange b at a's. */
static void notify_renamed(const struct spot *from, const struct dentry *a, const struct spot *to,
                           const struct dentry *b, bool exchange)
{
    notify_move(from, a, to);
    if (b->inode != NULL && !exchange)
        notify_inode_slow(b->inode, NOTIFY_ATTRIB);
    notify_inode_slow(a->inode, NOTIFY_MOVE_SELF);
    if (exchange) {
        notify_move(to, b, from);
        notify_inode_slow(b->inode, NOTIFY_MOVE_SELF);
    }
}

static int rename_locked(struct spot *from, struct spot *to, uint32_t flags)
{
    struct dentry *a, *b;
    int r = lookup_locked(from->dir, from->last.name, from->last.len, &a);
    if (r < 0)
        return r;
    r = lookup_locked(to->dir, to->last.name, to->last.len, &b);
    if (r == 0) {
        r = rename_check(from, a, to, b, flags);
        if (r == 0)
            r = memfs_rename(from->dir, a, to->dir, b, (flags & MOVE_EXCHANGE) != 0);
        if (r == 0 && notify_on())
            notify_renamed(from, a, to, b, (flags & MOVE_EXCHANGE) != 0);
        dentry_put(b);
    }
    dentry_put(a);
    return MIN(r, 0);
}

static int64_t do_rename(int from_fd, uint64_t from_path, int to_fd, uint64_t to_path,
                         uint32_t flags)
{
    struct spot from, to;
    // RENAME_WHITEOUT is for filesystems that stack: not offered.
    if (flags & ~(uint32_t)(MOVE_NOREPLACE | MOVE_EXCHANGE))
        return -EINVAL;
    if ((flags & MOVE_NOREPLACE) && (flags & MOVE_EXCHANGE))
        return -EINVAL;
    int r = spot_find(&from, from_fd, from_path);
    if (r < 0)
        return r;
    r = spot_find(&to, to_fd, to_path);
    if (r < 0) {
        spot_done(&from);
        return r;
    }
    struct super *sb = from.dir->sb;
    if (sb != to.dir->sb)
        r = -EXDEV;
    else if (from.last.kind != LAST_NAME)
        r = -EBUSY;
    else if (to.last.kind != LAST_NAME)
        r = flags & MOVE_NOREPLACE ? -EEXIST : -EBUSY;
    else if (!sb->ops->writable)
        r = -EPERM;
    if (r == 0) {
        mutex_lock(&sb->lock);
        r = rename_locked(&from, &to, flags);
        mutex_unlock(&sb->lock);
    }
    spot_done(&to);
    spot_done(&from);
    return r;
}

int64_t sys_rename(const uint64_t arg[static 6])
{
    return do_rename(AT_FDCWD, arg[0], AT_FDCWD, arg[1], 0);
}

int64_t sys_renameat(const uint64_t arg[static 6])
{
    return do_rename((int)arg[0], arg[1], (int)arg[2], arg[3], 0);
}

int64_t sys_renameat2(const uint64_t arg[static 6])
{
    return do_rename((int)arg[0], arg[1], (int)arg[2], arg[3], (uint32_t)arg[4]);
}
