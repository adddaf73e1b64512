// SPDX-License-Identifier: Apache-2.0
#include "fs/erofs.h"

#include "base/mem.h"
#include "fs/disk.h"

/* Copy from the device, in pieces that stay within its 4 KiB pages. */
static int device_read(const struct erofs *fs, uint64_t at, void *to, size_t len)
{
    if (at > fs->bytes || len > fs->bytes - at)
        return -EUCLEAN;
    uint8_t *p = to;
    while (len > 0) {
        size_t n = MIN(len, (size_t)(EROFS_BLOCK - at % EROFS_BLOCK));
        int r = fs->read(fs->ctx, at, p, (uint32_t)n);
        if (r < 0)
            return r;
        at += n;
        p += n;
        len -= n;
    }
    return 0;
}

int erofs_open(struct erofs *fs, erofs_read_fn *read, void *ctx, uint64_t bytes)
{
    struct erofs_disk_super super;
    if (bytes < EROFS_BLOCK)
        return -EINVAL;
    *fs = (struct erofs){.read = read, .ctx = ctx, .bytes = bytes};
    int r = device_read(fs, EROFS_SUPER_AT, &super, sizeof(super));
    if (r < 0)
        return r;
    if (super.magic != EROFS_MAGIC)
        return -EINVAL;
    if (super.block_shift != EROFS_BLOCK_SHIFT || super.extra_devices != 0 ||
        (super.feature_incompat & ~(uint32_t)EROFS_INCOMPAT_PADDING) != 0)
        return -EOPNOTSUPP;
    uint64_t used = (uint64_t)super.blocks << EROFS_BLOCK_SHIFT;
    uint64_t meta = (uint64_t)super.meta_block << EROFS_BLOCK_SHIFT;
    if (used == 0 || used > bytes || meta >= used)
        return -EUCLEAN;
    fs->bytes = used;
    fs->meta_at = meta;
    fs->root_nid = super.root_nid;
    fs->inodes = super.inodes;
    fs->build_time = super.build_time;
    return 0;
}

/* Fill *ret from whichever of the two forms is at byte `at`; returns the bytes that the form takes,
 * extended attributes included. */
static int inode_decode(const struct erofs *fs, uint64_t at, struct erofs_inode *ret,
                        uint16_t *ret_format, uint32_t *ret_block)
{
    struct erofs_disk_compact c;
    int r = device_read(fs, at, &c, sizeof(c));
    if (r < 0)
        return r;
    ret->mode = c.mode;
    *ret_format = c.format;
    *ret_block = c.block_or_rdev;
    int bytes = sizeof(c);
    if ((c.format & EROFS_FORMAT_EXTENDED) == 0) {
        ret->size = c.size;
        ret->uid = c.uid;
        ret->gid = c.gid;
        ret->nlink = c.nlink;
        ret->mtime = fs->build_time;
    } else {
        struct erofs_disk_extended x;
        r = device_read(fs, at, &x, sizeof(x));
        if (r < 0)
            return r;
        ret->size = x.size;
        ret->uid = x.uid;
        ret->gid = x.gid;
        ret->nlink = x.nlink;
        ret->mtime = x.mtime;
        ret->mtime_nsec = x.mtime_nsec;
        bytes = sizeof(x);
    }
    if (c.xattr_count > 0)
        bytes += EROFS_XATTR_HEADER + 4 * (c.xattr_count - 1);
    return bytes;
}

/* Where the data is, checked against the filesystem's end. inline_at: what follows the inode. */
static int place_data(const struct erofs *fs, struct erofs_inode *inode, unsigned layout,
                      uint32_t block, uint64_t inline_at)
{
    if (inode->size > fs->bytes)
        return -EUCLEAN;
    uint64_t whole = inode->size;
    if (layout == EROFS_LAYOUT_INLINE) {
        inode->tail_bytes = inode->size % EROFS_BLOCK;
        inode->tail_at = inline_at;
        whole -= inode->tail_bytes;
        if (whole > 0 && inode->tail_bytes == 0) // mkfs never does it and Linux refuses it
            return -EUCLEAN;
        if (inline_at % EROFS_BLOCK + inode->tail_bytes > EROFS_BLOCK || inline_at > fs->bytes ||
            inode->tail_bytes > fs->bytes - inline_at)
            return -EUCLEAN;
    } else if (layout != EROFS_LAYOUT_PLAIN) {
        return -EOPNOTSUPP;
    }
    if (whole == 0)
        return 0;
    inode->data_at = (uint64_t)block << EROFS_BLOCK_SHIFT;
    if (inode->data_at > fs->bytes || whole > fs->bytes - inode->data_at)
        return -EUCLEAN;
    return 0;
}

