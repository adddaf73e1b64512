// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Called by entry.S. */
#include "kernel/arch/x86_64/cpu.h"

NONNULL void trap_dispatch(struct regs *r);
NONNULL void return_to_user_work(struct regs *r); // interrupts off before and after
NONNULL int64_t syscall_traced(struct regs *r);
NORETURN void bad_return_to_user(void);
int fpu_error_code(bool simd); // FPE_* of the exception that was just raised
