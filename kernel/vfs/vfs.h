// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The tree of files: EROFS root under a tmpfs overlay, /dev, /proc, /sys, /tmp. */
#include "base/base.h"
#include "kernel/vfs/file.h"

struct block_dev;
struct fs_context; // root, working directory, umask of a process

enum { PATH_MAX_BYTES = 4096, NAME_MAX_BYTES = 255, SYMLINKS_MAX = 40 };

// Kinds and permission bits of struct kstat.mode (Linux S_*).
enum {
    S_FMT = 0170000,
    S_SOCK = 0140000,
    S_LNK = 0120000,
    S_REG = 0100000,
    S_BLK = 0060000,
    S_DIR = 0040000,
    S_CHR = 0020000,
    S_FIFO = 0010000,
    S_SETUID = 04000,
    S_SETGID = 02000,
    S_STICKY = 01000,
    S_PERMS = 07777,
};

// open(2) flags that are not kept with the file (see FILE_* for the others).
enum {
    OPEN_CREAT = 0100,
    OPEN_EXCL = 0200,
    OPEN_NOCTTY = 0400,
    OPEN_TRUNC = 01000,
    OPEN_DSYNC = 010000,
    OPEN_ASYNC = 020000,
    OPEN_LARGEFILE = 0100000,
    OPEN_DIRECTORY = 0200000,
    OPEN_NOFOLLOW = 0400000,
    OPEN_NOATIME = 01000000,
    OPEN_CLOEXEC = 02000000,
    OPEN_SYNC = 04010000,
    OPEN_TMPFILE = 020000000,
};

struct kstat {
    uint64_t dev, ino, nlink, size, blocks, rdev;
    uint32_t mode, uid, gid, blksize;
    uint64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
    bool mount_root; // for statx; set by who knows the name
};

/* Mount: root from an EROFS image of erofs_bytes at the start of dev, writable overlay, /dev /proc
 * /sys /tmp /dev/shm. dev NULL: an empty root (tests). 0 or -errno. Task context (it reads). */
MUST_CHECK int vfs_init(struct block_dev *dev, uint64_t erofs_bytes);

MUST_CHECK struct fs_context *fs_context_new(const char *cwd);
NONNULL MUST_CHECK struct fs_context *fs_context_copy(struct fs_context *from); // or NULL
NONNULL struct fs_context *fs_context_get(struct fs_context *c);                // one more user
void fs_context_put(struct fs_context *c);

/* Open by kernel path, relative to the current process's working directory (or / before there is
 * one). flags and mode as open(2). 0 or -errno. */
NONNULL MUST_CHECK int vfs_open(const char *path, int flags, uint32_t mode, struct file **ret);

/* A file of this size without a place in the tree, of memory: what a shared mapping without a file
 * maps. /proc shows it as "/name (deleted)". */
NONNULL MUST_CHECK int vfs_memory_file(const char *name, uint64_t bytes, struct file **ret);

/* The standard streams: a file on the serial console. */
MUST_CHECK struct file *console_file_new(uint32_t flags);

/* Write a whole small file at boot (resolv.conf, hostname ...): parents must exist. */
NONNULL MUST_CHECK int vfs_write_file(const char *path, const void *data, size_t len,
                                      uint32_t mode);

enum {
    ANON_DEV = 15, // st_dev of what is in no tree
    ANON_INO = 1,  // st_ino of eventfd, epoll and timerfd, which share one inode as in Linux
};

/* struct stat of an object without a place in the tree (sockets, pipes ...): kind and permissions
 * in mode, an inode number of its own from vfs_anon_ino(), the current time. */
NONNULL void kstat_anon(struct kstat *ret, uint32_t mode, uint64_t ino);
uint64_t vfs_anon_ino(void);

/* Clean page cache that could be dropped, in bytes: for mem_stats_get. */
uint64_t pagecache_clean_bytes(void);
