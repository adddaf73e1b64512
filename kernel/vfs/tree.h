// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The tree of names: supers (mounted filesystems), dentries (names), inodes (what they name).
 *
 * Lock order:
 *     super.lock (mutex: changes of names, lookups on the disk)
 *       inode.lock (mutex: writes and truncation)
 *         dcache_lock (spinlock: hash, parents, names, reference counts of dentries and inodes)
 *         pagecache's locks
 * A name that is in the cache is found under dcache_lock alone. */
#include "base/base.h"
#include "base/list.h"
#include "fs/erofs.h"
#include "kernel/sched/lock.h"
#include "kernel/vfs/pagecache.h"
#include "kernel/vfs/vfs.h"

struct dentry;
struct inode;
struct dirbuf;
struct flocks;
struct lower;
struct pipe;
struct watch;
struct xattr;

enum {
    DENTRIES_MAX = 4096, // cached names nobody uses that can be read from the disk again
};

struct attr_change { // what setattr changes
    bool set_mode, set_uid, set_gid, set_atime, set_mtime;
    uint32_t mode, uid, gid;
    uint64_t atime_ns, mtime_ns;
};

/* What differs between the writable filesystem (memfs.c) and the made-up ones (pseudo.c). */
struct super_ops {
    const char *type;
    uint64_t magic; // statfs f_type
    bool writable;  // names can be made and removed: memfs.c
    int make_error; // what making a name says when it is not
    bool cached;    // names stay in the cache
    /* A name that is not in the cache: 0 with a referenced inode, -ENOENT, -EIO, -ENOMEM. */
    int (*lookup)(struct inode *dir, const char *name, size_t len, struct inode **ret);
    /* Fill buf from *pos on, which moves: 0 or -errno. */
    int (*iterate)(struct dentry *dir, uint64_t *pos, struct dirbuf *buf);
    /* Target of a link into to (NUL-ended): length. */
    int64_t (*readlink)(struct inode *inode, char *to, size_t max);
    /* A link that leads to an object rather than a path: 0 with a referenced dentry or, when the
     * object is in no tree, a referenced file; -ENOENT: it is an ordinary link. */
    int (*jump)(struct inode *inode, struct dentry **ret, struct file **ret_file);
    /* Make f (ops and priv not set) a file on this inode. Also directories. */
    int (*open)(struct inode *inode, struct file *f);
    void (*inode_free)(struct inode *inode); // its private parts
};

struct super {
    const struct super_ops *ops; // immutable
    const char *source;          // immutable; /proc/mounts
    uint64_t dev;                // immutable; st_dev
    struct mutex lock;
    struct dentry *root;       // immutable
    struct dentry *mountpoint; // immutable; the covered dentry, NULL for the root
    struct list link;          // all supers, in mount order; immutable after vfs_init
    uint64_t pages_max;        // immutable; dirty pages, of all filesystems together
    uint64_t pages_used;       // atomic
    uint64_t inodes_used;      // atomic
    uint64_t last_ino;         // protected by lock
    struct lower *lower;       // immutable; the image below, or NULL
};

struct inode {
    struct super *sb;  // immutable
    uint64_t ino;      // immutable
    uint64_t rdev;     // immutable
    uint32_t refs;     // protected by dcache_lock
    uint32_t mode;     // kind immutable; permissions atomic
    uint32_t uid, gid; // atomic
    uint32_t nlink;    // protected by sb->lock
    bool pinned; // protected by dcache_lock: differs from the disk, holds a reference to itself
    struct list hash; // protected by dcache_lock: inodes of the image in memory
    struct mutex lock;
    uint64_t size;                                   // atomic; changed under lock
    uint64_t atime_ns, mtime_ns, ctime_ns, btime_ns; // atomic
    struct pagecache pages;
    bool has_lower;           // immutable
    struct erofs_inode lower; // immutable: its place on the image
    char *target;             // immutable: of a link made at run time
    struct list uppers;       // protected by sb->lock: dentry.upper_link, of a directory
    uint64_t last_cookie;     // protected by sb->lock
    struct flocks *flocks;    // protected by flock.c's lock
    uint32_t use;             // atomic; execrule.c's
    struct pipe *fifo;        // protected by pipe.c's fifo_lock: of a named pipe that is open
    struct xattr *xattrs;     // protected by lock; fs_xattr.c's
    struct watch *watches;    // protected by inotify.c's lock
    bool linkable;            // protected by sb->lock: without a name, but may get one
    uint32_t seals;           // atomic; SEAL_*, changed under lock; of files of a tmpfs
    int32_t writable_maps;    // atomic; shared mappings that may be written; -1: none any more
    const void *node;         // immutable: pseudo.c's
    uint64_t node_arg;        // immutable: pseudo.c's
};

