// SPDX-License-Identifier: Apache-2.0
#include "provider/local/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/file.h"
#include "host/proc.h"
#include "provider/local/host.h"
#include "provider/local/status.h"

enum {
    OUTPUT_BYTES_MAX = 64 * 1024,
    ADOPT_WAIT_MS_MAX = 5000, // for a hypervisor that was being started when its starter died
    EVENTS_STEP = 32,
};

// Behind each watched descriptor: what it is, and whose.
enum watch { WATCH_STATUS, WATCH_END, WATCH_GRACE };

struct instance {
    struct instance_info info;
    struct proc qemu;
    bool ours;    // a child of this process, to be reaped
    int dir;      // of its state
    int watch;    // inotify's number for its status; -1: none
    int grace;    // timer, -1: none
    int console;  // connection over which it was asked to stop; -1: none
    bool up_told; // events that were taken
    bool end_told;
    bool up_due; // events that are to be taken
    bool end_due;
};

struct provider {
    struct local_host host;
    char state_dir[LOCAL_PATH_MAX / 2];
    int lock;
    int events; // epoll
    int inotify;
    struct instance *instances[INSTANCES_MAX]; // holes are NULL
};

static int fail(struct err *e, const char *path, const char *what)
{
    int code = -errno;
    return err_set(e, code, "%s: cannot %s: %s", path, what, strerror(-code));
}

static void instance_dir(const struct provider *p, const char *id, char *ret, size_t max)
{
    snprintf(ret, max, "%s/%s", p->state_dir, id);
}

static struct instance *find(struct provider *p, const char *id)
{
    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        if (p->instances[i] != NULL && strcmp(p->instances[i]->info.id, id) == 0)
            return p->instances[i];
    return NULL;
}

static int no_instance(const char *id, struct err *e)
{
    return err_set(e, -ENOENT, "no instance '%.80s'", id);
}

static uint32_t slot_of(const struct provider *p, const struct instance *in)
{
    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        if (p->instances[i] == in)
            return i;
    ASSERT(false);
    return 0;
}

/* Forget it here; what runs runs on. */
static void instance_close(struct provider *p, struct instance *in)
{
    if (in->watch >= 0)
        inotify_rm_watch(p->inotify, in->watch);
    fd_closep(&in->qemu.pidfd);
    fd_closep(&in->grace);
    fd_closep(&in->console);
    fd_closep(&in->dir);
    free(in);
}

static int instance_new(struct provider *p, const char *id, struct instance **ret, struct err *e)
{
    char path[LOCAL_PATH_MAX];
    uint32_t slot = 0;
    while (slot < INSTANCES_MAX && p->instances[slot] != NULL)
        slot++;
    if (slot == INSTANCES_MAX)
        return err_set(e, -ENOSPC, "more than %d instances", INSTANCES_MAX);
    struct instance *in = calloc(1, sizeof(*in));
    if (in == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    in->watch = in->grace = in->console = in->qemu.pidfd = -1;
    snprintf(in->info.id, sizeof(in->info.id), "%s", id);
    instance_dir(p, id, path, sizeof(path));
    in->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (in->dir < 0) {
        free(in);
        return fail(e, path, "open");
    }
    p->instances[slot] = in;
    *ret = in;
    return 0;
}

static void instance_remove(struct provider *p, struct instance *in)
{
    p->instances[slot_of(p, in)] = NULL;
    instance_close(p, in);
}

// ---- events

static int watch_fd(struct provider *p, int fd, enum watch what, uint32_t slot)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)what << 32 | slot};
    return epoll_ctl(p->events, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* Read a small file of the instance's folder; absent is empty. */
static size_t read_state(const struct instance *in, const char *name, char *ret, size_t max)
{
    CLEANUP(fd_closep) int fd = openat(in->dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, ret, max - 1) : 0;
    ret[MAX(n, (ssize_t)0)] = '\0';
    return (size_t)MAX(n, (ssize_t)0);
}

static void read_status(struct instance *in)
{
    char text[STATUS_BYTES_MAX];
    size_t len = read_state(in, "status", text, sizeof(text));
    status_parse(text, len, &in->info);
    in->up_due = in->info.up_micros != 0 && !in->up_told;
}

static void on_end(struct provider *p, struct instance *in)
{
    int status;
    char *output = calloc(1, OUTPUT_BYTES_MAX);
    int r = in->ours ? proc_wait(&in->qemu, PROC_FOREVER, &status) : 0;
    (void)r; // how the process ended says less than the status port did
    fd_closep(&in->qemu.pidfd);
    in->qemu = (struct proc){.pidfd = -1};
    if (in->watch >= 0)
        inotify_rm_watch(p->inotify, in->watch);
    in->watch = -1;
    fd_closep(&in->grace);
    fd_closep(&in->console);
    read_status(in);
    if (output != NULL)
        read_state(in, "output", output, OUTPUT_BYTES_MAX);
    status_end(&in->info, output != NULL ? output : "");
    free(output);
    in->end_due = !in->end_told;
}

/* Which status files changed is not worth knowing: reading all that run is cheap enough, as each
 * changes twice in its life. */
static void on_status(struct provider *p)
{
    char events[4096];
    while (read(p->inotify, events, sizeof(events)) > 0)
        ;
    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        struct instance *in = p->instances[i];
        if (in == NULL || in->qemu.pidfd < 0 || in->up_told)
            continue;
        int64_t pid = in->info.pid;
        read_status(in);
        in->info.state = INSTANCE_RUNNING; // its end is told when the hypervisor has ended
        in->info.pid = pid;
    }
}

