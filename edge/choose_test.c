// SPDX-License-Identifier: Apache-2.0
#include "edge/choose.h"

#include "base/test.h"

static struct choose_place place(uint32_t cost_us, uint32_t load, uint32_t capacity)
{
    return (struct choose_place){
        .usable = true, .cost_us = cost_us, .load = load, .capacity = capacity};
}

static void test_nearest_with_room(struct test *t)
{
    struct choose_place p[] = {place(0, 5, 10), place(100, 0, 10), place(50, 0, 10)};
    CHECK_EQ(t, choose_place(p, 3), 0);
    p[0].load = 10;
    CHECK_EQ(t, choose_place(p, 3), 2);
    p[2].usable = false;
    CHECK_EQ(t, choose_place(p, 3), 1);
    p[1].usable = false;
    CHECK_EQ(t, choose_place(p, 3), 0); // spread
    p[0].usable = false;
    CHECK_EQ(t, choose_place(p, 3), CHOOSE_NONE);
    CHECK_EQ(t, choose_place(p, 0), CHOOSE_NONE);
}

static void test_hysteresis(struct test *t)
{
    struct choose_place p[] = {place(0, 100, 100), place(50, 0, 100)};
    CHECK_EQ(t, choose_place(p, 2), 1);
    p[0].load = 91;
    CHECK_EQ(t, choose_place(p, 2), 1); // has room, but was full a moment ago
    p[0].load = 90;
    CHECK_EQ(t, choose_place(p, 2), 0);
    p[0].load = 99;
    CHECK_EQ(t, choose_place(p, 2), 0);
}

static void test_spread_then_shed(struct test *t)
{
    struct choose_place p[] = {place(0, 120, 100), place(50, 11, 10)};
    CHECK_EQ(t, choose_place(p, 2), 1); // in proportion it is the emptier one
    p[1].load = 15;
    CHECK_EQ(t, choose_place(p, 2), 0);
    p[0].load = 150;
    CHECK_EQ(t, choose_place(p, 2), CHOOSE_SHED);
    p[0].capacity = p[1].capacity = 0;
    CHECK_EQ(t, choose_place(p, 2), CHOOSE_NONE);
}

static void test_instances(struct test *t)
{
    struct choose_instance in[] = {{true, 5, 10}, {true, 3, 10}};
    CHECK_EQ(t, choose_instance(in, 2, 0x80000000ull << 32), 1); // both are looked at
    CHECK_EQ(t, choose_instance(in, 2, 0), 0);                   // twice the same
    in[0].usable = false;
    CHECK_EQ(t, choose_instance(in, 2, 0), 1);
    in[1].usable = false;
    CHECK_EQ(t, choose_instance(in, 2, 0), CHOOSE_NONE);
    CHECK_EQ(t, choose_instance(in, 0, 0), CHOOSE_NONE);
    struct choose_instance full[] = {{true, 12, 10}, {true, 11, 10}, {true, 10, 11}};
    CHECK_EQ(t, choose_instance(full, 3, 0), 2); // room beats bad luck
    full[2].load = 11;
    full[2].capacity = 10;
    CHECK(t, choose_instance(full, 3, 0) != 0);
}

// ---------------------------------------------------------------------------- seeded simulation

/* A world of POPs: each sees its own region exactly and the others as they were up to REPORT steps
 * ago. A region refuses what others send it beyond its capacity, and is then left alone for a
 * while. A step is 10 ms; a request lasts up to LAST_MAX steps; one POP at a time has a rush. */
enum {
    REGIONS = 6,
    STEPS = 3000,
    SETTLE = 500,
    REPORT = 25,
    REFUSED = 20,
    TRIES = 4,
    LAST_MAX = 200,
    WORLDS = 100
};

struct world {
    uint64_t random;
    uint32_t capacity[REGIONS], load[REGIONS], reported[REGIONS], all;
    uint32_t rtt[REGIONS][REGIONS];
    bool full[REGIONS][REGIONS];      // hysteresis of POP i about region j
    int refused_at[REGIONS][REGIONS]; // step of its last refusal
    uint32_t ours[REGIONS][REGIONS];  // in flight from POP i in region j
    uint32_t ending[LAST_MAX][REGIONS][REGIONS];
    uint64_t served, refused, shed, in_flight; // after settling; in_flight: sum over steps
};

static uint32_t draw(struct world *w, uint32_t below)
{
    w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((w->random >> 33) % below);
}

static int choose_for(struct world *w, int step, int i)
{
    struct choose_place p[REGIONS];
    for (int j = 0; j < REGIONS; j++) {
        uint32_t others = w->reported[j] > w->ours[i][j] ? w->reported[j] - w->ours[i][j] : 0;
        p[j] = (struct choose_place){
            .usable = w->capacity[j] > 0 && (i == j || step >= w->refused_at[i][j] + REFUSED),
            .full = w->full[i][j],
            .cost_us = i == j ? 0 : w->rtt[i][j],
            .load = i == j ? w->load[j] : others + w->ours[i][j],
            .capacity = w->capacity[j],
        };
    }
    int at = choose_place(p, REGIONS);
    for (int j = 0; j < REGIONS; j++)
        w->full[i][j] = p[j].full;
    return at;
}

