// SPDX-License-Identifier: Apache-2.0
/* Threads and processes: clone, exit, and the tables of both.
 *
 * A process whose last task has ended stays a zombie until its parent has waited for it (wait.c).
 * Of its memory it keeps struct process only. */
#include "kernel/linux/process.h"
#include "kernel/linux/fault_report.h"

#include "base/errno.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/machine.h"
#include "kernel/drivers/block.h"
#include "kernel/linux/exec.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/limits.h"
#include "kernel/linux/pidfd.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/linux/timers.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/vfs.h"

enum {
    CLONE_VM = 0x100,
    CLONE_FS = 0x200,
    CLONE_FILES = 0x400,
    CLONE_SIGHAND = 0x800,
    CLONE_PIDFD = 0x1000,
    CLONE_PTRACE = 0x2000,
    CLONE_VFORK = 0x4000,
    CLONE_PARENT = 0x8000,
    CLONE_THREAD = 0x10000,
    CLONE_NEWNS = 0x20000,
    CLONE_SYSVSEM = 0x40000,
    CLONE_SETTLS = 0x80000,
    CLONE_PARENT_SETTID = 0x100000,
    CLONE_CHILD_CLEARTID = 0x200000,
    CLONE_DETACHED = 0x400000,
    CLONE_UNTRACED = 0x800000,
    CLONE_CHILD_SETTID = 0x1000000,
};
static const uint64_t CLONE_CLEAR_SIGHAND = 0x100000000;
// What every thread library asks for; without these a thread would be a process.
static const uint64_t CLONE_THREAD_SET =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
static const uint64_t CLONE_KNOWN = CLONE_THREAD_SET | CLONE_SYSVSEM | CLONE_SETTLS |
                                    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |
                                    CLONE_CHILD_SETTID | CLONE_DETACHED | CLONE_UNTRACED;
static const uint64_t CLONE_PROCESS =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_VFORK | CLONE_PARENT | CLONE_SYSVSEM | CLONE_SETTLS |
    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_DETACHED |
    CLONE_UNTRACED | CLONE_PTRACE | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
enum { PROCESSES_MAX = TASKS_MAX }; // zombies too

struct process *program;

static struct spinlock table_lock;
static struct task *table[TASKS_MAX]; // by tid % TASKS_MAX; protected by table_lock
static int last_tid;                  // protected by table_lock
struct list processes = {&processes, &processes};
static unsigned process_count; // protected by table_lock

void process_table_lock(void)
{
    spin_lock(&table_lock);
}

void process_table_unlock(void)
{
    spin_unlock(&table_lock);
}

/* Nobody has this number, not even as that of a group or session. With the table locked. */
static bool number_free(int n)
{
    if (table[n % TASKS_MAX] != NULL)
        return false;
    LIST_FOR_EACH (node, &processes) {
        const struct process *p = LIST_ENTRY(node, struct process, all);
        if (p->pid == n || p->pgid == n || p->sid == n)
            return false;
    }
    return true;
}

/* Give t a tid. False when there are as many tasks as there may be. */
static bool tid_take(struct task *t)
{
    enum { TID_MAX = 4194304 };
    bool ok = false;
    spin_lock(&table_lock);
    for (int i = 0; i < TASKS_MAX && !ok; i++) {
        last_tid = last_tid == TID_MAX ? 2 : last_tid + 1;
        ok = number_free(last_tid);
    }
    if (ok) {
        t->tid = last_tid;
        table[t->tid % TASKS_MAX] = t;
    }
    spin_unlock(&table_lock);
    return ok;
}

static void tid_free(struct task *t)
{
    spin_lock(&table_lock);
    table[t->tid % TASKS_MAX] = NULL;
    spin_unlock(&table_lock);
}

struct task *task_find(int tid)
{
    spin_lock(&table_lock);
    struct task *t = tid > 0 ? table[tid % TASKS_MAX] : NULL;
    return t != NULL && t->tid == tid ? t : NULL;
}

void task_find_end(void)
{
    spin_unlock(&table_lock);
}

struct process *process_find(int pid)
{
    LIST_FOR_EACH (node, &processes) {
        struct process *p = LIST_ENTRY(node, struct process, all);
        if (p->pid == pid)
            return p;
    }
    return NULL;
}

