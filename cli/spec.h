// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Options that say what goes into an image, the same for every command that makes one:
 * -c/--config FILE, -a/--arg ARG, -e/--env NAME=VALUE. */
#include "base/base.h"
#include "host/err.h"
#include "image/image.h"

enum { CLI_SPEC_ITEMS_MAX = 256 };

struct cli_spec {
    const char *config; // borrowed from the command line, as all here
    const char *args[CLI_SPEC_ITEMS_MAX];
    const char *envs[CLI_SPEC_ITEMS_MAX];
    unsigned args_n, envs_n;
    bool overflow;
};

/* Take an option that getopt found; false when it is none of these. */
NONNULL bool cli_spec_option(struct cli_spec *s, int option);
NONNULL bool cli_spec_any(const struct cli_spec *s);
/* Put them into a spec, the config file first. */
NONNULL MUST_CHECK int cli_spec_apply(const struct cli_spec *s, struct image_spec *to,
                                      struct err *e);

/* What to say when getopt_long returned '?' or ':' (the option string must start with ':'). */
NONNULL int cli_bad_option(const char *command, int option, char **argv);
