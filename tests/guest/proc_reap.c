// SPDX-License-Identifier: Apache-2.0
/* Whose child an orphan becomes, and what it hears of its parent's end. */
#include "guest.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready[2], done[2];

/* A child whose child outlives it; that one waits for the end of `done` and says whose child it is
 * then. */
static void leave_orphan(pid_t reaper)
{
    char c;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            while (getppid() == parent)
                usleep(1000);
            _exit(getppid() == reaper ? 21 : 22);
        }
        _exit(write(ready[1], "x", 1) == 1 ? 20 : 19);
    }
    if (read(ready[0], &c, 1) != 1)
        return;
    int sum = 0, status;
    while (wait(&status) > 0)
        sum += WEXITSTATUS(status);
    printf("waited for both: %d\n", sum);
}

static void death_signal(int signo)
{
    char c = 0;
    int state = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGUSR1);
            sigprocmask(SIG_BLOCK, &set, NULL);
            prctl(PR_SET_PDEATHSIG, signo);
            if (write(ready[1], "x", 1) != 1)
                _exit(1);
            int got = sigwaitinfo(&set, NULL);
            c = got == SIGUSR1 ? 'y' : 'n';
            _exit(write(done[1], &c, 1) != 1);
        }
        _exit(read(ready[0], &c, 1) != 1);
    }
    waitpid(pid, NULL, 0);
    if (read(done[0], &c, 1) == 1)
        printf("heard of the parent's end: %c\n", c);
    while (wait(NULL) > 0)
        continue;
    show("get", prctl(PR_GET_PDEATHSIG, &state));
    printf("own: %d\n", state);
}

static void all(void)
{
    int state = -1;
    if (pipe(ready) < 0 || pipe(done) < 0)
        return;
    show("subreaper", prctl(PR_SET_CHILD_SUBREAPER, 1));
    show("get", prctl(PR_GET_CHILD_SUBREAPER, &state));
    printf("state %d\n", state);
    leave_orphan(getpid());
    death_signal(SIGUSR1);
    show("bad signal", prctl(PR_SET_PDEATHSIG, 99));
    show("bad address", prctl(PR_GET_PDEATHSIG, 8));
}

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
