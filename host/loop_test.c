// SPDX-License-Identifier: Apache-2.0
#include "host/loop.h"

#include <pthread.h>
#include <unistd.h>

#include "base/test.h"

struct alarm {
    struct loop_timer timer;
    struct loop *loop;
    uint64_t fired_ms;
    unsigned count;
};

static void rings(struct loop_timer *t)
{
    struct alarm *a = CONTAINER_OF(t, struct alarm, timer);
    a->fired_ms = a->loop->now_ms;
    a->count++;
}

// Serve timers as if it were now_ms, without waiting: the clock is read by rounds only.
static void pass_until(struct loop *l, const struct alarm *a, uint64_t limit_ms)
{
    while (a->count == 0 && loop_clock_ms() < limit_ms)
        loop_round(l, 10);
}

static void test_timers_fire_in_time(struct test *t)
{
    static struct loop l;
    struct err e;
    CHECK_EQ(t, loop_init(&l, &e), 0);
    uint64_t start = l.now_ms;
    struct alarm soon = {.timer.fire = rings, .loop = &l}, moved = soon, stopped = soon;
    loop_timer_set(&l, &soon.timer, start + 20);
    loop_timer_set(&l, &moved.timer, start + 5);
    loop_timer_set(&l, &moved.timer, start + 60); // later: a store
    loop_timer_set(&l, &stopped.timer, start + 10);
    loop_timer_stop(&stopped.timer);
    pass_until(&l, &moved, start + 2000);
    CHECK(t, soon.count == 1 && soon.fired_ms >= start + 20);
    CHECK(t, moved.count == 1 && moved.fired_ms >= start + 60);
    CHECK_EQ(t, stopped.count, 0);
    loop_deinit(&l);
}

static void test_timer_moved_earlier(struct test *t)
{
    static struct loop l;
    struct err e;
    CHECK_EQ(t, loop_init(&l, &e), 0);
    struct alarm a = {.timer.fire = rings, .loop = &l};
    uint64_t start = l.now_ms;
    loop_timer_set(&l, &a.timer, start + 3600000);
    loop_timer_set(&l, &a.timer, start + 10);
    pass_until(&l, &a, start + 2000);
    CHECK(t, a.count == 1 && a.fired_ms < start + 1000);
    loop_deinit(&l);
}

// A far timer goes round the wheel and does not fire before its time.
static void test_far_timer(struct test *t)
{
    static struct loop l;
    struct err e;
    CHECK_EQ(t, loop_init(&l, &e), 0);
    struct alarm a = {.timer.fire = rings, .loop = &l};
    loop_timer_set(&l, &a.timer, l.now_ms + 100ull * LOOP_SLOTS * LOOP_TICK_MS);
    // Pretend that most of a turn has passed: its slot is served, and it must be put again.
    l.tick -= LOOP_SLOTS;
    loop_round(&l, 0);
    CHECK_EQ(t, a.count, 0);
    CHECK(t, !list_empty(&a.timer.node));
    loop_timer_stop(&a.timer);
    loop_deinit(&l);
}

struct end {
    struct loop_fd lfd;
    struct loop *loop;
    struct end *other;
    unsigned calls;
};

// The first that is served takes the other off, whose event was taken in the same batch.
static void kills_other(struct loop_fd *f, UNUSED uint32_t events)
{
    struct end *e = CONTAINER_OF(f, struct end, lfd);
    e->calls++;
    loop_del(e->loop, &e->other->lfd);
    loop_del(e->loop, f);
}

static void test_deleted_in_a_batch(struct test *t)
{
    static struct loop l;
    struct err e;
    int a[2], b[2];
    CHECK_EQ(t, loop_init(&l, &e), 0);
    CHECK(t, pipe(a) == 0 && pipe(b) == 0);
    struct end x = {.lfd.ready = kills_other, .loop = &l}, y = x;
    x.other = &y;
    y.other = &x;
    CHECK_EQ(t, loop_add(&l, &x.lfd, a[0], EPOLLIN), 0);
    CHECK_EQ(t, loop_add(&l, &y.lfd, b[0], EPOLLIN), 0);
    CHECK(t, write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    loop_round(&l, 1000);
    loop_round(&l, 0);
    CHECK_EQ(t, x.calls + y.calls, 1);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    loop_deinit(&l);
}

static void woken(struct loop *l)
{
    l->stop = true;
}

static void *wake(void *arg)
{
    loop_wake(arg);
    return NULL;
}

static void test_wake_from_another_thread(struct test *t)
{
    static struct loop l;
    struct err e;
    pthread_t thread;
    CHECK_EQ(t, loop_init(&l, &e), 0);
    l.woken = woken;
    CHECK_EQ(t, pthread_create(&thread, NULL, wake, &l), 0);
    loop_run(&l);
    pthread_join(thread, NULL);
    loop_deinit(&l);
}

int main(void)
{
    static const struct test_case cases[] = {
        TEST_CASE(test_timers_fire_in_time),
        TEST_CASE(test_timer_moved_earlier),
        TEST_CASE(test_far_timer),
        TEST_CASE(test_deleted_in_a_batch),
        TEST_CASE(test_wake_from_another_thread),
    };
    return test_main(cases, ARRAY_LEN(cases));
}
