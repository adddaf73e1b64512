// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>
#include <stdio.h>

#include "cli/control.h"

int cli_logs(int argc, char **argv);

static const char options_text[] = CONTROL_OPTION "  -f, --follow       go on with what comes\n";

static int print_piece(UNUSED void *ctx, const void *data, size_t len)
{
    if (fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0)
        return -5; // EIO: nobody reads any more
    return 0;
}

int cli_logs(int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, 'C'},
                                            {"follow", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *control = NULL;
    bool follow = false;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":f", options, NULL)) != -1;) {
        if (o == 'h')
            return cli_help("logs", options_text);
        if (o == 'C')
            control = optarg;
        else if (o == 'f')
            follow = true;
        else
            return cli_usage("logs", "wrong option '%s'", argv[optind - 1]);
    }
    if (optind + 1 != argc)
        return cli_usage("logs", "one APP is needed");
    if (!name_is_valid(argv[optind], APP_NAME_MAX))
        return cli_usage("logs", "'%s' is no name of an app", argv[optind]);
    struct http_base base;
    struct err err = {0};
    char path[128];
    CLEANUP(http_answer_free) struct http_answer a = {0};
    snprintf(path, sizeof(path), "/v1/apps/%s/logs%s", argv[optind], follow ? "?follow=1" : "");
    struct http_request q = {.method = "GET",
                             .path = path,
                             .recv = print_piece,
                             .timeout_ms = follow ? 0 : CONTROL_TIMEOUT_MS};
    int r = control_base(control, &base, &err);
    if (r == 0)
        r = control_hint(http_do(&base, &q, &a, &err), &err);
    if (r == 0)
        r = http_check(&a, &err);
    return r < 0 ? cli_fail(&err) : CLI_OK;
}
