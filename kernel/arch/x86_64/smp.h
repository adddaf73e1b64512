// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Having other CPUs do something. */
#include "base/base.h"

/* Run run(arg) in interrupt context on every CPU of the mask (by number; not the calling one) and
 * wait until all have: what they did before is seen by the caller. Task context, no spinlock held
 * that is ever taken with interrupts off. */
void smp_call(uint64_t cpus, void (*run)(const void *arg), const void *arg);
void smp_answer(void); // the interrupt for it

uint64_t smp_others(void); // mask of the started CPUs but the calling one
