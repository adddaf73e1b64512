// SPDX-License-Identifier: Apache-2.0
/* Datagrams: boundaries, truncation, peers, errors that come back. */
#include "sock.h"

static int bound(struct sockaddr_in *ret)
{
    socklen_t len = sizeof(*ret);
    struct sockaddr_in a = loopback(0);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    must(fd >= 0 && bind_in(fd, &a) == 0 && getsockname(fd, (struct sockaddr *)ret, &len) == 0,
         "bound");
    return fd;
}

static void boundaries(void)
{
    struct sockaddr_in a, b, from;
    socklen_t len = sizeof(from);
    char buf[32] = {0};
    int x = bound(&a), y = bound(&b), n;
    say_poll("fresh", x);
    SAY(recv(y, buf, 8, MSG_DONTWAIT));
    SAY(sendto(x, "first", 5, 0, (struct sockaddr *)&b, sizeof(b)));
    SAY(sendto(x, "", 0, 0, (struct sockaddr *)&b, sizeof(b)));
    SAY(sendto(x, "third one", 9, 0, (struct sockaddr *)&b, sizeof(b)));
    must(wait_for(y, POLLIN), "IN");
    say_poll("there", y);
    SAY(ioctl(y, FIONREAD, &n));
    printf("first has %d\n", n);
    SAY(recvfrom(y, buf, sizeof(buf), MSG_PEEK, (struct sockaddr *)&from, &len));
    printf("from x: %d, len %u\n", from.sin_port == a.sin_port, len);
    SAY(recv(y, buf, sizeof(buf), 0));
    SAY(recv(y, buf, sizeof(buf), 0));
    SAY(recv(y, buf, 4, MSG_TRUNC));
    SAY(recv(y, buf, 4, MSG_DONTWAIT));
    SAY(sendto(x, "cut off", 7, 0, (struct sockaddr *)&b, sizeof(b)));
    struct iovec v[2] = {{buf, 2}, {buf + 8, 2}};
    struct msghdr m = {
        .msg_iov = v, .msg_iovlen = 2, .msg_name = &from, .msg_namelen = sizeof(from)};
    SAY(recvmsg(y, &m, 0));
    printf("%.2s%.2s truncated %d namelen %u\n", buf, buf + 8, (m.msg_flags & MSG_TRUNC) != 0,
           m.msg_namelen);
    close(x);
    close(y);
}

static void peers(void)
{
    struct sockaddr_in a, b, c, none = {.sin_family = AF_UNSPEC};
    socklen_t len = sizeof(c);
    char buf[8];
    int x = bound(&a), y = bound(&b), z = bound(&c);
    SAY(send(x, "a", 1, 0));
    SAY(getpeername(x, (struct sockaddr *)&none, &len));
    none = (struct sockaddr_in){.sin_family = AF_UNSPEC};
    SAY(sendto(x, "a", 1, 0, (struct sockaddr *)&b, 15));
    b.sin_family = AF_INET6;
    SAY(sendto(x, "a", 1, 0, (struct sockaddr *)&b, sizeof(b)));
    b.sin_family = AF_INET;
    SAY(sendto(x, "a", 1, MSG_OOB, (struct sockaddr *)&b, sizeof(b)));
    SAY(sendto(x, "a", 1, 0, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, 16));
    SAY(connect_in(x, &b));
    SAY(send(x, "to b", 4, 0));
    SAY(recv(y, buf, 8, 0));
    SAY(sendto(z, "stranger", 8, 0, (struct sockaddr *)&a, sizeof(a)));
    SAY(recv(x, buf, 8, MSG_DONTWAIT)); // only the peer is heard
    SAY(connect(x, (struct sockaddr *)&none, sizeof(none)));
    SAY(send(x, "a", 1, 0));
    close(y);
    SAY(connect_in(x, &b)); // nobody is there any more
    SAY(send(x, "gone", 4, 0));
    wait_for(x, POLLERR);
    say_poll("refused", x);
    SAY(send(x, "gone", 4, 0));
    SAY(shutdown(x, SHUT_RD));
    SAY(recv(x, buf, 8, 0));
    close(x);
    close(z);
}

static void many(void)
{
    struct sockaddr_in a, b;
    int x = bound(&a), y = bound(&b);
    struct mmsghdr m[4];
    struct iovec v[4];
    char buf[4][8];
    memset(m, 0, sizeof(m));
    must(connect_in(x, &b) == 0, "connect");
    for (int i = 0; i < 4; i++) {
        memset(buf[i], 'a' + i, 8);
        v[i] = (struct iovec){buf[i], (size_t)i + 1};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
    }
    SAY(sendmmsg(x, m, 4, 0));
    printf("%u %u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len, m[3].msg_len);
    for (int i = 0; i < 4; i++)
        v[i].iov_len = 8;
    SAY(recvmmsg(y, m, 4, MSG_WAITFORONE, NULL));
    printf("%u %u %u %u %.4s\n", m[0].msg_len, m[1].msg_len, m[2].msg_len, m[3].msg_len, buf[3]);
    SAY(recvmmsg(y, m, 4, MSG_DONTWAIT, NULL));
    close(x);
    close(y);
}

int main(void)
{
    boundaries();
    peers();
    many();
    return 0;
}
