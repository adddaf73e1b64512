// SPDX-License-Identifier: Apache-2.0
#include "edge/health.h"

bool health_checked(struct health *h, bool ok, uint32_t rise, uint32_t fall)
{
    bool before = h->healthy;
    h->good = ok ? h->good + 1 : 0;
    h->bad = ok ? 0 : h->bad + 1;
    if (ok && (!h->ever || h->good >= rise))
        h->healthy = true;
    if (h->bad >= fall)
        h->healthy = false;
    h->ever |= ok;
    return h->healthy != before;
}

bool health_doubted(struct health *h)
{
    bool before = h->healthy;
    h->healthy = false;
    h->good = 0;
    return before;
}

uint32_t health_interval(const struct health *h, uint32_t interval_ms)
{
    if (!h->ever)
        return MIN(interval_ms, (uint32_t)HEALTH_FIRST_MS);
    bool agree = h->healthy ? h->bad == 0 : h->good == 0;
    return agree ? interval_ms : MIN(interval_ms, (uint32_t)HEALTH_SUSPECT_MS);
}
