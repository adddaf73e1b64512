// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Processes and their threads. Lock order: table -> process->lock -> signal_state.lock. */
#include "base/base.h"
#include "kernel/sched/task.h"

extern struct process *program; // the one that the image names; NULL before it starts

struct fdtable;
struct fs_context;
struct mm;

struct program_spec {
    const char *path;
    const char *cwd;
    const char *const *argv; // argc strings
    const char *const *envp;
    unsigned argc, envc;
};
/* Load a program and make a process of it whose first thread is ready to start. 0 or -errno, with
 * *ret_why at a short reason. Task context. */
NONNULL MUST_CHECK int process_start(const struct program_spec *spec, const char **ret_why);

/* The tables of tasks and of processes, and the tree that the processes are. */
void process_table_lock(void);
void process_table_unlock(void);
extern struct list processes; // struct process.all, until waited for; protected by the lock
/* The process, perhaps a zombie, or NULL. With the table locked. */
struct process *process_find(int pid);
/* The same with a reference (process_put), for callers without the lock. */
MUST_CHECK struct process *process_get(int pid);
int process_next(int pid);                              // the lowest that is not below pid, or -1
NONNULL bool process_stopped(struct process *p);        // by a signal
NONNULL bool process_runs(struct process *p);           // has or wants a CPU
NONNULL struct process *process_ref(struct process *p); // one more reference; returns p
void process_put(struct process *p);                    // NULL is fine; may sleep
NONNULL bool process_there(const struct process *p);    // not waited for yet
/* What others may look at while it runs, with a reference: NULL when it has ended. */
NONNULL MUST_CHECK struct mm *process_mm(struct process *p);
NONNULL MUST_CHECK struct fdtable *process_files(struct process *p);
NONNULL MUST_CHECK struct fs_context *process_fs(struct process *p);

/* The task with this tid, or NULL; either way the table stays locked until task_find_end. */
struct task *task_find(int tid);
void task_find_end(void);
/* Calls fn for every task while the table is locked. */
NONNULL void task_for_each(void (*fn)(struct task *t, void *ctx), void *ctx);
/* The number of its process group. */
NONNULL int process_group(const struct process *p);

/* All tasks of the current process end, and this one does so at once; of the first process: what
 * abi/boot.h promises, then power-off. status: of exit(2); as wait(2) tells it. */
NORETURN void process_exit_group(int status);
NORETURN void process_end(int wait_status);
NORETURN void task_end(void); // this task only: TASK_WORK_EXIT
void task_started(void);      // TASK_WORK_START
bool task_dies(void);         // it is to end as soon as it can: a wait is to be given up
/* Memory has run out: the largest process ends. True when that is not the current one, so that it
 * is worth trying again. Task context; may sleep. */
MUST_CHECK bool process_out_of_memory(void);

/* End all tasks of the current process but this one, which gets the process's pid: 0, or -EAGAIN
 * when another task is about to do so. */
MUST_CHECK int process_become_single(void);
/* exec, with one task: the current process goes on in mm, taken over, and lets go of the old. */
NONNULL void process_leave_memory(struct mm *mm);
/* The current process has left its old memory: who waits for that in vfork goes on. */
NONNULL void process_left_memory(struct process *p);

/* wait.c. The last task is gone: the children get another parent, the parent hears of it. */
NONNULL void process_ended(struct process *p);
/* A zombie that was waited for leaves the tables, whose lock is held; the caller puts the tables'
 * reference without it. */
NONNULL void process_forget(struct process *p);
/* It has stopped or goes on (CLD_*). No locks. */
NONNULL void process_job_event(struct process *p, int code, int signo);

/* job.c: PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER and what asks for them, as prctl(2). */
NONNULL int64_t process_prctl(const uint64_t arg[static 6]);

/* signal.c: to all of a process group. 0, -ESRCH, -EPERM. */
struct siginfo;
NONNULL int signal_group(int pgid, const struct siginfo *info);

/* sem.c: what the process owes its semaphores (SEM_UNDO). Task context. */
NONNULL void sem_exit(const struct process *p);

/* Futex words of a thread that ends: the robust list and clear_child_tid (linux/futex.c). */
NONNULL void futex_exit_robust(uint64_t head, int tid);
void futex_wake_address(uint64_t user, unsigned count);
/* It ends and is still in the table: who waits for it as the owner of a lock gets the lock. */
NONNULL void futex_exit_pi(struct task *t);
