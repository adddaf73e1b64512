// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/base.h"

/* The median round trip of `count` ICMP echoes to addr (host order) from the calling thread's
 * namespace, in microseconds; needs CAP_NET_RAW. -ETIMEDOUT: none came back in timeout_ms. */
MUST_CHECK int ping(uint32_t addr, unsigned count, uint32_t timeout_ms);
