// SPDX-License-Identifier: Apache-2.0
#include "control/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "control/controller.h"
#include "host/file.h"
#include "host/http.h"
#include "host/json.h"
#include "host/log.h"

enum {
    BODY_MAX = 16 << 20,  // bytes of a JSON body
    IMAGE_MAX = 1 << 30,  // bytes of an image
    TICK_MS = 100,        // time alone changes things: reports get stale, patience ends
    KEEP_ALIVE_MS = 5000, // docs/protocols.md
    STREAM_BLOCK = 16384, // bytes handed to a client at once
    CONNECTIONS_MAX = 1024,
};

enum stream_kind { STREAM_EDGES, STREAM_REGION, STREAM_APP, STREAM_LOGS };

/* A long answer: always the newest whole line (logs: what is new). A slow reader skips lines that
 * were replaced before their turn came. */
struct stream {
    struct list node;
    struct api *api;
    struct MHD_Connection *connection;
    enum stream_kind kind;
    char name[64];
    char *content; // last line told or waiting, without its version
    char *out;     // being sent
    size_t out_len, out_sent;
    char *next; // follows out
    bool suspended, ending, follow;
    uint64_t spoke_ms;      // when the last byte was queued
    struct log_mark *marks; // logs only
    size_t marks_len;
};

struct log_mark {
    char id[REPORT_ID_MAX];
    uint64_t offset;
};

struct api {
    struct controller controller;
    struct MHD_Daemon *daemons[API_LISTEN_MAX];
    int listen_fds[API_LISTEN_MAX];
    char *unlink_paths[API_LISTEN_MAX];
    uint32_t daemons_len;
    struct list streams;
    bool broken; // the store failed
};

// A request under way.
struct request {
    struct api *api;
    char *body;
    size_t len, max;
    bool too_large;
    // image upload
    bool uploading;
    struct file_new file;
    EVP_MD_CTX *sum;
    uint64_t bytes;
    int failed;
};

static struct times times_now(void)
{
    struct timespec wall, mono;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    return (struct times){
        .wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000,
        .mono_ms = (uint64_t)mono.tv_sec * 1000 + (uint64_t)mono.tv_nsec / 1000000,
    };
}

// --- answers ---

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned status, const char *type,
                                   char *text) // takes text over
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, "Content-Type", type);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result answer_json(struct MHD_Connection *c, unsigned status, json_t *j) // steals j
{
    char *text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text == NULL ? MHD_NO : answer_text(c, status, "application/json", text);
}

