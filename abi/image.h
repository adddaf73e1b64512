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
 * strings "NAME=VALUE". No string is empty but the arguments' own.
 *
 * Right behind the manifest lies what whoever starts the image should do unless he was told
 * otherwise: advicec strings "memory=64M", "cpus=2", "accel=tcg", "trace=1", "written-exec=1",
 * "no-anonymous-exec=1", "port=8080" (the last may repeat). The kernel does not read it. */
#include "base/base.h"

#define IMAGE_MAGIC "SKERRYIM" // 8 bytes, no NUL

enum {
    IMAGE_VERSION = 1,
    IMAGE_MANIFEST_MAX = 256 * 1024, // bytes
    IMAGE_ARGS_MAX = 1024,
    IMAGE_ENVS_MAX = 1024,
    IMAGE_ADVICE_MAX = 16 * 1024, // bytes
    IMAGE_ADVICES_MAX = 80,
};

struct image_header {
    uint8_t magic[8];
    uint32_t version;
    uint32_t header_bytes; // sizeof(struct image_header)
    uint64_t erofs_bytes;
    uint64_t manifest_offset; // >= erofs_bytes
    uint64_t total_bytes;
    uint32_t manifest_bytes;     // <= IMAGE_MANIFEST_MAX
    uint32_t argc;               // 1..IMAGE_ARGS_MAX
    uint32_t envc;               // 0..IMAGE_ENVS_MAX
    uint32_t reserved;           // 0
    uint8_t manifest_sha256[32]; // of the manifest and the advice behind it
    uint32_t advice_bytes;       // <= IMAGE_ADVICE_MAX
    uint32_t advicec;            // 0..IMAGE_ADVICES_MAX
};
_Static_assert(sizeof(struct image_header) == 96, "image header is 96 bytes on disk");