int erofs_inode_read(const struct erofs *fs, uint64_t nid, struct erofs_inode *ret)
{
    if (nid >= (fs->bytes - fs->meta_at) >> EROFS_SLOT_SHIFT)
        return -EUCLEAN;
    *ret = (struct erofs_inode){.nid = nid};
    uint64_t at = fs->meta_at + (nid << EROFS_SLOT_SHIFT);
    uint16_t format;
    uint32_t block;
    int bytes = inode_decode(fs, at, ret, &format, &block);
    if (bytes < 0)
        return bytes;
    unsigned layout = (unsigned)(format >> 1) & 7;
    if (format >> 4 != 0)
        return -EOPNOTSUPP;
    switch (ret->mode & EROFS_S_IFMT) {
    case EROFS_S_IFLNK:
        if (ret->size == 0 || ret->size > EROFS_SYMLINK_MAX)
            return -EUCLEAN;
        return place_data(fs, ret, layout, block, at + (unsigned)bytes);
    case EROFS_S_IFREG:
    case EROFS_S_IFDIR:
        return place_data(fs, ret, layout, block, at + (unsigned)bytes);
    case EROFS_S_IFCHR:
    case EROFS_S_IFBLK:
        ret->rdev = block;
        ret->size = 0;
        return 0;
    case EROFS_S_IFIFO:
    case EROFS_S_IFSOCK:
        ret->size = 0;
        return 0;
    default:
        return -EUCLEAN;
    }
}

int erofs_map(const struct erofs *fs, const struct erofs_inode *inode, uint64_t offset,
              uint64_t *ret_at, uint64_t *ret_len)
{
    (void)fs;
    if (offset >= inode->size)
        return -ERANGE;
    uint64_t whole = inode->size - inode->tail_bytes;
    if (offset < whole) {
        *ret_at = inode->data_at + offset;
        *ret_len = whole - offset;
    } else {
        *ret_at = inode->tail_at + (offset - whole);
        *ret_len = inode->size - offset;
    }
    return 0;
}

int64_t erofs_read(const struct erofs *fs, const struct erofs_inode *inode, uint64_t offset,
                   void *to, size_t len)
{
    if (offset >= inode->size)
        return 0;
    len = (size_t)MIN((uint64_t)len, inode->size - offset);
    for (size_t done = 0; done < len;) {
        uint64_t at, run;
        int r = erofs_map(fs, inode, offset + done, &at, &run);
        size_t n = r < 0 ? 0 : (size_t)MIN(run, (uint64_t)(len - done));
        r = r < 0 ? r : device_read(fs, at, (uint8_t *)to + done, n);
        if (r < 0)
            return r;
        done += n;
    }
    return (int64_t)len;
}

int erofs_readlink(const struct erofs *fs, const struct erofs_inode *inode, char *to, size_t max)
{
    if ((inode->mode & EROFS_S_IFMT) != EROFS_S_IFLNK)
        return -EINVAL;
    if (inode->size >= max)
        return -ENAMETOOLONG;
    int64_t n = erofs_read(fs, inode, 0, to, (size_t)inode->size);
    if (n < 0)
        return (int)n;
    if (memchr(to, '\0', (size_t)n) != NULL)
        return -EUCLEAN;
    to[n] = '\0';
    return (int)n;
}

/* One block of a directory: entries of 12 bytes, then their names without separators. */
struct dir_block {
    uint64_t at;    // byte of the device; all of the block is contiguous
    uint32_t bytes; // 1..EROFS_BLOCK
    uint32_t count; // entries, at least 1
};

static int dir_block_open(const struct erofs *fs, const struct erofs_inode *dir, uint64_t index,
                          struct dir_block *ret)
{
    struct erofs_disk_dirent first;
    uint64_t offset = index << EROFS_BLOCK_SHIFT, run;
    int r = erofs_map(fs, dir, offset, &ret->at, &run);
    if (r < 0)
        return r;
    ret->bytes = (uint32_t)MIN(dir->size - offset, (uint64_t)EROFS_BLOCK);
    if (run < ret->bytes || ret->bytes <= sizeof(first)) // an entry and a name of one byte
        return -EUCLEAN;
    r = device_read(fs, ret->at, &first, sizeof(first));
    if (r < 0)
        return r;
    if (first.name_offset == 0 || first.name_offset % sizeof(first) != 0 ||
        first.name_offset >= ret->bytes)
        return -EUCLEAN;
    ret->count = first.name_offset / (uint32_t)sizeof(first);
    return 0;
}

