// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The controller as a process: its HTTP API (docs/protocols.md), its streams, its clock. One
 * thread. */
#include "base/base.h"
#include "host/err.h"

enum { API_LISTEN_MAX = 4 };

struct api_config {
    const char *listen[API_LISTEN_MAX]; // base addresses, "unix:/path" or "http://ADDR:PORT"
    uint32_t listen_len;
    const char *state_dir;
};

/* Serve until SIGTERM or SIGINT: 0; or a negative errno with *err (an address in use, a state
 * folder in use, a store that failed). */
NONNULL MUST_CHECK int api_run(const struct api_config *config, struct err *err);
