// SPDX-License-Identifier: Apache-2.0
/* The reconciler in seeded worlds: the real decisions (control/reconcile.c, sight.c, supervise.c)
 * among agents, POPs and programs made of a few lines each, in virtual time. Controllers, agents,
 * programs and POPs die and return, reports are lost, lines come late, versions are bad.
 *
 * usage: reconcile_sim [WORLDS [FIRST_SEED]]    one seed again: reconcile_sim 1 SEED */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "control/reconcile.h"
#include "control/sight.h"
#include "control/supervise.h"

enum {
    STEP_MS = 50,
    TROUBLE_MS = 50000, // faults and changes happen until then
    CALM_MS = 45000,    // and must be overcome within this
    ROUNDS_MAX = 12,
    VERSIONS_MAX = 8,
    SIM_REGIONS = 3,
    SIM_POPS = 3,
    RECORDS_MAX = 64,
    IDS_MAX = 16,
    WORLDS = 1000,
    TIMEOUT_MS = 8000, // of a rollout
};

struct rng {
    uint64_t state;
};

static uint32_t draw(struct rng *r, uint32_t below)
{
    // xorshift64*: Vigna 2016.
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return below == 0 ? 0 : (uint32_t)((r->state * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

static bool chance(struct rng *r, uint32_t per_mille)
{
    return draw(r, 1000) < per_mille;
}

enum behaviour { GOOD, DIES_AT_START, NEVER_ANSWERS, DIES_LATER };

struct version {
    char name[VERSION_MAX];
    enum behaviour behaviour;
    uint32_t boot_ms;
};

// What the store keeps of an instance.
struct record {
    bool used;
    char id[IDS_MAX];
    uint32_t region, version;
    enum instance_phase phase;
    uint64_t phase_ms, phase_version;
    uint64_t unknown_since; // memory of the controller
};

// A program as its agent has it.
struct program {
    bool used;
    char id[IDS_MAX];
    uint32_t version;
    struct supervised life;
    uint64_t started_ms;
    uint32_t starts;
};

struct sim_agent {
    bool up;
    uint64_t back_ms;
    uint64_t applied; // version of its last line
    struct program programs[RECORDS_MAX];
};

struct entry {
    char id[IDS_MAX];
    bool serving, healthy;
    uint32_t in_flight;
};

struct sim_pop {
    bool up;
    uint64_t back_ms;
    uint64_t applied;
    struct entry entries[RECORDS_MAX];
    uint32_t entries_len;
};

struct faults {
    bool controller, agents, programs, pops, slow, counts;
};

struct world {
    uint64_t seed, now;
    struct rng rng;
    struct faults faults;
    bool calm;
    // wanted
    struct version versions[VERSIONS_MAX];
    uint32_t versions_len;
    struct region_spec regions[SIM_REGIONS];
    uint32_t regions_len, surge, unavailable;
    int target, stable; // -1: none
    bool leaving, ended, was_steady;
    // the controller
    bool controller_up;
    uint64_t controller_back_ms, version, ids;
    struct record records[RECORDS_MAX];
    struct sight *sight;
    struct sim_agent agents[SIM_REGIONS];
    struct sim_pop pops[SIM_POPS];
    uint32_t pops_len;
    uint32_t rollouts, failures;
    char wrong[160];
};

#define BREACH(w, ...)                                                                             \
    do {                                                                                           \
        if ((w)->wrong[0] == '\0')                                                                 \
            snprintf((w)->wrong, sizeof((w)->wrong), __VA_ARGS__);                                 \
    } while (0)

static const char *const region_names[SIM_REGIONS] = {"r-a", "r-b", "r-c"};
static const char *const pop_names[SIM_POPS] = {"p-a", "p-b", "p-c"};

static uint32_t region_index(const char *name)
{
    for (uint32_t i = 0; i < SIM_REGIONS; i++)
        if (strcmp(region_names[i], name) == 0)
            return i;
    ASSERT(false);
}

// --- programs and agents ---

static bool answers(const struct world *w, const struct program *p)
{
    const struct version *v = &w->versions[p->version];
    return p->life.running && (v->behaviour == GOOD || v->behaviour == DIES_LATER) &&
           w->now >= p->started_ms + v->boot_ms;
}

static struct program *find_program(struct sim_agent *a, const char *id)
{
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        if (a->programs[i].used && strcmp(a->programs[i].id, id) == 0)
            return &a->programs[i];
    return NULL;
}

static const struct record *find_record(const struct world *w, const char *id)
{
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        if (w->records[i].used && strcmp(w->records[i].id, id) == 0)
            return &w->records[i];
    return NULL;
}

static void program_lives(struct world *w, struct program *p)
{
    const struct version *v = &w->versions[p->version];
    if (!p->life.running)
        return;
    uint64_t age = w->now - p->started_ms;
    bool dies = (v->behaviour == DIES_AT_START && age >= v->boot_ms / 2) ||
                (v->behaviour == DIES_LATER && age >= v->boot_ms + 1000) ||
                (!w->calm && w->faults.programs && chance(&w->rng, 1)) ||
                (p->life.stop_said && chance(&w->rng, 300)) || p->life.kill_said;
    if (dies)
        supervise_ended(&p->life, w->now);
    else if (age % 200 < STEP_MS)
        supervise_checked(&p->life, answers(w, p), w->now);
}

// Told to stop: no POP that lives may still send to it, or wait for it.
static void check_unused(struct world *w, const char *id)
{
    if (w->faults.pops || w->faults.slow)
        return; // who is silent for 3 s is not waited for
    for (uint32_t n = 0; n < w->pops_len; n++)
        for (uint32_t i = 0; i < w->pops[n].entries_len; i++) {
            const struct entry *e = &w->pops[n].entries[i];
            if (strcmp(e->id, id) == 0 && (e->in_flight > 0 || (e->serving && e->healthy)))
                BREACH(w, "%s is stopped while %s uses it (%u in flight)", id, pop_names[n],
                       e->in_flight);
        }
}

static void agent_runs(struct world *w, struct sim_agent *a)
{
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        struct program *p = &a->programs[i];
        if (!p->used)
            continue;
        program_lives(w, p);
        switch (supervise_step(&p->life, w->now)) {
        case SUPERVISE_START:
            supervise_started(&p->life, w->now);
            p->started_ms = w->now;
            p->starts++;
            if (p->starts > 8 + (w->now / 10000) + 8) // back-off reaches 10 s after seven starts
                BREACH(w, "%s was started %u times", p->id, p->starts);
            break;
        case SUPERVISE_REMOVE:
            p->used = false;
            break;
        case SUPERVISE_STOP:
            check_unused(w, p->id);
            break;
        case SUPERVISE_NOTHING:
        case SUPERVISE_KILL:
            break;
        }
    }
}

// The agent is dead: its programs go on, nobody looks after them.
static void orphans_live(struct world *w, struct sim_agent *a)
{
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        if (a->programs[i].used && !w->calm && w->faults.programs && chance(&w->rng, 1))
            a->programs[i].life.running = false;
}

static void agent_returns(struct world *w, struct sim_agent *a)
{
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        struct program *p = &a->programs[i];
        if (!p->used)
            continue;
        struct supervised before = p->life;
        supervise_init(&p->life, w->now);
        if (!before.wanted)
            supervise_unwant(&p->life); // its disk says so
        supervise_started(&p->life, w->now);
        if (!before.running)
            supervise_ended(&p->life, w->now);
    }
    a->up = true;
}

static void agent_reads(struct world *w, struct sim_agent *a, uint32_t region)
{
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        struct program *p = &a->programs[i];
        const struct record *r = p->used ? find_record(w, p->id) : NULL;
        if (p->used && (r == NULL || r->phase == PHASE_STOPPING))
            supervise_unwant(&p->life);
    }
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        const struct record *r = &w->records[i];
        if (!r->used || r->region != region || r->phase == PHASE_STOPPING ||
            find_program(a, r->id) != NULL)
            continue;
        struct program *p = a->programs;
        while (p->used)
            p++;
        ASSERT(p < a->programs + RECORDS_MAX);
        *p = (struct program){.used = true, .version = r->version};
        memcpy(p->id, r->id, sizeof(p->id));
        supervise_init(&p->life, w->now);
    }
    a->applied = w->version;
}

