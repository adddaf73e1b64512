// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Writing an EROFS filesystem in one pass, front to back, as a pure function of its tree: the same
 * tree gives the same bytes. No times (0), nothing compressed, blocks of 4 KiB. Small files, links
 * and the ends of directories lie inline behind their inodes; larger files start on a block of
 * their own, so that a page of the file is a page of the disk.
 *
 *     block 0    1024 bytes for the caller (boot code), superblock, first inodes
 *     ...        inodes with their inline data, about in the order of the tree (parents first)
 *     ...        whole blocks of directories and files, in the order of the tree
 *
 *     r = erofs_layout(&root, &plan, &bad);
 *     r = erofs_emit_meta(&root, &plan, &io, meta);    // then set head and UUID, write it
 *     r = erofs_emit_data(&root, &plan, &io);
 */
#include "base/base.h"
#include "base/errno.h"
#include "fs/erofs.h"

enum {
    EROFS_HEAD_BYTES = 1024,
    EROFS_NODES_MAX = 1 << 20,
    EROFS_DEPTH_MAX = 64,
};
#define EROFS_BYTES_MAX      (1ull << 40) // of the whole filesystem
#define EROFS_META_BYTES_MAX (1ull << 30) // of inodes and what lies inline

/* One file, folder or link. The caller owns everything and fills the first part. */
struct erofs_node {
    const char *name; // 1..EROFS_NAME_MAX bytes without '/'; ignored for the root
    uint16_t mode;    // type and permissions; regular file, folder or symbolic link
    uint32_t uid, gid;
    uint64_t size;    // of a file or link; a folder's is computed
    const void *data; // the contents of a link or file in memory; NULL: asked for by read
    void *source;     // the caller's, for read
    struct erofs_node **children; // of a folder, sorted by erofs_name_order, names distinct
    uint32_t children_n;
    // erofs_layout's:
    struct erofs_node *parent;
    uint64_t nid;
    uint64_t inline_at; // bytes from the start of the filesystem
    uint32_t inline_bytes;
    uint32_t block; // first whole block, counted from the end of the inodes
};

struct erofs_plan {
    uint64_t bytes;       // of the filesystem, whole blocks
    uint64_t meta_blocks; // in front, with block 0
    uint32_t nodes;
};

/* Byte order of names; <0, 0, >0. */
NONNULL int erofs_name_order(const char *a, const char *b);

/* Give everything its place. -EINVAL a name, type or order is wrong; -EFBIG, -ELOOP over a bound.
 * *ret_bad (when not 0) is the node to blame. */
NONNULL MUST_CHECK int erofs_layout(struct erofs_node *root, struct erofs_plan *ret,
                                    const struct erofs_node **ret_bad);

struct erofs_io {
    /* Give len bytes of a file's contents. Asked for once, in the order of the file. 0 or a
     * negative errno. */
    int (*read)(void *ctx, struct erofs_node *node, uint64_t offset, void *to, size_t len);
    /* Take the next len bytes of the filesystem. */
    int (*write)(void *ctx, const void *data, size_t len);
    void *ctx;
    uint8_t *buffer;     // scratch
    size_t buffer_bytes; // a multiple of EROFS_BLOCK, at least one
};

/* The first meta_blocks * 4096 bytes, superblock and inodes included, into memory of that size. The
 * first EROFS_HEAD_BYTES are zero, and so is the UUID: see erofs_set_uuid. Files whose contents are
 * inline are read. 0 or what read returned. */
NONNULL MUST_CHECK int erofs_emit_meta(struct erofs_node *root, const struct erofs_plan *plan,
                                       const struct erofs_io *io, uint8_t *to);
NONNULL void erofs_set_uuid(uint8_t *meta, const uint8_t uuid[static 16]);
/* The whole blocks behind them. 0 or what read or write returned. */
NONNULL MUST_CHECK int erofs_emit_data(struct erofs_node *root, const struct erofs_io *io);
