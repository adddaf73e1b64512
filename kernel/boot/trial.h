// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The word skerry.trial=NAME: break the kernel on purpose, to see that what guards it does, and
 * what the report looks like. False: there is no such trial. The others end in a panic. */
#include "base/base.h"

NONNULL bool trial_run(const char *name);
