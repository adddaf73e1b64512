// SPDX-License-Identifier: Apache-2.0
#include "kernel/boot/manifest.h"

#include "base/errno.h"
#include "base/mem.h"

int image_header_check(const struct image_header *h, uint64_t disk_bytes)
{
    if (memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)) != 0 || h->version != IMAGE_VERSION ||
        h->header_bytes != sizeof(*h) || h->reserved != 0)
        return -EPROTO;
    if (h->total_bytes > disk_bytes || h->erofs_bytes > h->total_bytes ||
        h->erofs_bytes % 4096 != 0 || h->manifest_offset < h->erofs_bytes ||
        h->manifest_offset > h->total_bytes ||
        h->manifest_bytes > h->total_bytes - h->manifest_offset)
        return -EPROTO;
    if (h->manifest_bytes == 0 || h->manifest_bytes > IMAGE_MANIFEST_MAX || h->argc == 0 ||
        h->argc > IMAGE_ARGS_MAX || h->envc > IMAGE_ENVS_MAX)
        return -EPROTO;
    return 0;
}

struct strings {
    const char *at;
    size_t left;
};

static int next(struct strings *s, const char **ret)
{
    size_t len = strnlen(s->at, s->left);
    if (len == s->left)
        return -EPROTO; // no NUL
    *ret = s->at;
    s->at += len + 1;
    s->left -= len + 1;
    return 0;
}

int manifest_parse(const struct image_header *h, const char *data, struct manifest *ret)
{
    struct strings s = {.at = data, .left = h->manifest_bytes};
    int r = next(&s, &ret->program);
    if (r == 0)
        r = next(&s, &ret->cwd);
    for (ret->argc = 0; r == 0 && ret->argc < h->argc; ret->argc++)
        r = next(&s, &ret->argv[ret->argc]);
    for (ret->envc = 0; r == 0 && ret->envc < h->envc; ret->envc++) {
        r = next(&s, &ret->envp[ret->envc]);
        if (r == 0 && strchr(ret->envp[ret->envc], '=') == NULL)
            r = -EPROTO;
    }
    if (r < 0 || s.left != 0 || ret->program[0] != '/' || ret->cwd[0] != '/')
        return -EPROTO;
    return 0;
}
