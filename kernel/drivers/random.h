// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Random numbers: ChaCha20 keyed from RDSEED/RDRAND, the TSC and what drivers add (virtio-rng). */
#include "base/base.h"

NONNULL void random_bytes(void *to, size_t n);          // any context
NONNULL void random_add(const void *data, size_t n);    // mixes in, never takes entropy away
uint64_t random_u64(void);
