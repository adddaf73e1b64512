// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/file.h"
#include "host/proc.h"
#include "provider/local/host.h"
#include "provider/local/local.h"
#include "provider/local/status.h"

enum { CONSOLE_STEP = 16 * 1024, LAST_READS_MAX = 1024 };

// What a pipe brought, cut at its end.
struct text {
    size_t len;
    char bytes[STATUS_BYTES_MAX + 1];
};

struct run {
    const struct local_foreground *io;
    struct proc qemu;
    int console; // a socket to the guest's console
    int status;  // read end of a pipe
    int output;  // read end of a pipe: what QEMU itself prints
    struct text status_text, output_text;
    int asked_by;     // the signal that asked for the end; 0: none yet
    int64_t deadline; // of the grace, CLOCK_MONOTONIC ms; 0: none
    bool forced;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int set_nonblocking(int fd)
{
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Start QEMU with the far ends of our channels; they are closed here afterwards. */
static int start(struct run *u, struct qemu_request *q, int console, int status, int output,
                 int tap, struct err *e)
{
    char console_words[64], status_path[64];
    struct qemu_command *c = malloc(sizeof(*c));
    if (c == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    snprintf(console_words, sizeof(console_words), "socket,fd=%d", console);
    snprintf(status_path, sizeof(status_path), "/proc/self/fd/%d", status);
    q->console = console_words;
    q->status = status_path;
    q->tap_fd = tap;
    int r = qemu_command_make(q, c, e);
    if (r == 0) {
        struct proc_spec spec = proc_spec_of(c->words);
        spec.stdout_fd = output;
        spec.stderr_fd = output;
        spec.keep_fds[spec.keep_fds_len++] = console;
        spec.keep_fds[spec.keep_fds_len++] = status;
        if (tap >= 0)
            spec.keep_fds[spec.keep_fds_len++] = tap;
        spec.new_session = true;
        spec.parent_death_signal = SIGKILL;
        r = proc_spawn(&spec, &u->qemu, e);
    }
    free(c);
    return r;
}

static int open_channels(struct run *u, struct qemu_request *q, int tap, struct err *e)
{
    int console[2] = {-1, -1}, status[2] = {-1, -1}, output[2] = {-1, -1}, r = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0 ||
        pipe2(status, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0)
        r = err_set(e, -errno, "cannot make channels to QEMU: %s", strerror(errno));
    r = r < 0 ? r : start(u, q, console[1], status[1], output[1], tap, e);
    fd_closep(&console[1]);
    fd_closep(&status[1]);
    fd_closep(&output[1]);
    u->console = console[0];
    u->status = status[0];
    u->output = output[0];
    if (r == 0 && (set_nonblocking(u->console) < 0 || set_nonblocking(u->status) < 0 ||
                   set_nonblocking(u->output) < 0))
        r = err_set(e, -errno, "cannot prepare channels to QEMU: %s", strerror(errno));
    return r;
}

/* Read what is there into a text, dropping what does not fit; false at the end. */
static bool drain_text(int fd, struct text *t)
{
    char spill[512];
    size_t room = STATUS_BYTES_MAX - t->len;
    ssize_t n = room > 0 ? read(fd, t->bytes + t->len, room) : read(fd, spill, sizeof(spill));
    if (n > 0 && room > 0)
        t->len += (size_t)n;
    t->bytes[t->len] = '\0';
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* 1 some was passed on, 0 none is there now, -EPIPE the end, or what writing said. */
static int pass_console(struct run *u)
{
    char bytes[CONSOLE_STEP];
    ssize_t n = read(u->console, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -EPIPE;
    int r = file_write_all(u->io->console_fd, bytes, (size_t)n);
    return r < 0 ? r : 1;
}

/* First ask the program, then force. */
static void on_signal(struct run *u)
{
    struct signalfd_siginfo info;
    if (read(u->io->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (u->asked_by != 0) {
        u->forced = true;
        proc_kill(&u->qemu, SIGKILL);
        return;
    }
    u->asked_by = (int)info.ssi_signo;
    u->deadline = now_ms() + u->io->grace_ms;
    char byte = u->asked_by == SIGINT ? BOOT_CONSOLE_INT : BOOT_CONSOLE_TERM;
    if (write(u->console, &byte, 1) != 1)
        u->deadline = now_ms();
}

static int wait_ms(const struct run *u)
{
    if (u->deadline == 0 || u->forced)
        return -1;
    return (int)MAX(u->deadline - now_ms(), (int64_t)0);
}

/* Until QEMU ends. Once its console cannot be passed on, it is ended too. */
static int loop(struct run *u, struct err *e)
{
    struct pollfd p[] = {{.fd = u->qemu.pidfd, .events = POLLIN},
                         {.fd = u->console, .events = POLLIN},
                         {.fd = u->status, .events = POLLIN},
                         {.fd = u->output, .events = POLLIN},
                         {.fd = u->io->signal_fd, .events = POLLIN}};
    int failed = 0;
    while ((p[0].revents & POLLIN) == 0) {
        if (poll(p, ARRAY_LEN(p), wait_ms(u)) < 0 && errno != EINTR)
            return err_set(e, -errno, "poll: %s", strerror(errno));
        int r = p[1].revents != 0 ? pass_console(u) : 0;
        if (r < 0) {
            p[1].fd = -1;
            failed = r != -EPIPE ? r : failed;
        }
        if (p[2].revents != 0 && !drain_text(u->status, &u->status_text))
            p[2].fd = -1;
        if (p[3].revents != 0 && !drain_text(u->output, &u->output_text))
            p[3].fd = -1;
        if (p[4].revents != 0)
            on_signal(u);
        if (failed < 0 || (wait_ms(u) == 0 && !u->forced)) {
            u->forced = true;
            proc_kill(&u->qemu, SIGKILL);
        }
    }
    return failed < 0 ? err_set(e, failed, "cannot write the console: %s", strerror(-failed)) : 0;
}

/* What QEMU left in its channels when it ended. */
static void drain_all(struct run *u)
{
    for (int i = 0; i < LAST_READS_MAX && pass_console(u) > 0; i++)
        ;
    for (int i = 0; i < 2; i++) {
        drain_text(u->status, &u->status_text);
        drain_text(u->output, &u->output_text);
    }
}

static int run(struct run *u, struct instance_info *ret, struct err *e)
{
    int status, r = loop(u, e);
    if (r < 0) {
        proc_kill(&u->qemu, SIGKILL);
        int ignored = proc_wait(&u->qemu, PROC_FOREVER, &status);
        (void)ignored;
        return r;
    }
    drain_all(u);
    r = proc_wait(&u->qemu, PROC_FOREVER, &status);
    if (r < 0)
        return err_set(e, r, "cannot learn how QEMU ended: %s", strerror(-r));
    status_parse(u->status_text.bytes, u->status_text.len, ret);
    status_end(ret, u->output_text.bytes);
    if (ret->state == INSTANCE_KILLED && u->forced)
        ret->status = u->asked_by;
    return 0;
}

int local_run(const struct provider_config *config, const struct instance_spec *spec,
              const struct local_foreground *io, struct instance_info *ret, struct err *e)
{
    struct local_host *host = malloc(sizeof(*host));
    struct run *u = calloc(1, sizeof(*u));
    struct qemu_request q;
    CLEANUP(fd_closep) int tap = -1;
    *ret = (struct instance_info){0};
    int r = host != NULL && u != NULL ? instance_spec_check(spec, e)
                                      : err_set(e, -ENOMEM, "out of memory");
    r = r < 0 ? r : local_host_init(host, config, e);
    r = r < 0 ? r : local_check_file("image", spec->image_path, e);
    r = r < 0 ? r : local_check_ports(&spec->net, e);
    if (r == 0 && spec->gdb_port != 0)
        r = local_check_port(
            &(struct instance_forward){.host_address = {127, 0, 0, 1}, .host_port = spec->gdb_port},
            e);
    if (r == 0 && spec->net.kind == INSTANCE_NET_BRIDGE)
        r = tap = local_tap(spec, e);
    if (r >= 0) {
        u->io = io;
        u->console = u->status = u->output = -1;
        local_request(host, spec, &q);
        r = open_channels(u, &q, tap, e);
        if (r == 0 && io->on_start != NULL)
            io->on_start(io->ctx, q.kernel_path, q.kvm);
        r = r < 0 ? r : run(u, ret, e);
        fd_closep(&u->console);
        fd_closep(&u->status);
        fd_closep(&u->output);
    }
    snprintf(ret->id, sizeof(ret->id), "%s", spec->id);
    free(host);
    free(u);
    return MIN(r, 0);
}
