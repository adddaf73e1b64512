// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Signals. Numbers, structures and rules as in Linux x86-64 (signal(7), Linux 6.1
 * kernel/signal.c).
 *
 * Lock order: process->lock -> signal_state.lock -> waitq.lock -> runq.lock. */
#include "base/base.h"
#include "base/list.h"
#include "kernel/sched/lock.h"
#include "kernel/sched/wait.h"

struct regs;
struct task;
struct process;

enum {
    SIGHUP = 1,
    SIGINT = 2,
    SIGQUIT = 3,
    SIGILL = 4,
    SIGTRAP = 5,
    SIGABRT = 6,
    SIGBUS = 7,
    SIGFPE = 8,
    SIGKILL = 9,
    SIGUSR1 = 10,
    SIGSEGV = 11,
    SIGUSR2 = 12,
    SIGPIPE = 13,
    SIGALRM = 14,
    SIGTERM = 15,
    SIGCHLD = 17,
    SIGCONT = 18,
    SIGSTOP = 19,
    SIGTSTP = 20,
    SIGTTIN = 21,
    SIGTTOU = 22,
    SIGURG = 23,
    SIGXCPU = 24,
    SIGVTALRM = 26,
    SIGPROF = 27,
    SIGWINCH = 28,
    SIGSYS = 31,
    SIGRT_FIRST = 32,
    SIGNALS = 64,
};

enum { // si_code
    SI_USER = 0,
    SI_KERNEL = 0x80,
    SI_QUEUE = -1,
    SI_TIMER = -2,
    SI_TKILL = -6,
    ILL_ILLOPN = 2,
    FPE_INTDIV = 1,
    FPE_FLTDIV = 3,
    FPE_FLTOVF = 4,
    FPE_FLTUND = 5,
    FPE_FLTRES = 6,
    FPE_FLTINV = 7,
    SEGV_MAPERR = 1,
    SEGV_ACCERR = 2,
    BUS_ADRALN = 1,
    BUS_ADRERR = 2,
    TRAP_TRACE = 2,
    CLD_EXITED = 1,
    CLD_KILLED = 2,
    CLD_STOPPED = 5,
    CLD_CONTINUED = 6,
};

struct siginfo { // as the program sees it
    int32_t signo, error, code, pad;
    union {
        struct {
            uint64_t address;
        } fault;
        struct {
            int32_t pid;
            uint32_t uid;
            uint64_t value;
        } sender;
        struct {
            int32_t pid;
            uint32_t uid;
            int32_t status, pad;
            int64_t user_ticks, system_ticks;
        } child;
        struct {
            int32_t id, overrun;
            uint64_t value;
        } timer;
        struct {
            int64_t band;
            int32_t fd;
        } poll;
        uint8_t bytes[112];
    };
};
_Static_assert(sizeof(struct siginfo) == 128, "Linux siginfo_t");

struct sigaction { // the kernel's layout, as rt_sigaction(2) passes it
    uint64_t handler, flags, restorer, mask;
};

static inline uint64_t sig_bit(int signo)
{
    return 1ull << (signo - 1);
}

struct sig_pending {
    uint64_t set;
    struct list queue; // struct sig_entry; a set bit may have none when memory was short
};

struct signal_state { // of a process
    struct spinlock lock;
    struct sigaction actions[SIGNALS]; // protected by lock; [signo - 1]
    struct sig_pending pending;        // protected by lock
    unsigned queued;                   // protected by lock: entries in all queues
    int stopped;                       // protected by lock: by this signal, or 0
    bool continued;                    // protected by lock: the parent is to hear of it
    struct waitq go_on;                // not stopped any more
};

MUST_CHECK struct signal_state *signal_state_new(void);
/* For a child: the same actions (`clear`: no handlers), nothing pending. NULL: no memory. */
MUST_CHECK struct signal_state *signal_state_copy(struct signal_state *from, bool clear);
void signal_state_free(struct signal_state *s);
NONNULL void signal_state_exec(struct signal_state *s); // handlers become the default
/* Does the process not want to hear of children that end (SIG_IGN, SA_NOCLDWAIT), or that stop
 * (SA_NOCLDSTOP)? */
NONNULL bool signal_children_unwanted(struct process *p, bool stopped);
NONNULL void sig_pending_init(struct sig_pending *p);
NONNULL void sig_pending_clear(struct signal_state *s, struct sig_pending *p);

/* To one task, or to whoever of the process takes it. 0; -EAGAIN: a real-time signal found no room
 * in the queue. */
NONNULL int signal_queue_task(struct task *t, const struct siginfo *info);
NONNULL int signal_queue_process(struct process *p, const struct siginfo *info);
/* An exception of the current task: cannot be ignored or blocked, else the program ends. */
NONNULL void signal_force(struct task *t, const struct siginfo *info);
/* On the way back to user mode: run handlers, restart or end an interrupted call. */
NONNULL void signal_deliver(struct regs *r);
/* Change the current task's mask; SIGKILL and SIGSTOP cannot be blocked. */
void signal_block(uint64_t mask);
/* A task of p will not take what waits for the process (it blocks it now, or ends): have the others
 * look. */
NONNULL void signal_retarget(struct process *p);

/* To whom fcntl's F_SETOWN names (F_OWNER_* of vfs/async.h): nothing happens when it is gone. */
NONNULL void signal_send_owner(int type, int id, const struct siginfo *info);
bool signal_owner_exists(int type, int id);

/* linux/signalfd.c: some signal was queued. */
void signalfd_notify(void);
/* Take a signal of `mask` that waits for the current task or its process: true with it. */
NONNULL bool signal_take(uint64_t mask, struct siginfo *ret);
bool signal_waits(uint64_t mask); // is there one?
bool signal_refused(int signo);   // the current task ignores or blocks it

/* The process is over because of this signal. */
NORETURN NONNULL void process_killed(const struct siginfo *info);

/* linux/sigframe.c: push a frame for this handler; -EFAULT when the stack is bad. */
NONNULL MUST_CHECK int sigframe_push(struct regs *r, const struct siginfo *info,
                                     const struct sigaction *action, uint64_t mask);

/* linux/posix_timer.c: the signal of this timer has been taken; overrun is what timer_getoverrun
 * tells from now on. Any lock may be held. */
void posix_timer_delivered(int32_t id, int32_t overrun);
