// SPDX-License-Identifier: Apache-2.0
#include "lab/ping.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"

enum { ECHOES_MAX = 16, NS_PER_S = 1000000000, NS_PER_US = 1000, NS_PER_MS = 1000000 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

// RFC 1071, of an even number of bytes.
static uint16_t checksum(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static int send_echo(int fd, uint32_t addr, uint16_t id, uint16_t sequence)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(addr)};
    struct icmphdr echo = {.type = ICMP_ECHO};
    echo.un.echo.id = id;
    echo.un.echo.sequence = sequence;
    echo.checksum = checksum(&echo, sizeof(echo));
    ssize_t n = sendto(fd, &echo, sizeof(echo), 0, (struct sockaddr *)&to, sizeof(to));
    return n < 0 ? -errno : 0;
}

// The sequence number of one of our echoes that came back, or -EAGAIN: something else.
static int receive_echo(int fd, uint16_t id)
{
    uint8_t packet[1500];
    struct iphdr ip;
    struct icmphdr echo;
    ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);
    if (n < (ssize_t)sizeof(ip))
        return -EAGAIN;
    memcpy(&ip, packet, sizeof(ip));
    size_t head = (size_t)ip.ihl * 4;
    if ((size_t)n < head + sizeof(echo))
        return -EAGAIN;
    memcpy(&echo, packet + head, sizeof(echo));
    if (echo.type != ICMP_ECHOREPLY || echo.un.echo.id != id || echo.un.echo.sequence >= ECHOES_MAX)
        return -EAGAIN;
    return echo.un.echo.sequence;
}

static int by_size(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int ping(uint32_t addr, unsigned count, uint32_t timeout_ms)
{
    uint64_t sent[ECHOES_MAX] = {0};
    int times[ECHOES_MAX];
    unsigned got = 0;
    ASSERT(count > 0 && count <= ECHOES_MAX);
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
    uint16_t id = (uint16_t)getpid();
    if (fd < 0)
        return -errno;
    // The first fills caches on the way (routes, neighbours); it is not counted when others are.
    for (unsigned i = 0; i < count; i++) {
        uint64_t deadline = now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
        sent[i] = now_ns();
        int r = send_echo(fd, addr, id, (uint16_t)i);
        if (r < 0)
            return r;
        for (uint64_t now = now_ns(); now < deadline; now = now_ns()) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            if (poll(&p, 1, (int)((deadline - now) / NS_PER_MS + 1)) <= 0)
                return -ETIMEDOUT;
            if (receive_echo(fd, id) == (int)i) {
                times[got++] = (int)((now_ns() - sent[i]) / NS_PER_US);
                break;
            }
        }
    }
    if (got == 0)
        return -ETIMEDOUT;
    unsigned skip = got > 1 ? 1 : 0;
    qsort(times + skip, got - skip, sizeof(times[0]), by_size);
    return times[skip + (got - skip) / 2];
}
