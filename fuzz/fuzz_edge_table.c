// SPDX-License-Identifier: Apache-2.0
/* Edge tables as a broken controller might send them. */
#include "edge/table.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct table *t = NULL;
    struct err e = {0};
    if (table_load((const char *)data, size, &t, &e) < 0) {
        ASSERT(t == NULL && e.text[0] != '\0');
        return 0;
    }
    for (unsigned i = 0; i < t->services_n; i++)
        ASSERT(t->services[i].app[0] != '\0' && t->services[i].address.len > 0 &&
               t->services[i].health.interval_ms >= 50);
    table_free(t);
    return 0;
}
