// SPDX-License-Identifier: Apache-2.0
#include "edge/edge.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"

enum { PATH_BYTES = 512, GUARD_AGAIN_MS = 500, LEAVE_STEP_MS = 20 };

void workers_wake(struct edge *e)
{
    for (unsigned i = 0; i < e->options.workers; i++)
        worker_wake(&e->workers[i]);
}

static void wake_control(struct edge_shared *sh)
{
    loop_wake(&CONTAINER_OF(sh, struct edge, shared)->loop);
}

// ------------------------------------------------------------------------------ announcements

static bool is_announced(const struct edge *e, const struct snap_service *sv);

bool edge_can_serve(const struct edge *e, const struct snap_service *sv)
{
    if (sv->listener == NULL)
        return false;
    // A new service waits until every worker has it. One that is announced stays so while the
    // workers change tables: they serve it by the old one meanwhile.
    if (!edge_applied(e) && !is_announced(e, sv))
        return false;
    for (unsigned i = 0; i < sv->locals_n; i++)
        if (sv->locals[i].serving && RELAXED_LOAD(sv->locals[i].peer->up))
            return true;
    for (unsigned i = 0; i < sv->routes_n; i++)
        if (RELAXED_LOAD(sv->routes[i]->usable) && RELAXED_LOAD(sv->routes[i]->pop->up))
            return true;
    return false;
}

static struct guard_addr guard_addr_of(const struct addr *a)
{
    struct guard_addr g = {.family = (uint8_t)a->sa.sa_family};
    if (a->sa.sa_family == AF_INET)
        memcpy(g.bytes, &a->in.sin_addr, 4);
    else
        memcpy(g.bytes, &a->in6.sin6_addr, 16);
    return g;
}

static bool same_addr(const struct guard_addr *a, const struct guard_addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static bool is_announced(const struct edge *e, const struct snap_service *sv)
{
    struct guard_addr a = guard_addr_of(&sv->spec->address);
    for (unsigned i = 0; i < e->guard.addrs_n; i++)
        if (same_addr(&e->guard.addrs[i], &a))
            return e->guard.addrs[i].announce;
    return false;
}

// 127/8 and ::1 are on lo in any case.
static bool loopback(const struct guard_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == AF_INET ? a->bytes[0] == 127 : memcmp(a->bytes, one, 16) == 0;
}

static unsigned wanted_addrs(const struct edge *e, struct guard_addr *ret)
{
    unsigned n = 0;
    for (unsigned i = 0; e->current != NULL && i < e->current->services_n; i++) {
        const struct snap_service *sv = &e->current->services[i];
        struct guard_addr a = guard_addr_of(&sv->spec->address);
        unsigned at = 0;
        while (at < n && !same_addr(&ret[at], &a))
            at++;
        if (loopback(&a) || (at == n && n == GUARD_ADDRS_MAX))
            continue;
        if (at == n)
            ret[n++] = a;
        ret[at].announce |= !e->leaving && edge_can_serve(e, sv);
    }
    return n;
}

bool edge_announced(const struct edge *e, const struct snap_service *sv)
{
    struct guard_addr a = guard_addr_of(&sv->spec->address);
    if (loopback(&a))
        return !e->leaving && edge_can_serve(e, sv);
    if (e->guard.acked != e->guard.seq || e->guard.error < 0)
        return false;
    for (unsigned i = 0; i < e->guard.addrs_n; i++)
        if (same_addr(&e->guard.addrs[i], &a))
            return e->guard.addrs[i].announce;
    return false;
}

void edge_decide(struct edge *e)
{
    struct guard_addr want[GUARD_ADDRS_MAX];
    unsigned n = wanted_addrs(e, want);
    bool same = n == e->guard.addrs_n;
    for (unsigned i = 0; same && i < n; i++)
        same = same_addr(&want[i], &e->guard.addrs[i]) &&
               want[i].announce == e->guard.addrs[i].announce;
    bool stale = e->guard.acked != e->guard.seq || e->guard.error < 0;
    if (same && (!stale || e->loop.now_ms < e->set_ms + GUARD_AGAIN_MS))
        return;
    for (unsigned i = 0; !same && i < n; i++) {
        char text[ADDR_TEXT_MAX];
        struct addr a = {.len = 0};
        a.sa.sa_family = want[i].family;
        memcpy(want[i].family == AF_INET ? (void *)&a.in.sin_addr : (void *)&a.in6.sin6_addr,
               want[i].bytes, want[i].family == AF_INET ? 4 : 16);
        log_info(want[i].announce ? "announce" : "withdraw", "address=%s", addr_host(&a, text));
    }
    e->set_ms = e->loop.now_ms;
    guard_set(&e->guard, want, n);
}

static void guard_changed(struct guard *g)
{
    static int last;
    if (g->error < 0 && g->error != last)
        log_error("cannot change addresses on lo", "error=\"%s\"%s", strerror(-g->error),
                  g->error == -EPERM ? " hint=\"CAP_NET_ADMIN is needed\"" : "");
    last = g->error;
}

static void guard_lost(struct guard *g)
{
    struct edge *e = CONTAINER_OF(g, struct edge, guard);
    struct err err;
    log_warn("guard died", "%s", "starting it again");
    if (guard_start(g, &e->loop, g->lock_path, &err) < 0)
        log_error("guard", "error=\"%s\"", err.text);
    guard_set(g, g->addrs, g->addrs_n);
}

static bool workers_alive(const struct edge *e)
{
    for (unsigned i = 0; i < e->options.workers; i++)
        if (e->loop.now_ms > RELAXED_LOAD(e->workers[i].alive_ms) + WORKER_HUNG_MS)
            return false;
    return true;
}

static void beat(struct loop_timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, beat_timer);
    if (workers_alive(e))
        guard_beat(&e->guard);
    loop_timer_set(&e->loop, t, e->loop.now_ms + GUARD_BEAT_MS);
}

