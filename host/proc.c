// SPDX-License-Identifier: Apache-2.0
#include "host/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FD_SAFE = 3 }; // the first descriptor above the standard ones

// What failed in the child, sent to the parent through a pipe that a successful exec closes.
struct complaint {
    int code; // errno
    char step[16];
};

NORETURN static void child_give_up(int pipe_fd, const char *step)
{
    struct complaint c = {.code = errno};
    memcpy(c.step, step, MIN(strlen(step), sizeof(c.step) - 1));
    ssize_t ignored = write(pipe_fd, &c, sizeof(c));
    (void)ignored;
    _exit(127);
}

// Sources move above 2 first, so that placing one does not overwrite another.
static int child_stdio(const struct proc_spec *spec)
{
    const int wanted[FD_SAFE] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
    int from[FD_SAFE];
    for (int i = 0; i < FD_SAFE; i++) {
        from[i] = wanted[i] == PROC_DEV_NULL ? open("/dev/null", O_RDWR | O_CLOEXEC) : wanted[i];
        if (from[i] >= 0)
            from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FD_SAFE);
        if (from[i] < 0)
            return -1;
    }
    for (int i = 0; i < FD_SAFE; i++)
        if (dup2(from[i], i) < 0)
            return -1;
    return 0;
}

static int child_fds(const struct proc_spec *spec)
{
    if (close_range(FD_SAFE, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return -1;
    for (uint32_t i = 0; i < spec->keep_fds_len; i++)
        if (fcntl(spec->keep_fds[i], F_SETFD, 0) < 0)
            return -1;
    return child_stdio(spec);
}

static void child_signals(void)
{
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL); // fails for SIGKILL and SIGSTOP, which are default anyway
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

// Between fork and exec: only what is safe in a child of a threaded program.
NORETURN static void child(const struct proc_spec *spec, int pipe_fd, pid_t parent)
{
    child_signals();
    if (spec->parent_death_signal != 0) {
        if (prctl(PR_SET_PDEATHSIG, spec->parent_death_signal) < 0)
            child_give_up(pipe_fd, "death signal");
        if (getppid() != parent)
            _exit(127); // the parent ended before we could ask for the signal
    }
    if (spec->new_session && setsid() < 0)
        child_give_up(pipe_fd, "session");
    if (spec->netns_fd >= 0 && setns(spec->netns_fd, CLONE_NEWNET) < 0)
        child_give_up(pipe_fd, "namespace");
    if (spec->rt_priority > 0) {
        // Not permitted everywhere; the caller asked for it only where it is.
        struct sched_param param = {.sched_priority = spec->rt_priority};
        sched_setscheduler(0, SCHED_RR, &param);
    }
    if (spec->cwd != NULL && chdir(spec->cwd) < 0)
        child_give_up(pipe_fd, "directory");
    if (child_fds(spec) < 0)
        child_give_up(pipe_fd, "descriptors");
    // exec takes pointers to char that it does not change (POSIX, exec, rationale).
    execvpe(spec->argv[0], (char *const *)(uintptr_t)spec->argv,
            spec->envp != NULL ? (char *const *)(uintptr_t)spec->envp : environ);
    child_give_up(pipe_fd, "execute");
}

static int reap_quietly(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

// The child's verdict: 0 when exec succeeded (the pipe closed without a word).
static int read_complaint(int fd, const char *program, struct err *err)
{
    struct complaint c;
    ssize_t n;
    do
        n = read(fd, &c, sizeof(c));
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(c))
        return 0;
    c.step[sizeof(c.step) - 1] = '\0';
    return err_set(err, -c.code, "cannot start %s: %s: %s", program, c.step, strerror(c.code));
}

int proc_spawn(const struct proc_spec *spec, struct proc *ret, struct err *err)
{
    ASSERT(spec->argv[0] != NULL && spec->keep_fds_len <= PROC_KEEP_MAX);
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot start %s: %s", spec->argv[0], strerror(errno));
    // The pipe must survive the placing of the standard descriptors.
    int pipe_fd = fcntl(fds[1], F_DUPFD_CLOEXEC, FD_SAFE);
    close(fds[1]);
    pid_t parent = getpid();
    pid_t pid = pipe_fd < 0 ? -1 : fork();
    if (pid == 0)
        child(spec, pipe_fd, parent);
    int code = errno;
    if (pipe_fd >= 0)
        close(pipe_fd);
    if (pid < 0) {
        close(fds[0]);
        return err_set(err, -code, "cannot start %s: %s", spec->argv[0], strerror(code));
    }
    int r = read_complaint(fds[0], spec->argv[0], err);
    close(fds[0]);
    int pidfd = r < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (r == 0 && pidfd < 0) {
        r = err_set(err, -errno, "cannot watch %s: %s", spec->argv[0], strerror(errno));
        kill(pid, SIGKILL);
    }
    if (r < 0) {
        reap_quietly(pid);
        return r;
    }
    *ret = (struct proc){.pid = pid, .pidfd = pidfd};
    return 0;
}

int proc_kill(const struct proc *p, int signal)
{
    if (p->pid == 0)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, p->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// 1 when the descriptor is readable, 0 at the deadline (absolute; negative: none).
static int wait_readable(int fd, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline < 0 ? -1 : MAX(deadline - now_ms(), (int64_t)0);
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int n = poll(&pfd, 1, (int)left);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
    }
}

static int64_t deadline_of(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
}

int proc_wait(struct proc *p, int timeout_ms, int *ret_status)
{
    ASSERT(p->pid > 0);
    int r = wait_readable(p->pidfd, deadline_of(timeout_ms));
    if (r < 0)
        return r;
    if (r == 0)
        return -ETIMEDOUT;
    int status = reap_quietly(p->pid);
    close(p->pidfd);
    *p = (struct proc){.pidfd = -1};
    *ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return 0;
}

int proc_stop(struct proc *p, int grace_ms)
{
    int status = 0;
    if (p->pid == 0)
        return 0;
    proc_kill(p, SIGTERM);
    if (proc_wait(p, grace_ms, &status) == 0)
        return status;
    proc_kill(p, SIGKILL);
    int r = proc_wait(p, PROC_FOREVER, &status);
    ASSERT(r == 0);
    return status;
}

// Read until the end, the deadline or an error; what does not fit is read and dropped.
static int drain(int fd, int64_t deadline, char *out, size_t max)
{
    size_t len = 0;
    for (;;) {
        int r = wait_readable(fd, deadline);
        if (r <= 0)
            return r == 0 ? -ETIMEDOUT : r;
        char chunk[4096];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            out[len] = '\0';
            return n < 0 ? -errno : 0;
        }
        size_t take = MIN((size_t)n, max - 1 - len);
        memcpy(out + len, chunk, take);
        len += take;
        out[len] = '\0';
    }
}

int proc_run(const char *const *argv, int timeout_ms, char *out, size_t max, struct err *err)
{
    ASSERT(max > 0);
    out[0] = '\0';
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(err, -errno, "cannot start %s: %s", argv[0], strerror(errno));
    struct proc_spec spec = proc_spec_of(argv);
    spec.stdout_fd = spec.stderr_fd = fds[1];
    struct proc p;
    int64_t deadline = deadline_of(timeout_ms);
    int r = proc_spawn(&spec, &p, err);
    close(fds[1]);
    if (r == 0) {
        r = drain(fds[0], deadline, out, max);
        if (r < 0) {
            proc_kill(&p, SIGKILL);
            err_set(err, r, "%s: %s", argv[0], strerror(-r));
        }
        int status = 0;
        int w = proc_wait(&p, PROC_FOREVER, &status);
        ASSERT(w == 0);
        r = r < 0 ? r : status;
    }
    close(fds[0]);
    return r;
}
