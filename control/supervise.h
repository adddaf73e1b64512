// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What an agent does with one instance: pure, as the reconciler is. The instance is wanted or not,
 * runs or not, answers its health check or not; the answer is the next step, and when to look
 * again. Restarts are bounded by back-off: 0.2 s doubling to 10 s, forgotten only after the
 * instance was healthy for 10 s. */
#include "base/base.h"

enum {
    SUPERVISE_RETRY_MIN_MS = 200,
    SUPERVISE_RETRY_MAX_MS = 10000,
    SUPERVISE_CALM_MS = 10000, // healthy for so long: earlier failures are forgotten
    SUPERVISE_HUNG_MS = 10000, // was healthy, runs, does not answer for so long: killed
    SUPERVISE_BOOT_MS = 60000, // runs, was never healthy in this run: killed
    SUPERVISE_FALL = 3,        // checks in a row that fail make a healthy one unhealthy
};

enum supervise_step {
    SUPERVISE_NOTHING,
    SUPERVISE_START,  // put it; then supervise_started or supervise_failed
    SUPERVISE_KILL,   // it hangs: stop it without grace; then comes supervise_ended
    SUPERVISE_STOP,   // not wanted any more: stop it gracefully (said once)
    SUPERVISE_REMOVE, // not wanted, ended: delete it and forget it
};

struct supervised {
    bool wanted, running, healthy;
    bool stop_said, kill_said;
    bool was_healthy;       // in this run
    uint32_t failures;      // runs in a row that ended before they were healthy for long
    uint32_t restarts;      // ever
    uint32_t checks_failed; // in a row
    uint64_t run_ms;        // when this run began
    uint64_t retry_ms;      // not to be started before
    uint64_t healthy_ms;    // since when healthy
    uint64_t unhealthy_ms;  // since when not, though wanted
};

// A new one, wanted from now on.
NONNULL void supervise_init(struct supervised *s, uint64_t now_ms);
NONNULL void supervise_unwant(struct supervised *s);
// Events.
NONNULL void supervise_started(struct supervised *s, uint64_t now_ms);
NONNULL void supervise_ended(struct supervised *s, uint64_t now_ms); // also: could not be started
NONNULL void supervise_checked(struct supervised *s, bool ok, uint64_t now_ms);

NONNULL enum supervise_step supervise_step(struct supervised *s, uint64_t now_ms);
/* Milliseconds until supervise_step may say something new by the passing of time alone. */
NONNULL uint32_t supervise_wait_ms(const struct supervised *s, uint64_t now_ms);
/* Since when it is wanted healthy in vain; 0 when healthy. */
NONNULL uint32_t supervise_unhealthy_ms(const struct supervised *s, uint64_t now_ms);