// ------------------------------------------------------------------------------------- the table

static void state_path(const struct edge *e, char path[static PATH_BYTES], const char *name)
{
    snprintf(path, PATH_BYTES, "%.400s/%s", e->options.state_dir, name);
}

// Keep the last good table for an edge that starts while the controller is away.
static void state_save(const struct edge *e, const char *json, size_t len)
{
    char path[PATH_BYTES], fresh[PATH_BYTES];
    state_path(e, path, "table.json");
    state_path(e, fresh, "table.json.new");
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, json, len) == (ssize_t)len;
    if (fd >= 0)
        ok = close(fd) == 0 && ok;
    if (!ok || rename(fresh, path) < 0)
        log_warn("cannot keep the table", "path=%s error=\"%s\"", path, strerror(errno));
}

static void table_line(struct edge *e, const char *json, size_t len, bool save)
{
    struct table *t = NULL;
    struct err err;
    if (len <= 2)
        return; // "{}": the controller is there
    int r = table_load(json, len, &t, &err);
    if (r == 0) {
        uint64_t version = t->version;
        unsigned services = t->services_n;
        r = edge_apply(e, t, &err);
        if (r == 0)
            log_info("table applied", "version=%llu services=%u", (unsigned long long)version,
                     services);
    }
    if (r < 0) {
        log_error("table refused", "error=\"%s\"", err.text);
        return;
    }
    if (save)
        state_save(e, json, len);
    edge_decide(e);
}

static void state_load(struct edge *e)
{
    char path[PATH_BYTES];
    state_path(e, path, "table.json");
    FILE *f = fopen(path, "re");
    char *json = f == NULL ? NULL : malloc(WATCH_LINE_MAX);
    if (json != NULL) {
        size_t n = fread(json, 1, WATCH_LINE_MAX, f);
        log_info("last table found", "path=%s", path);
        table_line(e, json, n, false);
    }
    free(json);
    if (f != NULL)
        fclose(f);
}