enum {                   // struct dentry.flags
    DENTRY_HASHED = 1,   // can be found
    DENTRY_UPPER = 2,    // made at run time: stays until removed
    DENTRY_WHITEOUT = 4, // hides a name of the image: stays
    DENTRY_COVERS = 8,   // with UPPER: the image has this name too
    DENTRY_LRU = 16,
    DENTRY_DELETED = 32, // unlinked; for paths
};

enum { DENTRY_INLINE = 32 };

struct dentry {
    struct super *sb;       // immutable
    struct dentry *parent;  // protected by dcache_lock; referenced; itself for a root
    struct inode *inode;    // immutable; referenced; NULL: the name does not exist
    struct list hash;       // protected by dcache_lock
    struct list lru;        // protected by dcache_lock
    uint32_t refs;          // protected by dcache_lock
    uint32_t name_hash;     // protected by dcache_lock
    uint8_t flags;          // protected by dcache_lock
    uint8_t name_len;       // protected by dcache_lock
    struct super *mounted;  // immutable after vfs_init
    struct list upper_link; // protected by sb->lock: in the directory's inode.uppers
    uint64_t cookie;        // protected by sb->lock: place in the directory
    char *name;             // protected by dcache_lock; inline_name or kmalloc'ed
    char inline_name[DENTRY_INLINE];
};

// --- dcache.c ---

void dcache_init(uint64_t memory_pages);
/* A dentry with one reference; takes over the caller's reference to inode (NULL: no such name) on
 * success. Not hashed. parent NULL: a root. NULL when memory is short. */
MUST_CHECK struct dentry *dentry_new(struct super *sb, struct dentry *parent, const char *name,
                                     size_t len, struct inode *inode);
NONNULL struct dentry *dentry_get(struct dentry *d);
void dentry_put(struct dentry *d); // NULL is fine
/* The cached dentry of a name (perhaps one that says that there is none) with a reference. */
NONNULL struct dentry *dentry_find(struct dentry *dir, const char *name, size_t len);
NONNULL void dentry_hash(struct dentry *d, uint8_t flags); // let it be found; adds flags
/* Let it not be found any more; it lives on for those who hold it. */
NONNULL void dentry_unhash(struct dentry *d);
/* Give a hashed dentry another parent and name and make it UPPER (and COVERS if given): 0 or
 * -ENOMEM. */
NONNULL MUST_CHECK int dentry_move(struct dentry *d, struct dentry *to, const char *name,
                                   size_t len, uint8_t covers);
/* The parent with a reference; goes through mount points. A root's is itself. */
NONNULL struct dentry *dentry_parent(struct dentry *d);
/* The parent with a reference and d's name in it, to name[NAME_MAX_BYTES + 1]; NULL for a root. */
NONNULL struct dentry *dentry_parent_name(struct dentry *d, char *name, size_t *ret_len);
/* Whether d is at or below top, in one filesystem. */
NONNULL bool dentry_below(struct dentry *d, struct dentry *top);
/* The absolute path into to (max bytes, NUL-ended); returns its length. */
NONNULL size_t dentry_path(struct dentry *d, char *to, size_t max);

/* A new inode with one reference, times set to now; or NULL. */
NONNULL MUST_CHECK struct inode *inode_new(struct super *sb, uint64_t ino, uint32_t mode);
NONNULL struct inode *inode_get(struct inode *inode);
void inode_put(struct inode *inode); // NULL is fine; any context but interrupts
/* The inode of the image in memory with a reference, or NULL; and how to make it findable. */
NONNULL struct inode *inode_find(struct super *sb, uint64_t nid);
NONNULL void inode_hash(struct inode *inode);

// --- namei.c ---

enum {                  // flags of a walk
    WALK_FOLLOW = 1,    // a link as the last component is followed
    WALK_DIRECTORY = 2, // the last component must be a directory
    WALK_EMPTY = 4,     // "" is the starting point itself (AT_EMPTY_PATH)
    WALK_REAL = 8,      // permissions of the real user, as access(2) asks
    // openat2(2)'s RESOLVE_*, each shifted by WALK_RESOLVE_SHIFT
    WALK_RESOLVE_SHIFT = 8,
    WALK_NO_XDEV = 0x100,
    WALK_NO_MAGICLINKS = 0x200,
    WALK_NO_SYMLINKS = 0x400,
    WALK_BENEATH = 0x800,
    WALK_IN_ROOT = 0x1000,
    WALK_CACHED = 0x2000,
    WALK_SCOPED = WALK_BENEATH | WALK_IN_ROOT, // the starting point is the root
};

struct walk_last {    // the last component, not looked up
    const char *name; // borrowed from the path
    size_t len;
    enum { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT } kind;
    bool slash; // slashes follow it
};

