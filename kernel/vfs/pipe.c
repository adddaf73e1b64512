// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/pipe.h"

#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/tree.h"
#include "kernel/vfs/vfs.h"

enum { SIGPIPE = 13, FIONREAD = 0x541b };

struct slot {
    struct page *page;
    uint32_t offset, len; // bytes of the page that wait
    bool packet;          // read on its own, never merged
};

struct pipe {
    struct mutex lock;                // protects all but the queues and ino
    struct slot *slots;               // ring
    unsigned slots_max;               // a power of two
    unsigned head;                    // next to fill; free-running
    unsigned tail;                    // next to read
    struct page *spare;               // an emptied page, kept for the next write
    unsigned readers, writers;        // files that are open for it
    unsigned read_opens, write_opens; // how often it was opened so: for fifo_open
    uint32_t refs;                    // atomic: files
    bool both;                        // a file is open for both: its poll waits at read_wait only
    struct waitq read_wait, write_wait;
    uint64_t ino; // immutable
};

static bool is_empty(const struct pipe *p)
{
    return __atomic_load_n(&p->head, __ATOMIC_ACQUIRE) ==
           __atomic_load_n(&p->tail, __ATOMIC_ACQUIRE);
}

static bool is_full(const struct pipe *p)
{
    return __atomic_load_n(&p->head, __ATOMIC_ACQUIRE) -
               __atomic_load_n(&p->tail, __ATOMIC_ACQUIRE) >=
           __atomic_load_n(&p->slots_max, __ATOMIC_RELAXED);
}

static bool has_writers(const struct pipe *p)
{
    return __atomic_load_n(&p->writers, __ATOMIC_ACQUIRE) > 0;
}

static bool has_readers(const struct pipe *p)
{
    return __atomic_load_n(&p->readers, __ATOMIC_ACQUIRE) > 0;
}

static struct slot *slot_at(struct pipe *p, unsigned i)
{
    return &p->slots[i & (p->slots_max - 1)];
}

/* Nobody else looks at the page: another pipe may share it after tee or splice. */
static bool is_own(const struct page *page)
{
    return __atomic_load_n(&page->refs, __ATOMIC_ACQUIRE) == 1;
}

static void wake_readers(struct pipe *p)
{
    waitq_wake(&p->read_wait, EV_IN | EV_RDNORM, 1);
}

static void wake_writers(struct pipe *p)
{
    waitq_wake(&p->write_wait, EV_OUT | EV_WRNORM, 1);
    if (UNLIKELY(p->both))
        waitq_wake(&p->read_wait, EV_OUT | EV_WRNORM, 1);
}

/* The slot at the tail, s, is read: keep or free its page. */
ALWAYS_INLINE void slot_done(struct pipe *p, struct slot *s)
{
    struct page *page = s->page;
    s->page = NULL;
    if (p->spare == NULL && is_own(page))
        p->spare = page;
    else
        page_put(page);
    __atomic_store_n(&p->tail, p->tail + 1, __ATOMIC_RELEASE);
}

/* Move what there is into u: bytes, 0 when the pipe is empty, -EFAULT. */
ALWAYS_INLINE int64_t drain(struct pipe *p, struct uio *u)
{
    int64_t done = 0;
    while (u->left > 0 && p->tail != p->head) {
        struct slot *s = slot_at(p, p->tail);
        size_t n = MIN(u->left, (size_t)s->len);
        if (uio_put(u, (char *)page_virt(s->page) + s->offset, n) < 0)
            return done > 0 ? done : -EFAULT;
        done += (int64_t)n;
        s->offset += (uint32_t)n;
        s->len -= (uint32_t)n;
        bool packet = s->packet;
        if (s->len == 0 || packet)
            slot_done(p, s);
        if (packet)
            break; // the rest of a packet is dropped
    }
    return done;
}

