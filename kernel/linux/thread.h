// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What Linux knows about a thread beyond the scheduler's task. Only the task itself touches these,
 * unless said otherwise. */
#include "base/base.h"
#include "kernel/linux/signal.h"

struct restart {                        // of ERESTART_RESTARTBLOCK
    int64_t (*call)(struct restart *r); // NULL: -EINTR
    uint64_t arg[4];
};

struct thread {
    uint64_t blocked;           // protected by signal_state.lock; written by the task itself
    uint64_t saved_mask;        // valid if restore_mask
    uint64_t wanted;            // protected by signal_state.lock: sigtimedwait takes these
    struct sig_pending pending; // protected by signal_state.lock
    bool restore_mask;
    uint64_t alt_sp, alt_bytes; // sigaltstack; alt_bytes 0: none
    uint32_t alt_flags;
    uint64_t set_tid;        // user address to write the tid to at the start, 0: none
    uint64_t timer_slack_ns; // prctl; 0: the default
    uint64_t clear_tid;      // user address, 0: none
    uint64_t robust_head;
    struct futex_waiter *pi_waiter; // in it waits for a futex's owner; protected by futex_pi.c
    bool pi_waited; // somebody waits or waited for it as the owner; protected by the task table
    bool exiting;   // too late to wait for it; protected by the task table
    struct restart restart;
};

enum { SS_ONSTACK = 1, SS_DISABLE = 2, SS_AUTODISARM = 1u << 31 };

static inline bool alt_stack_on(const struct thread *t, uint64_t sp)
{
    return t->alt_bytes != 0 && sp > t->alt_sp && sp - t->alt_sp <= t->alt_bytes;
}
