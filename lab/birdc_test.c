// SPDX-License-Identifier: Apache-2.0
#include "lab/birdc.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"

static void test_count(struct test *t)
{
    unsigned all, up;
    birdc_count_bfd("BIRD 2.0.12 ready.\nbfd1:\n"
                    "IP address                Interface  State      Since         Interval\n"
                    "10.101.0.25               singapore  Up         08:40:43.520    0.100\n"
                    "10.101.0.19               frankfurt  Init       08:40:43.438    0.100\n"
                    "10.101.0.21               johannesburg Up         08:40:43.525  0.100\n",
                    &all, &up);
    CHECK_EQ(t, all, 3);
    CHECK_EQ(t, up, 2);
    birdc_count_bfd("", &all, &up);
    CHECK(t, all == 0 && up == 0);
    birdc_count_bfd("There is no BFD protocol running\n", &all, &up);
    CHECK(t, all == 0 && up == 0);
}

// One client, greeted and answered with fixed words; a process of its own.
static pid_t serve(const char *path, const char *answer)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, path, strlen(path));
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(listener, 1) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        char command[128];
        int fd = accept(listener, NULL, NULL);
        bool sent = write(fd, "0001 BIRD 2.0.12 ready.\n", 24) == 24 &&
                    read(fd, command, sizeof(command)) > 0 &&
                    write(fd, answer, strlen(answer)) == (ssize_t)strlen(answer);
        _exit(sent ? 0 : 1);
    }
    close(listener);
    return pid;
}

static int ask(const char *answer, char *out, size_t max, struct err *err)
{
    char dir[] = "/tmp/skerry-birdc-XXXXXX", path[64];
    if (mkdtemp(dir) == NULL)
        return -errno;
    snprintf(path, sizeof(path), "%s/ctl", dir);
    pid_t pid = serve(path, answer);
    int r = pid < 0 ? -ECHILD : birdc(path, "show route", out, max, err);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    unlink(path);
    rmdir(dir);
    return r;
}

static void test_answers(struct test *t)
{
    struct err err;
    char out[64];
    CHECK_EQ(t, ask("1007-one\n two\n three\n0000 \n", out, sizeof(out), &err), 0);
    CHECK_STR(t, out, "one\n two\n three\n\n");
    CHECK_EQ(t, ask("0013 done\n", out, sizeof(out), &err), 0);
    CHECK_STR(t, out, "done\n");
    CHECK_EQ(t, ask("9001 syntax error\n", out, sizeof(out), &err), -EIO);
    CHECK(t, strstr(err.text, "syntax error") != NULL);
    CHECK_EQ(t, ask("1007-cut", out, sizeof(out), &err), -ETIMEDOUT);
    CHECK_EQ(t, ask("1007-0123456789012345678901234567890123456789\n0000 \n", out, 16, &err), 0);
    CHECK_STR(t, out, "012345678901234");
    CHECK_EQ(t, birdc("/no/such/socket", "x", out, sizeof(out), &err), -ENOENT);
}

int main(void)
{
    static const struct test_case cases[] = {TEST_CASE(test_count), TEST_CASE(test_answers)};
    return test_main(cases, ARRAY_LEN(cases));
}