static void gather(struct provider *p)
{
    struct epoll_event ev[EVENTS_STEP];
    int n = epoll_wait(p->events, ev, EVENTS_STEP, 0);
    for (int i = 0; i < n; i++) {
        struct instance *in = p->instances[(uint32_t)ev[i].data.u64];
        switch ((enum watch)(ev[i].data.u64 >> 32)) {
        case WATCH_STATUS:
            on_status(p);
            break;
        case WATCH_END:
            if (in != NULL && in->qemu.pidfd >= 0)
                on_end(p, in);
            break;
        case WATCH_GRACE:
            if (in != NULL && in->grace >= 0) {
                proc_kill(&in->qemu, SIGKILL);
                fd_closep(&in->grace);
            }
            break;
        }
    }
}

static int local_event_take(struct provider *p, struct instance_info *ret)
{
    gather(p);
    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        struct instance *in = p->instances[i];
        if (in == NULL || !(in->up_due || in->end_due))
            continue;
        *ret = in->info;
        if (in->up_due) { // tell that it came up first, also when it has ended meanwhile
            in->up_due = false;
            in->up_told = true;
            if (in->end_due)
                ret->state = INSTANCE_RUNNING;
        } else {
            in->end_due = false;
            in->end_told = true;
        }
        return 1;
    }
    return 0;
}

static int local_event_fd(struct provider *p)
{
    return p->events;
}

// ---- put

static int watch_instance(struct provider *p, struct instance *in, const char *path, struct err *e)
{
    char status[LOCAL_PATH_MAX];
    snprintf(status, sizeof(status), "%s/status", path);
    in->watch = inotify_add_watch(p->inotify, status, IN_MODIFY);
    if (in->watch < 0)
        return fail(e, status, "watch");
    int r = watch_fd(p, in->qemu.pidfd, WATCH_END, slot_of(p, in));
    return r < 0 ? err_set(e, r, "%s: cannot watch: %s", path, strerror(-r)) : 0;
}