static void agent_reports(struct world *w, const struct sim_agent *a, uint32_t region)
{
    struct agent_report r = {.version = a->applied};
    uint32_t n = 0;
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        n += a->programs[i].used;
    r.instances = calloc(n + 1, sizeof(*r.instances));
    ASSERT(r.instances != NULL);
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        const struct program *p = &a->programs[i];
        if (!p->used)
            continue;
        struct agent_instance *x = &r.instances[r.instances_len++];
        memcpy(x->id, p->id, sizeof(p->id));
        x->healthy = p->life.healthy;
        x->failures = p->life.failures;
        x->unhealthy_ms = supervise_unhealthy_ms(&p->life, w->now);
    }
    ASSERT(sight_agent(w->sight, region_names[region], &r, w->now) == 0);
}

// --- POPs ---

static const struct program *find_anywhere(struct world *w, const char *id)
{
    for (uint32_t i = 0; i < SIM_REGIONS; i++) {
        const struct program *p = find_program(&w->agents[i], id);
        if (p != NULL)
            return p;
    }
    return NULL;
}

static void pop_reads(struct world *w, struct sim_pop *p)
{
    struct sim_pop before = *p;
    p->entries_len = 0;
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        const struct record *r = &w->records[i];
        if (!r->used || (r->phase != PHASE_SERVING && r->phase != PHASE_DRAINING))
            continue;
        struct entry *e = &p->entries[p->entries_len++];
        *e = (struct entry){0};
        for (uint32_t n = 0; n < before.entries_len; n++)
            if (strcmp(before.entries[n].id, r->id) == 0)
                *e = before.entries[n];
        memcpy(e->id, r->id, sizeof(e->id));
        e->serving = r->phase == PHASE_SERVING;
    }
    p->applied = w->version;
}

