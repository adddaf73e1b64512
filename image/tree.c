// SPDX-License-Identifier: Apache-2.0
#include "image/tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tree_node {
    struct erofs_node n; // .source is this node, .data owned
    char *name;
    char *host_path;
    uint32_t room; // of n.children
};

struct tree {
    struct tree_node *root;
};

static struct tree_node *node_of(struct erofs_node *n)
{
    return CONTAINER_OF(n, struct tree_node, n);
}

static void node_free(struct tree_node *n)
{
    if (n == NULL)
        return;
    for (uint32_t i = 0; i < n->n.children_n; i++)
        node_free(node_of(n->n.children[i]));
    free(n->n.children);
    free((void *)(uintptr_t)n->n.data);
    free(n->host_path);
    free(n->name);
    free(n);
}

static void node_freep(struct tree_node **n)
{
    node_free(*n);
    *n = NULL;
}

static struct tree_node *node_new(const char *name, size_t len, uint16_t mode)
{
    struct tree_node *n = calloc(1, sizeof(*n));
    char *copy = strndup(name, len);
    if (n == NULL || copy == NULL) {
        free(n);
        free(copy);
        return NULL;
    }
    n->name = copy;
    n->n.name = copy;
    n->n.mode = mode;
    n->n.source = n;
    return n;
}

int tree_new(struct tree **ret, struct err *e)
{
    struct tree *t = calloc(1, sizeof(*t));
    struct tree_node *root = node_new("", 0, EROFS_S_IFDIR | 0755);
    if (t == NULL || root == NULL) {
        free(t);
        node_free(root);
        return err_set(e, -ENOMEM, "out of memory");
    }
    root->n.parent = &root->n;
    t->root = root;
    *ret = t;
    return 0;
}

void tree_free(struct tree *t)
{
    if (t == NULL)
        return;
    node_free(t->root);
    free(t);
}

void tree_freep(struct tree **t)
{
    tree_free(*t);
    *t = NULL;
}

struct erofs_node *tree_root(struct tree *t)
{
    return &t->root->n;
}

const char *tree_host_path(const struct erofs_node *n)
{
    const struct tree_node *node = n->source;
    return node->host_path;
}

void tree_path(const struct erofs_node *n, char *ret, size_t max)
{
    ret[0] = '\0';
    if (n->parent == n || n->parent == NULL)
        return;
    tree_path(n->parent, ret, max);
    size_t len = strlen(ret);
    snprintf(ret + len, max - len, "/%s", n->name);
}

int tree_clean(const char *path, bool clamp, char *ret, size_t max)
{
    size_t len = 0; // of ret, which never ends with '/'
    while (*path != '\0') {
        size_t part = strcspn(path, "/");
        if (part == 2 && memcmp(path, "..", 2) == 0) {
            if (len == 0 && !clamp)
                return -EINVAL;
            while (len > 0 && ret[--len] != '/')
                ;
        } else if (part > 0 && !(part == 1 && path[0] == '.')) {
            if (part + 2 > max - len)
                return -ENAMETOOLONG;
            ret[len++] = '/';
            memcpy(ret + len, path, part);
            len += part;
        }
        path += part + (path[part] == '/');
    }
    if (len == 0)
        ret[len++] = '/';
    ret[len] = '\0';
    return 0;
}

