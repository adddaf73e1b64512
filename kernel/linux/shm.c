// SPDX-License-Identifier: Apache-2.0
/* System V shared memory: each segment is a file of memory without a name. Linux 6.1 ipc/shm.c.
 *
 * Lock order: shm_lock (mutex) -> mm->lock. A segment that was removed (IPC_RMID) has no identifier
 * any more but lives on while it is attached: the mappings hold its file. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/linux/ipc.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/vfs/tree.h"

enum {
    SHM_HUGETLB = 04000,
    SHM_RDONLY = 010000,
    SHM_RND = 020000,
    SHM_REMAP = 040000,
    SHM_EXEC = 0100000,
};

struct segment {
    struct ipc ipc;
    struct file *file;
    int creator, last;          // pids
    int64_t attached, detached; // seconds
    uint64_t bytes;
};

static struct segment segments[IPC_OBJECTS_MAX]; // protected by shm_lock
static const struct ipc_table table = {segments, sizeof(segments[0])};
static struct mutex shm_lock = {.sleepers = {&shm_lock.sleepers, &shm_lock.sleepers}};
static const char SEGMENT_NAME[] = "/SYSV (deleted)"; // in /proc/PID/maps

/* The segment by its identifier, or NULL. */
static struct segment *find(int id)
{
    struct ipc *i = ipc_find(&table, id);
    return i != NULL ? CONTAINER_OF(i, struct segment, ipc) : NULL;
}

static int make(struct segment *s, uint64_t bytes, uint32_t flags)
{
    struct file *f;
    if (bytes == 0 || bytes > USER_END)
        return -EINVAL;
    if (flags & SHM_HUGETLB)
        return -ENOMEM; // no pool of huge pages
    int r = vfs_memory_file("SYSV", ALIGN_UP(bytes, (uint64_t)PAGE_SIZE), &f);
    if (r < 0)
        return r;
    *s = (struct segment){
        .ipc = s->ipc, .file = f, .creator = current()->process->pid, .bytes = bytes};
    s->ipc.used = true;
    return 0;
}

static int get(int key, uint64_t bytes, uint32_t flags)
{
    struct ipc *i;
    int r = ipc_get(&table, key, flags, &i);
    if (r < 0)
        return r;
    struct segment *s = CONTAINER_OF(i, struct segment, ipc);
    if (r == 1)
        r = make(s, bytes, flags);
    else if (bytes > s->bytes)
        r = -EINVAL;
    else if (!ipc_permits(i, flags & IPC_PERMS))
        r = -EACCES;
    return r < 0 ? r : ipc_id(&table, i);
}

int64_t sys_shmget(const uint64_t arg[static 6])
{
    mutex_lock(&shm_lock);
    int r = get((int)arg[0], arg[1], (uint32_t)arg[2]);
    mutex_unlock(&shm_lock);
    return r;
}

static int attach(int id, uint64_t address, uint32_t flags, uint64_t *ret)
{
    const struct segment *s = find(id);
    bool write = (flags & SHM_RDONLY) == 0;
    if (s == NULL)
        return -EINVAL;
    if (!ipc_permits(&s->ipc, write ? 0600 : 0400) || ((flags & SHM_EXEC) && !mm_anonymous_exec))
        return -EACCES;
    struct map_request q = {.address = address,
                            .bytes = ALIGN_UP(s->bytes, (uint64_t)PAGE_SIZE),
                            .prot = MM_READ,
                            .max_prot = MM_READ | MM_EXEC,
                            .fixed = address != 0,
                            .no_replace = (flags & SHM_REMAP) == 0,
                            .shared = true,
                            .file = s->file,
                            .name = SEGMENT_NAME};
    q.prot |= (write ? MM_WRITE : 0) | (flags & SHM_EXEC ? MM_EXEC : 0);
    q.max_prot |= write ? MM_WRITE : 0;
    int r = mm_map(current()->process->mm, &q, ret);
    return r == -EEXIST || r == -EPERM ? -EINVAL : r;
}

int64_t sys_shmat(const uint64_t arg[static 6])
{
    uint64_t address = arg[1], at = 0;
    uint32_t flags = (uint32_t)arg[2];
    if ((int)arg[0] < 0)
        return -EINVAL;
    if (address % PAGE_SIZE != 0) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        address = ALIGN_DOWN(address, (uint64_t)PAGE_SIZE);
    }
    if (address == 0 && (flags & SHM_REMAP))
        return -EINVAL;
    mutex_lock(&shm_lock);
    int r = attach((int)arg[0], address, flags, &at);
    struct segment *s = find((int)arg[0]);
    if (r == 0 && s != NULL) {
        s->attached = ipc_seconds();
        s->last = current()->process->pid;
    }
    mutex_unlock(&shm_lock);
    return r < 0 ? r : (int64_t)at;
}

int64_t sys_shmdt(const uint64_t arg[static 6])
{
    struct file *f;
    if (arg[0] % PAGE_SIZE != 0)
        return -EINVAL;
    mutex_lock(&shm_lock);
    int r = mm_unmap_file(current()->process->mm, arg[0], SEGMENT_NAME, &f);
    for (struct segment *s = segments; r == 0 && s < segments + IPC_OBJECTS_MAX; s++) {
        if (s->file != f)
            continue;
        s->detached = ipc_seconds();
        s->last = current()->process->pid;
    }
    mutex_unlock(&shm_lock);
    return r;
}

struct user_shmid {
    struct user_ipc_perm perm;
    uint64_t bytes;
    int64_t attached, detached, changed;
    int32_t creator, last;
    uint64_t attaches, unused[2];
};
_Static_assert(sizeof(struct user_shmid) == 112, "Linux struct shmid64_ds");

static void describe(const struct segment *s, struct user_shmid *ret)
{
    // Its file is open once here, and once for each mapping.
    uint32_t refs = __atomic_load_n(&s->file->refs, __ATOMIC_RELAXED);
    *ret = (struct user_shmid){.bytes = s->bytes,
                               .attached = s->attached,
                               .detached = s->detached,
                               .changed = s->ipc.changed,
                               .creator = s->creator,
                               .last = s->last,
                               .attaches = refs - 1};
    ipc_describe(&s->ipc, &ret->perm);
}

static int control(int id, int command, struct user_shmid *io, struct file **ret_gone)
{
    struct segment *s = find(id);
    if (s == NULL)
        return -EINVAL;
    if (command == IPC_STAT) {
        if (!ipc_permits(&s->ipc, 0444))
            return -EACCES;
        describe(s, io);
        return 0;
    }
    if (!ipc_owns(&s->ipc))
        return -EPERM;
    if (command == IPC_RMID) {
        *ret_gone = TAKE(s->file);
        s->ipc.used = false;
        return 0;
    }
    ipc_change(&s->ipc, &io->perm);
    return 0;
}

int64_t sys_shmctl(const uint64_t arg[static 6])
{
    struct user_shmid io = {0};
    struct file *gone = NULL;
    int command = (int)arg[1];
    if ((int)arg[0] < 0 || command < 0 || command > IPC_STAT)
        return -EINVAL; // also the inquiries of ipcs(1)
    if (command == IPC_SET && copy_from_user(&io, arg[2], sizeof(io)) < 0)
        return -EFAULT;
    mutex_lock(&shm_lock);
    int r = control((int)arg[0], command, &io, &gone);
    mutex_unlock(&shm_lock);
    file_put(gone);
    return r == 0 && command == IPC_STAT ? copy_to_user(arg[2], &io, sizeof(io)) : r;
}
