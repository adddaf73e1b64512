// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of struct image_spec, for image/ alone. */
#include "image/image.h"

// A list of owned strings.
struct strings {
    char **items;
    uint32_t n, max;
};

struct image_map {
    char *from; // here
    char *to;   // in the image
};

enum { IMAGE_MAPS_MAX = 4096 };

struct image_spec {
    char *program; // here; NULL: none yet
    struct strings args, envs;
    struct image_map *maps;
    uint32_t maps_n;
};
