// SPDX-License-Identifier: Apache-2.0
/* Descriptors of processes: pidfd_open(2), CLONE_PIDFD, waitid(P_PIDFD), poll and epoll at the end,
 * pidfd_send_signal(2), pidfd_getfd(2). What Linux changed after 6.1 is not asked. */
#include "guest.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_of(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static int send(int fd, int signo, siginfo_t *info, unsigned flags)
{
    return (int)syscall(SYS_pidfd_send_signal, fd, signo, info, flags);
}

static uint32_t events(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) < 0 ? 0xffff : (uint32_t)p.revents;
}

/* A child that ends with `status` when `go` can be read from. */
static pid_t child(int go[2], int status)
{
    if (pipe(go) < 0)
        abort();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        close(go[1]);
        if (read(go[0], &c, 1) < 0)
            _exit(99);
        _exit(status);
    }
    close(go[0]);
    return pid;
}

static void show_waited(const char *what, int fd, int options)
{
    siginfo_t info = {0};
    int r = waitid(P_PIDFD, (id_t)fd, &info, options);
    if (r < 0)
        show(what, r);
    else
        printf("%s: code %d, status %d, some %d\n", what, info.si_code, info.si_status,
               info.si_pid != 0);
}

static void opening(void)
{
    char c, proc[64], link[128];
    show("no process", open_of(4194304, 0));
    show("nobody", open_of(0, 0));
    show("negative", open_of(-1, 0));
    show("flags", open_of(getpid(), 1));
    int fd = open_of(getpid(), 0);
    show("close on exec", fcntl(fd, F_GETFD));
    printf("flags %#x\n", fcntl(fd, F_GETFL) & ~0100000);
    show("read", read(fd, &c, 1));
    show("write", write(fd, "x", 1));
    show("seek", lseek(fd, 0, SEEK_CUR));
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(proc, link, sizeof(link));
    printf("link: %.*s\n", (int)n, link);
    printf("alive: %#x\n", events(fd, 0));
    show_waited("oneself", fd, WEXITED | WNOHANG);
    show("signal 0 to oneself", send(fd, 0, NULL, 0));
    show("no such signal", send(fd, 65, NULL, 0));
    show("signal with flags", send(fd, 0, NULL, 64));
    show("not a pidfd", send(0, 0, NULL, 0));
    show("not open", send(77, 0, NULL, 0));
    show_waited("wait on another kind", 0, WEXITED);
    show_waited("wait on nothing", 77, WEXITED);
    show_waited("wait on a negative one", -1, WEXITED);
    close(fd);
    fd = open_of(getpid(), O_NONBLOCK);
    printf("not blocking: %#x\n", fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
}

static void ending(void)
{
    int go[2];
    pid_t pid = child(go, 7);
    int fd = open_of(pid, 0), lazy = open_of(pid, O_NONBLOCK);
    printf("runs: %#x\n", events(fd, 0));
    show_waited("not yet", fd, WEXITED | WNOHANG);
    show_waited("not yet, not blocking", lazy, WEXITED);
    show_waited("not yet, both", lazy, WEXITED | WNOHANG);
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u32 = 5};
    show("watch", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    show("nothing", epoll_wait(ep, &e, 1, 0));
    close(go[1]);
    int r = epoll_wait(ep, &e, 1, 10000);
    printf("ended: %d %#x %u\n", r, e.events, e.data.u32);
    printf("ended: %#x\n", events(fd, 10000));
    show("signal to a zombie", send(fd, SIGTERM, NULL, 0));
    show_waited("look", fd, WEXITED | WNOWAIT);
    show_waited("wait", fd, WEXITED);
    show_waited("again", fd, WEXITED);
    show("signal to nobody", send(fd, 0, NULL, 0));
    printf("gone: %#x\n", events(fd, 0) & POLLIN);
    show("its descriptor", syscall(SYS_pidfd_getfd, fd, 0, 0));
    close(ep);
    close(lazy);
    close(fd);
}

static volatile sig_atomic_t got_value, got_code;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    got_value = info->si_value.sival_int;
    got_code = info->si_code;
}

