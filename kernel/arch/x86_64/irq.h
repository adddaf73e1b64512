// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Interrupts of devices. */
#include "base/base.h"

/* Run handler in interrupt context (see sched/lock.h) when this I/O APIC line fires. 0, -EBUSY,
 * -EINVAL. The line is unmasked on return. */
MUST_CHECK int irq_register(unsigned gsi, bool level, void (*handler)(void *ctx), void *ctx);