static unsigned status_of(int code)
{
    switch (code) {
    case -EINVAL:
        return MHD_HTTP_BAD_REQUEST;
    case -ENOENT:
        return MHD_HTTP_NOT_FOUND;
    case -EEXIST:
        return MHD_HTTP_CONFLICT;
    case -EUSERS:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static enum MHD_Result answer_error(struct MHD_Connection *c, const struct err *e)
{
    return answer_json(c, status_of(e->code), json_pack("{s:s}", "error", e->text));
}

// --- streams ---

// {"version": N, and the rest of content.
static char *stamp(const char *content, uint64_t version)
{
    char *line = NULL;
    int n = asprintf(&line, "{\"version\":%llu,%s\n", (unsigned long long)version, content + 1);
    return n < 0 ? NULL : line;
}

static void wake(struct stream *s)
{
    if (s->suspended) {
        s->suspended = false;
        MHD_resume_connection(s->connection);
    }
}

// Queue text (taken over) behind what is being sent; replaces what waited there.
static void say(struct stream *s, char *text)
{
    if (text == NULL)
        return;
    free(s->next);
    s->next = text;
    s->spoke_ms = times_now().mono_ms;
    wake(s);
}

static json_t *content_of(const struct stream *s, struct times now)
{
    const struct controller *c = &s->api->controller;
    if (s->kind == STREAM_EDGES)
        return controller_edge_table(c, now);
    if (s->kind == STREAM_REGION)
        return controller_region_state(c, s->name);
    const struct app *a = controller_app(c, s->name);
    if (a == NULL)
        return json_pack("{s:s,s:s}", "app", s->name, "state", "gone");
    return controller_app_state(c, a, now);
}

static void refresh_state(struct stream *s, struct times now)
{
    json_auto_t *j = content_of(s, now);
    char *content = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);
    if (content == NULL)
        return;
    if (s->content != NULL && strcmp(s->content, content) == 0) {
        free(content);
        return;
    }
    free(s->content);
    s->content = content;
    s->ending = s->kind == STREAM_APP && controller_app(&s->api->controller, s->name) == NULL;
    say(s, stamp(content, s->api->controller.version));
}

static uint64_t *log_mark(struct stream *s, const char *id)
{
    for (size_t i = 0; i < s->marks_len; i++)
        if (strcmp(s->marks[i].id, id) == 0)
            return &s->marks[i].offset;
    struct log_mark *bigger = reallocarray(s->marks, s->marks_len + 1, sizeof(*bigger));
    if (bigger == NULL)
        return NULL;
    s->marks = bigger;
    struct log_mark *m = &s->marks[s->marks_len++];
    *m = (struct log_mark){0};
    snprintf(m->id, sizeof(m->id), "%s", id);
    return &m->offset;
}

// Every line of text with the instance's name in front.
static void print_lines(FILE *f, const char *id, const char *text, size_t len)
{
    while (len > 0) {
        const char *newline = memchr(text, '\n', len);
        size_t n = newline == NULL ? len : (size_t)(newline + 1 - text);
        fprintf(f, "%s | ", id);
        fwrite(text, 1, n, f);
        text += n;
        len -= n;
    }
}

static void refresh_logs(struct stream *s)
{
    const struct controller *c = &s->api->controller;
    char *text = NULL;
    size_t len = 0;
    if (s->next != NULL)
        return; // the reader is slow: it gets the rest when it has read this
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return;
    for (uint32_t i = 0; i < c->instances_len; i++) {
        const struct instance *x = c->instances[i];
        uint64_t *mark = strcmp(x->app, s->name) == 0 ? log_mark(s, x->id) : NULL;
        const char *lines;
        size_t n = mark == NULL ? 0 : console_read(&x->console, mark, &lines);
        if (n > 0)
            print_lines(f, x->id, lines, n);
    }
    fclose(f);
    s->ending = !s->follow || controller_app(c, s->name) == NULL;
    if (len > 0)
        say(s, text);
    else
        free(text);
    if (s->ending)
        wake(s);
}

static void refresh(struct stream *s, struct times now)
{
    if (s->ending)
        return;
    if (s->kind == STREAM_LOGS)
        refresh_logs(s);
    else
        refresh_state(s, now);
    if (s->kind != STREAM_LOGS && now.mono_ms - s->spoke_ms >= KEEP_ALIVE_MS && s->next == NULL)
        say(s, strdup("{}\n"));
}

// libmicrohttpd asks for more: what there is, or sleep until say() wakes the connection.
static ssize_t stream_read(void *ctx, UNUSED uint64_t at, char *buf, size_t max)
{
    struct stream *s = ctx;
    if (s->out_sent == s->out_len && s->next != NULL) {
        free(s->out);
        s->out = TAKE(s->next);
        s->out_len = strlen(s->out);
        s->out_sent = 0;
    }
    size_t n = MIN(max, s->out_len - s->out_sent);
    if (n == 0 && s->ending)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        s->suspended = true;
        MHD_suspend_connection(s->connection);
        return 0;
    }
    memcpy(buf, s->out + s->out_sent, n);
    s->out_sent += n;
    return (ssize_t)n;
}

static void stream_free(void *ctx)
{
    struct stream *s = ctx;
    list_remove(&s->node);
    free(s->content);
    free(s->out);
    free(s->next);
    free(s->marks);
    free(s);
}

static enum MHD_Result open_stream(struct api *api, struct MHD_Connection *c, enum stream_kind kind,
                                   const char *name, bool follow)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return MHD_NO;
    *s = (struct stream){.api = api, .connection = c, .kind = kind, .follow = follow};
    snprintf(s->name, sizeof(s->name), "%s", name);
    list_push_back(&api->streams, &s->node);
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                                               stream_read, s, stream_free);
    if (r == NULL) {
        stream_free(s);
        return MHD_NO;
    }
    MHD_add_response_header(r, "Content-Type",
                            kind == STREAM_LOGS ? "text/plain" : "application/x-ndjson");
    refresh(s, times_now());
    enum MHD_Result ok = MHD_queue_response(c, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return ok;
}

// --- one handler a route ---

