// SPDX-License-Identifier: Apache-2.0
/* The reader against our writer and against mkfs.erofs; the writer against fsck.erofs. */
#include "fs/erofs.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "fs/disk.h"
#include "fs/erofs_write.h"

extern char **environ;

enum { MANY = 3000, BIG = 3 * EROFS_BLOCK + 1234 };

// ---- a filesystem in memory

struct image {
    uint8_t *data;
    uint64_t bytes;
    uint64_t written;
};

static int image_read(void *ctx, uint64_t at, void *to, uint32_t len)
{
    struct image *im = ctx;
    ASSERT(len > 0 && at / EROFS_BLOCK == (at + len - 1) / EROFS_BLOCK);
    ASSERT(at + len <= im->bytes);
    memcpy(to, im->data + at, len);
    return 0;
}

static int image_write(void *ctx, const void *data, size_t len)
{
    struct image *im = ctx;
    if (len > im->bytes - im->written)
        return -ENOSPC;
    memcpy(im->data + im->written, data, len);
    im->written += len;
    return 0;
}

// The contents of files that have none in memory.
static uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 8));
}

static int file_read_pattern(UNUSED void *ctx, UNUSED struct erofs_node *node, uint64_t offset,
                             void *to, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)to)[i] = pattern(offset + i);
    return 0;
}

static int image_make(struct erofs_node *root, struct image *im)
{
    static uint8_t buffer[2 * EROFS_BLOCK];
    struct erofs_plan plan;
    const struct erofs_node *bad;
    int r = erofs_layout(root, &plan, &bad);
    if (r < 0)
        return r;
    *im = (struct image){.data = malloc(plan.bytes), .bytes = plan.bytes};
    struct erofs_io io = {.read = file_read_pattern,
                          .write = image_write,
                          .ctx = im,
                          .buffer = buffer,
                          .buffer_bytes = sizeof(buffer)};
    r = erofs_emit_meta(root, &plan, &io, im->data);
    im->written = plan.meta_blocks * EROFS_BLOCK;
    return r < 0 ? r : erofs_emit_data(root, &io);
}

// ---- the tree that the tests write

static struct erofs_node *many[MANY], many_nodes[MANY];
static char many_names[MANY][64];
static struct erofs_node big = {.name = "big", .mode = EROFS_S_IFREG | 0755, .size = BIG},
                         exact = {.name = "exact", .mode = EROFS_S_IFREG | 0644, .size = 8192},
                         small = {.name = "small",
                                  .mode = EROFS_S_IFREG | 0600,
                                  .size = 5,
                                  .data = "hello",
                                  .uid = 70000,
                                  .gid = 12},
                         empty = {.name = "empty", .mode = EROFS_S_IFREG | 0644},
                         inner = {.name = "inner", .mode = EROFS_S_IFREG | 0644, .size = 4064},
                         link_ = {.name = "link",
                                  .mode = EROFS_S_IFLNK | 0777,
                                  .size = 9,
                                  .data = "sub/inner"};
static struct erofs_node *sub_children[] = {&inner};
static struct erofs_node sub = {.name = "sub",
                                .mode = EROFS_S_IFDIR | 0750,
                                .children = sub_children,
                                .children_n = 1},
                         dir = {.name = "-many", .mode = EROFS_S_IFDIR | 0755, .children = many};
static struct erofs_node *root_children[] = {&dir, &big, &empty, &exact, &link_, &small, &sub};
static struct erofs_node root = {.mode = EROFS_S_IFDIR | 0755,
                                 .children = root_children,
                                 .children_n = ARRAY_LEN(root_children)};

static void tree_init(uint32_t files)
{
    dir.children_n = files;
    for (uint32_t i = 0; i < files; i++) {
        snprintf(many_names[i], sizeof(many_names[i]), "a%05u-%.*s", i * 3, (int)(i % 40),
                 "0123456789012345678901234567890123456789");
        many_nodes[i] = (struct erofs_node){
            .name = many_names[i], .mode = EROFS_S_IFREG | 0644, .size = i % 90};
        many[i] = &many_nodes[i];
    }
}

