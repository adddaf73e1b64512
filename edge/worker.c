// SPDX-License-Identifier: Apache-2.0
#include "edge/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "edge/session.h"

enum { TICK_MS = 100, FILES_OWN = 256, PIPE_BYTES = 1 << 20 };

uint64_t worker_random(struct worker *w)
{
    // xorshift64*: spreads load, protects nothing.
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 0x2545f4914f6cdd1dull;
}

const char *worker_date(struct worker *w)
{
    return w->date;
}

static void date_update(struct worker *w)
{
    struct tm tm;
    time_t now = time(NULL);
    if ((uint64_t)now == w->date_s)
        return;
    w->date_s = (uint64_t)now;
    gmtime_r(&now, &tm);
    strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

// -------------------------------------------------------------------------------------- views

static void view_free(struct view *v)
{
    list_remove(&v->node);
    snapshot_drop(v->snap);
    free(v);
}

void view_unpin(struct worker *w, struct view *v)
{
    ASSERT(v->users > 0);
    if (--v->users == 0 && v != w->view)
        view_free(v);
}

// ---------------------------------------------------------------------------------- acceptors

static void acceptor_ready(struct loop_fd *f, UNUSED uint32_t events)
{
    session_accept(CONTAINER_OF(f, struct acceptor, lfd));
}

static struct acceptor *acceptor_open(struct worker *w, struct listener *l, int fd)
{
    struct acceptor *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return NULL;
    *a = (struct acceptor){.worker = w,
                           .listener = l,
                           .backbone = l == NULL,
                           .lfd = {.fd = -1, .ready = acceptor_ready}};
    if (loop_add(&w->loop, &a->lfd, fd, EPOLLIN) < 0) {
        free(a);
        return NULL;
    }
    list_push_back(&w->acceptors, &a->node);
    return a;
}

static void acceptor_free_if_left(struct acceptor *a)
{
    if (a->closed && a->sessions == 0) {
        list_remove(&a->node);
        free(a);
    }
}

void acceptor_left(struct acceptor *a)
{
    a->sessions--;
    acceptor_free_if_left(a);
}

// Take no more connections; those that came stay. The socket itself is its owner's.
static void acceptor_close(struct acceptor *a)
{
    loop_del(&a->worker->loop, &a->lfd);
    a->service = NULL;
    a->closed = true;
    acceptor_free_if_left(a);
}

static struct acceptor *acceptor_of(struct worker *w, const struct listener *l)
{
    LIST_FOR_EACH (node, &w->acceptors) {
        struct acceptor *a = LIST_ENTRY(node, struct acceptor, node);
        if (!a->backbone && !a->closed && a->listener == l)
            return a;
    }
    return NULL;
}

static void acceptors_follow(struct worker *w, struct snapshot *snap)
{
    LIST_FOR_EACH (node, &w->acceptors)
        LIST_ENTRY(node, struct acceptor, node)->service = NULL;
    for (unsigned i = 0; i < snap->services_n; i++) {
        struct snap_service *sv = &snap->services[i];
        if (sv->listener == NULL)
            continue;
        struct acceptor *a = acceptor_of(w, sv->listener);
        if (a == NULL && RELAXED_LOAD(w->order) == WORKER_SERVE)
            a = acceptor_open(w, sv->listener, sv->listener->fds[w->index]);
        if (a != NULL)
            a->service = sv;
    }
    LIST_FOR_EACH_SAFE (node, &w->acceptors) {
        struct acceptor *a = LIST_ENTRY(node, struct acceptor, node);
        if (!a->backbone && !a->closed && a->service == NULL)
            acceptor_close(a);
    }
}

// -------------------------------------------------------------------------------------- orders

static void view_switch(struct worker *w)
{
    struct snapshot *snap = snapshot_take(w->shared);
    if (snap == NULL)
        return;
    struct view *old = w->view,
                *v = old != NULL && old->snap == snap ? NULL : calloc(1, sizeof(*v));
    if (v == NULL) {
        snapshot_drop(snap);
        return;
    }
    v->snap = snap;
    list_push_back(&w->views, &v->node);
    w->view = v;
    acceptors_follow(w, snap);
    if (old != NULL && old->users == 0)
        view_free(old);
    // Release: the control thread that sees this generation also sees what is in flight.
    __atomic_store_n(&w->generation, snap->generation, __ATOMIC_RELEASE);
    w->shared->wake_control(w->shared);
}

/* Requests that wait at an instance which has just been found dead or hung need not wait on, where
 * another can take them and as far as the retry budget reaches; the others keep waiting, for it may
 * only have been slow. */
static void rescue(struct worker *w)
{
    LIST_FOR_EACH_SAFE (node, &w->sessions) {
        if (w->retry_tokens < RETRY_COST)
            return;
        struct session *s = LIST_ENTRY(node, struct session, node);
        struct exchange *x = &s->x;
        if (s->state != SESSION_REQUEST || x->peer == NULL || RELAXED_LOAD(x->peer->up) ||
            x->answering || x->body_taken || !http_idempotent(x->method) || !pick_has_other(s))
            continue;
        enum step r = exchange_failed(s, 504, "The instance stopped answering.");
        if (r == STEP_DEAD)
            session_free(s);
        else
            session_step(s);
    }
}

static void stop_accepting(struct worker *w)
{
    LIST_FOR_EACH_SAFE (node, &w->acceptors) {
        struct acceptor *a = LIST_ENTRY(node, struct acceptor, node);
        if (!a->backbone && !a->closed)
            acceptor_close(a);
    }
    // A client that sends nothing now will open a new connection, to another POP.
    LIST_FOR_EACH_SAFE (node, &w->sessions) {
        struct session *s = LIST_ENTRY(node, struct session, node);
        if (s->state == SESSION_HEAD && s->in == NULL && !s->acceptor->backbone)
            session_free(s);
    }
}

static void worker_woken(struct loop *l)
{
    struct worker *w = CONTAINER_OF(l, struct worker, loop);
    view_switch(w);
    if (w->view != NULL)
        upstream_sweep(w, w->view->snap);
    rescue(w);
    uint32_t order = RELAXED_LOAD(w->order);
    if (order >= WORKER_STOP_ACCEPTING)
        stop_accepting(w);
    l->stop = order == WORKER_QUIT;
}

static void tick(struct loop_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, tick);
    date_update(w);
    RELAXED_STORE(w->alive_ms, w->loop.now_ms);
    if (w->view != NULL)
        upstream_warm(w, w->view->snap);
    LIST_FOR_EACH (node, &w->acceptors) {
        struct acceptor *a = LIST_ENTRY(node, struct acceptor, node);
        if (!a->closed && a->paused)
            a->paused = loop_change(&w->loop, &a->lfd, EPOLLIN) < 0;
    }
    loop_timer_set(&w->loop, t, w->loop.now_ms + TICK_MS);
}