struct call {
    struct api *api;
    struct MHD_Connection *connection;
    struct request *request;
    const char *name; // the variable part of the path
};

static int body_json(const struct call *call, json_t **ret, struct err *err)
{
    const struct request *q = call->request;
    if (q->too_large)
        return err_set(err, -EINVAL, "the body is larger than %d bytes", BODY_MAX);
    return json_read_text(q->body == NULL ? "" : q->body, q->len, "body", ret, err);
}

// Decide anew and tell everybody; false: the store failed, and the loop ends.
static bool step_and_tell(struct api *api)
{
    struct err err = {0};
    struct times now = times_now();
    if (controller_step(&api->controller, now, &err) < 0) {
        log_error("store failed", "error=\"%s\"", err.text);
        api->broken = true;
        return false;
    }
    LIST_FOR_EACH_SAFE (node, &api->streams)
        refresh(LIST_ENTRY(node, struct stream, node), now);
    return true;
}

static enum MHD_Result edges_watch(const struct call *call)
{
    return open_stream(call->api, call->connection, STREAM_EDGES, call->name, true);
}

static enum MHD_Result region_watch(const struct call *call)
{
    return open_stream(call->api, call->connection, STREAM_REGION, call->name, true);
}

static enum MHD_Result no_such_app(const struct call *call)
{
    struct err e;
    (void)err_set(&e, -ENOENT, "there is no app '%s'", call->name);
    return answer_error(call->connection, &e);
}

static enum MHD_Result app_watch(const struct call *call)
{
    if (controller_app(&call->api->controller, call->name) == NULL)
        return no_such_app(call);
    return open_stream(call->api, call->connection, STREAM_APP, call->name, true);
}

static enum MHD_Result app_logs(const struct call *call)
{
    const char *follow =
        MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, "follow");
    if (controller_app(&call->api->controller, call->name) == NULL)
        return no_such_app(call);
    return open_stream(call->api, call->connection, STREAM_LOGS, call->name,
                       follow != NULL && strcmp(follow, "1") == 0);
}

static enum MHD_Result edges_report(const struct call *call)
{
    struct err err = {0};
    json_auto_t *j = NULL;
    int r = body_json(call, &j, &err);
    if (r == 0)
        r = controller_edge_report(&call->api->controller, call->name, j, times_now(), &err);
    if (r < 0)
        return answer_error(call->connection, &err);
    step_and_tell(call->api);
    return answer_json(call->connection, MHD_HTTP_OK, json_object());
}

static enum MHD_Result region_report(const struct call *call)
{
    struct err err = {0};
    json_auto_t *j = NULL;
    json_t *answer = NULL;
    int r = body_json(call, &j, &err);
    if (r == 0)
        r = controller_agent_report(&call->api->controller, call->name, j, times_now(), &answer,
                                    &err);
    if (r < 0)
        return answer_error(call->connection, &err);
    step_and_tell(call->api);
    return answer_json(call->connection, MHD_HTTP_OK, answer);
}

static enum MHD_Result app_put(const struct call *call)
{
    struct err err = {0};
    json_auto_t *j = NULL;
    struct app_spec spec;
    bool changed = false;
    int r = body_json(call, &j, &err);
    if (r == 0)
        r = spec_from_json("body", j, &spec, &err);
    if (r == 0 && strcmp(spec.app, call->name) != 0)
        r = err_set(&err, -EINVAL, "body: app is '%s', the path says '%s'", spec.app, call->name);
    if (r == 0)
        r = controller_put_app(&call->api->controller, &spec, &changed, &err);
    if (r < 0)
        return answer_error(call->connection, &err);
    const struct app *a = controller_app(&call->api->controller, call->name);
    json_t *answer =
        json_pack("{s:b,s:I}", "changed", changed, "generation", (json_int_t)a->generation);
    if (changed)
        log_info("app wanted", "app=%s generation=%llu", spec.app,
                 (unsigned long long)a->generation);
    step_and_tell(call->api);
    return answer_json(call->connection, MHD_HTTP_OK, answer);
}

static enum MHD_Result app_get(const struct call *call)
{
    const struct app *a = controller_app(&call->api->controller, call->name);
    if (a == NULL)
        return no_such_app(call);
    return answer_json(call->connection, MHD_HTTP_OK,
                       controller_app_state(&call->api->controller, a, times_now()));
}

