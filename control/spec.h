// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a person wants of an application: `skerry.yaml` as people write it (see skerry.yaml(5)), and
 * the part of it that the control plane keeps, as JSON (docs/protocols.md, "application"). */
#include <jansson.h>

#include "base/base.h"
#include "host/err.h"

enum {
    APP_NAME_MAX = 25,    // bytes with NUL; app, region and a suffix make an instance's id
    REGION_NAME_MAX = 31, // with NUL
    REGIONS_MAX = 32,
    COUNT_MAX = 64,   // instances of an app in a region
    RECIPE_MAX = 64,  // files, folders, arguments, variables: of each
    DIGEST_MAX = 72,  // "sha256:" and 64 hex digits, with NUL
    VERSION_MAX = 13, // 12 hex digits, with NUL
    ADDRESS_MAX = 16, // dotted IPv4, with NUL
    HEALTH_PATH_MAX = 256,
};

enum protocol { PROTOCOL_HTTP, PROTOCOL_TCP };

struct health_spec {
    char path[HEALTH_PATH_MAX]; // http only; tcp: a connection is enough
    uint32_t interval_ms, timeout_ms;
};

struct region_spec {
    char name[REGION_NAME_MAX];
    uint32_t count;
};

struct app_spec {
    char app[APP_NAME_MAX];
    char digest[DIGEST_MAX]; // of the image; "" until it is built
    uint64_t memory_bytes;
    uint32_t cpus;
    uint16_t instance_port; // where the program listens
    enum protocol protocol;
    char address[ADDRESS_MAX]; // where users reach it ...
    uint16_t port;             // ... and on which port
    struct health_spec health;
    struct region_spec regions[REGIONS_MAX];
    uint32_t regions_len;
    uint32_t surge, unavailable; // in each region
    uint32_t timeout_ms;         // a new instance that is not healthy for so long fails its version
};

struct recipe_pair {
    const char *name, *value;
};

/* How the image is made. All strings are borrowed from the document; host paths are relative to
 * the folder of the file. */
struct recipe {
    const char *program;
    const char *build; // shell command run in the folder first; NULL: none
    struct recipe_pair files[RECIPE_MAX], dirs[RECIPE_MAX], env[RECIPE_MAX]; // in-image: host
    uint32_t files_len, dirs_len, env_len;
    const char *args[RECIPE_MAX];
    uint32_t args_len;
};

struct app_file {
    struct app_spec spec;
    struct recipe recipe;
    char *folder; // of the file
    struct yaml *doc;
};

/* Read and check skerry.yaml; every error names file, line and key. -EINVAL, or what open said. */
NONNULL MUST_CHECK int app_file_load(const char *path, struct app_file *ret, struct err *err);
/* The same from memory, for tests and fuzzers. */
NONNULL MUST_CHECK int app_file_parse(const char *name, const char *text, size_t len,
                                      struct app_file *ret, struct err *err);
void app_file_free(struct app_file *f);

/* Names of apps and regions: [a-z0-9-], beginning with a letter, not ending with '-'. */
NONNULL bool name_is_valid(const char *name, size_t max);
NONNULL bool digest_is_valid(const char *digest);

/* JSON there and back. The reader checks all that the YAML reader checks. */
NONNULL json_t *spec_to_json(const struct app_spec *s); // NULL: out of memory
NONNULL MUST_CHECK int spec_from_json(const char *name, json_t *j, struct app_spec *ret,
                                      struct err *err);

/* The version of a spec names what makes instances different: image, memory, cpus and port. */
NONNULL void spec_version(const struct app_spec *s, char ret[static VERSION_MAX]);
NONNULL const struct region_spec *spec_region(const struct app_spec *s, const char *name);