static void watch_data(struct fetch *f, const char *p, size_t n)
{
    struct edge *e = CONTAINER_OF(f, struct edge, watch);
    if (f->status != 200)
        return;
    if (!e->connected)
        log_info("controller connected", "%s", "");
    e->connected = true;
    e->watch_backoff_ms = BACKOFF_MIN_MS;
    while (n > 0) {
        const char *end = memchr(p, '\n', n);
        size_t piece = end == NULL ? n : (size_t)(end - p);
        char *bigger =
            e->line_len + piece > WATCH_LINE_MAX ? NULL : realloc(e->line, e->line_len + piece + 1);
        if (bigger != NULL) {
            memcpy(bigger + e->line_len, p, piece);
            e->line = bigger;
            e->line_len += piece;
        }
        if (end == NULL)
            return;
        if (e->line_len > 0)
            table_line(e, e->line, e->line_len, true);
        e->line_len = 0;
        p += piece + 1;
        n -= piece + 1;
    }
}

static void watch_done(struct fetch *f, int error)
{
    struct edge *e = CONTAINER_OF(f, struct edge, watch);
    if (e->connected)
        log_warn("controller lost", "error=\"%s\"; going on with the last table",
                 error < 0 ? strerror(-error) : "end of stream");
    e->connected = false;
    e->line_len = 0;
    loop_timer_set(&e->loop, &e->watch_again, e->loop.now_ms + e->watch_backoff_ms);
    e->watch_backoff_ms = MIN(e->watch_backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

static void watch_start(struct loop_timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, watch_again);
    char request[TABLE_NAME_MAX + 96];
    int n = snprintf(request, sizeof(request),
                     "GET /v1/pops/%s/watch HTTP/1.1\r\nHost: skerry\r\n"
                     "User-Agent: skerry-edge\r\n\r\n",
                     e->options.pop);
    fetch_start(&e->watch, request, (size_t)n, WATCH_SILENCE_MS);
}

// ---------------------------------------------------------------------------------------- report

static json_t *report_instance(const struct edge *e, const struct table_service *spec,
                               const struct table_instance *ti, const struct snap_service *sv)
{
    bool healthy = false;
    uint64_t requests = 0, failures = 0;
    uint32_t in_flight = 0;
    if (strcmp(ti->region, e->options.region) != 0)
        healthy = remote_healthy(e, spec->app, ti);
    for (unsigned i = 0; i < sv->locals_n; i++) {
        const struct peer *p = sv->locals[i].peer;
        if (strcmp(p->name, ti->id) != 0)
            continue;
        healthy = RELAXED_LOAD(p->up);
        in_flight = shares_in_flight(p->shares, e->options.workers);
        for (unsigned w = 0; w < e->options.workers; w++) {
            requests += RELAXED_LOAD(p->shares[w].requests);
            failures += RELAXED_LOAD(p->shares[w].failures);
        }
    }
    return json_pack("{s:s, s:b, s:I, s:I, s:I}", "id", ti->id, "healthy", healthy, "in_flight",
                     (json_int_t)in_flight, "requests", (json_int_t)requests, "failures",
                     (json_int_t)failures);
}

static json_t *report_json(const struct edge *e)
{
    json_t *services = json_array(), *rtt = json_object();
    for (unsigned i = 0; i < e->current->services_n; i++) {
        const struct snap_service *sv = &e->current->services[i];
        json_t *instances = json_array();
        for (unsigned j = 0; j < sv->spec->instances_n; j++)
            json_array_append_new(instances,
                                  report_instance(e, sv->spec, &sv->spec->instances[j], sv));
        json_array_append_new(services,
                              json_pack("{s:s, s:b, s:o}", "app", sv->spec->app, "announced",
                                        edge_announced(e, sv), "instances", instances));
    }
    LIST_FOR_EACH (node, &e->pollers) {
        const struct poller *p = LIST_ENTRY(node, struct poller, node);
        if (p->health.healthy)
            json_object_set_new(rtt, p->peer->name, json_real(poller_rtt(p) / 1000.0));
    }
    return json_pack("{s:I, s:s, s:s, s:o, s:o}", "version", (json_int_t)e->current->table->version,
                     "region", e->options.region, "backbone", e->options.backbone, "services",
                     services, "rtt_ms", rtt);
}

static void report_none(const struct edge *e, json_t **ret)
{
    *ret = json_pack("{s:i, s:s, s:s, s:[], s:{}}", "version", 0, "region", e->options.region,
                     "backbone", e->options.backbone, "services", "rtt_ms");
}

/* A number for what the controller waits for: it changes when an instance becomes healthy or sick,
 * when a draining one becomes empty, when an announcement changes. FNV-1a. */
static uint64_t report_gist(const struct edge *e)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (unsigned i = 0; i < e->current->services_n; i++) {
        const struct snap_service *sv = &e->current->services[i];
        hash = (hash ^ (edge_announced(e, sv) ? 1u : 2u)) * 0x100000001b3ull;
        for (unsigned j = 0; j < sv->locals_n; j++) {
            const struct snap_instance *si = &sv->locals[j];
            bool empty = shares_in_flight(si->peer->shares, e->options.workers) == 0;
            unsigned bits =
                (RELAXED_LOAD(si->peer->up) ? 1u : 0u) | (!si->serving && empty ? 2u : 0u) | 4u;
            hash = (hash ^ bits) * 0x100000001b3ull;
        }
        for (unsigned j = 0; j < sv->spec->instances_n; j++) {
            const struct table_instance *ti = &sv->spec->instances[j];
            bool ours = strcmp(ti->region, e->options.region) == 0;
            unsigned bit = !ours && remote_healthy(e, sv->spec->app, ti) ? 8u : 16u;
            hash = (hash ^ bit) * 0x100000001b3ull;
        }
    }
    return hash;
}

