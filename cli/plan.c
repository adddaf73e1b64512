// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>
#include <stdio.h>

#include "cli/control.h"

int cli_plan(int argc, char **argv);

static const char options_text[] =
    CONTROL_OPTION "  --json             print the plan as JSON\n"
                   "\nExit status 0: nothing would change; 3: something would.\n";

enum { PLAN_CHANGES = 3 };

static int print_json(const struct plan_line *lines, unsigned n)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:s#,s:s}", "sign", &lines[i].sign, 1, "change", lines[i].text));
    json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
    return n > 0 ? PLAN_CHANGES : CLI_OK;
}

static int plan(const struct http_base *base, const char *path, bool json)
{
    struct err err = {0};
    CLEANUP(prepared_deinit) struct prepared p = {.image_fd = -1};
    json_auto_t *state = NULL;
    struct app_spec have;
    static struct plan_line lines[PLAN_LINES_MAX];
    int r = prepare(path, json ? NULL : stdout, &p, &err);
    if (r == 0)
        r = control_app(base, p.file.spec.app, &state, &have, &err);
    if (r < 0)
        return cli_fail(&err);
    unsigned n = plan_compare(state == NULL ? NULL : &have, &p.file.spec, lines);
    if (json)
        return print_json(lines, n);
    if (n == 0)
        printf("no change: %s is as %s says\n", p.file.spec.app, path);
    plan_print(stdout, lines, n);
    return n > 0 ? PLAN_CHANGES : CLI_OK;
}

int cli_plan(int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, 'C'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *control = NULL;
    bool json = false;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        if (o == 'h')
            return cli_help("plan", options_text);
        if (o == 'C')
            control = optarg;
        else if (o == 'j')
            json = true;
        else
            return cli_usage("plan", "wrong option '%s'", argv[optind - 1]);
    }
    if (optind + 1 != argc)
        return cli_usage("plan", "one FILE is needed");
    struct http_base base;
    struct err err = {0};
    if (control_base(control, &base, &err) < 0)
        return cli_fail(&err);
    return plan(&base, argv[optind], json);
}
