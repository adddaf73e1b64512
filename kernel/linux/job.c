// SPDX-License-Identifier: Apache-2.0
/* Process groups and sessions, and who looks after whose children. Linux 6.1 kernel/sys.c. */
#include "base/errno.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"

/* A process by the number that a program gives; 0: the caller. With the table locked. */
static struct process *named(int pid)
{
    return pid == 0 ? current()->process : process_find(pid);
}

static bool group_in_session(int pgid, int sid)
{
    LIST_FOR_EACH (node, &processes) {
        const struct process *p = LIST_ENTRY(node, struct process, all);
        if (p->pgid == pgid && p->sid == sid)
            return true;
    }
    return false;
}

static int check_setpgid(const struct process *p, int pgid)
{
    const struct process *me = current()->process;
    if (p == NULL || (p != me && p->parent != me))
        return -ESRCH;
    if (p != me && p->sid != me->sid)
        return -EPERM;
    if (p != me && p->executed)
        return -EACCES;
    if (p->sid == p->pid)
        return -EPERM; // it leads a session
    return pgid == p->pid || group_in_session(pgid, me->sid) ? 0 : -EPERM;
}

int64_t sys_setpgid(const uint64_t arg[static 6])
{
    int pgid = (int)arg[1];
    if (pgid < 0)
        return -EINVAL;
    process_table_lock();
    struct process *p = named((int)arg[0]);
    if (pgid == 0 && p != NULL)
        pgid = p->pid;
    int r = check_setpgid(p, pgid);
    if (r == 0 && p != NULL)
        p->pgid = pgid;
    process_table_unlock();
    return r;
}

int64_t sys_getpgid(const uint64_t arg[static 6])
{
    process_table_lock();
    const struct process *p = named((int)arg[0]);
    int r = p != NULL ? p->pgid : -ESRCH;
    process_table_unlock();
    return r;
}

int64_t sys_getpgrp(UNUSED const uint64_t arg[static 6])
{
    return current()->process->pgid;
}

int64_t sys_getsid(const uint64_t arg[static 6])
{
    process_table_lock();
    const struct process *p = named((int)arg[0]);
    int r = p != NULL ? p->sid : -ESRCH;
    process_table_unlock();
    return r;
}

int64_t sys_setsid(UNUSED const uint64_t arg[static 6])
{
    struct process *me = current()->process;
    int r = me->pid;
    process_table_lock();
    LIST_FOR_EACH (node, &processes) {
        const struct process *p = LIST_ENTRY(node, struct process, all);
        if (p->pgid == me->pid)
            r = -EPERM; // a group of that number exists
    }
    if (r > 0)
        me->sid = me->pgid = me->pid;
    process_table_unlock();
    return r;
}

int64_t process_prctl(const uint64_t arg[static 6])
{
    enum { SET_PDEATHSIG = 1, GET_PDEATHSIG = 2, SET_CHILD_SUBREAPER = 36 };
    struct process *me = current()->process;
    if ((int)arg[0] == SET_PDEATHSIG && arg[1] > SIGNALS)
        return -EINVAL;
    process_table_lock();
    if ((int)arg[0] == SET_PDEATHSIG)
        me->death_signal = (uint8_t)arg[1];
    else if ((int)arg[0] == SET_CHILD_SUBREAPER)
        me->subreaper = arg[1] != 0;
    const int32_t state = (int)arg[0] == GET_PDEATHSIG ? me->death_signal : me->subreaper;
    process_table_unlock();
    bool asks = (int)arg[0] != SET_PDEATHSIG && (int)arg[0] != SET_CHILD_SUBREAPER;
    return asks ? copy_to_user(arg[1], &state, sizeof(state)) : 0;
}
