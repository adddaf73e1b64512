// SPDX-License-Identifier: Apache-2.0
/* poll(2), ppoll(2), select(2), pselect6(2): Linux 6.1 fs/select.c. */
#include "base/mem.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/fd.h"

enum {
    POLL_IN_SET = EV_RDNORM | 0x80 | EV_IN | EV_HUP | EV_ERR | EV_RDHUP, // select's readable
    POLL_OUT_SET = 0x200 | EV_WRNORM | EV_OUT | EV_ERR,                  // writable (0x200: WRBAND)
    POLL_EX_SET = EV_PRI,
    POLL_NVAL = 0x20,
    FDS_MAX = 1048576,
    CHUNK = 64, // descriptors per allocation
    SMALL = 8,  // descriptors that need none
};

struct watch {
    struct task_waiter waiter;
    struct file *file;   // referenced; NULL: not open
    struct waitq *queue; // NULL: it never changes
    uint32_t want;       // EV_*
    uint32_t got;
};

struct watch_chunk {
    struct watch_chunk *next;
    struct watch w[CHUNK];
};

/* All descriptors of one call, in order. */
struct watches {
    unsigned count;
    struct watch small[SMALL];
    struct watch_chunk *first, *last; // what is beyond SMALL
};

static struct watch *watch_new(struct watches *ws)
{
    if (ws->count < SMALL)
        return &ws->small[ws->count++];
    unsigned in = (ws->count - SMALL) % CHUNK;
    if (in == 0) {
        struct watch_chunk *c = kmalloc(sizeof(*c));
        if (c == NULL)
            return NULL;
        c->next = NULL;
        if (ws->last != NULL)
            ws->last->next = c;
        else
            ws->first = c;
        ws->last = c;
    }
    ws->count++;
    return &ws->last->w[in];
}

struct watch_iter {
    struct watches *ws;
    struct watch_chunk *chunk;
    unsigned i;
};

static struct watch *watch_next(struct watch_iter *it)
{
    if (it->i >= it->ws->count)
        return NULL;
    unsigned i = it->i++;
    if (i < SMALL)
        return &it->ws->small[i];
    unsigned in = (i - SMALL) % CHUNK;
    if (in == 0)
        it->chunk = it->chunk == NULL ? it->ws->first : it->chunk->next;
    return &it->chunk->w[in];
}

#define WATCH_FOR_EACH(w, watches)                                                                 \
    for (struct watch_iter iter_ = {.ws = (watches)}, *once_ = &iter_; once_ != NULL;              \
         once_ = NULL)                                                                             \
        for (struct watch * (w) = watch_next(&iter_); (w) != NULL; (w) = watch_next(&iter_))

static int watch_add(struct watches *ws, int fd, uint32_t want)
{
    struct watch *w = watch_new(ws);
    if (w == NULL)
        return -ENOMEM;
    w->want = want;
    w->got = 0;
    w->queue = NULL;
    w->file = fd >= 0 ? fd_get_io(fd) : NULL;
    return 0;
}

/* Ask all: how many have something. */
static int scan(struct watches *ws)
{
    int n = 0;
    WATCH_FOR_EACH(w, ws)
    {
        if (w->file != NULL) {
            struct waitq *q;
            w->got = w->file->ops->poll(w->file, &q) & w->want;
        }
        n += w->got != 0;
    }
    return n;
}

static void wait_begin(struct watches *ws)
{
    WATCH_FOR_EACH(w, ws)
    {
        if (w->file == NULL)
            continue;
        (void)w->file->ops->poll(w->file, &w->queue);
        if (w->queue != NULL)
            task_wait_begin(&w->waiter, w->queue, w->want, false);
    }
}

static void wait_end(struct watches *ws)
{
    WATCH_FOR_EACH(w, ws)
    if (w->queue != NULL)
        task_wait_end(&w->waiter, w->queue);
}

/* Wait until something is true: how many, 0 at the deadline (0: do not wait), -EINTR. */
static int wait_any(struct watches *ws, uint64_t deadline_ns)
{
    int n = scan(ws), r = 0;
    if (n > 0 || deadline_ns == 0)
        return n;
    wait_begin(ws);
    for (;;) {
        task_prepare_sleep();
        n = scan(ws);
        if (n > 0 || r < 0)
            break;
        r = task_sleep(deadline_ns, true);
    }
    task_cancel_sleep();
    wait_end(ws);
    return n > 0 || r == -ETIMEDOUT ? n : r;
}

static void watches_done(struct watches *ws)
{
    WATCH_FOR_EACH(w, ws)
    file_put(w->file);
    while (ws->first != NULL) {
        struct watch_chunk *next = ws->first->next;
        kfree(ws->first);
        ws->first = next;
    }
}

// --- poll ---

struct user_pollfd {
    int32_t fd;
    int16_t events, revents;
};

