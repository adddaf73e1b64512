// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The command line: one file a command, one table (cli/commands.h) that lists them. */
#include "base/base.h"
#include "host/err.h"

// Exit statuses: the command did its work; it failed; it was called wrongly.
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_command {
    const char *name;
    const char *usage;   // after the name: "PROGRAM|IMAGE [-m SIZE]"
    const char *summary; // one line for `skerry --help`
    /* argv[0] is the command's name. Returns an exit status. Reads --help itself (see cli_help). */
    int (*run)(int argc, char **argv);
};

/* Print "skerry: TEXT" to stderr and return CLI_FAILED. */
NONNULL int cli_fail(const struct err *e);
/* Print "skerry NAME: TEXT" and a hint at --help to stderr; returns CLI_USAGE. */
NONNULL int cli_usage(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);
/* The command's usage and options (a text block, one option a line) to stdout; returns CLI_OK. */
NONNULL int cli_help(const char *name, const char *options);

// The commands themselves.
#define X(cmd, use, sum) int cli_##cmd(int argc, char **argv);
#include "cli/commands.h"
#undef X
