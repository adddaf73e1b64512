// SPDX-License-Identifier: Apache-2.0
#include "edge/state.h"

#include <string.h>

uint32_t shares_in_flight(const struct share *shares, unsigned n)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += RELAXED_LOAD(shares[i].in_flight);
    return sum;
}

struct snapshot *snapshot_take(struct edge_shared *sh)
{
    pthread_mutex_lock(&sh->publish_lock);
    struct snapshot *s = sh->published;
    if (s != NULL)
        __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&sh->publish_lock);
    return s;
}

void snapshot_drop(struct snapshot *s)
{
    unsigned before = __atomic_fetch_sub(&s->refs, 1, __ATOMIC_RELEASE);
    ASSERT(before > 0);
}

struct snap_service *snapshot_service(struct snapshot *s, const char *app, size_t app_len)
{
    unsigned low = 0, high = s->services_n;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        const char *name = s->services[mid].spec->app;
        int order = strncmp(name, app, app_len);
        if (order == 0 && name[app_len] == '\0')
            return &s->services[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}
