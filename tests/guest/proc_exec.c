// SPDX-License-Identifier: Apache-2.0
/* execve: what a program finds after it, what it loses by it, and everything that can be wrong. The
 * program runs itself with a word for an argument. */
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char self[4096];

static int wait_for(pid_t pid)
{
    int status = -1;
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Run this program with these words in a child; its status. */
static int run(char *const argv[], char *const envp[])
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execve(self, argv, envp);
        _exit(99);
    }
    return wait_for(pid);
}

static void *exec_from_thread(void *word)
{
    char *const argv[] = {"thread", word, NULL};
    execve(self, argv, NULL);
    return NULL;
}

static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void threads(void)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        for (int i = 0; i < 4; i++)
            pthread_create(&t, NULL, sleep_for_ever, NULL);
        pthread_create(&t, NULL, exec_from_thread, "ids");
        sleep_for_ever(NULL);
    }
    printf("exec from a thread: %d\n", wait_for(pid));
}

static volatile int handled;

static void handler(int signo)
{
    handled = signo;
}

static void inheritance(void)
{
    int kept = open("/dev/null", O_RDONLY), closed = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char a[16], b[16];
    snprintf(a, sizeof(a), "%d", kept);
    snprintf(b, sizeof(b), "%d", closed);
    signal(SIGUSR1, handler);
    signal(SIGUSR2, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("inherit: %d\n", run((char *const[]){"x", "inherit", a, b, NULL},
                                (char *const[]){"A=1", "B=two", NULL}));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    close(kept);
    close(closed);
}

static int inherit(char **argv)
{
    struct sigaction a;
    sigset_t set;
    printf("kept %d closed %d\n", fcntl(atoi(argv[2]), F_GETFD), fcntl(atoi(argv[3]), F_GETFD));
    sigaction(SIGUSR1, NULL, &a);
    printf("handler reset %d\n", a.sa_handler == SIG_DFL);
    sigaction(SIGUSR2, NULL, &a);
    printf("ignored stays %d\n", a.sa_handler == SIG_IGN);
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("mask stays %d\n", sigismember(&set, SIGWINCH));
    for (char **e = environ; *e != NULL; e++)
        printf("env %s\n", *e);
    char name[16];
    prctl(PR_GET_NAME, name);
    printf("name is the file's %d\n", strncmp(name, strrchr(self, '/') + 1, 15) == 0);
    return 5;
}

static void errors(void)
{
    char *const argv[] = {"x", NULL};
    show("missing", execve("/nonexistent/x", argv, NULL));
    show("empty", execve("", argv, NULL));
    show("directory", execve("/tmp", argv, NULL));
    show("not executable", execve("/etc/passwd", argv, NULL));
    show("device", execve("/dev/null", argv, NULL));
    show("through a file", execve("/etc/passwd/x", argv, NULL));
    char *volatile nowhere = (char *)8;
    show("bad path", syscall(SYS_execve, nowhere, argv, NULL));
    show("bad argv", syscall(SYS_execve, self, nowhere, NULL));
    char *const bad[] = {"x", nowhere, NULL};
    show("bad argument", execve(self, bad, NULL));
    static char large[200000];
    memset(large, 'a', sizeof(large) - 1);
    char *const too_large[] = {"x", large, NULL};
    show("argument too long", execve(self, too_large, NULL));
    show("execveat flags", syscall(SYS_execveat, -1, self, argv, NULL, 1));
    show("execveat bad fd", syscall(SYS_execveat, -1, "x", argv, NULL, 0));
    show("execveat empty", syscall(SYS_execveat, -1, "", argv, NULL, 0));
}

static void spawns(void)
{
    pid_t pid;
    char *const argv[] = {"x", "args", "a b", "", NULL};
    fflush(stdout);
    int r = posix_spawn(&pid, self, NULL, NULL, argv, NULL);
    printf("posix_spawn %d: %d\n", r, r == 0 ? wait_for(pid) : -1);
    r = posix_spawn(&pid, "/nonexistent", NULL, NULL, argv, NULL);
    printf("posix_spawn of nothing: %s\n", strerrorname_np(r));
    fflush(stdout);
    pid = vfork();
    if (pid == 0) {
        execve(self, argv, NULL);
        _exit(98);
    }
    printf("vfork: %d\n", wait_for(pid));
    int fd = open(self, O_RDONLY | O_CLOEXEC);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        fexecve(fd, argv, (char *const[]){"A=1", NULL});
        _exit(97);
    }
    printf("fexecve: %d\n", wait_for(pid));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        syscall(SYS_execve, self, NULL, NULL);
        _exit(96);
    }
    printf("no argv: %d\n", wait_for(pid));
}

static void again(void)
{
    char n[16] = "40";
    printf("forty times: %d\n", run((char *const[]){"x", "count", n, NULL}, NULL));
}

int main(int argc, char **argv)
{
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0 || argc == 0)
        return 90;
    if (argc == 1 && argv[0][0] == '\0')
        return 44;
    if (argc >= 2 && strcmp(argv[1], "inherit") == 0)
        return inherit(argv);
    if (argc >= 2 && strcmp(argv[1], "args") == 0) {
        for (int i = 0; i < argc; i++)
            printf("[%s]", argv[i]);
        printf(" env %d\n", environ[0] != NULL);
        return 3;
    }
    if (argc >= 2 && strcmp(argv[1], "ids") == 0) {
        printf("tid is pid %d\n", getpid() == gettid());
        return 4;
    }
    if (argc >= 2 && strcmp(argv[1], "count") == 0) {
        int left = atoi(argv[2]);
        char next[16];
        if (left == 0)
            return 6;
        snprintf(next, sizeof(next), "%d", left - 1);
        execv(self, (char *const[]){"x", "count", next, NULL});
        return 95;
    }
    errors();
    inheritance();
    spawns();
    threads();
    again();
    return 0;
}
