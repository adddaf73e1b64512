// SPDX-License-Identifier: Apache-2.0
#include "kernel/linux/signal.h"

#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/machine.h"
#include "kernel/boot/params.h"
#include "kernel/linux/pidfd.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/linux/trace.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/vfs/async.h"

enum { QUEUED_MAX = 4096, NR_RESTART_SYSCALL = 219, SYSCALL_BYTES = 2 };
enum { SIG_DFL = 0, SIG_IGN = 1 };

static const uint64_t SA_RESTART = 0x10000000, SA_NODEFER = 0x40000000, SA_RESETHAND = 0x80000000,
                      SA_RESTORER = 0x04000000, SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2;
#define BIT(signo) (1ull << ((signo)-1))
static const uint64_t UNBLOCKABLE = BIT(SIGKILL) | BIT(SIGSTOP);
static const uint64_t SYNCHRONOUS =
    BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGFPE) | BIT(SIGSYS);
static const uint64_t DEFAULT_IGNORE = BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH);
static const uint64_t DEFAULT_STOP = BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU);

struct sig_entry {
    struct list link;
    struct siginfo info;
};

void sig_pending_init(struct sig_pending *p)
{
    p->set = 0;
    list_init(&p->queue);
}

struct signal_state *signal_state_new(void)
{
    struct signal_state *s = kzalloc(sizeof(*s));
    if (s == NULL)
        return NULL;
    sig_pending_init(&s->pending);
    waitq_init(&s->go_on);
    return s;
}

static void clear_handlers(struct signal_state *s)
{
    for (int i = 0; i < SIGNALS; i++) {
        uint64_t kept = s->actions[i].handler == SIG_IGN ? SIG_IGN : SIG_DFL;
        s->actions[i] = (struct sigaction){.handler = kept};
    }
}

struct signal_state *signal_state_copy(struct signal_state *from, bool clear)
{
    struct signal_state *s = signal_state_new();
    if (s == NULL)
        return NULL;
    spin_lock(&from->lock);
    memcpy(s->actions, from->actions, sizeof(s->actions));
    spin_unlock(&from->lock);
    if (clear)
        clear_handlers(s);
    return s;
}

void signal_state_free(struct signal_state *s)
{
    if (s != NULL)
        sig_pending_clear(s, &s->pending);
    kfree(s);
}

void signal_state_exec(struct signal_state *s)
{
    spin_lock(&s->lock);
    clear_handlers(s);
    spin_unlock(&s->lock);
}

bool signal_children_unwanted(struct process *p, bool stopped)
{
    struct signal_state *s = p->signals;
    spin_lock(&s->lock);
    const struct sigaction *a = &s->actions[SIGCHLD - 1];
    bool unwanted = stopped ? (a->flags & SA_NOCLDSTOP) != 0
                            : a->handler == SIG_IGN || (a->flags & SA_NOCLDWAIT) != 0;
    spin_unlock(&s->lock);
    return unwanted;
}

/* Drop what waits of these signals. */
static void discard(struct signal_state *s, struct sig_pending *p, uint64_t mask)
{
    p->set &= ~mask;
    LIST_FOR_EACH_SAFE (node, &p->queue) {
        struct sig_entry *e = LIST_ENTRY(node, struct sig_entry, link);
        if (!(sig_bit(e->info.signo) & mask))
            continue;
        list_remove(node);
        kfree(e);
        s->queued--;
    }
}

void sig_pending_clear(struct signal_state *s, struct sig_pending *p)
{
    spin_lock(&s->lock);
    p->set = 0;
    for (struct list *n; (n = list_pop_front(&p->queue)) != NULL; s->queued--)
        kfree(LIST_ENTRY(n, struct sig_entry, link));
    spin_unlock(&s->lock);
}

/* Is this signal dropped on arrival? Blocked ones are kept: the action may change meanwhile. */
static bool ignored(const struct signal_state *s, int signo)
{
    uint64_t handler = s->actions[signo - 1].handler;
    return handler == SIG_IGN || (handler == SIG_DFL && (DEFAULT_IGNORE & sig_bit(signo)));
}

