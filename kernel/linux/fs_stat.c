// SPDX-License-Identifier: Apache-2.0
/* What is known of files: stat(2), statx(2), access(2), readlink(2), statfs(2). Linux 6.1
 * fs/stat.c, fs/open.c, fs/statfs.c. */
#include "base/mem.h"
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"

int at_dentry(int dirfd, uint64_t user_path, unsigned walk_flags, struct dentry **ret)
{
    struct path path;
    struct dentry *start;
    int r = path_from_user(&path, user_path, walk_flags);
    if (r < 0)
        return r;
    r = walk_start(dirfd, path.s, &start);
    if (r == 0) {
        r = walk(start, path.s, walk_flags, ret);
        dentry_put(start);
    }
    path_done(&path);
    return r;
}

int at_object(int dirfd, uint64_t user_path, unsigned walk_flags, struct at_object *ret)
{
    struct path path;
    struct dentry *start;
    *ret = (struct at_object){0};
    int r = path_from_user(&path, user_path, walk_flags);
    if (r < 0)
        return r;
    if (path.s[0] == 0 && dirfd >= 0) { // WALK_EMPTY: the open file itself
        ret->f = fd_get(dirfd);
        return ret->f != NULL ? 0 : -EBADF;
    }
    r = walk_start(dirfd, path.s, &start);
    if (r == 0) {
        r = walk_object(start, path.s, walk_flags, &ret->d, &ret->f);
        dentry_put(start);
    }
    path_done(&path);
    return r;
}

void at_object_done(struct at_object *o)
{
    dentry_put(o->d);
    file_put(o->f);
}

struct inode *at_object_inode(const struct at_object *o)
{
    return o->d != NULL ? o->d->inode : o->f->inode;
}

// --- stat ---

struct user_stat { // struct stat, x86-64
    uint64_t dev, ino, nlink;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, blksize, blocks;
    uint64_t atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec;
    int64_t unused[3];
};
_Static_assert(sizeof(struct user_stat) == 144, "Linux struct stat");

static int stat_to_user(const struct kstat *k, uint64_t user)
{
    struct user_stat s = {
        .dev = k->dev,
        .ino = k->ino,
        .nlink = k->nlink,
        .mode = k->mode,
        .uid = k->uid,
        .gid = k->gid,
        .rdev = k->rdev,
        .size = (int64_t)k->size,
        .blksize = k->blksize,
        .blocks = (int64_t)k->blocks,
        .atime = k->atime_ns / NS_PER_SEC,
        .atime_nsec = k->atime_ns % NS_PER_SEC,
        .mtime = k->mtime_ns / NS_PER_SEC,
        .mtime_nsec = k->mtime_ns % NS_PER_SEC,
        .ctime = k->ctime_ns / NS_PER_SEC,
        .ctime_nsec = k->ctime_ns % NS_PER_SEC,
    };
    return copy_to_user(user, &s, sizeof(s));
}

static int stat_at(int dirfd, uint64_t user_path, unsigned walk_flags, struct kstat *ret)
{
    struct at_object o;
    int r = at_object(dirfd, user_path, walk_flags, &o);
    if (r < 0)
        return r;
    if (o.d != NULL)
        inode_stat(o.d->inode, ret);
    else
        r = o.f->ops->stat(o.f, ret);
    const struct dentry *d = o.d != NULL ? o.d : o.f->dentry;
    ret->mount_root = d != NULL && d == d->sb->root;
    at_object_done(&o);
    return r;
}

static int64_t stat_path(uint64_t user_path, unsigned walk_flags, uint64_t user)
{
    struct kstat k;
    int r = stat_at(AT_FDCWD, user_path, walk_flags, &k);
    return r < 0 ? r : stat_to_user(&k, user);
}

int64_t sys_stat(const uint64_t arg[static 6])
{
    return stat_path(arg[0], WALK_FOLLOW, arg[1]);
}

int64_t sys_lstat(const uint64_t arg[static 6])
{
    return stat_path(arg[0], 0, arg[1]);
}

