// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Kernel stacks: mapped pages with an unmapped page below, so that an overflow faults at once. */
#include "base/base.h"

enum { KSTACK_BYTES = 16384 };

/* Top of a stack (its contents undefined), 0 when memory is short. */
MUST_CHECK uint64_t kstack_new(void);
void kstack_free(uint64_t top);
/* A stack of one page for an exception; never freed. */
MUST_CHECK uint64_t kstack_new_page(void);
bool kstack_guard_hit(uint64_t address); // is this the guard page of a stack?