/* Where a name is among the children, or would be. */
static bool child_find(const struct tree_node *dir, const char *name, uint32_t *ret_index)
{
    uint32_t low = 0, high = dir->n.children_n;
    // Mostly they come in order.
    if (high > 0 && erofs_name_order(dir->n.children[high - 1]->name, name) < 0)
        low = high;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = erofs_name_order(dir->n.children[mid]->name, name);
        if (order == 0) {
            *ret_index = mid;
            return true;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_index = low;
    return false;
}

static int child_insert(struct tree_node *dir, uint32_t index, struct tree_node *child)
{
    if (dir->n.children_n == dir->room) {
        uint32_t room = MAX(dir->room * 2, 8u);
        struct erofs_node **more = realloc(dir->n.children, room * sizeof(struct erofs_node *));
        if (more == NULL)
            return -ENOMEM;
        dir->n.children = more;
        dir->room = room;
    }
    memmove(&dir->n.children[index + 1], &dir->n.children[index],
            (dir->n.children_n - index) * sizeof(struct erofs_node *));
    dir->n.children[index] = &child->n;
    dir->n.children_n++;
    child->n.parent = &dir->n;
    return 0;
}

/* The folder that a clean path's last part is in, made when absent, and that part. */
static int folder_of(struct tree *t, char *path, struct tree_node **ret, const char **ret_name)
{
    struct tree_node *at = t->root;
    char *part = path + 1;
    for (char *slash = strchr(part, '/'); slash != NULL; slash = strchr(part, '/')) {
        *slash = '\0';
        uint32_t i;
        if (!child_find(at, part, &i)) {
            struct tree_node *dir = node_new(part, strlen(part), EROFS_S_IFDIR | 0755);
            int r = dir != NULL ? child_insert(at, i, dir) : -ENOMEM;
            if (r < 0) {
                node_free(dir);
                return r;
            }
        }
        at = node_of(at->n.children[i]);
        if ((at->n.mode & EROFS_S_IFMT) != EROFS_S_IFDIR)
            return -ENOTDIR;
        part = slash + 1;
    }
    *ret = at;
    *ret_name = part;
    return 0;
}

static int put_failed(struct err *e, int code, const char *path)
{
    switch (code) {
    case -EINVAL:
        return err_set(e, code, "'%s' leads out of the image", path);
    case -EISDIR:
    case -ENOTDIR:
        return err_set(e, code, "'%s' would be both a folder and a file of the image", path);
    default:
        return err_set(e, code, "'%s' in the image: %s", path, strerror(-code));
    }
}

/* Put a node, which is consumed, where path says. A folder that is there stays. */
static int put(struct tree *t, const char *path, struct tree_node *node, struct err *e)
{
    CLEANUP(node_freep) struct tree_node *n = node;
    char clean[TREE_PATH_MAX];
    struct tree_node *folder;
    const char *name;
    if (n == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    int r = tree_clean(path, false, clean, sizeof(clean));
    bool is_dir = (n->n.mode & EROFS_S_IFMT) == EROFS_S_IFDIR;
    if (r == 0 && clean[1] == '\0')
        return is_dir ? 0 : put_failed(e, -EISDIR, path);
    r = r < 0 ? r : folder_of(t, clean, &folder, &name);
    if (r < 0)
        return put_failed(e, r, path);
    if (strlen(name) > EROFS_NAME_MAX)
        return put_failed(e, -ENAMETOOLONG, path);
    free(n->name);
    n->name = strdup(name);
    n->n.name = n->name;
    uint32_t i;
    if (n->name == NULL)
        return put_failed(e, -ENOMEM, path);
    if (!child_find(folder, name, &i)) {
        r = child_insert(folder, i, n);
        if (r < 0)
            return put_failed(e, r, path);
        n = NULL;
        return 0;
    }
    struct tree_node *old = node_of(folder->n.children[i]);
    bool old_is_dir = (old->n.mode & EROFS_S_IFMT) == EROFS_S_IFDIR;
    if (old_is_dir != is_dir)
        return put_failed(e, is_dir ? -ENOTDIR : -EISDIR, path);
    if (is_dir)
        return 0;
    node_free(old);
    n->n.parent = &folder->n;
    folder->n.children[i] = &TAKE(n)->n;
    return 0;
}

int tree_put_dir(struct tree *t, const char *path, uint16_t permissions, struct err *e)
{
    return put(t, path, node_new("", 0, EROFS_S_IFDIR | permissions), e);
}

int tree_put_text(struct tree *t, const char *path, const char *text, struct err *e)
{
    struct tree_node *n = node_new("", 0, EROFS_S_IFREG | 0644);
    char *copy = strdup(text);
    if (n == NULL || copy == NULL) {
        free(copy);
        node_free(n);
        return err_set(e, -ENOMEM, "out of memory");
    }
    n->n.data = copy;
    n->n.size = strlen(copy);
    return put(t, path, n, e);
}

/* st is what stat said of host_path. */
static int put_file(struct tree *t, const char *path, const char *host_path, const struct stat *st,
                    struct err *e)
{
    struct tree_node *n =
        node_new("", 0, EROFS_S_IFREG | ((st->st_mode & S_IXUSR) != 0 ? 0755 : 0644));
    if (n != NULL) {
        n->n.size = (uint64_t)st->st_size;
        n->host_path = strdup(host_path);
    }
    if (n == NULL || n->host_path == NULL) {
        node_free(n);
        return err_set(e, -ENOMEM, "out of memory");
    }
    return put(t, path, n, e);
}

int tree_put_file(struct tree *t, const char *path, const char *host_path, struct err *e)
{
    struct stat st;
    if (stat(host_path, &st) < 0)
        return err_set(e, -errno, "%s: %s", host_path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL, "%s: not a regular file",
                       host_path);
    return put_file(t, path, host_path, &st, e);
}

int tree_put_link(struct tree *t, const char *path, const char *target, struct err *e)
{
    struct tree_node *n = node_new("", 0, EROFS_S_IFLNK | 0777);
    char *copy = strdup(target);
    if (n == NULL || copy == NULL) {
        free(copy);
        node_free(n);
        return err_set(e, -ENOMEM, "out of memory");
    }
    n->n.data = copy;
    n->n.size = strlen(target);
    return put(t, path, n, e);
}

static int put_link(struct tree *t, const char *path, const char *host_path, struct err *e)
{
    char target[EROFS_SYMLINK_MAX + 1];
    ssize_t len = readlink(host_path, target, sizeof(target));
    if (len <= 0 || (size_t)len == sizeof(target))
        return err_set(e, len < 0 ? -errno : -ENAMETOOLONG, "%s: cannot read the link", host_path);
    target[len] = '\0';
    return tree_put_link(t, path, target, e);
}

typedef bool skip_fn(const char *name); // NULL: none

static int put_any(struct tree *t, const char *path, const char *host_path, unsigned depth,
                   skip_fn *skip, struct err *e);

static int put_entries(struct tree *t, const char *path, const char *host_path, unsigned depth,
                       skip_fn *skip, struct err *e)
{
    struct dirent **list;
    int n = scandir(host_path, &list, NULL, NULL), r = 0;
    if (n < 0)
        return err_set(e, -errno, "%s: %s", host_path, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        char to[TREE_PATH_MAX], from[TREE_PATH_MAX];
        if (r == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            (skip == NULL || !skip(name))) {
            int a = snprintf(to, sizeof(to), "%s/%s", path, name);
            int b = snprintf(from, sizeof(from), "%s/%s", host_path, name);
            r = a < 0 || b < 0 || (size_t)MAX(a, b) >= sizeof(to)
                    ? err_set(e, -ENAMETOOLONG, "%s/%s: name too long", host_path, name)
                    : put_any(t, to, from, depth, skip, e);
        }
        free(list[i]);
    }
    free(list);
    return r;
}

static int put_any(struct tree *t, const char *path, const char *host_path, unsigned depth,
                   skip_fn *skip, struct err *e)
{
    struct stat st;
    if (lstat(host_path, &st) < 0)
        return err_set(e, -errno, "%s: %s", host_path, strerror(errno));
    if (depth == 0)
        return err_set(e, -ELOOP, "%s: folders too deep", host_path);
    if (skip != NULL && !S_ISDIR(st.st_mode) && tree_find(t, path) != NULL)
        return 0;
    if (S_ISREG(st.st_mode))
        return put_file(t, path, host_path, &st, e);
    if (S_ISLNK(st.st_mode))
        return put_link(t, path, host_path, e);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, -EINVAL, "%s: neither file, folder nor link", host_path);
    int r = tree_put_dir(t, path, 0755, e);
    return r < 0 ? r : put_entries(t, path, host_path, depth - 1, skip, e);
}

static int put_dir_from(struct tree *t, const char *path, const char *host_path, skip_fn *skip,
                        struct err *e)
{
    struct stat st;
    if (stat(host_path, &st) < 0)
        return err_set(e, -errno, "%s: %s", host_path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(e, -ENOTDIR, "%s: not a folder", host_path);
    int r = tree_put_dir(t, path, 0755, e);
    return r < 0 ? r : put_entries(t, path, host_path, EROFS_DEPTH_MAX, skip, e);
}

int tree_put_dir_from(struct tree *t, const char *path, const char *host_path, struct err *e)
{
    return put_dir_from(t, path, host_path, NULL, e);
}

int tree_put_dir_but(struct tree *t, const char *path, const char *host_path,
                     bool (*is_skipped)(const char *name), struct err *e)
{
    return put_dir_from(t, path, host_path, is_skipped, e);
}

const struct erofs_node *tree_find(const struct tree *t, const char *path)
{
    char clean[TREE_PATH_MAX];
    if (tree_clean(path, false, clean, sizeof(clean)) < 0)
        return NULL;
    const struct tree_node *at = t->root;
    char *save = NULL;
    for (char *part = strtok_r(clean, "/", &save); part != NULL;
         part = strtok_r(NULL, "/", &save)) {
        uint32_t i;
        if (!child_find(at, part, &i))
            return NULL;
        at = node_of(at->n.children[i]);
    }
    return &at->n;
}
