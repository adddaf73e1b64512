// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Start of the allocators, called once by kernel_main after kmap_init. */
void page_init(void);
