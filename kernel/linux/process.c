// SPDX-License-Identifier: Apache-2.0
/* Threads and processes: clone, exit, wait, and the table of tasks. */
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
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
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
// What every thread library asks for; without these a thread would be a process.
static const uint64_t CLONE_THREAD_SET =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
static const uint64_t CLONE_KNOWN = CLONE_THREAD_SET | CLONE_SYSVSEM | CLONE_SETTLS |
                                    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |
                                    CLONE_CHILD_SETTID | CLONE_DETACHED | CLONE_UNTRACED;

struct process *program;

static struct spinlock table_lock;
static struct task *table[TASKS_MAX]; // by tid % TASKS_MAX; protected by table_lock
static int last_tid;                  // protected by table_lock

/* Give t a tid. False when there are as many tasks as there may be. */
static bool tid_take(struct task *t)
{
    enum { TID_MAX = 4194304 };
    bool ok = false;
    spin_lock(&table_lock);
    for (int i = 0; i < TASKS_MAX && !ok; i++) {
        last_tid = last_tid == TID_MAX ? 2 : last_tid + 1;
        ok = table[last_tid % TASKS_MAX] == NULL;
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
    if (t->thread == NULL || arch_task_init_user(t, inherit) < 0 || !tid_take(t)) {
        thread_free(t);
        task_free(t);
        return NULL;
    }
    return t;
}

static void join_process(struct process *p, struct task *t)
{
    spin_lock(&p->lock);
    list_push_back(&p->tasks, &t->process_link);
    p->task_count++;
    spin_unlock(&p->lock);
}

static struct process *process_new(const char *cwd)
{
    struct process *p = kzalloc(sizeof(*p));
    if (p == NULL)
        return NULL;
    p->refs = 1;
    list_init(&p->tasks);
    p->start_ns = clock_mono_ns();
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
    p->pid = t->tid;
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

void process_exit_group(int status)
{
    char line[20];
    fmt(line, sizeof(line), "exit %d", status & 0xff);
    socket_finish();
    status_line(line);
    power_off();
}

void process_killed(const struct siginfo *info)
{
    char line[20];
    fault_report(info);
    fmt(line, sizeof(line), "signal %d", info->signo);
    socket_finish();
    status_line(line);
    power_off();
}

void process_out_of_memory(struct task *t)
{
    struct mem_stats m;
    struct mm_stats s;
    mem_stats_get(&m);
    mm_stats_get(t->process->mm, &s);
    kprintf("skerry: out of memory: the program holds %lu KiB of %lu KiB; give it more with -m",
            (unsigned long)(s.resident_bytes >> 10), (unsigned long)(m.total_bytes >> 10));
    const struct siginfo info = {.signo = SIGKILL};
    process_killed(&info);
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
    if ((f & CLONE_THREAD) && (f & CLONE_PIDFD))
        return -EINVAL;
    if ((f & CLONE_THREAD_SET) != CLONE_THREAD_SET)
        return -ENOSYS; // a new process
    return f & ~CLONE_KNOWN ? -EINVAL : 0;
}

static int64_t clone_thread(const struct clone_args *a)
{
    struct process *p = current()->process;
    int r = check_clone(a);
    if (r < 0)
        return r;
    struct task *t = user_task_new(p, true);
    if (t == NULL)
        return -EAGAIN;
    struct regs *regs = task_regs(t);
    *regs = *task_regs(current());
    regs->rax = 0;
    regs->vector = 0;
    if (a->stack != 0)
        regs->rsp = a->stack;
    if (a->flags & CLONE_SETTLS)
        t->arch->fs_base = a->tls;
    t->thread->blocked = current()->thread->blocked;
    if (a->flags & CLONE_CHILD_CLEARTID)
        t->thread->clear_tid = a->child_tid;
    memcpy(t->name, current()->name, TASK_NAME_MAX);
    const uint32_t tid = (uint32_t)t->tid;
    if (((a->flags & CLONE_PARENT_SETTID) && copy_to_user(a->parent_tid, &tid, sizeof(tid)) < 0) ||
        ((a->flags & CLONE_CHILD_SETTID) && copy_to_user(a->child_tid, &tid, sizeof(tid)) < 0)) {
        tid_free(t);
        thread_free(t);
        task_free(t);
        return -EFAULT;
    }
    join_process(p, t);
    task_start(t);
    return (int64_t)tid;
}

int64_t sys_clone(const uint64_t arg[static 6])
{
    const struct clone_args a = {.flags = arg[0] & ~0xffull,
                                 .exit_signal = arg[0] & 0xff,
                                 .stack = arg[1],
                                 .parent_tid = arg[2],
                                 .child_tid = arg[3],
                                 .tls = arg[4]};
    return clone_thread(&a);
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
    if ((a.flags & CLONE_THREAD) && a.exit_signal != 0)
        return -EINVAL;
    a.stack += a.stack_size;
    return clone_thread(&a);
}

NORETURN static void thread_exit(int status)
{
    struct task *t = current();
    struct process *p = t->process;
    struct thread *th = t->thread;
    spin_lock(&p->lock);
    bool last = p->task_count == 1;
    spin_unlock(&p->lock);
    if (last)
        process_exit_group(status);
    if (th->robust_head != 0)
        futex_exit_robust(th->robust_head, t->tid);
    futex_exit_pi(t);
    if (th->clear_tid != 0) {
        const uint32_t zero = 0;
        if (copy_to_user(th->clear_tid, &zero, sizeof(zero)) == 0)
            futex_wake_address(th->clear_tid, 1);
    }
    uint64_t cpu_ns = task_cpu_ns(t);
    spin_lock(&p->lock);
    list_remove(&t->process_link);
    p->task_count--;
    p->exited_cpu_ns += cpu_ns;
    spin_unlock(&p->lock);
    tid_free(t);
    thread_free(t);
    task_finish();
}

int64_t sys_exit(const uint64_t arg[static 6])
{
    thread_exit((int)arg[0]);
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

int64_t sys_wait4(const uint64_t arg[static 6])
{
    enum { OPTIONS = 0xe000000b }; // WNOHANG WUNTRACED WCONTINUED __WNOTHREAD __WALL __WCLONE
    return arg[2] & ~(uint64_t)OPTIONS ? -EINVAL : -ECHILD; // there are no children
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
