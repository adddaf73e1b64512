// SPDX-License-Identifier: Apache-2.0
/* What ends a sleep in a socket call: signals with and without SA_RESTART, time limits, other
 * threads that shut the socket down. */
#include "sock.h"

static volatile sig_atomic_t signals;
static pthread_t main_thread;

static void on_signal(int sig)
{
    (void)sig;
    signals++;
}

static void handler(int flags)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(SIGUSR1, &a, NULL);
    signals = 0;
}

struct later {
    int fd, what;
};
enum { KILL, KILL_THEN_WRITE, SHUT, CONNECT };

static void *later_main(void *arg)
{
    struct later *l = arg;
    poll(NULL, 0, 60); // the other one sleeps by then
    if (l->what == SHUT) {
        shutdown(l->fd, SHUT_RDWR);
        return NULL;
    }
    pthread_kill(main_thread, SIGUSR1);
    if (l->what == KILL_THEN_WRITE) {
        poll(NULL, 0, 60);
        must(write(l->fd, "late", 4) == 4, "write");
    }
    return NULL;
}

static pthread_t later(struct later *l)
{
    pthread_t t;
    must(pthread_create(&t, NULL, later_main, l) == 0, "thread");
    return t;
}

static void receiving(void)
{
    int p[2];
    char buf[16];
    tcp_pair(p);
    struct later l = {p[1], KILL};
    handler(0);
    pthread_t t = later(&l);
    SAY(recv(p[0], buf, 16, 0));
    printf("signals %d\n", (int)signals);
    pthread_join(t, NULL);

    handler(SA_RESTART);
    l.what = KILL_THEN_WRITE;
    t = later(&l);
    SAY(recv(p[0], buf, 16, 0));
    printf("signals %d\n", (int)signals);
    pthread_join(t, NULL);

    struct timeval tv = {5, 0}; // a time limit is never restarted
    setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    signals = 0;
    l.what = KILL;
    t = later(&l);
    SAY(recv(p[0], buf, 16, 0));
    printf("signals %d\n", (int)signals);
    pthread_join(t, NULL);

    must(write(p[1], "ab", 2) == 2, "write"); // a signal after some bytes: the bytes
    t = later(&l);
    SAY(recv(p[0], buf, 16, MSG_WAITALL));
    pthread_join(t, NULL);
    close(p[0]);
    close(p[1]);
}

static void accepting(void)
{
    struct sockaddr_in a;
    int s = listener(4, &a);
    struct later l = {s, KILL};
    handler(0);
    pthread_t t = later(&l);
    SAY(accept(s, NULL, NULL));
    pthread_join(t, NULL);
    l.what = SHUT;
    t = later(&l);
    SAY(accept(s, NULL, NULL));
    pthread_join(t, NULL);
    close(s);
}

static void shut_while_receiving(void)
{
    int p[2];
    char buf[16];
    tcp_pair(p);
    struct later l = {p[0], SHUT};
    pthread_t t = later(&l);
    SAY(recv(p[0], buf, 16, 0));
    pthread_join(t, NULL);
    SAY(recv(p[1], buf, 16, 0));
    close(p[0]);
    close(p[1]);
}

static void sending(void)
{
    static char block[1 << 20];
    int p[2];
    tcp_pair(p);
    while (send(p[0], block, sizeof(block), MSG_DONTWAIT) > 0 || wait_for(p[0], POLLOUT))
        ; // until it stays full
    struct later l = {p[0], KILL};
    handler(0);
    pthread_t t = later(&l);
    ssize_t n = send(p[0], block, sizeof(block), 0); // some room may have been left
    printf("send with a signal: %s\n", n > 0 ? "some" : strerrorname_np(errno));
    must(n < (ssize_t)sizeof(block), "interrupted");
    while (send(p[0], block, sizeof(block), MSG_DONTWAIT) > 0)
        ;
    pthread_join(t, NULL);
    struct timeval tv = {0, 30000};
    setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    SAY(send(p[0], block, sizeof(block), 0));
    l.what = SHUT;
    setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0, 0}, sizeof(tv));
    t = later(&l);
    SAY(send(p[0], block, sizeof(block), MSG_NOSIGNAL));
    pthread_join(t, NULL);
    close(p[0]);
    close(p[1]);
}

static void datagrams(void)
{
    char buf[4];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct later l = {fd, KILL};
    struct sockaddr_in a = loopback(0);
    must(bind_in(fd, &a) == 0, "bind");
    handler(0);
    pthread_t t = later(&l);
    SAY(recv(fd, buf, 4, 0));
    pthread_join(t, NULL);
    t = later(&l);
    SAY(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 2000));
    pthread_join(t, NULL);
    close(fd);
}

int main(void)
{
    main_thread = pthread_self();
    receiving();
    accepting();
    shut_while_receiving();
    sending();
    datagrams();
    return 0;
}
