// SPDX-License-Identifier: Apache-2.0
#include "kernel/vfs/seams_host.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/errno.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/random.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/linux/process.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/mm.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/stats.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/wait.h"
#include "kernel/sched/work.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

// --- memory ---

static size_t live;         // atomic
static unsigned fail_after; // atomic

static bool fails(void)
{
    unsigned n = __atomic_load_n(&fail_after, __ATOMIC_RELAXED);
    return n > 0 && __atomic_sub_fetch(&fail_after, 1, __ATOMIC_RELAXED) == 0;
}

void host_fail_alloc(unsigned after)
{
    __atomic_store_n(&fail_after, after, __ATOMIC_RELAXED);
}

size_t host_live(void)
{
    return __atomic_load_n(&live, __ATOMIC_RELAXED);
}

void *kmalloc(size_t bytes)
{
    ASSERT(bytes > 0 && bytes <= 128 * 1024);
    if (fails())
        return NULL;
    __atomic_fetch_add(&live, 1, __ATOMIC_RELAXED);
    return malloc(bytes);
}

void *kzalloc(size_t bytes)
{
    void *p = kmalloc(bytes);
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

void kfree(void *p)
{
    if (p != NULL)
        __atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
    free(p);
}

struct host_page { // the page's description lies behind its data
    struct page page;
    char *data;
};

struct page *page_alloc(unsigned order)
{
    size_t bytes = (size_t)PAGE_SIZE << order;
    if (fails())
        return NULL;
    char *data = aligned_alloc(PAGE_SIZE, bytes + PAGE_SIZE);
    if (data == NULL)
        return NULL;
    struct host_page *h = (void *)(data + bytes);
    *h = (struct host_page){.page = {.refs = 1, .order = (uint8_t)order}, .data = data};
    list_init(&h->page.link);
    __atomic_fetch_add(&live, 1, __ATOMIC_RELAXED);
    return &h->page;
}

struct page *page_alloc_zero(unsigned order)
{
    struct page *p = page_alloc(order);
    if (p != NULL)
        memset(page_virt(p), 0, (size_t)PAGE_SIZE << order);
    return p;
}

void page_get(struct page *p)
{
    __atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
}

void page_put(struct page *p)
{
    if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    __atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
    free(page_virt(p));
}

void *page_virt(const struct page *p)
{
    return ((const struct host_page *)p)->data; // its first member
}

uint64_t page_phys(const struct page *p)
{
    return (uint64_t)page_virt(p);
}

struct page *page_of(const void *address) // of one page
{
    return (struct page *)((uintptr_t)address + PAGE_SIZE);
}

void *virt_of(uint64_t phys)
{
    return (void *)phys;
}

void mem_stats_get(struct mem_stats *ret)
{
    *ret = (struct mem_stats){
        .total_bytes = 64 << 20, .free_bytes = 32 << 20, .cache_bytes = pagecache_clean_bytes()};
}

static struct shrinker *shrinker;

void shrinker_register(struct shrinker *s)
{
    shrinker = s;
}

size_t host_shrink(size_t pages)
{
    return shrinker->shrink(pages);
}

// --- user memory: the test's own; the first page and the upper half are not there ---

static bool bad(uint64_t user, size_t n)
{
    return n > 0 && (user < PAGE_SIZE || !user_range_ok(user, n));
}

int copy_from_user(void *to, uint64_t from_user, size_t n)
{
    if (bad(from_user, n))
        return -EFAULT;
    memcpy(to, (const void *)from_user, n);
    return 0;
}

int copy_to_user(uint64_t to_user, const void *from, size_t n)
{
    if (bad(to_user, n))
        return -EFAULT;
    memcpy((void *)to_user, from, n);
    return 0;
}

int clear_user(uint64_t to_user, size_t n)
{
    if (bad(to_user, n))
        return -EFAULT;
    memset((void *)to_user, 0, n);
    return 0;
}

int64_t strncpy_from_user(char *to, uint64_t from_user, size_t max)
{
    if (bad(from_user, 1))
        return -EFAULT;
    size_t n = strnlen((const char *)from_user, max);
    if (n == max)
        return -ENAMETOOLONG;
    memcpy(to, (const void *)from_user, n + 1);
    return (int64_t)n;
}

// --- locks ---

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER; // sleepers and time
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void mutex_init(struct mutex *m)
{
    *m = (struct mutex){0};
    list_init(&m->sleepers);
}

void mutex_lock(struct mutex *m)
{
    struct task *nobody = NULL;
    ASSERT(__atomic_load_n(&m->owner, __ATOMIC_RELAXED) != current());
    while (!__atomic_compare_exchange_n(&m->owner, &nobody, current(), false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
        nobody = NULL;
        sched_yield();
    }
}

void mutex_unlock(struct mutex *m)
{
    ASSERT(__atomic_load_n(&m->owner, __ATOMIC_RELAXED) == current());
    __atomic_store_n(&m->owner, NULL, __ATOMIC_RELEASE);
}

// --- tasks ---

struct host_task {
    struct task task;
    bool woken; // protected by world
    bool signal;
};

static struct process process;
static _Thread_local struct host_task self;
static _Thread_local struct thread thread;
static int sent[64];

struct task *current(void)
{
    if (self.task.process == NULL) {
        self.task.process = &process;
        self.task.tid = 1;
        self.task.thread = &thread;
        list_init(&self.task.process_link);
    }
    return &self.task;
}

void task_breathe(void)
{
}

bool signal_pending(const struct task *t)
{
    return ((const struct host_task *)t)->signal; // its first member
}

void host_signal(bool pending)
{
    (void)current();
    self.signal = pending;
}

void signal_send_task(struct task *t UNUSED, int signo)
{
    __atomic_fetch_add(&sent[signo], 1, __ATOMIC_RELAXED);
}

void signal_send_owner(int type UNUSED, int id UNUSED, const struct siginfo *info)
{
    __atomic_fetch_add(&sent[info->signo], 1, __ATOMIC_RELAXED);
}

bool signal_refused(int signo UNUSED)
{
    return false;
}

bool signal_owner_exists(int type UNUSED, int id UNUSED)
{
    return true;
}

void work_raise(struct work *w)
{
    w->run(w);
}

int host_signals_sent(int signo)
{
    return __atomic_exchange_n(&sent[signo], 0, __ATOMIC_RELAXED);
}

void waitq_init(struct waitq *q)
{
    *q = (struct waitq){0};
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
    LIST_FOR_EACH_SAFE (at, &q->waiters) {
        struct waiter *w = LIST_ENTRY(at, struct waiter, link);
        if ((w->events & events) == 0)
            continue;
        if (w->exclusive && exclusive_max == 0)
            break;
        if (w->wake(w, events) && w->exclusive)
            exclusive_max--;
    }
    spin_unlock(&q->lock);
}

static bool wake_task(struct waiter *w, uint32_t events UNUSED)
{
    task_wake(CONTAINER_OF(w, struct task_waiter, w)->task);
    return true;
}

void task_wait_begin(struct task_waiter *tw, struct waitq *q, uint32_t events, bool exclusive)
{
    *tw = (struct task_waiter){.w = {.wake = wake_task, .events = events, .exclusive = exclusive},
                               .task = current()};
    waitq_add(q, &tw->w);
}

void task_wait_end(struct task_waiter *tw, struct waitq *q)
{
    waitq_remove(q, &tw->w);
}

void task_wait_arm(struct task_waiter *tw, struct waitq *q, uint32_t events)
{
    task_wait_begin(tw, q, events, false);
    task_prepare_sleep();
}

void task_wait_disarm(struct task_waiter *tw, struct waitq *q)
{
    task_cancel_sleep();
    task_wait_end(tw, q);
}

bool task_wake(struct task *t)
{
    pthread_mutex_lock(&world);
    CONTAINER_OF(t, struct host_task, task)->woken = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&world);
    return true;
}

void task_prepare_sleep(void)
{
    (void)current();
    pthread_mutex_lock(&world);
    self.woken = false;
    pthread_mutex_unlock(&world);
}

void task_cancel_sleep(void)
{
}

// --- time ---

static uint64_t now_ns = 1000000000; // protected by world
static struct ktimer *timers[64];    // protected by world

uint64_t clock_mono_ns(void)
{
    pthread_mutex_lock(&world);
    uint64_t n = now_ns;
    pthread_mutex_unlock(&world);
    return n;
}

uint64_t clock_real_ns(void)
{
    return clock_mono_ns() + 1700000000ull * NS_PER_SEC;
}

void ktimer_init(struct ktimer *t, void (*run)(struct ktimer *t))
{
    *t = (struct ktimer){.run = run};
}

void ktimer_arm(struct ktimer *t, uint64_t deadline_ns)
{
    pthread_mutex_lock(&world);
    t->deadline_ns = deadline_ns;
    unsigned at = 0;
    while (timers[at] != NULL && timers[at] != t)
        ASSERT(++at < ARRAY_LEN(timers));
    timers[at] = t;
    pthread_mutex_unlock(&world);
}

bool ktimer_cancel(struct ktimer *t)
{
    pthread_mutex_lock(&world);
    bool was = false;
    for (unsigned i = 0; i < ARRAY_LEN(timers); i++)
        if (timers[i] == t) {
            timers[i] = NULL;
            was = true;
        }
    pthread_mutex_unlock(&world);
    return was;
}

/* The earliest timer due by `until`, disarmed, time moved there; or NULL. */
static struct ktimer *due(uint64_t until)
{
    struct ktimer *first = NULL;
    pthread_mutex_lock(&world);
    for (unsigned i = 0; i < ARRAY_LEN(timers); i++)
        if (timers[i] != NULL && timers[i]->deadline_ns <= until &&
            (first == NULL || timers[i]->deadline_ns < first->deadline_ns))
            first = timers[i];
    if (first != NULL) {
        now_ns = MAX(now_ns, first->deadline_ns);
        for (unsigned i = 0; i < ARRAY_LEN(timers); i++)
            if (timers[i] == first)
                timers[i] = NULL;
    }
    pthread_mutex_unlock(&world);
    return first;
}

void host_advance(uint64_t ns)
{
    uint64_t until = clock_mono_ns() + ns;
    struct ktimer *t;
    while ((t = due(until)) != NULL)
        t->run(t);
    pthread_mutex_lock(&world);
    now_ns = MAX(now_ns, until);
    pthread_mutex_unlock(&world);
}

static bool woken(void)
{
    pthread_mutex_lock(&world);
    bool w = self.woken;
    pthread_mutex_unlock(&world);
    return w;
}

int task_sleep(uint64_t deadline_ns, bool interruptible)
{
    if (woken())
        return 0;
    if (interruptible && self.signal)
        return -EINTR;
    struct ktimer *t = due(deadline_ns);
    if (t != NULL) {
        t->run(t);
        return 0; // perhaps spurious
    }
    pthread_mutex_lock(&world);
    int r = 0;
    if (deadline_ns != DEADLINE_NEVER) {
        now_ns = MAX(now_ns, deadline_ns);
        r = -ETIMEDOUT;
    } else {
        struct timespec limit;
        clock_gettime(CLOCK_REALTIME, &limit);
        limit.tv_sec += 20;
        while (!self.woken && r == 0)
            r = pthread_cond_timedwait(&changed, &world, &limit);
        ASSERT(self.woken); // nobody would ever wake it
        r = 0;
    }
    pthread_mutex_unlock(&world);
    return r;
}

int timespec_from_user(uint64_t user, uint64_t *ret_ns)
{
    struct user_timespec ts;
    if (copy_from_user(&ts, user, sizeof(ts)) < 0)
        return -EFAULT;
    if (ts.sec < 0 || ts.nsec < 0 || ts.nsec >= (int64_t)NS_PER_SEC)
        return -EINVAL;
    *ret_ns = (uint64_t)ts.sec * NS_PER_SEC + (uint64_t)ts.nsec;
    return 0;
}

int timespec_to_user(uint64_t user, uint64_t ns)
{
    struct user_timespec ts = {(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC)};
    return copy_to_user(user, &ts, sizeof(ts));
}

int sigmask_enter(uint64_t user, uint64_t size)
{
    return user != 0 && size != 8 ? -EINVAL : 0;
}

void sigmask_leave(int64_t result UNUSED)
{
}

// --- the rest ---

struct boot_params boot_params = {.host = "skerry"};
struct waitq console_waitq = {.waiters = {&console_waitq.waiters, &console_waitq.waiters}};
static char console_out[65536], console_in[256];
static size_t console_out_len, console_in_len;

void console_write(const void *data, size_t len)
{
    len = MIN(len, sizeof(console_out) - console_out_len);
    memcpy(console_out + console_out_len, data, len);
    console_out_len += len;
}

size_t host_console(const char **ret)
{
    *ret = console_out;
    return TAKE(console_out_len);
}

void host_type(const char *text)
{
    console_in_len = MIN(strlen(text), sizeof(console_in));
    memcpy(console_in, text, console_in_len);
    waitq_wake(&console_waitq, EV_IN, 1);
}

size_t console_read(void *to, size_t max)
{
    size_t n = MIN(max, console_in_len);
    memcpy(to, console_in, n);
    memmove(console_in, console_in + n, console_in_len - n);
    console_in_len -= n;
    return n;
}

bool console_readable(void)
{
    return console_in_len > 0;
}

void random_bytes(void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = (uint8_t)rand();
}

void random_add(const void *data UNUSED, size_t n UNUSED)
{
}

int mm_for_each(struct mm *mm UNUSED, int (*fn)(const struct vma_info *v, void *ctx), void *ctx)
{
    static const struct vma_info v = {
        .start = 0x400000, .end = 0x401000, .prot = MM_READ | MM_EXEC, .name = "/bin/program"};
    return fn(&v, ctx);
}

bool mm_give_back(struct mm *mm UNUSED)
{
    return false;
}

void mm_stats_get(struct mm *mm UNUSED, struct mm_stats *ret)
{
    *ret = (struct mm_stats){.virtual_bytes = PAGE_SIZE, .resident_bytes = PAGE_SIZE};
}

unsigned stats_cpus(void)
{
    return 1;
}

uint64_t stats_cpu_busy_ns(void)
{
    return 0;
}

int mm_read(struct mm *mm UNUSED, uint64_t from, void *to, size_t n)
{
    return copy_from_user(to, from, n);
}

void mm_put(struct mm *mm UNUSED)
{
}

struct process *process_get(int pid)
{
    return pid == process.pid ? &process : NULL;
}

int process_next(int pid)
{
    return pid <= process.pid ? process.pid : -1;
}

void process_put(struct process *p UNUSED)
{
}

struct mm *process_mm(struct process *p)
{
    return p->mm;
}

struct fdtable *process_files(struct process *p)
{
    return fdtable_get(p->files);
}

struct fs_context *process_fs(struct process *p)
{
    return fs_context_get(p->fs);
}

bool process_stopped(struct process *p UNUSED)
{
    return false;
}

bool process_runs(struct process *p UNUSED)
{
    return true;
}

uint64_t stats_process_ns(struct process *p UNUSED)
{
    return 0;
}

size_t stats_cpu_text(char *to, size_t max)
{
    return (size_t)snprintf(to, max, "vendor_id\t: host\n");
}

bool stats_rlimit(unsigned n, uint64_t *ret_soft, uint64_t *ret_hard)
{
    *ret_soft = *ret_hard = UINT64_MAX;
    return n < 16;
}

// --- a file as a disk ---

struct host_disk {
    int fd;
    bool fail;
};

static void disk_submit(struct block_dev *dev, struct block_req *req)
{
    const struct host_disk *d = dev->driver;
    uint64_t at = req->offset;
    int status = d->fail ? -EIO : 0;
    for (unsigned i = 0; i < req->seg_count && status == 0; i++) {
        ssize_t n = pread(d->fd, (void *)req->segs[i].phys, req->segs[i].bytes, (off_t)at);
        if (n != (ssize_t)req->segs[i].bytes)
            status = -EIO;
        at += req->segs[i].bytes;
    }
    req->done(req, status);
}

int host_disk_open(const char *path, struct block_dev *ret)
{
    struct stat st;
    struct host_disk *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    d->fd = open(path, O_RDWR | O_CLOEXEC);
    if (d->fd < 0 || fstat(d->fd, &st) < 0)
        return -ENOENT;
    *ret = (struct block_dev){.bytes = (uint64_t)st.st_size, .submit = disk_submit, .driver = d};
    return 0;
}

void host_disk_fail(struct block_dev *d, bool fail)
{
    ((struct host_disk *)d->driver)->fail = fail;
}

uint8_t host_disk_poke(struct block_dev *d, uint64_t at, uint8_t byte)
{
    const struct host_disk *disk = d->driver;
    uint8_t old;
    ASSERT(pread(disk->fd, &old, 1, (off_t)at) == 1 && pwrite(disk->fd, &byte, 1, (off_t)at) == 1);
    return old;
}

void host_init(void)
{
    static max_align_t mm; // never looked into
    process.mm = (struct mm *)&mm;
    process.pid = 1;
    process.task_count = 1;
    snprintf(process.exe_path, sizeof(process.exe_path), "/bin/program");
    list_init(&process.tasks);
    list_push_back(&process.tasks, &current()->process_link);
    snprintf(self.task.name, sizeof(self.task.name), "program");
    process.files = fdtable_new();
    process.fs = fs_context_new("/");
    ASSERT(process.files != NULL && process.fs != NULL);
}
