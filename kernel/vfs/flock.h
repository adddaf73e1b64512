// SPDX-License-Identifier: Apache-2.0
#pragma once
/* flock(2): advisory locks on whole files, owned by open files. */
#include "base/base.h"

struct file;

enum { FLOCK_SHARED = 1, FLOCK_EXCLUSIVE = 2, FLOCK_NONE = 8 };

/* Take, change or give back f's lock: 0; -EAGAIN (nonblock) another open file holds it;
 * -ERESTARTSYS a signal came; -ENOMEM. A change is not atomic: the old lock is given back first, as
 * in Linux. */
NONNULL MUST_CHECK int flock_set(struct file *f, unsigned kind, bool nonblock);
NONNULL void flock_file_gone(struct file *f);