struct process *process_ref(struct process *p)
{
    __atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

struct process *process_get(int pid)
{
    spin_lock(&table_lock);
    struct process *p = process_find(pid);
    if (p != NULL)
        process_ref(p);
    spin_unlock(&table_lock);
    return p;
}

bool process_there(const struct process *p)
{
    spin_lock(&table_lock);
    bool there = process_find(p->pid) == p;
    spin_unlock(&table_lock);
    return there;
}

int process_next(int pid)
{
    int next = -1;
    spin_lock(&table_lock);
    LIST_FOR_EACH (node, &processes) {
        const struct process *p = LIST_ENTRY(node, struct process, all);
        if (p->pid >= pid && (next < 0 || p->pid < next))
            next = p->pid;
    }
    spin_unlock(&table_lock);
    return next;
}

bool process_stopped(struct process *p)
{
    return __atomic_load_n(&p->signals->stopped, __ATOMIC_RELAXED) != 0;
}

bool process_runs(struct process *p)
{
    bool runs = false;
    spin_lock(&p->lock);
    LIST_FOR_EACH (node, &p->tasks) {
        const struct task *t = LIST_ENTRY(node, struct task, process_link);
        runs |= __atomic_load_n(&t->sched->state, __ATOMIC_RELAXED) == TASK_RUNNING;
    }
    spin_unlock(&p->lock);
    return runs;
}

void process_put(struct process *p)
{
    if (p == NULL || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    timers_exit(p); // of a copy that was never entered
    mm_put(p->mm);
    fdtable_put(p->files);
    fs_context_put(p->fs);
    signal_state_free(p->signals);
    kfree(p);
}

struct mm *process_mm(struct process *p)
{
    spin_lock(&p->lock);
    struct mm *mm = p->mm != NULL ? mm_get(p->mm) : NULL;
    spin_unlock(&p->lock);
    return mm;
}

struct fdtable *process_files(struct process *p)
{
    spin_lock(&p->lock);
    struct fdtable *files = p->files != NULL ? fdtable_get(p->files) : NULL;
    spin_unlock(&p->lock);
    return files;
}

struct fs_context *process_fs(struct process *p)
{
    spin_lock(&p->lock);
    struct fs_context *fs = p->fs != NULL ? fs_context_get(p->fs) : NULL;
    spin_unlock(&p->lock);
    return fs;
}

void task_for_each(void (*fn)(struct task *t, void *ctx), void *ctx)
{
    spin_lock(&table_lock);
    for (unsigned i = 0; i < TASKS_MAX; i++)
        if (table[i] != NULL)
            fn(table[i], ctx);
    spin_unlock(&table_lock);
}

int process_group(const struct process *p)
{
    return p->pgid;
}

static void thread_free(struct task *t)
{
    if (t->thread != NULL)
        sig_pending_clear(t->process->signals, &t->thread->pending);
    kfree(TAKE(t->thread));
}

/* A task of process p with a thread's state, in the table, not yet in p->tasks. */
static struct task *user_task_new(struct process *p, bool inherit)
{
    extern void user_fork_return(void);
    struct task *t = task_new(p, user_fork_return, 0, 0);
    if (t == NULL)
        return NULL;
    t->thread = kzalloc(sizeof(*t->thread));
    if (t->thread != NULL)
        sig_pending_init(&t->thread->pending);
    if (inherit)
        sched_inherit(t);
    if (t->thread == NULL || arch_task_init_user(t, inherit) < 0 || !tid_take(t)) {
        thread_free(t);
        task_free(t);
        return NULL;
    }
    process_ref(p);
    return t;
}

/* The other way, for a task that never ran. */
static void user_task_free(struct task *t)
{
    struct process *p = t->process;
    tid_free(t);
    thread_free(t);
    task_free(t);
    process_put(p);
}

static void join_process(struct process *p, struct task *t)
{
    spin_lock(&p->lock);
    list_push_back(&p->tasks, &t->process_link);
    p->task_count++;
    if (p->ending || p->executor != NULL) // it came too late to be told
        t->need_work = TASK_WORK_EXIT;
    spin_unlock(&p->lock);
}

static struct process *process_alloc(void)
{
    struct process *p = kzalloc(sizeof(*p));
    if (p == NULL)
        return NULL;
    p->refs = 1;
    list_init(&p->tasks);
    list_init(&p->children);
    list_init(&p->sibling);
    list_init(&p->all);
    waitq_init(&p->child_wait);
    waitq_init(&p->gone_wait);
    p->start_ns = clock_mono_ns();
    return p;
}

static struct process *process_new(const char *cwd)
{
    struct process *p = process_alloc();
    if (p == NULL)
        return NULL;
    p->mm = mm_new();
    p->files = fdtable_new();
    p->fs = fs_context_new(cwd);
    p->signals = signal_state_new();
    if (p->mm == NULL || p->files == NULL || p->fs == NULL || p->signals == NULL)
        return NULL; // only at start, where this ends the machine
    return p;
}

/* Descriptors 0, 1 and 2 on the console, as the current process. */
static int open_console(void)
{
    for (int fd = 0; fd < 3; fd++) {
        struct file *f = console_file_new(FILE_RDWR);
        int r = f != NULL ? fd_install(f, fd, false) : -ENOMEM;
        if (r < 0)
            return r;
    }
    return 0;
}

int process_start(const struct program_spec *spec, const char **ret_why)
{
    *ret_why = "out of memory";
    struct process *p = process_new(spec->cwd);
    struct task *t = p != NULL ? user_task_new(p, false) : NULL;
    if (t == NULL)
        return -ENOMEM;
    p->pid = p->pgid = p->sid = t->tid;
    spin_lock(&table_lock);
    list_push_back(&processes, &p->all);
    process_count++;
    spin_unlock(&table_lock);
    join_process(p, t);
    const char *name = strrchr(spec->path, '/');
    name = name != NULL ? name + 1 : spec->path;
    memcpy(t->name, name, strnlen(name, TASK_NAME_MAX - 1));
    // From here to the end the calling kernel thread acts as the new process.
    struct task *me = current();
    struct process *mine = me->process;
    me->process = p;
    mm_activate(p->mm);
    int r = open_console();
    if (r == 0)
        r = exec_load(p, spec, task_regs(t), ret_why);
    me->process = mine;
    if (r < 0)
        return r;
    program = p;
    char line[40];
    fmt(line, sizeof(line), "up %lu", (unsigned long)(clock_mono_ns() / 1000));
    status_line(line);
    task_start(t);
    return 0;
}

static int wait_exited(int status)
{
    return (status & 0xff) << 8;
}

NORETURN static void machine_end(int wait_status)
{
    char line[20];
    int signo = wait_status & 0x7f;
    fmt(line, sizeof(line), signo != 0 ? "signal %d" : "exit %d",
        signo != 0 ? signo : wait_status >> 8 & 0xff);
    socket_finish();
    status_line(line);
    power_off();
}

/* Tell all tasks of p but one to end. With p->lock. */
static void end_others(struct process *p, const struct task *but)
{
    LIST_FOR_EACH (node, &p->tasks) {
        struct task *t = LIST_ENTRY(node, struct task, process_link);
        if (t == but)
            continue;
        __atomic_fetch_or(&t->need_work, TASK_WORK_EXIT, __ATOMIC_RELAXED);
        task_notify(t);
    }
}

NORETURN static void thread_exit(int wait_status);

void process_end(int wait_status)
{
    struct process *p = current()->process;
    if (p == program)
        machine_end(wait_status);
    spin_lock(&p->lock);
    if (!p->ending) {
        p->ending = true;
        p->wait_status = wait_status;
        end_others(p, current());
    }
    spin_unlock(&p->lock);
    thread_exit(wait_status);
}

void process_exit_group(int status)
{
    process_end(wait_exited(status));
}

void process_killed(const struct siginfo *info)
{
    if (current()->process == program)
        fault_report(info);
    process_end(info->signo);
}

void task_end(void)
{
    thread_exit(0);
}

bool process_out_of_memory(void)
{
    enum { PATIENCE_NS = 1000000000, PAUSE_NS = 1000000 };
    static uint64_t patience_end; // protected by table_lock: for the one that ends to be gone
    static int victim_pid;        // protected by table_lock
    struct process *victim = NULL, *me = current()->process;
    uint64_t most = 0, now = clock_mono_ns();
    spin_lock(&table_lock);
    const struct process *before = victim_pid != 0 ? process_find(victim_pid) : NULL;
    // Once its memory has come back it was not enough.
    bool pending = before != NULL && now < patience_end && before->mm != NULL;
    LIST_FOR_EACH (node, &processes) {
        struct process *p = LIST_ENTRY(node, struct process, all);
        spin_lock(&p->lock);
        uint64_t pages = p->mm != NULL ? p->mm->resident : 0; // about
        spin_unlock(&p->lock);
        if (pages > most && !p->ending) {
            most = pages;
            victim = p;
        }
    }
    if (!pending) {
        victim = victim != NULL ? victim : me;
        victim_pid = victim->pid;
        patience_end = now + PATIENCE_NS;
        process_ref(victim);
    }
    bool mine = victim_pid == me->pid;
    spin_unlock(&table_lock);
    if (!pending) {
        struct mem_stats m;
        mem_stats_get(&m);
        kprintf("skerry: out of memory: %s holds %lu KiB of %lu KiB; give it more with -m",
                victim == program ? "the program" : "a process of the program",
                (unsigned long)(most << (PAGE_SHIFT - 10)), (unsigned long)(m.total_bytes >> 10));
        if (victim == program)
            machine_end(SIGKILL);
        signal_send_process(victim, SIGKILL);
        process_put(victim);
    }
    if (mine || task_dies())
        return false;
    task_prepare_sleep();
    (void)!task_sleep(now + PAUSE_NS, false);
    return true;
}

void task_started(void)
{
    struct task *t = current();
    const uint32_t tid = (uint32_t)t->tid;
    __atomic_fetch_and(&t->need_work, ~(uint32_t)TASK_WORK_START, __ATOMIC_RELAXED);
    (void)!copy_to_user(t->thread->set_tid, &tid, sizeof(tid)); // as Linux schedule_tail
}

struct clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
};

/* Linux 6.1 kernel/fork.c copy_process: what is wrong comes first, then what this kernel lacks. */
static int check_clone(const struct clone_args *a)
{
    uint64_t f = a->flags;
    if (((f & CLONE_THREAD) && !(f & CLONE_SIGHAND)) || ((f & CLONE_SIGHAND) && !(f & CLONE_VM)))
        return -EINVAL;
    if ((f & CLONE_SIGHAND) && (f & CLONE_CLEAR_SIGHAND))
        return -EINVAL;
    if ((f & CLONE_PIDFD) && ((f & (CLONE_DETACHED | CLONE_THREAD)) ||
                              ((f & CLONE_PARENT_SETTID) && a->pidfd == a->parent_tid)))
        return -EINVAL;
    if (f & CLONE_THREAD)
        return f & ~CLONE_KNOWN || (f & CLONE_THREAD_SET) != CLONE_THREAD_SET ? -EINVAL : 0;
    if ((f & CLONE_PARENT) && current()->process == program)
        return -EINVAL;
    return f & ~CLONE_PROCESS ? -EINVAL : 0;
}

struct count_of_user {
    uint32_t uid;
    uint64_t tasks;
};

static void count_one(struct task *t, void *ctx)
{
    struct count_of_user *c = ctx;
    c->tasks += t->thread != NULL && t->process->creds.uid == c->uid;
}

/* RLIMIT_NPROC counts the tasks of a user; it does not hold for root and who may raise it. */
static bool may_have_more_tasks(struct process *p)
{
    struct count_of_user c = {.uid = p->creds.uid};
    if (LIKELY(c.uid == 0) || capable(CAP_SYS_RESOURCE))
        return true;
    task_for_each(count_one, &c);
    return c.tasks < rlimit_of(p, RLIMIT_NPROC).soft;
}

/* The registers and what else of the calling thread the new one begins with. */
static void thread_copy(struct task *t, const struct clone_args *a)
{
    const struct thread *mine = current()->thread;
    struct regs *regs = task_regs(t);
    *regs = *task_regs(current());
    regs->rax = 0;
    regs->vector = 0;
    if (a->stack != 0)
        regs->rsp = a->stack;
    if (a->flags & CLONE_SETTLS)
        t->arch->fs_base = a->tls;
    t->thread->blocked = mine->blocked;
    if (a->flags & CLONE_CHILD_CLEARTID)
        t->thread->clear_tid = a->child_tid;
    if (!(a->flags & CLONE_VM) || (a->flags & CLONE_VFORK)) {
        t->thread->alt_sp = mine->alt_sp;
        t->thread->alt_bytes = mine->alt_bytes;
        t->thread->alt_flags = mine->alt_flags;
    }
    memcpy(t->name, current()->name, TASK_NAME_MAX);
}

static int64_t clone_thread(const struct clone_args *a)
{
    struct process *p = current()->process;
    struct task *t = user_task_new(p, true);
    if (t == NULL)
        return -EAGAIN;
    thread_copy(t, a);
    const uint32_t tid = (uint32_t)t->tid;
    if (((a->flags & CLONE_PARENT_SETTID) && copy_to_user(a->parent_tid, &tid, sizeof(tid)) < 0) ||
        ((a->flags & CLONE_CHILD_SETTID) && copy_to_user(a->child_tid, &tid, sizeof(tid)) < 0)) {
        user_task_free(t);
        return -EFAULT;
    }
    join_process(p, t);
    task_start(t);
    return (int64_t)tid;
}

/* A process with what the current one has, copied or shared as the flags say; in no table yet. */
static int process_copy(const struct clone_args *a, struct process **ret)
{
    struct process *from = current()->process, *p = process_alloc();
    uint64_t f = a->flags;
    if (p == NULL)
        return -ENOMEM;
    spin_lock(&from->lock);
    p->creds = from->creds;
    p->limits = from->limits;
    p->not_dumpable = from->not_dumpable;
    memcpy(p->exe_path, from->exe_path, sizeof(p->exe_path));
    p->arg_start = from->arg_start;
    p->arg_end = from->arg_end;
    p->env_start = from->env_start;
    p->env_end = from->env_end;
    p->auxv_start = from->auxv_start;
    p->auxv_end = from->auxv_end;
    spin_unlock(&from->lock);
    p->exit_signal = (uint8_t)a->exit_signal;
    p->signals = signal_state_copy(from->signals, (f & CLONE_CLEAR_SIGHAND) != 0);
    p->files = f & CLONE_FILES ? fdtable_get(from->files) : fdtable_copy(from->files);
    p->fs = f & CLONE_FS ? fs_context_get(from->fs) : fs_context_copy(from->fs);
    int r = p->signals != NULL && p->files != NULL && p->fs != NULL ? 0 : -ENOMEM;
    if (r == 0 && (f & CLONE_VM))
        p->mm = mm_get(from->mm);
    else if (r == 0)
        r = mm_fork(from->mm, &p->mm);
    if (r < 0) {
        process_put(p);
        return r;
    }
    limits_apply(p);
    *ret = p;
    return 0;
}

/* Give p its place in the tree. False when there are too many, or the caller is to end anyway. */
static bool process_enter(struct process *p, uint64_t flags)
{
    struct process *me = current()->process;
    spin_lock(&table_lock);
    bool ok = process_count < PROCESSES_MAX;
    if (ok) {
        struct process *parent = flags & CLONE_PARENT ? me->parent : me;
        if (flags & CLONE_PARENT)
            p->exit_signal = me->exit_signal;
        p->parent = parent;
        p->ppid = parent->pid;
        p->pgid = me->pgid;
        p->sid = me->sid;
        list_push_back(&parent->children, &p->sibling);
        list_push_back(&processes, &p->all);
        process_count++;
    }
    spin_unlock(&table_lock);
    return ok;
}

void process_left_memory(struct process *p)
{
    __atomic_store_n(&p->mm_gone, true, __ATOMIC_RELEASE);
    waitq_wake(&p->gone_wait, EV_IN, 0);
}

/* CLONE_PIDFD: p's descriptor, told but not there yet. 0 with *ret and *ret_fd, or -errno. */
static int pidfd_prepare(struct process *p, const struct clone_args *a, struct file **ret,
                         int *ret_fd)
{
    const int fd = fd_reserve(true);
    if (fd < 0)
        return fd;
    struct file *f = pidfd_new(p, 0);
    if (f == NULL || copy_to_user(a->pidfd, &fd, sizeof(fd)) < 0) {
        fd_unreserve(fd);
        file_put(f);
        return f == NULL ? -ENOMEM : -EFAULT;
    }
    *ret = f;
    *ret_fd = fd;
    return 0;
}

static int64_t clone_process(const struct clone_args *a)
{
    struct process *p;
    int r = process_copy(a, &p);
    if (r < 0)
        return r;
    struct task *t = user_task_new(p, true);
    if (t == NULL) {
        process_put(p);
        return -EAGAIN;
    }
    thread_copy(t, a);
    const uint32_t tid = (uint32_t)t->tid;
    p->pid = t->tid;
    if (a->flags & CLONE_CHILD_SETTID) {
        t->thread->set_tid = a->child_tid;
        t->need_work = TASK_WORK_START;
    }
    struct file *pidfd = NULL;
    int fd = -1;
    r = a->flags & CLONE_PIDFD ? pidfd_prepare(p, a, &pidfd, &fd) : 0;
    if (r == 0 && !process_enter(p, a->flags))
        r = -EAGAIN;
    if (r < 0) {
        if (pidfd != NULL)
            fd_unreserve(fd);
        file_put(pidfd);
        user_task_free(t);
        process_put(p);
        return r;
    }
    if (pidfd != NULL)
        fd_publish(fd, pidfd);
    join_process(p, t);
    if (a->flags & CLONE_PARENT_SETTID)
        (void)!copy_to_user(a->parent_tid, &tid, sizeof(tid)); // as Linux kernel_clone
    bool vfork = (a->flags & CLONE_VFORK) != 0;
    if (vfork)
        process_ref(p);
    task_start(t);
    if (vfork) {
        (void)!WAIT_EVENT(&p->gone_wait, EV_IN,
                          __atomic_load_n(&p->mm_gone, __ATOMIC_ACQUIRE) || task_dies(),
                          DEADLINE_NEVER, false);
        process_put(p);
    }
    return (int64_t)tid;
}

static int64_t do_clone(const struct clone_args *a)
{
    int r = check_clone(a);
    if (r < 0)
        return r;
    if (!may_have_more_tasks(current()->process))
        return -EAGAIN;
    return a->flags & CLONE_THREAD ? clone_thread(a) : clone_process(a);
}

int64_t sys_fork(UNUSED const uint64_t arg[static 6])
{
    const struct clone_args a = {.exit_signal = SIGCHLD};
    return do_clone(&a);
}

int64_t sys_vfork(UNUSED const uint64_t arg[static 6])
{
    const struct clone_args a = {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD};
    return do_clone(&a);
}

int64_t sys_clone(const uint64_t arg[static 6])
{
    const struct clone_args a = {.flags = arg[0] & ~0xffull,
                                 .exit_signal = arg[0] & 0xff,
                                 .stack = arg[1],
                                 .pidfd = arg[2], // with CLONE_PIDFD
                                 .parent_tid = arg[2],
                                 .child_tid = arg[3],
                                 .tls = arg[4]};
    return a.exit_signal <= SIGNALS ? do_clone(&a) : -EINVAL;
}

int64_t sys_clone3(const uint64_t arg[static 6])
{
    enum { SIZE_FIRST = 64 };
    struct clone_args a = {0};
    uint64_t size = arg[1];
    if (size < SIZE_FIRST)
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (copy_from_user(&a, arg[0], MIN(size, sizeof(a))) < 0)
        return -EFAULT;
    for (uint64_t at = sizeof(a); at < size; at++) {
        uint8_t byte;
        if (copy_from_user(&byte, arg[0] + at, 1) < 0)
            return -EFAULT;
        if (byte != 0)
            return -E2BIG;
    }
    if (a.set_tid_size != 0 || a.cgroup != 0 || (a.stack == 0) != (a.stack_size == 0))
        return -EINVAL;
    if (((a.flags & (CLONE_THREAD | CLONE_PARENT)) && a.exit_signal != 0) ||
        a.exit_signal > SIGNALS || (a.flags & (CLONE_DETACHED | 0xff)))
        return -EINVAL;
    a.stack += a.stack_size;
    return do_clone(&a);
}

/* What the thread promised others to do at its end, in memory they may share. */
static void thread_farewell(struct task *t)
{
    struct thread *th = t->thread;
    if (th->robust_head != 0)
        futex_exit_robust(th->robust_head, t->tid);
    if (th->clear_tid != 0) {
        const uint32_t zero = 0;
        if (copy_to_user(th->clear_tid, &zero, sizeof(zero)) == 0)
            futex_wake_address(th->clear_tid, 1);
    }
    th->robust_head = th->clear_tid = 0;
}

/* The current task is the last of p: give back what p has. */
static void give_back(struct process *p)
{
    spin_lock(&p->lock);
    struct mm *mm = TAKE(p->mm);
    struct fdtable *files = TAKE(p->files);
    struct fs_context *fs = TAKE(p->fs);
    spin_unlock(&p->lock);
    mm_put(mm);
    process_left_memory(p);
    fdtable_put(files);
    fs_context_put(fs);
}

/* wait_status counts if this is the first thread and nobody ended the process. */
static void thread_exit(int wait_status)
{
    struct task *t = current();
    struct process *p = t->process;
    thread_farewell(t);
    futex_exit_pi(t);
    uint64_t cpu_ns = task_cpu_ns(t);
    tid_free(t);
    spin_lock(&p->lock);
    if (t->tid == p->pid && !p->ending)
        p->wait_status = wait_status;
    list_remove(&t->process_link);
    bool last = --p->task_count == 0;
    int status = p->wait_status;
    p->exited_cpu_ns += cpu_ns;
    struct task *executor = p->executor;
    if (executor != NULL)
        task_wake(executor);
    spin_unlock(&p->lock);
    if (last && p == program)
        machine_end(status);
    if (!last && p->signals->pending.set != 0)
        signal_retarget(p);
    thread_free(t);
    if (last) {
        timers_exit(p);
        sem_exit(p);
        give_back(p);
        process_ended(p);
    }
    t->process = &kernel_process;
    process_put(p);
    task_finish();
}

void process_leave_memory(struct mm *mm)
{
    struct process *p = current()->process;
    thread_farewell(current());
    spin_lock(&p->lock);
    struct mm *old = p->mm;
    p->mm = mm;
    spin_unlock(&p->lock);
    mm_activate(mm);
    process_left_memory(p);
    mm_put(old);
}

int process_become_single(void)
{
    struct task *me = current();
    struct process *p = me->process;
    spin_lock(&p->lock);
    bool mine = !p->ending && p->executor == NULL;
    if (mine) {
        p->executor = me;
        end_others(p, me);
    }
    spin_unlock(&p->lock);
    while (mine) {
        task_prepare_sleep();
        spin_lock(&p->lock);
        bool alone = p->task_count == 1;
        spin_unlock(&p->lock);
        if (alone)
            break;
        (void)!task_sleep(DEADLINE_NEVER, false);
    }
    task_cancel_sleep();
    if (!mine)
        return -EAGAIN;
    spin_lock(&table_lock);
    if (me->tid != p->pid) { // the first task's number stays the process's
        table[me->tid % TASKS_MAX] = NULL;
        me->tid = p->pid;
        table[me->tid % TASKS_MAX] = me;
    }
    spin_unlock(&table_lock);
    spin_lock(&p->lock);
    p->executor = NULL;
    spin_unlock(&p->lock);
    return 0;
}

void process_forget(struct process *p)
{
    list_remove(&p->sibling);
    list_remove(&p->all);
    process_count--;
}

int64_t sys_exit(const uint64_t arg[static 6])
{
    thread_exit(wait_exited((int)arg[0]));
}

int64_t sys_exit_group(const uint64_t arg[static 6])
{
    process_exit_group((int)arg[0]);
}

int64_t sys_set_tid_address(const uint64_t arg[static 6])
{
    current()->thread->clear_tid = arg[0];
    return current()->tid;
}

int64_t sys_set_robust_list(const uint64_t arg[static 6])
{
    enum { ROBUST_LIST_HEAD_BYTES = 24 };
    if (arg[1] != ROBUST_LIST_HEAD_BYTES)
        return -EINVAL;
    current()->thread->robust_head = arg[0];
    return 0;
}

int64_t sys_arch_prctl(const uint64_t arg[static 6])
{
    enum { SET_GS = 0x1001, SET_FS = 0x1002, GET_FS = 0x1003, GET_GS = 0x1004 };
    struct task *t = current();
    struct arch_task *a = t->arch;
    arch_user_save(t);
    switch ((int)arg[0]) {
    case SET_FS:
    case SET_GS:
        if (arg[1] >= USER_END)
            return -EPERM;
        *((int)arg[0] == SET_FS ? &a->fs_base : &a->gs_base) = arg[1];
        arch_user_load(t);
        return 0;
    case GET_FS:
        return copy_to_user(arg[1], &a->fs_base, sizeof(a->fs_base));
    case GET_GS:
        return copy_to_user(arg[1], &a->gs_base, sizeof(a->gs_base));
    default:
        return -EINVAL;
    }
}
