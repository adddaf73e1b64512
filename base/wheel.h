// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Hierarchical timer wheel: O(1) to arm, move and disarm, O(1) to ask for the next deadline. Time
 * is counted in ticks of the caller's choice and any 48-bit tick fits.
 *
 * A timer that is armed for tick T lies on the level of the highest 6-bit digit in which T differs
 * from the present tick, in the slot that digit names. When the present reaches that slot, its
 * timers move to lower levels; on level 0 they are due. */
#include "base/base.h"
#include "base/list.h"

enum { WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_LEVELS = 8 };
#define WHEEL_NEVER UINT64_MAX

struct wheel_timer {
    struct list node;
    uint64_t tick;  // WHEEL_NEVER: not armed
    uint16_t place; // level << WHEEL_BITS | slot
};

struct wheel {
    uint64_t tick;               // everything due up to here has been popped
    uint64_t busy[WHEEL_LEVELS]; // a bit a slot
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

NONNULL void wheel_init(struct wheel *w, uint64_t tick);
NONNULL void wheel_timer_init(struct wheel_timer *t);

/* Arm, or move. A tick that is not in the future becomes the next one, so that a handler which arms
 * its timer again cannot keep wheel_pop() going for ever. */
NONNULL void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t tick);
NONNULL void wheel_disarm(struct wheel *w, struct wheel_timer *t); // harmless when not armed

/* The next timer due at or before `tick`, disarmed; NULL: no more, and the present is now `tick`.
 */
NONNULL struct wheel_timer *wheel_pop(struct wheel *w, uint64_t tick);

/* A tick before which nothing is due (exact within the next 64 ticks), or WHEEL_NEVER. */
NONNULL uint64_t wheel_next(const struct wheel *w);
