// SPDX-License-Identifier: Apache-2.0
/* Pseudo terminals: the pair, the line discipline in both modes, settings, signals, hang-up. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "guest.h"

static int m, s;

/* Bytes with their control characters visible. */
static void show_bytes(const char *what, int fd)
{
    unsigned char b[256];
    struct pollfd p = {fd, POLLIN, 0};
    poll(&p, 1, 100); // Linux takes keys in the background
    ssize_t n = read(fd, b, sizeof(b));
    if (n < 0) {
        show(what, n);
        return;
    }
    printf("%s: %ld \"", what, (long)n);
    for (ssize_t i = 0; i < n; i++)
        if (b[i] < 32 || b[i] >= 127)
            printf("\\x%02x", b[i]);
        else
            putchar(b[i]);
    printf("\"\n");
}

static void type(const char *keys)
{
    write(m, keys, strlen(keys));
}

static void show_poll(const char *what)
{
    struct pollfd p[2] = {{m, POLLIN | POLLOUT, 0}, {s, POLLIN | POLLOUT, 0}};
    poll(p, 2, 0);
    printf("%s: master %x slave %x\n", what, p[0].revents, p[1].revents);
}

static void opening(void)
{
    struct stat st;
    char name[64];
    int n = -1, lock = -1;
    m = posix_openpt(O_RDWR | O_NOCTTY);
    show_bool("master", m >= 0);
    show("number", ioctl(m, TIOCGPTN, &n));
    show("lock", ioctl(m, TIOCGPTLCK, &lock));
    printf("locked %d\n", lock);
    snprintf(name, sizeof(name), "/dev/pts/%d", n);
    show("locked", open(name, O_RDWR | O_NOCTTY));
    show("unlock", unlockpt(m));
    show("name", strcmp(ptsname(m), name));
    s = open(name, O_RDWR | O_NOCTTY);
    show_bool("slave", s >= 0);
    fstat(s, &st);
    printf("kind %o major %u\n", st.st_mode & S_IFMT, (unsigned)(st.st_rdev >> 8) & 0xfff);
    show("a terminal", isatty(s));
    show("the master too", isatty(m));
    show("seek", lseek(s, 0, SEEK_SET));
    show_poll("fresh");
}

static void lines(void)
{
    fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK);
    fcntl(m, F_SETFL, O_RDWR | O_NONBLOCK);
    show_bytes("nothing", s);
    type("hello");
    show_bytes("no line yet", s);
    show_bytes("echo", m);
    type(" world\r");
    show_bytes("line", s);
    show_bytes("echo", m);
    type("abc\177\177xy\n");
    show_bytes("erased", s);
    show_bytes("echo", m);
    type("one two\027three\n");
    show_bytes("word erased", s);
    show_bytes("echo", m);
    type("gone\025kept\n");
    show_bytes("line killed", s);
    show_bytes("echo", m);
    type("a\001b\n");
    show_bytes("control", s);
    show_bytes("echo", m);
    type("\026\003\n");
    show_bytes("literal", s);
    show_bytes("echo", m);
    type("two\nlines\n");
    int left = 0;
    show_bytes("echo", m);
    ioctl(s, FIONREAD, &left);
    printf("waiting %d\n", left);
    show_bytes("first", s);
    show_bytes("second", s);
    type("part\004");
    show_bytes("before end of file", s);
    type("\004");
    show_bytes("end of file", s);
    show_bytes("echo", m);
    show("write", write(s, "out\nput\n", 8));
    show_bytes("shown", m);
    type("flushed\n");
    show_bytes("echo", m);
    show("flush", tcflush(s, TCIFLUSH));
    show_bytes("flushed", s);
}

static void raw(void)
{
    struct termios t;
    tcgetattr(s, &t);
    printf("flags %x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag & ~(unsigned)CBAUD, t.c_lflag);
    printf("keys");
    for (int i = 0; i < 17; i++)
        printf(" %d", t.c_cc[i]);
    printf("\n");
    struct termios r = t;
    cfmakeraw(&r);
    show("raw", tcsetattr(s, TCSANOW, &r));
    type("a\r\003\177");
    show_bytes("as it is", s);
    show_bytes("no echo", m);
    write(s, "x\ny", 3);
    show_bytes("no processing", m);
    r.c_cc[VMIN] = 3;
    tcsetattr(s, TCSANOW, &r);
    type("12");
    type("3");
    show_bytes("three", s);
    fcntl(s, F_SETFL, O_RDWR);
    r.c_cc[VMIN] = 0;
    tcsetattr(s, TCSANOW, &r);
    show_bytes("does not wait", s);
    r.c_cc[VTIME] = 1;
    tcsetattr(s, TCSANOW, &r);
    show_bytes("waits a little", s);
    show("back", tcsetattr(s, TCSAFLUSH, &t));
    fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK);
    struct winsize w = {.ws_row = 50, .ws_col = 132};
    show("size", ioctl(m, TIOCSWINSZ, &w));
    memset(&w, 0, sizeof(w));
    show("get size", ioctl(s, TIOCGWINSZ, &w));
    printf("%d x %d\n", w.ws_col, w.ws_row);
    show("stop", tcflow(s, TCOOFF));
    show("stopped", write(s, "z", 1));
    show("start", tcflow(s, TCOON));
    show("started", write(s, "z", 1));
    show_bytes("shown", m);
    show("unknown ioctl", ioctl(s, 0x5499, 0));
    show("group of a stranger's", tcgetpgrp(s));
}

static void ending(void)
{
    write(s, "last", 4);
    close(s);
    show_bytes("what was written", m);
    show_bytes("closed", m);
    struct pollfd p = {m, POLLIN, 0};
    poll(&p, 1, 0);
    printf("master %x\n", p.revents);
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    show_bool("opened again", s >= 0);
    char name[64];
    snprintf(name, sizeof(name), "%s", ptsname(m));
    close(m);
    show_bytes("hung up", s);
    show("write", write(s, "x", 1));
    p = (struct pollfd){s, POLLIN | POLLOUT, 0};
    poll(&p, 1, 0);
    printf("slave %x\n", p.revents);
    close(s);
    show("the name is gone", access(name, F_OK));
}

int main(void)
{
    signal(SIGHUP, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    opening();
    lines();
    raw();
    ending();
    return 0;
}
