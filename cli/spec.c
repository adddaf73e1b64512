// SPDX-License-Identifier: Apache-2.0
#include "cli/spec.h"

#include <errno.h>
#include <getopt.h>

#include "cli/cli.h"

bool cli_spec_option(struct cli_spec *s, int option)
{
    switch (option) {
    case 'c':
        s->config = optarg;
        return true;
    case 'a':
        s->overflow |= s->args_n == CLI_SPEC_ITEMS_MAX;
        if (!s->overflow)
            s->args[s->args_n++] = optarg;
        return true;
    case 'e':
        s->overflow |= s->envs_n == CLI_SPEC_ITEMS_MAX;
        if (!s->overflow)
            s->envs[s->envs_n++] = optarg;
        return true;
    default:
        return false;
    }
}

bool cli_spec_any(const struct cli_spec *s)
{
    return s->config != NULL || s->args_n > 0 || s->envs_n > 0;
}

int cli_spec_apply(const struct cli_spec *s, struct image_spec *to, struct err *e)
{
    if (s->overflow)
        return err_set(e, -E2BIG, "more than %d of -a or -e", CLI_SPEC_ITEMS_MAX);
    int r = s->config != NULL ? image_spec_config(to, s->config, e) : 0;
    for (unsigned i = 0; r == 0 && i < s->args_n; i++)
        r = image_spec_arg(to, s->args[i], e);
    for (unsigned i = 0; r == 0 && i < s->envs_n; i++)
        r = image_spec_env(to, s->envs[i], e);
    return r;
}

int cli_bad_option(const char *command, int option, char **argv)
{
    const char *word = argv[optind - 1];
    return option == ':' ? cli_usage(command, "option '%s' needs a value", word)
                         : cli_usage(command, "unknown option '%s'", word);
}
