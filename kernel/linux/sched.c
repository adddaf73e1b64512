// SPDX-License-Identifier: Apache-2.0
/* How much CPU time is a thread's (Linux 6.1 kernel/sched/core.c, kernel/sys.c). Three policies are
 * there, SCHED_OTHER, SCHED_BATCH and SCHED_IDLE, weighted by the nice value as on Linux. The
 * real-time policies and better nice values are refused as to a process without CAP_SYS_NICE. */
#include "base/errno.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/limits.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

enum {
    SCHED_SAME = -1, // sched_setparam
    SCHED_FIFO = 1,
    SCHED_RR = 2,
    SCHED_DEADLINE = 6,
    SCHED_RESET_ON_FORK = 0x40000000,
    FLAG_RESET_ON_FORK = 1,
    FLAG_KEEP_POLICY = 8,
    FLAG_KEEP_PARAMS = 16,
    FLAGS_ALL = 0x7f,
    PRIORITY_MAX = 99,
};

struct sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};
_Static_assert(sizeof(struct sched_attr) == 56, "Linux struct sched_attr, version 1");
enum { ATTR_BYTES_FIRST = 48 };

static bool policy_known(int policy)
{
    return (policy >= SCHED_OTHER && policy <= SCHED_BATCH) ||
           (policy >= SCHED_IDLE && policy <= SCHED_DEADLINE);
}

/* Linux can_nice without the capability. */
static bool can_nice(const struct task *t, int nice)
{
    return 20 - nice <= (int)MIN(rlimit_of(t->process, RLIMIT_NICE).soft, 40ull);
}

static bool may_change(const struct task *t)
{
    const struct creds *me = &current()->process->creds, *its = &t->process->creds;
    return me->euid == 0 || me->euid == its->euid || me->euid == its->uid;
}

/* Linux __sched_setscheduler. The table of tasks is locked. */
static int set_policy(struct task *t, struct sched_attr *a, bool keep_nice)
{
    struct sched_task *s = t->sched;
    int policy = (int)a->policy;
    bool reset = a->flags & FLAG_RESET_ON_FORK;
    if (policy == SCHED_SAME || a->flags & FLAG_KEEP_POLICY) {
        policy = s->policy;
        reset = s->reset_on_fork;
    } else if (!policy_known(policy)) {
        return -EINVAL;
    }
    if (a->flags & ~(uint64_t)FLAGS_ALL || a->priority > PRIORITY_MAX)
        return -EINVAL;
    bool real_time = policy == SCHED_FIFO || policy == SCHED_RR;
    if (policy == SCHED_DEADLINE)
        return a->runtime == 0 || a->deadline < a->runtime ? -EINVAL : -EPERM;
    if (real_time != (a->priority != 0))
        return -EINVAL;
    if (real_time)
        return -EPERM;
    int nice = keep_nice || a->flags & FLAG_KEEP_PARAMS ? s->nice : a->nice;
    if (nice < s->nice && !can_nice(t, nice))
        return -EPERM;
    if (s->policy == SCHED_IDLE && policy != SCHED_IDLE && !can_nice(t, s->nice))
        return -EPERM;
    if (!may_change(t) || (s->reset_on_fork && !reset))
        return -EPERM;
    s->reset_on_fork = reset;
    sched_weigh(t, policy, nice);
    return 0;
}

static int64_t with_task(uint64_t tid, int (*fn)(struct task *t, void *arg), void *arg)
{
    int me = current()->tid;
    struct task *t = task_find((int)tid != 0 ? (int)tid : me);
    int r = t == NULL || t->thread == NULL ? -ESRCH : fn(t, arg);
    task_find_end();
    return r;
}

static int set_keeping_nice(struct task *t, void *arg)
{
    return set_policy(t, arg, true);
}

static int set_all(struct task *t, void *arg)
{
    return set_policy(t, arg, false);
}

static int64_t set_scheduler(uint64_t tid, int policy, uint64_t user_param)
{
    struct sched_attr a = {0};
    if (user_param == 0 || (int)tid < 0)
        return -EINVAL;
    if (copy_from_user(&a.priority, user_param, sizeof(a.priority)) < 0)
        return -EFAULT;
    if (policy != SCHED_SAME && policy & SCHED_RESET_ON_FORK) {
        a.flags = FLAG_RESET_ON_FORK;
        policy &= ~SCHED_RESET_ON_FORK;
    }
    a.policy = (uint32_t)policy;
    return with_task(tid, set_keeping_nice, &a);
}

int64_t sys_sched_setscheduler(const uint64_t arg[static 6])
{
    return (int)arg[1] < 0 ? -EINVAL : set_scheduler(arg[0], (int)arg[1], arg[2]);
}

int64_t sys_sched_setparam(const uint64_t arg[static 6])
{
    return set_scheduler(arg[0], SCHED_SAME, arg[1]);
}

static int get_policy(struct task *t, void *arg)
{
    struct sched_attr *a = arg;
    const struct sched_task *s = t->sched;
    *a = (struct sched_attr){
        .policy = s->policy, .flags = s->reset_on_fork ? FLAG_RESET_ON_FORK : 0, .nice = s->nice};
    return 0;
}

int64_t sys_sched_getscheduler(const uint64_t arg[static 6])
{
    struct sched_attr a;
    if ((int)arg[0] < 0)
        return -EINVAL;
    int64_t r = with_task(arg[0], get_policy, &a);
    return r < 0 ? r : (int64_t)(a.policy | (a.flags != 0 ? SCHED_RESET_ON_FORK : 0));
}

