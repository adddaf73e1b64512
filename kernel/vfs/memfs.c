// SPDX-License-Identifier: Apache-2.0
/* The writable filesystem: names and data live in memory, and below the root also on the image.
 *
 * A name of the image is looked up when it is asked for and may be forgotten again. What the
 * program changes stays: a made name is an UPPER dentry, a removed one a WHITEOUT that hides the
 * image's; an inode of the image whose data or attributes changed is pinned in memory, and only the
 * pages that were written are its own. A directory of the image that is renamed keeps its place on
 * the image, so its contents move with it. */
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/pipe.h"
#include "kernel/vfs/tree.h"

enum {
    ENTRY_SIZE = 20,              // what st_size of a tmpfs directory counts a name as (Linux)
    UPPER_INO_FIRST = 0x80000000, // inodes of the image are numbered by their place, below this
};
#define UPPER_POS (1ull << 40) // directory positions: names of the image below, made names above

static bool is_dir(const struct inode *inode)
{
    return (inode->mode & S_FMT) == S_DIR;
}

static void touch(struct inode *inode)
{
    uint64_t now = clock_real_ns();
    inode->mtime_ns = inode->ctime_ns = now;
    memfs_pin(inode);
}

// --- names ---

static int memfs_lookup(struct inode *dir, const char *name, size_t len, struct inode **ret)
{
    if (!dir->has_lower || dir->nlink == 0)
        return -ENOENT;
    return lower_lookup(dir, name, len, ret);
}

static int64_t memfs_readlink(struct inode *inode, char *to, size_t max)
{
    if (inode->has_lower)
        return lower_readlink(inode, to, max);
    size_t len = MIN(strlen(inode->target), max - 1);
    memcpy(to, inode->target, len);
    to[len] = 0;
    return (int64_t)len;
}

static int new_inode(struct super *sb, const struct node_make *what, struct inode **ret)
{
    if (__atomic_load_n(&sb->inodes_used, __ATOMIC_RELAXED) >= sb->pages_max + DENTRIES_MAX)
        return -ENOSPC;
    struct inode *inode = inode_new(sb, ++sb->last_ino, what->mode);
    if (inode == NULL)
        return -ENOMEM;
    inode->rdev = what->rdev;
    inode->uid = creds_current()->euid;
    inode->gid = creds_current()->egid;
    inode->seals = SEAL_SEAL; // as Linux shmem_get_inode
    if (is_dir(inode)) {
        inode->nlink = 2;
        inode->size = 2 * ENTRY_SIZE;
    }
    if (what->target != NULL) {
        size_t len = strlen(what->target);
        inode->target = kmalloc(len + 1);
        if (inode->target == NULL) {
            inode_put(inode);
            return -ENOMEM;
        }
        memcpy(inode->target, what->target, len + 1);
        inode->size = len;
    }
    *ret = inode;
    return 0;
}

/* Make d a name that was made at run time, at the end of its directory. */
static void upper_add(struct dentry *dir, struct dentry *d)
{
    d->cookie = ++dir->inode->last_cookie;
    list_push_back(&dir->inode->uppers, &d->upper_link);
}

/* The directory has one name more or less. */
static void dir_count(struct inode *dir, int names, int subdirs)
{
    if (!dir->has_lower)
        dir->size += (uint64_t)(int64_t)(names * ENTRY_SIZE);
    dir->nlink += (uint32_t)subdirs;
    touch(dir);
}

/* Take a dentry that says "nothing here" away: the flags that the name's next dentry needs. */
static uint8_t negative_take(struct dentry *d)
{
    uint8_t covers = d->flags & DENTRY_WHITEOUT ? DENTRY_COVERS : 0;
    list_remove(&d->upper_link);
    dentry_unhash(d);
    return covers;
}

/* Hide the image's name at d's place, when it has one there. */
static int whiteout_new(struct dentry *dir, const struct dentry *d, struct dentry **ret)
{
    *ret = NULL;
    if ((d->flags & DENTRY_UPPER) && (d->flags & DENTRY_COVERS) == 0)
        return 0;
    *ret = dentry_new(d->sb, dir, d->name, d->name_len, NULL);
    return *ret != NULL ? 0 : -ENOMEM;
}