/* What most reads are: all of the one slot that waits. Bytes, 0: not so, -EFAULT. */
ALWAYS_INLINE int64_t read_slot(struct pipe *p, struct uio *u)
{
    int64_t r = 0;
    mutex_lock(&p->lock);
    struct slot *s = slot_at(p, p->tail);
    if (LIKELY(p->head - p->tail == 1 && p->slots_max > 1 && s->len <= u->left)) {
        r = s->len;
        if (UNLIKELY(uio_put_hot(u, (char *)page_virt(s->page) + s->offset, s->len) < 0))
            r = -EFAULT;
        else
            slot_done(p, s);
    }
    mutex_unlock(&p->lock);
    return r;
}

/* One go at reading under the lock: bytes, 0 at the end, -EFAULT, -EAGAIN: empty. */
static __attribute__((noinline)) int64_t read_some(struct pipe *p, struct uio *u, bool slept)
{
    mutex_lock(&p->lock);
    unsigned slots_max = p->slots_max;
    bool was_full = p->head - p->tail >= slots_max;
    int64_t r = drain(p, u);
    unsigned left = p->head - p->tail;
    bool end = p->writers == 0;
    mutex_unlock(&p->lock);
    if (UNLIKELY(was_full) && left < slots_max)
        wake_writers(p);
    if (r == 0)
        return end ? 0 : -EAGAIN;
    if (left > 0 && slept)
        wake_readers(p); // another reader's turn
    return r;
}

/* Until there may be something to read: 0, or -EINTR when there is not. */
static __attribute__((noinline)) int wait_readable(struct pipe *p)
{
    struct task_waiter w;
    int r = 0;
    task_wait_arm(&w, &p->read_wait, EV_IN | EV_HUP);
    if (is_empty(p) && has_writers(p))
        r = task_sleep(DEADLINE_NEVER, true);
    task_wait_disarm(&w, &p->read_wait);
    return r < 0 && is_empty(p) && has_writers(p) ? r : 0;
}

static int64_t pipe_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct pipe *p = f->priv;
    if (u->left == 0)
        return 0;
    for (bool slept = false;; slept = true) {
        if (!is_empty(p) || !has_writers(p)) { // else there is nothing to take the lock for
            int64_t r = read_slot(p, u);
            if (LIKELY(r != 0))
                return r;
            r = read_some(p, u, slept);
            if (r != -EAGAIN)
                return r;
        }
        if (nonblock)
            return -EAGAIN;
        if (wait_readable(p) < 0)
            return -ERESTARTSYS;
    }
}

/* Append to the last page when all of the odd bytes fit there, so that small writes share pages. */
ALWAYS_INLINE int64_t merge(struct pipe *p, struct uio *u)
{
    size_t odd = u->left % PAGE_SIZE;
    if (odd == 0 || p->tail == p->head)
        return 0;
    struct slot *s = slot_at(p, p->head - 1);
    if (s->packet || s->offset + s->len + odd > PAGE_SIZE || !is_own(s->page))
        return 0;
    if (uio_take(u, (char *)page_virt(s->page) + s->offset + s->len, odd) < 0)
        return -EFAULT;
    s->len += (uint32_t)odd;
    return (int64_t)odd;
}

static struct page *page_take(struct pipe *p)
{
    struct page *page = p->spare;
    p->spare = NULL;
    return page != NULL ? page : page_alloc(0);
}

static void slot_push(struct pipe *p, struct slot s)
{
    *slot_at(p, p->head) = s;
    __atomic_store_n(&p->head, p->head + 1, __ATOMIC_RELEASE);
}

/* Fill free slots: bytes, -EFAULT, -ENOMEM. */
ALWAYS_INLINE int64_t fill(struct pipe *p, struct uio *u, bool packet)
{
    int64_t done = 0;
    while (u->left > 0 && p->head - p->tail < p->slots_max) {
        struct page *page = page_take(p);
        if (page == NULL)
            return done > 0 ? done : -ENOMEM;
        size_t n = MIN(u->left, (size_t)PAGE_SIZE);
        if (uio_take(u, page_virt(page), n) < 0) {
            page_put(page);
            return done > 0 ? done : -EFAULT;
        }
        slot_push(p, (struct slot){.page = page, .len = (uint32_t)n, .packet = packet});
        done += (int64_t)n;
    }
    return done;
}

