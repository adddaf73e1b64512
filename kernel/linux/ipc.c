// SPDX-License-Identifier: Apache-2.0
#include "kernel/linux/ipc.h"

#include "base/errno.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"

enum { SEQUENCE_MAX = 32768 };

static struct ipc *slot(const struct ipc_table *t, unsigned i)
{
    return (struct ipc *)(void *)((char *)t->slots + i * t->size);
}

int ipc_id(const struct ipc_table *t, const struct ipc *i)
{
    size_t at = (size_t)((const char *)i - (const char *)t->slots) / t->size;
    return (int)(i->sequence * IPC_OBJECTS_MAX + (uint32_t)at);
}

struct ipc *ipc_find(const struct ipc_table *t, int id)
{
    if (id < 0)
        return NULL;
    struct ipc *i = slot(t, (unsigned)id % IPC_OBJECTS_MAX);
    return i->used && ipc_id(t, i) == id ? i : NULL;
}

bool ipc_permits(const struct ipc *i, uint32_t want)
{
    const struct creds *c = &current()->process->creds;
    uint32_t granted = i->mode;
    if (c->euid == i->uid || c->euid == i->cuid)
        granted >>= 6;
    else if (c->egid == i->gid || c->egid == i->cgid)
        granted >>= 3;
    uint32_t asked = want >> 6 | want >> 3 | want;
    return c->euid == 0 || (asked & ~granted & 7) == 0;
}

bool ipc_owns(const struct ipc *i)
{
    const struct creds *c = &current()->process->creds;
    return c->euid == 0 || c->euid == i->uid || c->euid == i->cuid;
}

int64_t ipc_seconds(void)
{
    return (int64_t)(clock_real_ns() / NS_PER_SEC);
}

static int take_slot(const struct ipc_table *t, int key, uint32_t flags, struct ipc **ret)
{
    const struct creds *c = &current()->process->creds;
    for (unsigned n = 0; n < IPC_OBJECTS_MAX; n++) {
        struct ipc *i = slot(t, n);
        if (i->used)
            continue;
        *i = (struct ipc){.key = key,
                          .sequence = (i->sequence + 1) % SEQUENCE_MAX,
                          .mode = flags & IPC_PERMS,
                          .uid = c->euid,
                          .gid = c->egid,
                          .cuid = c->euid,
                          .cgid = c->egid,
                          .changed = ipc_seconds()};
        *ret = i;
        return 1;
    }
    return -ENOSPC;
}

int ipc_get(const struct ipc_table *t, int key, uint32_t flags, struct ipc **ret)
{
    for (unsigned n = 0; n < IPC_OBJECTS_MAX && key != 0; n++) { // 0: IPC_PRIVATE
        struct ipc *i = slot(t, n);
        if (!i->used || i->key != key)
            continue;
        *ret = i;
        return (flags & IPC_CREAT) && (flags & IPC_EXCL) ? -EEXIST : 0;
    }
    return key == 0 || (flags & IPC_CREAT) ? take_slot(t, key, flags, ret) : -ENOENT;
}

void ipc_describe(const struct ipc *i, struct user_ipc_perm *ret)
{
    *ret = (struct user_ipc_perm){.key = i->key,
                                  .uid = i->uid,
                                  .gid = i->gid,
                                  .cuid = i->cuid,
                                  .cgid = i->cgid,
                                  .mode = i->mode,
                                  .sequence = (uint16_t)i->sequence};
}

void ipc_change(struct ipc *i, const struct user_ipc_perm *to)
{
    i->uid = to->uid;
    i->gid = to->gid;
    i->mode = to->mode & IPC_PERMS;
    i->changed = ipc_seconds();
}