static enum MHD_Result app_delete(const struct call *call)
{
    struct err err = {0};
    if (controller_delete_app(&call->api->controller, call->name, &err) < 0)
        return answer_error(call->connection, &err);
    log_info("app to go", "app=%s", call->name);
    step_and_tell(call->api);
    return answer_json(call->connection, MHD_HTTP_OK, json_object());
}

static enum MHD_Result status_get(const struct call *call)
{
    return answer_json(call->connection, MHD_HTTP_OK,
                       controller_status(&call->api->controller, times_now()));
}

static void image_path(const struct api *api, const char *digest, char *ret, size_t max)
{
    snprintf(ret, max, "%s/%s", api->controller.images_dir, digest);
}

static enum MHD_Result bad_digest(const struct call *call)
{
    struct err e;
    (void)err_set(&e, -EINVAL, "'%.80s' is no digest of an image", call->name);
    return answer_error(call->connection, &e);
}

static enum MHD_Result image_get(const struct call *call)
{
    char path[8192];
    struct stat st;
    if (!digest_is_valid(call->name))
        return bad_digest(call);
    image_path(call->api, call->name, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        struct err e;
        (void)err_set(&e, -ENOENT, "there is no image %s", call->name);
        fd_closep(&fd);
        return answer_error(call->connection, &e);
    }
    struct MHD_Response *r = MHD_create_response_from_fd((uint64_t)st.st_size, fd);
    if (r == NULL) {
        close(fd);
        return MHD_NO;
    }
    enum MHD_Result ok = MHD_queue_response(call->connection, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return ok;
}

static int finish_upload(const struct call *call, struct err *err)
{
    struct request *q = call->request;
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned sum_len = 0;
    char digest[DIGEST_MAX] = "sha256:", path[8192];
    if (q->failed < 0)
        return err_set(err, q->failed, "image %s: %s", call->name, strerror(-q->failed));
    if (!q->uploading || EVP_DigestFinal_ex(q->sum, sum, &sum_len) != 1)
        return err_set(err, -EINVAL, "image %s: no content", call->name);
    for (unsigned i = 0; i < 32; i++)
        snprintf(digest + 7 + 2 * i, 3, "%02x", sum[i]);
    if (strcmp(digest, call->name) != 0)
        return err_set(err, -EINVAL, "image %s: its content is %s", call->name, digest);
    image_path(call->api, digest, path, sizeof(path));
    return file_new_commit(&q->file, path, err);
}

static enum MHD_Result image_put(const struct call *call)
{
    struct err err = {0};
    if (!digest_is_valid(call->name))
        return bad_digest(call);
    if (finish_upload(call, &err) < 0)
        return answer_error(call->connection, &err);
    log_info("image received", "digest=%s bytes=%llu", call->name,
             (unsigned long long)call->request->bytes);
    return answer_json(call->connection, MHD_HTTP_OK, json_object());
}

/* Routes: method, prefix, suffix; what stands between them is the name. */
static const struct route {
    const char *method, *prefix, *suffix;
    enum MHD_Result (*run)(const struct call *call);
} routes[] = {
    {"GET", "/v1/pops/", "/watch", edges_watch},
    {"POST", "/v1/pops/", "/report", edges_report},
    {"GET", "/v1/regions/", "/watch", region_watch},
    {"POST", "/v1/regions/", "/report", region_report},
    {"GET", "/v1/apps/", "/watch", app_watch},
    {"GET", "/v1/apps/", "/logs", app_logs},
    {"PUT", "/v1/apps/", "", app_put},
    {"GET", "/v1/apps/", "", app_get},
    {"DELETE", "/v1/apps/", "", app_delete},
    {"PUT", "/v1/images/", "", image_put},
    {"GET", "/v1/images/", "", image_get},
    {"HEAD", "/v1/images/", "", image_get},
    {"GET", "/v1/status", "", status_get},
};

static bool match(const struct route *r, const char *url, char *name, size_t max)
{
    size_t prefix = strlen(r->prefix), suffix = strlen(r->suffix), len = strlen(url);
    if (strncmp(url, r->prefix, prefix) != 0 || len < prefix + suffix ||
        strcmp(url + len - suffix, r->suffix) != 0)
        return false;
    size_t n = len - prefix - suffix;
    if (n >= max || memchr(url + prefix, '/', n) != NULL)
        return false;
    memcpy(name, url + prefix, n);
    name[n] = '\0';
    // Digests are checked by their handlers; all other names are names of apps, regions and POPs.
    return n == 0 ? r->prefix[prefix - 1] != '/'
                  : name_is_valid(name, POP_NAME_MAX) || digest_is_valid(name);
}

static enum MHD_Result dispatch(struct api *api, struct MHD_Connection *c, struct request *q,
                                const char *method, const char *url)
{
    char name[128];
    struct err e;
    bool path_known = false;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!match(&routes[i], url, name, sizeof(name)))
            continue;
        path_known = true;
        if (strcmp(routes[i].method, method) == 0)
            return routes[i].run(
                &(struct call){.api = api, .connection = c, .request = q, .name = name});
    }
    (void)err_set(&e, path_known ? -EINVAL : -ENOENT, "no %s %.200s here", method, url);
    return answer_error(c, &e);
}

