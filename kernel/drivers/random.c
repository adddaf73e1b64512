// SPDX-License-Identifier: Apache-2.0
/* One generator for all: ChaCha20 whose key is replaced by its own first output at every refill, so
 * that what was given out cannot be computed back from the state. */
#include <cpuid.h>

#include "base/mem.h"
#include "kernel/drivers/chacha.h"
#include "kernel/drivers/random.h"
#include "kernel/sched/lock.h"

enum { POOL_BLOCKS = 4, POOL_BYTES = POOL_BLOCKS * CHACHA_BLOCK_BYTES, KEY_BYTES = 32 };
enum { SMALL_MAX = 64, RDRAND_TRIES = 10 };

static struct spinlock random_lock; // taken in any context: with interrupts off
// Protected by random_lock.
static uint32_t random_key[CHACHA_KEY_WORDS];
static uint8_t random_pool[POOL_BYTES];
static size_t random_left; // bytes at the pool's end not given out yet
static bool random_seeded;

static const uint32_t nonce_refill[3] = {0}, nonce_mix[3] = {1}, nonce_stream[3] = {2};

static void refill(void)
{
    for (uint32_t i = 0; i < POOL_BLOCKS; i++)
        chacha_block(random_key, i, nonce_refill, &random_pool[i * CHACHA_BLOCK_BYTES]);
    memcpy(random_key, random_pool, KEY_BYTES);
    memset(random_pool, 0, KEY_BYTES);
    random_left = POOL_BYTES - KEY_BYTES;
}

/* XOR into the key, then one way on: what is known of the new bytes tells nothing about the key. */
static void mix(const uint8_t *data, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, (size_t)KEY_BYTES);
        uint8_t key[KEY_BYTES], block[CHACHA_BLOCK_BYTES];
        memcpy(key, random_key, KEY_BYTES);
        for (size_t i = 0; i < part; i++)
            key[i] ^= data[i];
        memcpy(random_key, key, KEY_BYTES);
        chacha_block(random_key, 0, nonce_mix, block);
        memcpy(random_key, block, KEY_BYTES);
        data += part;
        n -= part;
    }
    random_left = 0;
}

static bool hardware_u64(uint64_t *ret)
{
    unsigned a, b, c, d;
    bool seed = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 18);
    bool rand = __get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 30);
    uint8_t ok = 0;
    for (int i = 0; i < RDRAND_TRIES && seed && !ok; i++)
        __asm__ volatile("rdseed %0; setc %1" : "=r"(*ret), "=qm"(ok) : : "cc");
    for (int i = 0; i < RDRAND_TRIES && rand && !ok; i++)
        __asm__ volatile("rdrand %0; setc %1" : "=r"(*ret), "=qm"(ok) : : "cc");
    return ok != 0;
}

static void seed(void)
{
    uint64_t v[CHACHA_KEY_WORDS + 1];
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        uint64_t hw = 0;
        if (!hardware_u64(&hw))
            hw = 0; // the clock below and the drivers' additions must do
        v[i] = hw ^ __builtin_ia32_rdtsc();
    }
    random_seeded = true;
    mix((const uint8_t *)v, sizeof(v));
}

/* Up to the pool's size, from the pool. */
static void take(uint8_t *to, size_t n)
{
    if (!random_seeded)
        seed();
    while (n > 0) {
        if (random_left == 0)
            refill();
        size_t part = MIN(n, random_left);
        uint8_t *from = &random_pool[POOL_BYTES - random_left];
        memcpy(to, from, part);
        memset(from, 0, part);
        random_left -= part;
        to += part;
        n -= part;
    }
}

void random_bytes(void *to, size_t n)
{
    uint32_t key[CHACHA_KEY_WORDS];
    uint8_t *p = to;
    bool small = n <= SMALL_MAX;
    uint64_t flags = spin_lock_irqsave(&random_lock);
    if (small)
        take(to, n);
    else
        take((uint8_t *)key, sizeof(key));
    spin_unlock_irqrestore(&random_lock, flags);
    if (small)
        return;
    // A large request has a stream of its own, computed without the lock.
    for (uint32_t i = 0; n > 0; i++) {
        uint8_t block[CHACHA_BLOCK_BYTES];
        size_t part = MIN(n, sizeof(block));
        chacha_block(key, i, nonce_stream, block);
        memcpy(p, block, part);
        p += part;
        n -= part;
    }
}

void random_add(const void *data, size_t n)
{
    uint64_t flags = spin_lock_irqsave(&random_lock);
    if (!random_seeded)
        seed();
    mix(data, n);
    spin_unlock_irqrestore(&random_lock, flags);
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_bytes(&v, sizeof(v));
    return v;
}
