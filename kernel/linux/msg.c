// SPDX-License-Identifier: Apache-2.0
/* System V message queues. Linux 6.1 ipc/msg.c.
 *
 * Lock: msg_lock (mutex) protects everything; user memory is touched without it. */
#include "base/errno.h"
#include "base/list.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/ipc.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/timer.h"
#include "kernel/sched/wait.h"

enum {
    MESSAGE_MAX = 8192,      // bytes
    QUEUE_BYTES_MAX = 16384, // and messages, unless the owner may ask for more
    MSG_NOERROR = 010000,
    MSG_EXCEPT = 020000,
    MSG_COPY = 040000,
};

struct message {
    struct list link;
    int64_t type;
    size_t size;
    char text[];
};

struct queue {
    struct ipc ipc;
    struct list messages;
    uint64_t bytes, count, bytes_max;
    int64_t sent, received; // seconds
    int sender, receiver;   // pids
    // These outlive a removal: somebody may sleep here.
    struct waitq waiters;
    uint32_t changes; // atomic
};

static struct queue queues[IPC_OBJECTS_MAX];
static const struct ipc_table table = {queues, sizeof(queues[0])};
static struct mutex msg_lock = {.sleepers = {&msg_lock.sleepers, &msg_lock.sleepers}};

static struct queue *find(int id)
{
    struct ipc *i = ipc_find(&table, id);
    return i != NULL ? CONTAINER_OF(i, struct queue, ipc) : NULL;
}

static void make(struct queue *q)
{
    if (q->waiters.waiters.next == NULL)
        waitq_init(&q->waiters);
    list_init(&q->messages);
    q->bytes = q->count = 0;
    q->bytes_max = QUEUE_BYTES_MAX;
    q->sent = q->received = 0;
    q->sender = q->receiver = 0;
    q->ipc.used = true;
}

static int get(int key, uint32_t flags)
{
    struct ipc *i;
    int r = ipc_get(&table, key, flags, &i);
    if (r < 0)
        return r;
    if (r == 1)
        make(CONTAINER_OF(i, struct queue, ipc));
    else if (!ipc_permits(i, flags & IPC_PERMS))
        return -EACCES;
    return ipc_id(&table, i);
}

int64_t sys_msgget(const uint64_t arg[static 6])
{
    mutex_lock(&msg_lock);
    int r = get((int)arg[0], (uint32_t)arg[1]);
    mutex_unlock(&msg_lock);
    return r;
}

static void changed(struct queue *q)
{
    __atomic_fetch_add(&q->changes, 1, __ATOMIC_RELEASE);
    waitq_wake(&q->waiters, EV_ALL, 0);
}

/* With the lock, which is let go of meanwhile: until something changes. 0, -ERESTARTNOHAND, or
 * -EIDRM: it is gone. */
static int wait(struct queue *q, int id)
{
    const uint32_t seen = q->changes;
    mutex_unlock(&msg_lock);
    int r = WAIT_EVENT(&q->waiters, EV_ALL, __atomic_load_n(&q->changes, __ATOMIC_ACQUIRE) != seen,
                       DEADLINE_NEVER, true);
    mutex_lock(&msg_lock);
    return find(id) != q ? -EIDRM : r < 0 ? -ERESTARTNOHAND : 0;
}

static int send(int id, struct message *m, uint32_t flags)
{
    struct queue *q = find(id);
    int r = q != NULL ? 0 : -EINVAL;
    for (; r == 0; r = flags & IPC_NOWAIT ? -EAGAIN : wait(q, id)) {
        if (!ipc_permits(&q->ipc, 0222))
            return -EACCES;
        if (m->size + q->bytes <= q->bytes_max && q->count < q->bytes_max)
            break;
    }
    if (r < 0)
        return r;
    list_push_back(&q->messages, &m->link);
    q->bytes += m->size;
    q->count++;
    q->sent = ipc_seconds();
    q->sender = current()->process->pid;
    changed(q);
    return 0;
}

int64_t sys_msgsnd(const uint64_t arg[static 6])
{
    const uint64_t size = arg[2];
    int64_t type;
    if (copy_from_user(&type, arg[1], sizeof(type)) < 0)
        return -EFAULT;
    if (size > MESSAGE_MAX || (int)arg[0] < 0 || type < 1)
        return -EINVAL;
    struct message *m = kmalloc(sizeof(*m) + size);
    if (m == NULL)
        return -ENOMEM;
    m->type = type;
    m->size = size;
    int r = copy_from_user(m->text, arg[1] + sizeof(type), size);
    if (r == 0) {
        mutex_lock(&msg_lock);
        r = send((int)arg[0], m, (uint32_t)arg[3]);
        mutex_unlock(&msg_lock);
    }
    if (r < 0)
        kfree(m);
    return r;
}