// --- requests ---

static void begin_upload(struct request *q)
{
    struct err err = {0};
    q->uploading = true;
    q->sum = EVP_MD_CTX_new();
    q->failed = file_new_open(&q->file, q->api->controller.images_dir, 0600, &err);
    if (q->failed == 0 && (q->sum == NULL || EVP_DigestInit_ex(q->sum, EVP_sha256(), NULL) != 1))
        q->failed = -ENOMEM;
}

static void take_upload(struct request *q, const char *data, size_t len)
{
    if (!q->uploading)
        begin_upload(q);
    if (q->failed == 0 && q->bytes + len > IMAGE_MAX)
        q->failed = -EFBIG;
    if (q->failed == 0)
        q->failed = file_write_all(q->file.fd, data, len);
    if (q->failed == 0 && EVP_DigestUpdate(q->sum, data, len) != 1)
        q->failed = -EIO;
    q->bytes += len;
}

static void take_body(struct request *q, const char *data, size_t len)
{
    if (q->too_large || len > BODY_MAX - q->len) {
        q->too_large = true;
        return;
    }
    if (q->len + len > q->max) {
        size_t max = MAX(q->max * 2, q->len + len);
        char *bigger = realloc(q->body, max);
        if (bigger == NULL) {
            q->too_large = true;
            return;
        }
        q->body = bigger;
        q->max = max;
    }
    memcpy(q->body + q->len, data, len);
    q->len += len;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, UNUSED const char *version,
                                  const char *upload, size_t *upload_len, void **request)
{
    struct api *api = ctx;
    struct request *q = *request;
    if (q == NULL) { // the head only; the body follows
        q = calloc(1, sizeof(*q));
        if (q == NULL)
            return MHD_NO;
        q->api = api;
        q->file.fd = -1;
        *request = q;
        return MHD_YES;
    }
    if (*upload_len > 0) {
        if (strcmp(method, "PUT") == 0 && strncmp(url, "/v1/images/", 11) == 0)
            take_upload(q, upload, *upload_len);
        else
            take_body(q, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    return dispatch(api, c, q, method, url);
}

static void on_completed(UNUSED void *ctx, UNUSED struct MHD_Connection *c, void **request,
                         UNUSED enum MHD_RequestTerminationCode why)
{
    struct request *q = *request;
    if (q == NULL)
        return;
    if (q->uploading)
        file_new_abort(&q->file);
    EVP_MD_CTX_free(q->sum);
    free(q->body);
    free(q);
    *request = NULL;
}

// --- listening ---

static int listen_unix(const char *path, struct err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path) + 1);
    char folder[sizeof(a.sun_path)];
    memcpy(folder, a.sun_path, sizeof(folder));
    *strrchr(folder, '/') = '\0';
    if (folder[0] != '\0' && file_mkdirs(folder, 0755, err) < 0)
        return err->code;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    // A socket file that nobody listens on was left by one that died.
    if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 || errno == EAGAIN) {
        close(fd);
        return err_set(err, -EADDRINUSE, "unix:%s: another controller listens there", path);
    }
    unlink(path);
    mode_t mask = umask(0177);
    int bound = bind(fd, (const struct sockaddr *)&a, sizeof(a));
    umask(mask);
    if (bound != 0 || listen(fd, 128) != 0) {
        int code = -errno;
        close(fd);
        return err_set(err, code, "unix:%s: cannot listen: %s", path, strerror(-code));
    }
    return fd;
}

