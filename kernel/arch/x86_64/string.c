// SPDX-License-Identifier: Apache-2.0
/* The kernel's memory and string primitives (base/mem.h). Whole words by `rep movsq/stosq`: fast on
 * hardware, and an emulator counts one step a word instead of one a byte. */
#include "base/base.h"
#include "base/mem.h"

void *(memcpy)(void *restrict to, const void *restrict from, size_t n)
{
    void *d = to;
    const void *s = from;
    size_t words = n / 8, rest = n % 8;
    __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(rest) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    if ((uintptr_t)to - (uintptr_t)from >= n)
        return memcpy(to, from, n);
    uint8_t *d = (uint8_t *)to + n - 1;
    const uint8_t *s = (const uint8_t *)from + n - 1;
    size_t rest = n % 8, words = n / 8;
    __asm__ volatile("std; rep movsb" : "+D"(d), "+S"(s), "+c"(rest) : : "memory");
    d -= 7;
    s -= 7;
    __asm__ volatile("rep movsq; cld" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
    return to;
}

void *(memset)(void *to, int byte, size_t n)
{
    void *d = to;
    uint64_t pattern = 0x0101010101010101ull * (uint8_t)byte;
    size_t words = n / 8, rest = n % 8;
    __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(pattern) : "memory");
    return to;
}

int (memcmp)(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

void *memchr(const void *s, int c, size_t n)
{
    const uint8_t *p = s;
    for (size_t i = 0; i < n; i++)
        if (p[i] == (uint8_t)c)
            return (void *)((uintptr_t)s + i);
    return NULL;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0')
        n++;
    return n;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;
    while (n < max && s[n] != '\0')
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] || a[i] == '\0')
            return (uint8_t)a[i] - (uint8_t)b[i];
    return 0;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)(uintptr_t)s;
        if (*s == '\0')
            return NULL;
    }
}

char *strrchr(const char *s, int c)
{
    const char *last = NULL;
    for (;; s++) {
        if (*s == (char)c)
            last = s;
        if (*s == '\0')
            return (char *)(uintptr_t)last;
    }
}

/* What gcc calls for __builtin_popcountll on a CPU without POPCNT. Its own libgcc is no choice: it
 * is compiled with a red zone. Hacker's Delight, 5-1. */
int __popcountdi2(int64_t value);
int __popcountdi2(int64_t value)
{
    uint64_t v = (uint64_t)value;
    v -= v >> 1 & 0x5555555555555555;
    v = (v & 0x3333333333333333) + (v >> 2 & 0x3333333333333333);
    v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (int)(v * 0x0101010101010101 >> 56);
}
