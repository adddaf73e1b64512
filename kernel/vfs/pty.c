// SPDX-License-Identifier: Apache-2.0
/* Linux 6.1 drivers/tty/pty.c, tty_io.c, tty_jobctrl.c. A pair lives as long as one of its files;
 * its master's end hangs the other side up.
 *
 * Lock order: super.lock of /dev/pts -> pty.lock -> ptys_lock; a pair's queues are woken without.
 */
#include "kernel/vfs/pty.h"

#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/async.h"
#include "kernel/vfs/ldisc.h"
#include "kernel/vfs/tree.h"

enum {
    TCGETS = 0x5401,
    TCSETS = 0x5402,
    TCSETSW = 0x5403,
    TCSETSF = 0x5404,
    TCSBRK = 0x5409,
    TCXONC = 0x540a,
    TCFLSH = 0x540b,
    TIOCSCTTY = 0x540e,
    TIOCGPGRP = 0x540f,
    TIOCSPGRP = 0x5410,
    TIOCOUTQ = 0x5411,
    TIOCGWINSZ = 0x5413,
    TIOCSWINSZ = 0x5414,
    FIONREAD = 0x541b,
    TIOCPKT = 0x5420,
    TIOCNOTTY = 0x5422,
    TCSBRKP = 0x5425,
    TIOCGSID = 0x5429,
    TIOCGPKT = 0x80045438,
    TIOCGPTN = 0x80045430,
    TIOCGPTLCK = 0x80045439,
    TIOCSPTLCK = 0x40045431,
    CHUNK = 512,
};

struct pty {
    struct mutex lock; // protects all but refs and the queues
    uint32_t refs;     // protected by ptys_lock: files
    unsigned index;    // immutable
    struct ldisc l;
    bool master;     // its file is open
    bool locked;     // the other side cannot be opened yet
    bool packet;     // TIOCPKT
    bool was_slave;  // the other side was open once
    unsigned slaves; // files of the other side
    uint16_t window[4];
    int session, group; // whose terminal it is and who is in the foreground; 0: nobody
    struct waitq master_wait, slave_wait;
};

static struct spinlock ptys_lock;
static struct pty *ptys[PTYS_MAX]; // protected by ptys_lock
static struct super *pts;          // immutable after the start

void pty_mounted(struct super *sb)
{
    pts = sb;
}

static int my_session(void)
{
    return __atomic_load_n(&current()->process->sid, __ATOMIC_RELAXED);
}

static int my_group(void)
{
    return __atomic_load_n(&current()->process->pgid, __ATOMIC_RELAXED);
}

static void send_group(int group, int signo)
{
    const struct siginfo info = {.signo = signo, .code = SI_KERNEL};
    if (group != 0)
        signal_send_owner(F_OWNER_PGRP, group, &info);
}

static void wake(struct waitq *q, uint32_t events)
{
    waitq_wake(q, events, UINT32_MAX);
}

// --- the pair's life ---

static struct pty *pty_get(unsigned index)
{
    struct pty *p = NULL;
    spin_lock(&ptys_lock);
    if (index < PTYS_MAX && (p = ptys[index]) != NULL)
        p->refs++;
    spin_unlock(&ptys_lock);
    return p;
}

static void pty_put(struct pty *p)
{
    spin_lock(&ptys_lock);
    bool last = --p->refs == 0;
    if (last)
        ptys[p->index] = NULL;
    spin_unlock(&ptys_lock);
    if (last)
        kfree(p);
}

/* Make or remove the pair's node of /dev/pts. */
static int node_change(const struct pty *p, bool make)
{
    char name[12];
    struct dentry *d, *made, *dir = pts->root;
    size_t len = fmt(name, sizeof(name), "%u", p->index);
    mutex_lock(&pts->lock);
    int r = lookup_locked(dir, name, len, &d);
    if (r == 0) {
        struct node_make what = {.mode = S_CHR | 0620, .rdev = PTY_MAJOR << 8 | p->index};
        if (make && d->inode == NULL) {
            r = memfs_make(dir, d, &what, &made);
            if (r == 0)
                dentry_put(made);
        } else if (!make && d->inode != NULL) {
            r = memfs_unlink(dir, d);
        }
        dentry_put(d);
    }
    mutex_unlock(&pts->lock);
    return r;
}

