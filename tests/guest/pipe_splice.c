// SPDX-License-Identifier: Apache-2.0
/* splice and tee: between pipes, files and sockets. */
#include <sys/socket.h>

#include "fs.h"

static char buf[200000], got[200000];

static void files(void)
{
    int p[2], in = open("in", O_RDWR | O_CREAT, 0600), out = open("out", O_RDWR | O_CREAT, 0600);
    pipe2(p, O_NONBLOCK);
    write(in, buf, sizeof(buf));
    lseek(in, 0, SEEK_SET);
    show("file to pipe", splice(in, NULL, p[1], NULL, 10000, 0));
    show("position", lseek(in, 0, SEEK_CUR));
    loff_t at = 50000;
    show("from an offset", splice(in, &at, p[1], NULL, 5000, 0));
    show("offset", at);
    show("position unchanged", lseek(in, 0, SEEK_CUR));
    show("pipe to file", splice(p[0], NULL, out, NULL, 15000, 0));
    show("rest", splice(p[0], NULL, out, NULL, 15000, SPLICE_F_NONBLOCK));
    at = 100;
    write(p[1], "inserted", 8);
    show("to an offset", splice(p[0], NULL, out, &at, 100, 0));
    show("offset", at);
    ssize_t n = pread(out, got, sizeof(got), 0);
    show("read", n);
    memcpy(buf + 150000, buf, 10000);
    memcpy(buf + 160000, buf + 50000, 5000);
    memcpy(buf + 150100, "inserted", 8);
    show_bool("same", memcmp(got, buf + 150000, 15000) == 0);
    show("nothing", splice(p[0], NULL, out, NULL, 0, 0));
    show("neither is a pipe", splice(in, NULL, out, NULL, 10, 0));
    at = 0;
    show("offset of a pipe", splice(p[0], &at, out, NULL, 10, 0));
    show("offset of a pipe out", splice(in, NULL, p[1], &at, 10, 0));
    show("write end as source", splice(p[1], NULL, out, NULL, 10, 0));
    show("bad flags", splice(in, NULL, p[1], NULL, 10, 64));
    show("closed", splice(99, NULL, p[1], NULL, 10, 0));
    fcntl(out, F_SETFL, O_APPEND);
    write(p[1], "x", 1);
    show("to an append file", splice(p[0], NULL, out, NULL, 10, 0));
    lseek(in, 0, SEEK_END);
    show("end of file", splice(in, NULL, p[1], NULL, 10, 0));
    close(p[0]);
    close(p[1]);
    close(in);
    close(out);
}

static void pipes(void)
{
    int a[2], b[2];
    pipe2(a, O_NONBLOCK);
    pipe2(b, O_NONBLOCK);
    write(a[1], "hello world", 11);
    show("tee", tee(a[0], b[1], 5, 0));
    show("tee again", tee(a[0], b[1], 100, 0));
    write(a[1], "!", 1);
    show("first", read(a[0], got, 100));
    printf("%.12s\n", got);
    show("second", read(b[0], got, 100));
    printf("%.16s\n", got);
    show("tee of nothing", tee(a[0], b[1], 5, SPLICE_F_NONBLOCK));
    write(a[1], "0123456789", 10);
    show("pipe to pipe", splice(a[0], NULL, b[1], NULL, 4, 0));
    show("left", read(a[0], got, 100));
    show("moved", read(b[0], got, 100));
    show("to itself", splice(a[0], NULL, a[1], NULL, 4, 0));
    close(a[1]);
    show("no writer", splice(a[0], NULL, b[1], NULL, 4, 0));
    close(a[0]);
    close(b[0]);
    close(b[1]);
}

int main(void)
{
    work_begin();
    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i * 7 + (i >> 10));
    files();
    pipes();
    return 0;
}
