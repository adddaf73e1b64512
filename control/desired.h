// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What an agent is told: the whole desired state of its region (docs/protocols.md), and what it
 * keeps on disk so that it goes on without the controller and gives no address away twice. */
#include <jansson.h>

#include "base/base.h"
#include "control/spec.h"
#include "host/err.h"
#include "provider/provider.h"

struct wanted {
    char id[INSTANCE_ID_MAX];
    char digest[DIGEST_MAX];
    uint64_t memory_bytes;
    uint32_t cpus;
    uint16_t port;
    enum protocol protocol;
    struct health_spec health;
};

struct desired {
    uint64_t version;
    struct wanted *instances;
    uint32_t len;
};

/* -EINVAL: the line is not for this region, or not whole; *ret is then untouched. */
NONNULL MUST_CHECK int desired_parse(json_t *j, const char *region, struct desired *ret,
                                     struct err *err);
NONNULL void desired_deinit(struct desired *d);
NONNULL const struct wanted *desired_find(const struct desired *d, const char *id);

/* An IPv4 subnet whose addresses go to instances: from the 10th on, in turn, so that an address
 * rests as long as possible before it is given again. All in host byte order. */
struct subnet {
    uint32_t first, last; // addresses that may be given
    uint32_t next;        // where to look next
    uint32_t gateway;
    uint8_t prefix_len;
};

/* "10.80.2.0/24" and "10.80.2.1". */
NONNULL MUST_CHECK int subnet_parse(const char *subnet, const char *gateway, struct subnet *ret,
                                    struct err *err);
/* The next address that is_taken() does not know; 0: all are taken. */
uint32_t subnet_take(struct subnet *s, bool (*is_taken)(const void *ctx, uint32_t address),
                     const void *ctx);
NONNULL void address_text(uint32_t address, char ret[static ADDRESS_MAX]);
/* 0 when text is no address. */
NONNULL uint32_t address_of(const char *text);
