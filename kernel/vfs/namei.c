// SPDX-License-Identifier: Apache-2.0
/* From paths to dentries: path_resolution(7), Linux 6.1 fs/namei.c. */
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/tree.h"

int path_from_user(struct path *p, uint64_t user, unsigned walk_flags)
{
    p->heap = NULL;
    p->s = p->small;
    int64_t len = strncpy_from_user(p->small, user, sizeof(p->small));
    if (len == -ENAMETOOLONG) {
        p->s = p->heap = kmalloc(PATH_MAX_BYTES);
        if (p->heap == NULL)
            return -ENOMEM;
        len = strncpy_from_user(p->heap, user, PATH_MAX_BYTES);
    }
    if (len == 0 && (walk_flags & WALK_EMPTY) == 0)
        len = -ENOENT;
    if (len < 0)
        path_done(p);
    return len < 0 ? (int)len : 0;
}

void path_done(struct path *p)
{
    kfree(p->heap);
    p->heap = NULL;
}

// --- permissions ---

static int permission(const struct inode *inode, unsigned may, uint32_t uid, uint32_t gid)
{
    uint32_t mode = __atomic_load_n(&inode->mode, __ATOMIC_RELAXED);
    if (uid == 0) // CAP_DAC_OVERRIDE: all but executing what nobody may execute
        return (may & MAY_EXEC) == 0 || (mode & S_FMT) == S_DIR || (mode & 0111) != 0 ? 0 : -EACCES;
    if (uid == inode->uid)
        mode >>= 6;
    else if (gid == inode->gid)
        mode >>= 3;
    return (may & ~mode & 7) == 0 ? 0 : -EACCES;
}

const struct creds *creds_current(void)
{
    static const struct creds root; // the kernel's own work at boot
    const struct process *p = current()->process;
    return p != NULL ? &p->creds : &root;
}

int inode_permission(const struct inode *inode, unsigned may)
{
    return permission(inode, may, creds_current()->euid, creds_current()->egid);
}

int inode_permission_real(const struct inode *inode, unsigned may)
{
    return permission(inode, may, creds_current()->uid, creds_current()->gid);
}

bool inode_owner(const struct inode *inode)
{
    return creds_current()->euid == 0 || creds_current()->euid == inode->uid;
}

int may_delete(const struct dentry *dir, const struct dentry *victim, bool is_dir)
{
    int r = inode_permission(dir->inode, MAY_WRITE | MAY_EXEC);
    if (r < 0)
        return r;
    if ((dir->inode->mode & S_STICKY) && !inode_owner(dir->inode) && !inode_owner(victim->inode))
        return -EPERM;
    bool dir_there = (victim->inode->mode & S_FMT) == S_DIR;
    if (is_dir && !dir_there)
        return -ENOTDIR;
    if (!is_dir && dir_there)
        return -EISDIR;
    if (victim->mounted != NULL || victim->parent == victim)
        return -EBUSY;
    return 0;
}

// --- one name ---

