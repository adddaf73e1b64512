// SPDX-License-Identifier: Apache-2.0
/* The life of TCP connections as a program sees it: readiness, half close, peek, resets. */
#include "sock.h"

static void refused(void)
{
    struct sockaddr_in a;
    int l = listener(1, &a);
    close(l); // nobody listens there now
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SAY(connect_in(fd, &a));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(connect_in(fd, &a));
    wait_for(fd, POLLOUT);
    say_poll("refused", fd);
    say("SO_ERROR", opt(fd, SOL_SOCKET, SO_ERROR));
    say("SO_ERROR again", opt(fd, SOL_SOCKET, SO_ERROR));
    say_poll("refused, error taken", fd);
    close(fd);
}

static void nonblocking_connect(void)
{
    struct sockaddr_in a, b;
    socklen_t len = sizeof(b);
    int l = listener(8, &a), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(connect_in(fd, &a));
    must(wait_for(fd, POLLOUT), "POLLOUT");
    say_poll("connected", fd);
    SAY(connect_in(fd, &a));
    SAY(connect_in(fd, &a));
    say("SO_ERROR", opt(fd, SOL_SOCKET, SO_ERROR));
    SAY(getpeername(fd, (struct sockaddr *)&b, &len));
    printf("peer is the listener: %d\n", b.sin_port == a.sin_port);
    say_poll("listener", l);
    len = sizeof(b);
    int s = SAY_OK(accept4(l, (struct sockaddr *)&b, &len, SOCK_NONBLOCK));
    printf("family %d len %u nonblock %d\n", b.sin_family, len,
           (fcntl(s, F_GETFL) & O_NONBLOCK) != 0);
    say_poll("listener, empty", l);
    say_poll("accepted", s);
    close(fd);
    close(s);
    close(l);
}

static void half_close(void)
{
    int p[2], n = 0;
    char buf[16];
    tcp_pair(p);
    SAY(write(p[0], "hello", 5));
    SAY(shutdown(p[0], SHUT_WR));
    must(wait_for(p[1], POLLRDHUP), "RDHUP");
    say_poll("peer shut, data there", p[1]);
    SAY(ioctl(p[1], FIONREAD, &n));
    printf("there %d\n", n);
    SAY(read(p[1], buf, 3));
    SAY(read(p[1], buf, 16));
    SAY(read(p[1], buf, 16));
    SAY(read(p[1], buf, 16));
    SAY(send(p[0], "x", 1, MSG_NOSIGNAL));
    say_poll("shut for writing", p[0]);
    SAY(write(p[1], "back", 4));
    must(wait_for(p[0], POLLIN), "IN");
    SAY(read(p[0], buf, 16));
    SAY(shutdown(p[1], SHUT_WR));
    must(wait_for(p[0], POLLHUP), "HUP");
    say_poll("both shut", p[0]);
    say_poll("both shut, other side", p[1]);
    SAY(read(p[0], buf, 16));
    SAY(shutdown(p[0], SHUT_RDWR));
    close(p[0]);
    close(p[1]);
}

static void shut_read(void)
{
    int p[2];
    char buf[16];
    tcp_pair(p);
    SAY(shutdown(p[0], SHUT_RD));
    say_poll("own read shut", p[0]);
    SAY(read(p[0], buf, 16));
    SAY(write(p[0], "on", 2));
    must(wait_for(p[1], POLLIN), "IN");
    SAY(read(p[1], buf, 16));
    close(p[0]);
    close(p[1]);
}

static void peeking(void)
{
    int p[2], n = 0;
    char buf[16] = {0};
    tcp_pair(p);
    SAY(send(p[0], "abc", 3, MSG_MORE));
    SAY(send(p[0], "defgh", 5, 0));
    must(wait_for(p[1], POLLIN), "IN");
    SAY(recv(p[1], buf, 4, MSG_PEEK));
    SAY(recv(p[1], buf, 16, MSG_PEEK));
    printf("%.8s\n", buf);
    SAY(recv(p[1], NULL, 2, MSG_TRUNC)); // thrown away
    SAY(recv(p[1], buf, 3, MSG_WAITALL));
    printf("%.3s\n", buf);
    SAY(ioctl(p[1], FIONREAD, &n));
    printf("left %d\n", n);
    SAY(ioctl(p[1], SIOCATMARK, &n));
    printf("mark %d\n", n);
    struct iovec v[3] = {{buf, 1}, {buf + 4, 0}, {buf + 8, 5}};
    SAY(readv(p[1], v, 3));
    SAY(recv(p[1], buf, 1, MSG_DONTWAIT));
    close(p[0]);
    close(p[1]);
}

