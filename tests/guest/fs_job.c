// SPDX-License-Identifier: Apache-2.0
/* Terminals and record locks between processes: the session's terminal, its signals, who is in the
 * foreground; locks of a process, their end, and deadlocks. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "fs.h"

static int m, s;

static void terminal_child(int up)
{
    signal(SIGHUP, SIG_DFL);
    setsid();
    show("own terminal", ioctl(s, TIOCSCTTY, 0));
    show_bool("in front", tcgetpgrp(s) == getpgrp());
    show_bool("session", tcgetsid(s) == getpid());
    int tty = open("/dev/tty", O_RDWR);
    show_bool("by name", tty >= 0 && isatty(tty));
    fflush(stdout);
    write(up, "1", 1);
    for (;;)
        pause();
}

/* A process of another group reads: it is stopped until it is put in front. */
static void background_child(int up)
{
    char line[16];
    int status;
    setsid();
    ioctl(s, TIOCSCTTY, 0);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        ssize_t n = read(s, line, sizeof(line));
        printf("read %ld\n", (long)n);
        fflush(stdout);
        _exit(7);
    }
    setpgid(pid, pid);
    waitpid(pid, &status, WUNTRACED);
    printf("stopped by %d\n", WIFSTOPPED(status) ? WSTOPSIG(status) : -1);
    show("put in front", tcsetpgrp(s, pid));
    kill(pid, SIGCONT);
    write(up, "1", 1);
    waitpid(pid, &status, 0);
    printf("exit %d\n", WEXITSTATUS(status));
    fflush(stdout);
    _exit(0);
}

static void terminal(void)
{
    int status, up[2];
    char c;
    m = posix_openpt(O_RDWR | O_NOCTTY);
    unlockpt(m);
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    pipe(up);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        terminal_child(up[1]);
    read(up[0], &c, 1);
    write(m, "\003", 1);
    waitpid(pid, &status, 0);
    printf("ended by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
    close(s);
    close(m);
    m = posix_openpt(O_RDWR | O_NOCTTY);
    unlockpt(m);
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        background_child(up[1]);
    read(up[0], &c, 1);
    write(m, "keys\n", 5);
    waitpid(pid, &status, 0);
}

static int lock(int fd, int cmd, int type, long start)
{
    struct flock l = {.l_type = (short)type, .l_start = start, .l_len = 1};
    return fcntl(fd, cmd, &l);
}

static void locks(void)
{
    int status, up[2];
    char c;
    pipe(up);
    put_file("f", "0123456789");
    int fd = open("f", O_RDWR);
    show("mine", lock(fd, F_SETLK, F_WRLCK, 0));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct flock l = {.l_type = F_WRLCK, .l_len = 1};
        show("not inherited", lock(fd, F_SETLK, F_RDLCK, 0));
        fcntl(fd, F_GETLK, &l);
        show_bool("the parent's", l.l_type == F_WRLCK && l.l_pid == getppid());
        show("another byte", lock(fd, F_SETLK, F_WRLCK, 5));
        fflush(stdout);
        write(up[1], "1", 1);
        int r = lock(fd, F_SETLKW, F_WRLCK, 0);
        _exit(r == 0 ? 0 : errno == EDEADLK ? 1 : 2);
    }
    read(up[0], &c, 1);
    // Each asks for what the other has: whoever is second hears of it.
    int r = lock(fd, F_SETLKW, F_WRLCK, 5);
    int mine = r == 0 ? 0 : errno == EDEADLK ? 1 : 2;
    if (mine == 1)
        lock(fd, F_SETLK, F_UNLCK, 0);
    waitpid(pid, &status, 0);
    printf("deadlocks seen %d\n", mine + WEXITSTATUS(status));
    show("ended with it", lock(fd, F_SETLK, F_WRLCK, 0));
    show("also the other", lock(fd, F_SETLK, F_WRLCK, 5));
}

int main(void)
{
    work_begin();
    signal(SIGHUP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    locks();
    terminal();
    return 0;
}
