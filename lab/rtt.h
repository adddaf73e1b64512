// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Measured round trips between cities (lab/rtt_table.h names the source). */
#include "base/base.h"

/* Microseconds, the same both ways; 0 for a city to itself; -ENOENT when the pair is not known. */
NONNULL MUST_CHECK int rtt_us(const char *city_a, const char *city_b);
