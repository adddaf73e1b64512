// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The dynamic loader's cache, /etc/ld.so.cache, in the form "glibc-ld.so.cache1.1" (glibc 2.36
 * sysdeps/generic/dl-cache.h), alone or behind the older form. Every offset of it is checked. */
#include "base/base.h"
#include "base/errno.h"

/* Path of the library of that name for x86-64, the entry for every processor before those for
 * some; NULL: not in it, or no cache. Borrowed from the bytes, which end with a NUL. */
NONNULL const char *ldcache_find(const void *data, size_t len, const char *name);
