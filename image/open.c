// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "host/file.h"
#include "image/digest.h"
#include "image/image.h"

int image_header_check(const struct image_header *h, uint64_t file_bytes, const char **ret_why)
{
    const char *why = NULL;
    if (memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)) != 0)
        why = "is not a skerry image";
    else if (h->version != IMAGE_VERSION || h->header_bytes != sizeof(*h))
        why = "is an image of another version of skerry";
    else if (h->total_bytes != file_bytes || h->total_bytes % 512 != 0)
        why = "is a truncated image";
    else if (h->erofs_bytes == 0 || h->erofs_bytes % EROFS_BLOCK != 0 ||
             h->manifest_offset < h->erofs_bytes || h->manifest_offset > h->total_bytes ||
             h->manifest_bytes > IMAGE_MANIFEST_MAX ||
             h->manifest_bytes > h->total_bytes - h->manifest_offset ||
             h->advice_bytes > IMAGE_ADVICE_MAX ||
             h->advice_bytes > h->total_bytes - h->manifest_offset - h->manifest_bytes ||
             h->argc == 0 || h->argc > IMAGE_ARGS_MAX || h->envc > IMAGE_ENVS_MAX ||
             h->advicec > IMAGE_ADVICES_MAX)
        why = "is a damaged image";
    if (why == NULL)
        return 0;
    *ret_why = why;
    return -EINVAL;
}

static int take_string(struct cursor *c, const char **ret)
{
    const void *end = memchr(c->p, '\0', c->left);
    const uint8_t *p;
    if (end == NULL)
        return -EPROTO;
    int r = cursor_bytes(c, (size_t)((const uint8_t *)end - c->p) + 1, &p);
    if (r == 0)
        *ret = (const char *)p;
    return r;
}

/* The value of "NAME=VALUE", or NULL. */
static const char *value_of(const char *advice, const char *name)
{
    size_t len = strlen(name);
    return strncmp(advice, name, len) == 0 && advice[len] == '=' ? advice + len + 1 : NULL;
}

static int take_advice(struct image *im, struct cursor *c, const char **ret)
{
    int r = take_string(c, ret);
    if (r < 0)
        return r;
    const char *advice = *ret, *value;
    if ((value = value_of(advice, "memory")) != NULL) {
        im->run.memory = value;
    } else if ((value = value_of(advice, "accel")) != NULL) {
        im->run.accel = value;
    } else if (strcmp(advice, "trace=1") == 0) {
        im->run.trace = true;
    } else if (strcmp(advice, "written-exec=1") == 0) {
        im->run.written_exec = true;
    } else if (strcmp(advice, "no-anonymous-exec=1") == 0) {
        im->run.no_anonymous_exec = true;
    } else if ((value = value_of(advice, "port")) != NULL) {
        im->ports[im->run.ports_n++] = value;
        im->run.ports = im->ports;
    } else if ((value = value_of(advice, "cpus")) != NULL && strlen(value) <= 4) {
        for (; *value >= '0' && *value <= '9'; value++)
            im->run.cpus = im->run.cpus * 10 + (uint32_t)(*value - '0');
        r = *value != '\0' ? -EPROTO : 0;
    } else {
        r = -EPROTO;
    }
    return r;
}

int image_manifest_parse(struct image *im, const char **ret_why)
{
    struct cursor c = cursor_of(im->manifest, im->header.manifest_bytes);
    int r = take_string(&c, &im->program);
    r = r < 0 ? r : take_string(&c, &im->cwd);
    for (uint32_t i = 0; r == 0 && i < im->header.argc; i++)
        r = take_string(&c, &im->args[i]);
    for (uint32_t i = 0; r == 0 && i < im->header.envc; i++) {
        r = take_string(&c, &im->envs[i]);
        if (r == 0 && (im->envs[i][0] == '=' || strchr(im->envs[i], '=') == NULL))
            r = -EPROTO;
    }
    struct cursor advice =
        cursor_of(im->manifest + im->header.manifest_bytes, im->header.advice_bytes);
    for (uint32_t i = 0; r == 0 && i < im->header.advicec; i++)
        r = take_advice(im, &advice, &im->advice[i]);
    if (r == 0 && (c.left > 0 || advice.left > 0 || im->program[0] != '/' || im->cwd[0] != '/'))
        r = -EPROTO;
    if (r < 0)
        *ret_why = "has a damaged manifest";
    return r < 0 ? -EINVAL : 0;
}

static int read_fd(void *ctx, uint64_t at, void *to, uint32_t len)
{
    const struct image *im = ctx;
    ssize_t n = pread(im->fd, to, len, (off_t)at);
    return n < 0 ? -errno : (size_t)n < len ? -EIO : 0;
}

/* *ret_why NULL: see the code. */
static int open_into(struct image *im, const char *path, const char **ret_why)
{
    struct stat st;
    *ret_why = NULL;
    im->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (im->fd < 0 || fstat(im->fd, &st) < 0)
        return -errno;
    *ret_why = "is not a skerry image";
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < sizeof(im->header))
        return -EINVAL;
    int r = read_fd(im, 0, &im->header, sizeof(im->header));
    r = r < 0 ? r : image_header_check(&im->header, (uint64_t)st.st_size, ret_why);
    if (r < 0)
        return r;
    uint8_t sha[DIGEST_BYTES];
    *ret_why = NULL;
    uint32_t bytes = im->header.manifest_bytes + im->header.advice_bytes;
    im->manifest = malloc(bytes + 1u);
    r = im->manifest != NULL ? read_fd(im, im->header.manifest_offset, im->manifest, bytes)
                             : -ENOMEM;
    if (r < 0)
        return r;
    digest_of(im->manifest, bytes, sha);
    *ret_why = "has a damaged manifest";
    if (memcmp(sha, im->header.manifest_sha256, sizeof(sha)) != 0)
        return -EINVAL;
    r = image_manifest_parse(im, ret_why);
    if (r < 0)
        return r;
    *ret_why = "has a damaged filesystem";
    return erofs_open(&im->fs, read_fd, im, im->header.erofs_bytes);
}

int image_open(const char *path, struct image **ret, struct err *e)
{
    CLEANUP(image_closep) struct image *im = calloc(1, sizeof(*im));
    const char *why;
    if (im == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    im->fd = -1;
    int r = open_into(im, path, &why);
    if (r < 0 && why != NULL)
        return err_set(e, -EINVAL, "%s %s", path, why);
    if (r < 0)
        return err_set(e, r, "%s: %s", path, strerror(-r));
    *ret = TAKE(im);
    return 0;
}

void image_close(struct image *im)
{
    if (im == NULL)
        return;
    fd_closep(&im->fd);
    free(im->manifest);
    free(im);
}

void image_closep(struct image **im)
{
    image_close(*im);
    *im = NULL;
}