/* A timer has one signal under way; while that waits, further expirations are counted in it. */
static bool count_overrun(struct sig_pending *p, const struct siginfo *info)
{
    LIST_FOR_EACH (node, &p->queue) {
        struct siginfo *waits = &LIST_ENTRY(node, struct sig_entry, link)->info;
        if (waits->signo != info->signo || waits->code != SI_TIMER ||
            waits->timer.id != info->timer.id)
            continue;
        int64_t sum = (int64_t)waits->timer.overrun + info->timer.overrun + 1;
        waits->timer.overrun = (int32_t)MIN(sum, (int64_t)INT32_MAX);
        return true;
    }
    return false;
}

static int queue_locked(struct signal_state *s, struct sig_pending *p, const struct siginfo *info)
{
    bool real_time = info->signo >= SIGRT_FIRST;
    if (info->code == SI_TIMER && count_overrun(p, info))
        return 0;
    if (!real_time && (p->set & sig_bit(info->signo)))
        return 0; // one of these waits already
    const uint32_t end = __atomic_load_n(&s->queued_end, __ATOMIC_RELAXED);
    // What the kernel sends comes with its story also when the limit is reached (Linux
    // send_signal).
    bool room = s->queued < QUEUED_MAX &&
                (end == 0 || s->queued + 1 < end || (!real_time && info->code >= 0));
    struct sig_entry *e = room ? kmalloc(sizeof(*e)) : NULL;
    if (e == NULL && real_time && info->code != SI_USER && info->code != SI_KERNEL)
        return -EAGAIN;
    if (e != NULL) {
        e->info = *info;
        list_push_back(&p->queue, &e->link);
        s->queued++;
    }
    p->set |= sig_bit(info->signo);
    signalfd_notify();
    return 0;
}

/* What a signal does when it is sent, even if it is blocked or ignored (Linux 6.1 prepare_signal).
 * th: who gets it, or NULL. With s->lock. */
static void prepare(struct signal_state *s, struct thread *th, int signo)
{
    uint64_t bit = sig_bit(signo), drop = bit & DEFAULT_STOP ? BIT(SIGCONT) : 0;
    if (signo == SIGCONT)
        drop = DEFAULT_STOP;
    if (drop != 0) {
        discard(s, &s->pending, drop);
        if (th != NULL)
            discard(s, &th->pending, drop);
    }
    if (s->stopped == 0 || (signo != SIGCONT && signo != SIGKILL))
        return;
    s->stopped = 0;
    s->continued = signo == SIGCONT;
    waitq_wake(&s->go_on, EV_IN, 0);
}

static uint64_t deliverable(const struct signal_state *s, const struct task *t)
{
    return (t->thread->pending.set | s->pending.set) & ~t->thread->blocked;
}

static void notice(struct task *t)
{
    __atomic_fetch_or(&t->need_work, TASK_WORK_SIGNAL, __ATOMIC_RELAXED);
    task_notify(t);
}

static bool takes(const struct task *t, int signo)
{
    return !(t->thread->blocked & sig_bit(signo)) || (t->thread->wanted & sig_bit(signo));
}

int signal_queue_task(struct task *t, const struct siginfo *info)
{
    struct signal_state *s = t->process->signals;
    int r = 0;
    spin_lock(&s->lock);
    prepare(s, t->thread, info->signo);
    if (!ignored(s, info->signo) || (t->thread->blocked & sig_bit(info->signo))) {
        r = queue_locked(s, &t->thread->pending, info);
        if (takes(t, info->signo))
            notice(t);
    }
    spin_unlock(&s->lock);
    return r;
}

int signal_queue_process(struct process *p, const struct siginfo *info)
{
    struct signal_state *s = p->signals;
    struct task *taker = NULL;
    bool blocked_by_all = true;
    spin_lock(&p->lock);
    spin_lock(&s->lock);
    LIST_FOR_EACH (node, &p->tasks) {
        struct task *t = LIST_ENTRY(node, struct task, process_link);
        blocked_by_all &= (t->thread->blocked & sig_bit(info->signo)) != 0;
        if (taker == NULL && takes(t, info->signo))
            taker = t;
    }
    int r = 0;
    prepare(s, taker != NULL ? taker->thread : NULL, info->signo);
    if (!ignored(s, info->signo) || blocked_by_all) {
        r = queue_locked(s, &s->pending, info);
        if (taker != NULL)
            notice(taker);
    }
    spin_unlock(&s->lock);
    spin_unlock(&p->lock);
    return r;
}

