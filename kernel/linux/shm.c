// SPDX-License-Identifier: Apache-2.0
/* System V shared memory: each segment is a file of memory without a name. Linux 6.1 ipc/shm.c.
 *
 * Lock order: shm_lock (mutex) -> mm->lock. A segment that was removed (IPC_RMID) has no identifier
 * any more but lives on while it is attached: the mappings hold its file. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/vfs/tree.h"

enum {
    SEGMENTS_MAX = 256,
    SEQUENCE_MAX = 32768,
    IPC_CREAT = 01000,
    IPC_EXCL = 02000,
    SHM_HUGETLB = 04000,
    SHM_RDONLY = 010000,
    SHM_RND = 020000,
    SHM_REMAP = 040000,
    SHM_EXEC = 0100000,
    PERMS = 0777,
};

struct segment {
    struct file *file; // NULL: free
    int key;
    uint32_t sequence; // of the identifiers this slot has given
    uint32_t mode, uid, gid, cuid, cgid;
    int creator, last; // pids
    int64_t attached, detached, changed; // seconds
    uint64_t bytes;
};

static struct segment segments[SEGMENTS_MAX]; // protected by shm_lock
static struct mutex shm_lock = {.sleepers = {&shm_lock.sleepers, &shm_lock.sleepers}};
static const char SEGMENT_NAME[] = "/SYSV (deleted)"; // in /proc/PID/maps

static int id_of(const struct segment *s)
{
    return (int)(s->sequence * SEGMENTS_MAX + (uint32_t)(s - segments));
}

/* The segment by its identifier, or NULL. */
static struct segment *find(int id)
{
    if (id < 0)
        return NULL;
    struct segment *s = &segments[id % SEGMENTS_MAX];
    return s->file != NULL && id_of(s) == id ? s : NULL;
}

/* Linux ipcperms. */
static bool permits(const struct segment *s, uint32_t want)
{
    const struct creds *c = &current()->process->creds;
    uint32_t granted = s->mode;
    if (c->euid == s->uid || c->euid == s->cuid)
        granted >>= 6;
    else if (c->egid == s->gid || c->egid == s->cgid)
        granted >>= 3;
    uint32_t asked = want >> 6 | want >> 3 | want;
    return c->euid == 0 || (asked & ~granted & 7) == 0;
}

static int64_t seconds(void)
{
    return (int64_t)(clock_real_ns() / NS_PER_SEC);
}

static int make(int key, uint64_t bytes, uint32_t flags)
{
    struct segment *s = segments;
    if (bytes == 0 || bytes > USER_END)
        return -EINVAL;
    if (flags & SHM_HUGETLB)
        return -ENOMEM; // no pool of huge pages
    while (s < segments + SEGMENTS_MAX && s->file != NULL)
        s++;
    if (s == segments + SEGMENTS_MAX)
        return -ENOSPC;
    struct file *f;
    int r = vfs_memory_file("SYSV", ALIGN_UP(bytes, (uint64_t)PAGE_SIZE), &f);
    if (r < 0)
        return r;
    const struct process *p = current()->process;
    *s = (struct segment){.file = f,
                          .key = key,
                          .sequence = (s->sequence + 1) % SEQUENCE_MAX,
                          .mode = flags & PERMS,
                          .uid = p->creds.euid,
                          .gid = p->creds.egid,
                          .cuid = p->creds.euid,
                          .cgid = p->creds.egid,
                          .creator = p->pid,
                          .changed = seconds(),
                          .bytes = bytes};
    return id_of(s);
}

static int get(int key, uint64_t bytes, uint32_t flags)
{
    if (key == 0) // IPC_PRIVATE
        return make(key, bytes, flags);
    for (struct segment *s = segments; s < segments + SEGMENTS_MAX; s++) {
        if (s->file == NULL || s->key != key)
            continue;
        if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
            return -EEXIST;
        if (!permits(s, flags & PERMS))
            return -EACCES;
        return bytes > s->bytes ? -EINVAL : id_of(s);
    }
    return flags & IPC_CREAT ? make(key, bytes, flags) : -ENOENT;
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
    if (!permits(s, write ? 0600 : 0400) || ((flags & SHM_EXEC) && !mm_anonymous_exec))
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
        s->attached = seconds();
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
    for (struct segment *s = segments; r == 0 && s < segments + SEGMENTS_MAX; s++) {
        if (s->file != f)
            continue;
        s->detached = seconds();
        s->last = current()->process->pid;
    }
    mutex_unlock(&shm_lock);
    return r;
}

struct user_ipc_perm {
    int32_t key;
    uint32_t uid, gid, cuid, cgid, mode;
    uint16_t sequence, pad;
    uint32_t pad2;
    uint64_t unused[2];
};

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
    *ret = (struct user_shmid){.perm = {.key = s->key,
                                        .uid = s->uid,
                                        .gid = s->gid,
                                        .cuid = s->cuid,
                                        .cgid = s->cgid,
                                        .mode = s->mode,
                                        .sequence = (uint16_t)s->sequence},
                               .bytes = s->bytes,
                               .attached = s->attached,
                               .detached = s->detached,
                               .changed = s->changed,
                               .creator = s->creator,
                               .last = s->last,
                               .attaches = refs - 1};
}

static int control(int id, int command, struct user_shmid *io, struct file **ret_gone)
{
    enum { IPC_RMID = 0, IPC_SET = 1, IPC_STAT = 2 };
    const struct creds *c = &current()->process->creds;
    struct segment *s = find(id);
    if (s == NULL)
        return -EINVAL;
    if (command == IPC_STAT) {
        if (!permits(s, 0444))
            return -EACCES;
        describe(s, io);
        return 0;
    }
    if (c->euid != 0 && c->euid != s->uid && c->euid != s->cuid)
        return -EPERM;
    if (command == IPC_RMID) {
        *ret_gone = TAKE(s->file);
        return 0;
    }
    s->uid = io->perm.uid;
    s->gid = io->perm.gid;
    s->mode = io->perm.mode & PERMS;
    s->changed = seconds();
    return 0;
}

int64_t sys_shmctl(const uint64_t arg[static 6])
{
    enum { IPC_SET = 1, IPC_STAT = 2 };
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
