// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Users, groups and capabilities of a process (linux/identity.c). */
#include "base/base.h"
#include "kernel/sched/task.h"

enum { // Linux include/uapi/linux/capability.h
    CAP_CHOWN = 0,
    CAP_DAC_OVERRIDE = 1,
    CAP_DAC_READ_SEARCH = 2,
    CAP_FOWNER = 3,
    CAP_FSETID = 4,
    CAP_KILL = 5,
    CAP_SETGID = 6,
    CAP_SETUID = 7,
    CAP_SETPCAP = 8,
    CAP_NET_BIND_SERVICE = 10,
    CAP_IPC_LOCK = 14,
    CAP_SYS_CHROOT = 18,
    CAP_SYS_PTRACE = 19,
    CAP_SYS_ADMIN = 21,
    CAP_SYS_NICE = 23,
    CAP_SYS_RESOURCE = 24,
    CAP_SYS_TIME = 25,
    CAP_MKNOD = 27,
};

/* Does the current process have this capability in effect? */
bool capable(int cap);

struct cap_sets {
    uint64_t effective, permitted, bounding, inheritable, ambient;
};
NONNULL void creds_caps(const struct creds *c, struct cap_sets *ret);

/* What execve does to capabilities: root has them all again, others keep the ambient ones. */
NONNULL void creds_exec(struct process *p);

/* Those of prctl(2) that are about privileges; -EINVAL for others. */
int64_t creds_prctl(const uint64_t arg[static 6]);