void signal_send_task(struct task *t, int signo)
{
    const struct siginfo info = {.signo = signo, .code = SI_KERNEL};
    (void)signal_queue_task(t, &info);
}

void signal_send_process(struct process *p, int signo)
{
    const struct siginfo info = {.signo = signo, .code = SI_KERNEL};
    (void)signal_queue_process(p, &info);
}

void machine_signal(int signo)
{
    if (program != NULL)
        signal_send_process(program, signo);
}

void signal_force(struct task *t, const struct siginfo *info)
{
    struct signal_state *s = t->process->signals;
    struct sigaction *a = &s->actions[info->signo - 1];
    spin_lock(&s->lock);
    if (a->handler == SIG_IGN || (t->thread->blocked & sig_bit(info->signo)))
        a->handler = SIG_DFL;
    t->thread->blocked &= ~sig_bit(info->signo);
    int r = queue_locked(s, &t->thread->pending, info);
    spin_unlock(&s->lock);
    if (r < 0)
        process_killed(info);
    __atomic_fetch_or(&t->need_work, TASK_WORK_SIGNAL, __ATOMIC_RELAXED);
}

void signal_retarget(struct process *p)
{
    struct signal_state *s = p->signals;
    spin_lock(&p->lock);
    spin_lock(&s->lock);
    LIST_FOR_EACH (node, &p->tasks) {
        struct task *t = LIST_ENTRY(node, struct task, process_link);
        if (s->pending.set & ~t->thread->blocked)
            notice(t);
    }
    spin_unlock(&s->lock);
    spin_unlock(&p->lock);
}

/* need_work says whether something is deliverable. Only the task itself clears it. */
static void recalculate(struct task *t)
{
    if (deliverable(t->process->signals, t) != 0)
        __atomic_fetch_or(&t->need_work, TASK_WORK_SIGNAL, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&t->need_work, ~(uint32_t)TASK_WORK_SIGNAL, __ATOMIC_RELAXED);
}

void signal_block(uint64_t mask)
{
    struct task *t = current();
    struct signal_state *s = t->process->signals;
    spin_lock(&s->lock);
    uint64_t newly = mask & ~UNBLOCKABLE & ~t->thread->blocked;
    bool others_turn = (s->pending.set & newly) != 0;
    t->thread->blocked = mask & ~UNBLOCKABLE;
    recalculate(t);
    spin_unlock(&s->lock);
    if (UNLIKELY(others_turn))
        signal_retarget(t->process);
}

/* Take the first signal of `set` out of p. False when there is none. */
static bool take_from(struct signal_state *s, struct sig_pending *p, uint64_t set,
                      struct siginfo *ret)
{
    set &= p->set;
    if (set == 0)
        return false;
    uint64_t first = set & SYNCHRONOUS ? set & SYNCHRONOUS : set;
    int signo = __builtin_ctzll(first) + 1;
    struct sig_entry *found = NULL;
    bool more = false;
    LIST_FOR_EACH (node, &p->queue) {
        struct sig_entry *e = LIST_ENTRY(node, struct sig_entry, link);
        if (e->info.signo != signo)
            continue;
        if (found != NULL) {
            more = true;
            break;
        }
        found = e;
    }
    if (!more)
        p->set &= ~sig_bit(signo);
    *ret = (struct siginfo){.signo = signo};
    if (found != NULL) {
        *ret = found->info;
        if (ret->code == SI_TIMER)
            posix_timer_delivered(ret->timer.id, ret->timer.overrun);
        list_remove(&found->link);
        s->queued--;
        kfree(found);
    }
    return true;
}

static bool take(struct signal_state *s, struct thread *th, uint64_t set, struct siginfo *ret)
{
    return take_from(s, &th->pending, set, ret) || take_from(s, &s->pending, set, ret);
}

