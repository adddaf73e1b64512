// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The agent: runs what the controller wants in one region, through a provider; checks its health,
 * restarts it, reports. It goes on with what it was told last when the controller is away, and
 * adopts what runs when it itself was away. */
#include "base/base.h"
#include "host/err.h"

struct agent_config {
    const char *region;
    const char *control;  // base address of the controller
    const char *provider; // name
    const char *bridge;
    const char *subnet, *gateway;
    const char *state_dir;
    const char *kernel; // or NULL
};

/* Until SIGTERM or SIGINT: 0 (instances live on). Negative errno with *err when it cannot start. */
NONNULL MUST_CHECK int agent_run(const struct agent_config *config, struct err *err);