static volatile sig_atomic_t pipes;
static void on_pipe(int sig)
{
    (void)sig;
    pipes++;
}

static void resets(void)
{
    int p[2];
    char buf[16];
    signal(SIGPIPE, on_pipe);
    tcp_pair(p);
    struct linger l = {1, 0};
    SAY(setsockopt(p[1], SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    close(p[1]);
    must(wait_for(p[0], POLLIN), "IN");
    say_poll("reset", p[0]);
    SAY(read(p[0], buf, 16));
    SAY(read(p[0], buf, 16));
    SAY(write(p[0], "x", 1));
    printf("SIGPIPE %d\n", (int)pipes);
    SAY(send(p[0], "x", 1, MSG_NOSIGNAL));
    printf("SIGPIPE %d\n", (int)pipes);
    say_poll("reset, error taken", p[0]);
    close(p[0]);

    tcp_pair(p); // unread data at close: a reset
    SAY(write(p[0], "unread", 6));
    must(wait_for(p[1], POLLIN), "IN");
    close(p[1]);
    must(wait_for(p[0], POLLERR), "ERR");
    say_poll("closed with unread data", p[0]);
    say("SO_ERROR", opt(p[0], SOL_SOCKET, SO_ERROR));
    close(p[0]);
}

static void timeouts(void)
{
    int p[2];
    char buf[16];
    struct timeval tv = {0, 30000};
    tcp_pair(p);
    SAY(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    SAY(recv(p[0], buf, 16, 0));
    SAY(write(p[1], "ab", 2));
    SAY(recv(p[0], buf, 16, MSG_WAITALL));
    struct sockaddr_in a;
    int l = listener(1, &a);
    SAY(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    SAY(accept(l, NULL, NULL));
    close(l);
    close(p[0]);
    close(p[1]);
}

/* Fill the send buffer, then drain: POLLOUT goes and comes back. */
static void fill(void)
{
    static char block[65536];
    int p[2];
    long sent = 0, got = 0, n;
    tcp_pair(p);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    for (int quiet = 0; quiet < 3;) {
        while ((n = write(p[0], block, sizeof(block))) > 0) {
            sent += n;
            quiet = 0;
        }
        quiet++;
        poll(NULL, 0, 20);
    }
    say_poll("full", p[0]);
    while (got < sent) {
        n = read(p[1], block, sizeof(block));
        if (n > 0)
            got += n;
        else
            must(wait_for(p[1], POLLIN), "drain");
    }
    printf("all there: %d\n", got == sent);
    must(wait_for(p[0], POLLOUT), "OUT");
    say_poll("drained", p[0]);
    int queued = -1;
    SAY(ioctl(p[0], TIOCOUTQ, &queued));
    printf("queued %d\n", queued);
    close(p[0]);
    close(p[1]);
}

static void accept_queue(void)
{
    struct sockaddr_in a;
    int l = listener(16, &a), c[8], s;
    for (int i = 0; i < 8; i++) {
        c[i] = socket(AF_INET, SOCK_STREAM, 0);
        must(connect_in(c[i], &a) == 0 && write(c[i], &i, sizeof(i)) == sizeof(i), "client");
    }
    for (int i = 0; i < 8; i++) {
        int id = -1;
        s = accept(l, NULL, NULL);
        must(s >= 0 && wait_for(s, POLLIN) && read(s, &id, sizeof(id)) == sizeof(id), "server");
        printf("accepted %d\n", id);
        close(s);
        close(c[i]);
    }
    close(l);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    refused();
    nonblocking_connect();
    half_close();
    shut_read();
    peeking();
    resets();
    timeouts();
    fill();
    accept_queue();
    return 0;
}