bool signal_take(uint64_t mask, struct siginfo *ret)
{
    struct task *t = current();
    struct signal_state *s = t->process->signals;
    spin_lock(&s->lock);
    bool got = take(s, t->thread, mask, ret);
    spin_unlock(&s->lock);
    return got;
}

bool signal_refused(int signo)
{
    const struct task *t = current();
    struct signal_state *s = t->process->signals;
    spin_lock(&s->lock);
    bool r = (t->thread->blocked & sig_bit(signo)) != 0 || s->actions[signo - 1].handler == SIG_IGN;
    spin_unlock(&s->lock);
    return r;
}

bool signal_waits(uint64_t mask)
{
    const struct task *t = current();
    struct signal_state *s = t->process->signals;
    spin_lock(&s->lock);
    bool some = ((t->thread->pending.set | s->pending.set) & mask) != 0;
    spin_unlock(&s->lock);
    return some;
}

static bool restart_code(uint64_t rax)
{
    int64_t code = -(int64_t)rax;
    return code == ERESTARTSYS || code == ERESTARTNOINTR || code == ERESTARTNOHAND ||
           code == ERESTART_RESTARTBLOCK;
}

/* The call was interrupted and no handler runs: do it again. */
static void restart_call(struct regs *r)
{
    if (r->vector != VECTOR_SYSCALL || !restart_code(r->rax))
        return;
    bool block = -(int64_t)r->rax == ERESTART_RESTARTBLOCK;
    r->rax = block ? NR_RESTART_SYSCALL : r->error;
    r->rip -= SYSCALL_BYTES;
}

/* A handler runs first: the call ends with EINTR or is made again after it. */
static void restart_after_handler(struct regs *r, const struct sigaction *a)
{
    if (r->vector != VECTOR_SYSCALL || !restart_code(r->rax))
        return;
    int64_t code = -(int64_t)r->rax;
    if (code == ERESTARTNOINTR || (code == ERESTARTSYS && (a->flags & SA_RESTART))) {
        r->rax = r->error;
        r->rip -= SYSCALL_BYTES;
    } else {
        r->rax = (uint64_t)-EINTR;
    }
}

static void run_handler(struct regs *r, struct task *t, const struct siginfo *info,
                        const struct sigaction *a)
{
    struct thread *th = t->thread;
    restart_after_handler(r, a);
    uint64_t mask = th->restore_mask ? th->saved_mask : th->blocked;
    th->restore_mask = false;
    if (!(a->flags & SA_RESTORER) || sigframe_push(r, info, a, mask) < 0) {
        const struct siginfo segv = {.signo = SIGSEGV, .code = SI_KERNEL};
        if (info->signo == SIGSEGV)
            process_killed(&segv);
        signal_force(t, &segv);
        return;
    }
    uint64_t blocked = th->blocked | a->mask;
    if (!(a->flags & SA_NODEFER))
        blocked |= sig_bit(info->signo);
    r->vector = 0; // a call interrupted before is settled
    signal_block(blocked);
}

/* All tasks of the process are to stop, unless it was called back meanwhile. True when that is
 * news. */
static bool stop_all(struct task *me, int signo)
{
    struct process *p = me->process;
    struct signal_state *s = p->signals;
    spin_lock(&p->lock);
    spin_lock(&s->lock);
    uint64_t set = me->thread->pending.set | s->pending.set;
    bool news = s->stopped == 0 && !(set & (BIT(SIGCONT) | BIT(SIGKILL)));
    if (news) {
        s->stopped = signo;
        s->continued = false;
    }
    LIST_FOR_EACH (node, &p->tasks) {
        struct task *t = LIST_ENTRY(node, struct task, process_link);
        if (news && t != me)
            notice(t);
    }
    spin_unlock(&s->lock);
    spin_unlock(&p->lock);
    return news;
}

static bool dies(const struct task *t)
{
    const struct signal_state *s = t->process->signals;
    return (__atomic_load_n(&t->need_work, __ATOMIC_RELAXED) & TASK_WORK_EXIT) ||
           ((t->thread->pending.set | __atomic_load_n(&s->pending.set, __ATOMIC_RELAXED)) &
            BIT(SIGKILL));
}