static const struct file_ops master_ops, slave_ops;

int pty_master_open(struct file *f)
{
    struct pty *p = kzalloc(sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    mutex_init(&p->lock);
    waitq_init(&p->master_wait);
    waitq_init(&p->slave_wait);
    ldisc_init(&p->l);
    p->refs = 1;
    p->master = p->locked = true;
    spin_lock(&ptys_lock);
    while (p->index < PTYS_MAX && ptys[p->index] != NULL)
        p->index++;
    if (p->index < PTYS_MAX)
        ptys[p->index] = p;
    spin_unlock(&ptys_lock);
    int r = p->index < PTYS_MAX ? 0 : -ENOSPC;
    if (r == 0 && (r = node_change(p, true)) < 0)
        pty_put(p);
    else if (r < 0)
        kfree(p);
    if (r == 0) {
        f->ops = &master_ops;
        f->priv = p;
    }
    return r;
}

int pty_slave_open(unsigned index, struct file *f)
{
    struct pty *p = pty_get(index);
    if (p == NULL)
        return -ENXIO;
    mutex_lock(&p->lock);
    int r = p->master && !p->locked ? 0 : -EIO;
    if (r == 0) {
        p->slaves++;
        p->was_slave = true;
    }
    mutex_unlock(&p->lock);
    if (r < 0) {
        pty_put(p);
        return r;
    }
    f->ops = &slave_ops;
    f->priv = p;
    return 0;
}

int pty_session_open(struct file *f)
{
    int index = -1, session = my_session();
    spin_lock(&ptys_lock);
    for (unsigned i = 0; i < PTYS_MAX && index < 0; i++)
        if (ptys[i] != NULL && __atomic_load_n(&ptys[i]->session, __ATOMIC_RELAXED) == session)
            index = (int)i;
    spin_unlock(&ptys_lock);
    return index >= 0 ? pty_slave_open((unsigned)index, f) : -ENXIO;
}

static void master_release(struct file *f)
{
    struct pty *p = f->priv;
    mutex_lock(&p->lock);
    __atomic_store_n(&p->master, false, __ATOMIC_RELEASE);
    int group = p->group;
    p->session = p->group = 0;
    mutex_unlock(&p->lock);
    send_group(group, SIGHUP);
    wake(&p->slave_wait, EV_IN | EV_OUT | EV_HUP | EV_ERR);
    int r = node_change(p, false);
    (void)r; // there is nobody to tell; the name leads nowhere
    pty_put(p);
}

static void slave_release(struct file *f)
{
    struct pty *p = f->priv;
    mutex_lock(&p->lock);
    __atomic_store_n(&p->slaves, p->slaves - 1, __ATOMIC_RELEASE);
    mutex_unlock(&p->lock);
    wake(&p->master_wait, EV_IN | EV_HUP);
    pty_put(p);
}

// --- the master: keys go in, what is shown comes out ---

static bool hung_up(const struct pty *p) // the other side is closed
{
    return p->was_slave && __atomic_load_n(&p->slaves, __ATOMIC_ACQUIRE) == 0;
}

static bool has_output(const struct pty *p)
{
    return __atomic_load_n(&p->l.out_head, __ATOMIC_ACQUIRE) !=
           __atomic_load_n(&p->l.out_tail, __ATOMIC_ACQUIRE);
}

static int64_t master_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct pty *p = f->priv;
    uint8_t block[CHUNK];
    if (u->left == 0)
        return 0;
    for (;;) {
        mutex_lock(&p->lock);
        size_t head = p->packet ? 1 : 0; // TIOCPKT_DATA
        block[0] = 0;
        size_t n = ldisc_shown(&p->l, block + head, MIN(u->left, sizeof(block)) - head);
        bool end = hung_up(p);
        mutex_unlock(&p->lock);
        if (n > 0) {
            wake(&p->slave_wait, EV_OUT | EV_WRNORM);
            return uio_put(u, block, n + head) < 0 ? -EFAULT : (int64_t)(n + head);
        }
        if (end)
            return -EIO;
        if (nonblock)
            return -EAGAIN;
        if (WAIT_EVENT(&p->master_wait, EV_IN | EV_HUP, has_output(p) || hung_up(p), DEADLINE_NEVER,
                       true) < 0)
            return -ERESTARTSYS;
    }
}

