// SPDX-License-Identifier: Apache-2.0
/* Edges: what edge-triggered epoll tells of sockets, one wait after each step. */
#include "sock.h"

static int ep;

static void tell(const char *text)
{
    char names[128];
    struct epoll_event e[4];
    int n = epoll_wait(ep, e, 4, 100);
    printf("%s: %d", text, n);
    for (int i = 0; i < n; i++)
        printf(" [%d] %s", e[i].data.fd, events_name((int)e[i].events, names, sizeof(names)));
    printf("\n");
}

static void add(int fd, uint32_t events, int name)
{
    struct epoll_event e = {.events = events, .data.fd = name};
    must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0, "epoll_ctl");
}

static void streams(void)
{
    int p[2];
    char buf[64];
    tcp_pair(p);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    add(p[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1);
    tell("added");
    tell("nothing new");
    must(write(p[0], "a", 1) == 1, "write");
    tell("a byte");
    tell("still there, not new");
    must(write(p[0], "b", 1) == 1, "write");
    tell("another byte");
    must(read(p[1], buf, sizeof(buf)) == 2, "read");
    tell("read all");
    must(write(p[1], "x", 1) == 1, "write");
    tell("wrote, buffer never full");
    must(write(p[0], "c", 1) == 1, "write");
    must(read(p[1], buf, sizeof(buf)) == 1 || wait_for(p[1], POLLIN), "read");
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = 1};
    must(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e) == 0, "mod");
    shutdown(p[0], SHUT_WR);
    wait_for(p[1], POLLRDHUP);
    tell("peer shut");
    e.events = EPOLLIN | EPOLLONESHOT;
    must(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e) == 0, "mod");
    tell("one shot");
    tell("shot");
    close(p[1]);
    close(p[0]);
    tell("closed");
}

static void full(void)
{
    static char block[65536];
    int p[2];
    long n, sent = 0;
    tcp_pair(p);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    add(p[0], EPOLLOUT | EPOLLET, 2);
    tell("writable");
    for (int quiet = 0; quiet < 3; quiet++) {
        while ((n = write(p[0], block, sizeof(block))) > 0) {
            sent += n;
            quiet = 0;
        }
        poll(NULL, 0, 20);
    }
    struct epoll_event e[1];
    while (epoll_wait(ep, e, 1, 0) > 0)
        ;
    tell("full");
    while (sent > 0) {
        n = read(p[1], block, sizeof(block));
        must(n > 0, "drain");
        sent -= n;
    }
    tell("drained");
    close(p[0]);
    close(p[1]);
}

static void listeners(void)
{
    struct sockaddr_in a;
    int l = listener(8, &a), c = socket(AF_INET, SOCK_STREAM, 0),
        d = socket(AF_INET, SOCK_STREAM, 0);
    fcntl(l, F_SETFL, O_NONBLOCK);
    add(l, EPOLLIN | EPOLLET, 3);
    tell("listening");
    must(connect_in(c, &a) == 0, "connect");
    tell("one connected");
    must(connect_in(d, &a) == 0, "connect");
    tell("two connected");
    SAY_OK(accept(l, NULL, NULL));
    tell("one accepted, nothing new");
    SAY_OK(accept(l, NULL, NULL));
    SAY(accept(l, NULL, NULL));
    close(c);
    close(d);
    close(l);
}

int main(void)
{
    ep = epoll_create1(0);
    streams();
    full();
    listeners();
    return 0;
}