/* The files that are there from the start; returns the locked descriptor for the hypervisor. */
static int make_state(const struct instance *in, const struct instance_spec *spec, const char *path,
                      int *ret_output, struct err *e)
{
    char console[LOCAL_PATH_MAX] = "";
    if (spec->console_path != NULL && spec->console_path[0] != '/') {
        if (getcwd(console, sizeof(console) / 2) == NULL)
            return fail(e, ".", "name");
        strncat(console, "/", sizeof(console) - strlen(console) - 1);
    }
    if (spec->console_path != NULL) {
        size_t len = strlen(console);
        snprintf(console + len, sizeof(console) - len, "%s", spec->console_path);
        if (symlinkat(console, in->dir, "console.log") < 0)
            return fail(e, path, "link the console's log in");
    }
    CLEANUP(fd_closep) int lock = openat(in->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CLEANUP(fd_closep) int status = openat(in->dir, "status", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CLEANUP(fd_closep)
    int log = openat(in->dir, "console.log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    *ret_output = openat(in->dir, "output", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || status < 0 || *ret_output < 0)
        return fail(e, path, "make its files");
    if (log < 0)
        return fail(e, spec->console_path != NULL ? console : path, "open the console's log");
    if (flock(lock, LOCK_EX | LOCK_NB) < 0)
        return fail(e, path, "lock");
    return fd_take(&lock);
}

static int spawn(struct provider *p, struct instance *in, const struct instance_spec *spec,
                 const char *path, int tap, struct err *e)
{
    CLEANUP(fd_closep) int output = -1;
    CLEANUP(fd_closep) int lock = make_state(in, spec, path, &output, e);
    if (lock < 0)
        return lock;
    struct qemu_command *c = malloc(sizeof(*c));
    struct qemu_request q;
    char image[LOCAL_PATH_MAX], kernel[LOCAL_PATH_MAX];
    struct instance_spec absolute = *spec;
    local_request(&p->host, spec, &q);
    int r = c != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");
    if (r == 0 && realpath(spec->image_path, image) == NULL)
        r = fail(e, spec->image_path, "open");
    if (r == 0 && realpath(q.kernel_path, kernel) == NULL)
        r = fail(e, q.kernel_path, "open");
    if (r == 0) {
        absolute.image_path = image;
        q.spec = &absolute;
        q.kernel_path = kernel;
        q.console = "socket,path=console.sock,server=on,wait=off,logfile=console.log,logappend=on";
        q.status = "status";
        q.pid_file = "pid";
        q.tap_fd = tap;
        r = qemu_command_make(&q, c, e);
    }
    if (r == 0) {
        struct proc_spec ps = proc_spec_of(c->words);
        ps.cwd = path;
        ps.stdout_fd = ps.stderr_fd = output;
        ps.keep_fds[ps.keep_fds_len++] = lock;
        if (tap >= 0)
            ps.keep_fds[ps.keep_fds_len++] = tap;
        ps.new_session = true;
        r = proc_spawn(&ps, &in->qemu, e);
    }
    free(c);
    if (r < 0)
        return r;
    in->ours = true;
    in->info.pid = in->qemu.pid;
    return watch_instance(p, in, path, e);
}

static int check_put(const struct instance_spec *spec, struct err *e)
{
    int r = instance_spec_check(spec, e);
    r = r < 0 ? r : local_check_file("image", spec->image_path, e);
    if (r == 0 && spec->kernel_path != NULL)
        r = local_check_kernel(spec->kernel_path, e);
    return r < 0 ? r : local_check_ports(&spec->net, e);
}

static int local_instance_put(struct provider *p, const struct instance_spec *spec, struct err *e)
{
    char path[LOCAL_PATH_MAX];
    struct instance *in = NULL;
    struct err ignored;
    int r = check_put(spec, e);
    if (r < 0)
        return r;
    instance_dir(p, spec->id, path, sizeof(path));
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? err_set(e, -EEXIST, "instance '%s' is there already", spec->id)
                               : fail(e, path, "create");
    CLEANUP(fd_closep) int tap = -1;
    if (spec->net.kind == INSTANCE_NET_BRIDGE)
        r = tap = local_tap(spec, e);
    r = r < 0 ? r : instance_new(p, spec->id, &in, e);
    r = r < 0 ? r : spawn(p, in, spec, path, tap, e);
    if (r == 0)
        return 0;
    if (in != NULL) {
        if (in->qemu.pidfd >= 0) {
            proc_kill(&in->qemu, SIGKILL);
            on_end(p, in);
        }
        instance_remove(p, in);
    }
    int gone = file_remove_tree(path, &ignored);
    (void)gone;
    return r;
}

// ---- stop, delete, list

/* Send the byte that asks for an end over the console's socket. The path goes through our open
 * folder, because a socket's name must be short. */
static int ask(struct instance *in)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char byte = BOOT_CONSOLE_TERM;
    snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/console.sock", in->dir);
    fd_closep(&in->console);
    in->console = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (in->console < 0 || connect(in->console, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
        send(in->console, &byte, 1, MSG_NOSIGNAL) != 1)
        return -errno;
    return 0;
}

/* The time that is left shrinks only. */
static int set_grace(struct provider *p, struct instance *in, uint32_t grace_ms)
{
    struct itimerspec left = {0},
                      want = {.it_value = {.tv_sec = grace_ms / 1000,
                                           .tv_nsec = (long)(grace_ms % 1000) * 1000000}};
    if (in->grace >= 0 && timerfd_gettime(in->grace, &left) == 0 &&
        (left.it_value.tv_sec < want.it_value.tv_sec ||
         (left.it_value.tv_sec == want.it_value.tv_sec &&
          left.it_value.tv_nsec <= want.it_value.tv_nsec)))
        return 0;
    if (in->grace < 0) {
        in->grace = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        int r = in->grace < 0 ? -errno : watch_fd(p, in->grace, WATCH_GRACE, slot_of(p, in));
        if (r < 0)
            return r;
    }
    return timerfd_settime(in->grace, 0, &want, NULL) < 0 ? -errno : 0;
}

static int local_instance_stop(struct provider *p, const char *id, uint32_t grace_ms, struct err *e)
{
    struct instance *in = find(p, id);
    if (in == NULL)
        return no_instance(id, e);
    if (in->qemu.pidfd < 0)
        return 0;
    bool asked = grace_ms > 0 && in->console >= 0;
    // Who cannot be asked is killed at once.
    if (grace_ms == 0 || (!asked && ask(in) < 0) || set_grace(p, in, grace_ms) < 0)
        proc_kill(&in->qemu, SIGKILL);
    return 0;
}

static int local_instance_delete(struct provider *p, const char *id, struct err *e)
{
    char path[LOCAL_PATH_MAX];
    struct instance *in = find(p, id);
    if (in == NULL)
        return no_instance(id, e);
    if (in->qemu.pidfd >= 0)
        return err_set(e, -EBUSY, "instance '%s' still runs", id);
    instance_dir(p, id, path, sizeof(path));
    int r = file_remove_tree(path, e);
    if (r == 0)
        instance_remove(p, in);
    return r;
}

static int local_instance_list(struct provider *p, struct instance_info *ret, uint32_t max,
                               UNUSED struct err *e)
{
    uint32_t n = 0;
    gather(p);
    for (uint32_t i = 0; i < INSTANCES_MAX && n < max; i++)
        if (p->instances[i] != NULL)
            ret[n++] = p->instances[i]->info;
    return (int)n;
}

static int local_console_path(struct provider *p, const char *id, char *ret, size_t max,
                              struct err *e)
{
    if (find(p, id) == NULL)
        return no_instance(id, e);
    if ((size_t)snprintf(ret, max, "%s/%s/console.log", p->state_dir, id) >= max)
        return err_set(e, -ENAMETOOLONG, "%s: path too long", p->state_dir);
    return 0;
}

// ---- open, close

/* Does the hypervisor of this folder live? It holds the lock from before its start to its end. */
static bool lives(const struct instance *in)
{
    CLEANUP(fd_closep) int fd = openat(in->dir, "lock", O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* The id that a living hypervisor wrote; it may be about to. */
static int64_t read_pid(const struct instance *in)
{
    enum { STEP_MS = 10 };
    for (int ms = 0; ms < ADOPT_WAIT_MS_MAX && lives(in); ms += STEP_MS) {
        char text[32], *end;
        read_state(in, "pid", text, sizeof(text));
        long pid = strtol(text, &end, 10);
        if (pid > 0 && *end == '\n')
            return pid;
        poll(NULL, 0, STEP_MS); // the writer gives no sign; it takes some 20 ms
    }
    return 0;
}

static int adopt(struct provider *p, const char *id, struct err *e)
{
    struct instance *in;
    char path[LOCAL_PATH_MAX];
    int r = instance_new(p, id, &in, e);
    if (r < 0)
        return r;
    instance_dir(p, id, path, sizeof(path));
    int64_t pid = read_pid(in);
    if (pid > 0) {
        in->qemu =
            (struct proc){.pid = (pid_t)pid, .pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0)};
        if (in->qemu.pidfd >= 0 && !lives(in)) // it ended, and the number may be a stranger's
            fd_closep(&in->qemu.pidfd);
    }
    if (in->qemu.pidfd < 0) {
        on_end(p, in);
        in->end_due = in->up_due = false; // the list says so
        return 0;
    }
    read_status(in);
    in->info.state = INSTANCE_RUNNING;
    in->info.pid = pid;
    return watch_instance(p, in, path, e);
}

static int adopt_all(struct provider *p, struct err *e)
{
    struct dirent **names;
    int n = scandir(p->state_dir, &names, NULL, alphasort), r = 0;
    if (n < 0)
        return fail(e, p->state_dir, "read");
    for (int i = 0; i < n; i++) {
        if (r == 0 && instance_id_is_right(names[i]->d_name))
            r = adopt(p, names[i]->d_name, e);
        free(names[i]);
    }
    free(names);
    return r;
}

static void local_close(struct provider *p)
{
    if (p == NULL)
        return;
    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        if (p->instances[i] != NULL)
            instance_remove(p, p->instances[i]);
    fd_closep(&p->inotify);
    fd_closep(&p->events);
    fd_closep(&p->lock);
    free(p);
}

static int open_state(struct provider *p, const char *state_dir, struct err *e)
{
    char path[LOCAL_PATH_MAX];
    int r = file_mkdirs(state_dir, 0700, e);
    if (r < 0)
        return r;
    char *real = realpath(state_dir, path);
    if (real == NULL || strlen(real) >= sizeof(p->state_dir))
        return err_set(e, -ENAMETOOLONG, "%s: path too long", state_dir);
    memcpy(p->state_dir, real, strlen(real) + 1);
    snprintf(path, sizeof(path), "%s/.lock", p->state_dir);
    p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (p->lock < 0)
        return fail(e, path, "open");
    // A record lock: a child that is about to become a hypervisor does not inherit it, and so
    // cannot hold it beyond the death of its parent.
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(p->lock, F_SETLK, &whole) < 0)
        return err_set(e, -EBUSY, "%s: another process runs instances here", p->state_dir);
    p->events = epoll_create1(EPOLL_CLOEXEC);
    p->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (p->events < 0 || p->inotify < 0)
        return fail(e, p->state_dir, "watch");
    r = watch_fd(p, p->inotify, WATCH_STATUS, 0);
    return r < 0 ? err_set(e, r, "%s: cannot watch: %s", p->state_dir, strerror(-r)) : 0;
}

static int local_open(const struct provider_config *config, struct provider **ret, struct err *e)
{
    struct provider *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    p->lock = p->events = p->inotify = -1;
    int r = local_host_init(&p->host, config, e);
    r = r < 0 ? r : open_state(p, config->state_dir, e);
    r = r < 0 ? r : adopt_all(p, e);
    if (r < 0) {
        local_close(p);
        return r;
    }
    *ret = p;
    return 0;
}

const struct provider_ops local_ops = {
    .name = "local",
    .open = local_open,
    .close = local_close,
    .instance_put = local_instance_put,
    .instance_stop = local_instance_stop,
    .instance_delete = local_instance_delete,
    .instance_list = local_instance_list,
    .event_fd = local_event_fd,
    .event_take = local_event_take,
    .console_path = local_console_path,
};