/* One go at writing under the lock: bytes moved (0: full) or -errno. */
static int64_t write_some(struct pipe *p, struct uio *u, bool packet, bool first)
{
    if (p->readers == 0) {
        signal_send_task(current(), SIGPIPE);
        return -EPIPE;
    }
    int64_t merged = first && !packet ? merge(p, u) : 0;
    if (merged < 0)
        return merged;
    int64_t r = fill(p, u, packet);
    return r < 0 && merged > 0 ? merged : r < 0 ? r : r + merged;
}

static __attribute__((noinline)) int wait_writable(struct pipe *p)
{
    return WAIT_EVENT(&p->write_wait, EV_OUT | EV_ERR, !is_full(p) || !has_readers(p),
                      DEADLINE_NEVER, true);
}

/* What most writes are: less than a page into an empty pipe. Bytes, 0: not so, -EFAULT. */
ALWAYS_INLINE int64_t write_slot(struct pipe *p, struct uio *u, bool packet)
{
    size_t n = u->left;
    int64_t r = 0;
    mutex_lock(&p->lock);
    struct page *page = p->spare;
    if (LIKELY(p->head == p->tail && page != NULL && n - 1 < PAGE_SIZE && p->readers > 0)) {
        r = (int64_t)n;
        if (UNLIKELY(uio_take_hot(u, page_virt(page), n) < 0)) {
            r = -EFAULT;
        } else {
            struct slot *s = slot_at(p, p->head);
            p->spare = NULL;
            s->page = page;
            s->offset = 0;
            s->len = (uint32_t)n;
            s->packet = packet;
            __atomic_store_n(&p->head, p->head + 1, __ATOMIC_RELEASE);
        }
    }
    mutex_unlock(&p->lock);
    if (LIKELY(r > 0))
        wake_readers(p);
    return r;
}

static __attribute__((noinline)) int64_t write_all(struct file *f, struct uio *u, bool nonblock)
{
    struct pipe *p = f->priv;
    bool packet = (f->flags & FILE_DIRECT) != 0, first = true, slept = false;
    int64_t done = 0;
    while (u->left > 0) {
        mutex_lock(&p->lock);
        int64_t r = write_some(p, u, packet, first);
        bool room = p->head - p->tail < p->slots_max;
        mutex_unlock(&p->lock);
        first = false;
        if (r > 0)
            wake_readers(p);
        if (r < 0)
            return done > 0 ? done : r;
        done += r;
        if (u->left == 0)
            break;
        if (room)
            continue;
        if (nonblock)
            return done > 0 ? done : -EAGAIN;
        if (wait_writable(p) < 0)
            return done > 0 ? done : -ERESTARTSYS;
        slept = true;
    }
    if (slept && !is_full(p))
        wake_writers(p);
    return done;
}

static int64_t pipe_write(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    int64_t r = write_slot(f->priv, u, (f->flags & FILE_DIRECT) != 0);
    return LIKELY(r != 0) ? r : write_all(f, u, nonblock);
}

static uint32_t read_end_poll(struct file *f, struct waitq **ret_queue)
{
    struct pipe *p = f->priv;
    *ret_queue = &p->read_wait;
    // A named pipe that no writer has opened since this file was is not hung up yet.
    bool hup = !has_writers(p) && f->pos != __atomic_load_n(&p->write_opens, __ATOMIC_RELAXED);
    return (is_empty(p) ? 0 : EV_IN | EV_RDNORM) | (hup ? EV_HUP : 0);
}

static uint32_t write_end_poll(struct file *f, struct waitq **ret_queue)
{
    struct pipe *p = f->priv;
    *ret_queue = &p->write_wait;
    return (is_full(p) ? 0 : EV_OUT | EV_WRNORM) | (has_readers(p) ? 0 : EV_ERR);
}

static int64_t pipe_ioctl(struct file *f, uint32_t cmd, uint64_t arg)
{
    struct pipe *p = f->priv;
    if (cmd != FIONREAD)
        return -ENOTTY;
    int32_t bytes = 0;
    mutex_lock(&p->lock);
    for (unsigned i = p->tail; i != p->head; i++)
        bytes += (int32_t)slot_at(p, i)->len;
    mutex_unlock(&p->lock);
    return copy_to_user(arg, &bytes, sizeof(bytes));
}

