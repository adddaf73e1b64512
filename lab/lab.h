// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The planet on one machine, as `skerry lab` drives it (skerry-lab(1)). One machine may hold
 * several labs, told apart by name. A lab is found again by what it is made of, never by a list it
 * keeps:
 *
 *     namespaces   those whose name starts with "NAME-"
 *     processes    those in these namespaces, and those whose stdout or stderr is a file in DIR/log
 *     files        DIR: topology.yaml, processes.json, wan.sock, bird/, log/
 *
 * so that lab_down leaves nothing whoever was killed, when. */
#include <stdio.h>

#include "base/base.h"
#include "host/err.h"
#include "lab/fetch.h"
#include "lab/link.h"
#include "lab/plan.h"
#include "lab/topology.h"
#include "lab/wan.h"

enum { LAB_PATH_MAX = 96 }; // bytes with NUL

struct lab {
    char name[LAB_NAME_MAX];
    char dir[LAB_PATH_MAX];     // "/run/skerry/lab", or "/run/skerry/lab-NAME"
    char control[LAB_PATH_MAX]; // socket of the controller: in /run/skerry, or in dir
};

/* NULL: what SKERRY_LAB says, or "sk", the default lab. -EINVAL: not a name (1 to 11 of a-z, 0-9).
 */
__attribute__((nonnull(2, 3))) MUST_CHECK int lab_init(const char *name, struct lab *ret,
                                                       struct err *err);
NONNULL void lab_path(const struct lab *lab, const char *file, char ret[static LAB_PATH_MAX]);
/* The topology of the lab that is up. -ENOENT: none is. */
NONNULL MUST_CHECK int lab_topology(const struct lab *lab, struct topology *ret, struct err *err);
/* 0 when this process may make namespaces and devices, else -EPERM and what to do. */
NONNULL MUST_CHECK int lab_privileges(struct err *err);

struct lab_up_options {
    const char *file; // topology
    bool daemons;     // start the controller, agents and edges
    bool restart;     // restart what died
    FILE *progress;   // NULL: silent
};
/* Bring it up and return when every city has a route to every other and to every region. A signal
 * (SIGINT, SIGTERM, SIGHUP) or an error takes down what stands already: -EINTR, or the error.
 * -EEXIST: it is up. */
NONNULL MUST_CHECK int lab_up(const struct lab *lab, const struct lab_up_options *o,
                              struct err *err);

/* End its processes, delete its namespaces and files. 0 also when there are none. */
NONNULL MUST_CHECK int lab_down(const struct lab *lab, struct err *err);

/* Become argv in a namespace: CITY (its clients), CITY-rt or CITY-pop. Returns only on error. */
NONNULL int lab_exec(const struct lab *lab, const char *place, char *const *argv, struct err *err);

/* Change links. what: a link; a POP ("london-pop": its transit and backbone); or a city (all links
 * of its router). change() edits the configuration of each; it may be called for several. */
typedef int lab_change_fn(struct link_config *config, void *context, struct err *err);
__attribute__((nonnull(1, 2, 3, 5))) MUST_CHECK int lab_change(const struct lab *lab,
                                                               const char *what,
                                                               lab_change_fn *change, void *context,
                                                               struct err *err);
/* A change; context is a struct lab_cut. */
struct lab_cut {
    bool cut;     // false: heal
    bool visible; // both ends see the carrier go, else nobody is told
};
NONNULL int lab_change_cut(struct link_config *config, void *context, struct err *err);

/* The links as they are now: t's configurations, and each link's answer in ret (LINKS_MAX; may be
 * NULL). */
__attribute__((nonnull(1, 2, 4))) MUST_CHECK int
lab_link_state(const struct lab *lab, struct topology *t, struct wan_answer *ret, struct err *err);

/* Wait until routing has settled after a change, that of n announced addresses (host order) too.
 * -ETIMEDOUT: err says what is amiss. */
NONNULL MUST_CHECK int lab_settle(const struct lab *lab, const uint32_t *addrs, unsigned n,
                                  unsigned timeout_ms, struct err *err);

/* Tables for people, or one JSON object. */
NONNULL MUST_CHECK int lab_status(const struct lab *lab, bool json, FILE *to, struct err *err);

/* Fetch an address from cities' clients on a schedule and report what came: a table, or a JSON
 * array of objects as tally_json makes them, with the member "city". SIGINT and SIGTERM end it
 * early. */
struct lab_fetch_options {
    const char *cities; // "tokyo", "tokyo,london", or "all"
    struct fetch_url url;
    double every_ms, seconds;
    uint32_t timeout_ms;
    bool keep_alive, json;
};
NONNULL MUST_CHECK int lab_fetch(const struct lab *lab, const struct lab_fetch_options *o, FILE *to,
                                 struct err *err);

/* From every city's clients: ping and fetch every target. */
enum { LAB_TARGETS_MAX = 16 };
struct lab_probe_target {
    const char *name;
    struct fetch_url url;
};
struct lab_probe_options {
    struct lab_probe_target targets[LAB_TARGETS_MAX];
    unsigned targets_len;
    const char *expect; // the right body without its final newline; NULL: any with status 200
    bool json;
};
NONNULL MUST_CHECK int lab_probe(const struct lab *lab, const struct lab_probe_options *o, FILE *to,
                                 struct err *err);

/* The lab's own processes; started by lab_up and by lab_supervise. */
NONNULL MUST_CHECK int lab_supervise(const struct lab *lab, bool daemons, bool restart,
                                     int ready_fd, struct err *err);
NONNULL MUST_CHECK int lab_links(const struct lab *lab, int ready_fd, struct err *err);
