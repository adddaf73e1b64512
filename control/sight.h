// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the controller sees: the last report of each agent and each POP, how old it is, and what
 * follows from them for an instance (docs/protocols.md says what "known" and "drained" mean).
 * Nothing here is stored: after a restart the next reports bring it back. No clock: times are the
 * caller's, monotonic milliseconds. */
#include <jansson.h>

#include "base/base.h"
#include "control/reconcile.h"
#include "host/err.h"

enum {
    SIGHT_FRESH_MS = 3000, // a report older than this says nothing any more
    SIGHT_REGIONS_MAX = 64,
    SIGHT_POPS_MAX = 64,
    SIGHT_POP_FORGET_MS = 600000, // a POP silent for so long is no POP any more
    REPORT_INSTANCES_MAX = 4096,
    REPORT_SERVICES_MAX = 256,
    REPORT_ID_MAX = 64,
    REPORT_STATE_MAX = 16,
    REPORT_ERROR_MAX = 256,
    POP_NAME_MAX = 32,
    BACKBONE_MAX = 64,
};

// What an agent says of one instance.
struct agent_instance {
    char id[REPORT_ID_MAX];
    char state[REPORT_STATE_MAX]; // for people: "starting", "healthy", ...
    char address[ADDRESS_MAX];
    char error[REPORT_ERROR_MAX]; // why it is not healthy
    bool healthy;
    uint32_t failures, restarts, unhealthy_ms;
    uint64_t up_micros;
};

struct agent_report {
    uint64_t version; // of the desired state that it applied
    struct agent_instance *instances;
    uint32_t instances_len;
};

// What a POP's edge says of one instance, and of one service.
struct edge_instance {
    char id[REPORT_ID_MAX];
    bool healthy;
    uint64_t in_flight;
};

struct edge_service {
    char app[APP_NAME_MAX];
    bool announced;
};

struct edge_report {
    uint64_t version; // of the table that it applied
    char region[REGION_NAME_MAX];
    char backbone[BACKBONE_MAX];
    struct edge_instance *instances;
    struct edge_service *services;
    uint32_t instances_len, services_len;
};

/* JSON to report (docs/protocols.md); the caller frees it with ..._deinit, which accepts an empty
 * one. -EINVAL with *err. */
NONNULL MUST_CHECK int agent_report_parse(json_t *j, struct agent_report *ret, struct err *err);
NONNULL void agent_report_deinit(struct agent_report *r);
NONNULL MUST_CHECK int edge_report_parse(json_t *j, struct edge_report *ret, struct err *err);
NONNULL void edge_report_deinit(struct edge_report *r);

struct agent_sight {
    char region[REGION_NAME_MAX];
    uint64_t heard_ms;
    struct agent_report report;
};

struct pop_sight {
    char name[POP_NAME_MAX];
    bool reported; // since this controller began; else only its name is known, from the store
    uint64_t heard_ms;
    struct edge_report report;
};

struct sight {
    struct agent_sight agents[SIGHT_REGIONS_MAX];
    uint32_t agents_len;
    struct pop_sight pops[SIGHT_POPS_MAX];
    uint32_t pops_len;
};

NONNULL void sight_deinit(struct sight *s);
/* Take a report over (*r is emptied). 0, or -EUSERS: too many regions or POPs; then *r is freed. */
NONNULL int sight_agent(struct sight *s, const char *region, struct agent_report *r, uint64_t now);
NONNULL int sight_edge(struct sight *s, const char *pop, struct edge_report *r, uint64_t now);
/* A POP that the store remembers: counts as there for SIGHT_FRESH_MS, knowing nothing. */
NONNULL int sight_expect_pop(struct sight *s, const char *pop, const char *region,
                             const char *backbone, uint64_t now);
/* Drop POPs that were silent for SIGHT_POP_FORGET_MS; their number. */
NONNULL uint32_t sight_forget_pops(struct sight *s, uint64_t now);

NONNULL const struct agent_sight *sight_find_agent(const struct sight *s, const char *region);
// The region's agent reported lately.
NONNULL bool sight_agent_fresh(const struct sight *s, const char *region, uint64_t now);
NONNULL bool sight_pop_fresh(const struct pop_sight *p, uint64_t now);
/* The fresh agent's word on an instance, or NULL. */
NONNULL const struct agent_instance *sight_instance(const struct sight *s, const char *region,
                                                    const char *id, uint64_t now);
/* Some POP of the region (any POP, when none stands there) announces the app; true as well when
 * there is no POP at all. */
NONNULL bool sight_announced(const struct sight *s, const char *app, const char *region,
                             uint64_t now);

/* Fill the seen part of *i from the reports. phase_version: version of the desired state or table
 * with which its phase began. *unknown_since is kept by the caller between calls, 0 at first. */
NONNULL void sight_look(const struct sight *s, struct instance_seen *i, uint64_t phase_version,
                        uint64_t *unknown_since, uint64_t now);
