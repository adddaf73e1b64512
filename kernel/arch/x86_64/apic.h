// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The local APIC (timer, end of interrupt) and the I/O APIC. Devices use irq.h. */
#include "base/base.h"

void apic_init(void);     // once: maps, masks the 8259, finds the I/O APIC
void apic_init_cpu(void); // each CPU
void apic_eoi(void);
/* One timer interrupt on this CPU about ns from now; it may come early (long waits come in parts).
 * The deadline in TSC ticks is used where the hardware has it. */
void apic_timer_arm(uint64_t ns, uint64_t tsc_deadline);
void apic_timer_off(void);
/* Measure the TSC against the local APIC's timer, which hypervisors run at 1 GHz. */
uint64_t apic_measure_tsc_khz(void);
/* Make another CPU look at its need_work. */
struct cpu;
NONNULL void apic_kick(struct cpu *c);
void apic_send(uint32_t cpu, uint32_t command); // SDM volume 3, 11.6.1: low word of the ICR
/* A device's interrupt vector fired: call its handler. */
void irq_dispatch(unsigned vector);
