// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Signal-driven I/O: F_SETOWN, F_SETSIG, O_ASYNC (fcntl(2), Linux 6.1 fs/fcntl.c). */
#include "base/base.h"

struct file;

struct async_owner {
    int type; // F_OWNER_*
    int id;   // 0: nobody
};
enum { F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP };

/* Who gets the signals, and which (0: SIGIO). 0 or -ENOMEM. */
NONNULL MUST_CHECK int async_owner_set(struct file *f, struct async_owner owner);
NONNULL MUST_CHECK int async_signal_set(struct file *f, int signo);
NONNULL struct async_owner async_owner_get(struct file *f);
NONNULL int async_signal_get(struct file *f);
/* O_ASYNC: from now on a change of what poll says is told. fd: what the program knows f by. 0,
 * -ENOMEM; nothing happens for kinds that cannot. */
NONNULL MUST_CHECK int async_enable(struct file *f, int fd, bool on);
NONNULL void async_file_gone(struct file *f);
