// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "kernel/drivers/block.h"
#include "kernel/vfs/tree.h"

struct lower {
    struct erofs fs;       // immutable after lower_open
    struct pagecache meta; // the device itself: superblock, inodes, directories, tails
};

/* erofs_read_fn: never across a page of the device. */
static int meta_read(void *ctx, uint64_t at, void *to, uint32_t len)
{
    struct lower *l = ctx;
    struct page *p;
    int r = pagecache_get(&l->meta, at / PAGE_SIZE, &p);
    if (r < 0)
        return r == -ENOENT ? -EIO : r;
    memcpy(to, (const char *)page_virt(p) + at % PAGE_SIZE, len);
    page_put(p);
    return 0;
}

int lower_open(struct block_dev *dev, uint64_t bytes, struct super *sb)
{
    if (bytes > dev->bytes)
        return -EINVAL;
    struct lower *l = kzalloc(sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    pagecache_init(&l->meta);
    l->meta.dev = dev;
    l->meta.plain_bytes = l->meta.disk_bytes = ALIGN_DOWN(bytes, (uint64_t)PAGE_SIZE);
    int r = erofs_open(&l->fs, meta_read, l, bytes);
    if (r < 0) {
        pagecache_deinit(&l->meta);
        kfree(l);
        return r;
    }
    sb->lower = l;
    return 0;
}

uint64_t lower_root(const struct super *sb)
{
    return sb->lower->fs.root_nid;
}

void lower_usage(const struct super *sb, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
    *ret_bytes = sb->lower != NULL ? sb->lower->fs.bytes : 0;
    *ret_inodes = sb->lower != NULL ? sb->lower->fs.inodes : 0;
}

static void attach_data(struct inode *inode, struct lower *l)
{
    const struct erofs_inode *e = &inode->lower;
    inode->pages.dev = l->meta.dev;
    inode->pages.meta = &l->meta;
    inode->pages.data_at = e->data_at;
    inode->pages.plain_bytes = e->size - e->tail_bytes;
    inode->pages.tail_at = e->tail_at;
    inode->pages.disk_bytes = e->size;
}

int lower_inode(struct super *sb, uint64_t nid, struct inode **ret)
{
    struct erofs_inode e;
    *ret = inode_find(sb, nid);
    if (*ret != NULL)
        return 0;
    int r = erofs_inode_read(&sb->lower->fs, nid, &e);
    if (r < 0)
        return r;
    struct inode *inode = inode_new(sb, nid, e.mode);
    if (inode == NULL)
        return -ENOMEM;
    inode->has_lower = true;
    inode->lower = e;
    inode->uid = e.uid;
    inode->gid = e.gid;
    inode->nlink = e.nlink;
    inode->rdev = e.rdev;
    inode->size = e.size;
    inode->mtime_ns = e.mtime * 1000000000ull + e.mtime_nsec;
    inode->atime_ns = inode->ctime_ns = inode->btime_ns = inode->mtime_ns;
    if ((e.mode & S_FMT) == S_REG)
        attach_data(inode, sb->lower);
    inode_hash(inode);
    *ret = inode;
    return 0;
}

int lower_lookup(struct inode *dir, const char *name, size_t len, struct inode **ret)
{
    uint64_t nid;
    enum erofs_type type;
    int r = erofs_lookup(&dir->sb->lower->fs, &dir->lower, name, len, &nid, &type);
    return r < 0 ? r : lower_inode(dir->sb, nid, ret);
}

int lower_next(struct inode *dir, uint64_t *offset, struct erofs_dirent *ret)
{
    return erofs_dir_next(&dir->sb->lower->fs, &dir->lower, offset, ret);
}

int64_t lower_readlink(struct inode *inode, char *to, size_t max)
{
    return erofs_readlink(&inode->sb->lower->fs, &inode->lower, to, max);
}
