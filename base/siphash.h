// SPDX-License-Identifier: Apache-2.0
#pragma once
/* SipHash (Aumasson, Bernstein 2012): a keyed hash whose values an outsider who does not know the
 * key cannot predict or make collide. */
#include "base/base.h"

struct siphash_key {
    uint64_t k0, k1; // little-endian halves of the 16-byte key
};

/* SipHash-2-4 of any bytes. */
NONNULL uint64_t siphash(const struct siphash_key *key, const void *data, size_t len);

/* SipHash-1-3 of two words, for table lookups on hot paths: the same value as the 16 bytes give. */
NONNULL uint64_t siphash_fast(const struct siphash_key *key, uint64_t a, uint64_t b);