static void report_send(struct edge *e)
{
    json_t *o;
    // Until every worker has switched, the new version is not in use: say nothing of it yet.
    bool applied = edge_applied(e);
    if (fetch_busy(&e->report) || (e->current != NULL && !applied))
        return;
    if (e->current != NULL)
        o = report_json(e);
    else
        report_none(e, &o);
    char *body = json_dumps(o, JSON_COMPACT), *request = NULL;
    json_decref(o);
    int n = body == NULL ? -1
                         : asprintf(&request,
                                    "POST /v1/pops/%s/report HTTP/1.1\r\nHost: skerry\r\n"
                                    "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                                    "\r\n%s",
                                    e->options.pop, strlen(body), body);
    if (n > 0)
        fetch_start(&e->report, request, (size_t)n, REPORT_MS);
    if (n >= 0)
        free(request);
    free(body);
    e->reported = applied ? e->current->generation : 0;
    e->told = applied ? report_gist(e) : 0;
}

static void report_done(struct fetch *f, UNUSED int error)
{
    struct edge *e = CONTAINER_OF(f, struct edge, report);
    loop_timer_set(&e->loop, &e->report_timer, e->loop.now_ms + REPORT_MS);
}

// What the controller waits for is said at once, the rest every second.
static void report_news(struct edge *e)
{
    if (edge_applied(e) && (e->reported != e->current->generation || e->told != report_gist(e)))
        report_send(e);
}

static void report_due(struct loop_timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, report_timer);
    report_send(e);
    loop_timer_set(&e->loop, t, e->loop.now_ms + REPORT_MS);
}

// --------------------------------------------------------------------------------------- leaving

static uint32_t exchanges_open(const struct edge *e)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < e->options.workers; i++)
        n += RELAXED_LOAD(e->workers[i].counts.exchanges);
    return n;
}

static void workers_order(struct edge *e, enum worker_order order)
{
    for (unsigned i = 0; i < e->options.workers; i++)
        worker_order(&e->workers[i], order);
}

static void drain_step(struct loop_timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, drain_timer);
    uint64_t since = e->loop.now_ms - e->leave_ms;
    if (since >= DRAIN_GRACE_MS)
        workers_order(e, WORKER_STOP_ACCEPTING);
    if ((since > DRAIN_GRACE_MS + LEAVE_STEP_MS && exchanges_open(e) == 0) ||
        since >= (uint64_t)e->options.drain_s * 1000) {
        log_info("drained", "ms=%llu exchanges_cut=%u", (unsigned long long)since,
                 exchanges_open(e));
        e->loop.stop = true;
        return;
    }
    loop_timer_set(&e->loop, t, e->loop.now_ms + LEAVE_STEP_MS);
}

