// SPDX-License-Identifier: Apache-2.0
/* Bringing a lab up: namespaces and their devices here, the processes by lab/supervise.c; then wait
 * until BGP has led every route everywhere. */
#include <errno.h>
#include <fcntl.h>
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
#include "host/proc.h"
#include "lab/birdc.h"
#include "lab/lab.h"
#include "lab/settle.h"

enum {
    TOPOLOGY_BYTES_MAX = 1 << 20,
    SUPERVISOR_MAX_MS = 20000, // until all processes are started
    ROUTES_MAX_MS = 60000,     // until every route is everywhere
    BFD_MAX_MS = 20000,
    BFD_LOOK_MS = 20, // BIRD tells nobody when a BFD session comes up: look again
    CONTROL_MAX_MS = 15000,
    LOG_TAIL = 600, // bytes of a log shown when a start fails
};

struct up {
    const struct lab *lab;
    const struct lab_up_options *o;
    struct topology topo;
    int signals; // readable when we are asked to stop
    int64_t began_ms;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

PRINTF_LIKE(2, 3) static void progress(const struct up *u, const char *format, ...)
{
    if (u->o->progress == NULL)
        return;
    char text[128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(u->o->progress, "%6.2f s  %s\n", (double)(now_ms() - u->began_ms) / 1000, text);
    fflush(u->o->progress);
}

static int interrupted(const struct up *u, struct err *err)
{
    struct pollfd p = {.fd = u->signals, .events = POLLIN};
    return poll(&p, 1, 0) > 0 ? err_set(err, -EINTR, "interrupted") : 0;
}

static int refuse_second(UNUSED const char *name, UNUSED void *context)
{
    return -EEXIST;
}

static bool has_program(const char *name)
{
    char out[128];
    struct err ignored;
    const char *const argv[] = {name, "--version", NULL};
    return proc_run(argv, 5000, out, sizeof(out), &ignored) == 0;
}

static int check_programs(const struct up *u, struct err *err)
{
    static const char *const daemons[] = {"skerryd", "skerry-edge"};
    char path[512];
    if (!has_program("bird"))
        return err_set(err, -ENOENT, "BIRD 2 is missing: install the Debian package bird2");
    if (u->o->daemons && !has_program("qemu-system-x86_64"))
        return err_set(err, -ENOENT,
                       "QEMU is missing: install the Debian package qemu-system-x86 (--no-daemons "
                       "does without)");
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        return err_set(err, -errno, "/dev/net/tun: %s", strerror(errno));
    for (size_t i = 0; u->o->daemons && i < ARRAY_LEN(daemons); i++) {
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
        path[MAX(n, 0)] = '\0';
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return err_set(err, -EIO, "/proc/self/exe: not readable");
        snprintf(slash + 1, 32, "%s", daemons[i]);
        if (access(path, X_OK) < 0)
            return err_set(err, -ENOENT, "%s: %s (--no-daemons does without)", path,
                           strerror(errno));
    }
    return 0;
}

static int write_bird(const struct up *u, unsigned i, bool is_pop, struct err *err)
{
    char path[LAB_PATH_MAX + 64], *text = NULL;
    size_t len = 0;
    const struct topology *t = &u->topo;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (is_pop)
        plan_bird_pop(t, i, f);
    else
        plan_bird_router(t, i, f);
    fclose(f);
    snprintf(path, sizeof(path), "%s/bird/bird-%s%s.conf", u->lab->dir,
             t->cities[is_pop ? t->pops[i].city : i].name, is_pop ? "-pop" : "");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int r = fd < 0 ? -errno : file_write_all(fd, text, len);
    if (fd >= 0)
        close(fd);
    free(text);
    return r < 0 ? err_set(err, r, "%s: %s", path, strerror(-r)) : 0;
}

static int write_files(const struct up *u, struct err *err)
{
    char path[LAB_PATH_MAX], *text = NULL;
    size_t len = 0;
    static const char *const dirs[] = {"bird", "log", "state"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++) {
        lab_path(u->lab, dirs[i], path);
        r = file_mkdirs(path, 0755, err);
    }
    if (r == 0)
        r = file_read(u->o->file, TOPOLOGY_BYTES_MAX, &text, &len, err);
    lab_path(u->lab, "topology.yaml", path);
    if (r == 0)
        r = file_replace(path, text, len, 0644, err);
    free(text);
    for (unsigned i = 0; r == 0 && i < u->topo.cities_len; i++)
        r = write_bird(u, i, false, err);
    for (unsigned i = 0; r == 0 && i < u->topo.pops_len; i++)
        r = write_bird(u, i, true, err);
    return r;
}

static int tune(struct err *err)
{
    static const char *const settings[][2] = {
        {"ipv4/ip_forward", "1"},
        {"ipv4/fib_multipath_hash_policy", "1"},
        {"ipv4/icmp_ratelimit", "0"},
        {"ipv4/conf/all/rp_filter", "0"},
        {"ipv4/conf/default/rp_filter", "0"},
        {"ipv4/conf/all/send_redirects", "0"},
        {"ipv4/conf/default/send_redirects", "0"},
        // The defaults cap a path of 150 ms at some 300 Mbit/s.
        {"ipv4/tcp_rmem", "4096 131072 67108864"},
        {"ipv4/tcp_wmem", "4096 131072 67108864"},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(settings); i++)
        r = netns_sysctl(settings[i][0], settings[i][1], err);
    // The planet is IPv4: no neighbour discovery on its links. Absent where IPv6 is.
    struct err ignored;
    if (r == 0 && netns_sysctl("ipv6/conf/default/disable_ipv6", "1", &ignored) < 0)
        return 0;
    return r;
}

// Make a namespace, tune it, and open it.
static int make_place(const struct up *u, unsigned city, enum plan_place place, int *ret_fd,
                      struct rtnl *ret_rt, struct err *err)
{
    char name[NETNS_NAME_MAX];
    struct netns_visit visit;
    plan_netns(u->lab->name, u->topo.cities[city].name, place, name);
    int r = interrupted(u, err);
    if (r == 0)
        r = netns_create(name, err);
    int fd = r < 0 ? r : netns_open(name, err);
    if (fd < 0)
        return fd;
    r = netns_visit(fd, &visit);
    if (r < 0) {
        close(fd);
        return err_set(err, r, "namespace '%s': cannot enter: %s", name, strerror(-r));
    }
    r = tune(err);
    netns_return(&visit);
    if (r == 0)
        r = rtnl_open(fd, ret_rt, err);
    if (r < 0)
        close(fd);
    else
        *ret_fd = fd;
    return r;
}

static int make_client(const struct up *u, unsigned city, struct rtnl *router, struct err *err)
{
    CLEANUP(fd_closep) int fd = -1;
    CLEANUP(rtnl_close) struct rtnl rt = {.fd = -1};
    const struct rtnl_change up = {.up = true};
    uint32_t net = plan_client_net(city);
    int r = make_place(u, city, PLACE_CLIENT, &fd, &rt, err);
    if (r == 0)
        r = rtnl_veth(router, "client", "eth0", fd, err);
    if (r == 0)
        r = rtnl_addr_add(router, "client", net + 1, 24, 0, err);
    if (r == 0)
        r = rtnl_change(router, "client", &up, err);
    if (r == 0)
        r = rtnl_addr_add(&rt, "eth0", net + 2, 24, 0, err);
    if (r == 0)
        r = rtnl_change(&rt, "eth0", &up, err);
    return r < 0 ? r : rtnl_route_add(&rt, 0, 0, net + 1, 0, "eth0", err);
}

static int make_city(const struct up *u, unsigned city, struct err *err)
{
    CLEANUP(fd_closep) int fd = -1;
    CLEANUP(rtnl_close) struct rtnl rt = {.fd = -1};
    int r = make_place(u, city, PLACE_ROUTER, &fd, &rt, err);
    if (r == 0 && u->topo.cities[city].client)
        r = make_client(u, city, &rt, err);
    return r;
}

static int make_pop(const struct up *u, unsigned pop, struct err *err)
{
    CLEANUP(fd_closep) int fd = -1;
    CLEANUP(rtnl_close) struct rtnl rt = {.fd = -1};
    const struct rtnl_change up = {.up = true};
    int r = make_place(u, u->topo.pops[pop].city, PLACE_POP, &fd, &rt, err);
    if (r == 0)
        r = rtnl_bridge(&rt, "br0", err);
    if (r == 0)
        r = rtnl_addr_add(&rt, "br0", plan_region_net(pop) + 1, 24, 0, err);
    if (r == 0)
        r = rtnl_change(&rt, "br0", &up, err);
    if (r == 0)
        r = rtnl_bridge(&rt, "drain", err); // a place for addresses; nothing is plugged into it
    return r < 0 ? r : rtnl_change(&rt, "drain", &up, err);
}

static int make_places(const struct up *u, struct err *err)
{
    const struct topology *t = &u->topo;
    unsigned n = t->cities_len + t->pops_len;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < t->cities_len; i++) {
        r = make_city(u, i, err);
        n += t->cities[i].client;
    }
    for (unsigned i = 0; r == 0 && i < t->pops_len; i++)
        r = make_pop(u, i, err);
    if (r == 0)
        progress(u, "%u namespaces", n);
    return r;
}

// The end of a log tells why a start failed.
static int blame(const struct lab *lab, const char *who, const char *log, struct err *err)
{
    char path[LAB_PATH_MAX], *text = NULL;
    size_t len = 0;
    struct err ignored;
    lab_path(lab, log, path);
    if (file_read(path, 1 << 24, &text, &len, &ignored) < 0)
        return err_set(err, -EIO, "the %s did not start", who);
    const char *tail = text + (len > LOG_TAIL ? len - LOG_TAIL : 0);
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    const char *line = strrchr(tail, '\n');
    int r = err_set(err, -EIO, "the %s did not start: %s", who, line != NULL ? line + 1 : tail);
    free(text);
    return r;
}

static int spawn_supervisor(const struct up *u, int ready_fd, struct proc *ret, struct err *err)
{
    char log_path[LAB_PATH_MAX], fd_text[16];
    lab_path(u->lab, "log/supervisor.log", log_path);
    snprintf(fd_text, sizeof(fd_text), "%d", ready_fd);
    CLEANUP(fd_closep) int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0)
        return err_set(err, -errno, "%s: %s", log_path, strerror(errno));
    const char *const argv[] = {"/proc/self/exe",
                                "lab",
                                "supervise",
                                "--name",
                                u->lab->name,
                                "--ready-fd",
                                fd_text,
                                u->o->daemons ? "--daemons" : "--no-daemons",
                                u->o->restart ? "--restart" : "--no-restart",
                                NULL};
    struct proc_spec spec = proc_spec_of(argv);
    spec.stdout_fd = spec.stderr_fd = log;
    spec.new_session = true;
    spec.cwd = "/";
    spec.keep_fds[0] = ready_fd;
    spec.keep_fds_len = 1;
    return proc_spawn(&spec, ret, err);
}