static void check_pattern(struct test *t, const struct erofs *fs, const char *path, uint64_t size)
{
    struct erofs_inode inode;
    uint8_t buf[5000];
    CHECK_EQ(t, erofs_walk(fs, path, &inode), 0);
    CHECK_EQ(t, inode.size, size);
    for (uint64_t at = 0; at < size;) {
        int64_t n = erofs_read(fs, &inode, at, buf, sizeof(buf));
        CHECK_EQ(t, n, MIN(size - at, (uint64_t)sizeof(buf)));
        for (int64_t i = 0; i < n; i++)
            CHECK_EQ(t, buf[i], pattern(at + (uint64_t)i));
        at += (uint64_t)n;
    }
    CHECK_EQ(t, erofs_read(fs, &inode, size, buf, 1), 0);
    uint64_t at, len;
    CHECK_EQ(t, erofs_map(fs, &inode, size, &at, &len), -ERANGE);
}

static void check_tree(struct test *t, const struct erofs *fs)
{
    struct erofs_inode inode;
    check_pattern(t, fs, "/big", BIG);
    check_pattern(t, fs, "/exact", 8192);
    check_pattern(t, fs, "sub/inner", 4064);
    check_pattern(t, fs, "/empty", 0);
    CHECK_EQ(t, erofs_walk(fs, "/small", &inode), 0);
    CHECK_EQ(t, inode.uid, 70000);
    CHECK_EQ(t, inode.gid, 12);
    CHECK_EQ(t, inode.mode, EROFS_S_IFREG | 0600);
    CHECK_EQ(t, inode.mtime, 0);
    char text[16];
    CHECK_EQ(t, erofs_read(fs, &inode, 1, text, 16), 4);
    CHECK_EQ(t, memcmp(text, "ello", 4), 0);
    CHECK_EQ(t, erofs_readlink(fs, &inode, text, sizeof(text)), -EINVAL);
    CHECK_EQ(t, erofs_walk(fs, "/link", &inode), 0);
    CHECK_EQ(t, erofs_readlink(fs, &inode, text, 9), -ENAMETOOLONG);
    CHECK_EQ(t, erofs_readlink(fs, &inode, text, sizeof(text)), 9);
    CHECK_STR(t, text, "sub/inner");
    CHECK_EQ(t, erofs_walk(fs, "/sub/..", &inode), 0);
    CHECK_EQ(t, inode.nid, fs->root_nid);
    CHECK_EQ(t, inode.nlink, 4);
    CHECK_EQ(t, erofs_walk(fs, "/sub/inner/x", &inode), -ENOTDIR);
    CHECK_EQ(t, erofs_walk(fs, "/nothing", &inode), -ENOENT);
    for (uint32_t i = 0; i < dir.children_n; i++) {
        char path[128];
        snprintf(path, sizeof(path), "/-many/%s", many_names[i]);
        check_pattern(t, fs, path, i % 90);
        snprintf(path, sizeof(path), "/-many/a%05u", i * 3 + 1);
        CHECK_EQ(t, erofs_walk(fs, path, &inode), -ENOENT);
    }
}

static void check_listing(struct test *t, const struct erofs *fs)
{
    struct erofs_inode inode;
    struct erofs_dirent e;
    uint64_t offset = 0;
    uint32_t n = 0, dots = 0;
    CHECK_EQ(t, erofs_walk(fs, "-many", &inode), 0);
    while (erofs_dir_next(fs, &inode, &offset, &e) == 1) {
        if (e.name[0] == '.') {
            CHECK_EQ(t, e.type, EROFS_FT_DIR);
            dots++;
            continue;
        }
        CHECK_EQ(t, e.type, EROFS_FT_REG);
        CHECK_STR(t, e.name, many_names[n]);
        n++;
    }
    CHECK_EQ(t, n, dir.children_n);
    CHECK_EQ(t, dots, 2);
    CHECK_EQ(t, erofs_dir_next(fs, &inode, &offset, &e), 0);
}

