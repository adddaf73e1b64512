// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Where a request goes: pure decisions over numbers, without clock, I/O or state of their own.
 *
 * Between regions it is a waterfall: the nearest place with room, our own region being nearest of
 * all. A place that has filled up counts as full until a tenth of it is free again, so that POPs
 * do not swing to and fro together. When every place is full the load is spread in proportion up to
 * CHOOSE_SPREAD_PERCENT of capacity; beyond that the request is shed.
 * Inside a region: the better of two random instances by requests in flight. */
#include "base/base.h"

enum {
    CHOOSE_SHED = -1,          // every place is full beyond the spread
    CHOOSE_NONE = -2,          // no place is usable at all
    CHOOSE_RELEASE_TENTHS = 9, // a full place takes again below 9/10 of its capacity
    CHOOSE_SPREAD_PERCENT = 150,
};

struct choose_place {
    bool usable;       // has a healthy instance and can be reached
    bool full;         // hysteresis: read and updated
    uint32_t cost_us;  // round trip to it; 0 for our own region
    uint32_t load;     // requests in flight there
    uint32_t capacity; // requests in flight that it takes
};

/* Index of the place to use, CHOOSE_SHED or CHOOSE_NONE. */
int choose_place(struct choose_place *places, unsigned n);

/* Update the hysteresis of one place and say whether it takes a request now. */
NONNULL bool choose_room(struct choose_place *p);

struct choose_instance {
    bool usable;
    uint32_t load, capacity;
};

/* Index of the instance to use or CHOOSE_NONE. Instances over their capacity are taken only when
 * all are. `random`: 64 fresh random bits. */
int choose_instance(const struct choose_instance *instances, unsigned n, uint64_t random);