bool task_dies(void)
{
    return dies(current());
}

/* Wait until the process may go on, or ends. */
static void stay_stopped(const struct task *t)
{
    struct signal_state *s = t->process->signals;
    (void)!WAIT_EVENT(&s->go_on, EV_IN,
                      __atomic_load_n(&s->stopped, __ATOMIC_ACQUIRE) == 0 || dies(t),
                      DEADLINE_NEVER, false);
    spin_lock(&s->lock);
    bool tell = s->continued;
    s->continued = false;
    spin_unlock(&s->lock);
    if (tell)
        process_job_event(t->process, CLD_CONTINUED, SIGCONT);
}

void signal_deliver(struct regs *r)
{
    struct task *t = current();
    struct signal_state *s = t->process->signals;
    for (;;) {
        struct siginfo info;
        if (UNLIKELY(__atomic_load_n(&s->stopped, __ATOMIC_RELAXED) != 0 || s->continued))
            stay_stopped(t);
        if (UNLIKELY(__atomic_load_n(&t->need_work, __ATOMIC_RELAXED) & TASK_WORK_EXIT))
            return;
        spin_lock(&s->lock);
        if (!take(s, t->thread, ~t->thread->blocked, &info)) {
            recalculate(t);
            spin_unlock(&s->lock);
            break;
        }
        struct sigaction a = s->actions[info.signo - 1];
        if (a.handler > SIG_IGN && (a.flags & SA_RESETHAND))
            s->actions[info.signo - 1].handler = SIG_DFL;
        spin_unlock(&s->lock);
        if (UNLIKELY(boot_params.trace))
            trace_signal(&info);
        uint64_t bit = sig_bit(info.signo);
        if (a.handler > SIG_IGN) {
            run_handler(r, t, &info, &a);
            return; // the caller looks again for more
        }
        if (a.handler == SIG_IGN || (bit & DEFAULT_IGNORE))
            continue;
        if (!(bit & DEFAULT_STOP))
            process_killed(&info);
        if (stop_all(t, info.signo))
            process_job_event(t->process, CLD_STOPPED, info.signo);
    }
    restart_call(r);
    r->vector = r->vector == VECTOR_SYSCALL ? 0 : r->vector;
    if (t->thread->restore_mask) {
        t->thread->restore_mask = false;
        signal_block(t->thread->saved_mask);
    }
}

int sigmask_enter(uint64_t user, uint64_t size)
{
    uint64_t mask;
    struct thread *th = current()->thread;
    if (user == 0)
        return 0;
    if (size != sizeof(mask))
        return -EINVAL;
    int r = copy_from_user(&mask, user, sizeof(mask));
    if (r < 0)
        return r;
    th->saved_mask = th->blocked;
    th->restore_mask = true;
    signal_block(mask);
    return 0;
}

void sigmask_leave(int64_t result)
{
    struct thread *th = current()->thread;
    bool interrupted = result == -EINTR || result == -ERESTARTNOHAND || result == -ERESTARTSYS;
    if (!th->restore_mask)
        return;
    if (interrupted) { // signal_deliver puts it back, even if the signal has gone to another
        __atomic_fetch_or(&current()->need_work, TASK_WORK_SIGNAL, __ATOMIC_RELAXED);
        return;
    }
    th->restore_mask = false;
    signal_block(th->saved_mask);
}

int64_t sys_rt_sigaction(const uint64_t arg[static 6])
{
    uint64_t signo = arg[0];
    struct signal_state *s = current()->process->signals;
    struct sigaction a, old;
    if (arg[3] != sizeof(uint64_t))
        return -EINVAL;
    if (arg[1] != 0 && copy_from_user(&a, arg[1], sizeof(a)) < 0)
        return -EFAULT;
    if (signo < 1 || signo > SIGNALS || (arg[1] != 0 && (UNBLOCKABLE & sig_bit((int)signo))))
        return -EINVAL;
    spin_lock(&s->lock);
    old = s->actions[signo - 1];
    if (arg[1] != 0) {
        a.mask &= ~UNBLOCKABLE;
        s->actions[signo - 1] = a;
    }
    spin_unlock(&s->lock);
    // POSIX: what is ignored now is dropped, even if it is blocked.
    if (arg[1] != 0 && ignored(s, (int)signo)) {
        struct siginfo dropped;
        spin_lock(&s->lock);
        while (take(s, current()->thread, sig_bit((int)signo), &dropped))
            continue;
        recalculate(current());
        spin_unlock(&s->lock);
    }
    return arg[2] != 0 ? copy_to_user(arg[2], &old, sizeof(old)) : 0;
}