static int pipe_stat(struct file *f, struct kstat *ret)
{
    const struct pipe *p = f->priv;
    if (f->inode != NULL)
        inode_stat(f->inode, ret);
    else
        kstat_anon(ret, S_FIFO | 0600, p->ino);
    return 0;
}

static struct spinlock fifo_lock; // protects inode.fifo and that a reference is taken through it

static void pipe_free(struct pipe *p)
{
    while (!is_empty(p))
        slot_done(p, slot_at(p, p->tail));
    if (p->spare != NULL)
        page_put(p->spare);
    kfree(p->slots);
    kfree(p);
}

/* A file on the pipe is gone. */
static void pipe_put(struct pipe *p, struct inode *inode)
{
    if (inode != NULL)
        spin_lock(&fifo_lock);
    bool last = __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0;
    if (last && inode != NULL)
        inode->fifo = NULL;
    if (inode != NULL)
        spin_unlock(&fifo_lock);
    if (last)
        pipe_free(p);
}

static void ends_release(struct file *f, bool reads, bool writes)
{
    struct pipe *p = f->priv;
    mutex_lock(&p->lock);
    __atomic_store_n(&p->readers, p->readers - reads, __ATOMIC_RELEASE);
    __atomic_store_n(&p->writers, p->writers - writes, __ATOMIC_RELEASE);
    bool alone = (p->readers == 0) != (p->writers == 0);
    mutex_unlock(&p->lock);
    if (alone) {
        waitq_wake(&p->read_wait, EV_IN | EV_RDNORM | EV_ERR | EV_HUP, UINT32_MAX);
        waitq_wake(&p->write_wait, EV_OUT | EV_WRNORM | EV_ERR | EV_HUP, UINT32_MAX);
    }
    pipe_put(p, f->inode);
}

static void read_end_release(struct file *f)
{
    ends_release(f, true, false);
}

static void write_end_release(struct file *f)
{
    ends_release(f, false, true);
}

static void both_ends_release(struct file *f)
{
    ends_release(f, true, true);
}

static uint32_t both_ends_poll(struct file *f, struct waitq **ret_queue)
{
    struct pipe *p = f->priv;
    *ret_queue = &p->read_wait;
    return (is_empty(p) ? 0 : EV_IN | EV_RDNORM) | (is_full(p) ? 0 : EV_OUT | EV_WRNORM);
}

static int64_t end_refuse(struct file *f UNUSED, struct uio *u UNUSED, uint64_t *pos UNUSED,
                          bool nonblock UNUSED)
{
    return -EBADF;
}

static const struct file_ops read_end_ops = {
    .name = "pipe",
    .read = pipe_read,
    .write = end_refuse,
    .poll = read_end_poll,
    .ioctl = pipe_ioctl,
    .seek = file_no_seek,
    .stat = pipe_stat,
    .get_page = file_no_page,
    .release = read_end_release,
    .async = true,
};

static const struct file_ops write_end_ops = {
    .name = "pipe",
    .read = end_refuse,
    .write = pipe_write,
    .poll = write_end_poll,
    .ioctl = pipe_ioctl,
    .seek = file_no_seek,
    .stat = pipe_stat,
    .get_page = file_no_page,
    .release = write_end_release,
    .async = true,
};

static const struct file_ops both_ends_ops = {
    .name = "pipe",
    .read = pipe_read,
    .write = pipe_write,
    .poll = both_ends_poll,
    .ioctl = pipe_ioctl,
    .seek = file_no_seek,
    .stat = pipe_stat,
    .get_page = file_no_page,
    .release = both_ends_release,
    .async = true,
};

static struct pipe *pipe_make(void)
{
    struct pipe *p = kzalloc(sizeof(*p));
    if (p == NULL)
        return NULL;
    p->slots = kzalloc(PIPE_SLOTS_DEFAULT * sizeof(*p->slots));
    if (p->slots == NULL) {
        kfree(p);
        return NULL;
    }
    p->slots_max = PIPE_SLOTS_DEFAULT;
    mutex_init(&p->lock);
    waitq_init(&p->read_wait);
    waitq_init(&p->write_wait);
    return p;
}

