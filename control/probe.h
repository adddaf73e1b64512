// SPDX-License-Identifier: Apache-2.0
#pragma once
/* One health check at a time, without blocking: connect, and for HTTP ask for a path and read the
 * status. 200 to 399 is healthy. The rest of the answer is read for a moment, so that a server that
 * closes as asked sees no reset. */
#include "base/base.h"

enum { PROBE_REQUEST_MAX = 512, PROBE_ERROR_MAX = 96, PROBE_REST_MS = 50 };

enum probe_state { PROBE_IDLE, PROBE_CONNECTING, PROBE_READING, PROBE_REST };

struct probe {
    enum probe_state state;
    int fd;
    uint64_t deadline_ms;
    char request[PROBE_REQUEST_MAX]; // "" for tcp
    char answer[16];                 // the status line's beginning
    size_t answer_len;
    char error[PROBE_ERROR_MAX]; // of the last one that failed
};

// What poll is to wait for on fd.
NONNULL short probe_events(const struct probe *p);
/* Begin. address: dotted IPv4; path NULL: a connection is enough. 0: wait for probe_events on fd,
 * or the deadline; 1: ended already and failed. */
__attribute__((nonnull(1, 2))) int probe_start(struct probe *p, const char *address, uint16_t port,
                                               const char *path, uint32_t timeout_ms,
                                               uint64_t now_ms);
/* Go on after poll said revents (0: only look at the time). 0 not ended yet; 1 ended, *ret_ok. */
NONNULL int probe_step(struct probe *p, short revents, uint64_t now_ms, bool *ret_ok);
NONNULL void probe_cancel(struct probe *p);
