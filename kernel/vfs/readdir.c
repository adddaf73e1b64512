// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "kernel/vfs/tree.h"

struct dirent_head { // struct linux_dirent64 up to the name
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
} PACKED;

bool dirbuf_add(struct dirbuf *b, const char *name, size_t len, uint64_t ino, uint64_t next_pos,
                unsigned type)
{
    // The old structure has no type before the name but one in its last byte.
    size_t head = sizeof(struct dirent_head) - (b->old ? 1 : 0);
    size_t bytes = ALIGN_UP(head + len + (b->old ? 2 : 1), 8ul);
    if (b->full || bytes > b->max - b->len) {
        b->full = true;
        return false;
    }
    struct dirent_head h = {
        .ino = ino, .off = (int64_t)next_pos, .reclen = (uint16_t)bytes, .type = (uint8_t)type};
    char *at = b->buf + b->len;
    memset(at, 0, bytes);
    memcpy(at, &h, head);
    memcpy(at + head, name, len);
    if (b->old)
        at[bytes - 1] = (char)type;
    b->len += bytes;
    return true;
}

bool dirbuf_dots(struct dirbuf *b, struct dentry *dir, uint64_t *pos)
{
    if (*pos == 0) {
        if (!dirbuf_add(b, ".", 1, dir->inode->ino, 1, S_DIR >> 12))
            return false;
        *pos = 1;
    }
    if (*pos == 1) {
        struct dentry *parent = dentry_parent(dir);
        bool fits = dirbuf_add(b, "..", 2, parent->inode->ino, 2, S_DIR >> 12);
        dentry_put(parent);
        if (!fits)
            return false;
        *pos = 2;
    }
    return true;
}

static int64_t dir_read(struct file *f UNUSED, struct uio *u UNUSED, uint64_t *pos UNUSED,
                        bool nonblock UNUSED)
{
    return -EISDIR;
}

static int64_t dir_seek(struct file *f, int64_t offset, int whence)
{
    if (whence == 1)
        offset += (int64_t)f->pos;
    else if (whence != 0)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    f->pos = (uint64_t)offset;
    return offset;
}

static int dir_stat(struct file *f, struct kstat *ret)
{
    inode_stat(f->inode, ret);
    return 0;
}

const struct file_ops dir_file_ops = {
    .name = "dir",
    .read = dir_read,
    .write = file_no_write,
    .poll = file_always_ready,
    .ioctl = file_no_ioctl,
    .seek = dir_seek,
    .stat = dir_stat,
    .get_page = file_no_page,
    .release = file_no_release,
};
