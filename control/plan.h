// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What `skerry up` would change, for people: one line a change. Pure. */
#include "base/base.h"
#include "control/spec.h"

enum { PLAN_LINES_MAX = 2 * REGIONS_MAX + 16, PLAN_TEXT_MAX = 256 };

struct plan_line {
    char sign; // '+' comes, '~' changes, '-' goes
    char text[PLAN_TEXT_MAX];
};

/* The lines that lead from `have` (NULL: nothing is there) to `want`; their number, 0: no change.
 */
__attribute__((nonnull(2, 3))) unsigned plan_compare(const struct app_spec *have,
                                                     const struct app_spec *want,
                                                     struct plan_line ret[static PLAN_LINES_MAX]);
