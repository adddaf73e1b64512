// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Open files: what a descriptor refers to. One const table of operations a kind; every slot set
 * (file_no_* give the Linux error for what a kind does not do). */
#include "base/base.h"
#include "base/errno.h"
#include "kernel/sched/wait.h"
#include "kernel/vfs/uio.h"

struct file;
struct inode;
struct dentry;
struct page;
struct kstat; // vfs/vfs.h
struct async; // vfs/async.h

// Linux O_* that stay with the file.
enum {
    FILE_WRONLY = 01,
    FILE_RDWR = 02,
    FILE_APPEND = 02000,
    FILE_NONBLOCK = 04000,
    FILE_ASYNC = 020000,
    FILE_DIRECT = 040000,
    FILE_PATH = 010000000,
};

struct file_ops {
    const char
        *name; // "socket", "pipe", "eventfd" ... : /proc/self/fd shows name:[n] without a path
    /* Bytes done, 0 at the end, or -errno. pos is NULL for streams and for files without position;
     * otherwise read, used and advanced. `nonblock` is O_NONBLOCK or the call's own wish. */
    int64_t (*read)(struct file *f, struct uio *u, uint64_t *pos, bool nonblock);
    int64_t (*write)(struct file *f, struct uio *u, uint64_t *pos, bool nonblock);
    /* What is true now (EV_*), and where changes are told (NULL: it never changes). Called by poll
     * and epoll, before sleeping and again after each wake. The queue lives as long as the file.
     * Whoever changes the object calls waitq_wake with all that became true, at each new arrival
     * (edge-triggered epoll reports every wake, also when the state was ready before). */
    uint32_t (*poll)(struct file *f, struct waitq **ret_queue);
    int64_t (*ioctl)(struct file *f, uint32_t cmd, uint64_t arg);
    int64_t (*seek)(struct file *f, int64_t offset, int whence);
    int (*stat)(struct file *f, struct kstat *ret);
    /* The page at this index for mapping or sendfile, with a reference. -EFAULT behind the end (the
     * program gets SIGBUS), -ENODEV when this kind cannot be mapped. May sleep. With `write` the
     * page may be written through a shared mapping. */
    int (*get_page)(struct file *f, uint64_t index, bool write, struct page **ret);
    void (*release)(struct file *f); // the last reference is gone; frees f's private parts
    bool async; // O_ASYNC is for it: what its queue is woken for is told by signal
};

struct file {
    const struct file_ops *ops; // immutable
    uint32_t refs;              // atomic
    uint32_t flags;             // FILE_*; atomic (fcntl F_SETFL)
    uint64_t pos;               // protected by pos_lock when shared (f_pos)
    struct mutex pos_lock;
    struct inode *inode;   // immutable; NULL for sockets, pipes, eventfd ...
    struct dentry *dentry; // immutable; where it was opened, NULL as inode
    char *path;            // private to file_path
    struct spinlock epoll_lock;
    struct list epoll_links; // epoll registrations of this file; protected by epoll_lock
    struct async *async;     // of O_ASYNC (async.c); set once
    void *priv;              // the kind's own
};

/* A new file with one reference, or NULL. */
MUST_CHECK struct file *file_new(const struct file_ops *ops, uint32_t flags, void *priv);
// One more reference; returns f.
NONNULL static inline struct file *file_get(struct file *f)
{
    __atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
    return f;
}
void file_put(struct file *f);          // NULL is fine; may sleep
NONNULL void file_free(struct file *f); // for file_put_hot

/* The same without a call where it matters. */
NONNULL static inline void file_put_hot(struct file *f)
{
    if (UNLIKELY(__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) == 0))
        file_free(f);
}

/* Absolute path it was opened by ("" without one), for maps. Lives as long as the file. Task
 * context. */
NONNULL const char *file_path(struct file *f);
/* What /proc/self/fd/N shows: the path (" (deleted)" behind one that is gone) or "name:[n]". */
NONNULL size_t file_describe(struct file *f, char *to, size_t max);

static inline bool file_writable(const struct file *f)
{
    return (f->flags & (FILE_WRONLY | FILE_RDWR)) == FILE_WRONLY ||
           (f->flags & (FILE_WRONLY | FILE_RDWR)) == FILE_RDWR;
}

// memfd.c. Linux F_SEAL_*.
enum { SEAL_SEAL = 1, SEAL_SHRINK = 2, SEAL_GROW = 4, SEAL_WRITE = 8, SEAL_FUTURE_WRITE = 16 };
enum { SEAL_ALL = 31, SEAL_NO_WRITE = SEAL_WRITE | SEAL_FUTURE_WRITE };
NONNULL void file_allow_seals(struct file *f);                  // of a new file of memory
NONNULL uint32_t file_seals(const struct file *f);              // 0 for kinds without
NONNULL int64_t file_get_seals(const struct file *f);           // or -EINVAL
NONNULL int64_t file_add_seals(struct file *f, uint64_t seals); // as F_ADD_SEALS
/* A shared mapping of f comes: 0, or -EPERM when f may be written but is sealed against that; one
 * goes. Never sleep. */
NONNULL MUST_CHECK int file_map_shared(const struct file *f);
NONNULL void file_unmap_shared(const struct file *f);

/* execrule.c. The file is about to be executed or mapped executable: 0; -EACCES when it may not be.
 * Never sleeps. */
NONNULL MUST_CHECK int file_claim_exec(const struct file *f);
void exec_rule_start(void); // at boot: from here on only the image's own files may

/* Kernel-side I/O (loader). */
NONNULL MUST_CHECK int64_t file_read_kernel(struct file *f, void *to, size_t n, uint64_t pos);
NONNULL MUST_CHECK int64_t file_write_kernel(struct file *f, const void *from, size_t n);

int64_t file_no_read(struct file *f, struct uio *u, uint64_t *pos, bool nonblock);  // -EINVAL
int64_t file_no_write(struct file *f, struct uio *u, uint64_t *pos, bool nonblock); // -EINVAL
uint32_t file_always_ready(struct file *f, struct waitq **ret_queue); // IN|OUT, *ret_queue NULL
int64_t file_no_ioctl(struct file *f, uint32_t cmd, uint64_t arg);    // -ENOTTY
int64_t file_no_seek(struct file *f, int64_t offset, int whence);     // -ESPIPE
int64_t file_noop_seek(struct file *f, int64_t offset, int whence);   // 0: eventfd and its like
int file_no_page(struct file *f, uint64_t index, bool write, struct page **ret); // -ENODEV
void file_no_release(struct file *f); // for kinds without private parts
