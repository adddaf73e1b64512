// SPDX-License-Identifier: Apache-2.0
/* The end of processes, and those who wait for it: zombies, SIGCHLD, wait4(2), waitid(2). Linux 6.1
 * kernel/exit.c and do_notify_parent in kernel/signal.c.
 *
 * Lock order: table -> process->lock -> signal_state.lock; table -> child_wait.lock. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/linux/pidfd.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

enum {
    WNOHANG = 1,
    WSTOPPED = 2,
    WEXITED = 4,
    WCONTINUED = 8,
    WNOWAIT = 0x1000000,
    WNOTHREAD = 0x20000000,
    WALL = 0x40000000,
    STATUS_CONTINUED = 0xffff,
    NS_PER_TICK = 10000000,
};
static const uint32_t WCLONE = 0x80000000;

/* What a wait status says, as siginfo has it. */
static int code_of(int status, int *ret_value)
{
    if (status == STATUS_CONTINUED) {
        *ret_value = SIGCONT;
        return CLD_CONTINUED;
    }
    bool by_signal = (status & 0x7f) != 0 && (status & 0xff) != 0x7f;
    *ret_value = by_signal ? status & 0x7f : status >> 8 & 0xff;
    return by_signal ? CLD_KILLED : (status & 0xff) == 0x7f ? CLD_STOPPED : CLD_EXITED;
}

static void tell_parent(const struct process *p, int signo, int status)
{
    struct siginfo info = {.signo = signo,
                           .child = {.pid = p->pid,
                                     .uid = p->creds.uid,
                                     .user_ticks = (int64_t)(p->exited_cpu_ns / NS_PER_TICK)}};
    info.code = code_of(status, &info.child.status);
    (void)signal_queue_process(p->parent, &info);
}

/* p has become a zombie, or a zombie has got this parent. True when nobody will wait for it. With
 * the table locked. */
static bool tell_end(struct process *p)
{
    bool unwanted = p->exit_signal == SIGCHLD && signal_children_unwanted(p->parent, false);
    if (p->exit_signal != 0)
        tell_parent(p, p->exit_signal, p->wait_status);
    waitq_wake(&p->parent->child_wait, EV_IN, UINT32_MAX);
    return unwanted;
}

/* Who gets the children of p: the nearest that asked for it, else the first process. */
static struct process *reaper_of(const struct process *p)
{
    struct process *r = p->parent;
    while (r != program && !(r->subreaper && r->task_count > 0))
        r = r->parent;
    return r;
}

/* Hand on p's children. Those that nobody will wait for come out in `gone`. */
static void hand_on(struct process *p, struct list *gone)
{
    struct process *r = reaper_of(p);
    for (struct list *n; (n = list_pop_front(&p->children)) != NULL;) {
        struct process *child = LIST_ENTRY(n, struct process, sibling);
        child->parent = r;
        child->ppid = r->pid;
        child->exit_signal = SIGCHLD;
        list_push_back(&r->children, &child->sibling);
        if (child->death_signal != 0)
            signal_send_process(child, child->death_signal);
        if (child->zombie && tell_end(child)) {
            process_forget(child);
            list_push_back(gone, &child->sibling);
        }
    }
}

void process_ended(struct process *p)
{
    struct list gone;
    list_init(&gone);
    process_table_lock();
    hand_on(p, &gone);
    __atomic_store_n(&p->zombie, true, __ATOMIC_RELEASE);
    waitq_wake(&p->gone_wait, EV_IN | EV_RDNORM, 0);
    p->job_event = 0;
    if (tell_end(p)) {
        process_forget(p);
        list_push_back(&gone, &p->sibling);
    }
    process_table_unlock();
    for (struct list *n; (n = list_pop_front(&gone)) != NULL;)
        process_put(LIST_ENTRY(n, struct process, sibling));
}

void process_job_event(struct process *p, int code, int signo)
{
    process_table_lock();
    p->job_event = code == CLD_CONTINUED ? STATUS_CONTINUED : signo << 8 | 0x7f;
    if (p->parent != NULL) {
        if (!signal_children_unwanted(p->parent, true))
            tell_parent(p, SIGCHLD, p->job_event);
        waitq_wake(&p->parent->child_wait, EV_IN, UINT32_MAX);
    }
    process_table_unlock();
}

struct wait {
    int pid;                       // 0: any
    int pgid;                      // 0: any
    const struct process *process; // NULL: any
    uint32_t options;
    // The answer.
    int found; // pid, or 0
    int status;
    uint32_t uid;
    uint64_t cpu_ns;
};

static bool wanted(const struct wait *w, const struct process *p)
{
    if (w->process != NULL && p != w->process)
        return false;
    if ((w->pid != 0 && p->pid != w->pid) || (w->pgid != 0 && p->pgid != w->pgid))
        return false;
    return (w->options & WALL) || (p->exit_signal != SIGCHLD) == ((w->options & WCLONE) != 0);
}

