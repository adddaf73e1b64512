// SPDX-License-Identifier: Apache-2.0
/* System calls of guest tests over shim_host.c: see shim_calls_host.h. */
#include <stdio.h>
#include <unistd.h>

#include "kernel/drivers/block.h"
#include "kernel/linux/syscall.h"
#include "kernel/sched/timer.h"
#include "kernel/socket/shim_host.h"
#include "kernel/socket/socket.h"
#include "kernel/vfs/fd.h"

long shim_call(int number, long a, long b, long c, long d, long e, long f);
int shim_fcntl(int fd, int cmd, long arg);
struct pollfd;
int shim_poll(struct pollfd *p, unsigned long n, int timeout_ms);
int guest_main(void);
int *__errno_location(void);

static int64_t io_call(int number, const uint64_t *arg)
{
    enum { READ, WRITE, LSEEK = 8, IOCTL = 16, READV = 19 };
    struct uio_seg segs[16];
    struct uio u = uio_one(segs, arg[1], arg[2], false);
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    bool nonblock = f->flags & FILE_NONBLOCK;
    int64_t r = number == READV ? uio_from_user(&u, segs, 16, arg[1], arg[2]) : 0;
    if (r == 0 && (number == READ || number == READV))
        r = f->ops->read(f, &u, NULL, nonblock);
    else if (r == 0 && number == WRITE)
        r = f->ops->write(f, &u, NULL, nonblock);
    else if (r == 0 && number == IOCTL)
        r = f->ops->ioctl(f, (uint32_t)arg[1], arg[2]);
    else if (r == 0 && number == LSEEK)
        r = f->ops->seek(f, (int64_t)arg[1], (int)arg[2]);
    file_put(f);
    return r;
}

long shim_call(int number, long a, long b, long c, long d, long e, long f)
{
    const uint64_t arg[6] = {(uint64_t)a, (uint64_t)b, (uint64_t)c,
                             (uint64_t)d, (uint64_t)e, (uint64_t)f};
    int64_t r = -ENOSYS;
    shim_enter();
    switch (number) {
#define X(nr, name, ...)                                                                           \
    case nr:                                                                                       \
        r = sys_##name(arg);                                                                       \
        break;
#include "kernel/linux/table_socket.h"
#undef X
    case 3:
        r = fd_close((int)a);
        break;
    default:
        r = io_call(number, arg);
        break;
    }
    shim_leave();
    if (r >= 0)
        return r;
    *__errno_location() = r == -ERESTARTSYS ? EINTR : (int)-r;
    return -1;
}

int shim_fcntl(int fd, int cmd, long arg)
{
    enum { GETFD = 1, GETFL = 3, SETFL = 4 };
    shim_enter();
    struct file *f = fd_get_io(fd);
    int r = -1;
    if (f != NULL && cmd == GETFD)
        r = shim_cloexec(fd);
    else if (f != NULL && cmd == GETFL)
        r = (int)f->flags;
    else if (f != NULL && cmd == SETFL)
        r = 0 * (int)(f->flags =
                          (f->flags & ~(uint32_t)FILE_NONBLOCK) | ((uint32_t)arg & FILE_NONBLOCK));
    file_put(f);
    shim_leave();
    return r;
}

struct host_pollfd { // struct pollfd, whose header would clash with ours
    int fd;
    short events, revents;
};

int shim_poll(struct pollfd *fds_user, unsigned long n, int timeout_ms)
{
    struct host_pollfd *p = (void *)fds_user;
    uint64_t deadline =
        timeout_ms < 0 ? DEADLINE_NEVER : clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    struct task_waiter w;
    struct waitq nothing, *q = &nothing;
    uint32_t ready = 0;
    waitq_init(&nothing);
    shim_enter();
    struct file *f = n > 0 ? fd_get_io(p->fd) : NULL; // one descriptor is all that tests ask for
    if (f != NULL)
        f->ops->poll(f, &q);
    task_wait_begin(&w, q, EV_ALL, false);
    for (;;) {
        task_prepare_sleep();
        if (f != NULL)
            ready = f->ops->poll(f, &q) & ((uint16_t)p->events | EV_ERR | EV_HUP);
        if (ready != 0 || task_sleep(deadline, true) < 0)
            break;
    }
    task_wait_end(&w, q);
    if (n > 0)
        p->revents = (short)ready;
    file_put(f);
    shim_leave();
    return ready != 0;
}

static int64_t no_io(struct file *f UNUSED, struct uio *u UNUSED, uint64_t *pos UNUSED,
                     bool nonblock UNUSED)
{
    return -EINVAL;
}

int main(void)
{
    static const struct file_ops other_ops = {.name = "other", .read = no_io, .write = no_io};
    shim_start_timers();
    shim_enter();
    for (int i = 0; i < 3; i++) {
        if (fd_install(file_new(&other_ops, FILE_RDWR, NULL), 0, false) != i)
            return 1;
    }
    socket_init();
    shim_leave();
    int r = guest_main();
    fflush(stdout);
    if (shim_console[0] != 0)
        fprintf(stderr, "%s", shim_console);
    _exit(r);
}
