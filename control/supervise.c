// SPDX-License-Identifier: Apache-2.0
#include "control/supervise.h"

enum { WAIT_MAX_MS = 1000 };

void supervise_init(struct supervised *s, uint64_t now_ms)
{
    *s = (struct supervised){.wanted = true, .unhealthy_ms = now_ms, .retry_ms = now_ms};
}

void supervise_unwant(struct supervised *s)
{
    s->wanted = false;
}

void supervise_started(struct supervised *s, uint64_t now_ms)
{
    s->running = true;
    s->was_healthy = s->healthy = s->kill_said = false;
    s->checks_failed = 0;
    s->run_ms = now_ms;
}

static void lose_health(struct supervised *s, uint64_t now_ms)
{
    if (!s->healthy)
        return;
    s->healthy = false;
    s->unhealthy_ms = now_ms;
    if (now_ms - s->healthy_ms >= SUPERVISE_CALM_MS)
        s->failures = 0;
}

static uint32_t backoff_ms(uint32_t failures)
{
    uint32_t wait = SUPERVISE_RETRY_MIN_MS;
    for (uint32_t i = 1; i < failures && wait < SUPERVISE_RETRY_MAX_MS; i++)
        wait *= 2;
    return MIN(wait, (uint32_t)SUPERVISE_RETRY_MAX_MS);
}

void supervise_ended(struct supervised *s, uint64_t now_ms)
{
    lose_health(s, now_ms);
    s->running = false;
    s->failures++;
    s->restarts++;
    s->retry_ms = now_ms + backoff_ms(s->failures);
}

void supervise_checked(struct supervised *s, bool ok, uint64_t now_ms)
{
    if (!s->running)
        return;
    s->checks_failed = ok ? 0 : s->checks_failed + 1;
    if (ok && !s->healthy) {
        s->healthy = s->was_healthy = true;
        s->healthy_ms = now_ms;
    } else if (s->checks_failed >= SUPERVISE_FALL) {
        lose_health(s, now_ms);
    }
    if (s->healthy && now_ms - s->healthy_ms >= SUPERVISE_CALM_MS)
        s->failures = 0;
}

// When a run that does not answer is to be killed.
static uint64_t patience_ends(const struct supervised *s)
{
    return s->was_healthy ? s->unhealthy_ms + SUPERVISE_HUNG_MS : s->run_ms + SUPERVISE_BOOT_MS;
}

enum supervise_step supervise_step(struct supervised *s, uint64_t now_ms)
{
    if (!s->wanted && !s->running)
        return SUPERVISE_REMOVE;
    if (!s->wanted && !s->stop_said) {
        s->stop_said = true;
        return SUPERVISE_STOP;
    }
    if (!s->wanted)
        return SUPERVISE_NOTHING;
    if (!s->running)
        return now_ms >= s->retry_ms ? SUPERVISE_START : SUPERVISE_NOTHING;
    if (!s->healthy && !s->kill_said && now_ms >= patience_ends(s)) {
        s->kill_said = true;
        return SUPERVISE_KILL;
    }
    return SUPERVISE_NOTHING;
}

uint32_t supervise_wait_ms(const struct supervised *s, uint64_t now_ms)
{
    uint64_t at = s->running ? patience_ends(s) : s->retry_ms;
    if (!s->wanted || (s->running && (s->healthy || s->kill_said)))
        return WAIT_MAX_MS;
    return at <= now_ms ? 0 : (uint32_t)MIN(at - now_ms, (uint64_t)WAIT_MAX_MS);
}

uint32_t supervise_unhealthy_ms(const struct supervised *s, uint64_t now_ms)
{
    if (s->healthy || now_ms <= s->unhealthy_ms)
        return 0;
    return (uint32_t)MIN(now_ms - s->unhealthy_ms, (uint64_t)UINT32_MAX);
}