int pipe_new(uint32_t flags, struct file **ret_read, struct file **ret_write)
{
    struct pipe *p = pipe_make();
    struct file *r = file_new(&read_end_ops, flags, p);
    struct file *w = file_new(&write_end_ops, flags | FILE_WRONLY, p);
    if (p == NULL || r == NULL || w == NULL) {
        kfree(r);
        kfree(w);
        if (p != NULL)
            pipe_free(p);
        return -ENOMEM;
    }
    p->readers = p->writers = 1;
    p->read_opens = p->write_opens = 1;
    p->refs = 2;
    p->ino = vfs_anon_ino();
    *ret_read = r;
    *ret_write = w;
    return 0;
}

// --- named pipes ---

/* The pipe behind the inode, made when nobody has it open, with a reference; or NULL. */
static struct pipe *fifo_get(struct inode *inode)
{
    struct pipe *fresh = pipe_make();
    if (fresh == NULL)
        return NULL;
    spin_lock(&fifo_lock);
    if (inode->fifo == NULL)
        inode->fifo = TAKE(fresh);
    struct pipe *p = inode->fifo;
    p->refs++;
    spin_unlock(&fifo_lock);
    if (fresh != NULL)
        pipe_free(fresh);
    return p;
}

/* Wait, locked before and after, until somebody opens the other end: 0 or -ERESTARTSYS. */
static int wait_partner(struct pipe *p, const unsigned *opens)
{
    unsigned before = *opens;
    mutex_unlock(&p->lock);
    int r = WAIT_EVENT(&p->read_wait, EV_PRI, __atomic_load_n(opens, __ATOMIC_ACQUIRE) != before,
                       DEADLINE_NEVER, true);
    mutex_lock(&p->lock);
    return r < 0 && *opens == before ? -ERESTARTSYS : 0;
}

/* Linux fifo_open; the pipe is locked. */
static int ends_open(struct pipe *p, struct file *f, bool reads, bool writes, bool named)
{
    bool nonblock = (f->flags & FILE_NONBLOCK) != 0;
    if (writes && !reads && named && nonblock && p->readers == 0)
        return -ENXIO;
    f->pos = UINT64_MAX;
    __atomic_store_n(&p->readers, p->readers + reads, __ATOMIC_RELEASE);
    __atomic_store_n(&p->writers, p->writers + writes, __ATOMIC_RELEASE);
    __atomic_store_n(&p->read_opens, p->read_opens + reads, __ATOMIC_RELEASE);
    __atomic_store_n(&p->write_opens, p->write_opens + writes, __ATOMIC_RELEASE);
    p->both = p->both || (reads && writes);
    waitq_wake(&p->read_wait, EV_PRI, UINT32_MAX);
    int r = 0;
    if (reads && !writes && named && p->writers == 0) {
        if (nonblock)
            f->pos = p->write_opens;
        else
            r = wait_partner(p, &p->write_opens);
    } else if (writes && !reads && named && p->readers == 0) {
        r = wait_partner(p, &p->read_opens);
    }
    if (r < 0) {
        __atomic_store_n(&p->readers, p->readers - reads, __ATOMIC_RELEASE);
        __atomic_store_n(&p->writers, p->writers - writes, __ATOMIC_RELEASE);
    }
    return r;
}

/* Make f a file on the pipe, whose reference it takes over on success. */
static int file_on_pipe(struct pipe *p, struct file *f, bool named)
{
    static const struct file_ops *const ops[] = {&read_end_ops, &write_end_ops, &both_ends_ops};
    enum { ACCMODE = 3 };
    uint32_t mode = f->flags & ACCMODE;
    if (mode > FILE_RDWR)
        return -EINVAL;
    mutex_lock(&p->lock);
    int r = ends_open(p, f, mode != FILE_WRONLY, mode != 0, named);
    mutex_unlock(&p->lock);
    if (r < 0)
        return r;
    f->ops = ops[mode];
    f->priv = p;
    return 0;
}

int fifo_open(struct inode *inode, struct file *f)
{
    struct pipe *p = fifo_get(inode);
    if (p == NULL)
        return -ENOMEM;
    int r = file_on_pipe(p, f, true);
    if (r < 0)
        pipe_put(p, inode);
    return r;
}

