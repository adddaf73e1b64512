// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernel/linux/signal.h"

/* The current task's process dies of its own mistake: say what, where in which file, and what the
 * registers held. Task context. */
NONNULL void fault_report(const struct siginfo *info);