int64_t sys_sched_getparam(const uint64_t arg[static 6])
{
    struct sched_attr a;
    if (arg[1] == 0 || (int)arg[0] < 0)
        return -EINVAL;
    int64_t r = with_task(arg[0], get_policy, &a);
    return r < 0 ? r : copy_to_user(arg[1], &a.priority, sizeof(a.priority));
}

/* Linux sched_copy_attr: a larger structure is fine if what is unknown in it is 0. */
static int attr_from_user(uint64_t user, struct sched_attr *ret)
{
    const uint32_t known = sizeof(*ret);
    uint32_t size;
    if (copy_from_user(&size, user, sizeof(size)) < 0)
        return -EFAULT;
    if (size == 0)
        size = ATTR_BYTES_FIRST;
    bool fits = size >= ATTR_BYTES_FIRST && size <= PAGE_SIZE;
    for (uint32_t at = known; fits && at < size; at++) {
        uint8_t byte;
        if (copy_from_user(&byte, user + at, 1) < 0)
            return -EFAULT;
        fits = byte == 0;
    }
    if (!fits)
        return copy_to_user(user, &known, sizeof(known)) < 0 ? -EFAULT : -E2BIG;
    *ret = (struct sched_attr){0};
    if (copy_from_user(ret, user, MIN(size, known)) < 0)
        return -EFAULT;
    ret->nice = MAX(-20, MIN(ret->nice, 19));
    return 0;
}

int64_t sys_sched_setattr(const uint64_t arg[static 6])
{
    struct sched_attr a;
    if (arg[1] == 0 || (int)arg[0] < 0 || arg[2] != 0)
        return -EINVAL;
    int r = attr_from_user(arg[1], &a);
    if (r < 0)
        return r;
    if ((int)a.policy < 0)
        return -EINVAL;
    return with_task(arg[0], set_all, &a);
}

int64_t sys_sched_getattr(const uint64_t arg[static 6])
{
    struct sched_attr a;
    const uint64_t size = arg[2] & UINT32_MAX;
    if (arg[1] == 0 || (int)arg[0] < 0 || size > PAGE_SIZE || size < ATTR_BYTES_FIRST ||
        arg[3] != 0)
        return -EINVAL;
    int64_t r = with_task(arg[0], get_policy, &a);
    if (r < 0)
        return r;
    a.size = (uint32_t)MIN(size, sizeof(a));
    return copy_to_user(arg[1], &a, a.size);
}

int64_t sys_sched_get_priority_max(const uint64_t arg[static 6])
{
    int policy = (int)arg[0];
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return PRIORITY_MAX;
    return policy_known(policy) ? 0 : -EINVAL;
}

int64_t sys_sched_get_priority_min(const uint64_t arg[static 6])
{
    int64_t max = sys_sched_get_priority_max(arg);
    return max == PRIORITY_MAX ? 1 : max;
}

int64_t sys_sched_rr_get_interval(const uint64_t arg[static 6])
{
    struct sched_attr a;
    if ((int)arg[0] < 0)
        return -EINVAL;
    int64_t r = with_task(arg[0], get_policy, &a);
    return r < 0 ? r : timespec_to_user(arg[1], SCHED_SLICE_NS);
}

enum { PRIO_PROCESS, PRIO_PGRP, PRIO_USER };

struct nice_call {
    int which;
    uint32_t who;
    int nice;
    int result; // of the last task, or the best found
    bool set, found;
};

static bool is_meant(const struct nice_call *n, const struct task *t)
{
    switch (n->which) {
    case PRIO_PROCESS:
        return (uint32_t)t->tid == n->who;
    case PRIO_PGRP:
        return (uint32_t)process_group(t->process) == n->who;
    default:
        return t->process->creds.uid == n->who;
    }
}

static void nice_one(struct task *t, void *ctx)
{
    struct nice_call *n = ctx;
    if (t->thread == NULL || !is_meant(n, t))
        return;
    struct sched_task *s = t->sched;
    if (!n->set) {
        n->result = n->found ? MIN(n->result, s->nice) : s->nice;
    } else if (!may_change(t)) {
        n->result = -EPERM;
    } else if (n->nice < s->nice && !can_nice(t, n->nice)) {
        n->result = -EACCES;
    } else {
        if (!n->found)
            n->result = 0;
        sched_weigh(t, s->policy, n->nice);
    }
    n->found = true;
}

/* For whom: 0 is the caller itself. */
static int nice_all(struct nice_call *n)
{
    struct task *me = current();
    if (n->which < PRIO_PROCESS || n->which > PRIO_USER)
        return -EINVAL;
    if (n->who == 0)
        n->who = n->which == PRIO_PROCESS ? (uint32_t)me->tid
                 : n->which == PRIO_PGRP  ? (uint32_t)process_group(me->process)
                                          : me->process->creds.uid;
    task_for_each(nice_one, n);
    return n->found ? 0 : -ESRCH;
}

int64_t sys_getpriority(const uint64_t arg[static 6])
{
    struct nice_call n = {.which = (int)arg[0], .who = (uint32_t)arg[1]};
    int r = nice_all(&n);
    return r < 0 ? r : 20 - n.result; // so that it is never negative
}

int64_t sys_setpriority(const uint64_t arg[static 6])
{
    struct nice_call n = {.which = (int)arg[0],
                          .who = (uint32_t)arg[1],
                          .nice = MAX(-20, MIN((int)arg[2], 19)),
                          .set = true};
    int r = nice_all(&n);
    return r < 0 ? r : n.result;
}
