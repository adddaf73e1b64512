// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The machine's end of life and other things that main and the traps need from it. */
#include "base/base.h"
#include "kernel/arch/x86_64/cpu.h"

void console_init(void);       // output works from here on
void console_input_init(void); // needs the interrupt controllers
void console_break_lock(void); // for panics: whoever held it was stopped
NORETURN void power_off(void);

/* The host asked for this signal to the program (kernel/linux/signal.c). Work context. */
void machine_signal(int signo);

NORETURN COLD void panic_regs(const struct regs *r, const char *format, ...) PRINTF_LIKE(2, 3);
