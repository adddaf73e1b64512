// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What tests use of the kernel's seams on the host (shim_host.c). */
#include "base/base.h"

enum { SHIM_CONSOLE_BYTES = 4096 };
extern char shim_console[SHIM_CONSOLE_BYTES]; // all that kprintf printed

void shim_enter(void);                           // a thread begins to run kernel code
void shim_leave(void);                           // and ends
void shim_start_timers(void);                    // ktimers fire in a thread of their own
extern uintptr_t shim_user_start, shim_user_end; // user memory is only here; 0, 0: everywhere
extern bool shim_never_sleep;                    // every sleep ends at once, as by a signal
bool shim_run_work(void);                        // run one raised work; false: there is none
void shim_irq(void);                             // the interrupt handler registered last
bool shim_cloexec(int fd);