/* Type keys: how many were taken. Signals that they ask for go to the foreground. */
static size_t type_keys(struct pty *p, const uint8_t *keys, size_t n)
{
    size_t done = 0;
    while (done < n) {
        mutex_lock(&p->lock);
        int signo = 0, group = p->group;
        while (done < n && signo == 0 && ldisc_key_room(&p->l))
            signo = ldisc_key(&p->l, keys[done++]);
        mutex_unlock(&p->lock);
        if (signo == 0)
            break;
        send_group(group, signo);
    }
    wake(&p->slave_wait, EV_IN | EV_RDNORM);
    if (has_output(p)) // the echo
        wake(&p->master_wait, EV_IN | EV_RDNORM);
    return done;
}

static int64_t master_write(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct pty *p = f->priv;
    uint8_t block[CHUNK];
    int64_t done = 0;
    while (u->left > 0) {
        size_t n = MIN(u->left, sizeof(block)), typed = 0;
        if (uio_take(u, block, n) < 0)
            return done > 0 ? done : -EFAULT;
        while (typed < n) {
            size_t now = type_keys(p, block + typed, n - typed);
            typed += now;
            done += (int64_t)now;
            if (typed == n)
                break;
            if (nonblock)
                return done > 0 ? done : -EAGAIN;
            if (WAIT_EVENT(&p->master_wait, EV_OUT, ldisc_key_room(&p->l), DEADLINE_NEVER, true) <
                0)
                return done > 0 ? done : -ERESTARTSYS;
        }
    }
    return done;
}

static uint32_t master_poll(struct file *f, struct waitq **ret_queue)
{
    struct pty *p = f->priv;
    *ret_queue = &p->master_wait;
    mutex_lock(&p->lock);
    uint32_t r = (has_output(p) ? EV_IN | EV_RDNORM : 0) |
                 (ldisc_key_room(&p->l) ? EV_OUT | EV_WRNORM : 0) | (hung_up(p) ? EV_HUP : 0);
    mutex_unlock(&p->lock);
    return r;
}

// --- the other side: the program's terminal ---

/* A process in the background of its terminal asks for it: its group is stopped (signo) first. 0 to
 * go on; -EIO when it could not be stopped so; -ERESTARTSYS. Linux __tty_check_change. */
static int background(const struct pty *p, int signo)
{
    int group = my_group();
    if (p->session == 0 || p->session != my_session() || p->group == 0 || p->group == group)
        return 0;
    if (signal_refused(signo))
        return signo == SIGTTIN ? -EIO : 0;
    send_group(group, signo);
    return -ERESTARTSYS;
}

static bool has_master(const struct pty *p)
{
    return __atomic_load_n(&p->master, __ATOMIC_ACQUIRE);
}

/* How many bytes a read of `want` waits for; 0: it does not wait. */
static size_t wanted(const struct pty *p, size_t want)
{
    if (p->l.t.lflag & LFLAG_ICANON)
        return 1;
    size_t min = p->l.t.cc[CC_MIN];
    if (min == 0)
        return p->l.t.cc[CC_TIME] > 0 ? 1 : 0;
    return MIN(min, want);
}

