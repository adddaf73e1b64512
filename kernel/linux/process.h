// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Processes and their threads. Lock order: task table -> process->lock. */
#include "base/base.h"
#include "kernel/sched/task.h"

extern struct process *program; // the one that the image names; NULL before it starts

struct program_spec {
    const char *path;
    const char *cwd;
    const char *const *argv; // argc strings
    const char *const *envp;
    unsigned argc, envc;
};
/* Load a program and make a process of it whose first thread is ready to start. 0 or -errno, with
 * *ret_why at a short reason. Task context. */
NONNULL MUST_CHECK int process_start(const struct program_spec *spec, const char **ret_why);

/* The task with this tid, or NULL; either way the table stays locked until task_find_end. */
struct task *task_find(int tid);
void task_find_end(void);

/* The process is over: what abi/boot.h promises, then power-off. */
NORETURN void process_exit_group(int status);

/* Futex words of a thread that ends: the robust list and clear_child_tid (linux/futex.c). */
NONNULL void futex_exit_robust(uint64_t head, int tid);
void futex_wake_address(uint64_t user, unsigned count);
/* It ends and is still in the table: who waits for it as the owner of a lock gets the lock. */
NONNULL void futex_exit_pi(struct task *t);
