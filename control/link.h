// SPDX-License-Identifier: Apache-2.0
#pragma once
/* An agent's three conversations with the controller, each in a thread of its own because each
 * blocks; they meet the agent's loop in mailboxes only:
 *
 *     watch    what is wanted                      -> desired
 *     report   out -> POST                         -> answer ("" when it could not be delivered)
 *     pull     want (a digest) -> GET, check, store -> pulled ("" for success, else what is wrong)
 */
#include "control/mailbox.h"
#include "host/err.h"
#include "host/http.h"

struct link {
    // immutable after link_start
    struct http_base base;
    const char *region;
    const char *images_dir;
    int stop_fd;
    pthread_t watcher, reporter, puller;
    uint32_t threads; // started
    // to the loop
    struct mailbox desired, answer, pulled;
    // from the loop
    struct mailbox out, want;
};

/* region and images_dir are borrowed. */
NONNULL MUST_CHECK int link_start(struct link *l, const struct http_base *base, const char *region,
                                  const char *images_dir, struct err *err);
NONNULL void link_stop(struct link *l); // waits for the threads