// ---------------------------------------------------------------------------------------- thread

static void worker_close(struct worker *w)
{
    LIST_FOR_EACH_SAFE (node, &w->sessions)
        session_free(LIST_ENTRY(node, struct session, node));
    LIST_FOR_EACH_SAFE (node, &w->acceptors)
        acceptor_close(LIST_ENTRY(node, struct acceptor, node));
    upstream_sweep(w, NULL);
    if (w->view != NULL)
        view_free(w->view);
    w->view = NULL;
    buf_pool_deinit(&w->bufs);
}

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    while (!w->loop.stop) {
        struct list now;
        list_init(&now);
        loop_round(&w->loop, list_empty(&w->again) ? -1 : 0);
        for (struct list *node; (node = list_pop_front(&w->again)) != NULL;)
            list_push_back(&now, node);
        for (struct list *node; (node = list_pop_front(&now)) != NULL;)
            session_step(LIST_ENTRY(node, struct session, again));
    }
    worker_close(w);
    return NULL;
}

static void pin_to(pthread_t thread, unsigned index)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0 || CPU_COUNT(&allowed) == 0)
        return;
    unsigned nth = index % (unsigned)CPU_COUNT(&allowed);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && nth-- == 0) {
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(thread, sizeof(one), &one);
            return;
        }
}

// Each client connection may need one to an instance.
static uint32_t sessions_max(unsigned workers)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur > 2ull * SESSIONS_MAX * workers + FILES_OWN)
        return SESSIONS_MAX;
    return l.rlim_cur <= FILES_OWN ? 1 : (uint32_t)((l.rlim_cur - FILES_OWN) / workers / 2) + 1;
}

int worker_start(struct worker *w, struct edge_shared *sh, unsigned index, bool pin,
                 int backbone_fd, struct err *err)
{
    w->shared = sh;
    w->index = index;
    w->backbone_fd = backbone_fd;
    w->random = clock_us() * (2 * (uint64_t)index + 1) | 1;
    w->retry_tokens = RETRY_TOKENS_MAX;
    list_init(&w->views);
    list_init(&w->acceptors);
    list_init(&w->sessions);
    list_init(&w->again);
    w->sessions_max = sessions_max(sh->workers_n);
    w->pools = calloc(PEERS_MAX, sizeof(*w->pools));
    int r = w->pools == NULL ? err_set(err, -ENOMEM, "out of memory") : loop_init(&w->loop, err);
    if (r < 0)
        return r;
    if (pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        w->pipe[0] = w->pipe[1] = -1; // bodies are copied then
    else
        fcntl(w->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
    w->loop.woken = worker_woken;
    w->tick.fire = tick;
    tick(&w->tick);
    if (backbone_fd >= 0 && acceptor_open(w, NULL, backbone_fd) == NULL)
        return err_set(err, -ENOMEM, "backbone: cannot watch the listener");
    r = -pthread_create(&w->thread, NULL, worker_run, w);
    if (r < 0)
        return err_set(err, r, "worker: %s", strerror(-r));
    if (pin)
        pin_to(w->thread, index);
    return 0;
}

void worker_wake(struct worker *w)
{
    loop_wake(&w->loop);
}

void worker_order(struct worker *w, enum worker_order order)
{
    RELAXED_STORE(w->order, (uint32_t)order);
    loop_wake(&w->loop);
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
    loop_deinit(&w->loop);
    if (w->backbone_fd >= 0)
        close(w->backbone_fd);
    if (w->pipe[0] >= 0) {
        close(w->pipe[0]);
        close(w->pipe[1]);
    }
    free(w->pools);
    w->pools = NULL;
}