static int start_processes(const struct up *u, struct err *err)
{
    int fds[2];
    struct proc p;
    char byte = 0;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, -errno, "pipe: %s", strerror(errno));
    int r = spawn_supervisor(u, fds[1], &p, err);
    close(fds[1]);
    struct pollfd waits[] = {{.fd = fds[0], .events = POLLIN},
                             {.fd = u->signals, .events = POLLIN}};
    int n = r < 0 ? 0 : poll(waits, 2, SUPERVISOR_MAX_MS);
    if (r == 0 && n > 0 && waits[1].revents != 0)
        r = err_set(err, -EINTR, "interrupted");
    else if (r == 0 && (n <= 0 || read(fds[0], &byte, 1) != 1))
        r = blame(u->lab, "supervisor", "log/supervisor.log", err);
    close(fds[0]);
    if (r == 0) {
        close(p.pidfd); // it outlives us; lab_down ends it
        progress(u, "%u links, %u routers", u->topo.links_len,
                 u->topo.cities_len + u->topo.pops_len);
    }
    return r;
}

static int await_routes(const struct up *u, struct err *err)
{
    int r = settle(u->lab, &u->topo, &(uint32_t){0}, 0, u->signals, ROUTES_MAX_MS, err);
    if (r == 0)
        progress(u, "every city reaches every other by its best way");
    return r;
}

