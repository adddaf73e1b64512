// SPDX-License-Identifier: Apache-2.0
#include "host/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { URL_MAX = HTTP_BASE_MAX + 1024, SLICE_MS = 1000 };

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int http_base_parse(const char *text, struct http_base *ret, struct err *err)
{
    struct http_base b = {0};
    if (strlen(text) >= sizeof(b.text))
        return err_set(err, -EINVAL, "address '%.60s...' is too long", text);
    memcpy(b.text, text, strlen(text) + 1);
    bool is_unix = strncmp(text, "unix:/", 6) == 0;
    if (is_unix && strlen(text + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_set(err, -EINVAL, "address '%s': the socket's path is too long", text);
    if (!is_unix &&
        (strncmp(text, "http://", 7) != 0 || strpbrk(text + 7, "/?# ") != NULL || text[7] == '\0'))
        return err_set(err, -EINVAL,
                       "address '%s' is neither unix:/path/of/socket nor http://host:port", text);
    b.is_unix = is_unix;
    *ret = b;
    return 0;
}

/* A growing buffer with an upper bound. */
struct buffer {
    char *data; // NUL-ended when not NULL
    size_t len, max, bound;
};

static int buffer_add(struct buffer *b, const void *data, size_t len)
{
    if (len > b->bound - b->len)
        return -EFBIG;
    if (b->len + len + 1 > b->max) {
        size_t max = MAX(b->max * 2, b->len + len + 1);
        char *bigger = realloc(b->data, max);
        if (bigger == NULL)
            return -ENOMEM;
        b->data = bigger;
        b->max = max;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

enum link { LINK_UNKNOWN, LINK_UP, LINK_DOWN };

/* One exchange under way. */
struct exchange {
    CURL *easy;
    struct curl_slist *headers;
    const struct http_request *request;
    struct buffer body; // an answer's body, or the unfinished line of a watch
    size_t sent;        // bytes of body_fd
    int failed;         // negative errno of a callback
    // watch only
    const struct http_watch *watch;
    uint64_t heard_ms; // when the last byte came
    bool got_line, done;
    enum link *link;
};

static long status_of(const struct exchange *x)
{
    long status = 0;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    size_t len = size * n;
    if (x->request->recv != NULL && status_of(x) == 200)
        x->failed = x->request->recv(x->request->ctx, data, len);
    else
        x->failed = buffer_add(&x->body, data, len);
    return x->failed < 0 ? 0 : len;
}

static size_t on_send(char *to, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    size_t want = MIN(size * n, x->request->body_bytes - x->sent);
    ssize_t got = want == 0 ? 0 : pread(x->request->body_fd, to, want, (off_t)x->sent);
    if (got < 0 || (got == 0 && want > 0)) {
        x->failed = -EIO;
        return CURL_READFUNC_ABORT;
    }
    x->sent += (size_t)got;
    return (size_t)got;
}

static void exchange_end(struct exchange *x)
{
    curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->headers);
    free(x->body.data);
}

static bool add_header(struct exchange *x, const char *text)
{
    struct curl_slist *more = curl_slist_append(x->headers, text);
    if (more == NULL)
        return false;
    x->headers = more;
    return true;
}

// What requests and watches share.
static int exchange_begin(struct exchange *x, const struct http_base *base, const char *path)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    char url[URL_MAX];
    int n =
        snprintf(url, sizeof(url), "%s%s", base->is_unix ? "http://localhost" : base->text, path);
    if (n < 0 || (size_t)n >= sizeof(url))
        return -ENAMETOOLONG;
    x->easy = curl_easy_init();
    if (x->easy == NULL || !add_header(x, "Expect:"))
        return -ENOMEM;
    curl_easy_setopt(x->easy, CURLOPT_URL, url);
    if (base->is_unix)
        curl_easy_setopt(x->easy, CURLOPT_UNIX_SOCKET_PATH, base->text + strlen("unix:"));
    curl_easy_setopt(x->easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
    curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
    return 0;
}

static int add_body(struct exchange *x, const struct http_request *q)
{
    bool from_fd = q->body == NULL && q->body_fd > 0;
    if (q->body == NULL && !from_fd) {
        // Without this curl waits for the body that an answer to HEAD announces and does not have.
        curl_easy_setopt(x->easy, CURLOPT_NOBODY, strcmp(q->method, "HEAD") == 0 ? 1L : 0L);
        curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, q->method);
        return 0;
    }
    char type[128];
    snprintf(type, sizeof(type), "Content-Type: %s",
             q->content_type != NULL ? q->content_type : "application/json");
    if (!add_header(x, type))
        return -ENOMEM;
    if (from_fd) {
        curl_easy_setopt(x->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(x->easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(x->easy, CURLOPT_READDATA, x);
        curl_easy_setopt(x->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->body_bytes);
    } else {
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, q->body);
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_bytes);
    }
    curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, q->method);
    return 0;
}

static uint32_t dead_ms(const struct http_watch *w)
{
    return w->dead_ms > 0 ? w->dead_ms : HTTP_WATCH_DEAD_MS;
}

// How long the loop may sleep before it must look at the silence of a watch; -ETIMEDOUT: too long.
static int silence_left(const struct exchange *x)
{
    if (x->watch == NULL)
        return SLICE_MS;
    uint64_t silent = now_ms() - x->heard_ms, limit = dead_ms(x->watch);
    return silent >= limit ? -ETIMEDOUT : (int)MIN(limit - silent, (uint64_t)SLICE_MS);
}

static int finished(CURLM *multi, CURLcode *ret)
{
    int left;
    for (CURLMsg *m = curl_multi_info_read(multi, &left); m != NULL;
         m = curl_multi_info_read(multi, &left))
        if (m->msg == CURLMSG_DONE) {
            *ret = m->data.result;
            return 1;
        }
    return 0;
}

/* Drive the exchange to its end: 0 with curl's verdict; -ECANCELED by stop_fd; -ETIMEDOUT by
 * silence; -ENOMEM. */
static int drive(CURLM *multi, struct exchange *x, int stop_fd, CURLcode *ret)
{
    struct curl_waitfd stop = {.fd = stop_fd, .events = CURL_WAIT_POLLIN};
    for (;;) {
        int running;
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return -ENOMEM;
        if (finished(multi, ret) == 1)
            return 0;
        int wait = silence_left(x);
        if (wait < 0)
            return wait;
        stop.revents = 0;
        if (curl_multi_poll(multi, &stop, stop_fd > 0 ? 1 : 0, wait, NULL) != CURLM_OK)
            return -ENOMEM;
        if (stop.revents != 0)
            return -ECANCELED;
    }
}

static int perform(struct exchange *x, int stop_fd, CURLcode *ret)
{
    CURLM *multi = curl_multi_init();
    if (multi == NULL || curl_multi_add_handle(multi, x->easy) != CURLM_OK) {
        curl_multi_cleanup(multi);
        return -ENOMEM;
    }
    int r = drive(multi, x, stop_fd, ret);
    curl_multi_remove_handle(multi, x->easy);
    curl_multi_cleanup(multi);
    return r;
}

// curl's verdict as an error of ours.
static int verdict(const struct exchange *x, const struct http_base *base, CURLcode code,
                   struct err *err)
{
    long os_error = 0;
    curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_error);
    if (code == CURLE_OK)
        return 0;
    if (x->failed == -EFBIG)
        return err_set(err, -EFBIG, "%s: the answer is too large", base->text);
    if (x->failed < 0 && err->code == x->failed)
        return x->failed; // the callback said why
    if (x->failed < 0)
        return err_set(err, x->failed, "%s: %s", base->text, strerror(-x->failed));
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return err_set(err, -ECONNREFUSED, "%s: cannot connect: %s", base->text,
                       os_error != 0 ? strerror((int)os_error) : curl_easy_strerror(code));
    if (code == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, -ETIMEDOUT, "%s: no answer in time", base->text);
    return err_set(err, -EIO, "%s: %s", base->text, curl_easy_strerror(code));
}

