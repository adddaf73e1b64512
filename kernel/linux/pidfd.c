// SPDX-License-Identifier: Apache-2.0
/* Descriptors of processes: they never come to mean another process. Linux 6.1 kernel/pid.c,
 * pidfd_fops in kernel/fork.c. */
#include "kernel/linux/pidfd.h"

#include "base/errno.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

static uint32_t pidfd_poll(struct file *f, struct waitq **ret_queue)
{
    struct process *p = f->priv;
    *ret_queue = &p->gone_wait;
    return __atomic_load_n(&p->zombie, __ATOMIC_ACQUIRE) ? EV_IN | EV_RDNORM : 0;
}

static int pidfd_stat(struct file *f UNUSED, struct kstat *ret)
{
    kstat_anon(ret, 0600, ANON_INO);
    return 0;
}

static void pidfd_release(struct file *f)
{
    process_put(f->priv);
}

static const struct file_ops pidfd_ops = {
    .name = "pidfd",
    .read = file_no_read,
    .write = file_no_write,
    .poll = pidfd_poll,
    .ioctl = file_no_ioctl,
    .seek = file_no_seek,
    .stat = pidfd_stat,
    .get_page = file_no_page,
    .release = pidfd_release,
};

struct file *pidfd_new(struct process *p, uint32_t flags)
{
    struct file *f = file_new(&pidfd_ops, FILE_RDWR | flags, p);
    if (f != NULL)
        process_ref(p);
    return f;
}

struct process *pidfd_process(int fd, bool *ret_nonblock)
{
    struct file *f = fd_get_io(fd);
    struct process *p = f != NULL && f->ops == &pidfd_ops ? process_ref(f->priv) : NULL;
    if (p != NULL)
        *ret_nonblock = (__atomic_load_n(&f->flags, __ATOMIC_RELAXED) & FILE_NONBLOCK) != 0;
    file_put(f);
    return p;
}

int64_t sys_pidfd_open(const uint64_t arg[static 6])
{
    int pid = (int)arg[0];
    uint32_t flags = (uint32_t)arg[1];
    if ((flags & ~(uint32_t)FILE_NONBLOCK) || pid <= 0)
        return -EINVAL;
    struct process *p = process_get(pid);
    if (p == NULL) {
        bool thread = task_find(pid) != NULL;
        task_find_end();
        return thread ? -EINVAL : -ESRCH;
    }
    struct file *f = pidfd_new(p, flags);
    process_put(p);
    if (f == NULL)
        return -ENOMEM;
    int fd = fd_install(f, 0, true);
    if (fd < 0)
        file_put(f);
    return fd;
}

/* Linux __ptrace_may_access with PTRACE_MODE_ATTACH_REALCREDS. */
static bool may_attach(struct process *p)
{
    const struct process *me = current()->process;
    const struct creds *c = &me->creds, *to = &p->creds;
    if (p == me || capable(CAP_SYS_PTRACE))
        return true;
    return c->uid == to->euid && c->uid == to->suid && c->uid == to->uid && c->gid == to->egid &&
           c->gid == to->sgid && c->gid == to->gid && !p->not_dumpable;
}

/* Another process's descriptor becomes one of this process too. */
static int64_t getfd(struct process *p, int from)
{
    if (!process_there(p))
        return -ESRCH;
    if (!may_attach(p))
        return -EPERM;
    struct fdtable *t = process_files(p);
    struct file *f = t != NULL ? fdtable_file(t, from) : NULL;
    fdtable_put(t);
    if (f == NULL)
        return -EBADF;
    int fd = fd_install(f, 0, true);
    if (fd < 0)
        file_put(f);
    return fd;
}

int64_t sys_pidfd_getfd(const uint64_t arg[static 6])
{
    bool nonblock;
    if ((uint32_t)arg[2] != 0)
        return -EINVAL;
    struct process *p = pidfd_process((int)arg[0], &nonblock);
    int64_t r = p != NULL ? getfd(p, (int)arg[1]) : -EBADF;
    process_put(p);
    return r;
}
