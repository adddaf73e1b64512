// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What skerry.trace prints besides the calls themselves (linux/trace.c). */
#include "kernel/linux/signal.h"

/* The current task is about to act on this signal. */
NONNULL void trace_signal(const struct siginfo *info);