int64_t sys_rt_sigprocmask(const uint64_t arg[static 6])
{
    enum { SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK };
    uint64_t set, old = current()->thread->blocked;
    if (arg[3] != sizeof(set))
        return -EINVAL;
    if (arg[1] != 0) {
        if (copy_from_user(&set, arg[1], sizeof(set)) < 0)
            return -EFAULT;
        int how = (int)arg[0];
        if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
            return -EINVAL;
        signal_block(how == SIG_BLOCK ? old | set : how == SIG_UNBLOCK ? old & ~set : set);
    }
    return arg[2] != 0 ? copy_to_user(arg[2], &old, sizeof(old)) : 0;
}

int64_t sys_rt_sigpending(const uint64_t arg[static 6])
{
    struct task *t = current();
    struct signal_state *s = t->process->signals;
    if (arg[1] > sizeof(uint64_t))
        return -EINVAL;
    spin_lock(&s->lock);
    uint64_t set = (t->thread->pending.set | s->pending.set) & t->thread->blocked;
    spin_unlock(&s->lock);
    return copy_to_user(arg[0], &set, arg[1]);
}

int64_t sys_rt_sigsuspend(const uint64_t arg[static 6])
{
    int r = arg[0] == 0 ? -EFAULT : sigmask_enter(arg[0], arg[1]);
    if (r < 0)
        return r;
    do
        task_prepare_sleep();
    while (task_sleep(DEADLINE_NEVER, true) != -EINTR);
    sigmask_leave(-ERESTARTNOHAND);
    return -ERESTARTNOHAND;
}

int64_t sys_pause(UNUSED const uint64_t arg[static 6])
{
    do
        task_prepare_sleep();
    while (task_sleep(DEADLINE_NEVER, true) != -EINTR);
    return -ERESTARTNOHAND;
}

int64_t sys_rt_sigtimedwait(const uint64_t arg[static 6])
{
    struct task *t = current();
    struct signal_state *s = t->process->signals;
    uint64_t set, wait_ns, deadline = DEADLINE_NEVER;
    if (arg[3] != sizeof(set))
        return -EINVAL;
    if (copy_from_user(&set, arg[0], sizeof(set)) < 0)
        return -EFAULT;
    if (arg[2] != 0) {
        int r = timespec_from_user(arg[2], &wait_ns);
        if (r < 0)
            return r;
        uint64_t now = clock_mono_ns();
        deadline = wait_ns < DEADLINE_NEVER - now ? now + wait_ns : DEADLINE_NEVER;
    }
    set &= ~UNBLOCKABLE;
    struct siginfo info;
    int r = 0;
    bool got;
    for (;;) {
        task_prepare_sleep();
        spin_lock(&s->lock);
        t->thread->wanted = set;
        got = take(s, t->thread, set, &info);
        recalculate(t);
        spin_unlock(&s->lock);
        if (got || r < 0)
            break;
        r = task_sleep(deadline, true);
    }
    task_cancel_sleep();
    spin_lock(&s->lock);
    t->thread->wanted = 0;
    recalculate(t);
    spin_unlock(&s->lock);
    if (!got)
        return r == -ETIMEDOUT ? -EAGAIN : r;
    if (arg[1] != 0 && copy_to_user(arg[1], &info, sizeof(info)) < 0)
        return -EFAULT;
    return info.signo;
}

