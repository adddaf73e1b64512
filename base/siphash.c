// SPDX-License-Identifier: Apache-2.0
#include "base/siphash.h"

#include "base/mem.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

ALWAYS_INLINE uint64_t rotl(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

ALWAYS_INLINE void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

ALWAYS_INLINE struct sip sip_start(const struct siphash_key *key)
{
    return (struct sip){
        .v0 = key->k0 ^ 0x736f6d6570736575,
        .v1 = key->k1 ^ 0x646f72616e646f6d,
        .v2 = key->k0 ^ 0x6c7967656e657261,
        .v3 = key->k1 ^ 0x7465646279746573,
    };
}

ALWAYS_INLINE void sip_word(struct sip *s, uint64_t word, int rounds)
{
    s->v3 ^= word;
    for (int i = 0; i < rounds; i++)
        sip_round(s);
    s->v0 ^= word;
}

ALWAYS_INLINE uint64_t sip_finish(struct sip *s, int rounds)
{
    s->v2 ^= 0xff;
    for (int i = 0; i < rounds; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t siphash(const struct siphash_key *key, const void *data, size_t len)
{
    struct sip s = sip_start(key);
    const uint8_t *p = data;
    uint64_t word;
    for (size_t left = len; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        sip_word(&s, word, 2);
    }
    word = (uint64_t)len << 56;
    for (size_t i = 0; i < (len & 7); i++)
        word |= (uint64_t)p[i] << (8 * i);
    sip_word(&s, word, 2);
    return sip_finish(&s, 4);
}

uint64_t siphash_fast(const struct siphash_key *key, uint64_t a, uint64_t b)
{
    struct sip s = sip_start(key);
    sip_word(&s, a, 1);
    sip_word(&s, b, 1);
    sip_word(&s, (uint64_t)16 << 56, 1);
    return sip_finish(&s, 3);
}
