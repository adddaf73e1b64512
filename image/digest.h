// SPDX-License-Identifier: Apache-2.0
#pragma once
/* SHA-256 of images, for image/ alone. */
#include "image/image.h"

enum { DIGEST_BYTES = 32 };

struct digest;

struct digest *digest_new(void); // NULL: out of memory
NONNULL void digest_add(struct digest *d, const void *data, size_t len);
/* Write the digest's text and free d. */
NONNULL void digest_end(struct digest *d, struct image_digest *ret);
NONNULL void digest_of(const void *data, size_t len, uint8_t ret[static DIGEST_BYTES]);
