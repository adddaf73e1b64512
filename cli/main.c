// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_command commands[] = {
#define X(cmd, use, sum) {.name = #cmd, .usage = use, .summary = sum, .run = cli_##cmd},
#include "cli/commands.h"
#undef X
};

int cli_version(UNUSED int argc, UNUSED char **argv)
{
    puts("skerry " SKERRY_VERSION);
    return CLI_OK;
}

/* Errors quote names of files, images and programs, which are foreign: one line comes of them, and
 * nothing that a terminal obeys. */
int cli_fail(const struct err *e)
{
    char line[sizeof(e->text)];
    size_t n = 0;
    for (const char *p = e->text; *p != '\0' && n < sizeof(line) - 1; p++)
        line[n++] = (uint8_t)*p < ' ' || *p == 0x7f ? '?' : *p;
    line[n] = '\0';
    fprintf(stderr, "skerry: %s\n", line);
    return CLI_FAILED;
}

int cli_usage(const char *name, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "skerry %s: ", name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry 'skerry %s --help'.\n", name);
    return CLI_USAGE;
}

static const struct cli_command *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int cli_help(const char *name, const char *options)
{
    const struct cli_command *c = find(name);
    ASSERT(c != NULL);
    printf("usage: skerry %s %s\n%s.\n\n%s", c->name, c->usage, c->summary, options);
    return CLI_OK;
}

static int help(FILE *to)
{
    fprintf(to, "usage: skerry COMMAND [...]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n'skerry COMMAND --help' tells more.\n");
    return to == stdout ? CLI_OK : CLI_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(stdout);
    if (strcmp(argv[1], "--version") == 0)
        return cli_version(argc, argv);
    const struct cli_command *c = find(argv[1]);
    if (c == NULL) {
        fprintf(stderr, "skerry: no command '%s'\nTry 'skerry --help'.\n", argv[1]);
        return CLI_USAGE;
    }
    return c->run(argc - 1, argv + 1);
}
