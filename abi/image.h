// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A skerry image: one file that is an EROFS filesystem (its own 4 KiB blocks, superblock at 1024)
 * and says what to run.
 *
 *     0      struct image_header    (EROFS leaves the first 1024 bytes to boot code)
 *     1024   EROFS superblock ...   erofs_bytes in all, a multiple of 4096
 *     manifest_offset               the manifest: strings, each ended by NUL (below)
 *     total_bytes                   end of file, a multiple of 512 so that it is a whole disk
 *
 * All numbers are little-endian. The reader checks every bound before use; an image is foreign.
 * The kernel is not inside: it is named by the store beside the image and loaded by the hypervisor.
 *
 * Manifest: program path, working directory, then argc strings (argv, argv[0] included), then envc
 * strings "NAME=VALUE". No string is empty but the arguments' own. */
#include "base/base.h"

#define IMAGE_MAGIC "SKERRYIM" // 8 bytes, no NUL

enum {
    IMAGE_VERSION = 1,
    IMAGE_MANIFEST_MAX = 256 * 1024, // bytes
    IMAGE_ARGS_MAX = 1024,
    IMAGE_ENVS_MAX = 1024,
};

struct image_header {
    uint8_t magic[8];
    uint32_t version;
    uint32_t header_bytes; // sizeof(struct image_header)
    uint64_t erofs_bytes;
    uint64_t manifest_offset; // >= erofs_bytes
    uint64_t total_bytes;
    uint32_t manifest_bytes; // <= IMAGE_MANIFEST_MAX
    uint32_t argc;           // 1..IMAGE_ARGS_MAX
    uint32_t envc;           // 0..IMAGE_ENVS_MAX
    uint32_t reserved;       // 0
    uint8_t manifest_sha256[32];
};
_Static_assert(sizeof(struct image_header) == 88, "image header is 88 bytes on disk");