static int load_pollfds(struct watches *ws, uint64_t user, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct user_pollfd p;
        if (copy_from_user(&p, user + i * sizeof(p), sizeof(p)) < 0)
            return -EFAULT;
        int r = watch_add(ws, p.fd, (uint16_t)p.events | EV_ERR | EV_HUP);
        if (r < 0)
            return r;
        struct watch *w = i < SMALL ? &ws->small[i] : &ws->last->w[(i - SMALL) % CHUNK];
        if (p.fd >= 0 && w->file == NULL)
            w->got = POLL_NVAL;
    }
    return 0;
}

static int store_revents(struct watches *ws, uint64_t user)
{
    unsigned i = 0;
    WATCH_FOR_EACH(w, ws)
    {
        int16_t revents = (int16_t)w->got;
        uint64_t at = user + i++ * sizeof(struct user_pollfd) + 6;
        if (copy_to_user(at, &revents, sizeof(revents)) < 0)
            return -EFAULT;
    }
    return 0;
}

static int64_t do_poll(uint64_t user, uint32_t count, uint64_t deadline_ns)
{
    struct watches ws = {0};
    if (count > MIN(fdtable_limit(current()->process->files), (uint32_t)FDS_MAX))
        return -EINVAL;
    int r = load_pollfds(&ws, user, count);
    if (r == 0)
        r = wait_any(&ws, deadline_ns);
    int n = r;
    if (r >= 0)
        r = store_revents(&ws, user);
    watches_done(&ws);
    return r < 0 ? r : n;
}

/* A deadline from a time span: 0 stays "do not wait". */
static uint64_t deadline_in(uint64_t ns)
{
    uint64_t at;
    if (ns == 0)
        return 0;
    return __builtin_add_overflow(clock_mono_ns(), ns, &at) ? DEADLINE_NEVER : at;
}

static int64_t poll_until(uint64_t user, uint32_t count, uint64_t deadline_ns);

static int64_t poll_again(struct restart *r)
{
    return poll_until(r->arg[0], (uint32_t)r->arg[1], r->arg[2]);
}

/* A signal that runs no handler makes the call go on with what is left of its time. */
static int64_t poll_until(uint64_t user, uint32_t count, uint64_t deadline_ns)
{
    int64_t r = do_poll(user, count, deadline_ns);
    if (r != -EINTR)
        return r;
    current()->thread->restart =
        (struct restart){.call = poll_again, .arg = {user, count, deadline_ns}};
    return -ERESTART_RESTARTBLOCK;
}

int64_t sys_poll(const uint64_t arg[static 6])
{
    int32_t ms = (int32_t)arg[2];
    uint64_t deadline = ms < 0 ? DEADLINE_NEVER : deadline_in((uint64_t)ms * 1000000);
    return poll_until(arg[0], (uint32_t)arg[1], deadline);
}

/* What is left until the deadline, as a program sees it (never negative). */
static uint64_t left_until(uint64_t deadline_ns)
{
    uint64_t now = clock_mono_ns();
    return deadline_ns > now ? deadline_ns - now : 0;
}

int64_t sys_ppoll(const uint64_t arg[static 6])
{
    uint64_t ns, deadline = DEADLINE_NEVER;
    if (arg[2] != 0) {
        int r = timespec_from_user(arg[2], &ns);
        if (r < 0)
            return r;
        deadline = deadline_in(ns);
    }
    int r = sigmask_enter(arg[3], arg[4]);
    if (r < 0)
        return r;
    int64_t n = do_poll(arg[0], (uint32_t)arg[1], deadline);
    // Linux writes the time that is left back, and restarts with it when no handler ran.
    bool told = arg[2] == 0 || timespec_to_user(arg[2], left_until(deadline)) == 0;
    if (n == -EINTR && told)
        n = -ERESTARTNOHAND;
    if (arg[3] != 0)
        sigmask_leave(n);
    return n;
}

// --- select ---

struct sets {        // in, out, exceptional
    uint64_t *words; // 3 x in, then 3 x result
    unsigned per_set;
};

static bool is_member(const struct sets *s, unsigned set, unsigned fd)
{
    return (s->words[set * s->per_set + fd / 64] >> (fd % 64)) & 1;
}

static uint32_t wanted(const struct sets *s, unsigned fd)
{
    return (is_member(s, 0, fd) ? (uint32_t)POLL_IN_SET : 0) |
           (is_member(s, 1, fd) ? (uint32_t)POLL_OUT_SET : 0) |
           (is_member(s, 2, fd) ? (uint32_t)POLL_EX_SET : 0);
}

static int load_sets(struct sets *s, const uint64_t user[3])
{
    for (unsigned set = 0; set < 3; set++)
        if (user[set] != 0 && copy_from_user(s->words + set * s->per_set, user[set],
                                             s->per_set * sizeof(uint64_t)) < 0)
            return -EFAULT;
    return 0;
}

