// SPDX-License-Identifier: Apache-2.0
#include "lab/link.h"

enum { NS_PER_S = 1000000000, PPM = 1000000 };

void link_init(struct link_state *s, uint64_t seed)
{
    // splitmix64 (Steele, Lea, Flood 2014): neighbouring seeds give unrelated streams.
    uint64_t z = seed + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    *s = (struct link_state){.random = (z ^ (z >> 31)) | 1};
}

// xorshift64* (Vigna 2016); the upper 32 bits are the good ones. Uniform in 0..n-1.
static uint64_t random_below(struct link_state *s, uint64_t n)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    uint64_t high = (s->random * 0x2545f4914f6cdd1d) >> 32;
    return (uint64_t)(((unsigned __int128)high * n) >> 32);
}

static uint64_t send_ns(uint64_t bytes, uint64_t rate_bps)
{
    return (uint64_t)((unsigned __int128)bytes * 8 * NS_PER_S / rate_bps);
}

uint64_t link_backlog(const struct link_state *s, const struct link_config *c, uint64_t now_ns)
{
    if (c->rate_bps == 0 || s->free_ns <= now_ns)
        return 0;
    return (uint64_t)((unsigned __int128)(s->free_ns - now_ns) * c->rate_bps / 8 / NS_PER_S);
}

enum link_fate link_enter(struct link_state *s, const struct link_config *c, uint64_t now_ns,
                          uint32_t bytes, uint64_t *ret_arrival_ns)
{
    if (c->cut || c->unplugged)
        return LINK_CUT;
    uint64_t sent = now_ns;
    if (c->rate_bps > 0) {
        // An idle link takes any packet, so that a small queue cannot block it for ever.
        uint64_t backlog = link_backlog(s, c, now_ns);
        if (backlog > 0 && backlog + bytes > c->queue_bytes)
            return LINK_QUEUE_FULL;
        sent = MAX(s->free_ns, now_ns) + send_ns(bytes, c->rate_bps);
        s->free_ns = sent;
    }
    if (c->loss_ppm > 0 && random_below(s, PPM) < c->loss_ppm)
        return LINK_LOST;
    uint64_t arrival = sent + c->delay_ns;
    if (c->jitter_ns > 0)
        arrival += random_below(s, c->jitter_ns + 1);
    if (!c->reorder)
        arrival = MAX(arrival, s->last_ns);
    s->last_ns = MAX(arrival, s->last_ns);
    *ret_arrival_ns = arrival;
    return LINK_ARRIVES;
}
