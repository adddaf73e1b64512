// SPDX-License-Identifier: Apache-2.0
#include "net/wire.h"

uint64_t csum_add(const void *data, size_t len, uint64_t sum)
{
    const uint8_t *p = data;
    // 32-bit words into 64 bits: no carry is lost before 2^32 words. Two chains run in parallel.
    uint64_t odd = 0;
    for (; len >= 16; len -= 16, p += 16) {
        uint64_t a, b;
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        sum += (a & 0xffffffff) + (a >> 32);
        odd += (b & 0xffffffff) + (b >> 32);
    }
    sum += odd;
    for (; len >= 4; len -= 4, p += 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        sum += word;
    }
    if (len >= 2) {
        uint16_t half;
        memcpy(&half, p, 2);
        sum += half;
        len -= 2;
        p += 2;
    }
    if (len > 0)
        sum += *p;
    return sum;
}
