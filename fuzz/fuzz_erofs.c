// SPDX-License-Identifier: Apache-2.0
/* The EROFS reader on any bytes: walk the tree, read everything, look every name up again. */
#include "base/mem.h"
#include "fs/erofs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 300, DEPTH_MAX = 8, READS_MAX = 64 };

struct world {
    const uint8_t *data;
    size_t size;
    unsigned steps;
};

static int read_at(void *ctx, uint64_t at, void *to, uint32_t len)
{
    const struct world *w = ctx;
    ASSERT(len > 0 && at / EROFS_BLOCK == (at + len - 1) / EROFS_BLOCK);
    ASSERT(at <= w->size && len <= w->size - at);
    memcpy(to, w->data + at, len);
    return 0;
}

static void visit(struct world *w, const struct erofs *fs, uint64_t nid, unsigned depth)
{
    struct erofs_inode inode;
    struct erofs_dirent e;
    if (depth > DEPTH_MAX || erofs_inode_read(fs, nid, &inode) < 0)
        return;
    char text[4096];
    for (uint64_t i = 0, at = 0; i < READS_MAX; i++) {
        int64_t n = erofs_read(fs, &inode, at, text, 1 + i * 61);
        ASSERT(n <= (int64_t)(1 + i * 61));
        if (n <= 0)
            break;
        at += (uint64_t)n;
    }
    int len = erofs_readlink(fs, &inode, text, sizeof(text));
    ASSERT(len < 0 || strlen(text) == (size_t)len);
    uint64_t offset = 0;
    while (w->steps < STEPS_MAX && erofs_dir_next(fs, &inode, &offset, &e) == 1) {
        uint64_t found;
        enum erofs_type type;
        w->steps++;
        ASSERT(strlen(e.name) == e.name_len && e.name_len > 0 && e.name_len <= EROFS_NAME_MAX);
        int r = erofs_lookup(fs, &inode, e.name, e.name_len, &found, &type);
        ASSERT(r <= 0);
        visit(w, fs, e.nid, depth + 1);
    }
    offset = w->size * 7919; // an offset that nobody left
    int r = erofs_dir_next(fs, &inode, &offset, &e);
    ASSERT(r <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.data = data, .size = size};
    struct erofs fs;
    if (erofs_open(&fs, read_at, &w, size) == 0)
        visit(&w, &fs, fs.root_nid, 0);
    return 0;
}
