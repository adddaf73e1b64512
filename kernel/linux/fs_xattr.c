// SPDX-License-Identifier: Apache-2.0
/* Extended attributes: Linux 6.1 fs/xattr.c over what its tmpfs keeps (mm/shmem.c): names of
 * "security." and "trusted." on any kind of object; of others -EOPNOTSUPP. They hang at the inode
 * and are counted against the memory of files by their number and size. */
#include "base/mem.h"
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/notify.h"

enum {
    XATTR_NAME_MAX = 255,
    XATTR_SIZE_MAX = 65536,
    XATTR_LIST_MAX = 65536,
    XATTR_CREATE = 1,
    XATTR_REPLACE = 2,
    XATTRS_MAX = 1024,           // of one inode
    XATTR_BYTES_MAX = 64 * 1024, // of one inode: values
};

struct xattr {
    struct xattr *next; // protected by inode->lock
    uint32_t size;
    uint8_t name_len;
    char name[XATTR_NAME_MAX + 1];
    uint8_t value[];
};

void xattrs_free(struct xattr *list)
{
    while (list != NULL) {
        struct xattr *next = list->next;
        kfree(list);
        list = next;
    }
}

// --- names ---

static int name_from_user(char name[static XATTR_NAME_MAX + 1], uint64_t user)
{
    int64_t len = strncpy_from_user(name, user, XATTR_NAME_MAX + 1);
    if (len == 0 || len == -ENAMETOOLONG)
        return -ERANGE;
    return len < 0 ? (int)len : 0;
}

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Linux xattr_permission, then which names the filesystem keeps. */
static int may_use(const struct inode *inode, const char *name, bool write)
{
    bool trusted = begins(name, "trusted.");
    if (trusted && creds_current()->euid != 0)
        return write ? -EPERM : -ENODATA;
    uint32_t kind = inode->mode & S_FMT;
    if (begins(name, "user.") && kind != S_REG && kind != S_DIR)
        return write ? -EPERM : -ENODATA;
    if (!trusted && !begins(name, "security.")) {
        int r = begins(name, "system.") ? 0 : inode_permission(inode, write ? MAY_WRITE : MAY_READ);
        return r < 0 ? r : -EOPNOTSUPP;
    }
    if (name[strlen(trusted ? "trusted." : "security.")] == 0)
        return -EINVAL;
    if (!trusted && write && creds_current()->euid != 0) // CAP_SYS_ADMIN, Linux cap_inode_setxattr
        return -EPERM;
    return inode->sb->ops->writable ? 0 : -EOPNOTSUPP;
}

// --- the list of an inode: inode->lock held ---

