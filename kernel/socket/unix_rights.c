// SPDX-License-Identifier: Apache-2.0
/* Descriptors in messages (unix(7), cmsg(3)), and sockets' names in the tree of files. */
#include "kernel/socket/unix.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/notify.h"
#include "kernel/vfs/tree.h"

enum { CONTROL_MAX = 20480 }; // net.core.optmem_max

static int rights_add(struct unix_rights *r, uint64_t user, uint64_t bytes)
{
    unsigned n = (unsigned)(bytes / sizeof(int));
    if (n + r->count > UNIX_RIGHTS_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < n; i++) {
        int fd;
        if (copy_from_user(&fd, user + i * sizeof(fd), sizeof(fd)) < 0)
            return -EFAULT;
        struct file *f = fd < 0 ? NULL : fd_get(fd);
        if (f == NULL)
            return -EBADF;
        r->file[r->count++] = f;
    }
    return 0;
}

int unix_rights_take(const struct sock_msg *m, struct unix_rights **ret)
{
    struct unix_rights *r = NULL;
    int error = 0;
    *ret = NULL;
    if (m->control_len > CONTROL_MAX)
        return -EINVAL;
    for (uint64_t at = 0, data; error == 0;) {
        struct sock_cmsg c;
        int n = sock_cmsg_next(m, &at, &c, &data);
        if (n <= 0) {
            error = n;
            break;
        }
        if (c.level != SOL_SOCKET)
            continue;
        if (c.type != SCM_RIGHTS) {
            error = -EINVAL; // also SCM_CREDENTIALS: there is one process, nothing to prove
            break;
        }
        if (r == NULL)
            r = kzalloc(sizeof(*r) + sizeof(r->file[0]) * UNIX_RIGHTS_MAX);
        error = r == NULL ? -ENOMEM : rights_add(r, data, c.len - sizeof(c));
    }
    if (error == 0)
        *ret = r;
    else
        unix_rights_free(r);
    return error;
}

void unix_rights_give(struct sock_msg *m, struct unix_rights *r)
{
    uint64_t room = m->control_len, at = sizeof(struct sock_cmsg);
    unsigned given = 0;
    while (given < r->count && room >= at + sizeof(int)) {
        int fd = fd_install(r->file[given], 0, m->flags & MSG_CMSG_CLOEXEC);
        if (fd < 0)
            break;
        r->file[given++] = NULL;
        if (copy_to_user(m->control + at, &fd, sizeof(fd)) < 0)
            break;
        at += sizeof(fd);
    }
    if (given < r->count)
        m->flags_out |= MSG_CTRUNC;
    struct sock_cmsg c = {.len = at, .level = SOL_SOCKET, .type = SCM_RIGHTS};
    m->control_len = 0;
    if (given > 0 && copy_to_user(m->control, &c, sizeof(c)) == 0)
        m->control_len = MIN(ALIGN_UP(at, (uint64_t)CMSG_ALIGN_BYTES), room);
    unix_rights_free(r);
}

void unix_rights_free(struct unix_rights *r)
{
    for (unsigned i = 0; r != NULL && i < r->count; i++)
        file_put(r->file[i]);
    kfree(r);
}

// ---- names ----

int unix_node_make(const char *path, struct inode **ret)
{
    struct dentry *start, *dir, *d, *made;
    struct walk_last last;
    char *buf = NULL;
    int r = walk_start(AT_FDCWD, path, &start);
    if (r < 0)
        return r;
    r = walk_parent(start, path, &dir, &last, &buf);
    dentry_put(start);
    if (r < 0)
        return r;
    if (last.kind != LAST_NAME || last.slash) {
        r = last.kind == LAST_NAME ? -ENOENT : -EADDRINUSE;
    } else if (!dir->sb->ops->writable) {
        r = dir->sb->ops->make_error;
    } else {
        mutex_lock(&dir->sb->lock);
        r = lookup_locked(dir, last.name, last.len, &d);
        if (r == 0) {
            struct node_make what = {.mode = S_SOCK | (0777 & ~fs_current()->umask)};
            r = d->inode != NULL ? -EADDRINUSE : inode_permission(dir->inode, MAY_WRITE | MAY_EXEC);
            if (r == 0)
                r = memfs_make(dir, d, &what, &made);
            if (r == 0) {
                *ret = inode_get(made->inode);
                notify_name(dir->inode, last.name, last.len, false, NOTIFY_CREATE, 0);
                dentry_put(made);
            }
            dentry_put(d);
        }
        mutex_unlock(&dir->sb->lock);
    }
    kfree(buf);
    dentry_put(dir);
    return r;
}

int unix_node_find(const char *path, struct inode **ret)
{
    struct dentry *start, *d;
    int r = walk_start(AT_FDCWD, path, &start);
    if (r < 0)
        return r;
    r = walk(start, path, WALK_FOLLOW, &d);
    dentry_put(start);
    if (r < 0)
        return r;
    r = inode_permission(d->inode, MAY_WRITE);
    if (r == 0 && (d->inode->mode & S_FMT) != S_SOCK)
        r = -ECONNREFUSED;
    if (r == 0)
        *ret = inode_get(d->inode);
    dentry_put(d);
    return r;
}

void unix_node_put(struct inode *inode)
{
    inode_put(inode);
}
