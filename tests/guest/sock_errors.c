// SPDX-License-Identifier: Apache-2.0
/* What each socket call answers to wrong arguments and wrong moments. */
#include "sock.h"

static void *const bad = (void *)16;

static void making(void)
{
    int fd, pair[2];
    SAY(socket(-1, SOCK_STREAM, 0));
    SAY(socket(46, SOCK_STREAM, 0));
    SAY(socket(AF_INET, 0, 0));
    SAY(socket(AF_INET, 11, 0));
    SAY(socket(AF_INET, SOCK_STREAM | 0x10, 0));
    SAY(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    SAY(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    SAY(socket(AF_INET, SOCK_SEQPACKET, 0));
    SAY(socket(AF_INET, SOCK_STREAM, -1));
    SAY(socket(AF_INET, SOCK_STREAM, 263));
    fd = SAY_OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    printf("flags %d %d\n", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, fcntl(fd, F_GETFD));
    printf("kind %d %d %d\n", opt(fd, SOL_SOCKET, SO_TYPE), opt(fd, SOL_SOCKET, SO_DOMAIN),
           opt(fd, SOL_SOCKET, SO_PROTOCOL));
    SAY(lseek(fd, 0, SEEK_SET));
    SAY(pread(fd, &fd, 1, 0));
    close(fd);
    SAY(socketpair(AF_INET, SOCK_STREAM, 0, pair));
}

static void binding(void)
{
    struct sockaddr_in a = loopback(0), b;
    socklen_t len;
    int fd = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
    SAY(bind(fd, (struct sockaddr *)&a, 15));
    SAY(bind(fd, (struct sockaddr *)&a, 129));
    SAY(bind(fd, (struct sockaddr *)&a, (socklen_t)-1));
    SAY(bind(fd, bad, 16));
    SAY(bind(-1, (struct sockaddr *)&a, 16));
    SAY(bind(0, bad, 16)); // no socket
    a.sin_family = AF_INET6;
    SAY(bind_in(fd, &a));
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(0x08080808);
    SAY(bind_in(fd, &a));
    a = loopback(0);
    SAY(bind_in(fd, &a));
    SAY(bind_in(fd, &a));
    len = sizeof(b);
    SAY(getsockname(fd, (struct sockaddr *)&b, &len));
    printf("family %d len %u port %d\n", b.sin_family, len, b.sin_port != 0);
    len = 4;
    SAY(getsockname(fd, (struct sockaddr *)&b, &len));
    printf("len %u\n", len);
    len = (socklen_t)-1;
    SAY(getsockname(fd, (struct sockaddr *)&b, &len));
    SAY(getsockname(fd, (struct sockaddr *)&b, bad));
    len = 16;
    SAY(getsockname(fd, bad, &len));
    SAY(getpeername(fd, (struct sockaddr *)&b, &len));
    SAY(listen(fd, 1));
    SAY(bind_in(other, &b));
    SAY(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &(int){1}, 4));
    SAY(bind_in(other, &b));
    b.sin_addr.s_addr = 0;
    SAY(bind_in(other, &b));
    SAY(connect_in(fd, &b)); // a listener
    SAY(listen(fd, 5));
    close(fd);
    close(other);
}

static void moments(void)
{
    char buf[4];
    struct sockaddr_in a = loopback(1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    signal(SIGPIPE, SIG_IGN);
    say_poll("fresh", fd);
    SAY(accept(fd, NULL, NULL));
    SAY(accept4(fd, NULL, NULL, 1));
    SAY(accept4(0, NULL, NULL, SOCK_NONBLOCK));
    SAY(accept4(-1, NULL, NULL, 1));
    SAY(recv(fd, buf, 1, 0));
    SAY(send(fd, buf, 1, 0));
    SAY(shutdown(fd, SHUT_RD));
    SAY(shutdown(fd, 3));
    SAY(shutdown(fd, -1));
    SAY(connect(fd, (struct sockaddr *)&a, 1));
    SAY(connect(fd, (struct sockaddr *)&a, 15));
    SAY(connect(fd, bad, 16));
    SAY(connect(0, bad, 16));
    SAY(connect(0, (struct sockaddr *)&a, 16));
    a.sin_family = AF_UNIX;
    SAY(connect_in(fd, &a));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SAY(listen(fd, 1));
    say_poll("listening", fd);
    SAY(accept(fd, NULL, NULL));
    SAY(recv(fd, buf, 1, 0));
    SAY(send(fd, buf, 1, 0));
    SAY(getpeername(fd, (struct sockaddr *)&a, &(socklen_t){16}));
    SAY(ioctl(fd, FIONREAD, &(int){0}));
    SAY(shutdown(fd, SHUT_RD));
    say_poll("shut", fd);
    SAY(accept(fd, NULL, NULL));
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    SAY(listen(fd, 1));
    SAY(accept(fd, NULL, NULL));
    SAY(shutdown(fd, SHUT_WR));
    SAY(ioctl(fd, 0x1234, 0));
    close(fd);
}

static void messages(void)
{
    int p[2];
    char buf[8];
    struct iovec v = {buf, 4};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    tcp_pair(p);
    SAY(sendto(-1, bad, 1, 0, NULL, 0));
    SAY(sendto(p[0], (void *)-1, 1, 0, NULL, 0)); // checked before the descriptor
    SAY(sendto(-1, (void *)-1, 1, 0, NULL, 0));
    SAY(send(p[0], bad, 1, 0));
    SAY(sendmsg(p[0], bad, 0));
    SAY(sendmsg(0, bad, 0));
    m.msg_iovlen = 1025;
    SAY(sendmsg(p[0], &m, 0));
    m.msg_iovlen = 0;
    SAY(sendmsg(p[0], &m, 0));
    m.msg_iovlen = 1;
    SAY(sendmsg(p[0], &m, 0));
    SAY(recv(p[1], bad, 4, 0));
    SAY(recv(p[1], buf, 8, MSG_PEEK));
    SAY(recv(p[1], buf, 0, 0));
    SAY(recv(p[1], buf, 8, MSG_OOB));
    SAY(recv(p[1], buf, 8, MSG_ERRQUEUE));
    m.msg_namelen = 77;
    SAY(recvmsg(p[1], &m, 0));
    printf("namelen %u flags %d\n", m.msg_namelen, m.msg_flags);
    SAY(recv(p[1], buf, 8, MSG_DONTWAIT));
    SAY(connect_in(p[0], &(struct sockaddr_in){.sin_family = AF_INET, .sin_port = 1}));
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    making();
    binding();
    moments();
    messages();
    return 0;
}
