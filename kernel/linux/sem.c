// SPDX-License-Identifier: Apache-2.0
/* System V semaphores. Linux 6.1 ipc/sem.c.
 *
 * Who changes a set does what the sleepers wait for on their behalf, first come first served: a
 * sleeper that wakes has its result. Lock: sem_lock (mutex); mm->lock below it. */
#include "base/errno.h"
#include "base/list.h"
#include "base/mem.h"
#include "kernel/linux/ipc.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/sched/timer.h"

enum {
    SEMAPHORES_MAX = 32000, // of a set, and of all
    OPS_MAX = 500,
    OPS_SMALL = 8, // that need no allocation
    VALUE_MAX = 32767,
    SEM_UNDO = 0x1000,
    PENDING = 1, // struct sleeper.result
};

struct semaphore {
    int value, pid;
};

struct set {
    struct ipc ipc;
    struct semaphore *sems;
    uint32_t count;
    int64_t operated;     // seconds
    struct list sleepers; // struct sleeper.link, in the order they came
    struct list undos;    // struct undo.link
};

struct undo { // what is added when the process ends
    struct list link;
    const struct process *owner;
    int16_t add[]; // one a semaphore
};

struct op { // Linux struct sembuf
    uint16_t number;
    int16_t add;
    uint16_t flags;
};
_Static_assert(sizeof(struct op) == 6, "Linux struct sembuf");

struct sleeper {
    struct list link;
    const struct op *ops, *blocking;
    unsigned count;
    struct undo *undo; // NULL: none asked for
    int pid, result;   // atomic: PENDING, or what the call returns
    struct task *task;
};

static struct set sets[IPC_OBJECTS_MAX]; // all protected by sem_lock
static const struct ipc_table table = {sets, sizeof(sets[0])};
static uint32_t semaphores; // in all sets
static uint32_t undos;      // atomic
static struct mutex sem_lock = {.sleepers = {&sem_lock.sleepers, &sem_lock.sleepers}};

static struct set *find(int id)
{
    struct ipc *i = ipc_find(&table, id);
    return i != NULL ? CONTAINER_OF(i, struct set, ipc) : NULL;
}

// --- operations ---

/* All of them or none: 0, -ERANGE, -EAGAIN (it may not wait) or PENDING. */
static int perform(struct set *s, struct sleeper *w)
{
    int r = 0;
    unsigned done = 0;
    for (; done < w->count; done++) {
        const struct op *op = &w->ops[done];
        int value = s->sems[op->number].value;
        if ((op->add == 0 && value != 0) || value + op->add < 0) {
            w->blocking = op;
            r = op->flags & IPC_NOWAIT ? -EAGAIN : PENDING;
            break;
        }
        int undo = op->flags & SEM_UNDO ? w->undo->add[op->number] - op->add : 0;
        if (value + op->add > VALUE_MAX || undo > VALUE_MAX || undo < -VALUE_MAX - 1) {
            r = -ERANGE;
            break;
        }
        s->sems[op->number].value = value + op->add;
        if (op->flags & SEM_UNDO)
            w->undo->add[op->number] = (int16_t)undo;
    }
    for (unsigned i = done; i > 0 && r != 0; i--) {
        const struct op *op = &w->ops[i - 1];
        s->sems[op->number].value -= op->add;
        if (op->flags & SEM_UNDO)
            w->undo->add[op->number] = (int16_t)(w->undo->add[op->number] + op->add);
    }
    for (unsigned i = 0; i < w->count && r == 0; i++)
        s->sems[w->ops[i].number].pid = w->pid;
    return r;
}

static void finish(struct sleeper *w, int result)
{
    list_remove(&w->link);
    __atomic_store_n(&w->result, result, __ATOMIC_RELEASE);
    task_wake(w->task); // it cannot go before it has had the lock
}

