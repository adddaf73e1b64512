// SPDX-License-Identifier: Apache-2.0
#include "fs/erofs_write.h"

#include "base/mem.h"
#include "fs/disk.h"

static bool is_dir(const struct erofs_node *n)
{
    return (n->mode & EROFS_S_IFMT) == EROFS_S_IFDIR;
}

static uint64_t blocks_of(uint64_t bytes)
{
    return (bytes + EROFS_BLOCK - 1) >> EROFS_BLOCK_SHIFT;
}

int erofs_name_order(const char *a, const char *b)
{
    while (*a == *b && *a != '\0') {
        a++;
        b++;
    }
    return (int)(uint8_t)*a - (int)(uint8_t)*b;
}

/* The entries of a directory in order, "." and ".." in their places. */
struct dir_walk {
    const struct erofs_node *dir;
    uint32_t child;
    uint32_t dots; // how many of the two were given
};

struct dir_name {
    const char *name;
    size_t len;
    const struct erofs_node *node;
};

static bool walk_next(struct dir_walk *w, struct dir_name *ret)
{
    static const char *const dots[] = {".", ".."};
    const struct erofs_node *child =
        w->child < w->dir->children_n ? w->dir->children[w->child] : NULL;
    if (w->dots < 2 && (child == NULL || erofs_name_order(dots[w->dots], child->name) < 0)) {
        ret->name = dots[w->dots];
        ret->node = w->dots == 0 ? w->dir : w->dir->parent;
        w->dots++;
    } else if (child != NULL) {
        ret->name = child->name;
        ret->node = child;
        w->child++;
    } else {
        return false;
    }
    ret->len = strlen(ret->name);
    return true;
}

/* Move over as many entries as fit into a block; returns their number and the bytes they take. */
static uint32_t walk_block(struct dir_walk *w, uint32_t *ret_bytes)
{
    uint32_t n = 0;
    struct dir_walk ahead = *w;
    struct dir_name e;
    *ret_bytes = 0;
    while (walk_next(&ahead, &e)) {
        uint32_t bytes = (uint32_t)(sizeof(struct erofs_disk_dirent) + e.len);
        if (*ret_bytes + bytes > EROFS_BLOCK)
            break;
        *ret_bytes += bytes;
        *w = ahead;
        n++;
    }
    return n;
}

static uint64_t dir_bytes(const struct erofs_node *dir)
{
    struct dir_walk w = {.dir = dir};
    uint64_t total = 0, last = 0;
    uint32_t bytes;
    while (walk_block(&w, &bytes) > 0) {
        total = ALIGN_UP(total + last, (uint64_t)EROFS_BLOCK);
        last = bytes;
    }
    return total + last;
}

static uint8_t type_of(const struct erofs_node *n)
{
    switch (n->mode & EROFS_S_IFMT) {
    case EROFS_S_IFDIR:
        return EROFS_FT_DIR;
    case EROFS_S_IFLNK:
        return EROFS_FT_SYMLINK;
    default:
        return EROFS_FT_REG;
    }
}

/* Write the next block of a directory into to (zeroed, EROFS_BLOCK bytes unless it is the tail). */
static void dir_emit_block(struct dir_walk *w, uint8_t *to)
{
    struct dir_walk names = *w;
    uint32_t bytes, n = walk_block(w, &bytes);
    uint32_t at = n * (uint32_t)sizeof(struct erofs_disk_dirent);
    for (uint32_t i = 0; i < n; i++) {
        struct dir_name e;
        bool there = walk_next(&names, &e);
        ASSERT(there);
        struct erofs_disk_dirent d = {
            .nid = e.node->nid, .name_offset = (uint16_t)at, .type = type_of(e.node)};
        memcpy(to + i * sizeof(d), &d, sizeof(d));
        memcpy(to + at, e.name, e.len);
        at += (uint32_t)e.len;
    }
    ASSERT(at == bytes && at <= EROFS_BLOCK);
}

static uint32_t nlink_of(const struct erofs_node *n)
{
    uint32_t links = is_dir(n) ? 2 : 1;
    for (uint32_t i = 0; is_dir(n) && i < n->children_n; i++)
        links += is_dir(n->children[i]);
    return links;
}

static uint32_t inode_bytes(const struct erofs_node *n)
{
    bool extended = n->uid > UINT16_MAX || n->gid > UINT16_MAX || n->size > UINT32_MAX ||
                    nlink_of(n) > UINT16_MAX;
    return extended ? sizeof(struct erofs_disk_extended) : sizeof(struct erofs_disk_compact);
}

/* How much of the end lies behind the inode: all of a small file, the last part of a directory or
 * link. The end of a large file does not: its pages shall be pages of the disk. */
static uint32_t tail_bytes(const struct erofs_node *n)
{
    uint32_t room = EROFS_BLOCK - inode_bytes(n);
    if (type_of(n) == EROFS_FT_REG && n->size > room)
        return 0;
    uint32_t tail = (uint32_t)(n->size % EROFS_BLOCK);
    return tail <= room ? tail : 0;
}