static int watch_sets(struct watches *ws, const struct sets *s, unsigned count)
{
    for (unsigned fd = 0; fd < count; fd++) {
        uint32_t want = wanted(s, fd);
        if (want == 0)
            continue;
        int r = watch_add(ws, (int)fd, want);
        if (r < 0)
            return r;
        const struct watch *w = ws->count <= SMALL ? &ws->small[ws->count - 1]
                                                   : &ws->last->w[(ws->count - 1 - SMALL) % CHUNK];
        if (w->file == NULL)
            return -EBADF;
    }
    return 0;
}

/* Fill the result sets: how many bits. */
static int fill_results(struct watches *ws, struct sets *s, unsigned count)
{
    static const uint32_t bits[3] = {POLL_IN_SET, POLL_OUT_SET, POLL_EX_SET};
    struct watch_iter it = {.ws = ws};
    int n = 0;
    for (unsigned fd = 0; fd < count; fd++) {
        if (wanted(s, fd) == 0)
            continue;
        const struct watch *w = watch_next(&it);
        for (unsigned set = 0; set < 3; set++)
            if (is_member(s, set, fd) && (w->got & bits[set])) {
                s->words[(3 + set) * s->per_set + fd / 64] |= 1ull << (fd % 64);
                n++;
            }
    }
    return n;
}

static int store_sets(const struct sets *s, const uint64_t user[3])
{
    for (unsigned set = 0; set < 3; set++)
        if (user[set] != 0 && copy_to_user(user[set], s->words + (3 + set) * s->per_set,
                                           s->per_set * sizeof(uint64_t)) < 0)
            return -EFAULT;
    return 0;
}

static int64_t do_select(int count, const uint64_t user[3], uint64_t deadline_ns)
{
    struct watches ws = {0};
    if (count < 0)
        return -EINVAL;
    // Linux looks at no more than the descriptor table holds.
    unsigned n = MIN((unsigned)count, fdtable_limit(current()->process->files));
    struct sets s = {.per_set = (n + 63) / 64};
    s.words = kzalloc(MAX(6 * s.per_set, 1u) * sizeof(uint64_t));
    if (s.words == NULL)
        return -ENOMEM;
    int r = load_sets(&s, user);
    if (r == 0)
        r = watch_sets(&ws, &s, n);
    if (r == 0)
        r = wait_any(&ws, deadline_ns);
    if (r >= 0)
        r = fill_results(&ws, &s, n);
    if (r >= 0 && store_sets(&s, user) < 0)
        r = -EFAULT;
    watches_done(&ws);
    kfree(s.words);
    return r == -EINTR ? -ERESTARTNOHAND : r;
}

struct user_timeval {
    int64_t sec, usec;
};

int64_t sys_select(const uint64_t arg[static 6])
{
    const uint64_t user[3] = {arg[1], arg[2], arg[3]};
    uint64_t deadline = DEADLINE_NEVER;
    if (arg[4] != 0) {
        struct user_timeval tv;
        if (copy_from_user(&tv, arg[4], sizeof(tv)) < 0)
            return -EFAULT;
        if (tv.sec < 0 || tv.usec < 0) // microseconds may be more than a second: Linux carries
            return -EINVAL;
        uint64_t ns;
        if (__builtin_mul_overflow((uint64_t)tv.sec, NS_PER_SEC, &ns) ||
            __builtin_add_overflow(ns, (uint64_t)tv.usec * 1000, &ns))
            ns = DEADLINE_NEVER;
        deadline = deadline_in(ns);
    }
    int64_t r = do_select((int)arg[0], user, deadline);
    if (arg[4] != 0) {
        uint64_t ns = left_until(deadline);
        struct user_timeval tv = {(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC / 1000)};
        if (copy_to_user(arg[4], &tv, sizeof(tv)) < 0 && r == -ERESTARTNOHAND)
            r = -EINTR;
    }
    return r;
}

int64_t sys_pselect6(const uint64_t arg[static 6])
{
    const uint64_t user[3] = {arg[1], arg[2], arg[3]};
    uint64_t ns, deadline = DEADLINE_NEVER, mask[2] = {0, 0};
    if (arg[5] != 0 && copy_from_user(mask, arg[5], sizeof(mask)) < 0)
        return -EFAULT;
    if (arg[4] != 0) {
        int r = timespec_from_user(arg[4], &ns);
        if (r < 0)
            return r;
        deadline = deadline_in(ns);
    }
    int r = sigmask_enter(mask[0], mask[1]);
    if (r < 0)
        return r;
    int64_t n = do_select((int)arg[0], user, deadline);
    if (arg[4] != 0 && timespec_to_user(arg[4], left_until(deadline)) < 0 && n == -ERESTARTNOHAND)
        n = -EINTR;
    if (mask[0] != 0)
        sigmask_leave(n);
    return n;
}