/* Values have changed: let those go on that can, until nobody can. Each round ends a sleeper. */
static void settle(struct set *s)
{
    for (bool again = true; again;) {
        again = false;
        LIST_FOR_EACH_SAFE (node, &s->sleepers) {
            struct sleeper *w = LIST_ENTRY(node, struct sleeper, link);
            int r = perform(s, w);
            if (r == PENDING)
                continue;
            finish(w, r);
            again = r == 0;
            if (again) {
                s->operated = ipc_seconds();
                break;
            }
        }
    }
}

static struct undo *undo_of(struct set *s)
{
    const struct process *me = current()->process;
    LIST_FOR_EACH (node, &s->undos) {
        struct undo *u = LIST_ENTRY(node, struct undo, link);
        if (u->owner == me)
            return u;
    }
    struct undo *u = kzalloc(sizeof(*u) + s->count * sizeof(u->add[0]));
    if (u == NULL)
        return NULL;
    u->owner = me;
    list_push_back(&s->undos, &u->link);
    __atomic_fetch_add(&undos, 1, __ATOMIC_RELAXED);
    return u;
}

static void undo_free(struct undo *u)
{
    list_remove(&u->link);
    kfree(u);
    __atomic_fetch_sub(&undos, 1, __ATOMIC_RELAXED);
}

/* Begin: a result, or PENDING with w among the set's sleepers. */
static int begin(int id, struct sleeper *w)
{
    uint32_t highest = 0, flags = 0;
    bool alter = false;
    for (unsigned i = 0; i < w->count; i++) {
        highest = MAX(highest, (uint32_t)w->ops[i].number);
        flags |= w->ops[i].flags;
        alter |= w->ops[i].add != 0;
    }
    struct set *s = find(id);
    if (s == NULL)
        return -EINVAL;
    if (highest >= s->count)
        return -EFBIG;
    if (!ipc_permits(&s->ipc, alter ? 0222 : 0444))
        return -EACCES;
    if ((flags & SEM_UNDO) && (w->undo = undo_of(s)) == NULL)
        return -ENOMEM;
    int r = perform(s, w);
    if (r == 0) {
        s->operated = ipc_seconds();
        if (alter)
            settle(s);
    } else if (r == PENDING) {
        w->result = PENDING;
        list_push_back(&s->sleepers, &w->link);
    }
    return r;
}

static int wait(struct sleeper *w, uint64_t deadline)
{
    int r = 0;
    while (r == 0) {
        task_prepare_sleep();
        if (__atomic_load_n(&w->result, __ATOMIC_ACQUIRE) != PENDING)
            break;
        r = task_sleep(deadline, true);
    }
    task_cancel_sleep();
    mutex_lock(&sem_lock);
    if (w->result == PENDING) {
        list_remove(&w->link);
        w->result = r == -ETIMEDOUT ? -EAGAIN : -EINTR; // never restarted: signal(7)
    }
    mutex_unlock(&sem_lock);
    return w->result;
}

static int operate(int id, const struct op *ops, unsigned count, uint64_t deadline)
{
    const struct process *me = current()->process;
    struct sleeper w = {.ops = ops, .count = count, .pid = me->pid, .task = current()};
    mutex_lock(&sem_lock);
    int r = begin(id, &w);
    mutex_unlock(&sem_lock);
    return r == PENDING ? wait(&w, deadline) : r;
}

static int64_t semop(int id, uint64_t user, uint64_t count, uint64_t timeout)
{
    struct op small[OPS_SMALL], *ops = small;
    uint64_t ns = 0;
    int time = timeout != 0 ? timespec_from_user(timeout, &ns) : 0;
    if (time == -EFAULT)
        return time;
    if ((uint32_t)count < 1 || id < 0)
        return -EINVAL;
    if ((uint32_t)count > OPS_MAX)
        return -E2BIG;
    count = (uint32_t)count;
    if (count > OPS_SMALL && (ops = kmalloc(count * sizeof(*ops))) == NULL)
        return -ENOMEM;
    int r = copy_from_user(ops, user, count * sizeof(*ops));
    if (r == 0)
        r = time;
    const uint64_t now = clock_mono_ns();
    const bool ever = timeout != 0 && ns < DEADLINE_NEVER - now;
    if (r == 0)
        r = operate(id, ops, (unsigned)count, ever ? now + ns : DEADLINE_NEVER);
    if (ops != small)
        kfree(ops);
    return r;
}