int lookup_locked(struct dentry *dir, const char *name, size_t len, struct dentry **ret)
{
    struct super *sb = dir->sb;
    struct inode *inode = NULL;
    if (len > NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    if (sb->ops->cached && (*ret = dentry_find(dir, name, len)) != NULL)
        return 0;
    int r = sb->ops->lookup(dir->inode, name, len, &inode);
    if (r < 0 && r != -ENOENT)
        return r;
    struct dentry *d = dentry_new(sb, dir, name, len, inode);
    if (d == NULL) {
        inode_put(inode);
        return -ENOMEM;
    }
    if (sb->ops->cached && dir->inode->has_lower)
        dentry_hash(d, 0);
    *ret = d;
    return 0;
}

int lookup_one(struct dentry *dir, const char *name, size_t len, struct dentry **ret)
{
    if (len > NAME_MAX_BYTES)
        return -ENAMETOOLONG;
    struct dentry *d = dir->sb->ops->cached ? dentry_find(dir, name, len) : NULL;
    if (d == NULL) {
        mutex_lock(&dir->sb->lock);
        int r = lookup_locked(dir, name, len, &d);
        mutex_unlock(&dir->sb->lock);
        if (r < 0)
            return r;
    }
    while (d->mounted != NULL) {
        struct dentry *root = dentry_get(d->mounted->root);
        dentry_put(d);
        d = root;
    }
    *ret = d;
    return 0;
}

// --- walking ---

struct walker {
    struct dentry *at; // referenced
    const char *s;     // what is left of the path
    char *buf;         // storage of s once a link was followed
    unsigned links;
    bool real; // search permission is that of the real user
};

static void walker_move(struct walker *w, struct dentry *to)
{
    dentry_put(w->at);
    w->at = to;
}

static int require_dir(const struct dentry *d)
{
    return d->inode != NULL && (d->inode->mode & S_FMT) == S_DIR ? 0 : -ENOTDIR;
}

static bool is_link(const struct dentry *d)
{
    return d->inode != NULL && (d->inode->mode & S_FMT) == S_LNK;
}

/* Continue with a link's target followed by what is left of the path. The walker stands in the
 * directory that holds the link. 1: the link led to an object, the walker stands there. */
static int follow(struct walker *w, struct dentry *link)
{
    const struct super_ops *ops = link->sb->ops;
    struct dentry *to;
    if (++w->links > SYMLINKS_MAX)
        return -ELOOP;
    int r = ops->jump != NULL ? ops->jump(link->inode, &to) : -ENOENT;
    if (r == 0)
        walker_move(w, to);
    if (r != -ENOENT)
        return r < 0 ? r : 1;
    size_t rest = strlen(w->s);
    char *buf = kmalloc(PATH_MAX_BYTES + rest + 2);
    if (buf == NULL)
        return -ENOMEM;
    int64_t len = ops->readlink(link->inode, buf, PATH_MAX_BYTES);
    if (len <= 0) {
        kfree(buf);
        return len < 0 ? (int)len : -ENOENT;
    }
    buf[len] = '/';
    memcpy(buf + len + (rest > 0), w->s, rest + 1);
    kfree(w->buf);
    w->s = w->buf = buf;
    if (buf[0] == '/')
        walker_move(w, dentry_get(vfs_root()));
    return 0;
}

/* Cut the next component off: its kind; w->s moves behind it and the slashes that follow. */
static void next_component(struct walker *w, struct walk_last *c)
{
    while (*w->s == '/')
        w->s++;
    const char *end = w->s;
    while (*end != 0 && *end != '/')
        end++;
    *c = (struct walk_last){.name = w->s, .len = (size_t)(end - w->s), .slash = *end == '/'};
    if (c->len == 0)
        c->kind = LAST_ROOT;
    else if (c->len == 1 && c->name[0] == '.')
        c->kind = LAST_DOT;
    else if (c->len == 2 && c->name[0] == '.' && c->name[1] == '.')
        c->kind = LAST_DOTDOT;
    while (*end == '/')
        end++;
    w->s = end;
}

/* Look one component up from where the walker stands (a directory that may be searched). */
static int component(struct walker *w, const struct walk_last *c, struct dentry **ret)
{
    if (c->kind == LAST_DOTDOT)
        *ret = dentry_parent(w->at);
    else if (c->kind == LAST_NAME)
        return lookup_one(w->at, c->name, c->len, ret);
    else
        *ret = dentry_get(w->at);
    return 0;
}

static int may_search(const struct walker *w)
{
    int r = require_dir(w->at);
    if (r < 0)
        return r;
    return w->real ? inode_permission_real(w->at->inode, MAY_EXEC)
                   : inode_permission(w->at->inode, MAY_EXEC);
}

/* Walk until the last component is left (not looked up). The walker stands in its directory. */
static int walker_parent(struct walker *w, struct walk_last *last)
{
    if (*w->s == '/')
        walker_move(w, dentry_get(vfs_root()));
    for (;;) {
        next_component(w, last);
        if (last->kind != LAST_ROOT || *w->s != 0) {
            int r = may_search(w);
            if (r < 0)
                return r;
        }
        if (*w->s == 0)
            return 0;
        struct dentry *d;
        int r = component(w, last, &d);
        if (r < 0)
            return r;
        if (is_link(d)) {
            r = follow(w, d);
            dentry_put(d);
            if (r < 0)
                return r;
            continue;
        }
        if (d->inode == NULL) {
            dentry_put(d);
            return -ENOENT;
        }
        walker_move(w, d);
    }
}

int walk_parent(struct dentry *start, const char *path, struct dentry **ret_dir,
                struct walk_last *last, char **ret_buf)
{
    struct walker w = {.at = dentry_get(start), .s = path};
    *ret_buf = NULL;
    int r = *path == 0 ? -ENOENT : walker_parent(&w, last);
    if (r == 0)
        r = require_dir(w.at);
    if (r < 0) {
        dentry_put(w.at);
        kfree(w.buf);
        return r;
    }
    *ret_dir = w.at;
    *ret_buf = w.buf;
    return 0;
}

/* The last component, links followed when asked: leaves the walker there. */
static int walker_last(struct walker *w, unsigned flags)
{
    for (;;) {
        struct walk_last last;
        struct dentry *d;
        int r = walker_parent(w, &last);
        if (r == 0)
            r = component(w, &last, &d);
        if (r < 0)
            return r;
        if (is_link(d) && ((flags & WALK_FOLLOW) || last.slash)) {
            r = follow(w, d);
            dentry_put(d);
            if (r < 0)
                return r;
            if (last.slash)
                flags |= WALK_DIRECTORY;
            if (r == 0)
                continue;
        } else {
            walker_move(w, d);
        }
        if (w->at->inode == NULL)
            return -ENOENT;
        if (last.slash || (flags & WALK_DIRECTORY))
            return require_dir(w->at);
        return 0;
    }
}

int walk(struct dentry *start, const char *path, unsigned flags, struct dentry **ret)
{
    struct walker w = {.at = dentry_get(start), .s = path, .real = (flags & WALK_REAL) != 0};
    int r = 0;
    if (*path != 0)
        r = walker_last(&w, flags);
    else if ((flags & WALK_EMPTY) == 0)
        r = -ENOENT;
    kfree(w.buf);
    if (r < 0) {
        dentry_put(w.at);
        return r;
    }
    *ret = w.at;
    return 0;
}

int walk_start(int dirfd, const char *path, struct dentry **ret)
{
    if (path[0] == '/') {
        *ret = dentry_get(vfs_root());
        return 0;
    }
    if (dirfd == AT_FDCWD) {
        struct fs_context *fs = fs_current();
        spin_lock(&fs->lock);
        *ret = dentry_get(fs->cwd);
        spin_unlock(&fs->lock);
        return 0;
    }
    struct file *f = fd_get(dirfd);
    if (f == NULL)
        return -EBADF;
    int r = f->dentry == NULL ? -ENOTDIR : path[0] != 0 ? require_dir(f->dentry) : 0;
    if (r == 0)
        *ret = dentry_get(f->dentry);
    file_put(f);
    return r;
}
