// SPDX-License-Identifier: Apache-2.0
/* inotify(7), as Linux 6.1 fs/notify/inotify behaves.
 *
 * An instance is an open file with a queue of events and a list of watches; a watch ties an
 * instance to an inode, which it keeps. One lock for all of them: a few directories are watched.
 *
 * Lock order: super.lock -> notify_lock -> an instance's wait queue -> an epoll's lock. */
#include "base/mem.h"
#include "kernel/linux/fs_at.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/notify.h"

enum {
    IN_ALL_EVENTS = 0xfff,
    IN_Q_OVERFLOW = 0x4000,
    IN_IGNORED = 0x8000,
    IN_ONLYDIR = 0x1000000,
    IN_DONT_FOLLOW = 0x2000000,
    IN_EXCL_UNLINK = 0x4000000,
    IN_MASK_CREATE = 0x10000000,
    IN_MASK_ADD = 0x20000000,
    EVENTS_MAX = 16384,    // of an instance; /proc/sys/fs/inotify/max_queued_events
    INSTANCES_MAX = 128,   // max_user_instances
    WATCHES_MAX = 1 << 16, // max_user_watches
    FIONREAD = 0x541b,
};
#define IN_ONESHOT  0x80000000u
#define IN_ALL_BITS (IN_ALL_EVENTS | 0xe000u | 0x37000000u | NOTIFY_ISDIR | IN_ONESHOT)

struct user_event { // struct inotify_event up to the name
    int32_t wd;
    uint32_t mask, cookie, len;
};

struct event {
    struct list link;
    struct user_event head; // len: of the name with its padding
    uint16_t name_len;
    char name[];
};

struct inotify {
    struct waitq queue;
    struct list events;  // protected by notify_lock
    struct list watches; // protected by notify_lock
    unsigned count;      // protected by notify_lock: events
    uint32_t bytes;      // protected by notify_lock: of them
    bool overflow;       // protected by notify_lock: said so in the queue
    int last_wd;         // protected by notify_lock
};

struct watch {
    struct list link;      // protected by notify_lock: in the instance
    struct watch *next;    // protected by notify_lock: of the same inode
    struct inotify *owner; // immutable
    struct inode *inode;   // immutable; referenced
    int wd;                // immutable
    uint32_t mask;         // protected by notify_lock
};

static struct spinlock notify_lock; // also protects inode.watches
static unsigned instances;          // atomic
unsigned notify_watches;

// --- events: notify_lock held ---

static bool same_as_last(const struct inotify *in, const struct user_event *head, const char *name,
                         size_t len)
{
    if (list_empty(&in->events) || (head->mask & IN_IGNORED))
        return false;
    const struct event *last = LIST_ENTRY(in->events.prev, struct event, link);
    return last->head.wd == head->wd && last->head.mask == head->mask && last->name_len == len &&
           memcmp(last->name, name, len) == 0;
}

static void event_push(struct inotify *in, struct event *e)
{
    list_push_back(&in->events, &e->link);
    in->count++;
    in->bytes += (uint32_t)sizeof(e->head) + e->head.len;
    waitq_wake(&in->queue, EV_IN | EV_RDNORM, 1);
}

static void event_queue(struct inotify *in, struct user_event head, const char *name, size_t len)
{
    if (same_as_last(in, &head, name, len))
        return;
    if (in->overflow)
        return;
    struct event *e = kmalloc(sizeof(*e) + len + 1);
    if (e == NULL)
        return; // as lost as the program's next allocation
    if (in->count >= EVENTS_MAX) {
        in->overflow = true;
        head = (struct user_event){.wd = -1, .mask = IN_Q_OVERFLOW};
        len = 0;
    }
    memcpy(e->name, name, len);
    e->name[len] = 0;
    e->name_len = (uint16_t)len;
    e->head = head;
    e->head.len = len > 0 ? (uint32_t)ALIGN_UP(len + 1, sizeof(struct user_event)) : 0;
    event_push(in, e);
}