static struct xattr **find(struct inode *inode, const char *name)
{
    struct xattr **at = &inode->xattrs;
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

/* Whether one more of this size may hang at the inode beside the others but `without`. */
static bool fits(const struct inode *inode, const struct xattr *without, size_t size)
{
    size_t count = 1, bytes = size;
    for (const struct xattr *x = inode->xattrs; x != NULL; x = x->next)
        if (x != without) {
            count++;
            bytes += x->size;
        }
    return count <= XATTRS_MAX && bytes <= XATTR_BYTES_MAX;
}

/* Put *fresh in the place of what has its name: 0 and *fresh is what was there; or -errno. */
static int replace(struct inode *inode, struct xattr **fresh, uint32_t flags)
{
    mutex_lock(&inode->lock);
    struct xattr **at = find(inode, (*fresh)->name), *old = *at;
    int r = 0;
    if (old != NULL && (flags & XATTR_CREATE))
        r = -EEXIST;
    else if (old == NULL && (flags & XATTR_REPLACE))
        r = -ENODATA;
    else if (!fits(inode, old, (*fresh)->size))
        r = -ENOSPC;
    if (r == 0) {
        (*fresh)->next = old != NULL ? old->next : NULL;
        *at = *fresh;
        *fresh = old;
    }
    mutex_unlock(&inode->lock);
    return r;
}

// --- set ---

struct wish { // what setxattr asks for
    struct xattr *fresh;
    uint32_t flags;
};

/* The arguments behind the object: 0 with an attribute of the caller's. Linux setxattr_copy. */
static int wish_from_user(struct wish *w, const uint64_t arg[static 6])
{
    char name[XATTR_NAME_MAX + 1];
    w->flags = (uint32_t)arg[4];
    if (w->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    int r = name_from_user(name, arg[1]);
    if (r < 0)
        return r;
    if (arg[3] > XATTR_SIZE_MAX)
        return -E2BIG;
    w->fresh = kzalloc(sizeof(*w->fresh) + arg[3]);
    if (w->fresh == NULL)
        return -ENOMEM;
    memcpy(w->fresh->name, name, sizeof(name));
    w->fresh->name_len = (uint8_t)strlen(name);
    w->fresh->size = (uint32_t)arg[3];
    if (arg[3] > 0 && copy_from_user(w->fresh->value, arg[2], arg[3]) < 0) {
        kfree(w->fresh);
        return -EFAULT;
    }
    return 0;
}

static void changed(struct inode *inode, struct dentry *d)
{
    struct attr_change nothing = {0};
    (void)inode_setattr(inode, &nothing); // its ctime
    notify_dentry(d, NOTIFY_ATTRIB);
}

static int64_t set(struct dentry *d, const uint64_t arg[static 6])
{
    struct wish w;
    int r = wish_from_user(&w, arg);
    if (r < 0)
        return r;
    if (d == NULL)
        r = -EOPNOTSUPP;
    else
        r = may_use(d->inode, w.fresh->name, true);
    if (r == 0)
        r = replace(d->inode, &w.fresh, w.flags);
    if (r == 0)
        changed(d->inode, d);
    kfree(w.fresh);
    return r;
}

// --- get, list, remove ---

static int64_t get(struct dentry *d, const uint64_t arg[static 6])
{
    char name[XATTR_NAME_MAX + 1];
    int64_t r = name_from_user(name, arg[1]);
    if (r < 0)
        return r;
    r = d == NULL ? -EOPNOTSUPP : may_use(d->inode, name, false);
    if (r < 0)
        return r;
    mutex_lock(&d->inode->lock);
    const struct xattr *x = *find(d->inode, name);
    if (x == NULL)
        r = -ENODATA;
    else if (arg[3] == 0)
        r = x->size;
    else if (x->size > arg[3])
        r = -ERANGE;
    else
        r = copy_to_user(arg[2], x->value, x->size) < 0 ? -EFAULT : (int64_t)x->size;
    mutex_unlock(&d->inode->lock);
    return r;
}

/* The names, each with its NUL, one after the other. */
static int64_t list(struct dentry *d, const uint64_t arg[static 6])
{
    int64_t bytes = 0;
    if (d == NULL)
        return 0;
    bool privileged = creds_current()->euid == 0;
    mutex_lock(&d->inode->lock);
    for (const struct xattr *x = d->inode->xattrs; x != NULL && bytes >= 0; x = x->next) {
        size_t n = (size_t)x->name_len + 1;
        if (!privileged && begins(x->name, "trusted."))
            continue;
        if (arg[2] != 0 && (uint64_t)bytes + n > arg[2])
            bytes = -ERANGE;
        else if (arg[2] != 0 && copy_to_user(arg[1] + (uint64_t)bytes, x->name, n) < 0)
            bytes = -EFAULT;
        else
            bytes += (int64_t)n;
    }
    mutex_unlock(&d->inode->lock);
    return bytes > XATTR_LIST_MAX ? -E2BIG : bytes;
}

static int64_t drop(struct dentry *d, const uint64_t arg[static 6])
{
    char name[XATTR_NAME_MAX + 1];
    int64_t r = name_from_user(name, arg[1]);
    if (r < 0)
        return r;
    r = d == NULL ? -EOPNOTSUPP : may_use(d->inode, name, true);
    if (r < 0)
        return r;
    mutex_lock(&d->inode->lock);
    struct xattr **at = find(d->inode, name), *old = *at;
    if (old != NULL)
        *at = old->next;
    mutex_unlock(&d->inode->lock);
    if (old == NULL)
        return -ENODATA;
    kfree(old);
    changed(d->inode, d);
    return 0;
}

// --- system calls ---

static int64_t by_path(unsigned walk_flags, const uint64_t arg[static 6],
                       int64_t (*call)(struct dentry *d, const uint64_t arg[static 6]))
{
    struct at_object o;
    int64_t r = at_object(AT_FDCWD, arg[0], walk_flags, &o);
    if (r < 0)
        return r;
    r = call(o.d, arg);
    at_object_done(&o);
    return r;
}

static int64_t by_descriptor(const uint64_t arg[static 6],
                             int64_t (*call)(struct dentry *d, const uint64_t arg[static 6]))
{
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int64_t r = call(f->dentry, arg);
    file_put(f);
    return r;
}

int64_t sys_setxattr(const uint64_t arg[static 6])
{
    return by_path(WALK_FOLLOW, arg, set);
}

int64_t sys_lsetxattr(const uint64_t arg[static 6])
{
    return by_path(0, arg, set);
}

int64_t sys_fsetxattr(const uint64_t arg[static 6])
{
    return by_descriptor(arg, set);
}

int64_t sys_getxattr(const uint64_t arg[static 6])
{
    return by_path(WALK_FOLLOW, arg, get);
}

int64_t sys_lgetxattr(const uint64_t arg[static 6])
{
    return by_path(0, arg, get);
}

int64_t sys_fgetxattr(const uint64_t arg[static 6])
{
    return by_descriptor(arg, get);
}

int64_t sys_listxattr(const uint64_t arg[static 6])
{
    return by_path(WALK_FOLLOW, arg, list);
}

int64_t sys_llistxattr(const uint64_t arg[static 6])
{
    return by_path(0, arg, list);
}

int64_t sys_flistxattr(const uint64_t arg[static 6])
{
    return by_descriptor(arg, list);
}

int64_t sys_removexattr(const uint64_t arg[static 6])
{
    return by_path(WALK_FOLLOW, arg, drop);
}

int64_t sys_lremovexattr(const uint64_t arg[static 6])
{
    return by_path(0, arg, drop);
}

int64_t sys_fremovexattr(const uint64_t arg[static 6])
{
    return by_descriptor(arg, drop);
}