/* The message that msgrcv(2) means by `type`, or NULL. */
static struct message *pick(const struct queue *q, int64_t type, uint32_t flags)
{
    const int64_t most = type == INT64_MIN ? INT64_MAX : -type;
    struct message *best = NULL;
    LIST_FOR_EACH (node, &q->messages) {
        struct message *m = LIST_ENTRY(node, struct message, link);
        if (type < 0) {
            if (m->type <= most && (best == NULL || m->type < best->type))
                best = m;
        } else if (type == 0 || (m->type == type) != ((flags & MSG_EXCEPT) != 0)) {
            return m;
        }
    }
    return best;
}

static int receive(int id, uint64_t size, int64_t type, uint32_t flags, struct message **ret)
{
    struct queue *q = find(id);
    struct message *m = NULL;
    int r = q != NULL ? 0 : -EINVAL;
    for (; r == 0; r = flags & IPC_NOWAIT ? -ENOMSG : wait(q, id)) {
        if (!ipc_permits(&q->ipc, 0444))
            return -EACCES;
        m = pick(q, type, flags);
        if (m != NULL)
            break;
    }
    if (r < 0)
        return r;
    if (size < m->size && !(flags & MSG_NOERROR))
        return -E2BIG;
    list_remove(&m->link);
    q->bytes -= m->size;
    q->count--;
    q->received = ipc_seconds();
    q->receiver = current()->process->pid;
    changed(q);
    *ret = m;
    return 0;
}

int64_t sys_msgrcv(const uint64_t arg[static 6])
{
    const uint32_t flags = (uint32_t)arg[4];
    struct message *m;
    if ((int)arg[0] < 0 || (int64_t)arg[2] < 0)
        return -EINVAL;
    if (flags & MSG_COPY) // as Linux without CONFIG_CHECKPOINT_RESTORE
        return (flags & MSG_EXCEPT) || !(flags & IPC_NOWAIT) ? -EINVAL : -ENOSYS;
    mutex_lock(&msg_lock);
    int r = receive((int)arg[0], arg[2], (int64_t)arg[3], flags, &m);
    mutex_unlock(&msg_lock);
    if (r < 0)
        return r;
    const size_t size = MIN(m->size, arg[2]);
    r = copy_to_user(arg[1], &m->type, sizeof(m->type));
    if (r == 0)
        r = copy_to_user(arg[1] + sizeof(m->type), m->text, size);
    kfree(m);
    return r < 0 ? r : (int64_t)size;
}

struct user_msqid { // Linux struct msqid64_ds
    struct user_ipc_perm perm;
    int64_t sent, received, changed;
    uint64_t bytes, count, bytes_max;
    int32_t sender, receiver;
    uint64_t unused[2];
};
_Static_assert(sizeof(struct user_msqid) == 120, "Linux struct msqid64_ds");

static void remove(struct queue *q)
{
    for (struct list *n; (n = list_pop_front(&q->messages)) != NULL;)
        kfree(LIST_ENTRY(n, struct message, link));
    q->ipc.used = false;
    changed(q);
}

static int control(struct queue *q, int command, struct user_msqid *io)
{
    if (command == IPC_STAT) {
        if (!ipc_permits(&q->ipc, 0444))
            return -EACCES;
        *io = (struct user_msqid){.sent = q->sent,
                                  .received = q->received,
                                  .changed = q->ipc.changed,
                                  .bytes = q->bytes,
                                  .count = q->count,
                                  .bytes_max = q->bytes_max,
                                  .sender = q->sender,
                                  .receiver = q->receiver};
        ipc_describe(&q->ipc, &io->perm);
        return 0;
    }
    if (!ipc_owns(&q->ipc))
        return -EPERM;
    if (command == IPC_RMID) {
        remove(q);
        return 0;
    }
    if (io->bytes_max > QUEUE_BYTES_MAX && !capable(CAP_SYS_RESOURCE))
        return -EPERM;
    q->bytes_max = io->bytes_max;
    ipc_change(&q->ipc, &io->perm);
    changed(q);
    return 0;
}

int64_t sys_msgctl(const uint64_t arg[static 6])
{
    struct user_msqid io = {0};
    const int command = (int)arg[1];
    if ((int)arg[0] < 0 || command < 0 || command > IPC_STAT)
        return -EINVAL; // also the inquiries of ipcs(1)
    if (command == IPC_SET && copy_from_user(&io, arg[2], sizeof(io)) < 0)
        return -EFAULT;
    mutex_lock(&msg_lock);
    struct queue *q = find((int)arg[0]);
    int r = q != NULL ? control(q, command, &io) : -EINVAL;
    mutex_unlock(&msg_lock);
    return r == 0 && command == IPC_STAT ? copy_to_user(arg[2], &io, sizeof(io)) : r;
}
