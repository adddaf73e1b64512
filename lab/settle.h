// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "lab/lab.h"

/* Wait until routing has settled (way_all_best, and way_anycast_best for n addresses) with the
 * links as t has them. Looks at every change of any router's routes, so it returns with the last
 * one. -EINTR: stop_fd became readable (-1: none); -ETIMEDOUT: err says which route is still amiss.
 */
NONNULL MUST_CHECK int settle(const struct lab *lab, const struct topology *t,
                              const uint32_t *addrs, unsigned n, int stop_fd, unsigned timeout_ms,
                              struct err *err);
