// SPDX-License-Identifier: Apache-2.0
#include "control/fake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/file.h"
#include "host/proc.h"

enum { FAKE_MAX = 256, RECORD_MAX = 128, STAT_MAX = 1024, PATH_BYTES = 4096 };

struct fake {
    char id[INSTANCE_ID_MAX];
    struct proc proc; // pid 0: ended
    bool child;       // ours to reap; else adopted
    bool told_up;     // the event RUNNING was taken
    bool told_end;    // the event of its end was taken
    uint64_t kill_ms; // SIGKILL then; 0: not asked to stop
    enum instance_state state;
    int status;
};

struct provider {
    char state_dir[PATH_BYTES / 2];
    const char *program;
    int lock_fd, epoll_fd, timer_fd;
    struct fake *instances[FAKE_MAX];
    uint32_t len;
};

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void record_path(const struct provider *p, const char *id, const char *suffix, char *ret,
                        size_t max)
{
    snprintf(ret, max, "%s/%s%s", p->state_dir, id, suffix);
}

// Field 22 of /proc/PID/stat: two processes with the same number differ in it. 0: no such process.
static unsigned long long start_time(pid_t pid)
{
    char path[64], *text = NULL;
    size_t len;
    struct err e;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read(path, STAT_MAX, &text, &len, &e) < 0)
        return 0;
    unsigned long long value = 0;
    const char *at = strrchr(text, ')'); // field 2 may hold anything
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL)
        value = strtoull(at, NULL, 10);
    free(text);
    return value;
}

static void watch(struct provider *p, struct fake *f)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = f};
    epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, f->proc.pidfd, &e);
}

