// SPDX-License-Identifier: Apache-2.0
#include "lab/rtt.h"

#include "base/errno.h"
#include "base/mem.h"

static const struct {
    const char *a, *b;
    int us;
} table[] = {
#define X(city_a, city_b, rtt) {city_a, city_b, rtt},
#include "lab/rtt_table.h"
#undef X
};

int rtt_us(const char *city_a, const char *city_b)
{
    if (strcmp(city_a, city_b) == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if ((strcmp(table[i].a, city_a) == 0 && strcmp(table[i].b, city_b) == 0) ||
            (strcmp(table[i].a, city_b) == 0 && strcmp(table[i].b, city_a) == 0))
            return table[i].us;
    return -ENOENT;
}
