// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Tasks (threads) and processes. Fields that other modules use; the scheduler's and the
 * architecture's own state hangs behind them. */
#include "base/base.h"
#include "base/list.h"
#include "kernel/arch/x86_64/offsets.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/wait.h"

struct mm;
struct fdtable;
struct fs_context;
struct signal_state;
struct thread;

enum { TASK_NAME_MAX = 16, TASKS_MAX = 4096 };

enum { CREDS_GROUPS_MAX = 32, RLIMITS = 16 };

struct creds {
    uint32_t uid, euid, suid, gid, egid, sgid;
    // Capabilities (linux/identity.h): what is gone of those root has, so that zeroes are root's.
    uint64_t lost_effective, lost_permitted, lost_bounding;
    uint64_t inheritable, ambient;
    bool keep_caps, no_new_privs;
    uint32_t group_count;
    uint32_t groups[CREDS_GROUPS_MAX]; // supplementary, ascending
};

struct rlimit {
    uint64_t soft, hard;
};

struct limits {   // linux/limits.h
    uint32_t set; // by number: `limit` says it, else the default holds
    struct rlimit limit[RLIMITS];
};

/* "Table" is the lock of linux/process.h's tables. */
struct process {
    int pid;               // immutable; 1 for the program
    int ppid;              // protected by table; 0: started by the kernel
    int pgid, sid;         // protected by table
    uint32_t refs;         // atomic: one for the table, one for each task
    struct spinlock lock;  // protects what says so below
    struct list tasks;     // protected by lock; struct task.process_link
    unsigned task_count;   // protected by lock
    /* Change with no other task around: at exec and at the end (NULL then). Others' tasks look at
     * them with the lock held or take a reference under it. */
    struct mm *mm;
    struct fdtable *files; // locks itself (vfs/fd.h)
    struct fs_context *fs; // locks itself (vfs/vfs.h)
    struct creds creds;    // protected by lock
    struct signal_state *signals;
    struct limits limits;          // protected by lock
    struct process_timers *timers; // atomic: made at first use (linux/timers.h)
    bool not_dumpable;             // prctl
    uint64_t start_ns;             // immutable
    uint64_t exited_cpu_ns;        // protected by lock: of threads that are gone
    char exe_path[256];            // immutable after exec: /proc/self/exe
    // argv and environment as they lie in user memory: /proc/self/{cmdline,environ}
    uint64_t arg_start, arg_end, env_start, env_end;
    uint64_t auxv_start, auxv_end; // and the auxiliary vector: /proc/self/auxv

    struct process *parent;        // protected by table; NULL: the program
    struct list children, sibling; // protected by table
    struct list all;               // protected by table: every process until it is waited for
    struct waitq child_wait;       // something happened to a child, or a task of it ended
    struct waitq gone_wait;        // mm_gone; zombie
    bool mm_gone;                  // atomic: it does not use its parent's memory any more
    bool ending;                   // protected by lock: all tasks are to end
    bool zombie;                   // atomic, set under table: no tasks; also when waited for
    bool executed;                 // protected by table: it has called exec
    bool subreaper;                // protected by table (PR_SET_CHILD_SUBREAPER)
    uint8_t exit_signal;           // protected by table: what the parent gets at its end
    uint8_t death_signal;          // protected by table: what it gets at its parent's
    struct task *executor;         // protected by lock: waits for the other tasks to be gone
    int wait_status;               // as wait(2) tells it; protected by lock, then immutable
    int job_event;                 // protected by table: stop or continue nobody waited for, or 0
    uint64_t children_cpu_ns;      // protected by table: of children waited for
};

struct task {
    int tid;                  // immutable but by exec, under the table's lock
    struct process *process;  // immutable until the task ends
    struct list process_link; // protected by process->lock
    char name[TASK_NAME_MAX]; // protected by process->lock
    uint32_t need_work;       // atomic: what to do before user mode (signals, resched)
    struct arch_task *arch;   // registers, FPU, kernel stack
    struct thread *thread;    // a program's thread as Linux sees it (linux/thread.h), or NULL
    struct sched_task *sched; // run queue state, times
    struct process *looks_at; // own task: whose files in /proc it looks at; NULL: its own process's
};

// Never NULL once the scheduler runs.
static inline struct task *current(void)
{
    struct task *t;
    __asm__("movq %%gs:%c1, %0" : "=r"(t) : "i"(CPU_CURRENT));
    return t;
}

/* In a long loop of a system call, without locks: what is due on this CPU has its turn, so that the
 * loop's next look at signal_pending sees it. Task context. */
void task_breathe(void);

/* True when a signal waits that would interrupt a sleep of this task. */
NONNULL bool signal_pending(const struct task *t);

/* Start a kernel thread (drivers, writers). Joins the scheduler at once. */
MUST_CHECK int kthread_start(const char *name, void (*run)(void *ctx), void *ctx);

/* Send a signal as the kernel (SIGPIPE, SIGIO ...) to this task or this process. */
NONNULL void signal_send_task(struct task *t, int signo);
NONNULL void signal_send_process(struct process *p, int signo);
