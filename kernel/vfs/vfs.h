// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The tree of files: EROFS root under a tmpfs overlay, /dev, /proc, /sys, /tmp. */
#include "base/base.h"
#include "kernel/vfs/file.h"

struct block_dev;
struct fs_context; // root, working directory, umask of a process

enum { PATH_MAX_BYTES = 4096, NAME_MAX_BYTES = 255, SYMLINKS_MAX = 40 };

struct kstat {
    uint64_t dev, ino, nlink, size, blocks, rdev;
    uint32_t mode, uid, gid, blksize;
    uint64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
};

/* Mount: root from an EROFS image of erofs_bytes at the start of dev, writable overlay, /dev /proc
 * /sys /tmp /dev/shm. dev NULL: an empty root (tests). 0 or -errno. Task context (it reads). */
MUST_CHECK int vfs_init(struct block_dev *dev, uint64_t erofs_bytes);

MUST_CHECK struct fs_context *fs_context_new(const char *cwd);
void fs_context_put(struct fs_context *c);

/* Open by kernel path, relative to the current process's working directory (or / before there is
 * one). flags and mode as open(2). 0 or -errno. */
NONNULL MUST_CHECK int vfs_open(const char *path, int flags, uint32_t mode, struct file **ret);

/* The standard streams: a file on the serial console. */
MUST_CHECK struct file *console_file_new(uint32_t flags);

/* Write a whole small file at boot (resolv.conf, hostname ...): parents must exist. */
NONNULL MUST_CHECK int vfs_write_file(const char *path, const void *data, size_t len,
                                      uint32_t mode);
