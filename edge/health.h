// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The verdict on one instance or POP: pure. Active checks decide; requests that fail can only cast
 * doubt, and then checks have to raise the verdict again. */
#include "base/base.h"

enum {
    HEALTH_DOUBT = 3,        // failed requests in a row that eject
    HEALTH_FIRST_MS = 100,   // between checks while nothing has ever answered
    HEALTH_SUSPECT_MS = 100, // between checks while checks and verdict disagree
};

struct health {
    bool healthy;
    bool ever;          // a check has succeeded before
    uint32_t good, bad; // checks in a row
};

/* Take one check's outcome; true when the verdict changed. The first success ever is enough:
 * the agent that announced the instance has waited for it already. */
NONNULL bool health_checked(struct health *h, bool ok, uint32_t rise, uint32_t fall);

/* Requests to it have failed HEALTH_DOUBT times in a row; true when the verdict changed. */
NONNULL bool health_doubted(struct health *h);

/* Milliseconds from the start of one check to the next. */
NONNULL uint32_t health_interval(const struct health *h, uint32_t interval_ms);
