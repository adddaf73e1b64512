// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The only way to user memory. Addresses are integers; every access is checked against the user
 * half and may fault: -EFAULT, with nothing promised about the part already copied. May sleep (a
 * page may have to be read from disk): never call with a spinlock held. */
#include "base/base.h"
#include "base/errno.h"

// Where the user half ends (Linux TASK_SIZE_MAX with four-level page tables).
#define USER_HALF_END 0x7ffffffff000ull

/* Whether [address, address + n) lies in the user half; says nothing about what is mapped there. */
static inline bool user_range_ok(uint64_t address, uint64_t n)
{
    return n <= USER_HALF_END && address <= USER_HALF_END - n;
}

MUST_CHECK int copy_from_user(void *to, uint64_t from_user, size_t n);
MUST_CHECK int copy_to_user(uint64_t to_user, const void *from, size_t n);
MUST_CHECK int clear_user(uint64_t to_user, size_t n);
/* Copies up to and including the NUL: length without it; -EFAULT; -ENAMETOOLONG when there is no
 * NUL within max bytes. */
MUST_CHECK int64_t strncpy_from_user(char *to, uint64_t from_user, size_t max);
/* As copy_*, but never sleeps: -EFAULT also when the page is not there. For use under spinlocks. */
MUST_CHECK int copy_from_user_atomic(void *to, uint64_t from_user, size_t n);
MUST_CHECK int copy_to_user_atomic(uint64_t to_user, const void *from, size_t n);
/* Compare-and-exchange on a user word: 0 with what was there in *expected (the exchange happened if
 * it equals what was passed in); -EFAULT. */
NONNULL MUST_CHECK int cmpxchg_user(uint64_t user, uint32_t *expected, uint32_t desired);
