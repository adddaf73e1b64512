// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Child processes: started with everything said up front, watched by a pidfd, reaped by us. A child
 * gets no descriptor but its three standard ones and those it is told to keep. */
#include <sys/types.h>

#include "base/base.h"
#include "host/err.h"

enum {
    PROC_DEV_NULL = -1, // as a standard descriptor
    PROC_KEEP_MAX = 8,  // descriptors handed over besides the standard ones
    PROC_FOREVER = -1,  // as a time-out
};

struct proc_spec {
    const char *const *argv; // ends with NULL; argv[0] is looked up in PATH unless it has a '/'
    const char *const *envp; // NULL: the parent's
    const char *cwd;         // NULL: the parent's
    int stdin_fd, stdout_fd, stderr_fd; // borrowed; or PROC_DEV_NULL
    int keep_fds[PROC_KEEP_MAX];        // borrowed; keep their numbers
    uint32_t keep_fds_len;
    int netns_fd;            // enter this network namespace; -1: stay
    int parent_death_signal; // sent to the child when the thread that spawned it ends; 0: none
    int rt_priority;         // SCHED_RR with this priority where permitted; 0: normal
    bool new_session;        // own session and process group (no terminal, no Ctrl-C)
};

struct proc {
    pid_t pid; // 0 when there is none
    int pidfd; // readable when the child ended: for poll and epoll
};

/* stdin from /dev/null, stdout and stderr inherited, nothing else special. */
NONNULL static inline struct proc_spec proc_spec_of(const char *const *argv)
{
    return (struct proc_spec){
        .argv = argv, .stdin_fd = PROC_DEV_NULL, .stdout_fd = 1, .stderr_fd = 2, .netns_fd = -1};
}

/* Start it. 0 with *ret (end it with proc_wait); negative errno when the child could not be made or
 * the program could not be executed: then nothing is left to reap. */
NONNULL MUST_CHECK int proc_spawn(const struct proc_spec *spec, struct proc *ret, struct err *err);

/* Send a signal. Never hits a stranger, because it goes through the pidfd. 0, or -ESRCH when the
 * child has ended already. */
NONNULL int proc_kill(const struct proc *p, int signal);

/* Reap. 0 with *ret_status as a shell shows it (0..255, or 128 + signal) and *p emptied;
 * -ETIMEDOUT while it still runs after timeout_ms (0: only look; PROC_FOREVER). */
NONNULL MUST_CHECK int proc_wait(struct proc *p, int timeout_ms, int *ret_status);

/* SIGTERM, grace_ms of patience, SIGKILL; reaps. Returns the status as proc_wait shows it. Does
 * nothing (and returns 0) when *p is empty. */
NONNULL int proc_stop(struct proc *p, int grace_ms);

/* Run to the end, within timeout_ms, stdin from /dev/null, stdout and stderr together into out (cut
 * at max - 1 bytes, always ended by NUL). Returns the status as proc_wait shows it, or a negative
 * errno (-ETIMEDOUT: it was killed). */
NONNULL MUST_CHECK int proc_run(const char *const *argv, int timeout_ms, char *out, size_t max,
                                struct err *err);