/* Entry `index` of a block, which has one. */
static int dir_entry(const struct erofs *fs, const struct dir_block *b, uint32_t index,
                     struct erofs_dirent *ret)
{
    struct erofs_disk_dirent pair[2];
    bool last = index + 1 == b->count;
    int r = device_read(fs, b->at + index * sizeof(pair[0]), pair,
                        last ? sizeof(pair[0]) : sizeof(pair));
    if (r < 0)
        return r;
    uint32_t start = pair[0].name_offset, end = last ? b->bytes : pair[1].name_offset;
    if (start < b->count * sizeof(pair[0]) || start >= end || end > b->bytes)
        return -EUCLEAN;
    uint32_t len = MIN(end - start, (uint32_t)sizeof(ret->name));
    r = device_read(fs, b->at + start, ret->name, len);
    if (r < 0)
        return r;
    if (last) // may be padded with NULs to the end of the block
        len = (uint32_t)strnlen(ret->name, len);
    if (len == 0 || len > EROFS_NAME_MAX)
        return -EUCLEAN;
    ret->name[len] = '\0';
    if (memchr(ret->name, '\0', len) != NULL || memchr(ret->name, '/', len) != NULL)
        return -EUCLEAN;
    ret->name_len = len;
    ret->nid = pair[0].nid;
    ret->type = pair[0].type < EROFS_FT_END ? (enum erofs_type)pair[0].type : EROFS_FT_UNKNOWN;
    return 0;
}

static int name_order(const char *a, size_t alen, const char *b, size_t blen)
{
    int r = memcmp(a, b, MIN(alen, blen));
    return r != 0 ? r : (alen > blen) - (alen < blen);
}

/* The last block whose first name is not behind the name. *ret_entry is scratch and may hold it. */
static int find_block(const struct erofs *fs, const struct erofs_inode *dir, const char *name,
                      size_t len, struct erofs_dirent *scratch, struct dir_block *ret)
{
    uint64_t low = 0, high = (dir->size + EROFS_BLOCK - 1) >> EROFS_BLOCK_SHIFT; // [low, high)
    while (high - low > 1) {
        uint64_t mid = low + (high - low) / 2;
        int r = dir_block_open(fs, dir, mid, ret);
        r = r < 0 ? r : dir_entry(fs, ret, 0, scratch);
        if (r < 0)
            return r;
        if (name_order(scratch->name, scratch->name_len, name, len) <= 0)
            low = mid;
        else
            high = mid;
    }
    return dir_block_open(fs, dir, low, ret);
}

int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name,
                 size_t len, uint64_t *ret_nid, enum erofs_type *ret_type)
{
    if ((dir->mode & EROFS_S_IFMT) != EROFS_S_IFDIR)
        return -ENOTDIR;
    if (len > EROFS_NAME_MAX)
        return -ENAMETOOLONG;
    if (dir->size == 0)
        return -ENOENT;
    struct dir_block block;
    struct erofs_dirent entry;
    int r = find_block(fs, dir, name, len, &entry, &block);
    if (r < 0)
        return r;
    for (uint32_t low = 0, high = block.count; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        r = dir_entry(fs, &block, mid, &entry);
        if (r < 0)
            return r;
        int order = name_order(entry.name, entry.name_len, name, len);
        if (order == 0) {
            *ret_nid = entry.nid;
            *ret_type = entry.type;
            return 0;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return -ENOENT;
}

int erofs_dir_next(const struct erofs *fs, const struct erofs_inode *dir, uint64_t *offset,
                   struct erofs_dirent *ret)
{
    if ((dir->mode & EROFS_S_IFMT) != EROFS_S_IFDIR)
        return -ENOTDIR;
    while (*offset < dir->size) {
        struct dir_block block;
        uint64_t number = *offset >> EROFS_BLOCK_SHIFT;
        uint32_t within = (uint32_t)(*offset % EROFS_BLOCK);
        uint32_t index = within / (uint32_t)sizeof(struct erofs_disk_dirent);
        int r = dir_block_open(fs, dir, number, &block);
        if (r < 0)
            return r;
        if (index >= block.count) {
            *offset = (number + 1) << EROFS_BLOCK_SHIFT;
            continue;
        }
        r = dir_entry(fs, &block, index, ret);
        if (r < 0)
            return r;
        *offset += sizeof(struct erofs_disk_dirent);
        return 1;
    }
    return 0;
}

int erofs_walk(const struct erofs *fs, const char *path, struct erofs_inode *ret)
{
    int r = erofs_inode_read(fs, fs->root_nid, ret);
    while (r == 0) {
        while (*path == '/')
            path++;
        if (*path == '\0')
            return 0;
        const char *slash = strchr(path, '/');
        size_t len = slash != NULL ? (size_t)(slash - path) : strlen(path);
        uint64_t nid;
        enum erofs_type type;
        r = erofs_lookup(fs, ret, path, len, &nid, &type);
        if (r == 0)
            r = erofs_inode_read(fs, nid, ret);
        path += len;
    }
    return r;
}
