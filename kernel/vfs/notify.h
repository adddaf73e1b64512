// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What happens in the tree, told to those who watch it (inotify(7); kernel/linux/inotify.c).
 * While nobody watches anything each of these costs a load and a branch. */
#include "kernel/vfs/tree.h"

enum { // Linux IN_*
    NOTIFY_ACCESS = 1,
    NOTIFY_MODIFY = 2,
    NOTIFY_ATTRIB = 4,
    NOTIFY_CLOSE_WRITE = 8,
    NOTIFY_CLOSE_NOWRITE = 0x10,
    NOTIFY_OPEN = 0x20,
    NOTIFY_MOVED_FROM = 0x40,
    NOTIFY_MOVED_TO = 0x80,
    NOTIFY_CREATE = 0x100,
    NOTIFY_DELETE = 0x200,
    NOTIFY_DELETE_SELF = 0x400,
    NOTIFY_MOVE_SELF = 0x800,
    NOTIFY_ISDIR = 0x40000000,
};

extern unsigned notify_watches; // atomic: how many there are

NONNULL void notify_file_slow(const struct file *f, uint32_t what);
void notify_dentry_slow(struct dentry *d, uint32_t what);
NONNULL void notify_inode_slow(struct inode *inode, uint32_t what);
NONNULL void notify_name_slow(struct inode *dir, const char *name, size_t len, bool is_dir,
                              uint32_t what, uint32_t cookie);
NONNULL void notify_gone_slow(struct inode *inode);
uint32_t notify_cookie(void); // ties the two events of a rename

static inline bool notify_on(void)
{
    return UNLIKELY(__atomic_load_n(&notify_watches, __ATOMIC_RELAXED) != 0);
}

/* Something was done with an open file: told to watches of it and of its directory. */
NONNULL static inline void notify_file(const struct file *f, uint32_t what)
{
    if (notify_on())
        notify_file_slow(f, what);
}

/* The same, of what has a name (NULL: it has none, nobody watches). */
static inline void notify_dentry(struct dentry *d, uint32_t what)
{
    if (notify_on())
        notify_dentry_slow(d, what);
}

/* The same, for watches of the inode alone. */
NONNULL static inline void notify_inode(struct inode *inode, uint32_t what)
{
    if (notify_on())
        notify_inode_slow(inode, what);
}

/* A name came or went in a directory. */
NONNULL static inline void notify_name(struct inode *dir, const char *name, size_t len, bool is_dir,
                                       uint32_t what, uint32_t cookie)
{
    if (notify_on())
        notify_name_slow(dir, name, len, is_dir, what, cookie);
}
