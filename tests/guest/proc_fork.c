// SPDX-License-Identifier: Apache-2.0
/* fork, vfork, clone without threads, exit, wait: who sees which memory, descriptors and statuses.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int global = 1;

/* Fork; the child runs fn and exits with what it returns; the parent says how it ended. */
static void child(const char *what, int (*fn)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    int status = -1;
    bool same = waitpid(pid, &status, 0) == pid;
    printf("%s: same %d exited %d status %d signaled %d signal %d\n", what, same,
           WIFEXITED(status), WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status),
           WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

static char *private_memory, *shared_memory;
static int pipe_fds[2];

static int writes(void)
{
    global = 2;
    private_memory[0] = 'c';
    private_memory[4096 * 3] = 'd';
    shared_memory[0] = 'c';
    shared_memory[4096 * 2] = 'd';
    return global == 2 && private_memory[4096] == 'p' ? 7 : 8;
}

static void memory(void)
{
    const int rw = PROT_READ | PROT_WRITE, size = 4096 * 4;
    private_memory = mmap(NULL, size, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared_memory = mmap(NULL, size, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(private_memory, 'p', 4096 * 3);
    shared_memory[0] = 's';
    child("memory", writes);
    printf("after: global %d private %c %d shared %c %c\n", global, private_memory[0],
           private_memory[4096 * 3], shared_memory[0], shared_memory[4096 * 2]);
    child("again", writes);
    private_memory[1] = 'x';
    printf("written: %c%c\n", private_memory[0], private_memory[1]);
}

static int writes_pipe(void)
{
    close(pipe_fds[0]);
    return write(pipe_fds[1], "hello", 5) == 5 ? 0 : 1;
}

static void descriptors(void)
{
    char buf[16] = {0};
    if (pipe(pipe_fds) < 0)
        return;
    child("pipe", writes_pipe);
    printf("got %zd %s\n", read(pipe_fds[0], buf, sizeof(buf)), buf);
    close(pipe_fds[1]);
    printf("end %zd\n", read(pipe_fds[0], buf, sizeof(buf)));
    close(pipe_fds[0]);
}

static int aborts(void)
{
    raise(SIGKILL);
    return 0;
}

static int faults(void)
{
    *(volatile int *)8 = 1;
    return 0;
}

static int forks(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(getppid() > 0 ? 3 : 4);
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return 100;
    return WEXITSTATUS(status) + (waitpid(-1, &status, 0) == -1 && errno == ECHILD ? 10 : 0);
}

static volatile sig_atomic_t chld_count, chld_code, chld_status, chld_right_pid;
static pid_t last_pid;

static void on_chld(int signo, siginfo_t *info, void *ctx)
{
    (void)signo;
    (void)ctx;
    chld_count++;
    chld_code = info->si_code;
    chld_status = info->si_status;
    chld_right_pid = info->si_pid == last_pid;
}

static void signals(void)
{
    struct sigaction a = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigset_t set, old;
    sigaction(SIGCHLD, &a, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        last_pid = fork();
        if (last_pid == 0) {
            if (i == 0)
                _exit(5);
            raise(SIGTERM);
        }
        sigsuspend(&old);
        printf("SIGCHLD %d code %d status %d right %d\n", (int)chld_count, (int)chld_code,
               (int)chld_status, (int)chld_right_pid);
        siginfo_t info;
        memset(&info, 0, sizeof(info));
        int r = waitid(P_PID, (id_t)last_pid, &info, WEXITED | WNOWAIT);
        printf("waitid %d code %d status %d right %d\n", r, info.si_code, info.si_status,
               info.si_pid == last_pid);
        r = waitid(P_PID, (id_t)last_pid, &info, WEXITED);
        printf("waitid %d\n", r);
        show("again", waitid(P_PID, (id_t)last_pid, &info, WEXITED));
    }
    a.sa_handler = SIG_IGN;
    a.sa_flags = 0;
    sigaction(SIGCHLD, &a, NULL);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(1);
    int status, r = waitpid(pid, &status, 0);
    printf("ignored: %d %s\n", r, strerror(errno));
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void stops(void)
{
    int status = 0;
    char c;
    fflush(stdout);
    if (pipe(pipe_fds) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        close(pipe_fds[1]);
        raise(SIGSTOP);
        _exit(read(pipe_fds[0], &c, 1) == 0 ? 9 : 10);
    }
    pid_t r = waitpid(pid, &status, WUNTRACED);
    printf("stopped %d %d by %d\n", r == pid, WIFSTOPPED(status), WSTOPSIG(status));
    printf("nothing more: %d\n", waitpid(pid, &status, WUNTRACED | WNOHANG));
    kill(pid, SIGCONT);
    r = waitpid(pid, &status, WCONTINUED);
    printf("continued %d %d\n", r == pid, WIFCONTINUED(status));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    r = waitpid(pid, &status, 0);
    printf("ended %d %d\n", r == pid, WEXITSTATUS(status));
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    kill(pid, SIGSTOP);
    waitpid(pid, &status, WUNTRACED);
    kill(pid, SIGKILL);
    r = waitpid(pid, &status, 0);
    printf("killed while stopped %d %d\n", r == pid, WTERMSIG(status));
}

static void errors(void)
{
    int status;
    pid_t r = wait(&status);
    printf("no child: %d %s\n", r, strerror(errno));
    r = waitpid(-1, &status, 0x10);
    printf("bad option: %d %s\n", r, strerror(errno));
    siginfo_t info;
    r = waitid(P_ALL, 0, &info, 0);
    printf("no event: %d %s\n", r, strerror(errno));
    r = waitid(P_PID, 0, &info, WEXITED);
    printf("pid 0: %d %s\n", r, strerror(errno));
    r = (int)syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0);
    printf("SIGHAND without VM: %d %s\n", r, strerror(errno));
    r = kill(999999, 0);
    printf("kill nobody: %d %s\n", r, strerror(errno));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    printf("WNOHANG: %d\n", waitpid(pid, &status, WNOHANG));
    show("not ours to wait for", waitpid(getpid(), &status, 0));
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    printf("signal %d\n", WTERMSIG(status));
}

static volatile int vfork_value;

static void vforks(void)
{
    fflush(stdout);
    pid_t pid = vfork();
    if (pid == 0) {
        vfork_value = 42;
        _exit(6);
    }
    int status;
    printf("vfork: the child ran first: %d\n", vfork_value);
    waitpid(pid, &status, 0);
    printf("vfork status %d\n", WEXITSTATUS(status));
}

static int clone_child(void *arg)
{
    *(int *)arg = 77;
    close(pipe_fds[0]);
    return chdir("/tmp") == 0 ? 11 : 12;
}

static void clones(void)
{
    static char stack[65536];
    static int value;
    int tid = 0, status;
    char cwd[64];
    if (pipe(pipe_fds) < 0 || chdir("/") < 0)
        return;
    pid_t pid = clone(clone_child, stack + sizeof(stack),
                      CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_PARENT_SETTID | SIGCHLD, &value,
                      &tid, NULL, NULL);
    waitpid(pid, &status, 0);
    printf("clone: value %d tid right %d status %d closed %d cwd %s\n", value, tid == pid,
           WEXITSTATUS(status), fcntl(pipe_fds[0], F_GETFD) < 0, getcwd(cwd, sizeof(cwd)));
    close(pipe_fds[1]);
    // Without an exit signal only __WALL or __WCLONE waits.
    pid = clone(clone_child, stack + sizeof(stack), CLONE_VM, &value);
    int r = waitpid(pid, &status, 0);
    printf("no signal: %d %s\n", r, strerror(errno));
    r = waitpid(pid, &status, __WALL);
    printf("__WALL: %d %d\n", r == pid, WEXITSTATUS(status));
}

static void orphans(void)
{
    char c = 0;
    if (pipe(pipe_fds) < 0)
        return;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t me = getpid();
        if (fork() == 0) {
            while (getppid() == me)
                sched_yield();
            c = getppid() != me ? 'y' : 'n';
            _exit(write(pipe_fds[1], &c, 1) != 1);
        }
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    close(pipe_fds[1]);
    printf("orphan: %zd", read(pipe_fds[0], &c, 1));
    printf(" %c\n", c);
    close(pipe_fds[0]);
}

static void many(void)
{
    enum { CHILDREN = 40 };
    int sum = 0, status;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(i);
    }
    for (int i = 0; i < CHILDREN; i++)
        if (wait(&status) > 0)
            sum += WEXITSTATUS(status);
    printf("many: %d, then %d\n", sum, wait(&status));
    struct rusage u;
    printf("rusage: %d\n", getrusage(RUSAGE_CHILDREN, &u));
}

static void all(void)
{
    memory();
    descriptors();
    child("SIGKILL", aborts);
    child("fault", faults);
    child("grandchild", forks);
    signals();
    stops();
    errors();
    vforks();
    clones();
    orphans();
    many();
}

/* In a child, so that the first process of the machine is somebody else: orphans go there. */
int main(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        all();
        exit(0);
    }
    return waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) : 1;
}
