// SPDX-License-Identifier: Apache-2.0
#include "cli/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/file.h"
#include "image/tree.h"

enum {
    DEPTH_MAX = 128,       // folders in folders
    ENTRIES_MAX = 1 << 22, // of one walk
    LINKS_MAX = 16,
    READ_BYTES = 64 * 1024,
    PREFIX_BYTES = DEPTH_MAX * 8,
};

char look_kind(uint16_t mode)
{
    switch (mode & EROFS_S_IFMT) {
    case EROFS_S_IFDIR:
        return 'd';
    case EROFS_S_IFLNK:
        return 'l';
    default:
        return '-';
    }
}

const char *look_kind_text(uint16_t mode)
{
    char kind = look_kind(mode);
    return kind == 'd' ? "directory" : kind == 'l' ? "link" : "file";
}

void look_print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
}

int look_failed(const char *image, const char *path, int r, struct err *e)
{
    return err_set(e, r, "image '%s': %s: %s", image, path,
                   r == -EUCLEAN ? "damaged filesystem"
                   : r == -ELOOP ? "too many links, or folders too deep"
                   : r == -E2BIG ? "too many files"
                                 : strerror(-r));
}

int look_find(const struct erofs *fs, const char *path, struct erofs_inode *ret)
{
    char at[TREE_PATH_MAX], target[TREE_PATH_MAX], next[2 * TREE_PATH_MAX + 8];
    int r = tree_clean(path, true, at, sizeof(at));
    for (int i = 0; r == 0 && i < LINKS_MAX; i++) {
        r = erofs_walk(fs, at, ret);
        if (r < 0 || look_kind(ret->mode) != 'l')
            return r;
        r = MIN(erofs_readlink(fs, ret, target, sizeof(target)), 0);
        if (r < 0)
            return r;
        snprintf(next, sizeof(next), "%s/../%s", target[0] == '/' ? "" : at, target);
        r = tree_clean(next, true, at, sizeof(at));
    }
    return r < 0 ? r : -ELOOP;
}

/* The next entry that is no "." or "..", with its inode: 1, 0 at the end. *left bounds a walk. */
static int next_entry(const struct erofs *fs, const struct erofs_inode *dir, uint64_t *offset,
                      struct erofs_dirent *ret, struct erofs_inode *ret_inode, uint32_t *left)
{
    int r;
    do
        r = erofs_dir_next(fs, dir, offset, ret);
    while (r == 1 && (strcmp(ret->name, ".") == 0 || strcmp(ret->name, "..") == 0));
    if (r != 1)
        return r;
    if (ret->name[0] == '\0' || strchr(ret->name, '/') != NULL)
        return -EUCLEAN;
    if ((*left)-- == 0)
        return -E2BIG;
    r = erofs_inode_read(fs, ret->nid, ret_inode);
    return r < 0 ? r : 1;
}

// ---- tree

struct tree_walk {
    const struct erofs *fs;
    uint32_t left, files, folders;
    char prefix[PREFIX_BYTES]; // the lines of the folders above
};

static void print_line(const struct tree_walk *w, const char *name, bool last,
                       const struct erofs_inode *inode)
{
    char target[EROFS_SYMLINK_MAX + 1];
    printf("%s%s%s", w->prefix, last ? "└── " : "├── ", name);
    if (look_kind(inode->mode) == 'l' && erofs_readlink(w->fs, inode, target, sizeof(target)) >= 0)
        printf(" -> %s", target);
    if (look_kind(inode->mode) == '-')
        printf(" (%llu)", (unsigned long long)inode->size);
    putchar('\n');
}

