// SPDX-License-Identifier: Apache-2.0
#include "host/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

uint64_t loop_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void bell_rang(struct loop_fd *f, UNUSED uint32_t events)
{
    struct loop *l = CONTAINER_OF(f, struct loop, bell);
    uint64_t count;
    ssize_t ignored = read(f->fd, &count, sizeof(count));
    (void)ignored;
    if (l->woken != NULL)
        l->woken(l);
}

int loop_init(struct loop *l, struct err *err)
{
    memset(l, 0, sizeof(*l));
    for (size_t i = 0; i < LOOP_SLOTS; i++)
        list_init(&l->wheel[i]);
    l->now_ms = loop_clock_ms();
    l->tick = l->now_ms / LOOP_TICK_MS;
    l->bell = (struct loop_fd){.fd = -1, .ready = bell_rang};
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0)
        return err_set(err, -errno, "event loop: %s", strerror(errno));
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = fd < 0 ? -errno : loop_add(l, &l->bell, fd, EPOLLIN);
    if (r < 0) {
        loop_deinit(l);
        return err_set(err, r, "event loop: %s", strerror(-r));
    }
    return 0;
}

void loop_deinit(struct loop *l)
{
    if (l->bell.fd >= 0)
        close(l->bell.fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    l->bell.fd = l->epoll_fd = -1;
}

int loop_add(struct loop *l, struct loop_fd *f, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = f};
    f->fd = fd;
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0)
        return 0;
    f->fd = -1;
    return -errno;
}

int loop_change(struct loop *l, struct loop_fd *f, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = f};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, f->fd, &e) == 0 ? 0 : -errno;
}

void loop_forget(struct loop *l, struct loop_fd *f)
{
    f->fd = -1;
    // Events of this round that were taken already must not reach it any more.
    for (int i = l->event_at; i < l->events_n; i++)
        if (l->events[i].data.ptr == f)
            l->events[i].data.ptr = NULL;
}

void loop_del(struct loop *l, struct loop_fd *f)
{
    if (f->fd < 0)
        return;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, f->fd, NULL);
    loop_forget(l, f);
}

static void wheel_put(struct loop *l, struct loop_timer *t)
{
    uint64_t tick = t->at_ms / LOOP_TICK_MS + 1; // never early
    // A far timer waits in the last slot of the present turn and is put again from there.
    tick = MIN(MAX(tick, l->tick + 1), l->tick + LOOP_SLOTS - 1);
    size_t slot = tick % LOOP_SLOTS;
    t->queued_tick = tick;
    list_push_back(&l->wheel[slot], &t->node);
    l->busy[slot / 64] |= 1ull << slot % 64;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t at_ms)
{
    bool queued = t->node.next != NULL && !list_empty(&t->node);
    t->at_ms = at_ms;
    if (queued && t->queued_tick <= at_ms / LOOP_TICK_MS + 1)
        return; // served early, it is put again
    if (queued)
        list_remove(&t->node);
    wheel_put(l, t);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->node.next != NULL)
        list_remove(&t->node);
}

static void serve_slot(struct loop *l, size_t slot)
{
    struct list due;
    struct list *node;
    if ((l->busy[slot / 64] >> slot % 64 & 1) == 0)
        return;
    l->busy[slot / 64] &= ~(1ull << slot % 64);
    list_init(&due);
    while ((node = list_pop_front(&l->wheel[slot])) != NULL)
        list_push_back(&due, node);
    while ((node = list_pop_front(&due)) != NULL) {
        struct loop_timer *t = LIST_ENTRY(node, struct loop_timer, node);
        if (t->at_ms > l->now_ms)
            wheel_put(l, t);
        else
            t->fire(t);
    }
}

static void serve_timers(struct loop *l)
{
    uint64_t now = l->now_ms / LOOP_TICK_MS;
    // After a long sleep one turn serves every slot.
    if (now > l->tick + LOOP_SLOTS)
        l->tick = now - LOOP_SLOTS;
    while (l->tick < now) {
        l->tick++;
        serve_slot(l, l->tick % LOOP_SLOTS);
    }
}

// Milliseconds until the next busy slot; -1 when there is none.
static int wheel_wait(const struct loop *l)
{
    uint64_t first = l->tick + 1;
    for (uint64_t i = 0; i < LOOP_SLOTS;) {
        size_t slot = (first + i) % LOOP_SLOTS;
        uint64_t bits = l->busy[slot / 64] >> slot % 64;
        if (bits == 0) {
            i += 64 - slot % 64;
            continue;
        }
        uint64_t at = (first + i + (uint64_t)__builtin_ctzll(bits)) * LOOP_TICK_MS;
        return at > l->now_ms ? (int)(at - l->now_ms) : 0;
    }
    return -1;
}

void loop_round(struct loop *l, int max_ms)
{
    int wait = wheel_wait(l);
    if (wait < 0 || (max_ms >= 0 && max_ms < wait))
        wait = max_ms;
    int n = epoll_wait(l->epoll_fd, l->events, LOOP_BATCH, wait);
    l->now_ms = loop_clock_ms();
    l->events_n = MAX(n, 0);
    for (l->event_at = 0; l->event_at < l->events_n;) {
        struct epoll_event *e = &l->events[l->event_at++];
        struct loop_fd *f = e->data.ptr;
        if (f != NULL)
            f->ready(f, e->events);
    }
    l->events_n = l->event_at = 0;
    serve_timers(l);
}

void loop_run(struct loop *l)
{
    while (!l->stop)
        loop_round(l, -1);
}

void loop_wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t ignored = write(l->bell.fd, &one, sizeof(one));
    (void)ignored;
}
