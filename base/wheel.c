// SPDX-License-Identifier: Apache-2.0
#include "base/wheel.h"

void wheel_init(struct wheel *w, uint64_t tick)
{
    *w = (struct wheel){.tick = tick};
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
}

void wheel_timer_init(struct wheel_timer *t)
{
    *t = (struct wheel_timer){.tick = WHEEL_NEVER};
    list_init(&t->node);
}

static void place(struct wheel *w, struct wheel_timer *t)
{
    uint64_t differs = (t->tick ^ w->tick) | 1; // | 1: clz of 0 is undefined
    unsigned level = (63 - (unsigned)__builtin_clzll(differs)) / WHEEL_BITS;
    ASSERT(level < WHEEL_LEVELS);
    unsigned slot = (unsigned)(t->tick >> (level * WHEEL_BITS)) % WHEEL_SLOTS;
    t->place = (uint16_t)(level << WHEEL_BITS | slot);
    list_push_back(&w->slots[level][slot], &t->node);
    w->busy[level] |= 1ull << slot;
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, uint64_t tick)
{
    wheel_disarm(w, t);
    t->tick = MAX(tick, w->tick + 1);
    place(w, t);
}

void wheel_disarm(struct wheel *w, struct wheel_timer *t)
{
    if (t->tick == WHEEL_NEVER)
        return;
    t->tick = WHEEL_NEVER;
    list_remove(&t->node);
    unsigned level = t->place >> WHEEL_BITS, slot = t->place % WHEEL_SLOTS;
    if (list_empty(&w->slots[level][slot]))
        w->busy[level] &= ~(1ull << slot);
}

/* The earliest busy slot: lower levels come first, since a higher level's slots all begin later. */
static bool first_slot(const struct wheel *w, unsigned *ret_level, unsigned *ret_slot,
                       uint64_t *ret_tick)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (w->busy[level] == 0)
            continue;
        unsigned slot = (unsigned)__builtin_ctzll(w->busy[level]);
        unsigned shift = level * WHEEL_BITS;
        *ret_level = level;
        *ret_slot = slot;
        *ret_tick = (w->tick >> (shift + WHEEL_BITS) << WHEEL_BITS | slot) << shift;
        return true;
    }
    return false;
}

struct wheel_timer *wheel_pop(struct wheel *w, uint64_t tick)
{
    unsigned level, slot;
    uint64_t start;
    while (first_slot(w, &level, &slot, &start) && start <= tick) {
        w->tick = MAX(w->tick, start);
        struct list *head = &w->slots[level][slot];
        if (level == 0) {
            struct wheel_timer *t = LIST_ENTRY(head->next, struct wheel_timer, node);
            wheel_disarm(w, t);
            return t;
        }
        struct list *node;
        while ((node = list_pop_front(head)) != NULL)
            place(w, LIST_ENTRY(node, struct wheel_timer, node));
        w->busy[level] &= ~(1ull << slot);
    }
    w->tick = MAX(w->tick, tick);
    return NULL;
}

uint64_t wheel_next(const struct wheel *w)
{
    unsigned level, slot;
    uint64_t start;
    return first_slot(w, &level, &slot, &start) ? start : WHEEL_NEVER;
}
