// SPDX-License-Identifier: Apache-2.0
/* The kernel's seams on the host, as far as sockets need them: threads are tasks on a kernel with
 * one CPU (shim_enter and shim_leave stand around each system call; a sleep lets others in), the
 * process's own memory is user memory (addresses below USER_LOW fault, and now and then a page is
 * "missing" for the atomic copies), a thread fires the timers. For tests only. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/random.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/wait.h"
#include "kernel/sched/work.h"
#include "kernel/socket/shim_host.h"
#include "kernel/socket/socket.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

enum { USER_LOW = 65536, FDS_MAX = 256, TIMERS_MAX = 16, MISSING_ONE_IN = 16 };

struct boot_params boot_params;

// ---- tasks and waiting; spinlocks are the kernel's own ----

void mutex_init(struct mutex *m)
{
    memset(m, 0, sizeof(*m));
}

struct host_task {
    struct task task;
    pthread_cond_t cond;
    bool woken; // protected by cpu
};

static struct process process = {.pid = 1};
static pthread_mutex_t cpu = PTHREAD_MUTEX_INITIALIZER; // whoever runs kernel code holds it

static struct host_task *task_self(void)
{
    static __thread struct host_task *me;
    if (me == NULL) {
        pthread_condattr_t attr;
        me = calloc(1, sizeof(*me)); // lives as long as the test
        me->task.process = &process;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&me->cond, &attr);
        // The kernel finds its task behind GS.
        char *gs = calloc(1, 4096);
        *(void **)(void *)(gs + CPU_CURRENT) = &me->task;
        enum { ARCH_SET_GS_NUMBER = 0x1001 };
        if (syscall(SYS_arch_prctl, ARCH_SET_GS_NUMBER, gs) != 0)
            abort();
    }
    return me;
}

void shim_enter(void)
{
    task_self();
    pthread_mutex_lock(&cpu);
}

void shim_leave(void)
{
    pthread_mutex_unlock(&cpu);
}

void waitq_init(struct waitq *q)
{
    memset(q, 0, sizeof(*q));
    list_init(&q->waiters);
}

void waitq_add(struct waitq *q, struct waiter *w)
{
    spin_lock(&q->lock);
    if (w->exclusive)
        list_push_back(&q->waiters, &w->link);
    else
        list_push_front(&q->waiters, &w->link);
    spin_unlock(&q->lock);
}

void waitq_remove(struct waitq *q, struct waiter *w)
{
    spin_lock(&q->lock);
    list_remove(&w->link);
    spin_unlock(&q->lock);
}

void waitq_wake(struct waitq *q, uint32_t events, unsigned exclusive_max)
{
    spin_lock(&q->lock);
    LIST_FOR_EACH_SAFE (node, &q->waiters) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        if (!(w->events & events) || (w->exclusive && exclusive_max == 0))
            continue;
        if (w->wake(w, events) && w->exclusive)
            exclusive_max--;
    }
    spin_unlock(&q->lock);
}

bool task_wake(struct task *t)
{
    struct host_task *h = CONTAINER_OF(t, struct host_task, task);
    h->woken = true;
    pthread_cond_signal(&h->cond);
    return true;
}

static bool wake_task(struct waiter *w, uint32_t events UNUSED)
{
    task_wake(CONTAINER_OF(w, struct task_waiter, w)->task);
    return true;
}

void task_wait_begin(struct task_waiter *tw, struct waitq *q, uint32_t events, bool exclusive)
{
    tw->w = (struct waiter){.wake = wake_task, .events = events, .exclusive = exclusive};
    list_init(&tw->w.link);
    tw->task = &task_self()->task;
    waitq_add(q, &tw->w);
}

void task_wait_end(struct task_waiter *tw, struct waitq *q)
{
    waitq_remove(q, &tw->w);
}

void task_prepare_sleep(void)
{
    task_self()->woken = false;
}

void task_cancel_sleep(void)
{
}

bool shim_never_sleep;

int task_sleep(uint64_t deadline_ns, bool interruptible UNUSED)
{
    struct host_task *h = task_self();
    struct timespec until = {(time_t)(deadline_ns / NS_PER_SEC), (long)(deadline_ns % NS_PER_SEC)};
    int r = 0;
    if (shim_never_sleep)
        return -EINTR;
    while (!h->woken && r == 0) {
        if (deadline_ns == DEADLINE_NEVER)
            pthread_cond_wait(&h->cond, &cpu);
        else
            r = pthread_cond_timedwait(&h->cond, &cpu, &until);
    }
    return h->woken ? 0 : -ETIMEDOUT;
}

static void *kthread_main(void *arg)
{
    void **a = arg;
    void (*run)(void *ctx);
    memcpy(&run, &a[0], sizeof(run));
    shim_enter();
    run(a[1]);
    shim_leave();
    free(a);
    return NULL;
}

int kthread_start(const char *name UNUSED, void (*run)(void *ctx), void *ctx)
{
    pthread_t t;
    void **a = calloc(2, sizeof(void *));
    memcpy(&a[0], &run, sizeof(run));
    a[1] = ctx;
    return pthread_create(&t, NULL, kthread_main, a) == 0 ? 0 : -ENOMEM;
}

void signal_send_task(struct task *t UNUSED, int signo)
{
    pthread_kill(pthread_self(), signo);
}

// ---- time ----

uint64_t clock_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static pthread_cond_t timer_cond;
static struct ktimer *timers[TIMERS_MAX]; // armed ones; protected by cpu

void ktimer_init(struct ktimer *t, void (*run)(struct ktimer *t))
{
    memset(t, 0, sizeof(*t));
    t->run = run;
}

void ktimer_arm(struct ktimer *t, uint64_t deadline_ns)
{
    size_t slot = 0;
    for (size_t i = TIMERS_MAX; i-- > 0;) {
        if (timers[i] == NULL || timers[i] == t)
            slot = timers[slot] == t ? slot : i;
    }
    t->deadline_ns = deadline_ns;
    timers[slot] = t;
    pthread_cond_signal(&timer_cond);
}

static void *timer_main(void *arg UNUSED)
{
    shim_enter();
    for (;;) {
        size_t first = 0;
        for (size_t i = 1; i < TIMERS_MAX; i++) {
            if (timers[i] != NULL &&
                (timers[first] == NULL || timers[i]->deadline_ns < timers[first]->deadline_ns))
                first = i;
        }
        struct ktimer *t = timers[first];
        if (t == NULL) {
            pthread_cond_wait(&timer_cond, &cpu);
        } else if (t->deadline_ns > clock_mono_ns()) {
            struct timespec until = {(time_t)(t->deadline_ns / NS_PER_SEC),
                                     (long)(t->deadline_ns % NS_PER_SEC)};
            pthread_cond_timedwait(&timer_cond, &cpu, &until);
        } else {
            timers[first] = NULL;
            t->run(t);
        }
    }
    return NULL;
}

void shim_start_timers(void)
{
    pthread_condattr_t attr;
    pthread_t t;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&timer_cond, &attr);
    if (pthread_create(&t, NULL, timer_main, NULL) != 0)
        abort();
}

// ---- work: run by the test ----

static struct work *works;

void work_raise(struct work *w)
{
    if (w->state)
        return;
    w->state = 1;
    w->next = works;
    works = w;
}

bool shim_run_work(void)
{
    struct work *w = works;
    if (w == NULL)
        return false;
    works = w->next;
    w->state = 0;
    w->run(w);
    return true;
}

static void (*irq_handler)(void *ctx);
static void *irq_ctx;

int irq_register(unsigned gsi UNUSED, bool level UNUSED, void (*handler)(void *ctx), void *ctx)
{
    irq_handler = handler;
    irq_ctx = ctx;
    return 0;
}

void shim_irq(void)
{
    irq_handler(irq_ctx);
}

// ---- memory ----

void *kmalloc(size_t bytes)
{
    return malloc(bytes);
}

void *kzalloc(size_t bytes)
{
    return calloc(1, bytes);
}

void kfree(void *p)
{
    free(p);
}

static struct list pages = {&pages, &pages}; // all, so that none counts as lost

struct page *page_alloc_zero(unsigned order)
{
    struct page *p = calloc(1, sizeof(*p));
    list_push_back(&pages, &p->link);
    p->refs = 1;
    p->order = (uint8_t)order;
    p->owner = calloc(1, (size_t)PAGE_SIZE << order);
    return p;
}

void *page_virt(const struct page *p)
{
    return p->owner;
}

struct page *page_of(const void *address UNUSED)
{
    abort(); // only to free the stack's tables, which live to the end
}

void page_put(struct page *p)
{
    list_remove(&p->link);
    free(p->owner);
    free(p);
}

uint64_t page_phys(const struct page *p)
{
    return (uintptr_t)p->owner;
}

volatile void *mmio_map(uint64_t phys UNUSED, size_t bytes UNUSED)
{
    return NULL;
}

uint64_t phys_of(const void *p)
{
    return (uintptr_t)p;
}

void mem_stats_get(struct mem_stats *ret)
{
    *ret = (struct mem_stats){.total_bytes = 256 << 20};
}

void shrinker_register(struct shrinker *s UNUSED)
{
}

/* A page that has to be fetched: others run meanwhile. */
static void page_sleep(void)
{
    shim_leave();
    sched_yield();
    shim_enter();
}

