// SPDX-License-Identifier: Apache-2.0
/* Parent of all long-running processes of a lab, as init is on a machine: starts them, restarts
 * with back-off those that end, and keeps DIR/processes.json for `skerry lab status`. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/file.h"
#include "host/log.h"
#include "host/proc.h"
#include "lab/lab.h"

enum {
    CHILDREN_MAX = CITIES_MAX + 3 * POPS_MAX + 2,
    ARGS_MAX = 24,
    TEXT_MAX = 2048,       // bytes of a child's arguments
    BACKOFF_MIN_MS = 100,  // before the first restart, doubling ...
    BACKOFF_MAX_MS = 5000, // ... up to this
    SETTLED_MS = 10000,    // a child that ran so long starts again with the shortest pause
    STOP_GRACE_MS = 1000,
    ROUTER_RT_PRIORITY = 1, // BFD must not miss its interval on a busy machine
    READY_MAX_MS = 10000,
};

struct child {
    char name[48];
    char netns[NETNS_NAME_MAX]; // "": the root namespace
    char text[TEXT_MAX];        // argv points in here
    size_t text_len;
    const char *argv[ARGS_MAX];
    unsigned argc;
    int rt_priority;
    struct proc proc;               // pid 0: not running
    int64_t started_ms, restart_ms; // restart_ms: when to start it again
    int backoff_ms;
    unsigned restarts;
    int last_status;
};

struct supervisor {
    const struct lab *lab;
    struct child children[CHILDREN_MAX];
    unsigned children_len;
    bool restart;
    char program_dir[LAB_PATH_MAX * 4];
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

PRINTF_LIKE(2, 3) static void arg(struct child *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof(c->text) - c->text_len;
    int n = vsnprintf(c->text + c->text_len, room, format, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < room && c->argc < ARGS_MAX - 1); // sizes of our own choosing
    c->argv[c->argc++] = c->text + c->text_len;
    c->text_len += (size_t)n + 1;
}

PRINTF_LIKE(2, 3) static struct child *child_new(struct supervisor *s, const char *name, ...)
{
    ASSERT(s->children_len < CHILDREN_MAX);
    struct child *c = &s->children[s->children_len++];
    va_list args;
    va_start(args, name);
    vsnprintf(c->name, sizeof(c->name), name, args);
    va_end(args);
    c->backoff_ms = BACKOFF_MIN_MS;
    return c;
}

static void add_links(struct supervisor *s)
{
    struct child *c = child_new(s, "links");
    arg(c, "%s/skerry", s->program_dir);
    arg(c, "lab");
    arg(c, "links");
    arg(c, "--name");
    arg(c, "%s", s->lab->name);
}

static void add_bird(struct supervisor *s, const char *city, enum plan_place place)
{
    struct child *c = child_new(s, "bird-%s%s", city, place == PLACE_POP ? "-pop" : "");
    plan_netns(s->lab->name, city, place, c->netns);
    c->rt_priority = ROUTER_RT_PRIORITY;
    arg(c, "bird");
    arg(c, "-f");
    arg(c, "-c");
    arg(c, "%s/bird/%s.conf", s->lab->dir, c->name);
    arg(c, "-s");
    arg(c, "%s/bird/%s.ctl", s->lab->dir, c->name);
}

// All a daemon keeps goes away with the lab.
static void add_state(struct supervisor *s, struct child *c)
{
    arg(c, "--state");
    arg(c, "%s/state/%s", s->lab->dir, c->name);
}

static void add_controller(struct supervisor *s)
{
    struct child *c = child_new(s, "controller");
    arg(c, "%s/skerryd", s->program_dir);
    arg(c, "controller");
    arg(c, "--listen");
    arg(c, "unix:%s", s->lab->control);
    add_state(s, c);
}

static void add_agent(struct supervisor *s, const struct topology *t, unsigned pop)
{
    const char *city = t->cities[t->pops[pop].city].name;
    struct child *c = child_new(s, "agent-%s", city);
    plan_netns(s->lab->name, city, PLACE_POP, c->netns);
    arg(c, "%s/skerryd", s->program_dir);
    arg(c, "agent");
    arg(c, "--region");
    arg(c, "%s", t->pops[pop].region);
    arg(c, "--control");
    arg(c, "unix:%s", s->lab->control);
    arg(c, "--bridge");
    arg(c, "br0");
    arg(c, "--subnet");
    arg(c, "10.80.%u.0/24", pop + 1);
    arg(c, "--gateway");
    arg(c, "10.80.%u.1", pop + 1);
    add_state(s, c);
}

static void add_edge(struct supervisor *s, const struct topology *t, unsigned pop)
{
    const char *city = t->cities[t->pops[pop].city].name;
    struct child *c = child_new(s, "edge-%s", city);
    plan_netns(s->lab->name, city, PLACE_POP, c->netns);
    arg(c, "%s/skerry-edge", s->program_dir);
    arg(c, "--pop");
    arg(c, "%s", city);
    arg(c, "--region");
    arg(c, "%s", t->pops[pop].region);
    arg(c, "--control");
    arg(c, "unix:%s", s->lab->control);
    arg(c, "--backbone");
    arg(c, "10.90.0.%u:7070", pop + 1);
    arg(c, "--admin");
    arg(c, "unix:%s/%s.admin", s->lab->dir, c->name);
    arg(c, "--access-log");
    arg(c, "%s/log/access-%s.log", s->lab->dir, city);
    arg(c, "--workers"); // all POPs share this one machine's cores
    arg(c, "1");
    arg(c, "--no-pin");
    add_state(s, c);
}

static int open_log(const struct lab *lab, const char *name, struct err *err)
{
    char path[LAB_PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/log/%s.log", lab->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return fd < 0 ? err_set(err, -errno, "%s: %s", path, strerror(errno)) : fd;
}

static int start_child(struct supervisor *s, struct child *c, int keep_fd, struct err *err)
{
    CLEANUP(fd_closep) int log = open_log(s->lab, c->name, err);
    if (log < 0)
        return log;
    CLEANUP(fd_closep) int netns = c->netns[0] != '\0' ? netns_open(c->netns, err) : -1;
    if (netns < 0 && c->netns[0] != '\0')
        return netns;
    struct proc_spec spec = proc_spec_of(c->argv);
    spec.stdout_fd = spec.stderr_fd = log;
    spec.netns_fd = netns;
    spec.rt_priority = c->rt_priority;
    spec.new_session = true;
    if (keep_fd >= 0) {
        spec.keep_fds[0] = keep_fd;
        spec.keep_fds_len = 1;
    }
    int r = proc_spawn(&spec, &c->proc, err);
    c->started_ms = now_ms();
    return r;
}

static void write_state(const struct supervisor *s)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < s->children_len; i++) {
        const struct child *c = &s->children[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i, s:i}", "name", c->name, "netns",
                                              c->netns, "pid", (int)c->proc.pid, "restarts",
                                              (int)c->restarts, "last_status", c->last_status));
    }
    json_t *root = json_pack("{s:i, s:o}", "supervisor", (int)getpid(), "processes", list);
    char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    char path[LAB_PATH_MAX];
    struct err err;
    lab_path(s->lab, "processes.json", path);
    if (text == NULL || file_replace(path, text, strlen(text), 0644, &err) < 0)
        log_warn("state not written", "path=%s", path);
    free(text);
    json_decref(root);
}

// Everything waits for the links: their devices carry the routers' sessions.
static int start_links(struct supervisor *s, struct child *c, struct err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, -errno, "links: %s", strerror(errno));
    unsigned argc = c->argc;
    arg(c, "--ready-fd");
    arg(c, "%d", fds[1]);
    int r = start_child(s, c, fds[1], err);
    c->argv[argc] = NULL; // a restarted one has nobody waiting
    c->argc = argc;
    close(fds[1]);
    struct pollfd closed = {.fd = fds[0], .events = POLLIN};
    int n = r < 0 ? 0 : poll(&closed, 1, READY_MAX_MS);
    int status;
    if (r == 0 && (n <= 0 || proc_wait(&c->proc, 0, &status) == 0))
        r = err_set(err, -EIO, "the link process did not start: see %s/log/links.log", s->lab->dir);
    close(fds[0]);
    return r;
}

static int start_all(struct supervisor *s, struct err *err)
{
    int r = start_links(s, &s->children[0], err);
    for (unsigned i = 1; r == 0 && i < s->children_len; i++)
        r = start_child(s, &s->children[i], -1, err);
    write_state(s);
    return r;
}

static void child_ended(struct supervisor *s, struct child *c)
{
    pid_t pid = c->proc.pid;
    if (proc_wait(&c->proc, 0, &c->last_status) < 0)
        return;
    int64_t now = now_ms();
    if (now - c->started_ms >= SETTLED_MS)
        c->backoff_ms = BACKOFF_MIN_MS;
    c->restart_ms = s->restart ? now + c->backoff_ms : INT64_MAX;
    c->backoff_ms = MIN(c->backoff_ms * 2, (int)BACKOFF_MAX_MS);
    log_warn("process ended", "name=%s pid=%d status=%d", c->name, (int)pid, c->last_status);
    write_state(s);
}

static void restart_due(struct supervisor *s)
{
    for (unsigned i = 0; i < s->children_len; i++) {
        struct child *c = &s->children[i];
        struct err err = {0};
        if (c->proc.pid != 0 || c->restart_ms > now_ms())
            continue;
        c->restarts++;
        if (start_child(s, c, -1, &err) < 0) {
            c->restart_ms = now_ms() + c->backoff_ms;
            c->backoff_ms = MIN(c->backoff_ms * 2, (int)BACKOFF_MAX_MS);
            log_error("restart failed", "name=%s error=%s", c->name, err.text);
        } else {
            log_info("process restarted", "name=%s pid=%d", c->name, (int)c->proc.pid);
        }
        write_state(s);
    }
}

static int next_restart_ms(const struct supervisor *s)
{
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < s->children_len; i++)
        if (s->children[i].proc.pid == 0)
            next = MIN(next, s->children[i].restart_ms);
    return next == INT64_MAX ? -1 : (int)MAX(next - now_ms(), (int64_t)0);
}

static void watch_over(struct supervisor *s, int signals)
{
    for (;;) {
        struct pollfd fds[CHILDREN_MAX + 1];
        for (unsigned i = 0; i < s->children_len; i++)
            fds[i] =
                (struct pollfd){.fd = s->children[i].proc.pid != 0 ? s->children[i].proc.pidfd : -1,
                                .events = POLLIN};
        fds[s->children_len] = (struct pollfd){.fd = signals, .events = POLLIN};
        int n = poll(fds, s->children_len + 1, next_restart_ms(s));
        if (n > 0 && fds[s->children_len].revents != 0)
            return;
        for (unsigned i = 0; n > 0 && i < s->children_len; i++)
            if (fds[i].revents != 0)
                child_ended(s, &s->children[i]);
        restart_due(s);
    }
}

static void stop_all(struct supervisor *s)
{
    for (unsigned i = s->children_len; i-- > 0;)
        proc_stop(&s->children[i].proc, STOP_GRACE_MS);
}

static int find_program_dir(struct supervisor *s, struct err *err)
{
    ssize_t n = readlink("/proc/self/exe", s->program_dir, sizeof(s->program_dir) - 1);
    char *slash = n < 0 ? NULL : strrchr(s->program_dir, '/');
    if (slash == NULL)
        return err_set(err, -EIO, "/proc/self/exe: not readable");
    *slash = '\0';
    return 0;
}

static void add_children(struct supervisor *s, const struct topology *t, bool daemons)
{
    add_links(s);
    for (unsigned i = 0; i < t->cities_len; i++)
        add_bird(s, t->cities[i].name, PLACE_ROUTER);
    for (unsigned i = 0; i < t->pops_len; i++)
        add_bird(s, t->cities[t->pops[i].city].name, PLACE_POP);
    if (!daemons)
        return;
    add_controller(s);
    for (unsigned i = 0; i < t->pops_len; i++) {
        add_agent(s, t, i);
        add_edge(s, t, i);
    }
}

int lab_supervise(const struct lab *lab, bool daemons, bool restart, int ready_fd, struct err *err)
{
    static struct supervisor s;
    static struct topology topo;
    char control[LAB_PATH_MAX + 8];
    sigset_t stop;
    s = (struct supervisor){.lab = lab, .restart = restart};
    int r = lab_topology(lab, &topo, err);
    if (r == 0)
        r = find_program_dir(&s, err);
    if (r < 0)
        return r;
    snprintf(control, sizeof(control), "unix:%s", lab->control);
    setenv("SKERRY_CONTROL", control, 1);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    CLEANUP(fd_closep) int signals = signalfd(-1, &stop, SFD_CLOEXEC);
    if (signals < 0)
        return err_set(err, -errno, "signals: %s", strerror(errno));
    add_children(&s, &topo, daemons);
    r = start_all(&s, err);
    if (r == 0) {
        ssize_t told = write(ready_fd, "+", 1); // who waits may have been killed: go on
        (void)told;
        close(ready_fd);
        watch_over(&s, signals);
    }
    stop_all(&s);
    return r;
}
