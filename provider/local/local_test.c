// SPDX-License-Identifier: Apache-2.0
/* Real QEMU processes with the guest of tests/guest/pvh_guest.c, which does what its arguments say.
 * SKERRY_TEST_GUEST is its path. */
#include "provider/local/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/test.h"
#include "host/fd.h"
#include "host/file.h"
#include "host/rtnl.h"

enum { EVENT_MS_MAX = 30000 };

static char folder[] = "/tmp/skerry-local-test-XXXXXX";
static char state_dir[64], image_path[64];
static const char *guest;

static int open_local(struct provider **ret, struct err *e)
{
    struct provider_config c = {.state_dir = state_dir, .kernel_path = guest};
    return local_ops.open(&c, ret, e);
}

static int put(struct provider *p, const char *id, const char *arg, struct err *e)
{
    const char *const args[] = {arg};
    struct instance_spec s = {.id = id,
                              .image_path = image_path,
                              .memory_bytes = 16 << 20,
                              .cpus = 1,
                              .args = args,
                              .args_n = 1};
    return local_ops.instance_put(p, &s, e);
}

/* Wait for the next event; false when none comes. */
static bool next(struct provider *p, struct instance_info *ret)
{
    while (local_ops.event_take(p, ret) == 0) {
        struct pollfd fd = {.fd = local_ops.event_fd(p), .events = POLLIN};
        if (poll(&fd, 1, EVENT_MS_MAX) != 1)
            return false;
    }
    return true;
}

static uint32_t running(struct provider *p)
{
    struct instance_info list[4];
    struct err e;
    uint32_t n = 0;
    int all = local_ops.instance_list(p, list, ARRAY_LEN(list), &e);
    for (int i = 0; i < all; i++)
        n += list[i].state == INSTANCE_RUNNING;
    return n;
}

static void test_life(struct test *t)
{
    struct provider *p;
    struct instance_info info;
    struct err e = {0};
    char path[256];
    CLEANUP(file_freep) char *text = NULL;
    size_t len;
    CHECK_EQ(t, open_local(&p, &e), 0);
    CHECK_EQ(t, put(p, "life", "exit=7", &e), 0);
    CHECK_EQ(t, put(p, "life", "exit=7", &e), -EEXIST);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, info.state, INSTANCE_RUNNING);
    CHECK_EQ(t, info.up_micros, 1234);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, info.state, INSTANCE_EXITED);
    CHECK_EQ(t, info.status, 7);
    CHECK_EQ(t, info.pid, 0);
    CHECK_EQ(t, local_ops.event_take(p, &info), 0);
    CHECK_EQ(t, local_ops.console_path(p, "life", path, sizeof(path), &e), 0);
    CHECK_EQ(t, file_read(path, 65536, &text, &len, &e), 0);
    CHECK(t, strstr(text, "skerry.host=life ") != NULL);
    CHECK(t, strstr(text, "skerry.arg=exit=7 virtio_mmio.device=") != NULL);
    CHECK_EQ(t, local_ops.instance_stop(p, "life", 0, &e), 0);
    CHECK_EQ(t, local_ops.instance_delete(p, "life", &e), 0);
    CHECK_EQ(t, local_ops.instance_delete(p, "life", &e), -ENOENT);
    CHECK_EQ(t, local_ops.instance_list(p, &info, 1, &e), 0);
    local_ops.close(p);
}