static void whiteout_place(struct dentry *dir, struct dentry *w)
{
    if (w == NULL)
        return;
    dentry_hash(w, DENTRY_WHITEOUT);
    upper_add(dir, w);
    dentry_put(w);
}

int memfs_make(struct dentry *dir, struct dentry *negative, const struct node_make *what,
               struct dentry **ret)
{
    struct inode *inode;
    if (dir->inode->nlink == 0)
        return -ENOENT;
    int r = 0;
    if (what->link != NULL)
        inode = inode_get(what->link);
    else
        r = new_inode(dir->sb, what, &inode);
    if (r < 0)
        return r;
    struct dentry *d = dentry_new(dir->sb, dir, negative->name, negative->name_len, inode);
    if (d == NULL) {
        inode_put(inode);
        return -ENOMEM;
    }
    uint8_t covers = negative_take(negative);
    dentry_hash(d, DENTRY_UPPER | covers);
    upper_add(dir, d);
    dir_count(dir->inode, 1, is_dir(inode) ? 1 : 0);
    if (what->link != NULL) {
        inode->nlink++;
        inode->linkable = false;
        inode->ctime_ns = clock_real_ns();
        memfs_pin(inode);
    }
    *ret = d;
    return 0;
}

int memfs_nameless(struct dentry *dir, const struct node_make *what, const char *name,
                   bool linkable, struct dentry **ret)
{
    struct inode *inode;
    char number[24];
    if (dir->inode->nlink == 0)
        return -ENOENT;
    int r = new_inode(dir->sb, what, &inode);
    if (r < 0)
        return r;
    inode->nlink = 0;
    inode->linkable = linkable;
    if (name == NULL) {
        fmt(number, sizeof(number), "#%lu", inode->ino); // Linux d_mark_tmpfile
        name = number;
    }
    struct dentry *d = dentry_new(dir->sb, dir, name, strlen(name), inode);
    if (d == NULL) {
        inode_put(inode);
        return -ENOMEM;
    }
    d->flags |= DENTRY_DELETED; // not hashed: nobody else sees it yet
    *ret = d;
    return 0;
}

/* Whether the image's name in dir is hidden or replaced. */
static bool lower_hidden(struct dentry *dir, const char *name, size_t len)
{
    struct dentry *d = dentry_find(dir, name, len);
    bool hidden = d != NULL && (d->flags & (DENTRY_UPPER | DENTRY_WHITEOUT)) != 0;
    dentry_put(d);
    return hidden;
}

