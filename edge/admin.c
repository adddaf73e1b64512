// SPDX-License-Identifier: Apache-2.0
/* The admin address: /metrics for Prometheus, /status as JSON for people and tests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "edge/edge.h"

enum { CONNS_MAX = 16, REQUEST_MAX = 8192, PATIENCE_MS = 5000 };

struct admin_conn {
    struct loop_fd lfd;
    struct loop_timer timer;
    struct edge *edge;
    bool used;
    char in[REQUEST_MAX];
    size_t in_len;
    char *out; // owned
    size_t out_len, out_at;
};

static struct admin_conn conns[CONNS_MAX]; // control thread

static void conn_close(struct admin_conn *c)
{
    int fd = c->lfd.fd;
    loop_timer_stop(&c->timer);
    loop_forget(&c->edge->loop, &c->lfd);
    close(fd);
    free(TAKE(c->out));
    c->used = false;
}

// ------------------------------------------------------------------------------------ metrics

static uint64_t sum_at(const struct edge *e, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < e->options.workers; i++) {
        const uint64_t *p = (const void *)((const char *)&e->workers[i].counts + offset);
        sum += RELAXED_LOAD(*p);
    }
    return sum;
}

// X(field of struct worker_counts, metric, help)
#define COUNTERS(X)                                                                                \
    X(accepted, "connections_total", "Client connections taken.")                                  \
    X(refused, "connections_refused_total", "Client connections closed for want of room.")         \
    X(bad_requests, "bad_requests_total", "Requests refused as malformed.")                        \
    X(upstream_opened, "upstream_opened_total", "Connections opened to instances and POPs.")       \
    X(upstream_reused, "upstream_reused_total", "Requests sent over a connection kept alive.")     \
    X(keepalive_races, "keepalive_races_total", "Kept connections that closed under a request.")   \
    X(client_aborts, "client_aborts_total", "Clients that went away amid a request.")              \
    X(log_dropped, "log_lines_dropped_total", "Access log lines that found no room.")

static void metrics_workers(const struct edge *e, FILE *f)
{
#define X(field, name, help)                                                                       \
    fprintf(f,                                                                                     \
            "# HELP skerry_edge_" name " " help "\n# TYPE skerry_edge_" name " counter\n"          \
            "skerry_edge_" name " %llu\n",                                                         \
            (unsigned long long)sum_at(e, offsetof(struct worker_counts, field)));
    COUNTERS(X)
#undef X
    uint32_t sessions = 0, exchanges = 0;
    for (unsigned i = 0; i < e->options.workers; i++) {
        sessions += RELAXED_LOAD(e->workers[i].counts.sessions);
        exchanges += RELAXED_LOAD(e->workers[i].counts.exchanges);
    }
    fprintf(f,
            "# HELP skerry_edge_connections Client connections now open.\n"
            "# TYPE skerry_edge_connections gauge\nskerry_edge_connections %u\n"
            "# HELP skerry_edge_in_progress Requests now in progress.\n"
            "# TYPE skerry_edge_in_progress gauge\nskerry_edge_in_progress %u\n",
            sessions, exchanges);
    fprintf(f, "# HELP skerry_edge_duration_seconds From a request's head to its last byte.\n"
               "# TYPE skerry_edge_duration_seconds histogram\n");
    uint64_t sum = 0;
    for (unsigned b = 0; b < LATENCY_BUCKETS; b++) {
        sum += sum_at(e, offsetof(struct worker_counts, latency) + b * sizeof(uint64_t));
        if (b < LATENCY_BUCKETS - 1)
            fprintf(f, "skerry_edge_duration_seconds_bucket{le=\"%g\"} %llu\n",
                    latency_bounds_us[b] / 1e6, (unsigned long long)sum);
    }
    fprintf(f,
            "skerry_edge_duration_seconds_bucket{le=\"+Inf\"} %llu\n"
            "skerry_edge_duration_seconds_sum %g\nskerry_edge_duration_seconds_count %llu\n",
            (unsigned long long)sum,
            (double)sum_at(e, offsetof(struct worker_counts, latency_sum_us)) / 1e6,
            (unsigned long long)sum);
}

static uint64_t tally_sum(const struct edge *e, const struct tally *t, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < e->options.workers; i++) {
        const uint64_t *p = (const void *)((const char *)&t->shares[i] + offset);
        sum += RELAXED_LOAD(*p);
    }
    return sum;
}

static void metrics_services(const struct edge *e, FILE *f)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        {"retries_total", "Requests tried again on another peer.",
         offsetof(struct tally_share, retries)},
        {"spilled_total", "Requests sent to another region.",
         offsetof(struct tally_share, spilled)},
        {"shed_total", "Requests refused because all were busy.",
         offsetof(struct tally_share, shed)},
        {"bytes_out_total", "Body bytes sent to clients.", offsetof(struct tally_share, bytes_out)},
    };
    fprintf(f, "# HELP skerry_edge_requests_total Requests by class of their status.\n"
               "# TYPE skerry_edge_requests_total counter\n");
    for (unsigned i = 0; i < e->tallies_n; i++)
        for (unsigned c = 0; c < 6; c++)
            fprintf(f, "skerry_edge_requests_total{app=\"%s\",status=\"%uxx\"} %llu\n",
                    e->tallies[i]->app, c,
                    (unsigned long long)tally_sum(e, e->tallies[i],
                                                  offsetof(struct tally_share, status) +
                                                      c * sizeof(uint64_t)));
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        fprintf(f, "# HELP skerry_edge_%s %s\n# TYPE skerry_edge_%s counter\n", rows[r].name,
                rows[r].help, rows[r].name);
        for (unsigned i = 0; i < e->tallies_n; i++)
            fprintf(f, "skerry_edge_%s{app=\"%s\"} %llu\n", rows[r].name, e->tallies[i]->app,
                    (unsigned long long)tally_sum(e, e->tallies[i], rows[r].offset));
    }
}

static void metrics_peers(const struct edge *e, FILE *f)
{
    fprintf(f, "# HELP skerry_edge_peer_up Whether an instance or POP takes requests.\n"
               "# TYPE skerry_edge_peer_up gauge\n");
    for (unsigned i = 0; i < PEERS_MAX; i++)
        if (e->peers[i] != NULL)
            fprintf(f, "skerry_edge_peer_up{peer=\"%s\",kind=\"%s\"} %d\n", e->peers[i]->name,
                    e->peers[i]->is_pop ? "pop" : "instance", RELAXED_LOAD(e->peers[i]->up));
    fprintf(f, "# HELP skerry_edge_peer_in_flight Requests in flight there from here.\n"
               "# TYPE skerry_edge_peer_in_flight gauge\n");
    for (unsigned i = 0; i < PEERS_MAX; i++)
        if (e->peers[i] != NULL)
            fprintf(f, "skerry_edge_peer_in_flight{peer=\"%s\"} %u\n", e->peers[i]->name,
                    shares_in_flight(e->peers[i]->shares, e->options.workers));
    fprintf(f, "# HELP skerry_edge_pop_rtt_seconds Round trip to another POP.\n"
               "# TYPE skerry_edge_pop_rtt_seconds gauge\n");
    LIST_FOR_EACH (node, &e->pollers) {
        const struct poller *p = LIST_ENTRY(node, struct poller, node);
        fprintf(f, "skerry_edge_pop_rtt_seconds{pop=\"%s\"} %g\n", p->peer->name,
                poller_rtt(p) / 1e6);
    }
    fprintf(f,
            "# HELP skerry_edge_controller_connected Whether the table's watch stands.\n"
            "# TYPE skerry_edge_controller_connected gauge\n"
            "skerry_edge_controller_connected %d\n",
            e->connected);
}

// ------------------------------------------------------------------------------------- status

static json_t *status_json(const struct edge *e)
{
    json_t *services = json_array(), *pops = json_array();
    for (unsigned i = 0; e->current != NULL && i < e->current->services_n; i++) {
        const struct snap_service *sv = &e->current->services[i];
        json_t *instances = json_array();
        char text[ADDR_TEXT_MAX];
        for (unsigned j = 0; j < sv->locals_n; j++) {
            const struct peer *p = sv->locals[j].peer;
            json_array_append_new(instances,
                                  json_pack("{s:s, s:b, s:b, s:i}", "id", p->name, "healthy",
                                            RELAXED_LOAD(p->up), "serving", sv->locals[j].serving,
                                            "in_flight",
                                            (int)shares_in_flight(p->shares, e->options.workers)));
        }
        json_array_append_new(services, json_pack("{s:s, s:s, s:b, s:b, s:o}", "app", sv->spec->app,
                                                  "address", addr_text(&sv->spec->address, text),
                                                  "listening", sv->listener != NULL, "announced",
                                                  edge_announced(e, sv), "instances", instances));
    }
    LIST_FOR_EACH (node, &e->pollers) {
        const struct poller *p = LIST_ENTRY(node, struct poller, node);
        json_array_append_new(pops, json_pack("{s:s, s:s, s:b, s:f}", "name", p->peer->name,
                                              "region", p->peer->region, "healthy",
                                              p->health.healthy, "rtt_ms", poller_rtt(p) / 1000.0));
    }
    return json_pack("{s:s, s:s, s:I, s:b, s:b, s:b, s:i, s:o, s:o}", "pop", e->options.pop,
                     "region", e->options.region, "version",
                     (json_int_t)(e->current == NULL ? 0 : e->current->table->version), "applied",
                     edge_applied(e), "controller", e->connected, "leaving", e->leaving, "workers",
                     (int)e->options.workers, "services", services, "pops", pops);
}

static void body_for(const struct edge *e, const struct http_slice *target, FILE *f,
                     const char **ret_type, int *ret_status)
{
    *ret_status = 200;
    if (target->len == 8 && memcmp(target->p, "/metrics", 8) == 0) {
        *ret_type = "text/plain; version=0.0.4";
        metrics_workers(e, f);
        metrics_services(e, f);
        metrics_peers(e, f);
    } else if (target->len == 7 && memcmp(target->p, "/status", 7) == 0) {
        *ret_type = "application/json";
        json_t *o = status_json(e);
        json_dumpf(o, f, JSON_INDENT(2));
        fputc('\n', f);
        json_decref(o);
    } else {
        *ret_type = "text/plain";
        *ret_status = 404;
        fprintf(f, "Only /metrics and /status are here.\n");
    }
}

static void respond(struct admin_conn *c, const struct http_head *h)
{
    char *body = NULL;
    size_t body_len = 0;
    const char *type;
    int status;
    FILE *f = open_memstream(&body, &body_len);
    if (f == NULL)
        return;
    body_for(c->edge, &h->target, f, &type, &status);
    fclose(f);
    int n = asprintf(&c->out,
                     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     status, status == 200 ? "OK" : "Not Found", type, body_len,
                     h->method == HTTP_HEAD ? "" : body);
    c->out_len = n < 0 ? 0 : (size_t)n;
    if (n < 0)
        c->out = NULL;
    free(body);
}

static void conn_ready(struct loop_fd *f, UNUSED uint32_t events)
{
    struct admin_conn *c = CONTAINER_OF(f, struct admin_conn, lfd);
    while (c->out == NULL) {
        struct http_head h;
        ssize_t n = recv(f->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            conn_close(c);
            return;
        }
        c->in_len += (size_t)n;
        int end = http_head_end(c->in, c->in_len, 0);
        if (end == -EAGAIN && c->in_len < sizeof(c->in))
            continue;
        if (end > 0 && http_request(c->in, (size_t)end, &h) == 0)
            respond(c, &h);
        if (c->out == NULL) {
            conn_close(c);
            return;
        }
    }
    while (c->out_at < c->out_len) {
        ssize_t n = send(f->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break;
        c->out_at += (size_t)n;
    }
    conn_close(c);
}

static void conn_expired(struct loop_timer *t)
{
    conn_close(CONTAINER_OF(t, struct admin_conn, timer));
}

static void admin_ready(struct loop_fd *f, UNUSED uint32_t events)
{
    struct edge *e = CONTAINER_OF(f, struct edge, admin);
    int fd = accept4(f->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    unsigned i = 0;
    while (i < CONNS_MAX && conns[i].used)
        i++;
    if (fd < 0)
        return;
    if (i == CONNS_MAX) {
        close(fd);
        return;
    }
    struct admin_conn *c = &conns[i];
    memset(c, 0, offsetof(struct admin_conn, in));
    c->in_len = c->out_len = c->out_at = 0;
    c->edge = e;
    c->lfd.ready = conn_ready;
    c->timer.fire = conn_expired;
    if (loop_add(&e->loop, &c->lfd, fd, EPOLLIN | EPOLLOUT | EPOLLET) < 0) {
        close(fd);
        return;
    }
    c->used = true;
    loop_timer_set(&e->loop, &c->timer, e->loop.now_ms + PATIENCE_MS);
}

int admin_open(struct edge *e, const struct addr *at, struct err *err)
{
    char text[ADDR_TEXT_MAX];
    int fd;
    if (at->sa.sa_family == AF_UNIX) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        unlink(at->un.sun_path);
        if (fd < 0 || bind(fd, &at->sa, at->len) < 0 || listen(fd, CONNS_MAX) < 0)
            fd = -errno;
    } else {
        fd = addr_listen(at, false);
    }
    e->admin.ready = admin_ready;
    int r = fd < 0 ? fd : loop_add(&e->loop, &e->admin, fd, EPOLLIN);
    return r < 0 ? err_set(err, r, "cannot listen on admin address %s: %s", addr_text(at, text),
                           strerror(-r))
                 : 0;
}