static void request(struct world *w, int step, int i)
{
    bool count = step >= SETTLE;
    for (int attempt = 0; attempt < TRIES; attempt++) {
        int at = choose_for(w, step, i);
        if (at < 0)
            break;
        if (at != i && w->load[at] >= w->capacity[at]) {
            w->refused += count;
            w->refused_at[i][at] = step;
            continue;
        }
        uint32_t end = (uint32_t)(step + 1) + draw(w, LAST_MAX - 2);
        w->load[at]++;
        w->ours[i][at]++;
        w->ending[end % LAST_MAX][i][at]++;
        w->served += count;
        return;
    }
    w->shed += count;
}

static void finish_due(struct world *w, int step)
{
    for (int i = 0; i < REGIONS; i++)
        for (int j = 0; j < REGIONS; j++) {
            uint32_t *done = &w->ending[step % LAST_MAX][i][j];
            w->load[j] -= *done;
            w->ours[i][j] -= *done;
            *done = 0;
        }
}

/* percent: offered load of the whole planet's capacity; half of it at the POP with the rush. */
static void world_run(struct world *w, uint64_t seed, uint32_t percent)
{
    memset(w, 0, sizeof(*w));
    w->random = seed;
    for (int i = 0; i < REGIONS; i++) {
        w->capacity[i] = i > 0 && draw(w, 5) == 0 ? 0 : 50 + draw(w, 200);
        w->all += w->capacity[i];
        for (int j = 0; j < i; j++)
            w->rtt[i][j] = w->rtt[j][i] = 1000 + draw(w, 200000);
        for (int j = 0; j < REGIONS; j++)
            w->refused_at[i][j] = -REFUSED;
    }
    // Arrivals in a step, in thousandths, for the wanted load at a mean of LAST_MAX / 2 steps.
    uint32_t due = 0, rate = w->all * percent * 10 / (LAST_MAX / 2);
    for (int step = 0; step < STEPS; step++) {
        finish_due(w, step);
        if (step % REPORT == 0)
            memcpy(w->reported, w->load, sizeof(w->load));
        for (due += rate; due >= 1000; due -= 1000) {
            int rush = step / 700 % REGIONS;
            request(w, step, draw(w, 2) == 0 ? rush : (int)draw(w, REGIONS));
        }
        for (int j = 0; j < REGIONS && step >= SETTLE; j++)
            w->in_flight += w->load[j];
    }
}

static void test_worlds_with_room(struct test *t)
{
    static struct world w;
    uint64_t served = 0, refused = 0, shed = 0;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        world_run(&w, seed, 20 + (uint32_t)seed % 60);
        served += w.served;
        refused += w.refused;
        shed += w.shed;
    }
    printf("# %d worlds with room: %llu served, %llu detours, %llu shed\n", WORLDS,
           (unsigned long long)served, (unsigned long long)refused, (unsigned long long)shed);
    CHECK_EQ(t, shed, 0);
    CHECK(t, refused * 50 <= served);
}

static void test_worlds_without_room(struct test *t)
{
    static struct world w;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        world_run(&w, seed, 150);
        // The planet is in full use, and no region beyond what its own POP may spread.
        CHECK(t, w.in_flight * 100 >= (uint64_t)w.all * 95 * (STEPS - SETTLE));
        CHECK(t, w.shed > 0);
        for (int j = 0; j < REGIONS; j++)
            CHECK(t, w.load[j] * 100 <= w.capacity[j] * CHOOSE_SPREAD_PERCENT + 100);
    }
}

/* A POP just over its capacity sends only the excess away, and keeps doing so evenly: no swinging
 * between all and nothing. */
static void test_spill_is_proportional(struct test *t)
{
    uint32_t local = 0, ends[100] = {0};
    struct choose_place p[] = {place(0, 0, 100), place(50, 0, 1000)};
    uint64_t away = 0, sent = 0;
    for (int step = 0; step < 10000; step++) {
        local -= ends[step % 100];
        ends[step % 100] = 0;
        for (int n = 0; n < 2; n++) { // 2 a step for 100 steps: twice the capacity
            p[0].load = local;
            int at = choose_place(p, 2);
            sent += step >= 1000;
            away += step >= 1000 && at == 1;
            if (at == 0) {
                local++;
                ends[(step + 99) % 100]++;
            }
        }
    }
    CHECK(t, away * 100 >= sent * 45 && away * 100 <= sent * 60);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_nearest_with_room),     TEST_CASE(test_hysteresis),
        TEST_CASE(test_spread_then_shed),      TEST_CASE(test_instances),
        TEST_CASE(test_worlds_with_room),      TEST_CASE(test_worlds_without_room),
        TEST_CASE(test_spill_is_proportional),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