uintptr_t shim_user_start, shim_user_end;

static int user_copy(void *to, const void *from, uint64_t user, size_t n)
{
    if (n == 0)
        return 0;
    if (user < USER_LOW || !user_range_ok(user, n))
        return -EFAULT;
    if (shim_user_end != 0 && (user < shim_user_start || user + n > shim_user_end))
        return -EFAULT;
    memcpy(to, from, n);
    return 0;
}

int copy_from_user(void *to, uint64_t from_user, size_t n)
{
    page_sleep();
    return user_copy(to, (const void *)from_user, from_user, n);
}

int copy_to_user(uint64_t to_user, const void *from, size_t n)
{
    page_sleep();
    return user_copy((void *)to_user, from, to_user, n);
}

int clear_user(uint64_t to_user, size_t n)
{
    static const char zeroes[64];
    return n <= sizeof(zeroes) ? copy_to_user(to_user, zeroes, n) : -EFAULT;
}

static bool missing(void)
{
    static uint32_t count;
    return __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED) % MISSING_ONE_IN == 0;
}

int copy_from_user_atomic(void *to, uint64_t from_user, size_t n)
{
    return missing() ? -EFAULT : user_copy(to, (const void *)from_user, from_user, n);
}

int copy_to_user_atomic(uint64_t to_user, const void *from, size_t n)
{
    return missing() ? -EFAULT : user_copy((void *)to_user, from, to_user, n);
}