static bool is_dots(const char *name, size_t len)
{
    return (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
}

/* 1 empty, 0 not, -EIO. */
static int dir_empty(struct dentry *dir)
{
    LIST_FOR_EACH (at, &dir->inode->uppers)
        if (LIST_ENTRY(at, struct dentry, upper_link)->inode != NULL)
            return 0;
    if (!dir->inode->has_lower)
        return 1;
    struct erofs_dirent e;
    uint64_t offset = 0;
    int r;
    while ((r = lower_next(dir->inode, &offset, &e)) > 0)
        if (!is_dots(e.name, e.name_len) && !lower_hidden(dir, e.name, e.name_len))
            return 0;
    return r < 0 ? r : 1;
}

/* A removed directory needs its whiteouts no more. */
static void drop_whiteouts(struct inode *dir)
{
    while (!list_empty(&dir->uppers)) {
        struct dentry *w = LIST_ENTRY(dir->uppers.next, struct dentry, upper_link);
        w = dentry_find(w->parent, w->name, w->name_len);
        list_remove(&w->upper_link);
        dentry_unhash(w);
        dentry_put(w);
    }
}

/* One name of the inode is gone. */
static void inode_unlinked(struct inode *inode)
{
    inode->nlink = is_dir(inode) ? 0 : inode->nlink - 1;
    inode->ctime_ns = clock_real_ns();
    if (is_dir(inode))
        drop_whiteouts(inode);
    if (inode->nlink == 0)
        inode_unpin(inode);
    else
        memfs_pin(inode);
}

static int require_empty(struct dentry *d)
{
    int r = is_dir(d->inode) ? dir_empty(d) : 1;
    return r < 0 ? r : r == 0 ? -ENOTEMPTY : 0;
}

int memfs_unlink(struct dentry *dir, struct dentry *victim)
{
    struct dentry *whiteout;
    int r = require_empty(victim);
    if (r == 0)
        r = whiteout_new(dir, victim, &whiteout);
    if (r < 0)
        return r;
    list_remove(&victim->upper_link);
    dentry_unhash(victim);
    whiteout_place(dir, whiteout);
    dir_count(dir->inode, -1, is_dir(victim->inode) ? -1 : 0);
    inode_unlinked(victim->inode);
    return 0;
}

/* Let d be found under a name in another directory. */
static int place(struct dentry *d, struct dentry *dir, const char *name, size_t len, uint8_t covers)
{
    int r = dentry_move(d, dir, name, len, covers);
    if (r < 0)
        return r;
    list_remove(&d->upper_link);
    upper_add(dir, d);
    d->inode->ctime_ns = clock_real_ns();
    memfs_pin(d->inode);
    return 0;
}

// Whether the image has a name where d is.
static uint8_t covers_of(const struct dentry *d)
{
    return (d->flags & DENTRY_UPPER) == 0 || (d->flags & DENTRY_COVERS) ? DENTRY_COVERS : 0;
}

static int exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b)
{
    char name[NAME_MAX_BYTES + 1];
    size_t len = a->name_len;
    memcpy(name, a->name, len);
    uint8_t a_covers = covers_of(a), b_covers = covers_of(b);
    int r = place(a, b_dir, b->name, b->name_len, b_covers);
    if (r == 0)
        r = place(b, a_dir, name, len, a_covers);
    int more = (is_dir(a->inode) ? 1 : 0) - (is_dir(b->inode) ? 1 : 0);
    dir_count(a_dir->inode, 0, -more);
    dir_count(b_dir->inode, 0, more);
    return r;
}

int memfs_rename(struct dentry *from_dir, struct dentry *from, struct dentry *to_dir,
                 struct dentry *to, bool swap)
{
    struct dentry *whiteout;
    uint8_t covers;
    if (swap)
        return exchange(from_dir, from, to_dir, to);
    if (to_dir->inode->nlink == 0)
        return -ENOENT;
    int r = to->inode != NULL ? require_empty(to) : 0;
    if (r == 0)
        r = whiteout_new(from_dir, from, &whiteout);
    if (r < 0)
        return r;
    if (to->inode != NULL) {
        covers = covers_of(to);
        list_remove(&to->upper_link);
        dentry_unhash(to);
        dir_count(to_dir->inode, -1, is_dir(to->inode) ? -1 : 0);
        inode_unlinked(to->inode);
    } else {
        covers = negative_take(to);
    }
    r = place(from, to_dir, to->name, to->name_len, covers);
    if (r < 0) {
        dentry_put(whiteout);
        return r;
    }
    whiteout_place(from_dir, whiteout);
    int subdirs = is_dir(from->inode) ? 1 : 0;
    dir_count(from_dir->inode, -1, -subdirs);
    dir_count(to_dir->inode, 1, subdirs);
    return 0;
}

// --- reading directories ---

static unsigned type_of(uint32_t mode)
{
    return (mode & S_FMT) >> 12; // DT_*
}

static int iterate_lower(struct dentry *dir, uint64_t *pos, struct dirbuf *buf)
{
    static const uint8_t types[EROFS_FT_END] = {
        [EROFS_FT_REG] = S_REG >> 12,     [EROFS_FT_DIR] = S_DIR >> 12,
        [EROFS_FT_CHR] = S_CHR >> 12,     [EROFS_FT_BLK] = S_BLK >> 12,
        [EROFS_FT_FIFO] = S_FIFO >> 12,   [EROFS_FT_SOCK] = S_SOCK >> 12,
        [EROFS_FT_SYMLINK] = S_LNK >> 12,
    };
    struct erofs_dirent e;
    uint64_t offset = *pos - 2;
    for (;;) {
        int r = lower_next(dir->inode, &offset, &e);
        if (r <= 0) {
            *pos = UPPER_POS;
            return r;
        }
        unsigned type = (unsigned)e.type < EROFS_FT_END ? types[e.type] : 0;
        if (!is_dots(e.name, e.name_len) && !lower_hidden(dir, e.name, e.name_len) &&
            !dirbuf_add(buf, e.name, e.name_len, e.nid, offset + 2, type))
            return 0;
        *pos = offset + 2;
    }
}