/* Take a watch off its inode and its instance, which hears of it. */
static void watch_remove(struct watch *w)
{
    struct watch **at = &w->inode->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    list_remove(&w->link);
    __atomic_fetch_sub(&notify_watches, 1, __ATOMIC_RELAXED);
    event_queue(w->owner, (struct user_event){.wd = w->wd, .mask = IN_IGNORED}, "", 0);
}

static void watch_free(struct watch *w)
{
    inode_put(w->inode);
    kfree(w);
}

/* Tell the watches of an inode. Watches for one event only that are done with: *ret_done. */
static void tell(const struct inode *inode, uint32_t what, uint32_t cookie, const char *name,
                 size_t len, bool unlinked, struct list *ret_done)
{
    struct watch *next;
    for (struct watch *w = inode->watches; w != NULL; w = next) {
        next = w->next;
        if ((what & w->mask & IN_ALL_EVENTS) == 0 || (unlinked && (w->mask & IN_EXCL_UNLINK)))
            continue;
        // Linux inotify_handle_inode_event: these two never said that it is a directory.
        uint32_t hide = what & (NOTIFY_MOVE_SELF | NOTIFY_DELETE_SELF) ? NOTIFY_ISDIR : 0;
        struct user_event head = {.wd = w->wd, .mask = what & ~hide, .cookie = cookie};
        event_queue(w->owner, head, name, len);
        if (w->mask & IN_ONESHOT) {
            watch_remove(w);
            list_push_back(ret_done, &w->link);
        }
    }
}

// --- what the tree calls ---

static void free_all(struct list *done)
{
    struct list *at;
    while ((at = list_pop_front(done)) != NULL)
        watch_free(LIST_ENTRY(at, struct watch, link));
}

static uint32_t with_kind(const struct inode *inode, uint32_t what)
{
    return (inode->mode & S_FMT) == S_DIR ? what | NOTIFY_ISDIR : what;
}

static void tell_dentry(struct dentry *d, uint32_t what, bool with_path)
{
    char name[NAME_MAX_BYTES + 1];
    size_t len;
    struct list done;
    struct dentry *parent = dentry_parent_name(d, name, &len);
    bool unlinked = with_path && (d->flags & DENTRY_DELETED) != 0;
    list_init(&done);
    what = with_kind(d->inode, what);
    spin_lock(&notify_lock);
    if (parent != NULL)
        tell(parent->inode, what, 0, name, len, unlinked, &done);
    tell(d->inode, what, 0, "", 0, unlinked, &done);
    spin_unlock(&notify_lock);
    free_all(&done);
    dentry_put(parent);
}

void notify_dentry_slow(struct dentry *d, uint32_t what)
{
    if (d != NULL)
        tell_dentry(d, what, false);
}

void notify_file_slow(const struct file *f, uint32_t what)
{
    if (f->dentry != NULL && (f->flags & FILE_PATH) == 0)
        tell_dentry(f->dentry, what, true);
}

void notify_inode_slow(struct inode *inode, uint32_t what)
{
    struct list done;
    list_init(&done);
    spin_lock(&notify_lock);
    tell(inode, with_kind(inode, what), 0, "", 0, false, &done);
    spin_unlock(&notify_lock);
    free_all(&done);
}

void notify_name_slow(struct inode *dir, const char *name, size_t len, bool is_dir, uint32_t what,
                      uint32_t cookie)
{
    struct list done;
    list_init(&done);
    spin_lock(&notify_lock);
    tell(dir, what | (is_dir ? (uint32_t)NOTIFY_ISDIR : 0), cookie, name, len, false, &done);
    spin_unlock(&notify_lock);
    free_all(&done);
}

void notify_gone_slow(struct inode *inode)
{
    struct list done;
    list_init(&done);
    spin_lock(&notify_lock);
    tell(inode, NOTIFY_DELETE_SELF, 0, "", 0, false, &done);
    while (inode->watches != NULL) {
        struct watch *w = inode->watches;
        watch_remove(w);
        list_push_back(&done, &w->link);
    }
    spin_unlock(&notify_lock);
    free_all(&done);
}

