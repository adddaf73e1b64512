// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The vDSO: clock functions that run in the program (kernel/vdso/). */
#include "base/base.h"

struct mm;

/* Map it and the page with its numbers: 0 with the address of its ELF header (AT_SYSINFO_EHDR). */
NONNULL MUST_CHECK int vdso_map(struct mm *mm, uint64_t *ret_address);

extern const uint8_t vdso_image[]; // whole pages
extern const uint32_t vdso_image_bytes;