static void iterate_upper(struct dentry *dir, uint64_t *pos, struct dirbuf *buf)
{
    LIST_FOR_EACH (at, &dir->inode->uppers) {
        const struct dentry *d = LIST_ENTRY(at, struct dentry, upper_link);
        uint64_t next = UPPER_POS + d->cookie;
        if (next <= *pos)
            continue;
        if (d->inode != NULL &&
            !dirbuf_add(buf, d->name, d->name_len, d->inode->ino, next, type_of(d->inode->mode)))
            return;
        *pos = next;
    }
}

static int memfs_iterate(struct dentry *dir, uint64_t *pos, struct dirbuf *buf)
{
    int r = 0;
    mutex_lock(&dir->sb->lock);
    if (dir->inode->nlink == 0)
        r = -ENOENT;
    else if (dirbuf_dots(buf, dir, pos)) {
        if (!dir->inode->has_lower)
            *pos = MAX(*pos, UPPER_POS);
        if (*pos < UPPER_POS)
            r = iterate_lower(dir, pos, buf);
        if (r == 0 && *pos >= UPPER_POS)
            iterate_upper(dir, pos, buf);
    }
    mutex_unlock(&dir->sb->lock);
    return r;
}

// --- supers ---

static int memfs_open(struct inode *inode, struct file *f)
{
    switch (inode->mode & S_FMT) {
    case S_DIR:
        f->ops = &dir_file_ops;
        return 0;
    case S_REG:
        f->ops = &memfs_file_ops;
        return 0;
    case S_CHR:
        return dev_open(inode, f);
    case S_FIFO:
        return fifo_open(inode, f);
    default:
        return -ENXIO;
    }
}

#define MEMFS_OPS(type_name, type_magic)                                                           \
    {                                                                                              \
        .type = type_name, .magic = type_magic, .writable = true, .cached = true,                  \
        .lookup = memfs_lookup, .iterate = memfs_iterate, .readlink = memfs_readlink,              \
        .open = memfs_open,                                                                        \
    }
// Linux include/uapi/linux/magic.h: OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC
const struct super_ops memfs_root_ops = MEMFS_OPS("overlay", 0x794c7630);
const struct super_ops memfs_tmp_ops = MEMFS_OPS("tmpfs", 0x01021994);
const struct super_ops memfs_dev_ops = MEMFS_OPS("devtmpfs", 0x01021994);
const struct super_ops memfs_pts_ops = MEMFS_OPS("devpts", 0x1cd1);

static int root_inode(struct super *sb, uint32_t mode, struct inode **ret)
{
    if (sb->lower != NULL)
        return lower_inode(sb, lower_root(sb), ret);
    if (!sb->ops->writable)
        return pseudo_root(sb, ret);
    struct inode *inode = inode_new(sb, ++sb->last_ino, S_DIR | mode);
    if (inode == NULL)
        return -ENOMEM;
    inode->nlink = 2;
    inode->size = 2 * ENTRY_SIZE;
    *ret = inode;
    return 0;
}

struct super *super_new(const struct super_ops *ops, const char *source, uint64_t pages_max)
{
    static uint64_t last_dev = ANON_DEV;
    struct super *sb = kzalloc(sizeof(*sb));
    if (sb == NULL)
        return NULL;
    sb->ops = ops;
    sb->source = source;
    sb->dev = ++last_dev;
    sb->pages_max = pages_max;
    mutex_init(&sb->lock);
    list_init(&sb->link);
    return sb;
}

int super_root(struct super *sb, uint32_t mode)
{
    struct inode *inode;
    if (sb->lower != NULL)
        sb->last_ino = UPPER_INO_FIRST;
    int r = root_inode(sb, mode, &inode);
    if (r < 0)
        return r;
    if (!is_dir(inode)) {
        inode_put(inode);
        return -ENOTDIR;
    }
    sb->root = dentry_new(sb, NULL, "", 0, inode);
    if (sb->root == NULL) {
        inode_put(inode);
        return -ENOMEM;
    }
    dentry_hash(sb->root, DENTRY_UPPER);
    return 0;
}
