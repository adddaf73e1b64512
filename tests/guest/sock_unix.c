// SPDX-License-Identifier: Apache-2.0
/* AF_UNIX: pairs, names, streams and packets, descriptors in messages. */
#include <sys/stat.h>
#include <sys/un.h>

#include "sock.h"

static struct sockaddr_un named(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
    return a;
}

static int bind_un(int fd, const char *name)
{
    struct sockaddr_un a = named(name);
    return bind(fd, (struct sockaddr *)&a, sizeof(a));
}

static int connect_un(int fd, const char *name)
{
    struct sockaddr_un a = named(name);
    return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static void pairs(void)
{
    int p[2];
    char buf[32] = {0};
    SAY(socketpair(AF_UNIX, SOCK_STREAM, 5, p));
    SAY(socketpair(AF_UNIX, SOCK_RDM, 0, p));
    SAY(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p));
    say_poll("fresh", p[0]);
    SAY(recv(p[0], buf, 8, 0));
    SAY(write(p[0], "hello", 5));
    SAY(write(p[0], "world", 5));
    say_poll("there", p[1]);
    SAY(recv(p[1], buf, 3, MSG_PEEK));
    SAY(read(p[1], buf, 7)); // across messages
    printf("%.7s\n", buf);
    SAY(recv(p[1], buf, 8, MSG_WAITALL));
    SAY(shutdown(p[0], SHUT_WR));
    say_poll("peer shut", p[1]);
    SAY(read(p[1], buf, 8));
    SAY(send(p[0], "x", 1, MSG_NOSIGNAL));
    SAY(write(p[1], "back", 4));
    SAY(read(p[0], buf, 8));
    SAY(sendto(p[1], "x", 1, 0, (struct sockaddr *)buf, 8));
    close(p[0]);
    say_poll("peer closed", p[1]);
    SAY(send(p[1], "x", 1, MSG_NOSIGNAL));
    SAY(read(p[1], buf, 8));
    close(p[1]);
    SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    SAY(write(p[0], "unread", 6));
    close(p[1]);
    say_poll("closed with unread data", p[0]);
    SAY(read(p[0], buf, 8));
    SAY(read(p[0], buf, 8));
    close(p[0]);
}

static void packets(int type)
{
    int p[2];
    char buf[32] = {0};
    SAY(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, p));
    SAY(write(p[0], "first", 5));
    SAY(write(p[0], "second", 6));
    SAY(recv(p[1], buf, 3, MSG_TRUNC));
    SAY(read(p[1], buf, 32));
    SAY(read(p[1], buf, 32));
    SAY(write(p[0], NULL, 0));
    close(p[0]);
    say_poll("peer closed", p[1]);
    SAY(send(p[1], "x", 1, MSG_NOSIGNAL));
    close(p[1]);
}

static void streams(void)
{
    struct sockaddr_un a;
    struct stat st;
    socklen_t len = sizeof(a);
    char buf[16];
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink("/tmp/sock_unix");
    say_poll("fresh", l);
    SAY(listen(l, 1));
    SAY(connect_un(c, "/tmp/sock_unix"));
    SAY(bind_un(l, "/tmp/nowhere/sock"));
    SAY(bind_un(l, "/tmp/sock_unix"));
    SAY(bind_un(l, "/tmp/sock_unix2"));
    SAY(bind_un(c, "/tmp/sock_unix"));
    SAY(stat("/tmp/sock_unix", &st));
    printf("a socket: %d\n", S_ISSOCK(st.st_mode));
    SAY(open("/tmp/sock_unix", O_RDONLY));
    SAY(connect_un(c, "/tmp/sock_unix"));
    SAY(listen(l, 1));
    say_poll("listening", l);
    SAY(accept(l, NULL, NULL));
    SAY(send(c, "x", 1, MSG_NOSIGNAL));
    SAY(recv(c, buf, 1, 0));
    SAY(connect_un(c, "/tmp/sock_unix"));
    SAY(connect_un(c, "/tmp/sock_unix"));
    say_poll("one waits", l);
    SAY(write(c, "early", 5));
    int s = SAY_OK(accept(l, (struct sockaddr *)&a, &len));
    printf("peer has no name: %u\n", len);
    SAY(read(s, buf, 16));
    len = sizeof(a);
    SAY(getpeername(c, (struct sockaddr *)&a, &len));
    printf("%u %s\n", len, a.sun_path);
    int dgram = socket(AF_UNIX, SOCK_DGRAM, 0);
    SAY(connect_un(dgram, "/tmp/sock_unix"));
    SAY(listen(dgram, 1));
    close(dgram);
    close(l);
    close(s);
    say_poll("gone", c);
    close(c);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    SAY(connect_un(c, "/tmp/sock_unix")); // the name is still there, nobody behind it
    SAY(unlink("/tmp/sock_unix"));
    SAY(connect_un(c, "/tmp/sock_unix"));
    close(c);
}

