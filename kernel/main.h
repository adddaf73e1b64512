// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/base.h"

/* Entered by boot/pvh.S with the physical address of the PVH start info. */
NORETURN void kernel_main(uint32_t start_info_phys);
