// SPDX-License-Identifier: Apache-2.0
#pragma once
/* System calls. Each is `int64_t sys_NAME(const uint64_t arg[static 6])` in the file of its family;
 * arg points at the saved registers rdi rsi rdx r10 r8 r9. It decodes and checks everything in
 * Linux's order, then acts, and returns the value or -errno.
 *
 * The tables are X-macros, one file a team of families, so that they can be listed, traced and
 * documented: X(number, name, argument kinds...). A row exists only for a call that is whole. */
#include "base/base.h"
#include "base/errno.h"

// Never seen by the program: the call is restarted or becomes -EINTR (Linux include/linux/errno.h).
enum {
    ERESTARTSYS = 512,           // restart if SA_RESTART, else EINTR
    ERESTARTNOINTR = 513,        // always restart
    ERESTARTNOHAND = 514,        // restart only if no handler ran
    ERESTART_RESTARTBLOCK = 516, // restart with what is left of the time, by restart_syscall
};

// What an argument is, for --trace. The order matters: linux/trace.c.
enum arg_kind {
    ARG_NONE,
    ARG_INT,
    ARG_UINT,
    ARG_LONG,
    ARG_HEX,
    ARG_OCTAL,
    ARG_FD,
    ARG_AT_FD, // AT_FDCWD or a descriptor
    ARG_PTR,
    ARG_STR,    // user string
    ARG_BUF_IN, // user bytes, the next argument is the length
    ARG_SIZE,
    // Values with names.
    ARG_OPEN_FLAGS,
    ARG_MMAP_PROT,
    ARG_MMAP_FLAGS,
    ARG_CLOCK,
    ARG_SIGNAL,
    ARG_CLONE_FLAGS,
    ARG_FUTEX_OP,
    ARG_AT_FLAGS,
    ARG_ACCESS,
    ARG_MADVICE,
    ARG_WHENCE,
    ARG_FCNTL,
    ARG_SIG_HOW,
    ARG_ITIMER,
    ARG_RLIMIT,
    ARG_PRIO,
    ARG_POLICY,
    ARG_ARCH,
    ARG_PRCTL,
    ARG_WAIT,
    ARG_DOMAIN,
    ARG_SOCK,
    ARG_LEVEL,
    ARG_SOCKOPT, // behind ARG_LEVEL
    ARG_MSG,
    ARG_EPOLL_OP,
    ARG_SHUT,
    ARG_MREMAP,
    ARG_RUSAGE,
    ARG_GRND,
    ARG_EVENTS,
    ARG_SA,
    ARG_FILE_KIND,
    ARG_SETS_END,
    // Pointers to what the call reads.
    ARG_POINTERS = ARG_SETS_END,
    ARG_SIGSET_IN = ARG_POINTERS,
    ARG_ACTION_IN,
    ARG_TIME_IN, // struct timespec
    ARG_TIMEVAL_IN,
    ARG_ITIMERSPEC_IN,
    ARG_ITIMERVAL_IN,
    ARG_LIMIT_IN,
    ARG_ADDR_IN, // socket address, the next argument is its length
    ARG_OPTVAL_IN,
    ARG_EVENT_IN, // struct epoll_event
    ARG_POLL_IN,  // the next argument is how many
    ARG_IOV_IN,   // the next argument is how many
    ARG_ARGV_IN,
    // And to what it writes: shown when it has ended.
    ARG_OUT_FIRST,
    ARG_BUF_OUT = ARG_OUT_FIRST, // as many bytes as the result says
    ARG_SIGSET_OUT,
    ARG_ACTION_OUT,
    ARG_TIME_OUT,
    ARG_TIMEVAL_OUT,
    ARG_ITIMERSPEC_OUT,
    ARG_ITIMERVAL_OUT,
    ARG_LIMIT_OUT,
    ARG_STAT_OUT,
    ARG_ADDR_OUT, // the next argument points to its length
    ARG_OPTVAL_OUT,
    ARG_EVENTS_OUT, // as many as the result says
    ARG_IOV_OUT,
    ARG_INT_OUT,
    ARG_FDS_OUT, // two descriptors
    ARG_STATUS_OUT,
};

struct syscall_entry {
    int64_t (*call)(const uint64_t arg[static 6]);
    const char *name;
    uint8_t kinds[6]; // enum arg_kind
};

enum { SYSCALLS_MAX = 512 };
extern const struct syscall_entry syscall_table[SYSCALLS_MAX]; // call NULL: ENOSYS

#define X(nr, name, ...) int64_t sys_##name(const uint64_t arg[static 6]);
#include "kernel/linux/table_core.h"
#include "kernel/linux/table_socket.h"
#include "kernel/linux/table_vfs.h"
#undef X

/* Seconds + nanoseconds as user programs pass them (struct timespec). */
struct user_timespec {
    int64_t sec, nsec;
};
/* 0 with *ret_ns; -EFAULT; -EINVAL for negative or nsec >= 1e9. Saturates. */
NONNULL MUST_CHECK int timespec_from_user(uint64_t user, uint64_t *ret_ns);
MUST_CHECK int timespec_to_user(uint64_t user, uint64_t ns);

/* Swap in a signal mask for the length of a call (epoll_pwait, ppoll, pselect6): user points to
 * sigset, size must be 8. When the call returns -EINTR with a signal pending the old mask is put
 * back only after the handler was set up, as Linux does. user 0: nothing happens. 0, -EINVAL,
 * -EFAULT. */
MUST_CHECK int sigmask_enter(uint64_t user, uint64_t size);
void sigmask_leave(int64_t result);