uint32_t notify_cookie(void)
{
    static uint32_t last;
    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

// --- the file ---

/* The next event if it fits into `room`: 0 with it (the caller's), -EAGAIN none, -EINVAL. */
static int event_take(struct inotify *in, size_t room, struct event **ret)
{
    int r = -EAGAIN;
    spin_lock(&notify_lock);
    if (!list_empty(&in->events)) {
        struct event *e = LIST_ENTRY(in->events.next, struct event, link);
        size_t bytes = sizeof(e->head) + e->head.len;
        r = bytes > room ? -EINVAL : 0;
        if (r == 0) {
            list_remove(&e->link);
            in->count--;
            in->bytes -= (uint32_t)bytes;
            if (e->head.mask & IN_Q_OVERFLOW)
                in->overflow = false;
            *ret = e;
        }
    }
    spin_unlock(&notify_lock);
    return r;
}

static bool has_events(const struct inotify *in)
{
    return __atomic_load_n(&in->count, __ATOMIC_ACQUIRE) > 0;
}

static int event_put(struct uio *u, struct event *e)
{
    int r = uio_put(u, &e->head, sizeof(e->head));
    if (r == 0 && e->head.len > 0) {
        r = uio_put(u, e->name, e->name_len);
        if (r == 0)
            r = uio_zero(u, e->head.len - e->name_len);
    }
    kfree(e);
    return r;
}

static int64_t inotify_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct inotify *in = f->priv;
    size_t before = u->left;
    for (;;) {
        struct event *e;
        int r = event_take(in, u->left, &e);
        if (r == 0)
            r = event_put(u, e);
        if (r == 0)
            continue;
        if (before > u->left)
            return (int64_t)(before - u->left);
        if (r != -EAGAIN || nonblock)
            return r;
        if (WAIT_EVENT(&in->queue, EV_IN, has_events(in), DEADLINE_NEVER, true) < 0)
            return -ERESTARTSYS;
    }
}

static uint32_t inotify_poll(struct file *f, struct waitq **ret_queue)
{
    struct inotify *in = f->priv;
    *ret_queue = &in->queue;
    return has_events(in) ? EV_IN | EV_RDNORM : 0;
}

static int64_t inotify_ioctl(struct file *f, uint32_t cmd, uint64_t arg)
{
    struct inotify *in = f->priv;
    if (cmd != FIONREAD)
        return -ENOTTY;
    int32_t bytes = (int32_t)__atomic_load_n(&in->bytes, __ATOMIC_RELAXED);
    return copy_to_user(arg, &bytes, sizeof(bytes));
}

static int inotify_stat(struct file *f UNUSED, struct kstat *ret)
{
    kstat_anon(ret, 0600, ANON_INO);
    return 0;
}

static void inotify_release(struct file *f)
{
    struct inotify *in = f->priv;
    struct list done;
    list_init(&done);
    spin_lock(&notify_lock);
    while (!list_empty(&in->watches)) {
        struct watch *w = LIST_ENTRY(in->watches.next, struct watch, link);
        watch_remove(w);
        list_push_back(&done, &w->link);
    }
    spin_unlock(&notify_lock);
    free_all(&done);
    struct list *at;
    while ((at = list_pop_front(&in->events)) != NULL)
        kfree(LIST_ENTRY(at, struct event, link));
    __atomic_fetch_sub(&instances, 1, __ATOMIC_RELAXED);
    kfree(in);
}

static const struct file_ops inotify_ops = {
    .name = "inotify",
    .read = inotify_read,
    .write = file_no_write,
    .poll = inotify_poll,
    .ioctl = inotify_ioctl,
    .seek = file_noop_seek,
    .stat = inotify_stat,
    .get_page = file_no_page,
    .release = inotify_release,
    .async = true,
};

// --- system calls ---