static void pop_lives(struct world *w, struct sim_pop *p)
{
    for (uint32_t n = 0; n < p->entries_len; n++) {
        struct entry *e = &p->entries[n];
        const struct program *x = find_anywhere(w, e->id);
        bool up = x != NULL && answers(w, x);
        if (chance(&w->rng, 200))
            e->healthy = up;
        if (!up)
            e->in_flight = 0;
        else if (e->serving && e->healthy && chance(&w->rng, 100))
            e->in_flight = draw(&w->rng, 3);
        else if (!e->serving && e->in_flight > 0 && chance(&w->rng, 100))
            e->in_flight--;
    }
}

static void pop_reports(struct world *w, const struct sim_pop *p, uint32_t n)
{
    struct edge_report r = {.version = p->applied,
                            .instances = calloc(p->entries_len + 1, sizeof(*r.instances))};
    ASSERT(r.instances != NULL);
    snprintf(r.region, sizeof(r.region), "%s", region_names[n]);
    for (uint32_t i = 0; i < p->entries_len; i++) {
        struct edge_instance *x = &r.instances[r.instances_len++];
        memcpy(x->id, p->entries[i].id, sizeof(p->entries[i].id));
        x->healthy = p->entries[i].healthy;
        x->in_flight = p->entries[i].in_flight;
    }
    ASSERT(sight_edge(w->sight, pop_names[n], &r, w->now) == 0);
}

// --- the controller ---