static bool name_is_right(const char *name)
{
    size_t len = strnlen(name, EROFS_NAME_MAX + 1);
    return len > 0 && len <= EROFS_NAME_MAX && memchr(name, '/', len) == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool node_is_right(const struct erofs_node *n)
{
    switch (n->mode & EROFS_S_IFMT) {
    case EROFS_S_IFDIR:
        for (uint32_t i = 0; i < n->children_n; i++)
            if (!name_is_right(n->children[i]->name) ||
                (i > 0 && erofs_name_order(n->children[i - 1]->name, n->children[i]->name) >= 0))
                return false;
        return true;
    case EROFS_S_IFLNK:
        return n->size > 0 && n->size <= EROFS_SYMLINK_MAX && n->data != NULL;
    case EROFS_S_IFREG:
        return true;
    default:
        return false;
    }
}

enum { OPEN_BLOCKS = 8 };

struct layout {
    // Blocks of inodes that still have room, so that what is small fills the gaps of what is large.
    struct {
        uint64_t at;   // byte of the filesystem
        uint32_t used; // bytes, whole slots
    } open[OPEN_BLOCKS];
    uint64_t meta; // blocks of inodes so far
    uint64_t data; // blocks behind them so far
    uint32_t nodes;
    const struct erofs_node *bad;
};

/* A place for an inode and what lies inline, which share a block: in the first open block that has
 * room, or in a new one, which takes the place of the fullest. */
static uint64_t take_meta(struct layout *l, uint32_t bytes)
{
    uint32_t fullest = 0;
    for (uint32_t i = 0; i < OPEN_BLOCKS; i++) {
        if (EROFS_BLOCK - l->open[i].used >= bytes) {
            uint64_t at = l->open[i].at + l->open[i].used;
            l->open[i].used += ALIGN_UP(bytes, (uint32_t)EROFS_SLOT);
            return at;
        }
        if (l->open[i].used > l->open[fullest].used)
            fullest = i;
    }
    l->open[fullest].at = l->meta++ << EROFS_BLOCK_SHIFT;
    l->open[fullest].used = ALIGN_UP(bytes, (uint32_t)EROFS_SLOT);
    return l->open[fullest].at;
}

static int lay(struct layout *l, struct erofs_node *n, struct erofs_node *parent, unsigned depth)
{
    l->bad = n;
    if (depth > EROFS_DEPTH_MAX)
        return -ELOOP;
    if (!node_is_right(n))
        return -EINVAL;
    if (++l->nodes > EROFS_NODES_MAX || n->size > EROFS_BYTES_MAX)
        return -EFBIG;
    n->parent = parent;
    if (is_dir(n))
        n->size = dir_bytes(n);
    n->inline_bytes = tail_bytes(n);
    uint32_t bytes = inode_bytes(n) + n->inline_bytes;
    uint64_t at = take_meta(l, bytes);
    n->nid = at >> EROFS_SLOT_SHIFT;
    n->inline_at = at + inode_bytes(n);
    n->block = (uint32_t)l->data;
    l->data += blocks_of(n->size - n->inline_bytes);
    if (l->meta > blocks_of(EROFS_META_BYTES_MAX) || l->data > blocks_of(EROFS_BYTES_MAX))
        return -EFBIG;
    for (uint32_t i = 0; is_dir(n) && i < n->children_n; i++) {
        int r = lay(l, n->children[i], n, depth + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

int erofs_layout(struct erofs_node *root, struct erofs_plan *ret, const struct erofs_node **ret_bad)
{
    struct layout l = {.meta = 1};
    l.open[0].used = EROFS_SUPER_AT + sizeof(struct erofs_disk_super);
    for (uint32_t i = 1; i < OPEN_BLOCKS; i++)
        l.open[i].used = EROFS_BLOCK;
    int r = lay(&l, root, root, 0);
    if (r == 0 && !is_dir(root)) {
        r = -EINVAL;
        l.bad = root;
    }
    if (r < 0) {
        *ret_bad = l.bad;
        return r;
    }
    *ret = (struct erofs_plan){.meta_blocks = l.meta, .nodes = l.nodes};
    ret->bytes = (ret->meta_blocks + l.data) << EROFS_BLOCK_SHIFT;
    return 0;
}

static void emit_inode(const struct erofs_node *n, const struct erofs_plan *plan, uint8_t *meta)
{
    uint8_t *to = meta + (n->nid << EROFS_SLOT_SHIFT);
    uint16_t layout = n->inline_bytes > 0 ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN;
    uint32_t block = (uint32_t)plan->meta_blocks + n->block;
    if (inode_bytes(n) == sizeof(struct erofs_disk_compact)) {
        struct erofs_disk_compact c = {.format = (uint16_t)(layout << 1),
                                       .mode = n->mode,
                                       .nlink = (uint16_t)nlink_of(n),
                                       .size = (uint32_t)n->size,
                                       .block_or_rdev = block,
                                       .ino = (uint32_t)n->nid,
                                       .uid = (uint16_t)n->uid,
                                       .gid = (uint16_t)n->gid};
        memcpy(to, &c, sizeof(c));
    } else {
        struct erofs_disk_extended x = {.format = (uint16_t)(layout << 1 | EROFS_FORMAT_EXTENDED),
                                        .mode = n->mode,
                                        .size = n->size,
                                        .block_or_rdev = block,
                                        .ino = (uint32_t)n->nid,
                                        .uid = n->uid,
                                        .gid = n->gid,
                                        .nlink = nlink_of(n)};
        memcpy(to, &x, sizeof(x));
    }
}

static int emit_inline(struct erofs_node *n, const struct erofs_io *io, uint8_t *meta)
{
    uint8_t *to = meta + n->inline_at;
    uint64_t start = n->size - n->inline_bytes;
    if (n->inline_bytes == 0)
        return 0;
    if (is_dir(n)) {
        struct dir_walk w = {.dir = n};
        uint32_t ignored;
        for (uint64_t i = 0; i < blocks_of(start); i++)
            walk_block(&w, &ignored);
        dir_emit_block(&w, to);
        return 0;
    }
    if (n->data == NULL)
        return io->read(io->ctx, n, start, to, n->inline_bytes);
    memcpy(to, (const uint8_t *)n->data + start, n->inline_bytes);
    return 0;
}

static int emit_meta_of(struct erofs_node *n, const struct erofs_plan *plan,
                        const struct erofs_io *io, uint8_t *meta)
{
    emit_inode(n, plan, meta);
    int r = emit_inline(n, io, meta);
    for (uint32_t i = 0; r == 0 && is_dir(n) && i < n->children_n; i++)
        r = emit_meta_of(n->children[i], plan, io, meta);
    return r;
}

int erofs_emit_meta(struct erofs_node *root, const struct erofs_plan *plan,
                    const struct erofs_io *io, uint8_t *to)
{
    memset(to, 0, (size_t)plan->meta_blocks << EROFS_BLOCK_SHIFT);
    struct erofs_disk_super super = {.magic = EROFS_MAGIC,
                                     .block_shift = EROFS_BLOCK_SHIFT,
                                     .root_nid = (uint16_t)root->nid,
                                     .inodes = plan->nodes,
                                     .blocks = (uint32_t)blocks_of(plan->bytes)};
    memcpy(to + EROFS_SUPER_AT, &super, sizeof(super));
    return emit_meta_of(root, plan, io, to);
}

void erofs_set_uuid(uint8_t *meta, const uint8_t uuid[static 16])
{
    memcpy(meta + EROFS_SUPER_AT + offsetof(struct erofs_disk_super, uuid), uuid, 16);
}

/* Blocks gather in the buffer, so that many small files go out together. */
struct gather {
    const struct erofs_io *io;
    size_t used; // of io->buffer, a multiple of EROFS_BLOCK
};

static int flush(struct gather *g)
{
    size_t len = g->used;
    g->used = 0;
    return len > 0 ? g->io->write(g->io->ctx, g->io->buffer, len) : 0;
}

static int emit_dir(const struct erofs_node *n, uint64_t bytes, struct gather *g)
{
    struct dir_walk w = {.dir = n};
    int r = 0;
    for (uint64_t done = 0; r == 0 && done < bytes; done += EROFS_BLOCK) {
        memset(g->io->buffer + g->used, 0, EROFS_BLOCK);
        dir_emit_block(&w, g->io->buffer + g->used);
        g->used += EROFS_BLOCK;
        r = g->used == g->io->buffer_bytes ? flush(g) : 0;
    }
    return r;
}

/* The whole blocks of a file, the last one filled up with zeros. */
static int emit_file(struct erofs_node *n, uint64_t bytes, struct gather *g)
{
    const struct erofs_io *io = g->io;
    int r = 0;
    for (uint64_t done = 0; r == 0 && done < bytes;) {
        uint8_t *to = io->buffer + g->used;
        size_t len = (size_t)MIN(bytes - done, (uint64_t)(io->buffer_bytes - g->used));
        size_t padded = ALIGN_UP(len, (size_t)EROFS_BLOCK);
        if (n->data != NULL)
            memcpy(to, (const uint8_t *)n->data + done, len);
        else
            r = io->read(io->ctx, n, done, to, len);
        memset(to + len, 0, padded - len);
        g->used += padded;
        done += len;
        r = r == 0 && g->used == io->buffer_bytes ? flush(g) : r;
    }
    return r;
}

static int emit_below(struct erofs_node *n, struct gather *g)
{
    uint64_t bytes = n->size - n->inline_bytes;
    int r = is_dir(n) ? emit_dir(n, bytes, g) : emit_file(n, bytes, g);
    for (uint32_t i = 0; r == 0 && is_dir(n) && i < n->children_n; i++)
        r = emit_below(n->children[i], g);
    return r;
}

int erofs_emit_data(struct erofs_node *root, const struct erofs_io *io)
{
    struct gather g = {.io = io};
    int r = emit_below(root, &g);
    return r < 0 ? r : flush(&g);
}
