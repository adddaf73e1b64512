// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Interrupts of devices. */
#include "base/base.h"

/* Run handler in interrupt context (see sched/lock.h) when this I/O APIC line fires. 0, -EBUSY,
 * -EINVAL. The line is unmasked on return. */
MUST_CHECK int irq_register(unsigned gsi, bool level, void (*handler)(void *ctx), void *ctx);

/* The same for a device that signals by message (MSI, MSI-X): *ret is what to program into it. 0 or
 * -EBUSY. */
struct irq_msi {
    uint64_t address;
    uint32_t data;
};
NONNULL MUST_CHECK int irq_register_msi(void (*handler)(void *ctx), void *ctx, struct irq_msi *ret);
