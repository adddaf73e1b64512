// SPDX-License-Identifier: Apache-2.0
#include "edge/choose.h"
#include "edge/session.h"

#include <errno.h>

enum { PICK_MAX = 128, ROUTES_MAX = 64 }; // looked at for one request

static bool tried(const struct exchange *x, const struct peer *p)
{
    for (unsigned i = 0; i < x->tries; i++)
        if (x->tried[i] == p)
            return true;
    return false;
}

/* The instances of our own region as numbers; returns how many. More than PICK_MAX are looked at
 * through a window at a random place. */
static unsigned look_local(struct session *s, struct choose_instance *in, unsigned *ret_first,
                           struct choose_place *sum)
{
    const struct exchange *x = &s->x;
    const struct snap_service *sv = x->service;
    unsigned n = MIN(sv->locals_n, (unsigned)PICK_MAX);
    unsigned workers = s->worker->shared->workers_n;
    *ret_first = n < sv->locals_n ? (unsigned)(worker_random(s->worker) % sv->locals_n) : 0;
    for (unsigned i = 0; i < n; i++) {
        const struct snap_instance *si = &sv->locals[(*ret_first + i) % sv->locals_n];
        in[i] = (struct choose_instance){
            .usable = si->serving && RELAXED_LOAD(si->peer->up) && !tried(x, si->peer),
            .load = shares_in_flight(si->peer->shares, workers),
            .capacity = si->capacity,
        };
        if (in[i].usable) {
            sum->usable = true;
            sum->load += in[i].load;
            sum->capacity += in[i].capacity;
        }
    }
    return n;
}

static struct choose_place look_route(struct session *s, struct route *r)
{
    bool refused = RELAXED_LOAD(r->full_until_ms) > s->worker->loop.now_ms;
    return (struct choose_place){
        .usable = RELAXED_LOAD(r->usable) && RELAXED_LOAD(r->pop->up) && !refused &&
                  !tried(&s->x, r->pop),
        .full = RELAXED_LOAD(r->full),
        .cost_us = RELAXED_LOAD(r->rtt_us),
        .load = RELAXED_LOAD(r->others) + shares_in_flight(r->shares, s->worker->shared->workers_n),
        .capacity = RELAXED_LOAD(r->capacity),
    };
}

bool pick_has_other(const struct session *s)
{
    const struct exchange *x = &s->x;
    const struct snap_service *sv = x->service;
    for (unsigned i = 0; i < sv->locals_n; i++)
        if (sv->locals[i].serving && RELAXED_LOAD(sv->locals[i].peer->up) &&
            !tried(x, sv->locals[i].peer))
            return true;
    for (unsigned i = 0; i < sv->routes_n && !s->acceptor->backbone; i++)
        if (RELAXED_LOAD(sv->routes[i]->usable) && !tried(x, sv->routes[i]->pop))
            return true;
    return false;
}

static void take(struct session *s, struct peer *p, struct route *r)
{
    unsigned me = s->worker->index;
    s->x.peer = p;
    s->x.route = r;
    COUNT_ADD(p->shares[me].in_flight, 1);
    COUNT_ADD(p->shares[me].requests, 1);
    if (r != NULL) {
        COUNT_ADD(r->shares[me].in_flight, 1);
        COUNT_ADD(r->shares[me].requests, 1);
    }
}

void pick_release(struct session *s)
{
    unsigned me = s->worker->index;
    struct exchange *x = &s->x;
    if (x->peer != NULL)
        COUNT_ADD(x->peer->shares[me].in_flight, (uint32_t)-1);
    if (x->route != NULL)
        COUNT_ADD(x->route->shares[me].in_flight, (uint32_t)-1);
    x->peer = NULL;
    x->route = NULL;
}

static void note_full(bool *flag, bool full)
{
    if (RELAXED_LOAD(*flag) != full)
        RELAXED_STORE(*flag, full);
}

int pick_peer(struct session *s, bool local_only)
{
    struct snap_service *sv = s->x.service;
    struct choose_instance in[PICK_MAX];
    struct choose_place places[1 + ROUTES_MAX] = {{.full = RELAXED_LOAD(sv->tally->full)}};
    unsigned first, n = look_local(s, in, &first, &places[0]);
    unsigned routes = local_only ? 0 : MIN(sv->routes_n, (unsigned)ROUTES_MAX);
    bool room = choose_room(&places[0]);
    note_full(&sv->tally->full, places[0].full);
    int at = 0;
    if (!room) {
        for (unsigned i = 0; i < routes; i++)
            places[1 + i] = look_route(s, sv->routes[i]);
        at = choose_place(places, 1 + routes);
        for (unsigned i = 0; i < routes; i++)
            note_full(&sv->routes[i]->full, places[1 + i].full);
    }
    // What another POP sends us has a choice of its own: it is taken only where there is room.
    if (at == CHOOSE_SHED || (local_only && at == 0 && places[0].load >= places[0].capacity))
        return -EAGAIN;
    if (at < 0)
        return -EHOSTUNREACH;
    if (at > 0) {
        take(s, sv->routes[at - 1]->pop, sv->routes[at - 1]);
        COUNT_ADD(sv->tally->shares[s->worker->index].spilled, 1);
        return 0;
    }
    int i = choose_instance(in, n, worker_random(s->worker));
    if (i < 0)
        return -EHOSTUNREACH;
    take(s, sv->locals[(first + (unsigned)i) % sv->locals_n].peer, NULL);
    return 0;
}