static int64_t create(uint32_t flags)
{
    if (flags & ~(uint32_t)(OPEN_CLOEXEC | FILE_NONBLOCK))
        return -EINVAL;
    if (__atomic_add_fetch(&instances, 1, __ATOMIC_RELAXED) > INSTANCES_MAX) {
        __atomic_fetch_sub(&instances, 1, __ATOMIC_RELAXED);
        return -EMFILE;
    }
    struct inotify *in = kzalloc(sizeof(*in));
    struct file *f = in != NULL ? file_new(&inotify_ops, flags & FILE_NONBLOCK, in) : NULL;
    if (f == NULL) {
        kfree(in);
        __atomic_fetch_sub(&instances, 1, __ATOMIC_RELAXED);
        return -ENOMEM;
    }
    waitq_init(&in->queue);
    list_init(&in->events);
    list_init(&in->watches);
    int fd = fd_install(f, 0, (flags & OPEN_CLOEXEC) != 0);
    if (fd < 0)
        file_put(f);
    return fd;
}

int64_t sys_inotify_init(const uint64_t arg[static 6] UNUSED)
{
    return create(0);
}

int64_t sys_inotify_init1(const uint64_t arg[static 6])
{
    return create((uint32_t)arg[0]);
}

/* Change the watch that the instance has on the inode, or add `fresh`, which is taken then. */
static int watch_set(struct inotify *in, struct inode *inode, uint32_t mask, struct watch **fresh)
{
    const uint32_t kept = mask & (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT);
    int r;
    spin_lock(&notify_lock);
    struct watch *w = inode->watches;
    while (w != NULL && w->owner != in)
        w = w->next;
    if (w != NULL && (mask & IN_MASK_CREATE)) {
        r = -EEXIST;
    } else if (w != NULL) {
        w->mask = mask & IN_MASK_ADD ? w->mask | kept : kept;
        r = w->wd;
    } else if (__atomic_load_n(&notify_watches, __ATOMIC_RELAXED) >= WATCHES_MAX) {
        r = -ENOSPC;
    } else {
        w = TAKE(*fresh);
        *w = (struct watch){.owner = in, .inode = inode_get(inode), .mask = kept};
        r = w->wd = ++in->last_wd;
        list_init(&w->link);
        list_push_back(&in->watches, &w->link);
        w->next = inode->watches;
        inode->watches = w;
        __atomic_fetch_add(&notify_watches, 1, __ATOMIC_RELAXED);
    }
    spin_unlock(&notify_lock);
    return r;
}

static int64_t add_watch(struct inotify *in, uint64_t user_path, uint32_t mask)
{
    struct dentry *d;
    unsigned how = (mask & IN_DONT_FOLLOW ? 0 : (unsigned)WALK_FOLLOW) |
                   (mask & IN_ONLYDIR ? (unsigned)WALK_DIRECTORY : 0);
    int r = at_dentry(AT_FDCWD, user_path, how, &d);
    if (r < 0)
        return r;
    r = inode_permission(d->inode, MAY_READ);
    if (r == 0) {
        struct watch *fresh = kmalloc(sizeof(*fresh));
        r = fresh != NULL ? watch_set(in, d->inode, mask, &fresh) : -ENOMEM;
        kfree(fresh);
    }
    dentry_put(d);
    return r;
}

int64_t sys_inotify_add_watch(const uint64_t arg[static 6])
{
    uint32_t mask = (uint32_t)arg[2];
    if ((mask & IN_ALL_BITS) == 0)
        return -EINVAL;
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    int64_t r = -EINVAL;
    bool both = (mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE);
    if (!both && f->ops == &inotify_ops)
        r = add_watch(f->priv, arg[1], mask);
    file_put(f);
    return r;
}

int64_t sys_inotify_rm_watch(const uint64_t arg[static 6])
{
    struct file *f = fd_get_io((int)arg[0]);
    if (f == NULL)
        return -EBADF;
    struct watch *found = NULL;
    if (f->ops == &inotify_ops) {
        struct inotify *in = f->priv;
        spin_lock(&notify_lock);
        LIST_FOR_EACH (at, &in->watches)
            if (LIST_ENTRY(at, struct watch, link)->wd == (int)arg[1])
                found = LIST_ENTRY(at, struct watch, link);
        if (found != NULL)
            watch_remove(found);
        spin_unlock(&notify_lock);
    }
    if (found != NULL)
        watch_free(found);
    file_put(f);
    return found != NULL ? 0 : -EINVAL;
}