// Wait for a moment, unless a signal comes first.
static int look_again(const struct up *u, int64_t deadline, const char *what, struct err *err)
{
    struct pollfd p = {.fd = u->signals, .events = POLLIN};
    if (poll(&p, 1, BFD_LOOK_MS) > 0)
        return err_set(err, -EINTR, "interrupted");
    return now_ms() > deadline ? err_set(err, -ETIMEDOUT, "no %s in time", what) : 0;
}

static int await_bfd(const struct up *u, struct err *err)
{
    const struct topology *t = &u->topo;
    int64_t deadline = now_ms() + BFD_MAX_MS;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < t->cities_len + t->pops_len;) {
        bool is_pop = i >= t->cities_len;
        unsigned city = is_pop ? t->pops[i - t->cities_len].city : i, all = 0, up = 0;
        char path[LAB_PATH_MAX + 64], answer[16384];
        struct err not_yet;
        snprintf(path, sizeof(path), "%s/bird/bird-%s%s.ctl", u->lab->dir, t->cities[city].name,
                 is_pop ? "-pop" : "");
        if (birdc(path, "show bfd sessions", answer, sizeof(answer), &not_yet) == 0)
            birdc_count_bfd(answer, &all, &up);
        if (all > 0 && up == all)
            i++;
        else
            r = look_again(u, deadline, "BFD session everywhere", err);
    }
    if (r == 0)
        progress(u, "every link watched by BFD, %u ms x %u", t->bfd_ms, t->bfd_multiplier);
    return r;
}