int http_do(const struct http_base *base, const struct http_request *q, struct http_answer *ret,
            struct err *err)
{
    CLEANUP(exchange_end) struct exchange x = {.request = q, .body.bound = HTTP_ANSWER_MAX};
    int r = exchange_begin(&x, base, q->path);
    if (r == 0)
        r = add_body(&x, q);
    if (r < 0)
        return err_set(err, r, "%s: %s", base->text, strerror(-r));
    curl_easy_setopt(x.easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(x.easy, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    CURLcode code;
    err->code = 0;
    r = perform(&x, q->stop_fd, &code);
    if (r < 0)
        return err_set(err, r, "%s: %s", base->text, strerror(-r));
    r = verdict(&x, base, code, err);
    if (r < 0)
        return r;
    *ret = (struct http_answer){.status = (unsigned)status_of(&x), .len = x.body.len};
    ret->body = TAKE(x.body.data);
    return 0;
}

void http_answer_free(struct http_answer *a)
{
    free(a->body);
    *a = (struct http_answer){0};
}

int http_check(const struct http_answer *a, struct err *err)
{
    static const struct {
        unsigned status;
        int code;
    } table[] = {{400, -EINVAL}, {404, -ENOENT}, {409, -EEXIST}, {503, -EAGAIN}};
    if (a->status < 400)
        return 0;
    int code = -EIO;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].status == a->status)
            code = table[i].code;
    json_t *j = a->body == NULL ? NULL : json_loadb(a->body, a->len, 0, NULL);
    const char *text = json_string_value(json_object_get(j, "error"));
    if (text != NULL)
        (void)err_set(err, code, "%s", text);
    else
        (void)err_set(err, code, "the server answered with status %u", a->status);
    json_decref(j);
    return code;
}

