// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Starting the other CPUs, and having them do something. */
#include "base/base.h"

/* Start CPUs 1 to count - 1, whose local APICs have these ids. They come up on their own; smp_wait
 * returns when all are there, and panics when one is not after some seconds. */
void smp_start(unsigned count);
void smp_wait(void); // task context

/* Run run(arg) in interrupt context on every CPU of the mask (by number; not the calling one) and
 * wait until all have: what they did before is seen by the caller. Task context, no spinlock held
 * that is ever taken with interrupts off. */
void smp_call(uint64_t cpus, void (*run)(const void *arg), const void *arg);
void smp_answer(void); // the interrupt for it

uint64_t smp_others(void); // mask of the started CPUs but the calling one

/* For panics: the other CPUs stop for ever, wherever they are. */
void smp_stop_others(void);
void smp_nmi(void); // the interrupt for it
