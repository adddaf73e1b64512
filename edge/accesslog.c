// SPDX-License-Identifier: Apache-2.0
#include "edge/accesslog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fmt.h"
#include "host/loop.h"

struct access_log {
    struct loop loop;
    struct loop_timer flush;
    pthread_t thread;
    struct log_ring **rings; // owned list
    unsigned rings_n;
    char *path;
    int fd;
    bool reopen, stop; // atomic
};

int log_ring_init(struct log_ring *r)
{
    r->bytes = malloc(LOG_RING_BYTES);
    r->head = r->tail = 0;
    return r->bytes == NULL ? -ENOMEM : 0;
}

void log_ring_deinit(struct log_ring *r)
{
    free(r->bytes);
    r->bytes = NULL;
}

static size_t ring_put(struct log_ring *r, const char *line, size_t n)
{
    uint64_t head = r->head;
    if (n > LOG_RING_BYTES - (head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE)))
        return 0;
    size_t at = head % LOG_RING_BYTES, first = MIN(n, LOG_RING_BYTES - at);
    memcpy(r->bytes + at, line, first);
    memcpy(r->bytes, line + first, n - first);
    __atomic_store_n(&r->head, head + n, __ATOMIC_RELEASE); // pairs with drain()
    return n;
}

// JSON: quotes and backslashes are escaped; other control bytes cannot get through the parser.
static void put_text(struct writer *w, struct http_slice s)
{
    for (uint32_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            writer_u8(w, '\\');
        writer_u8(w, (uint8_t)s.p[i]);
    }
}

bool log_ring_put(struct log_ring *r, const struct log_entry *e)
{
    char line[LOG_LINE_MAX];
    struct tm tm;
    time_t second = (time_t)(e->wall_ms / 1000);
    gmtime_r(&second, &tm);
    size_t n =
        fmt(line, sizeof(line),
            "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"client\":\"%.*s\","
            "\"app\":\"%s\",\"status\":%d,\"bytes\":%lu,\"us\":%lu,\"tries\":%u,"
            "\"peer\":\"%s\",\"region\":\"%s\",\"method\":\"",
            tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
            (int)(e->wall_ms % 1000), (int)e->client.len, e->client.p, e->app, e->status,
            (unsigned long)e->bytes, (unsigned long)e->duration_us, e->tries, e->peer, e->region);
    struct writer w = writer_of(line, sizeof(line) - 3);
    w.len = n;
    put_text(&w, e->method);
    writer_bytes(&w, "\",\"target\":\"", 12);
    struct http_slice target = e->target;
    target.len = MIN(target.len, (uint32_t)(w.max - w.len) / 2);
    put_text(&w, target);
    memcpy(line + w.len, "\"}\n", 3);
    return ring_put(r, line, w.len + 3) > 0;
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return; // a full disk must not stop the service
        p += done;
        n -= (size_t)done;
    }
}

static void drain(struct access_log *l)
{
    for (unsigned i = 0; i < l->rings_n; i++) {
        struct log_ring *r = l->rings[i];
        uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE), tail = r->tail;
        size_t at = tail % LOG_RING_BYTES, n = head - tail, first = MIN(n, LOG_RING_BYTES - at);
        write_all(l->fd, r->bytes + at, first);
        write_all(l->fd, r->bytes, n - first);
        __atomic_store_n(&r->tail, head, __ATOMIC_RELEASE); // pairs with ring_put()
    }
}

static int open_log(const char *path)
{
    if (strcmp(path, "-") == 0)
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static void flush(struct loop_timer *t)
{
    struct access_log *l = CONTAINER_OF(t, struct access_log, flush);
    drain(l);
    if (__atomic_exchange_n(&l->reopen, false, __ATOMIC_ACQ_REL)) {
        int fd = open_log(l->path);
        if (fd >= 0) {
            close(l->fd);
            l->fd = fd;
        }
    }
    l->loop.stop = __atomic_load_n(&l->stop, __ATOMIC_ACQUIRE);
    loop_timer_set(&l->loop, t, l->loop.now_ms + LOG_FLUSH_MS);
}

static void *run(void *arg)
{
    struct access_log *l = arg;
    loop_run(&l->loop);
    drain(l);
    return NULL;
}

static void log_free(struct access_log *l)
{
    loop_deinit(&l->loop);
    if (l->fd >= 0)
        close(l->fd);
    free(l->path);
    free(l->rings);
    free(l);
}

int access_log_start(const char *path, struct log_ring **rings, unsigned n, struct access_log **ret,
                     struct err *err)
{
    struct access_log *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    l->loop.epoll_fd = l->loop.bell.fd = -1;
    l->rings = calloc(n, sizeof(struct log_ring *));
    l->path = strdup(path);
    l->fd = l->rings == NULL || l->path == NULL ? -1 : open_log(path);
    for (; l->rings != NULL && l->rings_n < n; l->rings_n++)
        l->rings[l->rings_n] = rings[l->rings_n];
    int r = l->fd < 0 ? err_set(err, -errno, "access log '%s': %s", path, strerror(errno))
                      : loop_init(&l->loop, err);
    if (r == 0) {
        l->flush.fire = flush;
        loop_timer_set(&l->loop, &l->flush, l->loop.now_ms + LOG_FLUSH_MS);
        r = -pthread_create(&l->thread, NULL, run, l);
        if (r < 0)
            err_set(err, r, "access log: %s", strerror(-r));
    }
    if (r < 0) {
        log_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

void access_log_reopen(struct access_log *l)
{
    __atomic_store_n(&l->reopen, true, __ATOMIC_RELEASE);
}

void access_log_stop(struct access_log *l)
{
    if (l == NULL)
        return;
    __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
    pthread_join(l->thread, NULL);
    log_free(l);
}
