// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What every file needs: attributes, assertion, cleanup, small arithmetic. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NONNULL    __attribute__((nonnull))
#define MUST_CHECK __attribute__((warn_unused_result))
#define NORETURN   __attribute__((noreturn))
#define PACKED     __attribute__((packed))
#define UNUSED     __attribute__((unused))
#define COLD       __attribute__((cold, noinline))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

// Undo at scope exit: CLEANUP(fd_closep) int fd = -1; hand over with TAKE.
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define TAKE(p)                                                                                    \
    ({                                                                                             \
        __auto_type take_value_ = (p);                                                             \
        (p) = (__typeof__(p)){0};                                                                  \
        take_value_;                                                                               \
    })

#define ARRAY_LEN(a)   (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                                                                                  \
    ({                                                                                             \
        __auto_type min_a_ = (a);                                                                  \
        __auto_type min_b_ = (b);                                                                  \
        min_a_ < min_b_ ? min_a_ : min_b_;                                                         \
    })
#define MAX(a, b)                                                                                  \
    ({                                                                                             \
        __auto_type max_a_ = (a);                                                                  \
        __auto_type max_b_ = (b);                                                                  \
        max_a_ > max_b_ ? max_a_ : max_b_;                                                         \
    })
// align must be a power of two.
#define ALIGN_DOWN(x, align) ((x) & ~((__typeof__(x))(align)-1))
#define ALIGN_UP(x, align)   ALIGN_DOWN((x) + ((__typeof__(x))(align)-1), align)
#define CONTAINER_OF(ptr, type, member)                                                            \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Our own bug stops the program, in release builds too. Never assert on input.
 * assert_failed is provided by the world we run in: base/assert_host.c or the kernel's panic. */
NORETURN COLD void assert_failed(const char *what, const char *file, int line);
#define ASSERT(x)                                                                                  \
    do {                                                                                           \
        if (UNLIKELY(!(x)))                                                                        \
            assert_failed(#x, __FILE__, __LINE__);                                                 \
    } while (0)