int64_t sys_semop(const uint64_t arg[static 6])
{
    return semop((int)arg[0], arg[1], arg[2], 0);
}

int64_t sys_semtimedop(const uint64_t arg[static 6])
{
    return semop((int)arg[0], arg[1], arg[2], arg[3]);
}

void sem_exit(const struct process *p)
{
    if (LIKELY(__atomic_load_n(&undos, __ATOMIC_RELAXED) == 0))
        return;
    mutex_lock(&sem_lock);
    for (struct set *s = sets; s < sets + IPC_OBJECTS_MAX; s++) {
        if (!s->ipc.used)
            continue;
        LIST_FOR_EACH_SAFE (node, &s->undos) {
            struct undo *u = LIST_ENTRY(node, struct undo, link);
            if (u->owner != p)
                continue;
            for (uint32_t i = 0; i < s->count; i++) {
                if (u->add[i] == 0)
                    continue;
                s->sems[i].value = MIN(MAX(s->sems[i].value + u->add[i], 0), VALUE_MAX);
                s->sems[i].pid = p->pid;
            }
            undo_free(u);
            s->operated = ipc_seconds();
            settle(s);
        }
    }
    mutex_unlock(&sem_lock);
}

// --- sets ---

static int make(struct set *s, uint32_t count)
{
    if (count == 0)
        return -EINVAL;
    if (count > SEMAPHORES_MAX - semaphores)
        return -ENOSPC;
    struct semaphore *sems = kzalloc(count * sizeof(*sems));
    if (sems == NULL)
        return -ENOMEM;
    *s = (struct set){.ipc = s->ipc, .sems = sems, .count = count};
    list_init(&s->sleepers);
    list_init(&s->undos);
    semaphores += count;
    s->ipc.used = true;
    return 0;
}

static int get(int key, int count, uint32_t flags)
{
    struct ipc *i;
    if (count < 0 || count > SEMAPHORES_MAX)
        return -EINVAL;
    int r = ipc_get(&table, key, flags, &i);
    if (r < 0)
        return r;
    struct set *s = CONTAINER_OF(i, struct set, ipc);
    if (r == 1)
        r = make(s, (uint32_t)count);
    else if ((uint32_t)count > s->count)
        r = -EINVAL;
    else if (!ipc_permits(i, flags & IPC_PERMS))
        r = -EACCES;
    return r < 0 ? r : ipc_id(&table, i);
}

int64_t sys_semget(const uint64_t arg[static 6])
{
    mutex_lock(&sem_lock);
    int r = get((int)arg[0], (int)arg[1], (uint32_t)arg[2]);
    mutex_unlock(&sem_lock);
    return r;
}

static void remove(struct set *s)
{
    while (!list_empty(&s->undos))
        undo_free(LIST_ENTRY(s->undos.next, struct undo, link));
    while (!list_empty(&s->sleepers))
        finish(LIST_ENTRY(s->sleepers.next, struct sleeper, link), -EIDRM);
    kfree(TAKE(s->sems));
    semaphores -= s->count;
    s->ipc.used = false;
}

enum { GETPID = 11, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL };

/* How many sleep because of this one: until it is zero, or until it is more. */
static int sleepers_on(const struct set *s, uint32_t number, bool zero)
{
    int count = 0;
    LIST_FOR_EACH (node, &s->sleepers) {
        const struct op *op = LIST_ENTRY(node, struct sleeper, link)->blocking;
        count += op->number == number && (op->add == 0) == zero;
    }
    return count;
}