int64_t sys_fstat(const uint64_t arg[static 6])
{
    struct kstat k;
    struct file *f = fd_get((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int r = f->ops->stat(f, &k);
    file_put(f);
    return r < 0 ? r : stat_to_user(&k, arg[1]);
}

/* AT_ flags as flags of a walk. */
static unsigned walk_flags_of(uint32_t flags)
{
    return (flags & AT_SYMLINK_NOFOLLOW ? 0 : (unsigned)WALK_FOLLOW) |
           (flags & AT_EMPTY_PATH ? (unsigned)WALK_EMPTY : 0);
}

int64_t sys_newfstatat(const uint64_t arg[static 6])
{
    struct kstat k;
    uint32_t flags = (uint32_t)arg[3];
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
        return -EINVAL;
    int r = stat_at((int)arg[0], arg[1], walk_flags_of(flags), &k);
    return r < 0 ? r : stat_to_user(&k, arg[2]);
}

struct user_statx_time {
    int64_t sec;
    uint32_t nsec;
    int32_t pad;
};

struct user_statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    struct user_statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mnt_id;
    uint32_t dio_mem_align, dio_offset_align;
    uint64_t spare[12];
};
_Static_assert(sizeof(struct user_statx) == 256, "Linux struct statx");

static struct user_statx_time statx_time(uint64_t ns)
{
    return (struct user_statx_time){.sec = (int64_t)(ns / NS_PER_SEC),
                                    .nsec = (uint32_t)(ns % NS_PER_SEC)};
}

int64_t sys_statx(const uint64_t arg[static 6])
{
    enum {
        SYNC_TYPE = 0x6000, // AT_STATX_FORCE_SYNC | DONT_SYNC
        BASIC_STATS = 0x7ff,
        BTIME = 0x800,
        MNT_ID = 0x1000,
        ATTR_MOUNT_ROOT = 0x2000,
        RESERVED = 0x80000000,
    };
    struct kstat k;
    uint32_t flags = (uint32_t)arg[2], mask = (uint32_t)arg[3];
    if ((mask & RESERVED) || (flags & SYNC_TYPE) == SYNC_TYPE)
        return -EINVAL;
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | SYNC_TYPE))
        return -EINVAL;
    int r = stat_at((int)arg[0], arg[1], walk_flags_of(flags), &k);
    if (r < 0)
        return r;
    // AT_STATX_DONT_SYNC and FORCE_SYNC ask for the same: nothing here is ever behind.
    struct user_statx s = {
        .mask = BASIC_STATS | MNT_ID | (k.btime_ns != 0 ? mask & (uint32_t)BTIME : 0),
        .attributes = k.mount_root ? (uint64_t)ATTR_MOUNT_ROOT : 0,
        .attributes_mask = ATTR_MOUNT_ROOT,
        .mnt_id = k.dev,
        .blksize = k.blksize,
        .nlink = (uint32_t)k.nlink,
        .uid = k.uid,
        .gid = k.gid,
        .mode = (uint16_t)k.mode,
        .ino = k.ino,
        .size = k.size,
        .blocks = k.blocks,
        .atime = statx_time(k.atime_ns),
        .btime = statx_time(k.btime_ns),
        .ctime = statx_time(k.ctime_ns),
        .mtime = statx_time(k.mtime_ns),
        .rdev_major = (uint32_t)(k.rdev >> 8) & 0xfff,
        .rdev_minor = (uint32_t)k.rdev & 0xff,
        .dev_major = (uint32_t)(k.dev >> 8) & 0xfff,
        .dev_minor = (uint32_t)k.dev & 0xff,
    };
    return copy_to_user(arg[4], &s, sizeof(s));
}

// --- access ---

