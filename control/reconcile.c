// SPDX-License-Identifier: Apache-2.0
#include "control/reconcile.h"

#include <string.h>

struct plan {
    const struct app_want *want;
    const struct instance_seen *seen;
    uint32_t seen_len;
    uint64_t now_ms;
    struct action *actions;
    unsigned actions_len;
};

static bool add(struct plan *p, struct action a)
{
    if (p->actions_len == RECONCILE_ACTIONS_MAX)
        return false;
    p->actions[p->actions_len++] = a;
    return true;
}

static void act(struct plan *p, enum action_kind kind, uint32_t instance)
{
    (void)add(p, (struct action){.kind = kind, .instance = instance});
}

static bool is_target(const struct plan *p, const struct instance_seen *i)
{
    return strcmp(i->version, p->want->target) == 0;
}

static bool is_live(const struct instance_seen *i)
{
    return i->phase == PHASE_STARTING || i->phase == PHASE_SERVING;
}

/* Why an instance condemns its version; false: it does not. Only what a fresh agent says counts:
 * a region that is cut off is no fault of the version. */
static bool condemns(const struct plan *p, const struct instance_seen *i, enum failure_why *why)
{
    if (!is_live(i) || !i->agent_fresh)
        return false;
    if (!i->healthy && i->failures >= RECONCILE_FAILURES_MAX)
        *why = FAILURE_DIES;
    else if (!i->healthy && i->unhealthy_ms >= p->want->timeout_ms)
        *why = FAILURE_NOT_HEALTHY;
    else if (i->phase == PHASE_SERVING && i->unknown_ms >= p->want->timeout_ms)
        *why = FAILURE_NOT_REACHED;
    else
        return false;
    return true;
}

// The target is on trial until it served everywhere once.
static bool on_trial(const struct app_want *w)
{
    return w->target[0] != '\0' && strcmp(w->target, w->stable) != 0;
}

static bool judge(struct plan *p)
{
    if (!on_trial(p->want))
        return false;
    for (uint32_t i = 0; i < p->seen_len; i++) {
        enum failure_why why;
        if (!is_target(p, &p->seen[i]) || !condemns(p, &p->seen[i], &why))
            continue;
        (void)add(p, (struct action){.kind = ACTION_FAIL, .instance = i, .why = why});
        return true;
    }
    return false;
}

// How often a region counts an instance of each sort.
struct tally {
    uint32_t target_live, target_ready, old_serving, ready;
};

static bool in_region(const struct instance_seen *i, const char *region)
{
    return strcmp(i->region, region) == 0;
}

static struct tally count(const struct plan *p, const char *region)
{
    struct tally t = {0};
    for (uint32_t i = 0; i < p->seen_len; i++) {
        const struct instance_seen *s = &p->seen[i];
        if (!in_region(s, region) || !is_live(s))
            continue;
        bool target = is_target(p, s), ready = instance_is_ready(s);
        t.ready += ready;
        t.target_live += target;
        t.target_ready += target && ready;
        t.old_serving += !target && s->phase == PHASE_SERVING;
    }
    return t;
}

// Steps that depend on the instance alone.
static void advance(struct plan *p, uint32_t n)
{
    const struct instance_seen *i = &p->seen[n];
    uint64_t age = p->now_ms > i->phase_ms ? p->now_ms - i->phase_ms : 0;
    switch (i->phase) {
    case PHASE_STARTING:
        if (!is_target(p, i))
            act(p, ACTION_STOP, n); // never served: nobody misses it
        else if (i->agent_fresh && i->healthy)
            act(p, ACTION_SERVE, n);
        break;
    case PHASE_SERVING:
        break;
    case PHASE_DRAINING:
        if ((i->edges_fresh && i->drained) || age >= RECONCILE_DRAIN_MS)
            act(p, ACTION_STOP, n);
        break;
    case PHASE_STOPPING:
        if (i->agent_fresh && i->gone)
            act(p, ACTION_FORGET, n);
        break;
    }
}

static void drain(struct plan *p, uint32_t n)
{
    // One that is not in any edge's table has nothing to drain.
    act(p, p->seen[n].phase == PHASE_STARTING ? ACTION_STOP : ACTION_DRAIN, n);
}

/* Drain up to `most` instances of one sort (old versions, or the target when it has too many) while
 * at least `floor` ready ones remain; those that are not ready first: they cost nothing, but they
 * may come back, so they stay too while there are too few. Returns how many. */