int http_json(const struct http_base *base, const char *method, const char *path,
              const json_t *body, uint32_t timeout_ms, json_t **ret, struct err *err)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    if (body != NULL && text == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    struct http_request q = {.method = method, .path = path, .timeout_ms = timeout_ms};
    q.body = text;
    q.body_bytes = text == NULL ? 0 : strlen(text);
    CLEANUP(http_answer_free) struct http_answer a = {0};
    int r = http_do(base, &q, &a, err);
    free(text);
    if (r == 0)
        r = http_check(&a, err);
    if (r < 0 || ret == NULL)
        return r;
    json_error_t where;
    *ret = NULL;
    if (a.len > 0 && (*ret = json_loadb(a.body, a.len, 0, &where)) == NULL)
        return err_set(err, -EIO, "%s: the answer is not JSON: %s", base->text, where.text);
    return 0;
}

static void tell(const struct http_watch *w, enum link *link, enum link now, const char *why)
{
    if (*link != now && w->state != NULL)
        w->state(w->ctx, why);
    *link = now;
}

// Hand out each whole line of the buffer; the rest stays.
static int hand_out_lines(struct exchange *x)
{
    char *start = x->body.data, *end = x->body.data + x->body.len, *newline;
    while (!x->done && (newline = memchr(start, '\n', (size_t)(end - start))) != NULL) {
        *newline = '\0';
        size_t len = (size_t)(newline - start);
        if (len > 0 && strcmp(start, "{}") != 0) {
            x->got_line = true;
            x->done = x->watch->line(x->watch->ctx, start, len) == 1;
        }
        start = newline + 1;
    }
    x->body.len = (size_t)(end - start);
    memmove(x->body.data, start, x->body.len);
    return x->done ? -ECANCELED : 0;
}

static size_t on_watch(char *data, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    size_t len = size * n;
    x->heard_ms = now_ms();
    x->failed = buffer_add(&x->body, data, len);
    if (x->failed == 0 && status_of(x) == 200) {
        tell(x->watch, x->link, LINK_UP, NULL);
        x->failed = hand_out_lines(x);
    }
    return x->failed < 0 ? 0 : len;
}

/* One connection of a watch, from its opening to its end: 1 done or stopped; 0 lost, *got_line says
 * whether it was of use; negative: over for good. */
static int watch_once(const struct http_watch *w, enum link *link, bool *got_line, struct err *err)
{
    static const struct http_request get = {.method = "GET"};
    CLEANUP(exchange_end)
    struct exchange x = {.request = &get, .watch = w, .link = link, .heard_ms = now_ms()};
    x.body.bound = HTTP_LINE_MAX;
    int r = exchange_begin(&x, w->base, w->path);
    if (r < 0)
        return err_set(err, r, "%s: %s", w->base->text, strerror(-r));
    curl_easy_setopt(x.easy, CURLOPT_WRITEFUNCTION, on_watch);
    CURLcode code;
    err->code = 0;
    r = perform(&x, w->stop_fd, &code);
    *got_line = x.got_line;
    if (r == -ECANCELED || x.done)
        return 1;
    if (r == -ETIMEDOUT) {
        (void)err_set(err, r, "%s: silent for %u ms", w->base->text, dead_ms(w));
        return 0;
    }
    if (r < 0)
        return err_set(err, r, "%s: %s", w->base->text, strerror(-r));
    struct http_answer a = {.status = (unsigned)status_of(&x), .body = x.body.data};
    a.len = x.body.len;
    r = verdict(&x, w->base, code, err);
    if (r == 0 && http_check(&a, err) == 0)
        (void)err_set(err, -EIO, "%s: the stream ended", w->base->text);
    return err->code == -ENOENT ? -ENOENT : 0;
}

// True when stop_fd became readable within ms.
static bool stopped_within(int stop_fd, uint32_t ms)
{
    struct pollfd p = {.fd = stop_fd > 0 ? stop_fd : -1, .events = POLLIN};
    uint64_t until = now_ms() + ms;
    for (uint64_t t = now_ms(); t < until; t = now_ms())
        if (poll(&p, 1, (int)(until - t)) > 0)
            return true;
    return false;
}

int http_watch(const struct http_watch *w, struct err *err)
{
    uint32_t pause = HTTP_RETRY_MIN_MS, failures = 0;
    enum link link = LINK_UNKNOWN;
    for (;;) {
        bool got_line = false;
        int r = watch_once(w, &link, &got_line, err);
        if (r == 1)
            return 0;
        tell(w, &link, LINK_DOWN, err->text);
        failures = got_line ? 0 : failures + 1;
        if (r < 0)
            return r;
        if (w->retries_max > 0 && failures >= w->retries_max)
            return err_prefix(err, "gave up after %u attempts", failures);
        pause = got_line ? HTTP_RETRY_MIN_MS : pause;
        if (stopped_within(w->stop_fd, pause))
            return 0;
        pause = MIN(pause * 2, (uint32_t)HTTP_RETRY_MAX_MS);
    }
}