/* Is there something to tell of p? With the table locked. */
static bool event_of(struct wait *w, struct process *p)
{
    bool keep = (w->options & WNOWAIT) != 0;
    if (p->zombie) {
        if (!(w->options & WEXITED))
            return false;
        w->status = p->wait_status;
    } else {
        uint32_t want = p->job_event == STATUS_CONTINUED ? WCONTINUED : WSTOPPED;
        if (p->job_event == 0 || !(w->options & want))
            return false;
        w->status = p->job_event;
        p->job_event = keep ? p->job_event : 0;
    }
    w->found = p->pid;
    w->uid = p->creds.uid;
    w->cpu_ns = p->exited_cpu_ns;
    return true;
}

/* True when there is nothing to wait for any more: *ret is 0 with something found or without
 * (WNOHANG), or -ECHILD. */
static bool look(struct wait *w, int *ret)
{
    struct process *me = current()->process, *gone = NULL;
    bool any = false;
    process_table_lock();
    LIST_FOR_EACH_SAFE (node, &me->children) {
        struct process *p = LIST_ENTRY(node, struct process, sibling);
        if (!wanted(w, p))
            continue;
        any = true;
        if (!event_of(w, p))
            continue;
        if (p->zombie && !(w->options & WNOWAIT)) {
            me->children_cpu_ns += p->exited_cpu_ns + p->children_cpu_ns;
            process_forget(p);
            gone = p;
        }
        break;
    }
    process_table_unlock();
    process_put(gone);
    *ret = any ? 0 : -ECHILD;
    return !any || w->found != 0 || (w->options & WNOHANG);
}

static int do_wait(struct wait *w)
{
    int r = 0;
    struct waitq *q = &current()->process->child_wait;
    int slept = WAIT_EVENT(q, EV_IN, look(w, &r), DEADLINE_NEVER, true);
    return slept < 0 ? -ERESTARTSYS : r;
}

static int put_rusage(uint64_t user, const struct wait *w)
{
    const uint64_t usec = w->cpu_ns / 1000;
    const int64_t u[18] = {(int64_t)(usec / 1000000), (int64_t)(usec % 1000000)};
    return user != 0 ? copy_to_user(user, u, sizeof(u)) : 0;
}

int64_t sys_wait4(const uint64_t arg[static 6])
{
    const uint32_t known = WNOHANG | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL;
    int pid = (int)arg[0];
    if ((uint32_t)arg[2] & ~known)
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    struct wait w = {.options = (uint32_t)arg[2] | WEXITED};
    if (pid > 0)
        w.pid = pid;
    else if (pid != -1)
        w.pgid = pid == 0 ? current()->process->pgid : -pid;
    int r = do_wait(&w);
    if (r < 0 || w.found == 0)
        return r;
    if (put_rusage(arg[3], &w) < 0 ||
        (arg[1] != 0 && copy_to_user(arg[1], &w.status, sizeof(w.status)) < 0))
        return -EFAULT;
    return w.found;
}

/* The fields of siginfo that waitid fills. */
static int put_info(uint64_t user, const struct wait *w)
{
    int32_t head[3] = {0}, tail[3] = {0};
    if (user == 0)
        return 0;
    if (w->found != 0) {
        head[0] = SIGCHLD;
        head[2] = code_of(w->status, &tail[2]);
        tail[0] = w->found;
        tail[1] = (int32_t)w->uid;
    }
    if (copy_to_user(user, head, sizeof(head)) < 0)
        return -EFAULT;
    return copy_to_user(user + 16, tail, sizeof(tail));
}

int64_t sys_waitid(const uint64_t arg[static 6])
{
    enum { P_ALL, P_PID, P_PGID, P_PIDFD };
    const uint32_t known =
        WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL;
    int id = (int)arg[1];
    struct process *held = NULL;
    bool nonblock = false;
    struct wait w = {.options = (uint32_t)arg[3]};
    if ((w.options & ~known) || !(w.options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    switch ((int)arg[0]) {
    case P_ALL:
        break;
    case P_PID:
        if (id <= 0)
            return -EINVAL;
        w.pid = id;
        break;
    case P_PGID:
        if (id < 0)
            return -EINVAL;
        w.pgid = id != 0 ? id : current()->process->pgid;
        break;
    case P_PIDFD:
        if (id < 0)
            return -EINVAL;
        w.process = held = pidfd_process(id, &nonblock);
        if (held == NULL)
            return -EBADF;
        nonblock = nonblock && !(w.options & WNOHANG);
        w.options |= nonblock ? (uint32_t)WNOHANG : 0;
        break;
    default:
        return -EINVAL;
    }
    int r = do_wait(&w);
    process_put(held);
    if (r == 0 && nonblock && w.found == 0)
        r = -EAGAIN;
    if (r < 0)
        return r;
    if (w.found != 0 && put_rusage(arg[4], &w) < 0)
        return -EFAULT;
    return put_info(arg[2], &w);
}