// Withdraw first, then serve what still comes while routers learn of it, then finish what is open.
static void leave(struct edge *e)
{
    if (e->leaving) {
        e->loop.stop = true; // asked twice: at once
        return;
    }
    log_info("leaving", "drain_s=%u", e->options.drain_s);
    e->leaving = true;
    e->leave_ms = e->loop.now_ms;
    edge_decide(e);
    __atomic_store_n(&e->shared.draining, true, __ATOMIC_RELAXED);
    report_send(e);
    e->drain_timer.fire = drain_step;
    loop_timer_set(&e->loop, &e->drain_timer, e->loop.now_ms);
}

static void signal_came(struct loop_fd *f, UNUSED uint32_t events)
{
    struct edge *e = CONTAINER_OF(f, struct edge, signals);
    struct signalfd_siginfo info;
    while (read(f->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP && e->log != NULL)
            access_log_reopen(e->log);
        else if (info.ssi_signo != SIGHUP)
            leave(e);
    }
}

// ----------------------------------------------------------------------------------------- the rim

static void control_woken(struct loop *l)
{
    struct edge *e = CONTAINER_OF(l, struct edge, loop);
    probes_doubt(e);
    edge_decide(e);
    report_news(e);
}

static void status_due(struct loop_timer *t)
{
    struct edge *e = CONTAINER_OF(t, struct edge, status_timer);
    status_publish(e);
    edge_decide(e);
    report_news(e);
    edge_reap(e);
    loop_timer_set(&e->loop, t, e->loop.now_ms + STATUS_MS);
}

static int signals_open(struct edge *e, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); // inherited by the workers
    e->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    e->signals.ready = signal_came;
    int r = e->signal_fd < 0 ? -errno : loop_add(&e->loop, &e->signals, e->signal_fd, EPOLLIN);
    return r < 0 ? err_set(err, r, "signals: %s", strerror(-r)) : 0;
}

// One edge a POP: the state folder's lock says so.
static int state_open(struct edge *e, struct err *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%.400s", e->options.state_dir);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_set(err, -errno, "state folder '%s': %s", path, strerror(errno));
    state_path(e, path, "edge.lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, -errno, "'%s': %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, -EBUSY, "another skerry-edge runs for POP '%s' ('%s' is locked)",
                       e->options.pop, path);
    return 0; // held until the process ends
}

