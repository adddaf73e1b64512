// SPDX-License-Identifier: Apache-2.0
#include "control/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

struct store {
    sqlite3 *db;
    sqlite3_stmt *put, *delete, *each;
};

static int fail(struct store *s, struct err *err)
{
    int code = sqlite3_errcode(s->db) == SQLITE_BUSY ? -EBUSY : -EIO;
    return err_set(err, code, "store '%s': %s", sqlite3_db_filename(s->db, "main"),
                   sqlite3_errmsg(s->db));
}

static int exec(struct store *s, const char *sql, struct err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, err);
}

static int prepare(struct store *s, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    int r = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
    return r == SQLITE_OK ? 0 : fail(s, err);
}

// One process at a time: the lock is taken by the first write and kept until the file is closed.
static const char setup[] =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"
    "CREATE TABLE IF NOT EXISTS items (kind TEXT NOT NULL, name TEXT NOT NULL,"
    "  value TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;"
    "BEGIN IMMEDIATE; COMMIT;"
    "PRAGMA user_version = 1;";

int store_open(const char *path, struct store **ret, struct err *err)
{
    struct store *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    int r = 0;
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
        SQLITE_OK)
        r = err_set(err, -EIO, "store '%s': %s", path, sqlite3_errmsg(s->db));
    if (r == 0)
        r = exec(s, setup, err);
    if (r == 0)
        r = prepare(s, "INSERT OR REPLACE INTO items VALUES (?1, ?2, ?3)", &s->put, err);
    if (r == 0)
        r = prepare(s, "DELETE FROM items WHERE kind = ?1 AND name = ?2", &s->delete, err);
    if (r == 0)
        r = prepare(s, "SELECT name, value FROM items WHERE kind = ?1 ORDER BY name", &s->each,
                    err);
    if (r == -EBUSY)
        r = err_set(err, r, "store '%s' is in use by another controller", path);
    if (r < 0)
        store_close(s);
    else
        *ret = s;
    return r;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    sqlite3_finalize(s->put);
    sqlite3_finalize(s->delete);
    sqlite3_finalize(s->each);
    sqlite3_close(s->db);
    free(s);
}

int store_begin(struct store *s, struct err *err)
{
    return exec(s, "BEGIN IMMEDIATE", err);
}

int store_commit(struct store *s, struct err *err)
{
    return exec(s, "COMMIT", err);
}

void store_rollback(struct store *s)
{
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static int run(struct store *s, sqlite3_stmt *q, const char *const *values, int values_len,
               struct err *err)
{
    int r = SQLITE_OK;
    for (int i = 0; i < values_len && r == SQLITE_OK; i++)
        r = sqlite3_bind_text(q, i + 1, values[i], -1, SQLITE_STATIC);
    if (r == SQLITE_OK)
        r = sqlite3_step(q);
    int code = r == SQLITE_DONE ? 0 : fail(s, err);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return code;
}

int store_put(struct store *s, const char *kind, const char *name, const char *value,
              struct err *err)
{
    return run(s, s->put, (const char *const[]){kind, name, value}, 3, err);
}

int store_delete(struct store *s, const char *kind, const char *name, struct err *err)
{
    return run(s, s->delete, (const char *const[]){kind, name}, 2, err);
}

int store_each(struct store *s, const char *kind,
               int (*each)(void *ctx, const char *name, const char *value, struct err *err),
               void *ctx, struct err *err)
{
    int r = 0, step = SQLITE_DONE;
    if (sqlite3_bind_text(s->each, 1, kind, -1, SQLITE_STATIC) != SQLITE_OK)
        return fail(s, err);
    while (r == 0 && (step = sqlite3_step(s->each)) == SQLITE_ROW)
        r = each(ctx, (const char *)sqlite3_column_text(s->each, 0),
                 (const char *)sqlite3_column_text(s->each, 1), err);
    if (r == 0 && step != SQLITE_DONE)
        r = fail(s, err);
    sqlite3_reset(s->each);
    sqlite3_clear_bindings(s->each);
    return r;
}