int timespec_from_user(uint64_t user UNUSED, uint64_t *ret_ns UNUSED)
{
    return -EFAULT; // no test passes one
}

int timespec_to_user(uint64_t user UNUSED, uint64_t ns UNUSED)
{
    return -EFAULT;
}

int uio_from_user(struct uio *ret, struct uio_seg *segs, unsigned max, uint64_t user_iov,
                  uint64_t count)
{
    if (count > max)
        return -EINVAL;
    if (copy_from_user(segs, user_iov, count * sizeof(*segs)) < 0)
        return -EFAULT;
    *ret = (struct uio){.seg = segs, .seg_count = (unsigned)count};
    for (uint64_t i = 0; i < count; i++)
        ret->left += segs[i].len;
    return 0;
}

int uio_take(struct uio *u, void *to, size_t n)
{
    uint8_t *p = to;
    while (n > 0) {
        size_t part = MIN(n, (size_t)u->seg->len - u->seg_done);
        int r = copy_from_user(p, u->seg->base + u->seg_done, part);
        if (r < 0)
            return r;
        p += part;
        n -= part;
        u->left -= part;
        u->seg_done += part;
        if (u->seg_done == u->seg->len && u->seg_count > 1) {
            u->seg++;
            u->seg_count--;
            u->seg_done = 0;
        }
    }
    return 0;
}

