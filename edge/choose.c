// SPDX-License-Identifier: Apache-2.0
#include "edge/choose.h"

bool choose_room(struct choose_place *p)
{
    uint64_t release = (uint64_t)p->capacity * CHOOSE_RELEASE_TENTHS / 10;
    if (p->load >= p->capacity)
        p->full = true;
    else if (p->load <= release)
        p->full = false;
    return p->usable && !p->full;
}

// a is fuller than b in proportion to capacity.
static bool fuller(const struct choose_place *a, const struct choose_place *b)
{
    return (uint64_t)a->load * b->capacity > (uint64_t)b->load * a->capacity;
}

int choose_place(struct choose_place *places, unsigned n)
{
    int best = CHOOSE_NONE, spread = CHOOSE_NONE;
    for (unsigned i = 0; i < n; i++) {
        struct choose_place *p = &places[i];
        bool room = choose_room(p);
        if (!p->usable || p->capacity == 0)
            continue;
        if (room && (best < 0 || p->cost_us < places[best].cost_us))
            best = (int)i;
        if (spread < 0 || fuller(&places[spread], p))
            spread = (int)i;
    }
    if (best >= 0 || spread < 0)
        return best;
    const struct choose_place *p = &places[spread];
    bool over = (uint64_t)p->load * 100 >= (uint64_t)p->capacity * CHOOSE_SPREAD_PERCENT;
    return over ? CHOOSE_SHED : spread;
}

static bool better(const struct choose_instance *a, const struct choose_instance *b)
{
    return a->usable && (!b->usable || a->load < b->load);
}

static bool roomy(const struct choose_instance *i)
{
    return i->usable && i->load < i->capacity;
}

int choose_instance(const struct choose_instance *instances, unsigned n, uint64_t random)
{
    if (n == 0)
        return CHOOSE_NONE;
    unsigned a = (unsigned)((random & UINT32_MAX) * n >> 32);
    unsigned b = (unsigned)((random >> 32) * n >> 32);
    if (better(&instances[b], &instances[a]))
        a = b;
    if (roomy(&instances[a]))
        return (int)a;
    // Both were bad luck: look at all, those with room first, then the least loaded.
    int best = CHOOSE_NONE;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = (a + i) % n;
        if (!instances[at].usable)
            continue;
        if (best < 0 || (roomy(&instances[at]) && !roomy(&instances[best])) ||
            (roomy(&instances[at]) == roomy(&instances[best]) &&
             instances[at].load < instances[best].load))
            best = (int)at;
    }
    return best;
}
