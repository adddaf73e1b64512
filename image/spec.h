// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of struct image_spec, for image/ alone. */
#include "image/image.h"

// A list of owned strings.
struct strings {
    char **items;
    uint32_t n, max;
};

/* what: for the error's text, in the plural. -E2BIG. */
NONNULL MUST_CHECK int strings_add(struct strings *l, const char *text, const char *what,
                                   struct err *e);
NONNULL void strings_deinit(struct strings *l);

struct image_map {
    char *from; // here
    char *to;   // in the image
};

enum { IMAGE_MAPS_MAX = 4096, IMAGE_NSS_MAX = 16, IMAGE_LIBRARIES_MAX = 256, IMAGE_PORTS_MAX = 64 };

enum image_runtime { RUNTIME_OF_SCRIPTS, RUNTIME_ALWAYS, RUNTIME_NEVER };

struct image_spec {
    char *program; // here; NULL: none yet
    struct strings args, envs;
    struct image_map *maps;
    uint32_t maps_n;
    char *program_path;         // in the image; NULL: the file's name in the root folder
    struct strings nss;         // names of services: "compat" for libnss_compat.so.2
    struct strings libraries;   // that the program opens by itself
    bool no_defaults;           // none of /etc/passwd and its like
    bool certificates;          // the authorities' certificates of this machine
    char *timezone;             // NULL: UTC
    enum image_runtime runtime; // does the interpreter's own library go in?
    char *memory, *accel;       // RunConfig; NULL: not given
    struct strings ports;
    uint32_t cpus; // 0: not given
    bool trace, written_exec, no_anonymous_exec;
};