/* A path from user memory, with its storage. */
struct path {
    char *s;
    char *heap;
    char small[160];
};
NONNULL MUST_CHECK int path_from_user(struct path *p, uint64_t user, unsigned walk_flags);
NONNULL void path_done(struct path *p);

/* Where dirfd (or AT_FDCWD) points: 0 with a reference; -EBADF; -ENOTDIR for a path that is not
 * absolute. */
enum { AT_FDCWD = -100 };
NONNULL MUST_CHECK int walk_start(int dirfd, const char *path, struct dentry **ret);

/* The same for a walk whose starting point is its root: also absolute paths begin there. */
NONNULL MUST_CHECK int walk_start_scoped(int dirfd, const char *path, struct dentry **ret);

/* The root directory of the current process; give it back. */
struct dentry *fs_root_get(void);
NONNULL void fs_root_put(struct dentry *root);

/* A walk step by step, for those who make the last component. */
struct walker {
    struct dentry *at;   // referenced: where it stands
    struct dentry *root; // what "/" is; of the process, or with WALK_SCOPED the start
    struct file *file;   // the last link led to a file in no tree; referenced
    const char *s;       // what is left of the path
    char *buf;           // storage of s once a link was followed
    unsigned links, flags;
};
NONNULL void walker_init(struct walker *w, struct dentry *start, const char *path, unsigned flags);
NONNULL void walker_done(struct walker *w);
/* Walk until the last component is left (not looked up). The walker stands in its directory. */
NONNULL MUST_CHECK int walker_parent(struct walker *w, struct walk_last *last);
/* Continue with a link's target followed by what is left of the path; the walker stands in the
 * directory that holds the link. 1: the link led to an object, the walker stands there. */
NONNULL MUST_CHECK int walker_follow(struct walker *w, struct dentry *link);

/* Find what a path names: 0 with a referenced positive dentry, or a file that is in no tree. */
NONNULL MUST_CHECK int walk_object(struct dentry *start, const char *path, unsigned flags,
                                   struct dentry **ret, struct file **ret_file);
/* Find what a path names: 0 with a referenced positive dentry, or as path_resolution(7). -ENXIO: it
 * is in no tree. */
NONNULL MUST_CHECK int walk(struct dentry *start, const char *path, unsigned flags,
                            struct dentry **ret);
/* Find the directory that holds the last component; links before it are followed. last->name lives
 * in the path or in *ret_buf (kfree it). */
NONNULL MUST_CHECK int walk_parent(struct dentry *start, const char *path, struct dentry **ret_dir,
                                   struct walk_last *last, char **ret_buf);
/* One name in a directory: 0 with a referenced dentry that may be negative. No permission check. */
NONNULL MUST_CHECK int lookup_one(struct dentry *dir, const char *name, size_t len,
                                  struct dentry **ret);

/* The same with dir->sb->lock held and without crossing into what is mounted there. */
NONNULL MUST_CHECK int lookup_locked(struct dentry *dir, const char *name, size_t len,
                                     struct dentry **ret);

struct creds;
const struct creds *creds_current(void);

enum { MAY_EXEC = 1, MAY_WRITE = 2, MAY_READ = 4 };
/* Permission bits for the current process: 0 or -EACCES. */
NONNULL MUST_CHECK int inode_permission(const struct inode *inode, unsigned may);
NONNULL MUST_CHECK int inode_permission_real(const struct inode *inode, unsigned may); // real ids
NONNULL bool inode_owner(const struct inode *inode); // may change its attributes
/* May the name be removed from dir (write, search, sticky): 0, -EACCES, -EPERM, -ENOTDIR, -EISDIR.
 */
NONNULL MUST_CHECK int may_delete(const struct dentry *dir, const struct dentry *victim,
                                  bool is_dir);

struct fs_context {
    struct spinlock lock; // protects cwd, umask
    uint32_t refs;        // atomic
    struct dentry *root;  // protected by lock; referenced unless vfs_root()
    struct dentry *cwd;
    uint32_t umask;
};
struct dentry *vfs_root(void);       // borrowed
struct fs_context *fs_current(void); // of the current process; before there is one: the kernel's

// --- execrule.c: what was written is not executed ---

/* A regular file is about to be written: 0, or -ETXTBSY when it has been executed. */
NONNULL MUST_CHECK int inode_claim_write(struct inode *inode);

// --- memfs.c: names and data that can be written ---

