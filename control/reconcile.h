// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The decision of the control plane: from what is wanted of one application and what is seen of its
 * instances to the next steps. Pure: no clock, no I/O, no memory of its own, so that a controller
 * that died anywhere goes on where it stopped, and so that simulations run thousands of worlds.
 *
 * An instance's life in the store:
 *
 *     starting  its region's agent is told to run it; no edge knows it
 *     serving   in the edges' table: takes new requests
 *     draining  in the edges' table: takes no new requests
 *     stopping  told to nobody any more; the agent removes it
 *     (gone)    the agent reported without it: forgotten
 *
 * What is promised, region by region, for a rollout or a change of count:
 *   - an instance of the old version is drained only if count - unavailable ready ones are left;
 *     ready: serving, healthy in its agent's eyes, and known to the edges;
 *   - starting and serving ones together are at most count + surge;
 *   - a version that fails (does not get healthy in time, or keeps dying) before it served
 *     everywhere is given up: the last version that did serve everywhere is wanted again. */
#include "base/base.h"
#include "control/spec.h"

enum {
    RECONCILE_INSTANCES_MAX = 1024, // of one app
    RECONCILE_ACTIONS_MAX = 256,    // of one step; what does not fit comes with the next
    RECONCILE_FAILURES_MAX = 3,     // runs in a row that ended before they were healthy for long
    RECONCILE_DRAIN_MS = 30000,     // patience with requests under way
};

enum instance_phase { PHASE_STARTING, PHASE_SERVING, PHASE_DRAINING, PHASE_STOPPING };

/* What is wanted of an app. Wanted is `target`; an app that is to go has regions_len 0. */
struct app_want {
    char target[VERSION_MAX];
    char stable[VERSION_MAX]; // served everywhere last; "" none yet
    const struct region_spec *regions;
    uint32_t regions_len;
    uint32_t surge, unavailable;
    uint32_t timeout_ms;
    bool leaving; // `skerry down`: forget the app when nothing of it is left
};

struct instance_seen {
    // from the store
    const char *id;
    const char *region;
    char version[VERSION_MAX];
    enum instance_phase phase;
    uint64_t phase_ms; // wall clock when the phase began
    // from reports; all false and zero while nobody reported
    bool agent_fresh;      // its agent reported lately, and this is what it says:
    bool healthy;          // passes its health check
    bool gone;             // the agent knows that it is to go, and it is gone
    uint32_t failures;     // runs in a row that failed
    uint32_t unhealthy_ms; // since the agent wants it healthy in vain; 0 when healthy
    bool edges_fresh;      // a POP of its region reported lately (or there is none at all)
    bool known;            // every fresh POP has the table, those of its region call it healthy
    bool drained;          // every such POP has it draining with nothing in flight
    uint32_t unknown_ms;   // since it is healthy, but not known to fresh edges
};

enum action_kind {
    ACTION_CREATE,  // region, version: an instance more, starting
    ACTION_SERVE,   // instance: starting -> serving
    ACTION_DRAIN,   // instance: serving -> draining
    ACTION_STOP,    // instance: any -> stopping
    ACTION_FORGET,  // instance: delete its record
    ACTION_PROMOTE, // app: stable := target
    ACTION_FAIL,    // app: target failed because of `instance` (why): target := stable
    ACTION_END,     // app: delete its record
};

enum failure_why { FAILURE_DIES, FAILURE_NOT_HEALTHY, FAILURE_NOT_REACHED };

struct action {
    enum action_kind kind;
    uint32_t region;   // index into want->regions, for ACTION_CREATE
    uint32_t instance; // index into seen
    enum failure_why why;
};

/* The next steps; returns their number. After ACTION_FAIL nothing else is decided: apply it, and
 * call again. */
unsigned reconcile(const struct app_want *want, const struct instance_seen *seen, uint32_t seen_len,
                   uint64_t now_ms, struct action ret[static RECONCILE_ACTIONS_MAX]);

/* serving, healthy and known: counts as an instance that users can reach. */
NONNULL static inline bool instance_is_ready(const struct instance_seen *i)
{
    return i->phase == PHASE_SERVING && i->agent_fresh && i->healthy && i->edges_fresh && i->known;
}