static int print_below(struct tree_walk *w, const struct erofs_inode *dir, unsigned depth)
{
    struct erofs_dirent entry, ahead;
    struct erofs_inode inode, ahead_inode;
    uint64_t offset = 0;
    size_t len = strlen(w->prefix);
    if (depth == 0)
        return -ELOOP;
    int r = next_entry(w->fs, dir, &offset, &entry, &inode, &w->left);
    while (r == 1) {
        int more = next_entry(w->fs, dir, &offset, &ahead, &ahead_inode, &w->left);
        if (more < 0)
            return more;
        bool is_dir = look_kind(inode.mode) == 'd';
        print_line(w, entry.name, more == 0, &inode);
        w->folders += is_dir;
        w->files += !is_dir;
        if (is_dir) {
            snprintf(w->prefix + len, sizeof(w->prefix) - len, "%s", more ? "│   " : "    ");
            r = print_below(w, &inode, depth - 1);
            w->prefix[len] = '\0';
            if (r < 0)
                return r;
        }
        entry = ahead;
        inode = ahead_inode;
        r = more;
    }
    return r;
}

static json_t *node_json(const struct erofs *fs, const char *name, const struct erofs_inode *inode)
{
    char target[EROFS_SYMLINK_MAX + 1];
    json_t *node = json_pack(
        "{s:o, s:s, s:i, s:I}", "name", json_stringn_nocheck(name, strlen(name)), "kind",
        look_kind_text(inode->mode), "mode", inode->mode & 07777, "bytes", (json_int_t)inode->size);
    if (look_kind(inode->mode) == 'l' && erofs_readlink(fs, inode, target, sizeof(target)) >= 0)
        json_object_set_new(node, "target", json_stringn_nocheck(target, strlen(target)));
    return node;
}

/* Add what is below a folder to its node. */
static int json_below(struct tree_walk *w, const struct erofs_inode *dir, json_t *node,
                      unsigned depth)
{
    struct erofs_dirent entry;
    struct erofs_inode inode;
    uint64_t offset = 0;
    json_t *list = json_array();
    json_object_set_new(node, "entries", list);
    if (depth == 0)
        return -ELOOP;
    int r = next_entry(w->fs, dir, &offset, &entry, &inode, &w->left);
    for (; r == 1; r = next_entry(w->fs, dir, &offset, &entry, &inode, &w->left)) {
        json_t *child = node_json(w->fs, entry.name, &inode);
        json_array_append_new(list, child);
        r = look_kind(inode.mode) == 'd' ? json_below(w, &inode, child, depth - 1) : 0;
        if (r < 0)
            break;
    }
    return r;
}

int look_tree(const struct image *im, const char *name, const char *path, bool json, struct err *e)
{
    struct tree_walk w = {.fs = &im->fs, .left = ENTRIES_MAX};
    struct erofs_inode inode;
    int r = look_find(&im->fs, path, &inode);
    if (r < 0)
        return look_failed(name, path, r, e);
    bool is_dir = look_kind(inode.mode) == 'd';
    if (json) {
        json_auto_t *top = node_json(&im->fs, path, &inode);
        r = is_dir ? json_below(&w, &inode, top, DEPTH_MAX) : 0;
        if (r == 0)
            look_print_json(json_incref(top));
    } else {
        puts(path);
        r = is_dir ? print_below(&w, &inode, DEPTH_MAX) : 0;
        if (r == 0)
            printf("\n%u folders, %u files\n", w.folders, w.files);
    }
    return r < 0 ? look_failed(name, path, r, e) : 0;
}

// ---- diff

struct found {
    char *path;
    struct erofs_inode inode;
};

struct listing {
    const struct look_side *side;
    struct found *list;
    uint32_t n, room, left;
};

static void listing_deinit(struct listing *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        free(l->list[i].path);
    free(l->list);
}

