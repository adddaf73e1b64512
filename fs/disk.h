// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What EROFS looks like on the disk, for its reader and writer: Linux 6.1 fs/erofs/erofs_fs.h. All
 * numbers are little-endian, as is every machine that we run on. */
#include "base/base.h"

#define EROFS_MAGIC 0xe0f5e1e2u

enum {
    EROFS_SUPER_AT = 1024,
    EROFS_SLOT = 32, // bytes; an inode's nid counts them
    EROFS_SLOT_SHIFT = 5,
    EROFS_LAYOUT_PLAIN = 0,
    EROFS_LAYOUT_INLINE = 2,
    EROFS_FORMAT_EXTENDED = 1,  // bit 0 of an inode's format
    EROFS_INCOMPAT_PADDING = 1, // speaks of compressed files only
    EROFS_XATTR_HEADER = 12,    // bytes, and one entry slot of 4 is counted with it
};

struct erofs_disk_super {
    uint32_t magic;
    uint32_t checksum;
    uint32_t feature_compat;
    uint8_t block_shift;
    uint8_t ext_slots;
    uint16_t root_nid;
    uint64_t inodes;
    uint64_t build_time;
    uint32_t build_time_nsec;
    uint32_t blocks;
    uint32_t meta_block;
    uint32_t xattr_block;
    uint8_t uuid[16];
    uint8_t volume_name[16];
    uint32_t feature_incompat;
    uint16_t compression;
    uint16_t extra_devices;
    uint16_t device_table_slot;
    uint8_t reserved[38];
};
_Static_assert(sizeof(struct erofs_disk_super) == 128, "struct erofs_super_block");

struct erofs_disk_compact {
    uint16_t format;
    uint16_t xattr_count;
    uint16_t mode;
    uint16_t nlink;
    uint32_t size;
    uint32_t reserved;
    uint32_t block_or_rdev;
    uint32_t ino;
    uint16_t uid;
    uint16_t gid;
    uint32_t reserved2;
};
_Static_assert(sizeof(struct erofs_disk_compact) == 32, "struct erofs_inode_compact");

struct erofs_disk_extended {
    uint16_t format;
    uint16_t xattr_count;
    uint16_t mode;
    uint16_t reserved;
    uint64_t size;
    uint32_t block_or_rdev;
    uint32_t ino;
    uint32_t uid;
    uint32_t gid;
    uint64_t mtime;
    uint32_t mtime_nsec;
    uint32_t nlink;
    uint8_t reserved2[16];
};
_Static_assert(sizeof(struct erofs_disk_extended) == 64, "struct erofs_inode_extended");

struct erofs_disk_dirent {
    uint64_t nid;
    uint16_t name_offset;
    uint8_t type;
    uint8_t reserved;
} PACKED;
_Static_assert(sizeof(struct erofs_disk_dirent) == 12, "struct erofs_dirent");
