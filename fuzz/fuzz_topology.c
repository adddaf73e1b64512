// SPDX-License-Identifier: Apache-2.0
/* A planet's YAML as any bytes: refused with a line, or good enough to plan addresses and routers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fuzz/yaml_leaks.h"
#include "lab/plan.h"
#include "lab/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan_all(const struct topology *t)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    ASSERT(f != NULL);
    for (unsigned i = 0; i < t->cities_len; i++)
        plan_bird_router(t, i, f);
    for (unsigned i = 0; i < t->pops_len; i++)
        plan_bird_pop(t, i, f);
    fclose(f);
    free(text);
    for (unsigned i = 0; i < t->links_len; i++) {
        struct plan_end a, b;
        plan_end(t, "sk", i, false, &a);
        plan_end(t, "sk", i, true, &b);
        ASSERT(a.addr == b.peer && a.peer == b.addr && a.dev[0] != '\0');
        ASSERT(topology_link(t, t->links[i].name) == (int)i);
        ASSERT(t->links[i].config.delay_ns <= LINK_DELAY_MAX_NS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct topology t;
    struct err e = {0};
    int r = topology_parse("t.yaml", (const char *)data, size, &t, &e);
    ASSERT(r == 0 || (r == e.code && strncmp(e.text, "t.yaml", 6) == 0));
    if (r == 0)
        plan_all(&t);
    return 0;
}