static bool enough(struct pty *p, size_t want)
{
    mutex_lock(&p->lock);
    bool r = ldisc_readable(&p->l) >= want || !p->master;
    mutex_unlock(&p->lock);
    return r;
}

/* The time a raw read waits: VTIME tenths of a second, from the first byte on when there is a
 * VMIN. */
static uint64_t read_deadline(struct pty *p)
{
    const struct termios *t = &p->l.t;
    bool timed = (t->lflag & LFLAG_ICANON) == 0 && t->cc[CC_TIME] > 0 &&
                 (t->cc[CC_MIN] == 0 || ldisc_readable(&p->l) > 0);
    return timed ? clock_mono_ns() + t->cc[CC_TIME] * (NS_PER_SEC / 10) : DEADLINE_NEVER;
}

/* Wait until a read of `want` has what it asks for: 1, 0 the master is gone or the time is over,
 * -EAGAIN, -ERESTARTSYS. */
static int wait_input(struct pty *p, size_t want, bool nonblock)
{
    for (;;) {
        mutex_lock(&p->lock);
        size_t need = wanted(p, want), there = ldisc_readable(&p->l);
        uint64_t deadline = read_deadline(p);
        bool end = !p->master;
        mutex_unlock(&p->lock);
        if (there >= need && there > 0)
            return 1;
        if (end || need == 0)
            return 0;
        if (nonblock)
            return there > 0 ? 1 : -EAGAIN;
        // With a deadline from the first byte on: that one is waited for without.
        size_t next = deadline == DEADLINE_NEVER ? 1 : there + 1;
        int r = WAIT_EVENT(&p->slave_wait, EV_IN | EV_HUP, enough(p, next), deadline, true);
        if (r == -ETIMEDOUT)
            return there > 0 ? 1 : 0;
        if (r < 0)
            return -ERESTARTSYS;
        if (deadline == DEADLINE_NEVER && next < need && there + 1 > next)
            r = WAIT_EVENT(&p->slave_wait, EV_IN | EV_HUP, enough(p, there + 1), DEADLINE_NEVER,
                           true);
        if (r < 0)
            return -ERESTARTSYS;
    }
}

static int64_t slave_read(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct pty *p = f->priv;
    if (u->left == 0)
        return 0;
    int64_t r = background(p, SIGTTIN);
    if (r == 0)
        r = wait_input(p, u->left, nonblock);
    if (r <= 0)
        return r;
    size_t max = MIN(u->left, (size_t)TTY_IN), n;
    uint8_t *block = kmalloc(max);
    if (block == NULL)
        return -ENOMEM;
    mutex_lock(&p->lock);
    (void)ldisc_read(&p->l, block, max, &n);
    mutex_unlock(&p->lock);
    wake(&p->master_wait, EV_OUT | EV_WRNORM);
    r = uio_put(u, block, n) < 0 ? -EFAULT : (int64_t)n;
    kfree(block);
    return r;
}

static bool can_show(const struct pty *p)
{
    unsigned used = __atomic_load_n(&p->l.out_head, __ATOMIC_ACQUIRE) -
                    __atomic_load_n(&p->l.out_tail, __ATOMIC_ACQUIRE);
    return !__atomic_load_n(&p->l.stopped, __ATOMIC_RELAXED) && used < TTY_OUT - 1;
}

/* Show bytes, all of them unless it must not wait: how many, or -errno when there were none. */
static int64_t show_all(struct pty *p, const uint8_t *from, size_t n, bool nonblock)
{
    size_t done = 0;
    for (;;) {
        mutex_lock(&p->lock);
        bool end = !p->master;
        if (!end)
            done += ldisc_write(&p->l, from + done, n - done);
        mutex_unlock(&p->lock);
        if (end)
            return -EIO;
        wake(&p->master_wait, EV_IN | EV_RDNORM);
        if (done == n)
            return (int64_t)done;
        if (nonblock)
            return done > 0 ? (int64_t)done : -EAGAIN;
        if (WAIT_EVENT(&p->slave_wait, EV_OUT | EV_HUP, can_show(p) || !has_master(p),
                       DEADLINE_NEVER, true) < 0)
            return done > 0 ? (int64_t)done : -ERESTARTSYS;
    }
}

