// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Record locks: fcntl(2) F_SETLK and F_OFD_SETLK. A lock belongs to a descriptor table (that is, to
 * a process) or to an open file, and lies on bytes of an object. Linux 6.1 fs/locks.c. */
#include "base/base.h"

struct file;

struct record {
    const void *owner;
    uint64_t first, last; // last INT64_MAX: to the end, whatever it will be
    int pid;              // of who asked; -1: the owner is an open file
    bool exclusive;
};

extern unsigned record_count; // atomic: how many there are

/* Take, change or (unlock) give back: 0; -EAGAIN (not `wait`) somebody is in the way; -EDEADLK;
 * -ERESTARTSYS a signal came; -ENOMEM. Nothing has changed but on 0. */
NONNULL MUST_CHECK int record_set(struct file *f, const struct record *want, bool unlock,
                                  bool wait);
/* The first lock that is in the way of `want`: true with it. */
NONNULL bool record_test(struct file *f, const struct record *want, struct record *ret);
NONNULL void record_drop_slow(struct file *f, const void *owner);

/* The owner gives back all it has on f's object: at each close(2), at an open file's end. */
NONNULL static inline void record_drop(struct file *f, const void *owner)
{
    if (UNLIKELY(__atomic_load_n(&record_count, __ATOMIC_RELAXED) != 0))
        record_drop_slow(f, owner);
}