static void test_ends(struct test *t)
{
    static const struct {
        const char *arg;
        enum instance_state state;
        int status;
        const char *text;
    } cases[] = {{"signal=11", INSTANCE_SIGNALED, 11, ""},
                 {"silent-panic", INSTANCE_PANICKED, 0, "out of luck"},
                 {"silent-die", INSTANCE_KILLED, 0, ""}};
    struct provider *p;
    struct instance_info info;
    struct err e = {0};
    CHECK_EQ(t, open_local(&p, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_EQ(t, put(p, "ends", cases[i].arg, &e), 0);
        do
            CHECK(t, next(p, &info));
        while (info.state == INSTANCE_RUNNING);
        CHECK_EQ(t, info.state, cases[i].state);
        CHECK_EQ(t, info.status, cases[i].status);
        CHECK_STR(t, info.text, cases[i].text);
        CHECK_EQ(t, local_ops.instance_delete(p, "ends", &e), 0);
    }
    local_ops.close(p);
}

static void test_adoption(struct test *t)
{
    struct provider *p;
    struct instance_info info, list[4];
    struct err e = {0};
    CHECK_EQ(t, open_local(&p, &e), 0);
    CHECK_EQ(t, put(p, "stays", "wait", &e), 0);
    CHECK_EQ(t, put(p, "goes", "exit=3", &e), 0);
    local_ops.close(p);

    CHECK_EQ(t, open_local(&p, &e), 0);
    CHECK_EQ(t, local_ops.instance_list(p, list, 4, &e), 2);
    const struct instance_info *stays = strcmp(list[0].id, "stays") == 0 ? &list[0] : &list[1];
    CHECK_EQ(t, stays->state, INSTANCE_RUNNING);
    CHECK(t, stays->pid > 0);
    CHECK_EQ(t, local_ops.instance_delete(p, "stays", &e), -EBUSY);
    bool up = stays->up_micros != 0;
    while (!up) {
        CHECK(t, next(p, &info));
        up = strcmp(info.id, "stays") == 0;
    }
    CHECK_EQ(t, local_ops.instance_stop(p, "stays", 60000, &e), 0);
    while (running(p) > 0)
        CHECK(t, next(p, &info));
    local_ops.close(p);

    CHECK_EQ(t, open_local(&p, &e), 0);
    CHECK_EQ(t, local_ops.instance_list(p, list, 4, &e), 2);
    for (int i = 0; i < 2; i++) {
        bool asked = strcmp(list[i].id, "stays") == 0; // over the console, and it heeded
        CHECK_EQ(t, list[i].state, asked ? INSTANCE_SIGNALED : INSTANCE_EXITED);
        CHECK_EQ(t, list[i].status, asked ? 15 : 3);
        CHECK_EQ(t, local_ops.instance_delete(p, list[i].id, &e), 0);
    }
    local_ops.close(p);
}

static void test_force(struct test *t)
{
    struct provider *p;
    struct instance_info info;
    struct err e = {0};
    CHECK_EQ(t, open_local(&p, &e), 0);
    CHECK_EQ(t, put(p, "force", "wait-deaf", &e), 0);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, local_ops.instance_stop(p, "force", 60000, &e), 0);
    CHECK_EQ(t, local_ops.instance_stop(p, "force", 100, &e), 0);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, info.state, INSTANCE_KILLED);
    CHECK_EQ(t, local_ops.instance_delete(p, "force", &e), 0);
    CHECK_EQ(t, put(p, "force", "wait", &e), 0);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, kill((pid_t)info.pid, SIGKILL), 0);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, info.state, INSTANCE_KILLED);
    CHECK_EQ(t, local_ops.instance_delete(p, "force", &e), 0);
    local_ops.close(p);
}

static void test_refusals(struct test *t)
{
    struct provider *p, *q = NULL;
    struct instance_info info;
    struct err e = {0};
    struct instance_spec s = {
        .id = "no", .image_path = "/nonexistent", .memory_bytes = 16 << 20, .cpus = 1};
    struct provider_config none = {
        .state_dir = state_dir, .kernel_path = guest, .hypervisor = "no-such-hypervisor"};
    CHECK_EQ(t, local_ops.open(&none, &q, &e), -ENOENT);
    CHECK(t, strstr(e.text, "install QEMU") != NULL);
    CHECK_EQ(t, open_local(&p, &e), 0);
    pid_t other = fork();
    if (other == 0)
        _exit(open_local(&q, &e) == -EBUSY ? 0 : 1);
    int status = -1;
    CHECK_EQ(t, waitpid(other, &status, 0), other);
    CHECK_EQ(t, status, 0);
    CHECK_EQ(t, local_ops.instance_put(p, &s, &e), -ENOENT);
    CHECK(t, strstr(e.text, "/nonexistent") != NULL);
    s.image_path = image_path;
    s.kernel_path = image_path;
    CHECK_EQ(t, local_ops.instance_put(p, &s, &e), -ENOEXEC);
    s.kernel_path = NULL;

    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(t, bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 1) == 0);
    CHECK_EQ(t, getsockname(fd, (struct sockaddr *)&a, &len), 0);
    s.net = (struct instance_net){.kind = INSTANCE_NET_USER,
                                  .forwards = {{{127, 0, 0, 1}, ntohs(a.sin_port), 80, false}},
                                  .forwards_n = 1};
    CHECK_EQ(t, local_ops.instance_put(p, &s, &e), -EADDRINUSE);
    s.net = (struct instance_net){.kind = INSTANCE_NET_BRIDGE, .bridge = "nobr", .dhcp = true};
    CHECK_EQ(t, local_ops.instance_put(p, &s, &e), -ENOENT);
    CHECK_EQ(t, local_ops.instance_list(p, &info, 1, &e), 0);
    local_ops.close(p);
}

static void test_hypervisor_that_fails(struct test *t)
{
    struct provider *p;
    struct instance_info info;
    struct err e = {0};
    struct provider_config c = {
        .state_dir = state_dir, .kernel_path = guest, .hypervisor = "/bin/cat"};
    CHECK_EQ(t, local_ops.open(&c, &p, &e), 0);
    CHECK_EQ(t, put(p, "fails", "exit=0", &e), 0);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, info.state, INSTANCE_KILLED);
    CHECK(t, strstr(info.text, "cat --help") != NULL);
    CHECK_EQ(t, local_ops.instance_delete(p, "fails", &e), 0);
    local_ops.close(p);
}

