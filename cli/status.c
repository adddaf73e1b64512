// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/control.h"

int cli_status(int argc, char **argv);

static const char options_text[] =
    CONTROL_OPTION "  --json             print all that the controller knows as JSON\n";

static const char *text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s == NULL ? "" : s;
}

static long long number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static bool flag(const json_t *j, const char *key)
{
    return json_is_true(json_object_get(j, key));
}

static void print_instance(const json_t *i, const char *region, const char *target)
{
    bool old = strcmp(text(i, "version"), target) != 0;
    printf("  %-22s %-34s %-12s %-9s %-10s %-16s %s%s", region, text(i, "id"), text(i, "version"),
           text(i, "phase"), text(i, "state"), text(i, "address"),
           flag(i, "known") ? "known" : "unknown", old ? " (other version)" : "");
    if (number(i, "restarts") > 0)
        printf(" restarts=%lld", number(i, "restarts"));
    if (text(i, "error")[0] != '\0')
        printf(" (%s)", text(i, "error"));
    putchar('\n');
}

static void print_app(const json_t *a)
{
    const json_t *service = json_object_get(json_object_get(a, "spec"), "service");
    const json_t *failure = json_object_get(a, "failure");
    printf("%s: %s, %s %s:%lld, version %s\n", text(a, "app"), text(a, "state"),
           text(service, "protocol"), text(service, "address"), number(service, "port"),
           text(a, "target")[0] != '\0' ? text(a, "target") : "none");
    if (failure != NULL)
        printf("  version %s failed: %s: %s\n", text(failure, "version"), text(failure, "instance"),
               text(failure, "reason"));
    size_t n, m;
    json_t *r, *i;
    json_array_foreach (json_object_get(a, "regions"), n, r) {
        if (json_array_size(json_object_get(r, "instances")) == 0)
            printf("  %-22s no instance%s\n", text(r, "name"),
                   number(r, "count") == 0 ? ""
                   : flag(r, "agent")      ? " yet"
                                           : ": no agent reports");
        json_array_foreach (json_object_get(r, "instances"), m, i) {
            print_instance(i, text(r, "name"), text(a, "target"));
        }
    }
}

static void print_pop(const json_t *p)
{
    size_t n;
    json_t *s;
    printf("  %-22s %-22s %s", text(p, "name"), text(p, "region"),
           flag(p, "fresh") ? "reports" : "silent");
    if (!flag(p, "fresh"))
        printf(" for %lld s", number(p, "silent_ms") / 1000);
    printf(", announces");
    bool any = false;
    json_array_foreach (json_object_get(p, "services"), n, s) {
        if (flag(s, "announced"))
            printf(" %s", text(s, "app"));
        any |= flag(s, "announced");
    }
    puts(any ? "" : " nothing");
}

static void print_status(const json_t *status)
{
    size_t n;
    json_t *j;
    const json_t *apps = json_object_get(status, "apps");
    const json_t *regions = json_object_get(status, "regions");
    const json_t *pops = json_object_get(status, "pops");
    if (json_array_size(apps) == 0)
        puts("no apps");
    json_array_foreach (apps, n, j) {
        print_app(j);
    }
    if (json_array_size(regions) > 0)
        puts("agents:");
    json_array_foreach (regions, n, j) {
        printf("  %-22s %s", text(j, "name"), flag(j, "fresh") ? "reports" : "silent");
        if (!flag(j, "fresh"))
            printf(" for %lld s", number(j, "silent_ms") / 1000);
        putchar('\n');
    }
    if (json_array_size(pops) > 0)
        puts("edges:");
    json_array_foreach (pops, n, j) {
        print_pop(j);
    }
}

int cli_status(int argc, char **argv)
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
            return cli_help("status", options_text);
        if (o == 'C')
            control = optarg;
        else if (o == 'j')
            json = true;
        else
            return cli_usage("status", "wrong option '%s'", argv[optind - 1]);
    }
    if (optind != argc)
        return cli_usage("status", "it takes options only");
    struct http_base base;
    struct err err = {0};
    json_auto_t *status = NULL;
    int r = control_base(control, &base, &err);
    if (r == 0)
        r = control_call(&base, "GET", "/v1/status", NULL, &status, &err);
    if (r < 0)
        return cli_fail(&err);
    if (json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_status(status);
    }
    return CLI_OK;
}