static void signals(void)
{
    int go[2];
    pid_t pid = child(go, 0);
    int fd = open_of(pid, 0), self = open_of(getpid(), 0);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &act, NULL);
    show("another number", send(self, SIGUSR2, &info, 0));
    info.si_value.sival_int = 42;
    show("with a value", send(self, SIGUSR1, &info, 0));
    printf("got %d, code %d\n", (int)got_value, (int)got_code);
    show("bad pointer", send(self, SIGUSR1, (void *)8, 0));
    show("plain", send(self, SIGUSR1, NULL, 0));
    printf("code %d\n", (int)got_code);
    info.si_code = SI_USER;
    show("like kill, to another", send(fd, SIGUSR1, &info, 0));
    show("like kill, to oneself", send(self, SIGUSR1, &info, 0));
    show("stop", send(fd, SIGSTOP, NULL, 0));
    show_waited("stopped", fd, WSTOPPED);
    printf("a stop is no end: %#x\n", events(fd, 0));
    show("go on", send(fd, SIGCONT, NULL, 0));
    show_waited("goes on", fd, WCONTINUED);
    show("kill", send(fd, SIGKILL, NULL, 0));
    show_waited("killed", fd, WEXITED);
    close(go[1]);
    close(self);
    close(fd);
}

static long clone3_of(uint64_t flags, int *fd, int *tid)
{
    struct clone_args a = {.flags = flags,
                           .pidfd = (uintptr_t)fd,
                           .parent_tid = (uintptr_t)tid,
                           .exit_signal = SIGCHLD};
    fflush(stdout);
    long r = syscall(SYS_clone3, &a, sizeof(a));
    if (r == 0)
        _exit(11);
    return r;
}

static void cloning(void)
{
    int fd = -1, tid = 0;
    show("both to one place", clone3_of(CLONE_PIDFD | CLONE_PARENT_SETTID, &fd, &fd));
    show("nowhere", clone3_of(CLONE_PIDFD, (int *)8, &tid));
    show("no child of it", waitpid(-1, NULL, WNOHANG));
    long pid = clone3_of(CLONE_PIDFD | CLONE_PARENT_SETTID, &fd, &tid);
    show_bool("clone3", pid > 0 && tid == pid && fd > 0);
    show("close on exec", fcntl(fd, F_GETFD));
    show_waited("wait", fd, WEXITED);
    close(fd);

    fd = -1;
    fflush(stdout);
    pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
    if (pid == 0)
        _exit(fd == -1 && fcntl(3, F_GETFD) == -1 ? 12 : 13);
    show_bool("clone", pid > 0 && fd > 0);
    show_waited("wait", fd, WEXITED);
    close(fd);
    show("with a number too",
         syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &fd, 0, 0));
    show("detached", syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0, &fd, 0, 0));

    fd = -1;
    pid = syscall(SYS_clone, CLONE_PIDFD | CLONE_VFORK | SIGCHLD, 0, &fd, 0, 0);
    if (pid == 0)
        _exit(14);
    printf("behind vfork: %#x\n", events(fd, 10000));
    show_waited("wait", fd, WEXITED);
    close(fd);
}

/* Nobody waits for it: the descriptor tells its end all the same. */
static void unwanted(void)
{
    int go[2];
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = child(go, 3);
    int fd = open_of(pid, 0);
    close(go[1]);
    printf("ended: %#x\n", events(fd, 10000) & POLLIN);
    show_waited("wait", fd, WEXITED);
    signal(SIGCHLD, SIG_DFL);
    close(fd);
}

static void others_files(void)
{
    int go[2], words[2];
    char buf[16] = {0};
    int secret = memfd_create("secret", 0);
    if (write(secret, "shared", 6) != 6 || pipe(words) < 0)
        return;
    pid_t pid = child(go, 0);
    int fd = open_of(pid, 0), at = secret;
    close(secret);
    show("flags", syscall(SYS_pidfd_getfd, fd, at, 1));
    show("not open there", syscall(SYS_pidfd_getfd, fd, 500, 0));
    show("not a pidfd", syscall(SYS_pidfd_getfd, words[0], at, 0));
    int mine = (int)syscall(SYS_pidfd_getfd, fd, at, 0);
    show("close on exec", fcntl(mine, F_GETFD));
    show("read", pread(mine, buf, sizeof(buf), 0));
    printf("got %s at %ld\n", buf, (long)lseek(mine, 0, SEEK_CUR));
    close(go[1]);
    show_waited("wait", fd, WEXITED);
}

int main(void)
{
    opening();
    ending();
    signals();
    cloning();
    unwanted();
    others_files();
    return 0;
}
