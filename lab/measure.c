// SPDX-License-Identifier: Apache-2.0
/* Measuring from many cities at once: one process a city, each in its namespace, each giving one
 * JSON object back through a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/file.h"
#include "lab/lab.h"
#include "lab/ping.h"
#include "lab/tally.h"

enum {
    RESULT_MAX = 1 << 20, // bytes of a city's JSON
    PROBE_TRIES = 3,
    PING_TRIES = 4, // the first is not counted
    PROBE_TIMEOUT_MS = 3000,
};

// What runs in each city: returns its result (a new object).
typedef json_t *measure_fn(const void *options, int stop_fd);

struct worker {
    const char *city;
    pid_t pid;
    int fd; // its result comes out
    char *text;
    size_t len;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

NORETURN static void work(int netns, const char *city, measure_fn *measure, const void *options,
                          int stop_fd, int out)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setns(netns, CLONE_NEWNET) < 0)
        _exit(1);
    json_t *result = measure(options, stop_fd);
    json_object_set_new(result, "city", json_string(city));
    char *text = json_dumps(result, JSON_COMPACT);
    _exit(text != NULL && file_write_all(out, text, strlen(text)) == 0 ? 0 : 1);
}

static int start_worker(const struct lab *lab, struct worker *w, measure_fn *measure,
                        const void *options, int stop_fd, struct err *err)
{
    char name[NETNS_NAME_MAX];
    int fds[2];
    plan_netns(lab->name, w->city, PLACE_CLIENT, name);
    CLEANUP(fd_closep) int netns = netns_open(name, err);
    if (netns < 0)
        return netns;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, -errno, "pipe: %s", strerror(errno));
    w->pid = fork();
    if (w->pid == 0)
        work(netns, w->city, measure, options, stop_fd, fds[1]);
    close(fds[1]);
    w->fd = fds[0];
    return w->pid < 0 ? err_set(err, -errno, "fork: %s", strerror(errno)) : 0;
}

static void take_output(struct worker *w)
{
    if (w->text == NULL)
        w->text = malloc(RESULT_MAX);
    ssize_t n = w->text == NULL ? 0 : read(w->fd, w->text + w->len, RESULT_MAX - w->len);
    if (n > 0) {
        w->len += (size_t)n;
        return;
    }
    close(w->fd);
    w->fd = -1;
}

// Read all results; a signal makes the workers finish early.
static void gather(struct worker *workers, unsigned n, int signals, int *stop)
{
    for (unsigned open = n; open > 0;) {
        struct pollfd fds[CITIES_MAX + 1];
        open = 0;
        for (unsigned i = 0; i < n; i++) {
            fds[i] = (struct pollfd){.fd = workers[i].fd, .events = POLLIN};
            open += workers[i].fd >= 0;
        }
        fds[n] = (struct pollfd){.fd = *stop >= 0 ? signals : -1, .events = POLLIN};
        if (open == 0 || poll(fds, n + 1, -1) < 0)
            return;
        if (fds[n].revents != 0) {
            // The workers have this end too, so that closing it would not tell them.
            ssize_t told = write(*stop, "", 1);
            ASSERT(told == 1); // an empty pipe has room
            fd_closep(stop);
            *stop = -1;
        }
        for (unsigned i = 0; i < n; i++)
            if (fds[i].revents != 0)
                take_output(&workers[i]);
    }
}

// Is the city among "tokyo,london"?
static bool listed(const char *list, const char *city)
{
    size_t len = strlen(city);
    for (const char *p = list; p != NULL; p = strchr(p, ',') != NULL ? strchr(p, ',') + 1 : NULL)
        if (strncmp(p, city, len) == 0 && (p[len] == ',' || p[len] == '\0'))
            return true;
    return false;
}

static int choose_cities(const struct topology *t, const char *list, struct worker *ret,
                         unsigned *ret_len, struct err *err)
{
    bool all = strcmp(list, "all") == 0;
    unsigned n = 0, names = 1;
    for (const char *p = list; *p != '\0'; p++)
        names += *p == ',';
    for (unsigned i = 0; i < t->cities_len; i++)
        if (t->cities[i].client && (all || listed(list, t->cities[i].name)))
            ret[n++] = (struct worker){.city = t->cities[i].name, .fd = -1};
    *ret_len = n;
    if (n == 0 || (!all && n != names))
        return err_set(err, -ENOENT, "'%.200s': not all of these are cities with clients", list);
    return 0;
}

// The results in the order of the cities; a worker that failed gives an error.
static int collect(struct worker *workers, unsigned n, json_t *ret, struct err *err)
{
    int r = 0;
    for (unsigned i = 0; i < n; i++) {
        json_t *result =
            workers[i].text == NULL ? NULL : json_loadb(workers[i].text, workers[i].len, 0, NULL);
        free(workers[i].text);
        fd_closep(&workers[i].fd);
        if (workers[i].pid > 0)
            waitpid(workers[i].pid, NULL, 0);
        if (result != NULL)
            json_array_append_new(ret, result);
        else if (r == 0)
            r = err_set(err, -EIO, "the client in %s ended without a result", workers[i].city);
    }
    return r;
}

static int measure_all(const struct lab *lab, const char *cities, measure_fn *measure,
                       const void *options, json_t *ret, struct err *err)
{
    static struct topology topo;
    static struct worker workers[CITIES_MAX];
    sigset_t stop;
    int fds[2];
    int r = lab_privileges(err);
    if (r == 0)
        r = lab_topology(lab, &topo, err);
    unsigned n = 0;
    if (r == 0)
        r = choose_cities(&topo, cities, workers, &n, err);
    if (r < 0)
        return r;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, -errno, "pipe: %s", strerror(errno));
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    CLEANUP(fd_closep) int signals = signalfd(-1, &stop, SFD_CLOEXEC);
    CLEANUP(fd_closep) int stop_read = fds[0];
    CLEANUP(fd_closep) int stop_write = fds[1];
    for (unsigned i = 0; r == 0 && i < n; i++)
        r = start_worker(lab, &workers[i], measure, options, stop_read, err);
    if (r < 0) {
        fd_closep(&stop_write);
        stop_write = -1;
    }
    gather(workers, n, signals, &stop_write);
    int c = collect(workers, n, ret, err);
    return r < 0 ? r : c;
}

// Fetching in a loop.

static void add_done(const struct fetch_done *d, void *context)
{
    tally_add(context, d);
}

static json_t *fetch_here(const void *options, int stop_fd)
{
    static uint32_t times[TALLY_TIMES_MAX];
    static struct tally tally;
    const struct lab_fetch_options *o = options;
    struct fetch_plan plan = {.url = o->url,
                              .every_ns = (uint64_t)(o->every_ms * 1e6),
                              .count = (uint64_t)(o->seconds * 1000 / o->every_ms),
                              .timeout_ms = o->timeout_ms,
                              .keep_alive = o->keep_alive,
                              .stop_fd = stop_fd};
    struct err err = {0};
    plan.count = MAX(plan.count, (uint64_t)1);
    tally_init(&tally, now_ns(), times);
    if (fetch_run(&plan, add_done, &tally, &err) < 0)
        return json_pack("{s:s}", "error", err.text);
    tally_end(&tally);
    return tally_json(&tally);
}

static void print_names(const json_t *names, FILE *to)
{
    const char *key, *separator = "";
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)names, key, value) {
        fprintf(to, "%s%s %lld", separator, key[0] != '\0' ? key : "(nobody said)",
                (long long)json_integer_value(value));
        separator = ", ";
    }
    if (separator[0] == '\0')
        fprintf(to, "-");
}

static void print_fetches(const json_t *results, FILE *to)
{
    const json_t *r;
    size_t i;
    fprintf(to, "%-14s %8s %8s %12s %12s  %-34s %s\n", "CITY", "SENT", "FAILED", "LONGEST GAP",
            "FIRST BYTE", "ANSWERED BY", "BODIES, ERRORS");
    json_array_foreach (results, i, r) {
        char *pops = NULL;
        size_t len = 0;
        FILE *f = open_memstream(&pops, &len);
        if (f == NULL)
            return;
        print_names(json_object_get(r, "pops"), f);
        fclose(f);
        fprintf(to, "%-14s %8lld %8lld %9.0f ms %9.1f ms  %-34s ",
                json_string_value(json_object_get(r, "city")),
                (long long)json_integer_value(json_object_get(r, "sent")),
                (long long)json_integer_value(json_object_get(r, "failed")),
                json_real_value(json_object_get(r, "longest_gap_ms")),
                json_real_value(json_object_get(r, "first_byte_p50_ms")), pops);
        free(pops);
        print_names(json_object_get(r, "bodies"), to);
        if (json_object_size(json_object_get(r, "errors")) > 0) {
            fprintf(to, "; ");
            print_names(json_object_get(r, "errors"), to);
        }
        fprintf(to, "\n");
    }
}

int lab_fetch(const struct lab *lab, const struct lab_fetch_options *o, FILE *to, struct err *err)
{
    json_t *results = json_array();
    int r = measure_all(lab, o->cities, fetch_here, o, results, err);
    if (r == 0 && o->json) {
        json_dumpf(results, to, JSON_INDENT(1));
        fprintf(to, "\n");
    } else if (r == 0) {
        print_fetches(results, to);
    }
    json_decref(results);
    return r;
}

// Looking once at several targets.

struct look {
    double connect_ms, first_byte_ms; // of the fastest good answer
    unsigned good;
    bool right; // every good answer had the expected body
    char pop[ANSWER_POP_MAX];
    int error;
    unsigned status;
    const char *expect;
};

static bool body_is(const struct answer *a, const char *expect)
{
    size_t len = a->body_len;
    while (len > 0 && (a->body[len - 1] == '\n' || a->body[len - 1] == '\r'))
        len--;
    return expect == NULL || (len == strlen(expect) && memcmp(a->body, expect, len) == 0);
}

static void note_look(const struct fetch_done *d, void *context)
{
    struct look *l = context;
    if (d->error < 0) {
        l->error = d->error;
        return;
    }
    double first = (double)(d->first_byte_ns - d->sent_ns) / 1e6;
    l->status = d->answer->status;
    l->right =
        (l->good == 0 || l->right) && d->answer->status == 200 && body_is(d->answer, l->expect);
    if (l->good++ == 0 || first < l->first_byte_ms) {
        l->first_byte_ms = first;
        l->connect_ms = (double)(d->connected_ns - d->sent_ns) / 1e6;
        memcpy(l->pop, d->answer->pop, sizeof(l->pop));
    }
}

static json_t *probe_one(const struct lab_probe_target *target, const char *expect)
{
    struct look look = {.expect = expect};
    struct err err;
    int rtt_us = ping(target->url.addr, PING_TRIES, PROBE_TIMEOUT_MS);
    for (unsigned i = 0; i < PROBE_TRIES && look.error == 0; i++) {
        struct fetch_plan plan = {
            .url = target->url, .count = 1, .timeout_ms = PROBE_TIMEOUT_MS, .stop_fd = -1};
        if (fetch_run(&plan, note_look, &look, &err) < 0)
            look.error = err.code;
    }
    json_t *j = json_pack("{s:s, s:o, s:b, s:i, s:s}", "target", target->name, "ping_ms",
                          rtt_us < 0 ? json_null() : json_real(rtt_us / 1e3), "right",
                          look.good > 0 && look.error == 0 && look.right, "status",
                          (int)look.status, "pop", look.pop);
    if (look.good > 0) {
        json_object_set_new(j, "connect_ms", json_real(look.connect_ms));
        json_object_set_new(j, "first_byte_ms", json_real(look.first_byte_ms));
    }
    if (look.error < 0)
        json_object_set_new(j, "error", json_string(strerror(-look.error)));
    return j;
}

static json_t *probe_here(const void *options, UNUSED int stop_fd)
{
    const struct lab_probe_options *o = options;
    json_t *targets = json_array();
    for (unsigned i = 0; i < o->targets_len; i++)
        json_array_append_new(targets, probe_one(&o->targets[i], o->expect));
    return json_pack("{s:o}", "targets", targets);
}

static void print_probes(const struct lab_probe_options *o, const json_t *results, FILE *to)
{
    const json_t *city, *t;
    size_t i, k;
    fprintf(to, "%-14s", "");
    for (unsigned n = 0; n < o->targets_len; n++)
        fprintf(to, "  %-22.22s", o->targets[n].name);
    fprintf(to, "\n%-14s", "CITY");
    for (unsigned n = 0; n < o->targets_len; n++)
        fprintf(to, "  %-22s", "  ping  1st byte  body");
    fprintf(to, "  ANSWERED BY\n");
    json_array_foreach (results, i, city) {
        const char *pop = "";
        fprintf(to, "%-14s", json_string_value(json_object_get(city, "city")));
        json_array_foreach (json_object_get(city, "targets"), k, t) {
            char rtt[16] = "-", first[16] = "-";
            const json_t *ping_ms = json_object_get(t, "ping_ms");
            const json_t *first_ms = json_object_get(t, "first_byte_ms");
            if (json_is_real(ping_ms))
                snprintf(rtt, sizeof(rtt), "%.1f", json_real_value(ping_ms));
            if (json_is_real(first_ms))
                snprintf(first, sizeof(first), "%.1f", json_real_value(first_ms));
            fprintf(to, "  %6s  %8s  %-4s", rtt, first,
                    json_is_true(json_object_get(t, "right")) ? "ok" : "BAD");
            const char *said = json_string_value(json_object_get(t, "pop"));
            pop = said != NULL && said[0] != '\0' ? said : pop;
        }
        fprintf(to, "  %s\n", pop);
    }
}

int lab_probe(const struct lab *lab, const struct lab_probe_options *o, FILE *to, struct err *err)
{
    json_t *results = json_array();
    int r = measure_all(lab, "all", probe_here, o, results, err);
    if (r == 0 && o->json) {
        json_dumpf(results, to, JSON_INDENT(1));
        fprintf(to, "\n");
    } else if (r == 0) {
        print_probes(o, results, to);
    }
    json_decref(results);
    return r;
}