static int64_t do_access(int dirfd, uint64_t user_path, uint32_t mode, uint32_t flags)
{
    enum { X_OK = 1, W_OK = 2, R_OK = 4 };
    struct at_object o;
    if (mode & ~(uint32_t)(R_OK | W_OK | X_OK))
        return -EINVAL;
    if (flags & ~(uint32_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    unsigned real = flags & AT_EACCESS ? 0 : (unsigned)WALK_REAL;
    int r = at_object(dirfd, user_path, walk_flags_of(flags) | real, &o);
    if (r < 0)
        return r;
    const struct inode *inode = at_object_inode(&o);
    if (inode != NULL && mode != 0) // R_OK, W_OK, X_OK are MAY_READ, MAY_WRITE, MAY_EXEC
        r = flags & AT_EACCESS ? inode_permission(inode, mode) : inode_permission_real(inode, mode);
    if (r == 0 && inode != NULL && (mode & W_OK) && !inode->sb->ops->writable &&
        (inode->mode & 0222) == 0)
        r = -EROFS;
    at_object_done(&o);
    return r;
}

int64_t sys_access(const uint64_t arg[static 6])
{
    return do_access(AT_FDCWD, arg[0], (uint32_t)arg[1], 0);
}

int64_t sys_faccessat(const uint64_t arg[static 6])
{
    return do_access((int)arg[0], arg[1], (uint32_t)arg[2], 0);
}

int64_t sys_faccessat2(const uint64_t arg[static 6])
{
    return do_access((int)arg[0], arg[1], (uint32_t)arg[2], (uint32_t)arg[3]);
}

// --- readlink ---

static int64_t do_readlink(int dirfd, uint64_t user_path, uint64_t user, int32_t size)
{
    struct at_object o;
    char first = 1;
    if (size <= 0)
        return -EINVAL;
    int64_t r = at_object(dirfd, user_path, WALK_EMPTY, &o);
    if (r < 0)
        return r;
    const struct inode *inode = at_object_inode(&o);
    // An empty path names an open file: ENOENT unless that is a link (Linux do_readlinkat).
    if (copy_from_user(&first, user_path, 1) < 0)
        r = -EFAULT;
    else if (inode == NULL || (inode->mode & S_FMT) != S_LNK)
        r = first == 0 ? -ENOENT : -EINVAL;
    char *buf = r == 0 ? kmalloc(PATH_MAX_BYTES) : NULL;
    if (r == 0 && buf == NULL)
        r = -ENOMEM;
    if (r == 0) {
        r = inode->sb->ops->readlink(at_object_inode(&o), buf, PATH_MAX_BYTES);
        r = MIN(r, (int64_t)size);
        if (r > 0 && copy_to_user(user, buf, (size_t)r) < 0)
            r = -EFAULT;
    }
    kfree(buf);
    at_object_done(&o);
    return r;
}

int64_t sys_readlink(const uint64_t arg[static 6])
{
    return do_readlink(AT_FDCWD, arg[0], arg[1], (int32_t)arg[2]);
}

int64_t sys_readlinkat(const uint64_t arg[static 6])
{
    return do_readlink((int)arg[0], arg[1], arg[2], (int32_t)arg[3]);
}

// --- statfs ---

struct user_statfs {
    int64_t type, bsize;
    uint64_t blocks, bfree, bavail, files, ffree;
    int32_t fsid[2];
    int64_t namelen, frsize, flags, spare[4];
};
_Static_assert(sizeof(struct user_statfs) == 120, "Linux struct statfs");

static int64_t statfs_to_user(const struct super *sb, uint64_t user)
{
    enum { ST_VALID = 0x20, ST_NOATIME = 0x400 };
    uint64_t image_bytes, image_inodes;
    lower_usage(sb, &image_bytes, &image_inodes);
    uint64_t used = MIN(memfs_pages_used(), sb->pages_max);
    uint64_t inodes = __atomic_load_n(&sb->inodes_used, __ATOMIC_RELAXED);
    struct user_statfs s = {
        .type = (int64_t)sb->ops->magic,
        .bsize = PAGE_SIZE,
        .blocks = image_bytes / PAGE_SIZE + sb->pages_max,
        .bfree = sb->pages_max - used,
        .bavail = sb->pages_max - used,
        .files = image_inodes + sb->pages_max,
        .ffree = sb->pages_max - MIN(inodes, sb->pages_max),
        .fsid = {(int32_t)sb->dev, 0},
        .namelen = NAME_MAX_BYTES,
        .frsize = PAGE_SIZE,
        .flags = ST_VALID | ST_NOATIME,
    };
    return copy_to_user(user, &s, sizeof(s));
}

int64_t sys_statfs(const uint64_t arg[static 6])
{
    struct dentry *d;
    int r = at_dentry(AT_FDCWD, arg[0], WALK_FOLLOW, &d);
    if (r < 0)
        return r;
    int64_t n = statfs_to_user(d->sb, arg[1]);
    dentry_put(d);
    return n;
}

int64_t sys_fstatfs(const uint64_t arg[static 6])
{
    struct file *f = fd_get((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int64_t r = f->inode != NULL ? statfs_to_user(f->inode->sb, arg[1]) : -ENOSYS;
    file_put(f);
    return r;
}
