// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the control plane must not forget: named texts of a few kinds, changed in transactions. One
 * SQLite file in WAL mode; a commit that returned is on the disk, whatever kills us. */
#include "base/base.h"
#include "host/err.h"

struct store;

/* -EBUSY another process has it open; -EIO with SQLite's own words. */
NONNULL MUST_CHECK int store_open(const char *path, struct store **ret, struct err *err);
void store_close(struct store *s);

/* Changes outside a transaction are each their own. */
NONNULL MUST_CHECK int store_begin(struct store *s, struct err *err);
NONNULL MUST_CHECK int store_commit(struct store *s, struct err *err);
NONNULL void store_rollback(struct store *s);

NONNULL MUST_CHECK int store_put(struct store *s, const char *kind, const char *name,
                                 const char *value, struct err *err);
// Absent is fine.
NONNULL MUST_CHECK int store_delete(struct store *s, const char *kind, const char *name,
                                    struct err *err);
/* All of a kind in the order of their names; a negative return of each() ends it and is returned.
 */
__attribute__((nonnull(1, 2, 3, 5))) MUST_CHECK int
store_each(struct store *s, const char *kind,
           int (*each)(void *ctx, const char *name, const char *value, struct err *err), void *ctx,
           struct err *err);