struct node_make { // what to create
    uint32_t mode; // kind and permissions, umask applied
    uint64_t rdev;
    const char *target; // of a link
    struct inode *link; // hard link to this instead; borrowed
};
extern const struct super_ops memfs_root_ops, memfs_tmp_ops, memfs_dev_ops, memfs_pts_ops;
extern const struct file_ops memfs_file_ops;
/* Names. The caller holds dir->sb->lock and has checked permissions.
 * Put a new inode (or link) where `negative` says that there is nothing: 0 with a referenced
 * dentry; -ENOENT (dir was removed), -ENOSPC, -ENOMEM. */
NONNULL MUST_CHECK int memfs_make(struct dentry *dir, struct dentry *negative,
                                  const struct node_make *what, struct dentry **ret);
/* A regular file without a name below dir; paths show `name` (NULL: its number). `linkable`: linkat
 * may give it a name. */
MUST_CHECK int memfs_nameless(struct dentry *dir, const struct node_make *what, const char *name,
                              bool linkable, struct dentry **ret);
/* memfd.c, at boot: where files of memory lie. */
MUST_CHECK int memory_files_init(uint64_t pages);
/* Remove a name, also of a directory: 0, -ENOTEMPTY, -ENOMEM, -EIO. */
NONNULL MUST_CHECK int memfs_unlink(struct dentry *dir, struct dentry *victim);
enum { MOVE_NOREPLACE = 1, MOVE_EXCHANGE = 2 };
/* Let `from` be found where `to` is (negative, or removed by this; with exchange they swap). */
NONNULL MUST_CHECK int memfs_rename(struct dentry *from_dir, struct dentry *from,
                                    struct dentry *to_dir, struct dentry *to, bool exchange);
NONNULL MUST_CHECK int memfs_truncate(struct inode *inode, uint64_t size);
NONNULL MUST_CHECK int memfs_fallocate(struct inode *inode, int mode, uint64_t offset,
                                       uint64_t len);
NONNULL MUST_CHECK int64_t memfs_write(struct inode *inode, struct uio *u, uint64_t *pos,
                                       bool append);
void xattrs_free(struct xattr *list); // linux/fs_xattr.c
NONNULL void memfs_uncharge(struct super *sb, uint64_t pages); // dirty pages are gone
uint64_t memfs_pages_used(void);               // dirty pages of all writable filesystems
NONNULL void memfs_pin(struct inode *inode);   // it differs from the disk now: keep it
NONNULL void inode_unpin(struct inode *inode); // its last name is gone
NONNULL int inode_setattr(struct inode *inode, const struct attr_change *c);
NONNULL void inode_stat(struct inode *inode, struct kstat *ret);
/* A super without a root yet; give it what lies below, then super_root (mode: of an empty root). */
MUST_CHECK struct super *super_new(const struct super_ops *ops, const char *source,
                                   uint64_t pages_max);
NONNULL MUST_CHECK int super_root(struct super *sb, uint32_t mode);

// --- lower.c: the EROFS image below the root ---

NONNULL MUST_CHECK int lower_open(struct block_dev *dev, uint64_t bytes, struct super *sb);
NONNULL uint64_t lower_root(const struct super *sb); // nid
NONNULL void lower_usage(const struct super *sb, uint64_t *ret_bytes, uint64_t *ret_inodes);
NONNULL MUST_CHECK int lower_inode(struct super *sb, uint64_t nid, struct inode **ret);
NONNULL MUST_CHECK int lower_lookup(struct inode *dir, const char *name, size_t len,
                                    struct inode **ret);
NONNULL MUST_CHECK int lower_next(struct inode *dir, uint64_t *offset, struct erofs_dirent *ret);
NONNULL MUST_CHECK int64_t lower_readlink(struct inode *inode, char *to, size_t max);

// --- readdir.c ---

/* Directory entries on their way to the program, in struct linux_dirent64's layout or, `old`, in
 * struct linux_dirent's. */
struct dirbuf {
    char *buf; // kernel memory
    size_t len, max;
    bool full; // the last entry did not fit
    bool old;
};
/* Append an entry: false when it does not fit. next_pos: where reading goes on behind it. */
NONNULL bool dirbuf_add(struct dirbuf *b, const char *name, size_t len, uint64_t ino,
                        uint64_t next_pos, unsigned type);
NONNULL bool dirbuf_dots(struct dirbuf *b, struct dentry *dir, uint64_t *pos); // "." and ".."
extern const struct file_ops dir_file_ops;

// --- dev.c, console_file.c, pseudo.c ---

NONNULL MUST_CHECK int dev_populate(struct super *sb); // the nodes of /dev
NONNULL MUST_CHECK int dev_open(struct inode *inode, struct file *f);
extern const struct super_ops proc_ops, sys_ops;
NONNULL MUST_CHECK int pseudo_root(struct super *sb, struct inode **ret);
NONNULL MUST_CHECK int vfs_mount(struct super *sb, const char *path);
extern struct list vfs_supers; // immutable after vfs_init
