// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The host asked: say on the status channel how the guest is (abi/metrics.h). Any context but
 * interrupts. */
void metrics_say(void);
