// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Memory and string primitives, for code that runs in the kernel and on the host alike. On the host
 * they are libc's; in the kernel they come from kernel/arch. C17 7.24. */
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);

/* Freestanding, the compiler knows nothing of these names; told so, it makes a few moves of what is
 * small and of a known size (an address, a header) instead of a call. */
#if !__STDC_HOSTED__
#define MEM_INLINE_MAX      32u
#define MEM_IS_SMALL(n)     (__builtin_constant_p(n) && (size_t)(n) <= MEM_INLINE_MAX)
#define memcpy(to, from, n) (MEM_IS_SMALL(n) ? __builtin_memcpy(to, from, n) : memcpy(to, from, n))
#define memset(to, byte, n) (MEM_IS_SMALL(n) ? __builtin_memset(to, byte, n) : memset(to, byte, n))
#define memcmp(a, b, n)     (MEM_IS_SMALL(n) ? __builtin_memcmp(a, b, n) : memcmp(a, b, n))
#endif
