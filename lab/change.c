// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "host/fd.h"
#include "lab/lab.h"

// Mark the links that `what` names; how many there are.
static unsigned select_links(const struct topology *t, const char *what, bool *ret)
{
    static const char suffix[] = "-pop";
    size_t len = strlen(what);
    char city[CITY_NAME_MAX] = "";
    unsigned n = 0;
    if (len > sizeof(suffix) - 1 && len - (sizeof(suffix) - 1) < sizeof(city) &&
        strcmp(what + len - (sizeof(suffix) - 1), suffix) == 0)
        memcpy(city, what, len - (sizeof(suffix) - 1));
    int link = topology_link(t, what), router = topology_city(t, what);
    int pop = topology_pop(t, city);
    for (unsigned i = 0; i < t->links_len; i++) {
        const struct link *l = &t->links[i];
        ret[i] = (link >= 0 && i == (unsigned)link) ||
                 (router >= 0 && link_touches_city(l, (unsigned)router)) ||
                 (pop >= 0 && link_touches_pop(l, (unsigned)pop));
        n += ret[i];
    }
    return n;
}

static int change_one(int wan, unsigned i, lab_change_fn *change, void *context, struct err *err)
{
    struct wan_request q = {.verb = WAN_READ, .link = i};
    struct wan_answer a;
    int r = wan_ask(wan, &q, &a, err);
    if (r == 0)
        r = change(&a.config, context, err);
    q.verb = WAN_SET;
    q.config = a.config;
    return r < 0 ? r : wan_ask(wan, &q, &a, err);
}

int lab_change(const struct lab *lab, const char *what, lab_change_fn *change, void *context,
               struct err *err)
{
    static struct topology topo; // too large for a stack
    bool chosen[LINKS_MAX];
    char path[LAB_PATH_MAX];
    int r = lab_topology(lab, &topo, err);
    if (r < 0)
        return r;
    if (select_links(&topo, what, chosen) == 0)
        return err_set(err, -ENOENT, "no link, POP or city '%s' ('skerry lab status' lists them)",
                       what);
    lab_path(lab, "wan.sock", path);
    CLEANUP(fd_closep) int wan = wan_connect(path, err);
    r = wan < 0 ? wan : 0;
    for (unsigned i = 0; r == 0 && i < topo.links_len; i++)
        if (chosen[i])
            r = change_one(wan, i, change, context, err);
    return r;
}

int lab_change_cut(struct link_config *config, void *context, UNUSED struct err *err)
{
    const struct lab_cut *how = context;
    config->cut = how->cut && !how->visible;
    config->unplugged = how->cut && how->visible;
    return 0;
}

int lab_link_state(const struct lab *lab, struct topology *t, struct wan_answer *ret,
                   struct err *err)
{
    char path[LAB_PATH_MAX];
    lab_path(lab, "wan.sock", path);
    CLEANUP(fd_closep) int wan = wan_connect(path, err);
    int r = wan < 0 ? wan : 0;
    for (unsigned i = 0; r == 0 && i < t->links_len; i++) {
        struct wan_request q = {.verb = WAN_READ, .link = i};
        struct wan_answer a;
        r = wan_ask(wan, &q, &a, err);
        if (r < 0)
            break;
        t->links[i].config = a.config;
        if (ret != NULL)
            ret[i] = a;
    }
    return r;
}
