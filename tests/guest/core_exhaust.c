// SPDX-License-Identifier: Apache-2.0
/* Descriptors and address space run out: every call that would need one more says so, and works
 * again once there is one. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "guest.h"

enum { LIMIT = 24 };

static void descriptors(void)
{
    struct rlimit r = {LIMIT, LIMIT};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), pair[2], n = 0, last = -1;
    show_ok("setrlimit", setrlimit(RLIMIT_NOFILE, &r));
    for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0; n++)
        last = fd;
    show("open", -1);
    show("last", last);
    show_ok("dup", dup(0));
    show_ok("fcntl", fcntl(0, F_DUPFD, 10));
    show_ok("fcntl behind the limit", fcntl(0, F_DUPFD, LIMIT));
    show_ok("dup2 behind the limit", dup2(0, LIMIT));
    show_ok("dup2 over one", dup2(0, last));
    show_ok("pipe", pipe(pair));
    show_ok("socket", socket(AF_INET, SOCK_STREAM, 0));
    show_ok("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    show_ok("epoll_create", epoll_create1(0));
    show_ok("eventfd", eventfd(0, 0));
    show_ok("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
    close(last);
    show_ok("pipe needs two", pipe(pair));
    show_bool("one is left", eventfd(0, 0) == last);
    close(last);
    close(last - 1);
    show_ok("pipe", pipe(pair));
    printf("%d %d\n", pair[0] - last, pair[1] - last);
    close(listener);
    show_ok("socket again", socket(AF_UNIX, SOCK_STREAM, 0));
}

static void address_space(void)
{
    enum { CHUNK = 1 << 30 };
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    show_ok("128 TiB", (long)mmap(NULL, 1ul << 47, PROT_NONE, flags, -1, 0));
    show_ok("all of it", (long)mmap(NULL, ~0ul - 8191, PROT_NONE, flags, -1, 0));
    char *p = mmap(NULL, 1ul << 40, PROT_NONE, flags, -1, 0);
    show_ok("1 TiB", (long)p);
    show_ok("back", munmap(p, 1ul << 40));
    show_ok("behind the end",
            (long)mmap((void *)(1ul << 47), CHUNK, PROT_NONE, flags | MAP_FIXED, -1, 0));
}

int main(void)
{
    address_space();
    descriptors();
    return 0;
}