int unix_sock_new(uint16_t type UNUSED, struct sock **ret UNUSED)
{
    return -EAFNOSUPPORT; // they need the tree of files
}

// ---- the rest of the kernel ----

void random_bytes(void *to, size_t n)
{
    if (getrandom(to, n, 0) != (ssize_t)n)
        abort();
}

char shim_console[SHIM_CONSOLE_BYTES];

void random_add(const void *data UNUSED, size_t n UNUSED)
{
}

void kprintf(const char *format, ...)
{
    size_t n = strlen(shim_console);
    va_list args;
    va_start(args, format);
    vsnprintf(shim_console + n, sizeof(shim_console) - n, format, args);
    va_end(args);
}

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    abort();
}

int vfs_open(const char *path UNUSED, int flags UNUSED, uint32_t mode UNUSED,
             struct file **ret UNUSED)
{
    return -ENOENT;
}

int vfs_write_file(const char *path UNUSED, const void *data UNUSED, size_t len UNUSED,
                   uint32_t mode UNUSED)
{
    return 0;
}

uint64_t vfs_anon_ino(void)
{
    static uint64_t last;
    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

void kstat_anon(struct kstat *ret, uint32_t mode, uint64_t ino)
{
    *ret = (struct kstat){.mode = mode, .ino = ino};
}

int64_t file_no_seek(struct file *f UNUSED, int64_t offset UNUSED, int whence UNUSED)
{
    return -ESPIPE;
}

int file_no_page(struct file *f UNUSED, uint64_t index UNUSED, bool write UNUSED,
                 struct page **ret UNUSED)
{
    return -ENODEV;
}

// ---- files and descriptors ----

static struct file *fds[FDS_MAX]; // protected by cpu
static bool fds_used[FDS_MAX], fds_cloexec[FDS_MAX];

bool shim_cloexec(int fd)
{
    return fds_cloexec[fd];
}

struct file *file_new(const struct file_ops *ops, uint32_t flags, void *priv)
{
    struct file *f = calloc(1, sizeof(*f));
    f->ops = ops;
    f->flags = flags;
    f->refs = 1;
    f->priv = priv;
    return f;
}

void file_put(struct file *f)
{
    if (f != NULL && __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        f->ops->release(f);
        free(f);
    }
}

struct file *fd_get_io(int fd)
{
    struct file *f = fd >= 0 && fd < FDS_MAX ? fds[fd] : NULL;
    if (f != NULL)
        __atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
    return f;
}

int fd_reserve(bool cloexec)
{
    int fd = 0;
    while (fd < FDS_MAX && fds_used[fd])
        fd++;
    if (fd < FDS_MAX) {
        fds_used[fd] = true;
        fds_cloexec[fd] = cloexec;
    }
    return fd < FDS_MAX ? fd : -EMFILE;
}

void fd_publish(int fd, struct file *f)
{
    fds[fd] = f;
}

void fd_unreserve(int fd)
{
    fds_used[fd] = false;
}

int fd_install(struct file *f, int min UNUSED, bool cloexec)
{
    int fd = fd_reserve(cloexec);
    if (fd >= 0)
        fd_publish(fd, f);
    return fd;
}

int fd_close(int fd)
{
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return -EBADF;
    fds[fd] = NULL;
    fds_used[fd] = false;
    file_put(f);
    file_put(f);
    return 0;
}
