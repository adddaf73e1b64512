// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Reading an EROFS filesystem (Linux 6.1 fs/erofs/erofs_fs.h): uncompressed files, plain or with an
 * inline tail, in blocks of 4 KiB. Everything on the disk is foreign: whatever its bytes are, these
 * functions end, touch nothing outside their arguments and say -EUCLEAN when the disk makes no
 * sense. Nothing is cached or allocated; stack use is below 1 KiB.
 *
 * Errors of every function: -EUCLEAN the disk is corrupt; -EOPNOTSUPP it uses a feature we do not
 * have (compression, chunks, several devices); or whatever the read callback returned (< 0).
 *
 *     struct erofs fs;
 *     r = erofs_open(&fs, read, ctx, bytes);
 *     r = erofs_inode_read(&fs, fs.root_nid, &dir);
 *     r = erofs_lookup(&fs, &dir, "etc", 3, &nid, &type);
 *     r = erofs_inode_read(&fs, nid, &file);
 *     r = erofs_map(&fs, &file, offset, &at, &len);    // then read the device yourself
 */
#include "base/base.h"
#include "base/errno.h"

enum {
    EROFS_BLOCK = 4096,
    EROFS_BLOCK_SHIFT = 12,
    EROFS_NAME_MAX = 255,
    EROFS_SYMLINK_MAX = 4095,
};

// What the type bits of a mode are, and what directories call them.
enum {
    EROFS_S_IFMT = 0170000,
    EROFS_S_IFSOCK = 0140000,
    EROFS_S_IFLNK = 0120000,
    EROFS_S_IFREG = 0100000,
    EROFS_S_IFBLK = 0060000,
    EROFS_S_IFDIR = 0040000,
    EROFS_S_IFCHR = 0020000,
    EROFS_S_IFIFO = 0010000,
};
enum erofs_type { // as in a directory; 0 unknown
    EROFS_FT_UNKNOWN,
    EROFS_FT_REG,
    EROFS_FT_DIR,
    EROFS_FT_CHR,
    EROFS_FT_BLK,
    EROFS_FT_FIFO,
    EROFS_FT_SOCK,
    EROFS_FT_SYMLINK,
    EROFS_FT_END,
};

/* Copy len bytes (1..EROFS_BLOCK) at byte at of the device to to. Only called with at + len <= the
 * bytes given to erofs_open, and never across a 4 KiB boundary of the device, so that a page cache
 * answers with one page. 0 or a negative errno. */
typedef int erofs_read_fn(void *ctx, uint64_t at, void *to, uint32_t len);

struct erofs {
    erofs_read_fn *read; // borrowed
    void *ctx;           // borrowed
    uint64_t bytes;      // of the filesystem, by its superblock; <= the device's
    uint64_t meta_at;    // where nid 0 is, byte
    uint64_t root_nid;
    uint64_t inodes;     // as the superblock says; for statfs
    uint64_t build_time; // seconds; of inodes that have no time of their own
};

struct erofs_inode {
    uint64_t nid;
    uint64_t size;       // bytes
    uint64_t mtime;      // seconds
    uint64_t data_at;    // byte of the device where whole blocks start
    uint64_t tail_at;    // byte of the device where the inline tail starts
    uint32_t tail_bytes; // 0: none; else it holds the last bytes of the file
    uint32_t mtime_nsec;
    uint32_t uid, gid, nlink, rdev;
    uint16_t mode; // type and permissions
};

/* Read the superblock of a device of bytes bytes. -EINVAL: not EROFS. */
NONNULL MUST_CHECK int erofs_open(struct erofs *fs, erofs_read_fn *read, void *ctx, uint64_t bytes);

/* ret->data_at and tail_at are checked: all of the file lies within the filesystem. */
NONNULL MUST_CHECK int erofs_inode_read(const struct erofs *fs, uint64_t nid,
                                        struct erofs_inode *ret);

/* Find a name of len bytes in a directory. -ENOENT: it is not there; -ENOTDIR; -ENAMETOOLONG.
 * "." and ".." are found as well. */
NONNULL MUST_CHECK int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir,
                                    const char *name, size_t len, uint64_t *ret_nid,
                                    enum erofs_type *ret_type);

struct erofs_dirent {
    uint64_t nid;
    enum erofs_type type;
    uint32_t name_len;
    char name[EROFS_NAME_MAX + 1]; // ended by NUL
};

/* The entry at *offset, which then moves to the next one. Start with 0; any other value must be one
 * that this function left (a foreign one is safe: it gives -EUCLEAN, 0 or an entry). 1 with an
 * entry; 0 at the end; -ENOTDIR. The names "." and ".." are among the entries. */
NONNULL MUST_CHECK int erofs_dir_next(const struct erofs *fs, const struct erofs_inode *dir,
                                      uint64_t *offset, struct erofs_dirent *ret);

/* Where the bytes from offset on lie: *ret_at is a byte of the device, *ret_len how many follow
 * there in one piece (> 0, ends at the end of file). -ERANGE: offset >= size. Whole blocks are
 * aligned to EROFS_BLOCK on the device; the inline tail is not, and does not cross a block. */
NONNULL MUST_CHECK int erofs_map(const struct erofs *fs, const struct erofs_inode *inode,
                                 uint64_t offset, uint64_t *ret_at, uint64_t *ret_len);

/* Copy up to len bytes from offset; returns how many (0 at or behind the end of file). */
NONNULL MUST_CHECK int64_t erofs_read(const struct erofs *fs, const struct erofs_inode *inode,
                                      uint64_t offset, void *to, size_t len);

/* The target of a symbolic link, ended by NUL, into a buffer of max bytes; returns its length.
 * -EINVAL: not a link; -ENAMETOOLONG: does not fit. */
NONNULL MUST_CHECK int erofs_readlink(const struct erofs *fs, const struct erofs_inode *inode,
                                      char *to, size_t max);

/* Follow a path from the root, no symbolic links; for tools and tests ("a/b" and "/a/b" alike). */
NONNULL MUST_CHECK int erofs_walk(const struct erofs *fs, const char *path,
                                  struct erofs_inode *ret);