static int64_t slave_write(struct file *f, struct uio *u, uint64_t *pos UNUSED, bool nonblock)
{
    struct pty *p = f->priv;
    uint8_t block[CHUNK];
    int64_t done = p->l.t.lflag & LFLAG_TOSTOP ? background(p, SIGTTOU) : 0;
    if (done < 0)
        return done;
    while (u->left > 0) {
        size_t n = MIN(u->left, sizeof(block));
        if (uio_take(u, block, n) < 0)
            return done > 0 ? done : -EFAULT;
        int64_t r = show_all(p, block, n, nonblock);
        if (r < 0)
            return done > 0 ? done : r;
        done += r;
        if ((size_t)r < n)
            break;
    }
    return done;
}

static uint32_t slave_poll(struct file *f, struct waitq **ret_queue)
{
    struct pty *p = f->priv;
    *ret_queue = &p->slave_wait;
    mutex_lock(&p->lock);
    size_t need = p->l.t.cc[CC_TIME] == 0 ? MAX(wanted(p, TTY_IN), (size_t)1) : 1;
    uint32_t r = ldisc_readable(&p->l) >= need ? EV_IN | EV_RDNORM : 0;
    if (!p->master)
        r |= EV_IN | EV_RDNORM | EV_OUT | EV_WRNORM | EV_ERR | EV_HUP;
    else if (can_show(p))
        r |= EV_OUT | EV_WRNORM;
    mutex_unlock(&p->lock);
    return r;
}

// --- ioctl ---

static int64_t put_int(uint64_t user, int value)
{
    int32_t v = value;
    return copy_to_user(user, &v, sizeof(v));
}

static int64_t set_termios(struct pty *p, uint32_t cmd, uint64_t user)
{
    struct termios t;
    int r = background(p, SIGTTOU);
    if (r < 0)
        return r;
    if (copy_from_user(&t, user, sizeof(t)) < 0)
        return -EFAULT;
    mutex_lock(&p->lock);
    if (cmd == TCSETSF)
        ldisc_flush(&p->l, true, false);
    ldisc_set(&p->l, &t);
    mutex_unlock(&p->lock);
    wake(&p->slave_wait, EV_IN | EV_OUT);
    return 0;
}

static int64_t set_window(struct pty *p, uint64_t user)
{
    uint16_t window[4];
    if (copy_from_user(window, user, sizeof(window)) < 0)
        return -EFAULT;
    mutex_lock(&p->lock);
    int group = memcmp(window, p->window, sizeof(window)) != 0 ? p->group : 0;
    memcpy(p->window, window, sizeof(window));
    mutex_unlock(&p->lock);
    send_group(group, SIGWINCH);
    return 0;
}

static int64_t flush(struct pty *p, uint64_t what)
{
    if (what > 2)
        return -EINVAL;
    mutex_lock(&p->lock);
    ldisc_flush(&p->l, what != 1, what != 0);
    mutex_unlock(&p->lock);
    wake(&p->slave_wait, EV_OUT);
    wake(&p->master_wait, EV_OUT);
    return 0;
}

