// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The ChaCha20 block function (RFC 8439, 2.3), pure. */
#include "base/base.h"

enum { CHACHA_KEY_WORDS = 8, CHACHA_BLOCK_BYTES = 64 };

/* Block `counter` of the stream of this key and nonce, as little-endian bytes. */
NONNULL void chacha_block(const uint32_t key[CHACHA_KEY_WORDS], uint32_t counter,
                          const uint32_t nonce[3], uint8_t ret[CHACHA_BLOCK_BYTES]);
