// SPDX-License-Identifier: Apache-2.0
#pragma once
/* An event loop for one thread: descriptors (epoll), timers (a hashed wheel) and a wake-up that
 * other threads may ring. Everything but loop_wake belongs to the thread that runs the loop.
 *
 * A timer that is moved to a later time costs one store, so a connection may push its deadline on
 * with every request. */
#include <sys/epoll.h>

#include "base/base.h"
#include "base/list.h"
#include "host/err.h"

enum {
    LOOP_BATCH = 128,  // events taken from the kernel at once
    LOOP_SLOTS = 2048, // of the wheel
    LOOP_TICK_MS = 4,  // a timer fires at its time or up to a tick late
};

struct loop_fd {
    int fd; // -1 when not watched
    /* events: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. May free what f is part of. */
    void (*ready)(struct loop_fd *f, uint32_t events);
};

struct loop_timer {
    struct list node;
    uint64_t at_ms;
    uint64_t queued_tick;
    void (*fire)(struct loop_timer *t); // may free what t is part of
};

struct loop {
    int epoll_fd;
    struct loop_fd bell;
    void (*woken)(struct loop *l); // loop_wake was called; may be NULL
    uint64_t now_ms;               // CLOCK_MONOTONIC as of this round
    bool stop;
    struct epoll_event events[LOOP_BATCH];
    int events_n, event_at;
    uint64_t tick; // wheel time that has been served
    uint64_t busy[LOOP_SLOTS / 64];
    struct list wheel[LOOP_SLOTS];
};

NONNULL MUST_CHECK int loop_init(struct loop *l, struct err *err);
NONNULL void loop_deinit(struct loop *l); // watched descriptors stay open

/* Watch f->fd for `events` (with EPOLLET if wanted). 0 or negative errno. */
NONNULL MUST_CHECK int loop_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events);
NONNULL MUST_CHECK int loop_change(struct loop *l, struct loop_fd *f, uint32_t events);
/* Stop watching: f->ready will not be called again, and f may be freed. Closing the descriptor is
 * the caller's; when it is about to be closed, loop_forget saves the system call. */
NONNULL void loop_del(struct loop *l, struct loop_fd *f);
NONNULL void loop_forget(struct loop *l, struct loop_fd *f);

/* A timer is zeroed before its first use. Setting a set timer moves it. */
NONNULL void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t at_ms);
NONNULL void loop_timer_stop(struct loop_timer *t);

/* One round: wait for at most max_ms (negative: until something happens), then serve all events and
 * due timers. */
NONNULL void loop_round(struct loop *l, int max_ms);
/* Rounds until l->stop is set. */
NONNULL void loop_run(struct loop *l);

/* From any thread: l->woken is called in the loop's thread soon. */
NONNULL void loop_wake(struct loop *l);

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t loop_clock_ms(void);