int64_t sys_sigaltstack(const uint64_t arg[static 6])
{
    struct thread *th = current()->thread;
    struct {
        uint64_t sp;
        uint32_t flags, pad;
        uint64_t bytes;
    } new, old = {.sp = th->alt_sp, .flags = th->alt_flags, .bytes = th->alt_bytes};
    enum { MINSIGSTKSZ = 2048 };
    bool on = alt_stack_on(th, task_regs(current())->rsp);
    old.flags |= th->alt_bytes == 0 ? SS_DISABLE : on ? SS_ONSTACK : 0u;
    if (arg[0] != 0) {
        if (copy_from_user(&new, arg[0], sizeof(new)) < 0)
            return -EFAULT;
        if (on)
            return -EPERM;
        uint32_t mode = new.flags & ~(uint32_t)SS_AUTODISARM;
        if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
            return -EINVAL;
        if (mode == SS_DISABLE)
            new.sp = new.bytes = 0;
        else if (new.bytes < MINSIGSTKSZ)
            return -ENOMEM;
        th->alt_sp = new.sp;
        th->alt_bytes = new.bytes;
        th->alt_flags = new.flags &(uint32_t)SS_AUTODISARM;
    }
    return arg[1] != 0 ? copy_to_user(arg[1], &old, sizeof(old)) : 0;
}

static struct siginfo from_me(int signo, int code)
{
    const struct process *p = current()->process;
    return (struct siginfo){
        .signo = signo, .code = code, .sender = {.pid = p->pid, .uid = p->creds.uid}};
}

/* Linux 6.1 kernel/signal.c kill_ok_by_cred, check_kill_permission. */
static bool may_signal(const struct process *p, int signo)
{
    const struct process *me = current()->process;
    const struct creds *c = &me->creds, *to = &p->creds;
    return c->euid == 0 || c->euid == to->suid || c->euid == to->uid || c->uid == to->suid ||
           c->uid == to->uid || (signo == SIGCONT && me->sid == p->sid);
}

static int signal_checked(struct process *p, const struct siginfo *info)
{
    if (!may_signal(p, info->signo))
        return -EPERM;
    return info->signo != 0 ? signal_queue_process(p, info) : 0;
}

int signal_group(int pgid, const struct siginfo *info)
{
    int r = -ESRCH;
    bool some = false;
    process_table_lock();
    LIST_FOR_EACH (node, &processes) {
        struct process *p = LIST_ENTRY(node, struct process, all);
        if (p->pgid != pgid)
            continue;
        r = signal_checked(p, info);
        some |= r == 0;
    }
    process_table_unlock();
    return some ? 0 : r;
}

/* Everybody but the caller and the first process. */
static int signal_everybody(const struct siginfo *info)
{
    const struct process *me = current()->process;
    int r = -ESRCH;
    process_table_lock();
    LIST_FOR_EACH (node, &processes) {
        struct process *p = LIST_ENTRY(node, struct process, all);
        if (p == me || p == program)
            continue;
        int one = signal_checked(p, info);
        r = one != -EPERM || r == -ESRCH ? one : r;
    }
    process_table_unlock();
    return r;
}

static int signal_one(int pid, const struct siginfo *info)
{
    process_table_lock();
    struct process *p = process_find(pid);
    int r = p != NULL ? signal_checked(p, info) : -ESRCH;
    process_table_unlock();
    return r;
}

int64_t sys_kill(const uint64_t arg[static 6])
{
    int pid = (int)arg[0];
    if (arg[1] > SIGNALS)
        return -EINVAL;
    const struct siginfo info = from_me((int)arg[1], SI_USER);
    if (pid > 0)
        return signal_one(pid, &info);
    if (pid == -1)
        return signal_everybody(&info);
    if (pid == INT32_MIN)
        return -ESRCH;
    return signal_group(pid == 0 ? current()->process->pgid : -pid, &info);
}

static int64_t send_to_task(int tgid, int tid, const struct siginfo *info)
{
    struct task *t = task_find(tid); // locks the table of tasks
    int r = -ESRCH;
    if (t != NULL && (tgid < 0 || t->process->pid == tgid)) {
        if (!may_signal(t->process, info->signo))
            r = -EPERM;
        else
            r = info->signo != 0 ? signal_queue_task(t, info) : 0;
    }
    task_find_end();
    return r;
}