static void test_round_trip(struct test *t)
{
    // Sizes of the folder: inline only, blocks with an inline tail, with and without much room.
    static const uint32_t sizes[] = {0, 1, 50, 100, 130, 131, 132, 133, 134, 135, 136, MANY};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct image im;
        struct erofs fs;
        tree_init(sizes[i]);
        CHECK_EQ(t, image_make(&root, &im), 0);
        CHECK_EQ(t, im.written, im.bytes);
        CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes), 0);
        CHECK_EQ(t, fs.inodes, 9 + sizes[i]);
        check_tree(t, &fs);
        check_listing(t, &fs);
        free(im.data);
    }
}

// A tree of random shape: names of all lengths and bytes, sizes around those that matter.
struct grove {
    uint64_t random;
    struct erofs_node nodes[512];
    char names[512][EROFS_NAME_MAX + 1];
    struct erofs_node *lists[512][32];
    uint32_t n;
};

static uint32_t pick(struct grove *g, uint32_t below)
{
    g->random = g->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(g->random >> 33) % below;
}

static int order_nodes(const void *a, const void *b)
{
    const struct erofs_node *const *x = a, *const *y = b;
    return erofs_name_order((*x)->name, (*y)->name);
}

static struct erofs_node *grow(struct grove *g, unsigned depth)
{
    static const uint64_t sizes[] = {0, 1, 31, 2000, 4031, 4032, 4063, 4064, 4065, 4096, 9000};
    uint32_t id = g->n++, len = pick(g, 4) == 0 ? 1 + pick(g, 250) : 1 + pick(g, 12);
    struct erofs_node *n = &g->nodes[id];
    for (uint32_t i = 0; i < len; i++)
        g->names[id][i] = (char)(1 + pick(g, 255));
    for (uint32_t i = 0; i < len; i++)
        if (g->names[id][i] == '/' || g->names[id][i] == '.')
            g->names[id][i] = '-';
    snprintf(g->names[id] + MIN(len, 248u), 6, "%u", id); // distinct
    *n = (struct erofs_node){.name = g->names[id],
                             .mode = EROFS_S_IFREG | 0644,
                             .size = sizes[pick(g, ARRAY_LEN(sizes))],
                             .uid = pick(g, 3) == 0 ? 100000 : 7};
    if (depth > 0 && (depth == 4 || pick(g, 2) == 0)) {
        n->mode = EROFS_S_IFDIR | 0755;
        n->children = g->lists[id];
        for (uint32_t want = pick(g, 33); n->children_n < want && g->n < ARRAY_LEN(g->nodes);)
            n->children[n->children_n++] = grow(g, depth - 1);
        qsort(n->children, n->children_n, sizeof(n->children[0]), order_nodes);
    }
    return n;
}

static void check_node(struct test *t, const struct erofs *fs, const struct erofs_node *n,
                       uint64_t nid)
{
    struct erofs_inode inode;
    CHECK_EQ(t, erofs_inode_read(fs, nid, &inode), 0);
    CHECK_EQ(t, inode.mode, n->mode);
    CHECK_EQ(t, inode.uid, n->uid);
    CHECK_EQ(t, inode.size, n->size);
    if ((n->mode & EROFS_S_IFMT) != EROFS_S_IFDIR) {
        uint8_t buf[9000];
        CHECK_EQ(t, erofs_read(fs, &inode, 0, buf, sizeof(buf)), n->size);
        for (uint64_t i = 0; i < n->size; i++)
            CHECK_EQ(t, buf[i], pattern(i));
        return;
    }
    for (uint32_t i = 0; i < n->children_n && !t->failed; i++) {
        const char *name = n->children[i]->name;
        uint64_t child;
        enum erofs_type type;
        CHECK_EQ(t, erofs_lookup(fs, &inode, name, strlen(name), &child, &type), 0);
        check_node(t, fs, n->children[i], child);
    }
}