// Makes event_fd readable at once, or at the next time a stopped instance is to be killed.
static void arm(struct provider *p)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t i = 0; i < p->len; i++) {
        const struct fake *f = p->instances[i];
        if (!f->told_up || (f->proc.pid == 0 && !f->told_end))
            at = 1;
        else if (f->proc.pid != 0 && f->kill_ms != 0)
            at = MIN(at, f->kill_ms);
    }
    struct itimerspec when = {0};
    if (at != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(at / 1000);
        when.it_value.tv_nsec = (long)(at % 1000 * 1000000) + 1;
    }
    timerfd_settime(p->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static struct fake *find(const struct provider *p, const char *id)
{
    for (uint32_t i = 0; i < p->len; i++)
        if (strcmp(p->instances[i]->id, id) == 0)
            return p->instances[i];
    return NULL;
}

static void adopt(struct provider *p, const char *name)
{
    char path[PATH_BYTES], *text = NULL;
    size_t len;
    struct err e;
    const char *dot = strrchr(name, '.');
    if (dot == NULL || strcmp(dot, ".pid") != 0 || p->len == FAKE_MAX ||
        (size_t)(dot - name) >= INSTANCE_ID_MAX)
        return;
    record_path(p, name, "", path, sizeof(path));
    struct fake *f = calloc(1, sizeof(*f));
    if (f == NULL || file_read(path, RECORD_MAX, &text, &len, &e) < 0) {
        free(f);
        return;
    }
    char *end;
    pid_t pid = (pid_t)strtol(text, &end, 10);
    unsigned long long started = strtoull(end, NULL, 10);
    free(text);
    memcpy(f->id, name, (size_t)(dot - name));
    f->state = INSTANCE_KILLED;
    f->told_up = true;
    f->proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (f->proc.pidfd >= 0 && start_time(pid) == started) {
        f->proc.pid = pid;
        f->state = INSTANCE_RUNNING;
        watch(p, f);
    }
    p->instances[p->len++] = f;
}

static void fake_close(struct provider *p)
{
    if (p == NULL)
        return;
    for (uint32_t i = 0; i < p->len; i++) {
        if (p->instances[i]->proc.pid != 0)
            close(p->instances[i]->proc.pidfd);
        free(p->instances[i]);
    }
    fd_closep(&p->lock_fd);
    fd_closep(&p->epoll_fd);
    fd_closep(&p->timer_fd);
    free(p);
}

static int fake_open(const struct provider_config *config, struct provider **ret, struct err *e)
{
    const char *program = getenv("SKERRY_FAKE_PROGRAM");
    if (program == NULL)
        return err_set(e, -ENOENT, "provider fake is for tests: it needs SKERRY_FAKE_PROGRAM");
    int r = file_mkdirs(config->state_dir, 0700, e);
    struct provider *p = r < 0 ? NULL : calloc(1, sizeof(*p));
    if (p == NULL)
        return r < 0 ? r : err_set(e, -ENOMEM, "out of memory");
    snprintf(p->state_dir, sizeof(p->state_dir), "%s", config->state_dir);
    p->program = program;
    p->lock_fd = open(config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (p->lock_fd < 0 || flock(p->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        fake_close(p);
        return err_set(e, -EBUSY, "state folder '%s' is in use", config->state_dir);
    }
    struct epoll_event timer = {.events = EPOLLIN};
    epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->timer_fd, &timer);
    DIR *d = opendir(p->state_dir);
    for (const struct dirent *x = d == NULL ? NULL : readdir(d); x != NULL; x = readdir(d))
        adopt(p, x->d_name);
    if (d != NULL)
        closedir(d);
    arm(p);
    *ret = p;
    return 0;
}

static int spawn(struct provider *p, struct fake *f, const struct instance_spec *spec,
                 struct err *e)
{
    char address[32], console[PATH_BYTES], record[RECORD_MAX], path[PATH_BYTES];
    const uint8_t *a = spec->net.address;
    snprintf(address, sizeof(address), "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    record_path(p, spec->id, ".log", console, sizeof(console));
    CLEANUP(fd_closep)
    int out = open(spec->console_path != NULL ? spec->console_path : console,
                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0)
        return err_set(e, -errno, "console of '%s': %s", spec->id, strerror(errno));
    const char *argv[] = {p->program, spec->image_path, address, spec->id, NULL};
    struct proc_spec s = proc_spec_of(argv);
    s.stdout_fd = s.stderr_fd = out;
    s.new_session = true;
    int r = proc_spawn(&s, &f->proc, e);
    if (r < 0)
        return r;
    f->child = true;
    f->state = INSTANCE_RUNNING;
    snprintf(record, sizeof(record), "%d %llu\n", (int)f->proc.pid, start_time(f->proc.pid));
    record_path(p, spec->id, ".pid", path, sizeof(path));
    r = file_replace(path, record, strlen(record), 0600, e);
    if (r < 0)
        (void)proc_stop(&f->proc, 0);
    return r;
}

static int fake_put(struct provider *p, const struct instance_spec *spec, struct err *e)
{
    if (find(p, spec->id) != NULL)
        return err_set(e, -EEXIST, "instance '%s' exists already", spec->id);
    if (access(spec->image_path, R_OK) != 0)
        return err_set(e, -ENOENT, "image '%s': %s", spec->image_path, strerror(errno));
    struct fake *f = p->len == FAKE_MAX ? NULL : calloc(1, sizeof(*f));
    if (f == NULL)
        return err_set(e, -ENOMEM, "too many instances");
    snprintf(f->id, sizeof(f->id), "%s", spec->id);
    int r = spawn(p, f, spec, e);
    if (r < 0) {
        free(f);
        return r;
    }
    watch(p, f);
    p->instances[p->len++] = f;
    arm(p);
    return 0;
}

static int fake_stop(struct provider *p, const char *id, uint32_t grace_ms, struct err *e)
{
    struct fake *f = find(p, id);
    if (f == NULL)
        return err_set(e, -ENOENT, "there is no instance '%s'", id);
    if (f->proc.pid == 0)
        return 0;
    uint64_t at = MAX(now_ms() + grace_ms, (uint64_t)1);
    if (f->kill_ms == 0 && grace_ms > 0)
        proc_kill(&f->proc, SIGTERM);
    f->kill_ms = f->kill_ms == 0 ? at : MIN(f->kill_ms, at);
    arm(p);
    return 0;
}

static int fake_delete(struct provider *p, const char *id, struct err *e)
{
    struct fake *f = find(p, id);
    char path[PATH_BYTES];
    uint32_t kept = 0;
    if (f == NULL)
        return err_set(e, -ENOENT, "there is no instance '%s'", id);
    if (f->proc.pid != 0)
        return err_set(e, -EBUSY, "instance '%s' still runs", id);
    for (uint32_t i = 0; i < p->len; i++)
        if (p->instances[i] != f)
            p->instances[kept++] = p->instances[i];
    p->len = kept;
    record_path(p, id, ".pid", path, sizeof(path));
    unlink(path);
    record_path(p, id, ".log", path, sizeof(path));
    unlink(path);
    free(f);
    arm(p);
    return 0;
}

static void describe(const struct fake *f, struct instance_info *ret)
{
    *ret = (struct instance_info){
        .state = f->state, .status = f->status, .pid = f->proc.pid, .up_micros = 1};
    memcpy(ret->id, f->id, sizeof(ret->id));
}

static int fake_list(struct provider *p, struct instance_info *ret, uint32_t max,
                     UNUSED struct err *e)
{
    uint32_t n = MIN(max, p->len);
    for (uint32_t i = 0; i < n; i++)
        describe(p->instances[i], &ret[i]);
    return (int)n;
}

static int fake_event_fd(struct provider *p)
{
    return p->epoll_fd;
}

static void reap(struct fake *f)
{
    int status = -1;
    if (f->child) {
        if (proc_wait(&f->proc, PROC_FOREVER, &status) < 0)
            status = 255;
        f->state = status < 128 ? INSTANCE_EXITED : INSTANCE_SIGNALED;
        f->status = status < 128 ? status : status - 128;
    } else {
        close(f->proc.pidfd);
        f->proc = (struct proc){0};
        f->state = INSTANCE_KILLED; // not our child: nobody tells us how
    }
}

static void look(struct provider *p)
{
    struct epoll_event events[16];
    eventfd_t ignored;
    ssize_t n_read = read(p->timer_fd, &ignored, sizeof(ignored));
    (void)n_read; // it may not have expired
    int n = epoll_wait(p->epoll_fd, events, ARRAY_LEN(events), 0);
    for (int i = 0; i < n; i++) {
        struct fake *f = events[i].data.ptr;
        if (f != NULL && f->proc.pid != 0)
            reap(f);
    }
    for (uint32_t i = 0; i < p->len; i++) {
        struct fake *f = p->instances[i];
        if (f->proc.pid != 0 && f->kill_ms != 0 && now_ms() >= f->kill_ms) {
            proc_kill(&f->proc, SIGKILL);
            f->kill_ms = now_ms() + 1000; // once is enough, but look again
        }
    }
}

static int fake_event_take(struct provider *p, struct instance_info *ret)
{
    look(p);
    int taken = 0;
    for (uint32_t i = 0; i < p->len && taken == 0; i++) {
        struct fake *f = p->instances[i];
        if (!f->told_up) {
            f->told_up = true;
            describe(f, ret);
            ret->state = INSTANCE_RUNNING;
            taken = 1;
        } else if (f->proc.pid == 0 && !f->told_end) {
            f->told_end = true;
            describe(f, ret);
            taken = 1;
        }
    }
    arm(p);
    return taken;
}

static int fake_console_path(struct provider *p, const char *id, char *ret, size_t max,
                             struct err *e)
{
    if (find(p, id) == NULL)
        return err_set(e, -ENOENT, "there is no instance '%s'", id);
    record_path(p, id, ".log", ret, max);
    return 0;
}

const struct provider_ops fake_provider_ops = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .instance_put = fake_put,
    .instance_stop = fake_stop,
    .instance_delete = fake_delete,
    .instance_list = fake_list,
    .event_fd = fake_event_fd,
    .event_take = fake_event_take,
    .console_path = fake_console_path,
};