int pipe_reopen(struct file *pipe, uint32_t flags, struct file **ret)
{
    struct pipe *p = pipe->priv;
    struct file *f = file_new(&read_end_ops, flags, p);
    if (f == NULL)
        return -ENOMEM;
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
    int r = file_on_pipe(p, f, false);
    if (r < 0) {
        pipe_put(p, NULL);
        kfree(f);
        return r;
    }
    *ret = f;
    return 0;
}

static struct pipe *pipe_of(struct file *f)
{
    return is_pipe(f) ? f->priv : NULL;
}

int64_t pipe_size(struct file *f)
{
    const struct pipe *p = pipe_of(f);
    return p == NULL ? -EBADF : (int64_t)p->slots_max * PAGE_SIZE;
}

int64_t pipe_resize(struct file *f, uint64_t bytes)
{
    struct pipe *p = pipe_of(f);
    if (p == NULL)
        return -EBADF;
    if (bytes > (uint64_t)INT32_MAX)
        return -EINVAL;
    unsigned max = 1;
    while ((uint64_t)max * PAGE_SIZE < bytes)
        max *= 2;
    if ((uint64_t)max * PAGE_SIZE > PIPE_BYTES_MAX && creds_current()->euid != 0)
        return -EPERM;
    struct slot *slots = max <= PIPE_SLOTS_MAX ? kzalloc(max * sizeof(*slots)) : NULL;
    if (slots == NULL)
        return -ENOMEM;
    mutex_lock(&p->lock);
    unsigned used = p->head - p->tail;
    int64_t r = used > max ? -EBUSY : (int64_t)max * PAGE_SIZE;
    bool wake = r > 0 && is_full(p) && used < max;
    if (r > 0) {
        for (unsigned i = 0; i < used; i++)
            slots[i] = *slot_at(p, p->tail + i);
        struct slot *old = p->slots;
        p->slots = slots;
        p->slots_max = max;
        p->tail = 0;
        p->head = used;
        slots = old;
    }
    mutex_unlock(&p->lock);
    kfree(slots);
    if (wake)
        wake_writers(p);
    return r;
}

// --- splice ---

bool is_pipe(const struct file *f)
{
    return f->ops == &read_end_ops || f->ops == &write_end_ops || f->ops == &both_ends_ops;
}

/* Wait, locked before and after, until the pipe has data: 1; 0 nobody will write any more. */
static int wait_data(struct pipe *p, bool nonblock)
{
    while (is_empty(p)) {
        if (p->writers == 0)
            return 0;
        if (nonblock)
            return -EAGAIN;
        mutex_unlock(&p->lock);
        int r = WAIT_EVENT(&p->read_wait, EV_IN | EV_HUP, !is_empty(p) || !has_writers(p),
                           DEADLINE_NEVER, true);
        mutex_lock(&p->lock);
        if (r < 0)
            return -ERESTARTSYS;
    }
    return 1;
}

/* The same for room: 1; -EPIPE nobody will read any more. */
static int wait_room(struct pipe *p, bool nonblock)
{
    for (;;) {
        if (p->readers == 0) {
            signal_send_task(current(), SIGPIPE);
            return -EPIPE;
        }
        if (!is_full(p))
            return 1;
        if (nonblock)
            return -EAGAIN;
        mutex_unlock(&p->lock);
        int r = WAIT_EVENT(&p->write_wait, EV_OUT | EV_ERR, !is_full(p) || !has_readers(p),
                           DEADLINE_NEVER, true);
        mutex_lock(&p->lock);
        if (r < 0)
            return -ERESTARTSYS;
    }
}