static void test_bridge(struct test *t)
{
    struct provider *p;
    struct instance_info info;
    struct err e = {0};
    struct rtnl rt;
    static const char *const args[] = {"wait"};
    struct instance_spec s = {.id = "bridged",
                              .image_path = image_path,
                              .memory_bytes = 16 << 20,
                              .cpus = 1,
                              .args = args,
                              .args_n = 1,
                              .net = {.kind = INSTANCE_NET_BRIDGE,
                                      .bridge = "br0",
                                      .address = {10, 0, 0, 2},
                                      .prefix_len = 24,
                                      .mac = {2, 0, 0, 0, 0, 7}}};
    if (unshare(CLONE_NEWNET) < 0)
        SKIP(t, "needs root");
    CHECK_EQ(t, rtnl_open(-1, &rt, &e), 0);
    CHECK_EQ(t, rtnl_bridge(&rt, "br0", &e), 0);
    rtnl_close(&rt);
    CHECK_EQ(t, open_local(&p, &e), 0);
    CHECK_EQ(t, local_ops.instance_put(p, &s, &e), 0);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, access("/sys/class/net", F_OK), 0);
    CHECK(t, if_nametoindex("sk020000000007") != 0);
    CHECK_EQ(t, local_ops.instance_stop(p, "bridged", 0, &e), 0);
    CHECK(t, next(p, &info));
    CHECK_EQ(t, if_nametoindex("sk020000000007"), 0);
    CHECK_EQ(t, local_ops.instance_delete(p, "bridged", &e), 0);
    local_ops.close(p);
}

/* Processes whose command line names our image. */
static int machines(void)
{
    char path[280], line[8192];
    int n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *de = readdir(d); de != NULL; de = readdir(d)) {
        snprintf(path, sizeof(path), "/proc/%s/cmdline", de->d_name);
        int fd = de->d_name[0] > '0' && de->d_name[0] <= '9' ? open(path, O_RDONLY) : -1;
        ssize_t len = fd >= 0 ? read(fd, line, sizeof(line)) : 0;
        n += len > 0 && memmem(line, (size_t)len, image_path, strlen(image_path)) != NULL;
        fd_closep(&fd);
    }
    closedir(d);
    return n;
}

/* A process that puts an instance is killed at many moments: whoever opens the folder next knows
 * every machine that runs. */
static void test_kill_while_putting(struct test *t)
{
    struct err e = {0};
    for (int i = 0; i < 12; i++) {
        struct provider *p;
        struct instance_info info;
        pid_t pid = fork();
        if (pid == 0) {
            if (open_local(&p, &e) == 0 && put(p, "killed", "wait-deaf", &e) == 0)
                pause();
            _exit(1);
        }
        poll(NULL, 0, 4 * i); // the moment is the point
        kill(pid, SIGKILL);
        CHECK_EQ(t, waitpid(pid, NULL, 0), pid);
        CHECK_EQ(t, open_local(&p, &e), 0);
        int n = local_ops.instance_list(p, &info, 1, &e);
        if (n == 1 && info.state == INSTANCE_RUNNING)
            CHECK_EQ(t, machines(), 1);
        if (n == 1)
            CHECK_EQ(t, local_ops.instance_stop(p, "killed", 0, &e), 0);
        while (running(p) > 0)
            CHECK(t, next(p, &info));
        if (n == 1)
            CHECK_EQ(t, local_ops.instance_delete(p, "killed", &e), 0);
        local_ops.close(p);
        CHECK_EQ(t, machines(), 0);
    }
}

static void test_nothing_is_left(struct test *t)
{
    struct provider *p;
    struct instance_info info;
    struct err e = {0};
    CHECK_EQ(t, open_local(&p, &e), 0);
    int n = local_ops.instance_list(p, &info, 1, &e);
    for (; n > 0; n = local_ops.instance_list(p, &info, 1, &e)) { // of a case that failed
        local_ops.instance_stop(p, info.id, 0, &e);
        while (local_ops.instance_delete(p, info.id, &e) == -EBUSY && next(p, &info))
            ;
        t->failed = true;
    }
    local_ops.close(p);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_life),
        TEST_CASE(test_ends),
        TEST_CASE(test_adoption),
        TEST_CASE(test_force),
        TEST_CASE(test_refusals),
        TEST_CASE(test_hypervisor_that_fails),
        TEST_CASE(test_bridge),
        TEST_CASE(test_kill_while_putting),
        TEST_CASE(test_nothing_is_left),
    };
    static const uint8_t zeros[4096];
    struct err e;
    guest = getenv("SKERRY_TEST_GUEST");
    if (guest == NULL || access("/usr/bin/qemu-system-x86_64", X_OK) != 0) {
        puts("TAP version 13\n1..0 # SKIP no guest or no QEMU");
        return 0;
    }
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
    snprintf(image_path, sizeof(image_path), "%s/image", folder);
    if (file_replace(image_path, zeros, sizeof(zeros), 0644, &e) < 0)
        return 1;
    int r = test_main(cases, ARRAY_LEN(cases));
    return file_remove_tree(folder, &e) < 0 ? 1 : r;
}