static void abstract_names(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX}, b;
    memcpy(a.sun_path, "\0skerry\0test", 12);
    socklen_t len = sizeof(b);
    char buf[16];
    int x = socket(AF_UNIX, SOCK_DGRAM, 0), y = socket(AF_UNIX, SOCK_DGRAM, 0);
    SAY(bind(x, (struct sockaddr *)&a, 2 + 12));
    SAY(bind(y, (struct sockaddr *)&a, 2 + 12));
    SAY(getsockname(x, (struct sockaddr *)&b, &len));
    printf("%u %d\n", len, memcmp(&a, &b, 14));
    SAY(send(y, "x", 1, 0));
    SAY(sendto(y, "named", 5, 0, (struct sockaddr *)&a, 2 + 12));
    SAY(sendto(y, "named", 5, 0, (struct sockaddr *)&a, 2 + 11));
    len = sizeof(b);
    SAY(recvfrom(x, buf, 16, 0, (struct sockaddr *)&b, &len));
    printf("from nobody: %u\n", len);
    SAY(bind(y, (struct sockaddr *)&a, 2)); // a name of the kernel's choice
    len = sizeof(b);
    SAY(getsockname(y, (struct sockaddr *)&b, &len));
    printf("%u abstract %d\n", len, b.sun_path[0] == 0);
    SAY(connect(y, (struct sockaddr *)&a, 2 + 12));
    SAY(send(y, "again", 5, 0));
    len = sizeof(b);
    SAY(recvfrom(x, buf, 16, 0, (struct sockaddr *)&b, &len));
    printf("from y: %u\n", len);
    SAY(sendto(x, "answer", 6, 0, (struct sockaddr *)&b, len));
    SAY(recv(y, buf, 16, 0));
    close(x);
    SAY(send(y, "x", 1, 0));
    close(y);
}

static ssize_t send_fd(int to, int fd, int level, int type)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.space = {0}};
    struct iovec v = {(char[]){"f"}, 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof(control.space)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    return sendmsg(to, &m, 0);
}

static void passing(void)
{
    int p[2], pipe_fds[2], got = -1;
    char buf[8];
    union {
        char space[64];
        struct cmsghdr align;
    } control;
    struct iovec v = {buf, 8};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof(control.space)};
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0 && pipe(pipe_fds) == 0, "pair");
    SAY(send_fd(p[0], 999, SOL_SOCKET, SCM_RIGHTS));
    SAY(send_fd(p[0], 0, SOL_SOCKET, 77));
    SAY(write(p[0], "ab", 2));
    SAY(send_fd(p[0], pipe_fds[1], SOL_SOCKET, SCM_RIGHTS));
    close(pipe_fds[1]);
    SAY(recvmsg(p[1], &m, MSG_CMSG_CLOEXEC)); // stops before the message with the descriptor?
    printf("control %zu\n", (size_t)m.msg_controllen);
    if (m.msg_controllen == 0) {
        m.msg_controllen = sizeof(control.space);
        SAY(recvmsg(p[1], &m, MSG_CMSG_CLOEXEC));
        printf("control %zu\n", (size_t)m.msg_controllen);
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    must(c != NULL && c->cmsg_type == SCM_RIGHTS, "rights");
    memcpy(&got, CMSG_DATA(c), sizeof(got));
    printf("len %zu cloexec %d\n", (size_t)c->cmsg_len, fcntl(got, F_GETFD));
    SAY(write(got, "through", 7));
    SAY(read(pipe_fds[0], buf, 8));
    close(got);
    SAY(read(pipe_fds[0], buf, 8)); // the last writer is gone
    SAY(send_fd(p[0], 0, SOL_SOCKET, SCM_RIGHTS));
    m.msg_controllen = 8; // no room for it
    SAY(recvmsg(p[1], &m, 0));
    printf("truncated %d\n", (m.msg_flags & MSG_CTRUNC) != 0);
    close(p[0]);
    close(p[1]);
}

static void *drain(void *arg)
{
    static char block[4096];
    long *total = arg, n;
    while ((n = read((int)total[1], block, sizeof(block))) > 0)
        total[0] += n;
    return NULL;
}

static void flow(void)
{
    static char block[100000];
    int p[2];
    pthread_t t;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0, "pair");
    long total[2] = {0, p[1]};
    must(pthread_create(&t, NULL, drain, total) == 0, "thread");
    for (int i = 0; i < 100; i++)
        must(write(p[0], block, sizeof(block)) == sizeof(block), "write");
    shutdown(p[0], SHUT_WR);
    pthread_join(t, NULL);
    printf("flowed %ld\n", total[0]);
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    while (write(p[1], block, 1000) > 0)
        ;
    say("full", write(p[1], block, 1000));
    say_poll("full", p[1]);
    while (recv(p[0], block, sizeof(block), MSG_DONTWAIT) > 0)
        ;
    say_poll("drained", p[1]);
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    pairs();
    packets(SOCK_SEQPACKET);
    packets(SOCK_DGRAM);
    streams();
    abstract_names();
    passing();
    flow();
    return 0;
}