static struct app_want want_of(const struct world *w)
{
    struct app_want want = {.regions = w->regions,
                            .regions_len = w->leaving ? 0 : w->regions_len,
                            .surge = w->surge,
                            .unavailable = w->unavailable,
                            .timeout_ms = TIMEOUT_MS,
                            .leaving = w->leaving};
    if (w->target >= 0)
        memcpy(want.target, w->versions[w->target].name, VERSION_MAX);
    if (w->stable >= 0)
        memcpy(want.stable, w->versions[w->stable].name, VERSION_MAX);
    return want;
}

static uint32_t look(struct world *w, struct instance_seen *seen, struct record **of)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        struct record *r = &w->records[i];
        if (!r->used)
            continue;
        seen[n] = (struct instance_seen){.id = r->id,
                                         .region = region_names[r->region],
                                         .phase = r->phase,
                                         .phase_ms = r->phase_ms};
        memcpy(seen[n].version, w->versions[r->version].name, VERSION_MAX);
        sight_look(w->sight, &seen[n], r->phase_version, &r->unknown_since, w->now);
        of[n++] = r;
    }
    return n;
}

/* The promise, checked from outside: what is taken away leaves enough that is ready; and there are
 * never more than count + surge. */
static void check_promise(struct world *w, const struct instance_seen *seen, uint32_t n,
                          const struct action *actions, unsigned todo)
{
    for (uint32_t g = 0; g < w->regions_len && !w->leaving && w->target >= 0; g++) {
        const struct region_spec *region = &w->regions[g];
        uint32_t ready = 0, taken = 0, live = 0, created = 0;
        for (uint32_t i = 0; i < n; i++)
            if (strcmp(seen[i].region, region->name) == 0) {
                ready += instance_is_ready(&seen[i]);
                live += seen[i].phase == PHASE_STARTING || seen[i].phase == PHASE_SERVING;
            }
        for (unsigned a = 0; a < todo; a++) {
            created += actions[a].kind == ACTION_CREATE && actions[a].region == g;
            if (actions[a].kind != ACTION_DRAIN && actions[a].kind != ACTION_STOP)
                continue;
            const struct instance_seen *i = &seen[actions[a].instance];
            if (strcmp(i->region, region->name) != 0)
                continue;
            taken += instance_is_ready(i);
            live -= i->phase == PHASE_STARTING || i->phase == PHASE_SERVING;
        }
        uint32_t floor = region->count > w->unavailable ? region->count - w->unavailable : 0;
        if (taken > 0 && ready - taken < floor)
            BREACH(w, "%s: %u of %u ready ones taken, %u promised", region->name, taken, ready,
                   floor);
        if (created > 0 && live + created > region->count + w->surge)
            BREACH(w, "%s: %u live ones and %u more", region->name, live, created);
    }
}

static void create(struct world *w, uint32_t region)
{
    struct record *r = w->records;
    while (r->used)
        r++;
    ASSERT(r < w->records + RECORDS_MAX - 1);
    *r = (struct record){.used = true,
                         .region = region,
                         .version = (uint32_t)w->target,
                         .phase_ms = w->now,
                         .phase_version = w->version};
    snprintf(r->id, sizeof(r->id), "i%llu", (unsigned long long)++w->ids);
}

static void apply(struct world *w, const struct action *a, struct record **of)
{
    static const enum instance_phase phases[] = {[ACTION_SERVE] = PHASE_SERVING,
                                                 [ACTION_DRAIN] = PHASE_DRAINING,
                                                 [ACTION_STOP] = PHASE_STOPPING};
    switch (a->kind) {
    case ACTION_CREATE:
        create(w, region_index(w->regions[a->region].name));
        break;
    case ACTION_SERVE:
    case ACTION_DRAIN:
    case ACTION_STOP:
        of[a->instance]->phase = phases[a->kind];
        of[a->instance]->phase_ms = w->now;
        of[a->instance]->phase_version = w->version;
        break;
    case ACTION_FORGET:
        if (find_program(&w->agents[of[a->instance]->region], of[a->instance]->id) != NULL)
            BREACH(w, "%s is forgotten, but it is still there", of[a->instance]->id);
        of[a->instance]->used = false;
        break;
    case ACTION_PROMOTE:
        if (w->versions[w->target].behaviour == DIES_AT_START ||
            w->versions[w->target].behaviour == NEVER_ANSWERS)
            BREACH(w, "a bad version was promoted");
        w->stable = w->target;
        w->was_steady = true;
        break;
    case ACTION_FAIL:
        w->failures++;
        if (w->versions[w->target].behaviour == GOOD && !w->faults.programs && !w->faults.agents)
            BREACH(w, "a good version was failed (why %d)", (int)a->why);
        w->target = w->stable;
        break;
    case ACTION_END:
        w->ended = true;
        break;
    }
}