static void forget_undo(struct set *s, uint32_t number)
{
    LIST_FOR_EACH (node, &s->undos)
        LIST_ENTRY(node, struct undo, link)->add[number] = 0;
}

static void set_value(struct set *s, uint32_t number, int value)
{
    forget_undo(s, number);
    s->sems[number].value = value;
    s->sems[number].pid = current()->process->pid;
    s->ipc.changed = ipc_seconds();
}

/* One semaphore. */
static int control_one(struct set *s, uint32_t number, int command, int value)
{
    if (number >= s->count)
        return -EINVAL;
    if (command == SETVAL) {
        if (!ipc_permits(&s->ipc, 0222))
            return -EACCES;
        set_value(s, number, value);
        settle(s);
        return 0;
    }
    switch (command) {
    case GETVAL:
        return s->sems[number].value;
    case GETPID:
        return s->sems[number].pid;
    default:
        return sleepers_on(s, number, command == GETZCNT);
    }
}

/* All values, from or to the program. */
static int control_all(struct set *s, bool set, uint64_t user)
{
    uint16_t *values = kmalloc(s->count * sizeof(*values));
    if (values == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->count && !set; i++)
        values[i] = (uint16_t)s->sems[i].value;
    int r = set ? copy_from_user(values, user, s->count * sizeof(*values))
                : copy_to_user(user, values, s->count * sizeof(*values));
    for (uint32_t i = 0; i < s->count && set && r == 0; i++)
        r = values[i] > VALUE_MAX ? -ERANGE : 0;
    for (uint32_t i = 0; i < s->count && set && r == 0; i++)
        set_value(s, i, values[i]);
    kfree(values);
    if (set && r == 0)
        settle(s);
    return r;
}

struct user_semid { // Linux struct semid64_ds
    struct user_ipc_perm perm;
    int64_t operated;
    uint64_t unused1;
    int64_t changed;
    uint64_t unused2, count, unused3[2];
};
_Static_assert(sizeof(struct user_semid) == 104, "Linux struct semid64_ds");

static int control(struct set *s, int number, int command, uint64_t arg, struct user_semid *io)
{
    switch (command) {
    case IPC_RMID:
    case IPC_SET:
        if (!ipc_owns(&s->ipc))
            return -EPERM;
        if (command == IPC_RMID)
            remove(s);
        else
            ipc_change(&s->ipc, &io->perm);
        return 0;
    case SETVAL:
        return control_one(s, (uint32_t)number, command, (int)arg);
    case SETALL:
        return ipc_permits(&s->ipc, 0222) ? control_all(s, true, arg) : -EACCES;
    default:
        break;
    }
    if (!ipc_permits(&s->ipc, 0444))
        return -EACCES;
    if (command == GETALL)
        return control_all(s, false, arg);
    if (command != IPC_STAT)
        return control_one(s, (uint32_t)number, command, 0);
    *io =
        (struct user_semid){.operated = s->operated, .changed = s->ipc.changed, .count = s->count};
    ipc_describe(&s->ipc, &io->perm);
    return 0;
}

int64_t sys_semctl(const uint64_t arg[static 6])
{
    struct user_semid io = {0};
    const int command = (int)arg[2];
    if ((int)arg[0] < 0 || command < 0 || (command > IPC_STAT && command < GETPID) ||
        command > SETALL)
        return -EINVAL; // also the inquiries of ipcs(1)
    if (command == IPC_SET && copy_from_user(&io, arg[3], sizeof(io)) < 0)
        return -EFAULT;
    if (command == SETVAL && ((int)arg[3] < 0 || (int)arg[3] > VALUE_MAX))
        return -ERANGE;
    mutex_lock(&sem_lock);
    struct set *s = find((int)arg[0]);
    int r = s != NULL ? control(s, (int)arg[1], command, arg[3], &io) : -EINVAL;
    mutex_unlock(&sem_lock);
    return r == 0 && command == IPC_STAT ? copy_to_user(arg[3], &io, sizeof(io)) : r;
}
