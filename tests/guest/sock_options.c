// SPDX-License-Identifier: Apache-2.0
/* Options: what is set is seen, what is wrong is refused. */
#include "sock.h"

#define SET_GET(fd, level, name, v)                                                                \
    do {                                                                                           \
        say("set " #name " " #v, opt_set(fd, level, name, v));                                     \
        say("get " #name, opt(fd, level, name));                                                   \
    } while (0)

static void tcp_options(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SET_GET(fd, SOL_SOCKET, SO_REUSEADDR, 5);
    SET_GET(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    SET_GET(fd, SOL_SOCKET, SO_BROADCAST, 1);
    SET_GET(fd, SOL_SOCKET, SO_RCVBUF, 65536);
    SET_GET(fd, SOL_SOCKET, SO_SNDBUF, 65536);
    SET_GET(fd, SOL_SOCKET, SO_SNDBUF, 1);
    SET_GET(fd, SOL_SOCKET, SO_TYPE, 1);
    SET_GET(fd, SOL_SOCKET, SO_ACCEPTCONN, 1);
    SET_GET(fd, SOL_SOCKET, SO_ERROR, 1);
    SET_GET(fd, IPPROTO_TCP, TCP_NODELAY, 7);
    SET_GET(fd, IPPROTO_TCP, TCP_CORK, 1);
    SET_GET(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    SET_GET(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0);
    SET_GET(fd, IPPROTO_TCP, TCP_KEEPIDLE, 32768);
    SET_GET(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    SET_GET(fd, IPPROTO_TCP, TCP_KEEPCNT, 128);
    SET_GET(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    SET_GET(fd, IPPROTO_TCP, TCP_SYNCNT, 3);
    SET_GET(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
    SET_GET(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, -1);
    SET_GET(fd, IPPROTO_TCP, TCP_MAXSEG, 50);
    SET_GET(fd, IPPROTO_IP, IP_TTL, 33);
    SET_GET(fd, IPPROTO_IP, IP_TTL, 256);
    SET_GET(fd, IPPROTO_IP, IP_TTL, -1);
    SET_GET(fd, IPPROTO_IP, IP_TOS, 0x13);
    say("unknown level", opt_set(fd, 999, 1, 1));
    say("unknown socket option", opt_set(fd, SOL_SOCKET, 999, 1));
    say("unknown tcp option", opt_set(fd, IPPROTO_TCP, 999, 1));
    say("unknown ip option", opt_set(fd, IPPROTO_IP, 999, 1));
    SAY(opt(fd, SOL_SOCKET, 999));
    SAY(opt(fd, IPPROTO_TCP, 999));
    SAY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, 3));
    SAY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, (socklen_t)-1));
    SAY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, NULL, 4));
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, 1));
    SAY(setsockopt(fd, IPPROTO_IP, IP_TTL, "\7", 1));
    SAY(opt(fd, IPPROTO_IP, IP_TTL));
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6));
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    char name[16];
    socklen_t len = sizeof(name);
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
    printf("%s %u\n", name, len);
    len = 2;
    char two[4] = {9, 9, 9, 9};
    SAY(getsockopt(fd, SOL_SOCKET, SO_TYPE, two, &len));
    printf("%d %d %d %d, %u\n", two[0], two[1], two[2], two[3], len);
    len = (socklen_t)-1;
    SAY(getsockopt(fd, SOL_SOCKET, SO_TYPE, two, &len));
    SAY(getsockopt(fd, SOL_SOCKET, SO_TYPE, two, NULL));
    close(fd);
}

static void structs(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct linger l = {1, 20};
    socklen_t len = sizeof(l);
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 4));
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("linger %d %d %u\n", l.l_onoff, l.l_linger, len);
    struct timeval tv = {3, 500000};
    len = sizeof(tv);
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, 8));
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    memset(&tv, 0, sizeof(tv));
    SAY(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
    printf("timeout %ld %ld\n", tv.tv_sec, tv.tv_usec);
    tv.tv_usec = 1000000;
    SAY(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
    struct tcp_info info;
    memset(&info, 0, sizeof(info));
    len = sizeof(info);
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    printf("state %d\n", info.tcpi_state);
    close(fd);
}

static void inherited(void)
{
    struct sockaddr_in a;
    int l = listener(4, &a), c = socket(AF_INET, SOCK_STREAM, 0);
    say("accepting", opt(l, SOL_SOCKET, SO_ACCEPTCONN));
    opt_set(l, IPPROTO_TCP, TCP_NODELAY, 1);
    opt_set(l, SOL_SOCKET, SO_KEEPALIVE, 1);
    opt_set(l, IPPROTO_TCP, TCP_KEEPIDLE, 44);
    opt_set(l, SOL_SOCKET, SO_RCVBUF, 50000);
    must(connect_in(c, &a) == 0, "connect");
    int s = accept(l, NULL, NULL);
    say("nodelay", opt(s, IPPROTO_TCP, TCP_NODELAY));
    say("keepalive", opt(s, SOL_SOCKET, SO_KEEPALIVE));
    say("keepidle", opt(s, IPPROTO_TCP, TCP_KEEPIDLE));
    say("rcvbuf", opt(s, SOL_SOCKET, SO_RCVBUF));
    struct tcp_info info;
    socklen_t len = sizeof(info);
    SAY(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len));
    printf("state %d options %d\n", info.tcpi_state, info.tcpi_options & 7);
}

static void udp_options(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    SET_GET(fd, SOL_SOCKET, SO_BROADCAST, 1);
    SET_GET(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    SET_GET(fd, SOL_SOCKET, SO_RCVBUF, 100000);
    SET_GET(fd, IPPROTO_IP, IP_TTL, 3);
    SET_GET(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    SAY(opt(fd, SOL_SOCKET, SO_TYPE));
    SAY(opt(fd, SOL_SOCKET, SO_PROTOCOL));
    SAY(opt(fd, SOL_SOCKET, SO_ERROR));
    close(fd);
}

int main(void)
{
    tcp_options();
    structs();
    inherited();
    udp_options();
    return 0;
}
