// SPDX-License-Identifier: Apache-2.0
#include "control/link.h"

#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/spec.h"
#include "host/file.h"
#include "host/log.h"

enum { REPORT_TIMEOUT_MS = 3000, PATH_BYTES = 4096 };

static int on_line(void *ctx, const char *line, size_t len)
{
    struct link *l = ctx;
    char *copy = strndup(line, len);
    if (copy != NULL)
        mailbox_put(&l->desired, copy);
    return 0;
}

static void on_state(void *ctx, const char *why)
{
    const struct link *l = ctx;
    if (why == NULL)
        log_info("controller is there", "address=%s", l->base.text);
    else
        log_warn("controller is away", "why=\"%s\"", why);
}

static void *watch(void *arg)
{
    struct link *l = arg;
    char path[128];
    struct err err = {0};
    snprintf(path, sizeof(path), "/v1/regions/%s/watch", l->region);
    struct http_watch w = {.base = &l->base,
                           .path = path,
                           .stop_fd = l->stop_fd,
                           .line = on_line,
                           .state = on_state,
                           .ctx = l};
    while (http_watch(&w, &err) < 0) {
        log_warn("cannot watch", "why=\"%s\"", err.text);
        struct pollfd stop = {.fd = l->stop_fd, .events = POLLIN};
        if (poll(&stop, 1, HTTP_RETRY_MAX_MS) > 0)
            break;
    }
    return NULL;
}

// Wait for a text; NULL: to stop.
static char *next(struct link *l, struct mailbox *m)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = l->stop_fd, .events = POLLIN},
                                {.fd = m->fd, .events = POLLIN}};
        (void)poll(fds, 2, -1);
        if (fds[0].revents != 0)
            return NULL;
        char *text = fds[1].revents != 0 ? mailbox_take(m) : NULL;
        if (text != NULL)
            return text;
    }
}

static void *report(void *arg)
{
    struct link *l = arg;
    char path[128];
    snprintf(path, sizeof(path), "/v1/regions/%s/report", l->region);
    for (char *text = next(l, &l->out); text != NULL; text = next(l, &l->out)) {
        struct err err = {0};
        CLEANUP(http_answer_free) struct http_answer a = {0};
        struct http_request q = {.method = "POST",
                                 .path = path,
                                 .body = text,
                                 .body_bytes = strlen(text),
                                 .timeout_ms = REPORT_TIMEOUT_MS,
                                 .stop_fd = l->stop_fd};
        int r = http_do(&l->base, &q, &a, &err);
        if (r == 0 && (r = http_check(&a, &err)) < 0)
            log_warn("report refused", "why=\"%s\"", err.text);
        free(text);
        char *answer = strdup(r == 0 && a.body != NULL ? a.body : "");
        if (answer != NULL)
            mailbox_put(&l->answer, answer);
    }
    return NULL;
}

struct pull {
    struct file_new file;
    EVP_MD_CTX *sum;
};

static int pull_data(void *ctx, const void *data, size_t len)
{
    struct pull *p = ctx;
    int r = file_write_all(p->file.fd, data, len);
    return r == 0 && EVP_DigestUpdate(p->sum, data, len) != 1 ? -EIO : r;
}

static int check_sum(struct pull *p, const char *digest, struct err *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char text[DIGEST_MAX] = "sha256:";
    if (EVP_DigestFinal_ex(p->sum, sum, &len) != 1)
        return err_set(err, -EIO, "cannot compute the digest");
    for (unsigned i = 0; i < 32; i++)
        snprintf(text + 7 + 2 * i, 3, "%02x", sum[i]);
    if (strcmp(text, digest) != 0)
        return err_set(err, -EBADMSG, "the image that came is %s", text);
    return 0;
}

static int pull_file(struct link *l, struct pull *p, const char *digest, struct err *err)
{
    char url[128], path[PATH_BYTES];
    snprintf(url, sizeof(url), "/v1/images/%s", digest);
    snprintf(path, sizeof(path), "%s/%s", l->images_dir, digest);
    int r = file_new_open(&p->file, l->images_dir, 0600, err);
    if (r < 0)
        return r;
    if (p->sum == NULL || EVP_DigestInit_ex(p->sum, EVP_sha256(), NULL) != 1)
        r = err_set(err, -ENOMEM, "out of memory");
    CLEANUP(http_answer_free) struct http_answer a = {0};
    struct http_request q = {
        .method = "GET", .path = url, .stop_fd = l->stop_fd, .recv = pull_data, .ctx = p};
    if (r == 0)
        r = http_do(&l->base, &q, &a, err);
    if (r == 0)
        r = http_check(&a, err);
    if (r == 0)
        r = check_sum(p, digest, err);
    if (r == 0)
        return file_new_commit(&p->file, path, err);
    file_new_abort(&p->file);
    return r;
}

static void *pull(void *arg)
{
    struct link *l = arg;
    for (char *digest = next(l, &l->want); digest != NULL; digest = next(l, &l->want)) {
        struct err err = {0};
        struct pull p = {.sum = EVP_MD_CTX_new()};
        int r = pull_file(l, &p, digest, &err);
        EVP_MD_CTX_free(p.sum);
        if (r == 0)
            log_info("image fetched", "digest=%s", digest);
        else
            log_warn("image not fetched", "digest=%s why=\"%s\"", digest, err.text);
        free(digest);
        char *result = strdup(r == 0 ? "" : err.text);
        if (result != NULL)
            mailbox_put(&l->pulled, result);
    }
    return NULL;
}

int link_start(struct link *l, const struct http_base *base, const char *region,
               const char *images_dir, struct err *err)
{
    static void *(*const bodies[])(void *) = {watch, report, pull};
    *l = (struct link){.base = *base, .region = region, .images_dir = images_dir};
    pthread_t *const threads[] = {&l->watcher, &l->reporter, &l->puller};
    struct mailbox *const boxes[] = {&l->desired, &l->answer, &l->pulled, &l->out, &l->want};
    l->stop_fd = eventfd(0, EFD_CLOEXEC);
    int r = l->stop_fd < 0 ? -errno : 0;
    for (size_t i = 0; i < ARRAY_LEN(boxes) && r == 0; i++)
        r = mailbox_init(boxes[i]);
    for (size_t i = 0; i < ARRAY_LEN(bodies) && r == 0; i++) {
        r = -pthread_create(threads[i], NULL, bodies[i], l);
        l->threads += r == 0;
    }
    if (r < 0) {
        link_stop(l);
        return err_set(err, r, "cannot start: %s", strerror(-r));
    }
    return 0;
}

void link_stop(struct link *l)
{
    const pthread_t threads[] = {l->watcher, l->reporter, l->puller};
    struct mailbox *const boxes[] = {&l->desired, &l->answer, &l->pulled, &l->out, &l->want};
    if (l->stop_fd > 0)
        eventfd_write(l->stop_fd, 1);
    for (uint32_t i = 0; i < l->threads; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(boxes); i++)
        mailbox_deinit(boxes[i]);
    if (l->stop_fd > 0)
        close(l->stop_fd);
    *l = (struct link){0};
}
