// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What System V shared memory, semaphores and message queues have in common: identifiers, keys,
 * owners. Linux 6.1 ipc/util.c. Each kind has a table of its own, with a mutex that protects it. */
#include "base/base.h"

enum {
    IPC_OBJECTS_MAX = 256, // of a kind
    IPC_PERMS = 0777,
    IPC_CREAT = 01000,
    IPC_EXCL = 02000,
    IPC_NOWAIT = 04000,
    IPC_RMID = 0,
    IPC_SET = 1,
    IPC_STAT = 2,
};

struct ipc { // the head of each object
    bool used;
    int key;
    uint32_t sequence; // of the identifiers this slot has given
    uint32_t mode, uid, gid, cuid, cgid;
    int64_t changed; // seconds
};

struct ipc_table {
    void *slots; // IPC_OBJECTS_MAX of `size` bytes, each begins with a struct ipc
    size_t size;
};

struct user_ipc_perm { // Linux struct ipc64_perm
    int32_t key;
    uint32_t uid, gid, cuid, cgid, mode;
    uint16_t sequence, pad;
    uint32_t pad2;
    uint64_t unused[2];
};

/* As shmget(2): 0 with *ret the object of this key; 1 with *ret a free slot whose head is filled
 * but for `used`; -EEXIST, -ENOENT, -ENOSPC. Nothing is said about permissions. */
NONNULL MUST_CHECK int ipc_get(const struct ipc_table *t, int key, uint32_t flags,
                               struct ipc **ret);
NONNULL int ipc_id(const struct ipc_table *t, const struct ipc *i);
NONNULL struct ipc *ipc_find(const struct ipc_table *t, int id); // or NULL
NONNULL bool ipc_permits(const struct ipc *i, uint32_t want);    // Linux ipcperms
NONNULL bool ipc_owns(const struct ipc *i);                      // may remove and change it
NONNULL void ipc_describe(const struct ipc *i, struct user_ipc_perm *ret);
NONNULL void ipc_change(struct ipc *i, const struct user_ipc_perm *to); // IPC_SET
int64_t ipc_seconds(void);
