// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The image's header and manifest as the kernel reads them (abi/image.h). Pure; the bytes are
 * foreign. */
#include "abi/image.h"
#include "base/base.h"

struct manifest {
    const char *program, *cwd;
    const char *argv[IMAGE_ARGS_MAX], *envp[IMAGE_ENVS_MAX];
    unsigned argc, envc;
};

/* Check a header against the size of the disk it was read from. 0 or -EPROTO. */
NONNULL MUST_CHECK int image_header_check(const struct image_header *h, uint64_t disk_bytes);
/* Split a manifest of h->manifest_bytes bytes, which *ret borrows. 0 or -EPROTO. */
NONNULL MUST_CHECK int manifest_parse(const struct image_header *h, const char *data,
                                      struct manifest *ret);