/* Queue a signal (NULL: none) to a process or a group, whoever asks: is there one? */
static bool for_owner(int type, int id, const struct siginfo *info)
{
    bool some = false;
    process_table_lock();
    LIST_FOR_EACH (node, &processes) {
        struct process *p = LIST_ENTRY(node, struct process, all);
        if ((type == F_OWNER_PGRP ? p->pgid : p->pid) != id)
            continue;
        some = true;
        if (info != NULL)
            (void)signal_queue_process(p, info);
    }
    process_table_unlock();
    return some;
}

void signal_send_owner(int type, int id, const struct siginfo *info)
{
    if (type == F_OWNER_TID)
        (void)send_to_task(-1, id, info);
    else
        (void)for_owner(type, id, info);
}

bool signal_owner_exists(int type, int id)
{
    if (type != F_OWNER_TID)
        return for_owner(type, id, NULL);
    bool there = task_find(id) != NULL;
    task_find_end();
    return there;
}

int64_t sys_tgkill(const uint64_t arg[static 6])
{
    if ((int)arg[0] <= 0 || (int)arg[1] <= 0 || arg[2] > SIGNALS)
        return -EINVAL;
    const struct siginfo info = from_me((int)arg[2], SI_TKILL);
    return send_to_task((int)arg[0], (int)arg[1], &info);
}

int64_t sys_tkill(const uint64_t arg[static 6])
{
    if ((int)arg[0] <= 0 || arg[1] > SIGNALS)
        return -EINVAL;
    const struct siginfo info = from_me((int)arg[1], SI_TKILL);
    return send_to_task(-1, (int)arg[0], &info);
}

/* Nobody may look like the kernel, or like kill(2), to another process. */
static bool forged(const struct siginfo *info, int pid)
{
    return (info->code >= 0 || info->code == SI_TKILL) && current()->process->pid != pid;
}

int64_t sys_rt_sigqueueinfo(const uint64_t arg[static 6])
{
    struct siginfo info;
    if (copy_from_user(&info, arg[2], sizeof(info)) < 0)
        return -EFAULT;
    if (arg[1] > SIGNALS)
        return -EINVAL;
    if (forged(&info, (int)arg[0]))
        return -EPERM;
    info.signo = (int32_t)arg[1];
    return signal_one((int)arg[0], &info);
}

/* To a process that perhaps was waited for meanwhile. Linux kill_pid_info. */
static int signal_held(struct process *p, const struct siginfo *info, uint32_t signo)
{
    process_table_lock();
    int r = process_find(p->pid) != p ? -ESRCH
            : signo > SIGNALS         ? -EINVAL
                                      : signal_checked(p, info);
    process_table_unlock();
    return r;
}

int64_t sys_pidfd_send_signal(const uint64_t arg[static 6])
{
    const uint32_t signo = (uint32_t)arg[1];
    bool nonblock;
    if ((uint32_t)arg[3] != 0)
        return -EINVAL;
    struct process *p = pidfd_process((int)arg[0], &nonblock);
    if (p == NULL)
        return -EBADF;
    struct siginfo info = from_me((int)signo, SI_USER);
    int r = arg[2] != 0 ? copy_from_user(&info, arg[2], sizeof(info)) : 0;
    if (r == 0 && info.signo != (int)signo)
        r = -EINVAL;
    if (r == 0 && arg[2] != 0 && forged(&info, p->pid))
        r = -EPERM;
    if (r == 0)
        r = signal_held(p, &info, signo);
    process_put(p);
    return r;
}

int64_t sys_rt_tgsigqueueinfo(const uint64_t arg[static 6])
{
    struct siginfo info;
    if (copy_from_user(&info, arg[3], sizeof(info)) < 0)
        return -EFAULT;
    if ((int)arg[0] <= 0 || (int)arg[1] <= 0 || arg[2] > SIGNALS)
        return -EINVAL;
    if (forged(&info, (int)arg[0]))
        return -EPERM;
    info.signo = (int32_t)arg[2];
    return send_to_task((int)arg[0], (int)arg[1], &info);
}

int64_t sys_restart_syscall(UNUSED const uint64_t arg[static 6])
{
    struct restart *r = &current()->thread->restart;
    return r->call != NULL ? r->call(r) : -EINTR;
}