static void controller_steps(struct world *w)
{
    static struct instance_seen seen[RECORDS_MAX];
    static struct record *of[RECORDS_MAX];
    static struct action actions[RECONCILE_ACTIONS_MAX];
    for (unsigned round = 0; !w->ended; round++) {
        struct app_want want = want_of(w);
        uint32_t n = look(w, seen, of);
        unsigned todo = reconcile(&want, seen, n, w->now, actions);
        if (todo == 0)
            return;
        if (round == ROUNDS_MAX)
            BREACH(w, "no end of actions");
        if (round == ROUNDS_MAX)
            return;
        check_promise(w, seen, n, actions, todo);
        w->version++;
        for (unsigned i = 0; i < todo; i++)
            apply(w, &actions[i], of);
    }
}

static void controller_dies(struct world *w)
{
    w->controller_up = false;
    w->controller_back_ms = w->now + draw(&w->rng, 4000);
    sight_deinit(w->sight);
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        w->records[i].unknown_since = 0;
}

static void controller_returns(struct world *w)
{
    w->controller_up = true;
    for (uint32_t i = 0; i < w->pops_len; i++)
        ASSERT(sight_expect_pop(w->sight, pop_names[i], region_names[i], "", w->now) == 0);
}

// --- what people do ---

static void add_version(struct world *w, enum behaviour b)
{
    struct version *v = &w->versions[w->versions_len];
    *v = (struct version){.behaviour = b, .boot_ms = 100 + draw(&w->rng, 3000)};
    snprintf(v->name, sizeof(v->name), "v%u", w->versions_len);
    w->target = (int)w->versions_len++;
    w->rollouts++;
}

static void people_act(struct world *w)
{
    static const enum behaviour behaviours[] = {GOOD,          GOOD,          GOOD,
                                                DIES_AT_START, NEVER_ANSWERS, DIES_LATER};
    if (!w->controller_up || w->leaving || w->calm)
        return;
    if (w->now > 10000 && w->versions_len < VERSIONS_MAX && chance(&w->rng, 2)) {
        add_version(w, behaviours[draw(&w->rng, ARRAY_LEN(behaviours))]);
        w->version++;
    }
    if (w->faults.counts && chance(&w->rng, 2)) {
        w->regions[draw(&w->rng, w->regions_len)].count = draw(&w->rng, 4);
        w->version++;
    }
}

/* Seen by users, where nothing dies but the controller: a POP that hears it always has as many
 * truly serving instances of a region as promised, once all served. */
static void check_users(struct world *w)
{
    const struct faults *f = &w->faults;
    if (!w->was_steady || f->agents || f->programs || f->pops || f->counts || w->leaving)
        return;
    for (uint32_t v = 0; v < w->versions_len; v++)
        if (w->versions[v].behaviour == DIES_LATER)
            return; // it serves, and then it does not
    for (uint32_t n = 0; n < w->pops_len; n++)
        for (uint32_t g = 0; g < w->regions_len; g++) {
            uint32_t serving = 0;
            const struct sim_pop *p = &w->pops[n];
            for (uint32_t i = 0; i < p->entries_len; i++) {
                const struct entry *e = &p->entries[i];
                const struct record *r = find_record(w, e->id);
                const struct program *x = find_anywhere(w, e->id);
                serving += e->serving && r != NULL && x != NULL && answers(w, x) &&
                           strcmp(region_names[r->region], w->regions[g].name) == 0;
            }
            uint32_t count = w->regions[g].count;
            uint32_t floor = count > w->unavailable ? count - w->unavailable : 0;
            if (serving < floor)
                BREACH(w, "users of %s find %u serving in %s, %u promised", pop_names[n], serving,
                       w->regions[g].name, floor);
        }
}

