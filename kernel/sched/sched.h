// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The scheduler's own state, and its interface to the architecture and to process code. One run
 * queue a CPU, ordered by weighted run time; the least served runs next. Pre-emption happens on the
 * way back to user mode, and a timer is armed for it only while somebody else wants the CPU.
 *
 * A woken task goes to an idle CPU if there is one it may use (the waking CPU itself before
 * others), else to the one it ran on last; a CPU without work takes from the others' queues.
 *
 * Lock order: waitq.lock, process->lock, mutex.lock -> runq.lock (one at a time). */
#include "base/base.h"
#include "base/rbtree.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/wait.h"

// struct task.need_work.
enum {
    TASK_WORK_SIGNAL = 1, // look at pending signals
    TASK_WORK_RETURN = 2, // every register may have changed: full return
    TASK_WORK_EXIT = 4,   // the process ends: leave at once
    TASK_WORK_START = 8,  // a new process's first task has its own memory to write to
};

enum task_state { TASK_RUNNING, TASK_SLEEPING, TASK_DEAD };

enum { SCHED_OTHER = 0, SCHED_BATCH = 3, SCHED_IDLE = 5, SCHED_SLICE_NS = 3 * 1000 * 1000 };

struct arch_task {
    uint64_t rsp;       // while switched out
    uint64_t stack_top; // immutable
    uint64_t fs_base, gs_base;
    uint32_t no_fault;     // user accesses that may not sleep, nested; own task
    bool user;             // runs a program: has FPU state and segment bases
    struct cpu *loaded_on; // whose registers held its newest FPU state and bases last
    uint8_t *fpu;          // XSAVE area, 64-byte aligned; own task, or switched out
};

struct sched_task {
    struct rb_node node; // protected by runq.lock
    uint64_t vruntime;   // protected by runq.lock
    uint64_t run_ns;     // protected by runq.lock; CPU time up to the last switch
    uint64_t run_start;  // protected by runq.lock; when it got the CPU
    uint32_t state;      // atomic, enum task_state
    bool queued;         // protected by runq.lock: runs, waits for a CPU or is on its way to one
    bool waiting;        // protected by runq.lock: in the tree of its CPU's queue
    struct cpu *cpu;     // whose queue; changes under that queue's lock
    uint64_t allowed;    // protected by runq.lock: CPUs it may run on, by number
    struct ktimer sleep_timer;
    bool timed_out;     // own task
    uint32_t scale;     // protected by runq.lock: of vruntime, 1/4096; 0: as nice 0
    int8_t nice;        // protected by runq.lock
    uint8_t policy;     // protected by runq.lock
    bool reset_on_fork; // protected by the table of tasks
    uint64_t switches_wanted, switches_forced; // own task
};

struct task_full { // one allocation
    struct task task;
    struct arch_task arch;
    struct sched_task sched;
};

void sched_init_cpu(struct cpu *c); // makes the calling thread the CPU's idle task
NORETURN void sched_idle(void);     // its life

/* A new task of process p, not yet running. Its kernel stack has room for the user registers at the
 * top (task_regs); once started it begins in `first` (entry.S: kthread_first, user_fork_return)
 * with r12 and r13 as given. NULL: out of memory. */
struct task *task_new(struct process *p, void (*first)(void), uint64_t r12, uint64_t r13);
NONNULL void task_free(struct task *t); // one that never ran, or is dead
NONNULL void task_start(struct task *t);
NORETURN void task_finish(void); // the current task ends; its memory is freed after the switch
void task_first_run(struct task *before); // entry.S
/* Policy (one of the three above) and nice value: how its run time counts. */
NONNULL void sched_weigh(struct task *t, int policy, int nice);
/* A new thread begins with those of the current one, or afresh if that one says so. */
NONNULL void sched_inherit(struct task *t);
void sched_yield_task(void); // behind everybody else who wants this CPU
void schedule(void);         // give the CPU away if another task is due, or the current one sleeps

/* Threads of programs, and how many tasks run or want to. */
NONNULL void sched_count(uint32_t *ret_tasks, uint32_t *ret_runnable);
/* Time that a CPU has spent on tasks. */
NONNULL uint64_t sched_busy_ns(const struct cpu *c);
/* Where a task may run, by CPU number; a change takes effect before the task next runs in user
 * mode. allowed holds at least one started CPU. */
NONNULL uint64_t sched_allowed(struct task *t);
NONNULL void sched_allow(struct task *t, uint64_t allowed);
/* CPU time of a task up to now. */
NONNULL uint64_t task_cpu_ns(struct task *t);

extern struct process kernel_process; // of kernel threads: pid 0

/* For who has set t->need_work: it looks at it soon, wherever it sleeps or runs. */
NONNULL void task_notify(struct task *t);
/* Nothing to run: c->current is the idle task. For c itself. */
NONNULL bool cpu_idle(const struct cpu *c);

/* Between kernel and user mode, and when idle: timers, deferred work, another task's turn. */
NONNULL void cpu_do_work(struct cpu *c);

/* For long work in the kernel, without locks: let timers, deferred work and other tasks have their
 * turn if any is due. Task context. */
static inline void sched_breathe(void)
{
    struct cpu *c = this_cpu();
    if (UNLIKELY(__atomic_load_n(&c->need_work, __ATOMIC_RELAXED) != 0))
        cpu_do_work(c);
}

void work_run(void); // sched/work.c: everything raised on this CPU
void timers_init(struct cpu *c);
void timers_run(void);                       // work context: what is due on this CPU
void timers_arm_slice(uint64_t deadline_ns); // reschedule this CPU then, besides the ktimers

static inline void timers_drop_slice(void) // what was last armed does not hold any more
{
    this_cpu()->slice_ns = DEADLINE_NEVER;
}

static inline void timers_arm_slice_by(uint64_t deadline_ns) // then, if not before
{
    if (deadline_ns < this_cpu()->slice_ns)
        timers_arm_slice(deadline_ns);
}

/* arch/x86_64/task.c: registers. */
NONNULL void arch_task_init(struct arch_task *a, void (*first)(void), uint64_t r12, uint64_t r13);
/* Give it user state, fresh or as the current task has it now. 0 or -ENOMEM. */
MUST_CHECK int arch_task_init_user(struct task *t, bool inherit);
NONNULL void arch_task_reset_user(struct task *t); // fresh again; the current task
NONNULL void arch_task_deinit(struct task *t);
/* Run `to` on this CPU; returns when `from` runs again, with the task that ran before it. */
NONNULL struct task *arch_switch(struct task *from, struct task *to);
NONNULL struct regs *task_regs(const struct task *t);
NONNULL void arch_user_save(struct task *t); // current registers of the user owner into *t->arch
NONNULL void arch_user_load(struct task *t); // the other way
