// SPDX-License-Identifier: Apache-2.0
#include "control/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct lines {
    struct plan_line *at;
    unsigned n;
};

PRINTF_LIKE(3, 4) static void add(struct lines *l, char sign, const char *format, ...)
{
    ASSERT(l->n < PLAN_LINES_MAX);
    struct plan_line *line = &l->at[l->n++];
    va_list args;
    va_start(args, format);
    vsnprintf(line->text, sizeof(line->text), format, args);
    va_end(args);
    line->sign = sign;
}

static const char *plural(uint32_t n)
{
    return n == 1 ? "instance" : "instances";
}

static const char *protocol_name(const struct app_spec *s)
{
    return s->protocol == PROTOCOL_TCP ? "tcp" : "http";
}

static uint64_t mib(const struct app_spec *s)
{
    return s->memory_bytes >> 20;
}

// "sha256:" and as much as tells digests apart.
static const char *short_digest(const struct app_spec *s, char ret[static 24])
{
    snprintf(ret, 24, "%.19s", s->digest);
    return ret;
}

static void compare_regions(struct lines *l, const struct app_spec *have,
                            const struct app_spec *want)
{
    for (uint32_t i = 0; i < want->regions_len; i++) {
        const struct region_spec *w = &want->regions[i];
        const struct region_spec *h = have == NULL ? NULL : spec_region(have, w->name);
        if (h == NULL)
            add(l, '+', "region %s: %u %s", w->name, w->count, plural(w->count));
        else if (h->count != w->count)
            add(l, '~', "region %s: %u -> %u %s", w->name, h->count, w->count, plural(w->count));
    }
    for (uint32_t i = 0; have != NULL && i < have->regions_len; i++) {
        const struct region_spec *h = &have->regions[i];
        if (spec_region(want, h->name) == NULL)
            add(l, '-', "region %s: %u %s", h->name, h->count, plural(h->count));
    }
}

static void compare_instances(struct lines *l, const struct app_spec *have,
                              const struct app_spec *want)
{
    char a[24], b[24];
    if (strcmp(have->digest, want->digest) != 0)
        add(l, '~', "image %s -> %s", short_digest(have, a), short_digest(want, b));
    if (have->memory_bytes != want->memory_bytes)
        add(l, '~', "instance memory %lluM -> %lluM", (unsigned long long)mib(have),
            (unsigned long long)mib(want));
    if (have->cpus != want->cpus)
        add(l, '~', "instance cpus %u -> %u", have->cpus, want->cpus);
    if (have->instance_port != want->instance_port)
        add(l, '~', "instance port %u -> %u", have->instance_port, want->instance_port);
}

static void compare_service(struct lines *l, const struct app_spec *have,
                            const struct app_spec *want)
{
    const struct health_spec *h = &have->health, *w = &want->health;
    if (have->protocol != want->protocol || have->port != want->port ||
        strcmp(have->address, want->address) != 0)
        add(l, '~', "service %s %s:%u -> %s %s:%u", protocol_name(have), have->address, have->port,
            protocol_name(want), want->address, want->port);
    if (strcmp(h->path, w->path) != 0 || h->interval_ms != w->interval_ms ||
        h->timeout_ms != w->timeout_ms)
        add(l, '~', "health %.60s every %u ms within %u ms -> %.60s every %u ms within %u ms",
            h->path, h->interval_ms, h->timeout_ms, w->path, w->interval_ms, w->timeout_ms);
    if (have->surge != want->surge || have->unavailable != want->unavailable ||
        have->timeout_ms != want->timeout_ms)
        add(l, '~', "rollout surge %u unavailable %u timeout %u ms -> %u, %u, %u ms", have->surge,
            have->unavailable, have->timeout_ms, want->surge, want->unavailable, want->timeout_ms);
}

unsigned plan_compare(const struct app_spec *have, const struct app_spec *want,
                      struct plan_line ret[static PLAN_LINES_MAX])
{
    struct lines l = {.at = ret};
    char digest[24];
    if (have == NULL) {
        add(&l, '+', "app %s: %s %s:%u", want->app, protocol_name(want), want->address, want->port);
        add(&l, '+', "image %s, %lluM of memory, port %u", short_digest(want, digest),
            (unsigned long long)mib(want), want->instance_port);
    } else {
        compare_instances(&l, have, want);
        compare_service(&l, have, want);
    }
    compare_regions(&l, have, want);
    return l.n;
}
