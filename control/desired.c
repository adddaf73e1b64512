// SPDX-License-Identifier: Apache-2.0
#include "control/desired.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/json.h"

enum { SKIP_FIRST = 10 }; // of a subnet: left to the gateway and to people

void desired_deinit(struct desired *d)
{
    free(d->instances);
    *d = (struct desired){0};
}

const struct wanted *desired_find(const struct desired *d, const char *id)
{
    for (uint32_t i = 0; i < d->len; i++)
        if (strcmp(d->instances[i].id, id) == 0)
            return &d->instances[i];
    return NULL;
}

static int get_u32(const struct jview *v, const char *key, uint64_t min, uint64_t max,
                   uint32_t *ret, struct err *err)
{
    uint64_t n = 0;
    int r = jview_uint(v, key, JVIEW_REQUIRED, min, max, &n, err);
    *ret = (uint32_t)n;
    return r;
}

static int parse_health(const struct jview *instance, struct wanted *w, struct err *err)
{
    struct jview v;
    const char *path = "/", *protocol = "http";
    int r = jview_object(instance, "health", JVIEW_REQUIRED, &v, err);
    if (r == 0)
        r = jview_string(&v, "protocol", JVIEW_REQUIRED, &protocol, err);
    if (r == 0)
        r = jview_string(&v, "path", JVIEW_OPTIONAL, &path, err);
    if (r == 0)
        r = get_u32(&v, "interval_ms", 1, 3600000, &w->health.interval_ms, err);
    if (r == 0)
        r = get_u32(&v, "timeout_ms", 1, 3600000, &w->health.timeout_ms, err);
    if (r == 0 && (path[0] != '/' || strlen(path) >= HEALTH_PATH_MAX))
        r = jview_err(&v, err, -EINVAL, "not a path");
    if (r < 0)
        return r;
    w->protocol = strcmp(protocol, "tcp") == 0 ? PROTOCOL_TCP : PROTOCOL_HTTP;
    snprintf(w->health.path, sizeof(w->health.path), "%s", path);
    return 0;
}

static int parse_wanted(const struct jview *v, struct wanted *w, struct err *err)
{
    const char *id = "", *digest = "";
    uint32_t port = 0;
    int r = jview_as_object(v, err);
    if (r == 0)
        r = jview_string(v, "id", JVIEW_REQUIRED, &id, err);
    if (r == 0)
        r = jview_string(v, "image", JVIEW_REQUIRED, &digest, err);
    if (r == 0 && !name_is_valid(id, INSTANCE_ID_MAX))
        r = jview_err(v, err, -EINVAL, "'%.80s' is no valid id", id);
    if (r == 0 && !digest_is_valid(digest))
        r = jview_err(v, err, -EINVAL, "'%.80s' is no digest", digest);
    if (r == 0)
        r = jview_uint(v, "memory", JVIEW_REQUIRED, INSTANCE_MEMORY_MIN, INSTANCE_MEMORY_MAX,
                       &w->memory_bytes, err);
    if (r == 0)
        r = get_u32(v, "cpus", 1, INSTANCE_CPUS_MAX, &w->cpus, err);
    if (r == 0)
        r = get_u32(v, "port", 1, 65535, &port, err);
    if (r < 0)
        return r;
    w->port = (uint16_t)port;
    snprintf(w->id, sizeof(w->id), "%s", id);
    snprintf(w->digest, sizeof(w->digest), "%s", digest);
    return parse_health(v, w, err);
}

int desired_parse(json_t *j, const char *region, struct desired *ret, struct err *err)
{
    CLEANUP(desired_deinit) struct desired d = {0};
    struct jview top = jview_of("desired state", j), list;
    const char *name = "";
    int r = jview_as_object(&top, err);
    if (r == 0)
        r = jview_uint(&top, "version", JVIEW_REQUIRED, 0, INT64_MAX, &d.version, err);
    if (r == 0)
        r = jview_string(&top, "region", JVIEW_REQUIRED, &name, err);
    if (r == 0 && strcmp(name, region) != 0)
        r = jview_err(&top, err, -EINVAL, "it is for region '%.40s'", name);
    if (r == 0)
        r = jview_array(&top, "instances", JVIEW_REQUIRED, &list, err);
    if (r == 0 && jview_count(&list) > INSTANCES_MAX)
        r = jview_err(&list, err, -EINVAL, "more than %d instances", INSTANCES_MAX);
    if (r < 0)
        return r;
    d.len = (uint32_t)jview_count(&list);
    d.instances = calloc(MAX(d.len, 1u), sizeof(*d.instances));
    if (d.instances == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < d.len && r == 0; i++) {
        struct jview item = jview_item(&list, i);
        r = parse_wanted(&item, &d.instances[i], err);
    }
    if (r == 0)
        *ret = TAKE(d);
    return r;
}

uint32_t address_of(const char *text)
{
    struct in_addr a;
    return inet_pton(AF_INET, text, &a) == 1 ? ntohl(a.s_addr) : 0;
}

void address_text(uint32_t address, char ret[static ADDRESS_MAX])
{
    snprintf(ret, ADDRESS_MAX, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
             address >> 8 & 255, address & 255);
}

int subnet_parse(const char *subnet, const char *gateway, struct subnet *ret, struct err *err)
{
    char base[ADDRESS_MAX], *end = NULL;
    const char *slash = strchr(subnet, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - subnet);
    long bits = slash == NULL ? 0 : strtol(slash + 1, &end, 10);
    if (slash == NULL || len >= sizeof(base) || end == slash + 1 || *end != '\0' || bits < 8 ||
        bits > 27)
        return err_set(err, -EINVAL, "subnet '%.40s' must be as 10.80.2.0/24 (/8 to /27)", subnet);
    memcpy(base, subnet, len);
    base[len] = '\0';
    uint32_t mask = ~0u << (32 - bits), network = address_of(base);
    if (network == 0 || (network & ~mask) != 0)
        return err_set(err, -EINVAL, "subnet '%.40s': '%s' is not the first address of it", subnet,
                       base);
    *ret = (struct subnet){.first = network + SKIP_FIRST,
                           .last = (network | ~mask) - 1,
                           .next = network + SKIP_FIRST,
                           .gateway = address_of(gateway),
                           .prefix_len = (uint8_t)bits};
    if (ret->gateway == 0 || (ret->gateway & mask) != network)
        return err_set(err, -EINVAL, "gateway '%.40s' is not in subnet '%s'", gateway, subnet);
    return 0;
}

uint32_t subnet_take(struct subnet *s, bool (*is_taken)(const void *ctx, uint32_t address),
                     const void *ctx)
{
    for (uint32_t tries = s->last - s->first + 1; tries > 0; tries--) {
        uint32_t address = s->next;
        s->next = s->next == s->last ? s->first : s->next + 1;
        if (address != s->gateway && !is_taken(ctx, address))
            return address;
    }
    return 0;
}
