// SPDX-License-Identifier: Apache-2.0
/* Signal-driven I/O: F_SETOWN, F_SETSIG, O_ASYNC on pipes and sockets. */
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fs.h"

static sigset_t both;

/* The signal that comes, and what it says. */
static void wait_for(const char *what, int fd)
{
    siginfo_t info;
    struct timespec span = {5, 0};
    int signo = sigtimedwait(&both, &info, &span);
    if (signo < 0) {
        show(what, signo);
        return;
    }
    printf("%s: signal %d", what, signo);
    if (signo == SIGRTMIN)
        printf(" code %d band %lx fd %d", info.si_code, info.si_band, info.si_fd == fd);
    printf("\n");
}

static void none(const char *what)
{
    struct timespec now = {0, 0};
    show(what, sigtimedwait(&both, NULL, &now));
}

int main(void)
{
    int p[2], s[2];
    char c;
    work_begin();
    sigemptyset(&both);
    sigaddset(&both, SIGIO);
    sigaddset(&both, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &both, NULL);
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    show("no owner", fcntl(p[0], F_GETOWN));
    show("own", fcntl(p[0], F_SETOWN, getpid()));
    show_bool("own me", fcntl(p[0], F_GETOWN) == getpid());
    show("nobody", fcntl(p[0], F_SETOWN, 4000000));
    show("signal", fcntl(p[0], F_GETSIG));
    show("async", fcntl(p[0], F_SETFL, O_ASYNC));
    show_bool("flag", (fcntl(p[0], F_GETFL) & O_ASYNC) != 0);
    write(p[1], "x", 1);
    wait_for("pipe", p[0]);
    read(p[0], &c, 1);
    none("after reading");
    show("real time", fcntl(p[0], F_SETSIG, SIGRTMIN));
    show("which", fcntl(p[0], F_GETSIG) == SIGRTMIN);
    write(p[1], "x", 1);
    wait_for("pipe", p[0]);
    show("bad signal", fcntl(p[0], F_SETSIG, 65));
    show("off", fcntl(p[0], F_SETFL, 0));
    write(p[1], "x", 1);
    none("off");
    struct f_owner_ex ex = {F_OWNER_TID, gettid()};
    show("own by thread", fcntl(s[0], F_SETOWN_EX, &ex));
    memset(&ex, 0, sizeof(ex));
    show("get", fcntl(s[0], F_GETOWN_EX, &ex));
    show_bool("thread", ex.type == F_OWNER_TID && ex.pid == gettid());
    ex.type = 9;
    show("bad owner", fcntl(s[0], F_SETOWN_EX, &ex));
    int on = 1;
    show("ioctl", ioctl(s[0], FIOASYNC, &on));
    write(s[1], "x", 1);
    wait_for("socket", s[0]);
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    show("regular file", fcntl(fd, F_SETFL, O_ASYNC));
    show_bool("not set", (fcntl(fd, F_GETFL) & O_ASYNC) == 0);
    show("ioctl of it", ioctl(fd, FIOASYNC, &on));
    show("no descriptor", fcntl(77, F_SETOWN, getpid()));
    close(s[1]);
    wait_for("closed", s[0]);
    return 0;
}
