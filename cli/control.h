// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the commands that talk to the controller share. */
#include "cli/cli.h"
#include "control/plan.h"
#include "control/spec.h"
#include "host/http.h"

enum { CONTROL_TIMEOUT_MS = 10000 };

#define CONTROL_OPTION                                                                             \
    "  --control ADDRESS  controller: unix:/path or http://host:port (default\n"                   \
    "                     $SKERRY_CONTROL, or unix:/run/skerry/control.sock)\n"

/* given NULL: SKERRY_CONTROL, or the default. */
__attribute__((nonnull(2, 3))) MUST_CHECK int control_base(const char *given, struct http_base *ret,
                                                           struct err *err);
/* http_json with the time-out of all commands; when nobody listens the error says how to start a
 * controller. */
__attribute__((nonnull(1, 2, 3, 6))) MUST_CHECK int
control_call(const struct http_base *base, const char *method, const char *path, const json_t *body,
             json_t **ret, struct err *err);
/* The same hint put behind an error of another call. */
NONNULL int control_hint(int r, struct err *err);

/* A program made ready: read, built, packed; the image is in an unnamed file. */
struct prepared {
    struct app_file file;
    int image_fd;
    uint64_t image_bytes;
    double seconds;
};

/* Read skerry.yaml, run its build command, make the image; tells what it does on `to` (may be
 * NULL). */
__attribute__((nonnull(1, 3, 4))) MUST_CHECK int prepare(const char *path, FILE *to,
                                                         struct prepared *ret, struct err *err);
NONNULL void prepared_deinit(struct prepared *p);

/* What the controller has of that app: *ret_state (a new reference, NULL: nothing) and its spec. */
NONNULL MUST_CHECK int control_app(const struct http_base *base, const char *app,
                                   json_t **ret_state, struct app_spec *ret_spec, struct err *err);
/* Print the plan's lines, one column in. */
NONNULL void plan_print(FILE *to, const struct plan_line *lines, unsigned n);
// Monotonic seconds.
double seconds_now(void);
