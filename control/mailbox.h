// SPDX-License-Identifier: Apache-2.0
#pragma once
/* One text from one thread to another: a newer one replaces one that was not taken yet. The reader
 * polls fd. */
#include <pthread.h>

#include "base/base.h"

struct mailbox {
    pthread_mutex_t lock;
    char *text; // under lock; owned
    int fd;     // eventfd, readable while text waits; immutable
};

NONNULL MUST_CHECK int mailbox_init(struct mailbox *m);  // 0 or negative errno
NONNULL void mailbox_deinit(struct mailbox *m);          // accepts one of zeros
NONNULL void mailbox_put(struct mailbox *m, char *text); // takes text over
NONNULL char *mailbox_take(struct mailbox *m);           // NULL: nothing waits; the caller frees
