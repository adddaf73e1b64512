// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cli/control.h"
#include "host/file.h"

int cli_down(int argc, char **argv);

static const char options_text[] = CONTROL_OPTION
    "  --timeout SECONDS  give up waiting after so long (default 120); the app goes on leaving\n"
    "  --json             print the outcome as JSON\n";

struct waiting {
    bool quiet, gone;
    double start;
    char left[512]; // what is still there
};

static void note_left(struct waiting *w, const json_t *state)
{
    size_t n, m;
    json_t *r, *i;
    size_t len = 0;
    w->left[0] = '\0';
    json_array_foreach (json_object_get(state, "regions"), n, r) {
        json_array_foreach (json_object_get(r, "instances"), m, i) {
            if (len < sizeof(w->left))
                len += (size_t)snprintf(w->left + len, sizeof(w->left) - len, "%s%s (%s%s)",
                                        len > 0 ? ", " : "",
                                        json_string_value(json_object_get(i, "id")),
                                        json_string_value(json_object_get(i, "phase")),
                                        json_is_true(json_object_get(r, "agent"))
                                            ? ""
                                            : "; its region's agent does not report");
        }
    }
}

static int on_line(void *ctx, const char *line, size_t len)
{
    struct waiting *w = ctx;
    char before[sizeof(w->left)];
    json_auto_t *j = json_loadb(line, len, 0, NULL);
    const char *state = json_string_value(json_object_get(j, "state"));
    if (state == NULL)
        return 0;
    w->gone = strcmp(state, "gone") == 0;
    memcpy(before, w->left, sizeof(before));
    note_left(w, j);
    if (!w->quiet && strcmp(before, w->left) != 0 && w->left[0] != '\0') {
        printf("  %5.1f s  %s\n", seconds_now() - w->start, w->left);
        fflush(stdout);
    }
    return w->gone;
}

static int wait_gone(const struct http_base *base, const char *app, unsigned timeout_s,
                     struct waiting *w, struct err *err)
{
    char path[64];
    CLEANUP(fd_closep) int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec when = {.it_value.tv_sec = (time_t)timeout_s};
    snprintf(path, sizeof(path), "/v1/apps/%s/watch", app);
    if (timer < 0 || timerfd_settime(timer, 0, &when, NULL) != 0)
        return err_set(err, -errno, "timer: %s", strerror(errno));
    struct http_watch watch = {
        .base = base, .path = path, .stop_fd = timer, .line = on_line, .ctx = w};
    int r = http_watch(&watch, err);
    if (r == -ENOENT) {
        w->gone = true;
        r = 0;
    }
    if (r == 0 && !w->gone)
        r = err_set(err, -ETIMEDOUT, "app '%s' is not gone after %u s; left: %s", app, timeout_s,
                    w->left);
    return r;
}

static int down(const struct http_base *base, const char *app, unsigned timeout_s, bool json)
{
    struct err err = {0};
    char path[64];
    struct waiting w = {.quiet = json, .start = seconds_now()};
    snprintf(path, sizeof(path), "/v1/apps/%s", app);
    int r = control_call(base, "DELETE", path, NULL, NULL, &err);
    if (r == 0)
        r = wait_gone(base, app, timeout_s, &w, &err);
    if (r < 0)
        return cli_fail(&err);
    if (json)
        printf("{\"app\": \"%s\", \"seconds\": %.3f}\n", app, seconds_now() - w.start);
    else
        printf("%s is down (%.1f s)\n", app, seconds_now() - w.start);
    return CLI_OK;
}

// APP as it is, or the app that a FILE names.
static int app_name(const char *arg, char *ret, size_t max, struct err *err)
{
    struct app_file f = {0};
    if (name_is_valid(arg, APP_NAME_MAX) && access(arg, F_OK) != 0) {
        snprintf(ret, max, "%s", arg);
        return 0;
    }
    int r = app_file_load(arg, &f, err);
    if (r == 0)
        snprintf(ret, max, "%s", f.spec.app);
    app_file_free(&f);
    return r;
}

int cli_down(int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, 'C'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *control = NULL;
    unsigned long timeout_s = 120;
    char *end = NULL;
    bool json = false;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        if (o == 'h')
            return cli_help("down", options_text);
        if (o == 'C')
            control = optarg;
        else if (o == 'j')
            json = true;
        else if (o == 't' && (timeout_s = strtoul(optarg, &end, 10)) > 0 && timeout_s < 86400 &&
                 *end == '\0')
            continue;
        else
            return cli_usage("down", "wrong option '%s'", argv[optind - 1]);
    }
    if (optind + 1 != argc)
        return cli_usage("down", "one APP or FILE is needed");
    struct http_base base;
    struct err err = {0};
    char app[APP_NAME_MAX];
    int r = control_base(control, &base, &err);
    if (r == 0)
        r = app_name(argv[optind], app, sizeof(app), &err);
    return r < 0 ? cli_fail(&err) : down(&base, app, (unsigned)timeout_s, json);
}
