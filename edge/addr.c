// SPDX-License-Identifier: Apache-2.0
#include "edge/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

int addr_of(const char *host, uint16_t port, struct addr *ret)
{
    struct addr a;
    memset(&a, 0, sizeof(a));
    if (inet_pton(AF_INET, host, &a.in.sin_addr) == 1) {
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(port);
        a.len = sizeof(a.in);
    } else if (inet_pton(AF_INET6, host, &a.in6.sin6_addr) == 1) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(port);
        a.len = sizeof(a.in6);
    } else {
        return -EINVAL;
    }
    *ret = a;
    return 0;
}

static int unix_of(const char *path, struct addr *ret)
{
    struct addr a;
    memset(&a, 0, sizeof(a));
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(a.un.sun_path))
        return -EINVAL;
    a.un.sun_family = AF_UNIX;
    memcpy(a.un.sun_path, path, n);
    a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    *ret = a;
    return 0;
}

int addr_parse(const char *text, struct addr *ret)
{
    char host[ADDR_TEXT_MAX];
    if (strncmp(text, "unix:", 5) == 0)
        return unix_of(text + 5, ret);
    const char *colon = strrchr(text, ':');
    size_t n = colon == NULL ? 0 : (size_t)(colon - text);
    if (n == 0 || n >= sizeof(host))
        return -EINVAL;
    bool brackets = text[0] == '[' && text[n - 1] == ']';
    memcpy(host, text + brackets, n - 2u * brackets);
    host[n - 2u * brackets] = '\0';
    char *end;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || errno != 0 || port > UINT16_MAX)
        return -EINVAL;
    return addr_of(host, (uint16_t)port, ret);
}

const char *addr_host(const struct addr *a, char buf[static ADDR_TEXT_MAX])
{
    const void *raw = a->sa.sa_family == AF_INET ? (const void *)&a->in.sin_addr
                                                 : (const void *)&a->in6.sin6_addr;
    if (a->sa.sa_family == AF_UNIX || inet_ntop(a->sa.sa_family, raw, buf, ADDR_TEXT_MAX) == NULL)
        snprintf(buf, ADDR_TEXT_MAX, "unix");
    return buf;
}

const char *addr_text(const struct addr *a, char buf[static ADDR_TEXT_MAX])
{
    char host[ADDR_TEXT_MAX];
    addr_host(a, host);
    if (a->sa.sa_family == AF_INET)
        snprintf(buf, ADDR_TEXT_MAX, "%.100s:%u", host, ntohs(a->in.sin_port));
    else if (a->sa.sa_family == AF_INET6)
        snprintf(buf, ADDR_TEXT_MAX, "[%.100s]:%u", host, ntohs(a->in6.sin6_port));
    else
        snprintf(buf, ADDR_TEXT_MAX, "unix:%.100s", a->un.sun_path);
    return buf;
}

int addr_listen(const struct addr *a, bool early)
{
    int one = 1;
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (early)
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)); // for IPv6 too
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));    // connections inherit it
    int r = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (r == 0)
        r = bind(fd, &a->sa, a->len);
    if (r == 0)
        r = listen(fd, BACKLOG);
    if (r == 0)
        return fd;
    r = -errno;
    close(fd);
    return r;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}
