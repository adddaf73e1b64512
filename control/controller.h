// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The controller's state and its steps: what is wanted and what is (in the store), what is seen
 * (from reports), and the texts that agents, edges and people are told. One thread; no sockets and
 * no clock: control/api.c brings requests and time, and tells every stream what is new after each
 * step. */
#include <jansson.h>

#include "base/base.h"
#include "control/console.h"
#include "control/sight.h"
#include "control/spec.h"
#include "control/store.h"

enum {
    APPS_MAX = 256,
    INSTANCE_REASON_MAX = 512,
    FAILURE_CONSOLE_MAX = 4096,
    FAILURE_LINES = 12, // of the console kept with a failure
};

struct instance {
    // stored
    char id[REPORT_ID_MAX];
    char app[APP_NAME_MAX];
    char region[REGION_NAME_MAX];
    char version[VERSION_MAX];
    char digest[DIGEST_MAX];
    uint64_t memory_bytes;
    uint32_t cpus;
    uint16_t port;
    char address[ADDRESS_MAX]; // "" until its agent gave it one
    enum instance_phase phase;
    uint64_t phase_ms;      // wall clock
    uint64_t phase_version; // of the desired state with which the phase began
    uint64_t born;          // counts instances ever created
    // not stored
    uint64_t unknown_since;
    struct console console;
    struct instance_seen seen; // by the last step
};

struct failure {
    char version[VERSION_MAX]; // "" none
    uint64_t generation;
    char instance[REPORT_ID_MAX];
    char reason[INSTANCE_REASON_MAX];
    char console[FAILURE_CONSOLE_MAX];
    bool rolled_back; // an earlier version is wanted again; else nothing was there to go back to
};

struct app {
    struct app_spec spec;   // wanted now
    struct app_spec stable; // served everywhere last; .app "" when none did
    uint64_t generation;    // counts what people asked for
    bool halted;            // the spec failed and there was nothing to go back to: wanted is none
    bool leaving;
    struct failure failure; // of the generation it names
    bool steady;            // by the last step: all is as wanted
};

struct controller {
    struct store *store;
    char images_dir[4096];
    struct app **apps; // by name
    uint32_t apps_len;
    struct instance **instances; // in the order of their creation
    uint32_t instances_len, instances_max;
    struct sight sight;
    uint64_t version;        // of all that is told; grows with each change
    uint64_t instances_ever; // names new ones
};

struct times {
    uint64_t wall_ms, mono_ms;
};

/* Load all from the state folder (made when absent). */
NONNULL MUST_CHECK int controller_open(struct controller *c, const char *state_dir,
                                       struct times now, struct err *err);
NONNULL void controller_close(struct controller *c);

/* What people ask. *ret_changed: something will happen. -ENOENT no such image or app; -EEXIST
 * another app has that address and port; -EUSERS too many apps. */
NONNULL MUST_CHECK int controller_put_app(struct controller *c, const struct app_spec *spec,
                                          bool *ret_changed, struct err *err);
NONNULL MUST_CHECK int controller_delete_app(struct controller *c, const char *app,
                                             struct err *err);
NONNULL struct app *controller_app(const struct controller *c, const char *app);

/* Reports. *ret_answer: what to answer, a new reference. */
NONNULL MUST_CHECK int controller_agent_report(struct controller *c, const char *region, json_t *j,
                                               struct times now, json_t **ret_answer,
                                               struct err *err);
NONNULL MUST_CHECK int controller_edge_report(struct controller *c, const char *pop, json_t *j,
                                              struct times now, struct err *err);

/* Decide and store until nothing is left to decide. Negative: the store failed; what is in memory
 * is then not what is stored, and the program must end. */
NONNULL MUST_CHECK int controller_step(struct controller *c, struct times now, struct err *err);

/* What streams are told, without their version; new references. */
NONNULL json_t *controller_edge_table(const struct controller *c, struct times now);
NONNULL json_t *controller_region_state(const struct controller *c, const char *region);
NONNULL json_t *controller_app_state(const struct controller *c, const struct app *a,
                                     struct times now);
NONNULL json_t *controller_status(const struct controller *c, struct times now);
