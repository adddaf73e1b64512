// SPDX-License-Identifier: Apache-2.0
/* Makes the calls that the test of --trace looks for. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ends[2];

static void *reader(void *arg)
{
    char text[64];
    (void)arg;
    return read(ends[0], text, sizeof(text)) == 5 ? NULL : text;
}

static void handler(int signo)
{
    (void)signo;
}

int main(void)
{
    int fd = open("/tmp/a\tb\1x", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaddset(&a.sa_mask, SIGINT);
    sigaddset(&a.sa_mask, SIGTERM);
    sigaction(SIGUSR1, &a, NULL);
    raise(SIGUSR1);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || pipe(ends) < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)) == 0)
        return 1;
    syscall(SYS_munmap, 1, 4096);
    pthread_t t;
    pthread_create(&t, NULL, reader, NULL);
    for (int i = 0; i < 100; i++)
        sched_yield(); // until it waits
    if (write(ends[1], "hello", 5) != 5)
        return 1;
    void *r;
    pthread_join(t, &r);
    return r != NULL;
}