static uint32_t shed(struct plan *p, const char *region, bool target, uint32_t most, uint32_t floor,
                     uint32_t *ready)
{
    uint32_t shed_n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t n = p->seen_len; n-- > 0 && shed_n < most;) {
            const struct instance_seen *i = &p->seen[n];
            uint32_t cost = pass == 1;
            if (!in_region(i, region) || !is_live(i) || is_target(p, i) != target ||
                instance_is_ready(i) != (pass == 1) ||
                (!target && i->phase == PHASE_STARTING)) // advance() stops those
                continue;
            if (*ready < floor + cost)
                return shed_n;
            drain(p, n);
            *ready -= cost;
            shed_n++;
        }
    return shed_n;
}

/* All places are taken, the new ones are ready, and yet too few are: an old one that is surely out
 * of order (not merely out of sight) makes room. */
static uint32_t unblock(struct plan *p, const char *region)
{
    for (uint32_t n = 0; n < p->seen_len; n++) {
        const struct instance_seen *i = &p->seen[n];
        bool out_of_order = i->agent_fresh && (!i->healthy || i->unknown_ms >= p->want->timeout_ms);
        if (!in_region(i, region) || i->phase != PHASE_SERVING || is_target(p, i) || !out_of_order)
            continue;
        drain(p, n);
        return 1;
    }
    return 0;
}

static void settle_region(struct plan *p, uint32_t region)
{
    const struct app_want *w = p->want;
    const char *name = w->regions[region].name;
    uint32_t wanted = w->target[0] != '\0' ? w->regions[region].count : 0;
    uint32_t floor = wanted > w->unavailable ? wanted - w->unavailable : 0;
    struct tally t = count(p, name);
    t.old_serving -= shed(p, name, false, t.old_serving, floor, &t.ready);
    if (t.target_live > wanted)
        t.target_live -= shed(p, name, true, t.target_live - wanted, floor, &t.ready);
    uint32_t ceiling = wanted + (t.old_serving > 0 ? w->surge : 0);
    if (t.target_live < wanted && t.target_live + t.old_serving >= ceiling &&
        t.target_live == t.target_ready)
        t.old_serving -= unblock(p, name);
    while (t.target_live < wanted && t.target_live + t.old_serving < ceiling) {
        if (!add(p, (struct action){.kind = ACTION_CREATE, .region = region}))
            return;
        t.target_live++;
    }
}

static bool region_is_wanted(const struct plan *p, const char *region)
{
    for (uint32_t r = 0; r < p->want->regions_len; r++)
        if (strcmp(p->want->regions[r].name, region) == 0)
            return true;
    return false;
}

// Everything in regions that are not wanted any more goes.
static void leave_regions(struct plan *p)
{
    for (uint32_t n = 0; n < p->seen_len; n++)
        if (is_live(&p->seen[n]) && !region_is_wanted(p, p->seen[n].region))
            drain(p, n);
}

// At least one instance must have proved the version.
static bool served_everywhere(const struct plan *p)
{
    uint32_t wanted = 0;
    for (uint32_t r = 0; r < p->want->regions_len; r++) {
        struct tally t = count(p, p->want->regions[r].name);
        if (t.target_ready < p->want->regions[r].count)
            return false;
        wanted += p->want->regions[r].count;
    }
    return wanted > 0;
}

unsigned reconcile(const struct app_want *want, const struct instance_seen *seen, uint32_t seen_len,
                   uint64_t now_ms, struct action ret[static RECONCILE_ACTIONS_MAX])
{
    ASSERT(seen_len <= RECONCILE_INSTANCES_MAX);
    struct plan p = {
        .want = want, .seen = seen, .seen_len = seen_len, .now_ms = now_ms, .actions = ret};
    if (want->leaving && seen_len == 0) {
        act(&p, ACTION_END, 0);
        return p.actions_len;
    }
    if (judge(&p))
        return p.actions_len;
    if (on_trial(want) && served_everywhere(&p))
        act(&p, ACTION_PROMOTE, 0);
    for (uint32_t n = 0; n < seen_len; n++)
        if (region_is_wanted(&p, seen[n].region) || !is_live(&seen[n]))
            advance(&p, n);
    leave_regions(&p);
    for (uint32_t r = 0; r < want->regions_len; r++)
        settle_region(&p, r);
    return p.actions_len;
}
