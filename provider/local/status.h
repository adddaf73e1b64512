// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a guest says on its status port (abi/boot.h). The guest is foreign: anything may stand
 * there. */
#include "provider/provider.h"

enum { STATUS_BYTES_MAX = 4096 };

/* Read the complete lines of what was said so far into state, status, up_micros and text of *ret;
 * the first end that is told counts, and what makes no sense is passed over. */
NONNULL void status_parse(const char *text, size_t len, struct instance_info *ret);

/* The hypervisor has ended: without a word of an end, it was killed. output is what it printed
 * itself (may be empty), whose last line explains. */
NONNULL void status_end(struct instance_info *info, const char *output);