/* The session's terminal and who is in front of it. Linux tty_jobctrl_ioctl. */
static int64_t job_ioctl(struct pty *p, uint32_t cmd, uint64_t arg, bool master)
{
    bool mine = p->session != 0 && p->session == my_session();
    int32_t group;
    int r;
    switch (cmd) {
    case TIOCSCTTY:
        if (current()->process->pid != my_session() || (p->session != 0 && !mine))
            return -EPERM;
        p->session = my_session();
        p->group = my_group();
        return 0;
    case TIOCNOTTY:
        if (!mine)
            return -ENOTTY;
        p->session = p->group = 0;
        return 0;
    case TIOCGPGRP:
        return mine || master ? put_int(arg, p->group) : -ENOTTY;
    case TIOCGSID:
        return p->session != 0 && (mine || master) ? put_int(arg, p->session) : -ENOTTY;
    default: // TIOCSPGRP
        if (!mine)
            return -ENOTTY;
        if (copy_from_user(&group, arg, sizeof(group)) < 0)
            return -EFAULT;
        if (group < 0)
            return -EINVAL;
        if ((r = background(p, SIGTTOU)) < 0)
            return r;
        if (!signal_owner_exists(F_OWNER_PGRP, group))
            return -ESRCH;
        p->group = group;
        return 0;
    }
}

static int64_t both_ioctl(struct pty *p, uint32_t cmd, uint64_t arg, bool master)
{
    switch (cmd) {
    case TCGETS:
        return copy_to_user(arg, &p->l.t, sizeof(p->l.t));
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_termios(p, cmd, arg);
    case TIOCGWINSZ:
        return copy_to_user(arg, p->window, sizeof(p->window));
    case TIOCSWINSZ:
        return set_window(p, arg);
    case TCFLSH:
        return flush(p, arg);
    case TCSBRK:
    case TCSBRKP:
        return 0; // a break means nothing here, and what was written is out
    case TIOCSCTTY:
    case TIOCNOTTY:
    case TIOCGPGRP:
    case TIOCSPGRP:
    case TIOCGSID:
        return job_ioctl(p, cmd, arg, master);
    default:
        return -ENOTTY;
    }
}

static int64_t master_ioctl(struct file *f, uint32_t cmd, uint64_t arg)
{
    struct pty *p = f->priv;
    int32_t on;
    switch (cmd) {
    case TIOCGPTN:
        return put_int(arg, (int)p->index);
    case TIOCGPTLCK:
        return put_int(arg, p->locked);
    case TIOCGPKT:
        return put_int(arg, p->packet);
    case TIOCSPTLCK:
    case TIOCPKT:
        if (copy_from_user(&on, arg, sizeof(on)) < 0)
            return -EFAULT;
        mutex_lock(&p->lock);
        *(cmd == TIOCPKT ? &p->packet : &p->locked) = on != 0;
        mutex_unlock(&p->lock);
        return 0;
    case FIONREAD:
        return put_int(arg, (int)(p->l.out_head - p->l.out_tail));
    default:
        return both_ioctl(p, cmd, arg, true);
    }
}

static int64_t slave_ioctl(struct file *f, uint32_t cmd, uint64_t arg)
{
    struct pty *p = f->priv;
    switch (cmd) {
    case FIONREAD:
        return put_int(arg, (int)ldisc_readable(&p->l));
    case TIOCOUTQ:
        return put_int(arg, (int)(p->l.out_head - p->l.out_tail));
    case TCXONC:
        if (arg > 3)
            return -EINVAL;
        if (arg < 2) {
            mutex_lock(&p->lock);
            p->l.stopped = arg == 0;
            mutex_unlock(&p->lock);
            wake(&p->slave_wait, EV_OUT);
        }
        return 0;
    default:
        return both_ioctl(p, cmd, arg, false);
    }
}

static int pty_stat(struct file *f, struct kstat *ret)
{
    inode_stat(f->inode, ret);
    return 0;
}

static const struct file_ops master_ops = {
    .name = "ptmx",
    .read = master_read,
    .write = master_write,
    .poll = master_poll,
    .ioctl = master_ioctl,
    .seek = file_no_seek,
    .stat = pty_stat,
    .get_page = file_no_page,
    .release = master_release,
    .async = true,
};

static const struct file_ops slave_ops = {
    .name = "pts",
    .read = slave_read,
    .write = slave_write,
    .poll = slave_poll,
    .ioctl = slave_ioctl,
    .seek = file_no_seek,
    .stat = pty_stat,
    .get_page = file_no_page,
    .release = slave_release,
    .async = true,
};
