// SPDX-License-Identifier: Apache-2.0
#include "image/pyc.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/tree.h"

/* FOLDER/__pycache__/NAME.cpython-311.pyc is of FOLDER/NAME.py; max bytes for ret. */
static bool source_path(const char *pyc, char *ret, size_t max)
{
    static const char cache[] = "/__pycache__/";
    const char *name = strrchr(pyc, '/');
    size_t folder = name != NULL ? (size_t)(name + 1 - pyc) : 0;
    if (folder < sizeof(cache) - 1 ||
        memcmp(pyc + folder - (sizeof(cache) - 1), cache, sizeof(cache) - 1) != 0)
        return false;
    int n = snprintf(ret, max, "%.*s/%.*s.py", (int)(folder - (sizeof(cache) - 1)), pyc,
                     (int)strcspn(pyc + folder, "."), pyc + folder);
    return n > 0 && (size_t)n < max;
}

/* The node at the place of the source in the tree, or NULL. */
static const struct erofs_node *source_node(const struct erofs_node *pyc, const char *source)
{
    const struct erofs_node *folder = pyc->parent->parent;
    const char *name = strrchr(source, '/') + 1;
    for (uint32_t i = 0; i < folder->children_n; i++)
        if (strcmp(folder->children[i]->name, name) == 0)
            return folder->children[i];
    return NULL;
}

bool pyc_is_current(const struct erofs_node *node, int fd)
{
    char source[TREE_PATH_MAX];
    const char *path = tree_host_path(node);
    size_t len = strlen(path);
    uint8_t head[PYC_HEADER_BYTES];
    struct stat st;
    if (len < 4 || strcmp(path + len - 4, ".pyc") != 0 ||
        !source_path(path, source, sizeof(source)) ||
        pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) || stat(source, &st) < 0)
        return false;
    const struct erofs_node *n = source_node(node, source);
    const char *packed = n != NULL ? tree_host_path(n) : NULL;
    uint32_t flags, time, size;
    memcpy(&flags, head + 4, sizeof(flags)); // 0: checked by time
    memcpy(&time, head + PYC_TIME_AT, sizeof(time));
    memcpy(&size, head + 12, sizeof(size));
    return packed != NULL && strcmp(packed, source) == 0 && head[2] == '\r' && head[3] == '\n' &&
           flags == 0 && time == (uint32_t)st.st_mtim.tv_sec && size == (uint32_t)st.st_size;
}