// --- faults ---

static void things_break(struct world *w)
{
    if (w->controller_up && !w->calm && w->faults.controller && chance(&w->rng, 4))
        controller_dies(w);
    if (!w->controller_up && (w->calm || w->now >= w->controller_back_ms))
        controller_returns(w);
    for (uint32_t i = 0; i < SIM_REGIONS; i++) {
        struct sim_agent *a = &w->agents[i];
        if (a->up && !w->calm && w->faults.agents && chance(&w->rng, 3)) {
            a->up = false;
            a->back_ms = w->now + draw(&w->rng, 8000);
        } else if (!a->up && (w->calm || w->now >= a->back_ms)) {
            agent_returns(w, a);
        }
    }
    for (uint32_t i = 0; i < w->pops_len; i++) {
        struct sim_pop *p = &w->pops[i];
        if (p->up && !w->calm && w->faults.pops && chance(&w->rng, 2)) {
            p->up = false;
            p->back_ms = w->now + draw(&w->rng, 15000);
        } else if (!p->up && (w->calm || w->now >= p->back_ms)) {
            p->up = true;
        }
    }
}

static void messages_travel(struct world *w)
{
    bool slow = w->faults.slow && !w->calm;
    uint32_t read = slow ? 150 : 700, report = slow ? 60 : 300;
    for (uint32_t i = 0; i < SIM_REGIONS; i++) {
        struct sim_agent *a = &w->agents[i];
        if (a->up && w->controller_up && chance(&w->rng, read) && a->applied != w->version)
            agent_reads(w, a, i);
        if (a->up)
            agent_runs(w, a);
        else
            orphans_live(w, a);
        if (a->up && w->controller_up && chance(&w->rng, report))
            agent_reports(w, a, i);
    }
    for (uint32_t i = 0; i < w->pops_len; i++) {
        struct sim_pop *p = &w->pops[i];
        if (!p->up)
            continue;
        if (w->controller_up && chance(&w->rng, read) && p->applied != w->version)
            pop_reads(w, p);
        pop_lives(w, p);
        if (w->controller_up && chance(&w->rng, report))
            pop_reports(w, p, i);
    }
}

// --- the end ---

static bool dies_later(const struct world *w)
{
    return w->target >= 0 && w->versions[w->target].behaviour == DIES_LATER;
}

static void check_settled(struct world *w)
{
    static struct instance_seen seen[RECORDS_MAX];
    static struct record *of[RECORDS_MAX];
    uint32_t n = look(w, seen, of), wanted = 0, programs = 0;
    for (uint32_t g = 0; g < w->regions_len && w->target >= 0; g++)
        wanted += w->regions[g].count;
    for (uint32_t i = 0; i < SIM_REGIONS; i++)
        for (uint32_t k = 0; k < RECORDS_MAX; k++)
            programs += w->agents[i].programs[k].used;
    if (dies_later(w))
        return; // it is as good as it gets: restarted with back-off, for ever
    for (uint32_t i = 0; i < n; i++)
        if (!instance_is_ready(&seen[i]))
            BREACH(w,
                   "%s (%s, %s) is not ready in the end: phase %d agent %d healthy %d edges %d/%d",
                   seen[i].id, seen[i].region, seen[i].version, (int)seen[i].phase,
                   seen[i].agent_fresh, seen[i].healthy, seen[i].edges_fresh, seen[i].known);
    if (n != wanted || programs != wanted)
        BREACH(w, "%u wanted in the end, %u recorded, %u run", wanted, n, programs);
    if (w->stable != w->target && wanted > 0)
        BREACH(w, "the target was neither promoted nor given up");
}

