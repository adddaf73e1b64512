// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Tasks (threads) and processes. Fields that other modules use; the scheduler's and the
 * architecture's own state hangs behind them. */
#include "base/base.h"
#include "base/list.h"
#include "kernel/arch/x86_64/offsets.h"
#include "kernel/sched/lock.h"

struct mm;
struct fdtable;
struct fs_context;
struct signal_state;
struct thread;

enum { TASK_NAME_MAX = 16, TASKS_MAX = 4096 };

struct creds {
    uint32_t uid, euid, suid, gid, egid, sgid;
};

struct process {
    int pid;               // immutable; 1 for the program
    int ppid;              // immutable; 0
    uint32_t refs;         // atomic
    struct spinlock lock;  // protects what says so below
    struct list tasks;     // protected by lock; struct task.process_link
    unsigned task_count;   // protected by lock
    struct mm *mm;         // immutable after exec
    struct fdtable *files; // immutable; locks itself (vfs/fd.h)
    struct fs_context *fs; // immutable; locks itself (vfs/vfs.h)
    struct creds creds;    // protected by lock
    struct signal_state *signals;
    uint64_t start_ns;      // immutable
    uint64_t exited_cpu_ns; // protected by lock: of threads that are gone
    char exe_path[256];     // immutable after exec: /proc/self/exe
    // argv and environment as they lie in user memory: /proc/self/{cmdline,environ}
    uint64_t arg_start, arg_end, env_start, env_end;
    uint64_t auxv_start, auxv_end; // and the auxiliary vector: /proc/self/auxv
};

struct task {
    int tid;                  // immutable
    struct process *process;  // immutable
    struct list process_link; // protected by process->lock
    char name[TASK_NAME_MAX]; // protected by process->lock
    uint32_t need_work;       // atomic: what to do before user mode (signals, resched)
    struct arch_task *arch;   // registers, FPU, kernel stack
    struct thread *thread;    // a program's thread as Linux sees it (linux/thread.h), or NULL
    struct sched_task *sched; // run queue state, times
};

// Never NULL once the scheduler runs.
static inline struct task *current(void)
{
    struct task *t;
    __asm__("movq %%gs:%c1, %0" : "=r"(t) : "i"(CPU_CURRENT));
    return t;
}

/* True when a signal waits that would interrupt a sleep of this task. */
NONNULL bool signal_pending(const struct task *t);

/* Start a kernel thread (drivers, writers). Joins the scheduler at once. */
MUST_CHECK int kthread_start(const char *name, void (*run)(void *ctx), void *ctx);

/* Send a signal as the kernel (SIGPIPE, SIGIO ...) to this task or this process. */
NONNULL void signal_send_task(struct task *t, int signo);
NONNULL void signal_send_process(struct process *p, int signo);
