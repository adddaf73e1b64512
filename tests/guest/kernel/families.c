// SPDX-License-Identifier: Apache-2.0
/* Processes that come and go leave nothing behind; one that takes all memory ends alone. */
#include "../guest.h"

#include <pthread.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

static char *memory; // 1 MiB

static void *nothing(void *arg)
{
    return arg;
}

/* What every fourth does: write to shared memory, and end; the same with threads; with exec. */
static void child(char **argv, int n)
{
    pthread_t t;
    memset(memory, n, 1 << 20);
    if (n % 2 == 1)
        pthread_create(&t, NULL, nothing, NULL);
    if (n % 4 == 3)
        execl(argv[0], argv[0], "child", NULL);
    _exit(0);
}

static void come_and_go(char **argv)
{
    enum { ROUND = 100 };
    struct sysinfo before, after;
    for (int i = 0; i < 2 * ROUND; i++) {
        if (i == ROUND) // the first round fills the caches
            sysinfo(&before);
        pid_t pid = fork();
        if (pid == 0)
            child(argv, i);
        waitpid(pid, NULL, 0);
    }
    sysinfo(&after);
    show_bool("nothing lost", after.freeram + (64 << 10) >= before.freeram);
}

static void take_all(void)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        for (;;) {
            char *m = malloc(1 << 20);
            if (m != NULL)
                memset(m, 1, 1 << 20);
        }
    waitpid(pid, &status, 0);
    show("killed by", WTERMSIG(status));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return 0;
    memory = malloc(1 << 20);
    memset(memory, 1, 1 << 20);
    come_and_go(argv);
    take_all();
    take_all();
    come_and_go(argv);
    return 0;
}
