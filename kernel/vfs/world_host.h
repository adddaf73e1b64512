// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the tests of this folder share: calling system calls, and a tree on a small image. */
#include <stdlib.h>
#include <unistd.h>

#include "base/test.h"
#include "fs/erofs_write.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/vfs/seams_host.h"
#include "kernel/vfs/tree.h"

#define SYS(name, ...) sys_##name((const uint64_t[6]){__VA_ARGS__})
#define U(p)           ((uint64_t)(uintptr_t)(p))
#define CWD            ((uint64_t)AT_FDCWD)

enum { BIG_BYTES = 40 * 4096 + 100 };

// Byte of /big on the image at an offset.
static inline uint8_t big_byte(uint64_t at)
{
    return (uint8_t)(at * 13 + (at >> 9));
}

static inline int world_write(void *ctx, const void *data, size_t len)
{
    return write(*(int *)ctx, data, len) == (ssize_t)len ? 0 : -EIO;
}

static inline int world_read(void *ctx, struct erofs_node *node, uint64_t offset, void *to,
                             size_t len)
{
    (void)ctx;
    (void)node;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)to)[i] = big_byte(offset + i);
    return 0;
}

/* /big, /dir/{a,b,c}, /etc/{link -> passwd, loop -> loop, passwd}, /tmp/shipped */
static inline void world_image(struct block_dev *ret, uint64_t *ret_bytes)
{
    static char path[] = "/tmp/skerry-vfs-test-XXXXXX";
    static uint8_t buffer[4096];
    struct erofs_node a = {.name = "a", .mode = S_REG | 0644, .size = 2, .data = "A\n"};
    struct erofs_node b = {.name = "b", .mode = S_REG | 0644, .size = 2, .data = "B\n"};
    struct erofs_node c = {.name = "c", .mode = S_REG | 0644, .size = 2, .data = "C\n"};
    struct erofs_node *abc[] = {&a, &b, &c};
    struct erofs_node link = {.name = "link", .mode = S_LNK | 0777, .size = 6, .data = "passwd"};
    struct erofs_node loop = {.name = "loop", .mode = S_LNK | 0777, .size = 4, .data = "loop"};
    struct erofs_node passwd = {
        .name = "passwd", .mode = S_REG | 0644, .size = 5, .data = "root\n"};
    struct erofs_node *in_etc[] = {&link, &loop, &passwd};
    struct erofs_node shipped = {.name = "shipped", .mode = S_REG | 0644, .size = 1, .data = "x"};
    struct erofs_node *in_tmp[] = {&shipped};
    struct erofs_node big = {.name = "big", .mode = S_REG | 0644, .size = BIG_BYTES};
    struct erofs_node dir = {.name = "dir", .mode = S_DIR | 0755, .children = abc, .children_n = 3};
    struct erofs_node etc = {
        .name = "etc", .mode = S_DIR | 0755, .children = in_etc, .children_n = 3};
    struct erofs_node tmp = {
        .name = "tmp", .mode = S_DIR | 01777, .children = in_tmp, .children_n = 1};
    struct erofs_node *top[] = {&big, &dir, &etc, &tmp};
    struct erofs_node root = {.mode = S_DIR | 0755, .children = top, .children_n = 4};
    struct erofs_plan plan;
    const struct erofs_node *bad;
    int fd = mkstemp(path);
    struct erofs_io io = {.read = world_read,
                          .write = world_write,
                          .ctx = &fd,
                          .buffer = buffer,
                          .buffer_bytes = sizeof(buffer)};
    ASSERT(fd >= 0 && erofs_layout(&root, &plan, &bad) == 0);
    uint8_t *meta = calloc(plan.meta_blocks, 4096);
    ASSERT(meta != NULL && erofs_emit_meta(&root, &plan, &io, meta) == 0);
    ASSERT(write(fd, meta, plan.meta_blocks * 4096) == (ssize_t)(plan.meta_blocks * 4096));
    ASSERT(erofs_emit_data(&root, &io) == 0);
    free(meta);
    ASSERT(host_disk_open(path, ret) == 0);
    unlink(path);
    close(fd);
    *ret_bytes = plan.bytes;
}

/* Mount it all and make the test the program's first thread. */
static inline struct block_dev *world_init(void)
{
    static struct block_dev dev;
    uint64_t bytes;
    world_image(&dev, &bytes);
    int r = vfs_init(&dev, bytes);
    ASSERT(r == 0);
    host_init();
    return &dev;
}
