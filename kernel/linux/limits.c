// SPDX-License-Identifier: Apache-2.0
/* Resource limits of a process (Linux 6.1 kernel/sys.c do_prlimit). Who enforces which:
 * CPU here; DATA, STACK, AS mm/space.c; NOFILE vfs/fd.c; FSIZE linux/rw.c; NPROC linux/process.c
 * for users without CAP_SYS_RESOURCE; SIGPENDING linux/signal.c; NICE linux/sched.c; MEMLOCK
 * linux/memory.c for users without CAP_IPC_LOCK. There is nothing to limit by CORE (none is ever
 * written), MSGQUEUE, RTPRIO and RTTIME; RSS and LOCKS are kept as Linux does, which does not
 * enforce them either. */
#include "kernel/linux/limits.h"

#include "base/errno.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/sched/stats.h"
#include "kernel/vfs/fd.h"

enum { MEMLOCK_DEFAULT = 8 << 20, SIGPENDING_DEFAULT = 4096 };
#define UNLIMITED                                                                                  \
    {                                                                                              \
        UINT64_MAX, UINT64_MAX                                                                     \
    }

/* What a process has that has set nothing. */
static const struct rlimit defaults[RLIMITS] = {
    [RLIMIT_CPU] = UNLIMITED,
    [RLIMIT_FSIZE] = UNLIMITED,
    [RLIMIT_DATA] = UNLIMITED,
    [RLIMIT_STACK] = {8 << 20, UINT64_MAX},
    [RLIMIT_CORE] = {0, UINT64_MAX},
    [RLIMIT_RSS] = UNLIMITED,
    [RLIMIT_NPROC] = {TASKS_MAX, TASKS_MAX},
    [RLIMIT_NOFILE] = {FD_LIMIT_DEFAULT, FD_LIMIT_MAX},
    [RLIMIT_MEMLOCK] = {MEMLOCK_DEFAULT, MEMLOCK_DEFAULT},
    [RLIMIT_AS] = UNLIMITED,
    [RLIMIT_LOCKS] = UNLIMITED,
    [RLIMIT_SIGPENDING] = {SIGPENDING_DEFAULT, SIGPENDING_DEFAULT},
    [RLIMIT_MSGQUEUE] = {0, 0},
    [RLIMIT_NICE] = {0, 0},
    [RLIMIT_RTPRIO] = {0, 0},
    [RLIMIT_RTTIME] = UNLIMITED,
};

static struct rlimit limit_locked(const struct process *p, unsigned n)
{
    return p->limits.set & 1u << n ? p->limits.limit[n] : defaults[n];
}

struct rlimit rlimit_of(struct process *p, unsigned n)
{
    spin_lock(&p->lock);
    struct rlimit l = limit_locked(p, n);
    spin_unlock(&p->lock);
    return l;
}

bool stats_rlimit(unsigned n, uint64_t *ret_soft, uint64_t *ret_hard)
{
    if (n >= RLIMITS)
        return false;
    struct rlimit l = rlimit_of(current()->process, n);
    *ret_soft = l.soft;
    *ret_hard = l.hard;
    return true;
}

/* Who enforces it learns of the new limit. */
static void tell(struct process *p, unsigned n, uint64_t soft)
{
    if (n == RLIMIT_STACK)
        p->mm->stack_limit = soft;
    else if (n == RLIMIT_AS)
        p->mm->as_limit = MAX(soft, 1ull);
    else if (n == RLIMIT_DATA)
        p->mm->data_limit = MAX(soft, 1ull);
    else if (n == RLIMIT_NOFILE)
        fdtable_limit_set(p->files, (uint32_t)MIN(soft, (uint64_t)FD_LIMIT_MAX));
    else if (n == RLIMIT_SIGPENDING)
        p->signals->queued_end = (uint32_t)MIN(soft, (uint64_t)SIGPENDING_DEFAULT) + 1;
    else if (n == RLIMIT_CPU)
        cpu_limit_changed(p);
}

void limits_apply(struct process *p)
{
    for (unsigned n = 0; n < RLIMITS; n++)
        if (p->limits.set & 1u << n)
            tell(p, n, p->limits.limit[n].soft);
}

static int rlimit_set(struct process *p, unsigned n, struct rlimit new)
{
    int r = 0;
    if (new.soft > new.hard)
        return -EINVAL;
    if (n == RLIMIT_NOFILE && new.hard > FD_LIMIT_MAX)
        return -EPERM;
    bool may_raise = capable(CAP_SYS_RESOURCE);
    spin_lock(&p->lock);
    if (new.hard > limit_locked(p, n).hard && !may_raise)
        r = -EPERM;
    if (r == 0) {
        p->limits.limit[n] = new;
        p->limits.set |= 1u << n;
    }
    spin_unlock(&p->lock);
    if (r == 0)
        tell(p, n, new.soft);
    return r;
}

static int64_t prlimit(int pid, uint64_t which, uint64_t user_new, uint64_t user_old)
{
    struct process *p = current()->process;
    struct rlimit new;
    if (which >= RLIMITS)
        return -EINVAL;
    if (user_new != 0 && copy_from_user(&new, user_new, sizeof(new)) < 0)
        return -EFAULT;
    if (pid != 0 && pid != p->pid) {
        const struct task *t = task_find(pid);
        const int r = t == NULL ? -ESRCH : t->process != p ? -EPERM : 0;
        task_find_end();
        if (r < 0)
            return r;
    }
    const struct rlimit old = rlimit_of(p, (unsigned)which);
    int r = user_new != 0 ? rlimit_set(p, (unsigned)which, new) : 0;
    return r < 0 || user_old == 0 ? r : copy_to_user(user_old, &old, sizeof(old));
}

int64_t sys_prlimit64(const uint64_t arg[static 6])
{
    return prlimit((int)arg[0], arg[1] & UINT32_MAX, arg[2], arg[3]);
}

int64_t sys_getrlimit(const uint64_t arg[static 6])
{
    const uint64_t which = arg[0] & UINT32_MAX;
    if (which >= RLIMITS)
        return -EINVAL;
    return arg[1] == 0 ? -EFAULT : prlimit(0, which, 0, arg[1]);
}

int64_t sys_setrlimit(const uint64_t arg[static 6])
{
    return arg[1] == 0 ? -EFAULT : prlimit(0, arg[0] & UINT32_MAX, arg[1], 0);
}