static void check_gone(struct world *w)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < SIM_REGIONS; i++)
        for (uint32_t k = 0; k < RECORDS_MAX; k++)
            left += w->agents[i].programs[k].used;
    for (uint32_t i = 0; i < RECORDS_MAX; i++)
        left += w->records[i].used;
    if (!w->ended || left > 0)
        BREACH(w, "down left %u (ended: %d)", left, w->ended);
}

static void run_for(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->now + ms; w->now < end && !w->ended && w->wrong[0] == '\0';
         w->now += STEP_MS) {
        things_break(w);
        people_act(w);
        messages_travel(w);
        if (w->controller_up)
            controller_steps(w);
        check_users(w);
    }
}

static void begin(struct world *w, uint64_t seed, struct sight *sight)
{
    *w = (struct world){.seed = seed,
                        .rng.state = seed * 0x9e3779b97f4a7c15ULL + 1,
                        .now = 100000,
                        .stable = -1,
                        .controller_up = true,
                        .sight = sight};
    for (int i = 0; i < 8; i++)
        (void)draw(&w->rng, 1);
    w->now = 0;
    w->faults = (struct faults){.controller = chance(&w->rng, 500),
                                .agents = chance(&w->rng, 300),
                                .programs = chance(&w->rng, 300),
                                .pops = chance(&w->rng, 300),
                                .slow = chance(&w->rng, 300),
                                .counts = chance(&w->rng, 300)};
    w->regions_len = 1 + draw(&w->rng, SIM_REGIONS);
    w->pops_len = draw(&w->rng, SIM_POPS + 1);
    w->unavailable = draw(&w->rng, 2);
    w->surge = w->unavailable == 0 ? 1 + draw(&w->rng, 2) : draw(&w->rng, 3);
    for (uint32_t i = 0; i < w->regions_len; i++) {
        snprintf(w->regions[i].name, sizeof(w->regions[i].name), "%s", region_names[i]);
        w->regions[i].count = 1 + draw(&w->rng, 3);
    }
    for (uint32_t i = 0; i < SIM_REGIONS; i++)
        w->agents[i].up = true;
    for (uint32_t i = 0; i < w->pops_len; i++)
        w->pops[i].up = true;
    controller_returns(w);
    add_version(w, GOOD);
}

static bool run_world(uint64_t seed, uint32_t *rollouts, uint32_t *failures)
{
    static struct world w;
    static struct sight sight;
    begin(&w, seed, &sight);
    run_for(&w, TROUBLE_MS);
    w.calm = true;
    run_for(&w, CALM_MS);
    if (w.wrong[0] == '\0')
        check_settled(&w);
    w.leaving = true;
    w.version++;
    run_for(&w, CALM_MS);
    if (w.wrong[0] == '\0')
        check_gone(&w);
    sight_deinit(&sight);
    *rollouts += w.rollouts;
    *failures += w.failures;
    if (w.wrong[0] != '\0')
        printf("# seed %llu at %llu ms: %s\n", (unsigned long long)seed, (unsigned long long)w.now,
               w.wrong);
    return w.wrong[0] == '\0';
}

static uint64_t worlds = WORLDS, first = 1;

static void test_worlds(struct test *t)
{
    uint32_t bad = 0, rollouts = 0, failures = 0;
    for (uint64_t seed = first; seed < first + worlds && bad < 5; seed++)
        bad += !run_world(seed, &rollouts, &failures);
    printf("# %llu worlds, %u rollouts, %u versions given up\n", (unsigned long long)worlds,
           rollouts, failures);
    CHECK_EQ(t, bad, 0);
    CHECK(t, worlds < 100 || (rollouts > worlds && failures > worlds / 10));
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {TEST_CASE(test_worlds)};
    if (argc > 1)
        worlds = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        first = strtoull(argv[2], NULL, 10);
    return test_main(cases, ARRAY_LEN(cases));
}
