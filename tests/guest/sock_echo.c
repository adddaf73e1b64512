// SPDX-License-Identifier: Apache-2.0
/* Threads echo streams to each other over the loopback device; every byte is compared. */
#include "sock.h"

enum { CLIENTS = 8, BYTES = 1 << 20 };

static struct sockaddr_in address;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void *serve(void *arg)
{
    static __thread char buf[40000];
    int fd = (int)(intptr_t)arg;
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        for (ssize_t done = 0; done < n;) {
            ssize_t w = write(fd, buf + done, (size_t)(n - done));
            must(w > 0, "echo");
            done += w;
        }
    }
    close(fd);
    return NULL;
}

static void *receive(void *arg)
{
    int fd = ((int *)arg)[0];
    uint32_t seed = (uint32_t)((int *)arg)[1];
    static __thread unsigned char buf[30000];
    size_t got = 0;
    while (got < BYTES) {
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        must(n > 0, "receive");
        for (ssize_t i = 0; i < n; i++)
            must(buf[i] == (unsigned char)next_random(&seed), "byte");
        got += (size_t)n;
    }
    must(recv(fd, buf, 1, 0) == 0, "end");
    return NULL;
}

static void *client(void *arg)
{
    uint32_t seed = (uint32_t)(intptr_t)arg + 1, sizes = seed;
    static __thread unsigned char buf[50000];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(connect_in(fd, &address) == 0, "connect");
    int what[2] = {fd, (int)seed};
    pthread_t t;
    must(pthread_create(&t, NULL, receive, what) == 0, "thread");
    for (size_t sent = 0; sent < BYTES;) {
        size_t n = next_random(&sizes) % sizeof(buf) + 1;
        n = n > BYTES - sent ? BYTES - sent : n;
        for (size_t i = 0; i < n; i++)
            buf[i] = (unsigned char)next_random(&seed);
        for (size_t done = 0; done < n;) {
            ssize_t w = send(fd, buf + done, n - done, 0);
            must(w > 0, "send");
            done += (size_t)w;
        }
        sent += n;
    }
    shutdown(fd, SHUT_WR);
    pthread_join(t, NULL);
    close(fd);
    return NULL;
}

int main(void)
{
    int l = listener(CLIENTS, &address);
    pthread_t c[CLIENTS], s[CLIENTS];
    for (intptr_t i = 0; i < CLIENTS; i++)
        must(pthread_create(&c[i], NULL, client, (void *)i) == 0, "thread");
    for (int i = 0; i < CLIENTS; i++) {
        int fd = accept(l, NULL, NULL);
        must(fd >= 0, "accept");
        must(pthread_create(&s[i], NULL, serve, (void *)(intptr_t)fd) == 0, "thread");
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(c[i], NULL);
        pthread_join(s[i], NULL);
    }
    printf("echoed %d x %d bytes\n", CLIENTS, BYTES);
    return 0;
}
