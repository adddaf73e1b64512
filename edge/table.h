// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The edge table as the controller sends it (docs/protocols.md): decoded, checked, immutable. */
#include "edge/addr.h"
#include "host/err.h"

enum {
    TABLE_NAME_MAX = 64, // bytes of a name with its NUL
    TABLE_PATH_MAX = 256,
    TABLE_SERVICES_MAX = 1024,
    TABLE_INSTANCES_MAX = 4096, // of one service
    TABLE_POPS_MAX = 256,
    TABLE_CAPACITY_DEFAULT = 256,
};

enum table_protocol { TABLE_HTTP, TABLE_TCP };

struct table_health {
    char path[TABLE_PATH_MAX]; // empty, or protocol tcp: a TCP connect is the check
    uint32_t interval_ms, timeout_ms;
    uint32_t rise, fall; // checks in a row that change the verdict
};

struct table_instance {
    char id[TABLE_NAME_MAX], region[TABLE_NAME_MAX];
    struct addr address;
    bool serving; // false: draining
    uint32_t capacity;
};

struct table_service {
    char app[TABLE_NAME_MAX];
    enum table_protocol protocol;
    struct addr address;
    struct table_health health;
    unsigned instances_n;
    struct table_instance *instances;
};

struct table_pop {
    char name[TABLE_NAME_MAX], region[TABLE_NAME_MAX];
    struct addr backbone;
};

struct table {
    uint64_t version;
    unsigned services_n, pops_n;
    struct table_service *services;
    struct table_pop *pops;
};

/* Decode one line of the watch. 0, or a negative errno with err naming the member at fault. */
NONNULL MUST_CHECK int table_load(const char *json, size_t len, struct table **ret,
                                  struct err *err);
void table_free(struct table *t);
void table_freep(struct table **t);
