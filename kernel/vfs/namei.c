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

static bool in_groups(uint32_t gid)
{
    const struct creds *c = creds_current();
    for (uint32_t i = 0; i < c->group_count; i++)
        if (c->groups[i] == gid)
            return true;
    return false;
}

static int permission(const struct inode *inode, unsigned may, uint32_t uid, uint32_t gid)
{
    uint32_t mode = __atomic_load_n(&inode->mode, __ATOMIC_RELAXED);
    if (uid == 0) // CAP_DAC_OVERRIDE: all but executing what nobody may execute
        return (may & MAY_EXEC) == 0 || (mode & S_FMT) == S_DIR || (mode & 0111) != 0 ? 0 : -EACCES;
    if (uid == inode->uid)
        mode >>= 6;
    else if (gid == inode->gid || in_groups(inode->gid))
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

/* The directory that this process has for a root, which "/" names and ".." does not leave. The root
 * of everything is never freed, so that only another one needs a reference. */
struct dentry *fs_root_get(void)
{
    struct fs_context *fs = fs_current();
    struct dentry *top = vfs_root();
    if (LIKELY(__atomic_load_n(&fs->root, __ATOMIC_RELAXED) == top))
        return top;
    spin_lock(&fs->lock);
    struct dentry *root = fs->root == top ? top : dentry_get(fs->root);
    spin_unlock(&fs->lock);
    return root;
}

void fs_root_put(struct dentry *root)
{
    if (UNLIKELY(root != vfs_root()))
        dentry_put(root);
}

void walker_init(struct walker *w, struct dentry *start, const char *path, unsigned flags)
{
    *w = (struct walker){.at = dentry_get(start), .s = path, .flags = flags};
    w->root = flags & WALK_SCOPED ? dentry_get(start) : fs_root_get();
}

void walker_done(struct walker *w)
{
    dentry_put(w->at);
    if (w->flags & WALK_SCOPED)
        dentry_put(w->root);
    else
        fs_root_put(w->root);
    file_put(w->file);
    kfree(w->buf);
}

static void walker_move(struct walker *w, struct dentry *to)
{
    dentry_put(w->at);
    w->at = to;
}

/* Linux nd_jump_root. */
static int walker_to_root(struct walker *w)
{
    if (UNLIKELY(w->flags & WALK_BENEATH))
        return -EXDEV;
    if (UNLIKELY(w->flags & WALK_NO_XDEV) && w->at->sb != w->root->sb)
        return -EXDEV;
    walker_move(w, dentry_get(w->root));
    return 0;
}

static int require_dir(const struct dentry *d)
{
    return d->inode != NULL && (d->inode->mode & S_FMT) == S_DIR ? 0 : -ENOTDIR;
}

static bool is_link(const struct dentry *d)
{
    return d->inode != NULL && (d->inode->mode & S_FMT) == S_LNK;
}

/* A link that leads to an object (/proc/self/fd/N): 1, the walker stands there or holds the file
 * that has no place in the tree; -ENOENT: it is an ordinary link. Linux nd_jump_link. */
static int walker_jump(struct walker *w, struct inode *link)
{
    struct dentry *to = NULL;
    struct file *f = NULL;
    if (link->sb->ops->jump == NULL)
        return -ENOENT;
    int r = link->sb->ops->jump(link, &to, &f);
    if (r < 0)
        return r;
    if (w->flags & WALK_NO_MAGICLINKS)
        r = -ELOOP;
    else if (((w->flags & WALK_NO_XDEV) && (to == NULL || to->sb != w->at->sb)) ||
             (w->flags & WALK_SCOPED))
        r = -EXDEV;
    if (r < 0) {
        dentry_put(to);
        file_put(f);
        return r;
    }
    if (to != NULL)
        walker_move(w, to);
    w->file = f;
    return 1;
}

int walker_follow(struct walker *w, struct dentry *link)
{
    if (++w->links > SYMLINKS_MAX || (w->flags & WALK_NO_SYMLINKS))
        return -ELOOP;
    int r = walker_jump(w, link->inode);
    if (r != -ENOENT)
        return r;
    size_t rest = strlen(w->s);
    char *buf = kmalloc(PATH_MAX_BYTES + rest + 2);
    if (buf == NULL)
        return -ENOMEM;
    int64_t len = link->sb->ops->readlink(link->inode, buf, PATH_MAX_BYTES);
    if (len <= 0) {
        kfree(buf);
        return len < 0 ? (int)len : -ENOENT;
    }
    buf[len] = '/';
    memcpy(buf + len + (rest > 0), w->s, rest + 1);
    kfree(w->buf);
    w->s = w->buf = buf;
    return buf[0] == '/' ? walker_to_root(w) : 0;
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
    if (c->kind == LAST_DOTDOT && w->at != w->root) {
        *ret = dentry_parent(w->at);
    } else if (c->kind == LAST_NAME) {
        struct dentry *cached = NULL;
        if (UNLIKELY(w->flags & WALK_CACHED)) {
            if (w->at->sb->ops->cached)
                cached = dentry_find(w->at, c->name, c->len);
            if (cached == NULL)
                return -EAGAIN;
            dentry_put(cached);
        }
        int r = lookup_one(w->at, c->name, c->len, ret);
        if (r < 0)
            return r;
    } else if (c->kind == LAST_DOTDOT && (w->flags & WALK_BENEATH)) {
        return -EXDEV;
    } else {
        *ret = dentry_get(w->at);
    }
    if (UNLIKELY(w->flags & WALK_NO_XDEV) && (*ret)->sb != w->at->sb) {
        dentry_put(*ret);
        return -EXDEV;
    }
    return 0;
}

static int may_search(const struct walker *w)
{
    int r = require_dir(w->at);
    if (r < 0)
        return r;
    return w->flags & WALK_REAL ? inode_permission_real(w->at->inode, MAY_EXEC)
                                : inode_permission(w->at->inode, MAY_EXEC);
}

int walker_parent(struct walker *w, struct walk_last *last)
{
    int r = *w->s == '/' && w->buf == NULL ? walker_to_root(w) : 0;
    while (r >= 0) {
        next_component(w, last);
        if (last->kind != LAST_ROOT || *w->s != 0) {
            r = may_search(w);
            if (r < 0)
                return r;
        }
        if (*w->s == 0)
            return 0;
        struct dentry *d;
        r = component(w, last, &d);
        if (r < 0)
            return r;
        if (is_link(d)) {
            r = walker_follow(w, d);
            dentry_put(d);
            if (r >= 0 && w->file != NULL)
                return -ENOTDIR;
            continue;
        }
        if (d->inode == NULL) {
            dentry_put(d);
            return -ENOENT;
        }
        walker_move(w, d);
    }
    return r;
}

int walk_parent(struct dentry *start, const char *path, struct dentry **ret_dir,
                struct walk_last *last, char **ret_buf)
{
    struct walker w;
    *ret_buf = NULL;
    walker_init(&w, start, path, 0);
    int r = *path == 0 ? -ENOENT : walker_parent(&w, last);
    if (r == 0)
        r = require_dir(w.at);
    if (r == 0) {
        *ret_dir = dentry_get(w.at);
        *ret_buf = TAKE(w.buf);
    }
    walker_done(&w);
    return r;
}

/* The last component, links followed when asked: leaves the walker there. */
static int walker_last(struct walker *w)
{
    for (;;) {
        struct walk_last last;
        struct dentry *d;
        int r = walker_parent(w, &last);
        if (r == 0)
            r = component(w, &last, &d);
        if (r < 0)
            return r;
        if (is_link(d) && ((w->flags & WALK_FOLLOW) || last.slash)) {
            r = walker_follow(w, d);
            dentry_put(d);
            if (r < 0)
                return r;
            if (last.slash)
                w->flags |= WALK_DIRECTORY;
            if (r == 0)
                continue;
            if (w->file != NULL)
                return w->flags & WALK_DIRECTORY ? -ENOTDIR : 0;
        } else {
            walker_move(w, d);
        }
        if (w->at->inode == NULL)
            return -ENOENT;
        if (last.slash || (w->flags & WALK_DIRECTORY))
            return require_dir(w->at);
        return 0;
    }
}

int walk_object(struct dentry *start, const char *path, unsigned flags, struct dentry **ret,
                struct file **ret_file)
{
    struct walker w;
    int r = 0;
    *ret = NULL;
    *ret_file = NULL;
    walker_init(&w, start, path, flags);
    if (*path != 0)
        r = walker_last(&w);
    else if ((flags & WALK_EMPTY) == 0)
        r = -ENOENT;
    if (r == 0 && w.file != NULL)
        *ret_file = TAKE(w.file);
    else if (r == 0)
        *ret = dentry_get(w.at);
    walker_done(&w);
    return r;
}

int walk(struct dentry *start, const char *path, unsigned flags, struct dentry **ret)
{
    struct file *f;
    int r = walk_object(start, path, flags, ret, &f);
    if (f != NULL) {
        file_put(f);
        r = -ENXIO;
    }
    return r;
}

int walk_start(int dirfd, const char *path, struct dentry **ret)
{
    if (path[0] == '/') { // where the walk begins anyhow
        *ret = dentry_get(vfs_root());
        return 0;
    }
    return walk_start_scoped(dirfd, path, ret);
}

int walk_start_scoped(int dirfd, const char *path, struct dentry **ret)
{
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