static void test_random_trees(struct test *t)
{
    struct grove *g = calloc(1, sizeof(*g));
    for (uint64_t seed = 1; seed <= 40 && !t->failed; seed++) {
        struct image im;
        struct erofs fs;
        memset(g, 0, sizeof(*g));
        g->random = seed;
        struct erofs_node *top = grow(g, 4);
        CHECK_EQ(t, image_make(top, &im), 0);
        CHECK_EQ(t, im.written, im.bytes);
        CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes), 0);
        CHECK_EQ(t, fs.inodes, g->n);
        check_node(t, &fs, top, fs.root_nid);
        free(im.data);
    }
    free(g);
}

static void test_same_tree_same_bytes(struct test *t)
{
    struct image a, b;
    tree_init(500);
    CHECK_EQ(t, image_make(&root, &a), 0);
    CHECK_EQ(t, image_make(&root, &b), 0);
    CHECK_EQ(t, a.bytes, b.bytes);
    CHECK_EQ(t, memcmp(a.data, b.data, a.bytes), 0);
    free(a.data);
    free(b.data);
}

static void test_large_files_are_aligned(struct test *t)
{
    struct image im;
    struct erofs fs;
    struct erofs_inode inode;
    uint64_t at, len;
    tree_init(10);
    CHECK_EQ(t, image_make(&root, &im), 0);
    CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes), 0);
    CHECK_EQ(t, erofs_walk(&fs, "/big", &inode), 0);
    CHECK_EQ(t, erofs_map(&fs, &inode, 4096, &at, &len), 0);
    CHECK_EQ(t, at % EROFS_BLOCK, 0);
    CHECK_EQ(t, len, BIG - 4096);
    free(im.data);
}

static void test_writer_refuses(struct test *t)
{
    struct erofs_plan plan;
    const struct erofs_node *bad = NULL;
    struct erofs_node a = {.name = "a", .mode = EROFS_S_IFREG}, b = a,
                      up = {.name = "..", .mode = EROFS_S_IFREG},
                      slash = {.name = "x/y", .mode = EROFS_S_IFREG},
                      pipe_ = {.name = "p", .mode = EROFS_S_IFIFO},
                      huge = {.name = "h", .mode = EROFS_S_IFREG, .size = 1ull << 60},
                      none = {.name = "l", .mode = EROFS_S_IFLNK, .data = ""};
    struct erofs_node *lists[][2] = {{&a, &b}, {&up}, {&slash}, {&pipe_}, {&huge}, {&none}};
    static const int wanted[] = {-EINVAL, -EINVAL, -EINVAL, -EINVAL, -EFBIG, -EINVAL};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct erofs_node top = {
            .mode = EROFS_S_IFDIR, .children = lists[i], .children_n = i == 0 ? 2 : 1};
        CHECK_EQ(t, erofs_layout(&top, &plan, &bad), wanted[i]);
        CHECK(t, bad != NULL);
    }
    CHECK_EQ(t, erofs_layout(&a, &plan, &bad), -EINVAL);
}

static void test_reader_refuses(struct test *t)
{
    struct image im;
    struct erofs fs;
    struct erofs_inode inode;
    tree_init(3);
    CHECK_EQ(t, image_make(&root, &im), 0);
    CHECK_EQ(t, erofs_open(&fs, image_read, &im, 100), -EINVAL);
    CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes - EROFS_BLOCK), -EUCLEAN);
    struct erofs_disk_super *super = (void *)(im.data + EROFS_SUPER_AT);
    super->feature_incompat = 2;
    CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes), -EOPNOTSUPP);
    super->feature_incompat = 0;
    CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes), 0);
    CHECK_EQ(t, erofs_inode_read(&fs, UINT64_MAX, &inode), -EUCLEAN);
    CHECK_EQ(t, erofs_inode_read(&fs, UINT64_MAX / 32, &inode), -EUCLEAN);
    struct erofs_disk_compact *c = (void *)(im.data + big.nid * EROFS_SLOT);
    c->block_or_rdev = 0xffffffff;
    CHECK_EQ(t, erofs_walk(&fs, "big", &inode), -EUCLEAN);
    c->format = 1 << 1; // compressed
    CHECK_EQ(t, erofs_walk(&fs, "big", &inode), -EOPNOTSUPP);
    super->magic = 0;
    CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes), -EINVAL);
    free(im.data);
}

// ---- erofs-utils

