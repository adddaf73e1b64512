// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The only way to user memory. Addresses are integers; every access is checked against the user
 * half and may fault: -EFAULT, with nothing promised about the part already copied. May sleep (a
 * page may have to be read from disk): never call with a spinlock held. */
#include "base/base.h"
#include "base/errno.h"

MUST_CHECK int copy_from_user(void *to, uint64_t from_user, size_t n);
MUST_CHECK int copy_to_user(uint64_t to_user, const void *from, size_t n);
MUST_CHECK int clear_user(uint64_t to_user, size_t n);
/* Copies up to and including the NUL: length without it; -EFAULT; -ENAMETOOLONG when there is no
 * NUL within max bytes. */
MUST_CHECK int64_t strncpy_from_user(char *to, uint64_t from_user, size_t max);
/* As copy_*, but never sleeps: -EFAULT also when the page is not there. For use under spinlocks. */
MUST_CHECK int copy_from_user_atomic(void *to, uint64_t from_user, size_t n);
MUST_CHECK int copy_to_user_atomic(uint64_t to_user, const void *from, size_t n);
