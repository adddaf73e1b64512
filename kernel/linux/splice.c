// SPDX-License-Identifier: Apache-2.0
/* splice(2) and tee(2): Linux 6.1 fs/splice.c. Bytes go through the pipe's pages. */
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/pipe.h"

enum { SPLICE_NONBLOCK = 2, SPLICE_ALL = 15, ACCMODE = 3 };

static bool may(const struct file *f, uint32_t mode)
{
    return (f->flags & ACCMODE) == mode || (f->flags & ACCMODE) == FILE_RDWR;
}

static bool is_stream(const struct file *f)
{
    return f->ops->seek == file_no_seek || f->ops->seek == file_noop_seek;
}

/* Where a file that is no pipe is read or written: *at (from user memory) or its own position. */
static int position(struct file *f, uint64_t user, uint64_t *at, uint64_t **ret_pos)
{
    if (user == 0) {
        *ret_pos = is_stream(f) ? NULL : &f->pos;
        return 0;
    }
    if (is_stream(f))
        return -EINVAL;
    if (copy_from_user(at, user, sizeof(*at)) < 0)
        return -EFAULT;
    *ret_pos = at;
    return (int64_t)*at < 0 ? -EINVAL : 0;
}

/* One side is a pipe: `file` is the other, at user offset `user`. */
static int64_t with_file(struct file *pipe, struct file *file, uint64_t user, uint64_t len,
                         bool to_pipe, bool nonblock)
{
    uint64_t at, *pos;
    int r = position(file, user, &at, &pos);
    if (r < 0)
        return r;
    if (!to_pipe && (file->flags & FILE_APPEND))
        return -EINVAL;
    bool lock = pos == &file->pos;
    if (lock)
        mutex_lock(&file->pos_lock);
    int64_t n = to_pipe ? pipe_splice_in(pipe, file, pos, len, nonblock)
                        : pipe_splice_out(pipe, file, pos, len, nonblock);
    if (lock)
        mutex_unlock(&file->pos_lock);
    if (n > 0 && user != 0 && copy_to_user(user, &at, sizeof(at)) < 0)
        return -EFAULT;
    return n;
}

static int64_t do_splice(struct file *in, uint64_t in_off, struct file *out, uint64_t out_off,
                         uint64_t len, bool nonblock)
{
    if (!may(in, 0) || !may(out, FILE_WRONLY))
        return -EBADF;
    if (is_pipe(in) && in_off != 0)
        return -ESPIPE;
    if (is_pipe(out) && out_off != 0)
        return -ESPIPE;
    if (is_pipe(in) && is_pipe(out)) {
        nonblock = nonblock || ((in->flags | out->flags) & FILE_NONBLOCK) != 0;
        return pipe_to_pipe(in, out, len, false, nonblock);
    }
    if (is_pipe(in))
        return with_file(in, out, out_off, len, false,
                         nonblock || (in->flags & FILE_NONBLOCK) != 0);
    if (is_pipe(out))
        return with_file(out, in, in_off, len, true, nonblock || (out->flags & FILE_NONBLOCK) != 0);
    return -EINVAL;
}

int64_t sys_splice(const uint64_t arg[static 6])
{
    enum { BYTES_MAX = 0x7ffff000 };
    uint32_t flags = (uint32_t)arg[5];
    if (arg[4] == 0)
        return 0;
    if (flags & ~(uint32_t)SPLICE_ALL)
        return -EINVAL;
    struct file *in = fd_get_io((int)arg[0]), *out = fd_get_io((int)arg[2]);
    int64_t r = -EBADF;
    if (in != NULL && out != NULL)
        r = do_splice(in, arg[1], out, arg[3], MIN(arg[4], (uint64_t)BYTES_MAX),
                      (flags & SPLICE_NONBLOCK) != 0);
    file_put(out);
    file_put(in);
    return r;
}

/* Write what fits now; only a full pipe is waited for (Linux vmsplice_to_pipe). */
static int64_t vmsplice_in(struct file *pipe, struct uio *u, bool nonblock)
{
    for (;;) {
        struct waitq *q;
        int64_t r = pipe->ops->write(pipe, u, NULL, true);
        if (r != -EAGAIN || nonblock)
            return r;
        (void)pipe->ops->poll(pipe, &q);
        if (WAIT_EVENT(q, EV_OUT | EV_ERR, pipe->ops->poll(pipe, &q) & (EV_OUT | EV_ERR),
                       DEADLINE_NEVER, true) < 0)
            return -ERESTARTSYS;
    }
}

/* The bytes are copied, so that what the program does to its memory later does not show. */
int64_t sys_vmsplice(const uint64_t arg[static 6])
{
    uint32_t flags = (uint32_t)arg[3];
    struct uio u;
    if (flags & ~(uint32_t)SPLICE_ALL)
        return -EINVAL;
    struct file *f = fd_get_io((int)arg[0]);
    struct uio_seg *segs = NULL;
    int64_t r = f == NULL ? -EBADF : arg[2] > UIO_SEGS_MAX ? -EINVAL : 0;
    if (r == 0 && arg[2] > 0 && (segs = kmalloc(arg[2] * sizeof(*segs))) == NULL)
        r = -ENOMEM;
    if (r == 0 && segs != NULL)
        r = uio_from_user(&u, segs, UIO_SEGS_MAX, arg[1], arg[2]);
    if (r == 0 && segs != NULL && u.left > 0) {
        bool nonblock = (flags & SPLICE_NONBLOCK) || (f->flags & FILE_NONBLOCK);
        if (!is_pipe(f))
            r = -EBADF;
        else
            r = may(f, FILE_WRONLY) ? vmsplice_in(f, &u, nonblock)
                                    : f->ops->read(f, &u, NULL, nonblock);
    }
    kfree(segs);
    file_put(f);
    return r;
}

int64_t sys_tee(const uint64_t arg[static 6])
{
    uint32_t flags = (uint32_t)arg[3];
    if (flags & ~(uint32_t)SPLICE_ALL)
        return -EINVAL;
    if (arg[2] == 0)
        return 0;
    struct file *in = fd_get_io((int)arg[0]), *out = fd_get_io((int)arg[1]);
    int64_t r = -EBADF;
    if (in != NULL && out != NULL && may(in, 0) && may(out, FILE_WRONLY)) {
        bool nonblock = (flags & SPLICE_NONBLOCK) || ((in->flags | out->flags) & FILE_NONBLOCK);
        r = is_pipe(in) && is_pipe(out) ? pipe_to_pipe(in, out, arg[2], true, nonblock) : -EINVAL;
    }
    file_put(out);
    file_put(in);
    return r;
}