/* Read into free slots; only the first read may wait. */
static int64_t read_slots(struct pipe *p, struct file *from, uint64_t *pos, uint64_t len,
                          bool nonblock)
{
    int64_t done = 0;
    while ((uint64_t)done < len && !is_full(p)) {
        struct page *page = page_take(p);
        if (page == NULL)
            return done > 0 ? done : -ENOMEM;
        struct uio_seg seg;
        size_t n = MIN(len - (uint64_t)done, (uint64_t)PAGE_SIZE);
        struct uio u = uio_one(&seg, (uint64_t)page_virt(page), n, true);
        int64_t r = from->ops->read(from, &u, pos, nonblock || done > 0);
        if (r <= 0) {
            page_put(page);
            return done > 0 ? done : r;
        }
        slot_push(p, (struct slot){.page = page, .len = (uint32_t)r});
        done += r;
        if ((size_t)r < n)
            break;
    }
    return done;
}

int64_t pipe_splice_in(struct file *pipe, struct file *from, uint64_t *pos, uint64_t len,
                       bool nonblock)
{
    struct pipe *p = pipe->priv;
    mutex_lock(&p->lock);
    int64_t r = wait_room(p, nonblock);
    if (r > 0)
        r = read_slots(p, from, pos, len, (from->flags & FILE_NONBLOCK) != 0);
    mutex_unlock(&p->lock);
    if (r > 0)
        wake_readers(p);
    return r;
}

/* Write waiting slots; only the first write may wait. */
static int64_t write_slots(struct pipe *p, struct file *to, uint64_t *pos, uint64_t len,
                           bool nonblock)
{
    int64_t done = 0;
    while ((uint64_t)done < len && !is_empty(p)) {
        struct slot *s = slot_at(p, p->tail);
        struct uio_seg seg;
        size_t n = MIN(len - (uint64_t)done, (uint64_t)s->len);
        struct uio u = uio_one(&seg, (uint64_t)page_virt(s->page) + s->offset, n, true);
        int64_t r = to->ops->write(to, &u, pos, nonblock || done > 0);
        if (r <= 0)
            return done > 0 ? done : r;
        s->offset += (uint32_t)r;
        s->len -= (uint32_t)r;
        done += r;
        if (s->len == 0)
            slot_done(p, s);
        if ((size_t)r < n)
            break;
    }
    return done;
}

int64_t pipe_splice_out(struct file *pipe, struct file *to, uint64_t *pos, uint64_t len,
                        bool nonblock)
{
    struct pipe *p = pipe->priv;
    mutex_lock(&p->lock);
    int64_t r = wait_data(p, nonblock);
    if (r > 0)
        r = write_slots(p, to, pos, len, (to->flags & FILE_NONBLOCK) != 0);
    mutex_unlock(&p->lock);
    if (r > 0)
        wake_writers(p);
    return r;
}

/* Move or share slots; both pipes locked. */
static int64_t share_slots(struct pipe *a, struct pipe *b, uint64_t len, bool keep)
{
    int64_t done = 0;
    for (unsigned i = a->tail; i != a->head && !is_full(b) && (uint64_t)done < len; i++) {
        struct slot *s = slot_at(a, i);
        struct slot copy = *s;
        copy.len = (uint32_t)MIN(len - (uint64_t)done, (uint64_t)s->len);
        page_get(copy.page);
        slot_push(b, copy);
        done += copy.len;
        if (keep)
            continue;
        s->offset += copy.len;
        s->len -= copy.len;
        if (s->len == 0)
            slot_done(a, s);
    }
    return done;
}

int64_t pipe_to_pipe(struct file *from, struct file *to, uint64_t len, bool keep, bool nonblock)
{
    struct pipe *a = from->priv, *b = to->priv;
    if (a == b)
        return -EINVAL;
    for (;;) {
        mutex_lock(&a->lock);
        int64_t r = wait_data(a, nonblock);
        mutex_unlock(&a->lock);
        if (r <= 0)
            return r;
        mutex_lock(&b->lock);
        r = wait_room(b, nonblock);
        mutex_unlock(&b->lock);
        if (r <= 0)
            return r;
        mutex_lock(a < b ? &a->lock : &b->lock); // two pipes: by address
        mutex_lock(a < b ? &b->lock : &a->lock);
        r = share_slots(a, b, len, keep);
        mutex_unlock(&a->lock);
        mutex_unlock(&b->lock);
        if (r == 0)
            continue; // somebody else was faster
        wake_readers(b);
        if (!keep)
            wake_writers(a);
        return r;
    }
}