static int run(const char *const *words)
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    char *argv[8] = {0};
    for (size_t i = 0; words[i] != NULL && i < ARRAY_LEN(argv) - 1; i++)
        argv[i] = strdup(words[i]);
    int r = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
    if (r == 0)
        waitpid(pid, &status, 0);
    for (size_t i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    posix_spawn_file_actions_destroy(&quiet);
    return r != 0 ? -r : WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void test_fsck_accepts(struct test *t)
{
    struct image im;
    char path[] = "/tmp/skerry-erofs-test-XXXXXX";
    int fd = mkstemp(path);
    tree_init(MANY);
    CHECK_EQ(t, image_make(&root, &im), 0);
    CHECK_EQ(t, write(fd, im.data, im.bytes), im.bytes);
    int r = run((const char *const[]){"fsck.erofs", "--extract", path, NULL});
    close(fd);
    unlink(path);
    free(im.data);
    if (r == -ENOENT)
        SKIP(t, "no fsck.erofs");
    CHECK_EQ(t, r, 0);
}

static void put_file(const char *folder, const struct erofs_node *n)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, n->name);
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    uint8_t *data = malloc(n->size + 1);
    file_read_pattern(NULL, NULL, 0, data, n->size);
    ssize_t done = write(fd, n->data != NULL ? n->data : data, n->size);
    ASSERT(done == (ssize_t)n->size);
    ASSERT(fchmod(fd, n->mode & 07777) == 0);
    int ignored = fchown(fd, n->uid, n->gid);
    (void)ignored;
    close(fd);
    free(data);
}

static void check_made_by_mkfs(struct test *t, const char *scratch)
{
    char tree[128], path[160], file[128];
    snprintf(tree, sizeof(tree), "%s/tree", scratch);
    snprintf(file, sizeof(file), "%s/image", scratch);
    mkdir(tree, 0755);
    put_file(tree, &big);
    put_file(tree, &exact);
    put_file(tree, &small);
    put_file(tree, &empty);
    snprintf(path, sizeof(path), "%s/link", tree);
    CHECK_EQ(t, symlink("sub/inner", path), 0);
    snprintf(path, sizeof(path), "%s/sub", tree);
    CHECK_EQ(t, mkdir(path, 0750), 0);
    put_file(path, &inner);
    snprintf(path, sizeof(path), "%s/-many", tree);
    CHECK_EQ(t, mkdir(path, 0755), 0);
    for (uint32_t i = 0; i < dir.children_n; i++)
        put_file(path, &many_nodes[i]);
    int r = run((const char *const[]){"mkfs.erofs", "-T0", file, tree, NULL});
    if (r == -ENOENT)
        SKIP(t, "no mkfs.erofs");
    CHECK_EQ(t, r, 0);
    int fd = open(file, O_RDONLY);
    struct stat st;
    CHECK_EQ(t, fstat(fd, &st), 0);
    struct image im = {.bytes = (uint64_t)st.st_size};
    im.data = mmap(NULL, im.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    struct erofs fs;
    CHECK_EQ(t, erofs_open(&fs, image_read, &im, im.bytes), 0);
    check_tree(t, &fs);
    check_listing(t, &fs);
    munmap(im.data, im.bytes);
    close(fd);
}

static void test_reads_mkfs(struct test *t)
{
    char scratch[] = "/tmp/skerry-erofs-test-XXXXXX";
    if (geteuid() != 0)
        SKIP(t, "needs root to make files of other users");
    CHECK(t, mkdtemp(scratch) != NULL);
    tree_init(MANY);
    check_made_by_mkfs(t, scratch);
    run((const char *const[]){"rm", "-rf", scratch, NULL});
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_round_trip),           TEST_CASE(test_random_trees),
        TEST_CASE(test_same_tree_same_bytes), TEST_CASE(test_large_files_are_aligned),
        TEST_CASE(test_writer_refuses),       TEST_CASE(test_reader_refuses),
        TEST_CASE(test_fsck_accepts),         TEST_CASE(test_reads_mkfs),
    };
    umask(022);
    return test_main(cases, ARRAY_LEN(cases));
}