static int listen_tcp(const char *text, struct err *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, &end, 10);
    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || *end != '\0' || port == 0 ||
        port > 65535)
        return err_set(err, -EINVAL, "http://%s: must be http://ADDRESS:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
        return err_set(err, -EINVAL, "http://%s: '%s' is not an IPv4 address", text, host);
    a.sin_port = htons((uint16_t)port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 128) == 0)
        return fd;
    int code = -errno;
    fd_closep(&fd);
    return err_set(err, code, "http://%s: cannot listen: %s", text, strerror(-code));
}

// What libmicrohttpd has to say: mostly that a client left in the middle of a stream, as they may.
PRINTF_LIKE(2, 0) static void on_log(UNUSED void *ctx, const char *format, va_list args)
{
    char text[256];
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("http server", "says=\"%s\"", text);
}

static int listen_on(struct api *api, const char *address, struct err *err)
{
    struct http_base base;
    int r = http_base_parse(address, &base, err);
    if (r < 0)
        return r;
    const char *rest = base.is_unix ? address + 5 : address + 7;
    int fd = base.is_unix ? listen_unix(rest, err) : listen_tcp(rest, err);
    if (fd < 0)
        return fd;
    struct MHD_Daemon *d = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
        api, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_END);
    if (d == NULL) {
        close(fd);
        return err_set(err, -ENOMEM, "%s: cannot start the server", address);
    }
    api->unlink_paths[api->daemons_len] = base.is_unix ? strdup(rest) : NULL;
    api->daemons[api->daemons_len++] = d;
    log_info("listening", "address=%s", address);
    return 0;
}

static void stop_listening(struct api *api)
{
    // Suspended connections must be woken before their daemon may stop.
    LIST_FOR_EACH_SAFE (node, &api->streams) {
        struct stream *s = LIST_ENTRY(node, struct stream, node);
        s->ending = true;
        wake(s);
    }
    for (uint32_t i = 0; i < api->daemons_len; i++) {
        MHD_run(api->daemons[i]);
        MHD_stop_daemon(api->daemons[i]); // closes the socket too
        if (api->unlink_paths[i] != NULL)
            unlink(api->unlink_paths[i]);
        free(api->unlink_paths[i]);
    }
    api->daemons_len = 0;
}

static int signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int wait_ms(const struct api *api, uint64_t tick_at)
{
    uint64_t now = times_now().mono_ms;
    uint64_t wait = tick_at > now ? tick_at - now : 0;
    for (uint32_t i = 0; i < api->daemons_len; i++) {
        MHD_UNSIGNED_LONG_LONG own;
        if (MHD_get_timeout(api->daemons[i], &own) == MHD_YES && own < wait)
            wait = own;
    }
    return (int)wait;
}

static void loop(struct api *api, int signal_fd)
{
    struct pollfd fds[API_LISTEN_MAX + 1] = {{.fd = signal_fd, .events = POLLIN}};
    for (uint32_t i = 0; i < api->daemons_len; i++)
        fds[i + 1] = (struct pollfd){
            .fd = MHD_get_daemon_info(api->daemons[i], MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
            .events = POLLIN};
    uint64_t tick_at = 0;
    while (!api->broken) {
        int n = poll(fds, api->daemons_len + 1, wait_ms(api, tick_at));
        if (n > 0 && fds[0].revents != 0)
            return;
        for (uint32_t i = 0; i < api->daemons_len; i++)
            MHD_run(api->daemons[i]);
        uint64_t now = times_now().mono_ms;
        if (now < tick_at)
            continue;
        tick_at = now + TICK_MS;
        step_and_tell(api);
    }
}

int api_run(const struct api_config *config, struct err *err)
{
    struct api api = {0};
    list_init(&api.streams);
    int signal_fd = signals();
    int r = controller_open(&api.controller, config->state_dir, times_now(), err);
    if (r < 0) {
        fd_closep(&signal_fd);
        return r;
    }
    for (uint32_t i = 0; i < config->listen_len && r == 0; i++)
        r = listen_on(&api, config->listen[i], err);
    if (r == 0)
        loop(&api, signal_fd);
    stop_listening(&api);
    controller_close(&api.controller);
    fd_closep(&signal_fd);
    if (r == 0 && api.broken)
        r = err_set(err, -EIO, "the store failed");
    return r;
}