static int workers_start(struct edge *e, struct err *err)
{
    struct addr backbone;
    char text[ADDR_TEXT_MAX];
    if (addr_parse(e->options.backbone, &backbone) < 0 || backbone.sa.sa_family == AF_UNIX)
        return err_set(err, -EINVAL, "--backbone '%s': not ADDRESS:PORT", e->options.backbone);
    e->workers = calloc(e->options.workers, sizeof(*e->workers));
    if (e->workers == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < e->options.workers; i++) {
        struct worker *w = &e->workers[i];
        int fd = addr_listen(&backbone, false);
        if (fd < 0)
            return err_set(err, fd, "cannot listen on backbone address %s: %s",
                           addr_text(&backbone, text), strerror(-fd));
        if (e->options.access_log != NULL && log_ring_init(&w->log) < 0)
            return err_set(err, -ENOMEM, "out of memory");
        int r = worker_start(w, &e->shared, i, e->options.pin, fd, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int log_start(struct edge *e, struct err *err)
{
    struct log_ring *rings[WORKERS_MAX];
    if (e->options.access_log == NULL)
        return 0;
    for (unsigned i = 0; i < e->options.workers; i++)
        rings[i] = &e->workers[i].log;
    return access_log_start(e->options.access_log, rings, e->options.workers, &e->log, err);
}

static int shared_init(struct edge *e, struct err *err)
{
    struct edge_shared *sh = &e->shared;
    snprintf(sh->pop, sizeof(sh->pop), "%s", e->options.pop);
    snprintf(sh->region, sizeof(sh->region), "%s", e->options.region);
    snprintf(sh->via, sizeof(sh->via), "skerry-%s", e->options.pop);
    sh->workers_n = e->options.workers;
    sh->wake_control = wake_control;
    pthread_mutex_init(&sh->publish_lock, NULL);
    pthread_mutex_init(&sh->status_lock, NULL);
    sh->status_text = malloc(STATUS_TEXT_MAX);
    if (sh->status_text == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    sh->status_len =
        (size_t)snprintf(sh->status_text, STATUS_TEXT_MAX,
                         "{\"pop\":\"%s\",\"region\":\"%s\",\"services\":{}}", sh->pop, sh->region);
    return 0;
}

static int open_all(struct edge *e, struct err *err)
{
    static char lock_path[PATH_BYTES];
    struct addr admin;
    struct sched_param first = {.sched_priority = 1};
    int r = state_open(e, err);
    if (r < 0 || (r = loop_init(&e->loop, err)) < 0)
        return r;
    state_path(e, lock_path, "guard.lock");
    e->guard.changed = guard_changed;
    e->guard.lost = guard_lost;
    if ((r = guard_start(&e->guard, &e->loop, lock_path, err)) < 0 ||
        (r = signals_open(e, err)) < 0 || (r = shared_init(e, err)) < 0)
        return r;
    e->loop.woken = control_woken;
    // Signs of life must not wait behind a busy machine; the threads made from here do not inherit
    // it.
    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
    if ((r = workers_start(e, err)) < 0 || (r = log_start(e, err)) < 0)
        return r;
    if (e->options.admin == NULL)
        return 0;
    if (addr_parse(e->options.admin, &admin) < 0)
        return err_set(err, -EINVAL, "--admin '%s': neither ADDRESS:PORT nor unix:PATH",
                       e->options.admin);
    return admin_open(e, &admin, err);
}

static void close_all(struct edge *e)
{
    guard_stop(&e->guard);
    workers_order(e, WORKER_QUIT);
    for (unsigned i = 0; i < e->options.workers; i++)
        worker_join(&e->workers[i]);
    access_log_stop(e->log);
    for (unsigned i = 0; i < e->options.workers; i++)
        log_ring_deinit(&e->workers[i].log);
    fetch_deinit(&e->watch);
    fetch_deinit(&e->report);
    probes_free(e);
    edge_free_all(e);
    free(e->line);
    free(e->shared.status_text);
    free(e->workers);
}

static void raise_files(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

int edge_run(const struct edge_options *o, struct err *err)
{
    static struct edge e;
    e.options = *o;
    e.guard.lfd.fd = -1;
    list_init(&e.checkers);
    list_init(&e.pollers);
    if (addr_parse(o->control, &e.control) < 0)
        return err_set(err, -EINVAL, "--control '%s': neither unix:PATH nor http://ADDRESS:PORT",
                       o->control);
    raise_files();
    signal(SIGPIPE, SIG_IGN); // the log's reader may go away
    int r = open_all(&e, err);
    if (r < 0) {
        guard_stop(&e.guard);
        return r;
    }
    fetch_init(&e.watch, &e.loop, &e.control);
    e.watch.data = watch_data;
    e.watch.done = watch_done;
    fetch_init(&e.report, &e.loop, &e.control);
    e.report.keep = true;
    e.report.done = report_done;
    e.watch_backoff_ms = BACKOFF_MIN_MS;
    e.watch_again.fire = watch_start;
    e.report_timer.fire = report_due;
    e.status_timer.fire = status_due;
    e.beat_timer.fire = beat;
    e.started_ms = e.loop.now_ms = loop_clock_ms();
    state_load(&e);
    watch_start(&e.watch_again);
    report_due(&e.report_timer);
    status_due(&e.status_timer);
    beat(&e.beat_timer);
    log_info("started", "pop=%s region=%s workers=%u", o->pop, o->region, o->workers);
    loop_run(&e.loop);
    close_all(&e);
    log_info("stopped", "%s", "");
    return 0;
}