static int listing_add(struct listing *l, const char *path, const struct erofs_inode *inode)
{
    if (l->n == l->room) {
        uint32_t room = MAX(l->room * 2, 256u);
        struct found *more = realloc(l->list, room * sizeof(*more));
        if (more == NULL)
            return -ENOMEM;
        l->list = more;
        l->room = room;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    l->list[l->n++] = (struct found){.path = copy, .inode = *inode};
    return 0;
}

static int list_below(struct listing *l, const struct erofs_inode *dir, char *path, size_t len,
                      unsigned depth)
{
    struct erofs_dirent entry;
    struct erofs_inode inode;
    uint64_t offset = 0;
    const struct erofs *fs = &l->side->im->fs;
    if (depth == 0)
        return -ELOOP;
    int r = next_entry(fs, dir, &offset, &entry, &inode, &l->left);
    for (; r == 1; r = next_entry(fs, dir, &offset, &entry, &inode, &l->left)) {
        if (len + entry.name_len + 2 > TREE_PATH_MAX)
            return -ENAMETOOLONG;
        path[len] = '/';
        memcpy(path + len + 1, entry.name, entry.name_len + 1u);
        r = listing_add(l, path, &inode);
        if (r == 0 && look_kind(inode.mode) == 'd')
            r = list_below(l, &inode, path, len + 1 + entry.name_len, depth - 1);
        if (r < 0)
            break;
    }
    return r;
}

static int by_path(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int listing_make(struct listing *l, struct err *e)
{
    char path[TREE_PATH_MAX] = "";
    struct erofs_inode root;
    l->left = ENTRIES_MAX;
    int r = erofs_walk(&l->side->im->fs, "/", &root);
    r = r < 0 ? r : list_below(l, &root, path, 0, DEPTH_MAX);
    if (r < 0)
        return look_failed(l->side->name, path[0] != '\0' ? path : "/", r, e);
    if (l->n > 0)
        qsort(l->list, l->n, sizeof(*l->list), by_path);
    return 0;
}

/* 1 the same bytes, 0 not, or an error of reading. Sizes are equal. */
static int same_bytes(const struct erofs *a, const struct erofs_inode *x, const struct erofs *b,
                      const struct erofs_inode *y)
{
    static char left[READ_BYTES], right[READ_BYTES]; // one thread
    for (uint64_t at = 0; at < x->size;) {
        int64_t n = erofs_read(a, x, at, left, sizeof(left));
        int64_t m = n < 0 ? n : erofs_read(b, y, at, right, sizeof(right));
        if (m < 0)
            return (int)m;
        if (n != m || n == 0 || memcmp(left, right, (size_t)n) != 0)
            return 0;
        at += (uint64_t)n;
    }
    return 1;
}

struct differ {
    struct listing a, b;
    json_t *all; // NULL: text
    bool found;
};

static const struct erofs *fs_of(const struct listing *l)
{
    return &l->side->im->fs;
}

static void tell(struct differ *d, const char *change, const struct found *old,
                 const struct found *new, const char *what)
{
    const struct found *one = old != NULL ? old : new;
    d->found = true;
    if (d->all != NULL) {
        json_t *o = json_pack("{s:s, s:o}", "change", change, "path",
                              json_stringn_nocheck(one->path, strlen(one->path)));
        if (what != NULL)
            json_object_set_new(o, "what", json_string(what));
        if (old != NULL)
            json_object_set_new(o, "old", node_json(fs_of(&d->a), old->path, &old->inode));
        if (new != NULL)
            json_object_set_new(o, "new", node_json(fs_of(&d->b), new->path, &new->inode));
        json_array_append_new(d->all, o);
        return;
    }
    if (old == NULL || new == NULL) {
        printf("%c %s", old == NULL ? '+' : '-', one->path);
        if (look_kind(one->inode.mode) == '-')
            printf(" (%llu)", (unsigned long long)one->inode.size);
    } else {
        printf("* %s: %s", one->path, what);
        if (old->inode.mode != new->inode.mode)
            printf(", %c%04o -> %c%04o", look_kind(old->inode.mode), old->inode.mode & 07777,
                   look_kind(new->inode.mode), new->inode.mode & 07777);
        if (look_kind(old->inode.mode) == '-' && look_kind(new->inode.mode) == '-')
            printf(", %llu -> %llu bytes", (unsigned long long)old->inode.size,
                   (unsigned long long)new->inode.size);
    }
    putchar('\n');
}

static int compare(struct differ *d, const struct found *old, const struct found *new)
{
    const struct erofs_inode *x = &old->inode, *y = &new->inode;
    const char *what = NULL;
    if ((x->mode & EROFS_S_IFMT) != (y->mode & EROFS_S_IFMT)) {
        what = "another kind";
    } else if (look_kind(x->mode) != 'd') {
        int same = x->size != y->size ? 0 : same_bytes(fs_of(&d->a), x, fs_of(&d->b), y);
        if (same < 0)
            return same;
        what = same == 0 ? "contents" : NULL;
    }
    if (what == NULL && x->mode != y->mode)
        what = "mode";
    if (what != NULL)
        tell(d, "changed", old, new, what);
    return 0;
}

static int merge(struct differ *d, struct err *e)
{
    uint32_t i = 0, k = 0;
    while (i < d->a.n || k < d->b.n) {
        const struct found *old = i < d->a.n ? &d->a.list[i] : NULL;
        const struct found *new = k < d->b.n ? &d->b.list[k] : NULL;
        int order = old == NULL ? 1 : new == NULL ? -1 : strcmp(old->path, new->path);
        int r = 0;
        if (order == 0)
            r = compare(d, old, new);
        else
            tell(d, order < 0 ? "removed" : "added", order < 0 ? old : NULL, order < 0 ? NULL : new,
                 NULL);
        if (r < 0)
            return look_failed(d->a.side->name, old->path, r, e);
        i += order <= 0;
        k += order >= 0;
    }
    return 0;
}

/* What is run: the manifests' strings one by one. */
static void compare_strings(struct differ *d, const char *what, const char *const *a, uint32_t a_n,
                            const char *const *b, uint32_t b_n)
{
    bool same = a_n == b_n;
    for (uint32_t i = 0; same && i < a_n; i++)
        same = strcmp(a[i], b[i]) == 0;
    if (same)
        return;
    d->found = true;
    if (d->all != NULL) {
        json_t *old = json_array(), *new = json_array();
        for (uint32_t i = 0; i < a_n; i++)
            json_array_append_new(old, json_stringn_nocheck(a[i], strlen(a[i])));
        for (uint32_t i = 0; i < b_n; i++)
            json_array_append_new(new, json_stringn_nocheck(b[i], strlen(b[i])));
        json_array_append_new(d->all, json_pack("{s:s, s:s, s:o, s:o}", "change", "manifest",
                                                "what", what, "old", old, "new", new));
        return;
    }
    printf("* %s:", what);
    for (uint32_t i = 0; i < a_n; i++)
        printf(" %s", a[i]);
    printf(" ->");
    for (uint32_t i = 0; i < b_n; i++)
        printf(" %s", b[i]);
    putchar('\n');
}

int look_diff(const struct look_side *a, const struct look_side *b, bool json, struct err *e)
{
    struct differ d = {.a = {.side = a}, .b = {.side = b}, .all = json ? json_array() : NULL};
    const struct image *x = a->im, *y = b->im;
    int r = listing_make(&d.a, e);
    r = r < 0 ? r : listing_make(&d.b, e);
    if (r == 0) {
        compare_strings(&d, "program", &x->program, 1, &y->program, 1);
        compare_strings(&d, "directory", &x->cwd, 1, &y->cwd, 1);
        compare_strings(&d, "args", x->args, x->header.argc, y->args, y->header.argc);
        compare_strings(&d, "env", x->envs, x->header.envc, y->envs, y->header.envc);
        compare_strings(&d, "run", x->advice, x->header.advicec, y->advice, y->header.advicec);
        r = merge(&d, e);
    }
    if (r == 0 && d.all != NULL)
        look_print_json(json_incref(d.all));
    json_decref(d.all);
    listing_deinit(&d.a);
    listing_deinit(&d.b);
    return r < 0 ? r : d.found;
}

// ---- copy

struct copy {
    const struct erofs *fs;
    uint32_t left;
    bool here; // the error is of a file here, not of the image
};

static int here_failed(struct copy *c)
{
    c->here = true;
    return -errno;
}

static int copy_bytes(struct copy *c, const struct erofs_inode *inode, int fd)
{
    char buf[READ_BYTES];
    for (uint64_t at = 0; at < inode->size;) {
        int64_t n = erofs_read(c->fs, inode, at, buf, sizeof(buf));
        if (n <= 0)
            return n < 0 ? (int)n : -EUCLEAN;
        int r = file_write_all(fd, buf, (size_t)n);
        if (r < 0) {
            c->here = true;
            return r;
        }
        at += (uint64_t)n;
    }
    return 0;
}

/* A file or link as folder/name here. Nothing here is followed or written through: what has the
 * name is removed first, so that no image can lead us elsewhere by a link of its own. */
static int copy_leaf(struct copy *c, const struct erofs_inode *inode, int folder, const char *name)
{
    char target[EROFS_SYMLINK_MAX + 1];
    if (unlinkat(folder, name, 0) < 0 && errno != ENOENT)
        return here_failed(c);
    if (look_kind(inode->mode) == 'l') {
        int r = erofs_readlink(c->fs, inode, target, sizeof(target));
        if (r < 0)
            return r;
        return symlinkat(target, folder, name) < 0 ? here_failed(c) : 0;
    }
    if ((inode->mode & EROFS_S_IFMT) != EROFS_S_IFREG)
        return -EINVAL;
    CLEANUP(fd_closep)
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    inode->mode & 0777);
    return fd < 0 ? here_failed(c) : copy_bytes(c, inode, fd);
}

static int copy_folder(struct copy *c, const struct erofs_inode *dir, int folder, const char *name,
                       unsigned depth)
{
    struct erofs_dirent entry;
    struct erofs_inode inode;
    uint64_t offset = 0;
    if (depth == 0)
        return -ELOOP;
    if (mkdirat(folder, name, 0777) < 0 && errno != EEXIST)
        return here_failed(c);
    CLEANUP(fd_closep)
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return here_failed(c);
    int r = next_entry(c->fs, dir, &offset, &entry, &inode, &c->left);
    for (; r == 1; r = next_entry(c->fs, dir, &offset, &entry, &inode, &c->left)) {
        r = look_kind(inode.mode) == 'd' ? copy_folder(c, &inode, fd, entry.name, depth - 1)
                                         : copy_leaf(c, &inode, fd, entry.name);
        if (r < 0)
            return r;
    }
    return r;
}

/* Split a destination into a folder that is there and a name in it: DEST/NAME when DEST is a
 * folder. Returns the folder's descriptor. */
static int open_destination(const char *path, const char *dest, char *ret_name, size_t max,
                            struct err *e)
{
    char folder[TREE_PATH_MAX];
    struct stat st;
    const char *from = dest;
    snprintf(folder, sizeof(folder), "%s", dest);
    if (stat(dest, &st) == 0 && S_ISDIR(st.st_mode)) {
        from = path;
    } else {
        size_t len = strlen(folder);
        while (len > 1 && folder[len - 1] == '/')
            folder[--len] = '\0';
        char *slash = strrchr(folder, '/');
        if (slash == NULL)
            snprintf(folder, sizeof(folder), ".");
        else
            slash[slash == folder] = '\0';
    }
    char clean[TREE_PATH_MAX];
    if (tree_clean(from, true, clean, sizeof(clean)) < 0)
        return err_set(e, -ENAMETOOLONG, "%s: name too long", from);
    const char *last = strrchr(clean, '/') + 1;
    snprintf(ret_name, max, "%s", last[0] != '\0' ? last : "root");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : err_set(e, -errno, "%s: %s", folder, strerror(errno));
}

int look_copy(const struct image *im, const char *name, const char *path, const char *dest,
              struct err *e)
{
    struct copy c = {.fs = &im->fs, .left = ENTRIES_MAX};
    struct erofs_inode inode;
    char last[EROFS_NAME_MAX + 1];
    int r = look_find(&im->fs, path, &inode);
    if (r < 0)
        return look_failed(name, path, r, e);
    CLEANUP(fd_closep) int folder = open_destination(path, dest, last, sizeof(last), e);
    if (folder < 0)
        return folder;
    r = look_kind(inode.mode) == 'd' ? copy_folder(&c, &inode, folder, last, DEPTH_MAX)
                                     : copy_leaf(&c, &inode, folder, last);
    if (r < 0 && c.here)
        return err_set(e, r, "cannot copy to %s: %s", dest, strerror(-r));
    return r < 0 ? look_failed(name, path, r, e) : 0;
}