static int await_controller(const struct up *u, struct err *err)
{
    int64_t deadline = now_ms() + CONTROL_MAX_MS;
    int r = 0;
    while (r == 0 && access(u->lab->control, F_OK) < 0)
        r = look_again(u, deadline, "controller", err);
    if (r == -ETIMEDOUT)
        return blame(u->lab, "controller", "log/controller.log", err);
    if (r == 0)
        progress(u, "controller, %u agents, %u edges started", u->topo.pops_len, u->topo.pops_len);
    return r;
}

static int bring_up(const struct up *u, struct err *err)
{
    int r = write_files(u, err);
    if (r == 0)
        r = make_places(u, err);
    if (r == 0)
        r = start_processes(u, err);
    if (r == 0)
        r = await_routes(u, err);
    if (r == 0)
        r = await_bfd(u, err);
    return r == 0 && u->o->daemons ? await_controller(u, err) : r;
}

int lab_up(const struct lab *lab, const struct lab_up_options *o, struct err *err)
{
    static struct up u;
    char prefix[NETNS_NAME_MAX];
    sigset_t stop;
    u = (struct up){.lab = lab, .o = o, .began_ms = now_ms()};
    snprintf(prefix, sizeof(prefix), "%s-", lab->name);
    int r = lab_privileges(err);
    if (r == 0)
        r = topology_load(o->file, &u.topo, err);
    if (r == 0)
        r = check_programs(&u, err);
    if (r == 0 && (access(lab->dir, F_OK) == 0 || netns_each(prefix, refuse_second, NULL) != 0))
        r = err_set(err, -EEXIST, "lab '%s' is there already: 'skerry lab down' removes it",
                    lab->name);
    if (r < 0)
        return r;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGHUP);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    u.signals = signalfd(-1, &stop, SFD_CLOEXEC);
    r = u.signals < 0 ? err_set(err, -errno, "signals: %s", strerror(errno)) : bring_up(&u, err);
    if (r < 0) {
        struct err also;
        if (lab_down(lab, &also) < 0)
            err_prefix(err, "%s", also.text);
    }
    fd_closep(&u.signals);
    return r;
}
