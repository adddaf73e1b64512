// SPDX-License-Identifier: Apache-2.0
/* skerry lab: the planet on one machine. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "host/log.h"
#include "lab/lab.h"

enum { SETTLE_MS = 60000, FETCH_MS = 5000 }; // default time-outs

static const char options_text[] =
    "  up [FILE]                bring the planet up (default: examples/planet.yaml)\n"
    "      --no-daemons         without controller, agents and edges\n"
    "      --no-restart         do not restart what ends\n"
    "  down                     end every process, delete everything\n"
    "  status [--json]          routes, links, processes\n"
    "  exec CITY COMMAND...     run in a city's clients (CITY-pop, CITY-rt: its POP, its router)\n"
    "  cut WHAT [--visible]     a link, CITY-pop or a city: packets vanish, or the carrier goes\n"
    "  heal WHAT                undo cut\n"
    "  settle [ADDRESS...] [--timeout MS]\n"
    "                           wait until BGP has found the best ways, to announced addresses\n"
    "                           too (default: a minute)\n"
    "  set WHAT [--delay MS] [--jitter MS] [--loss PERCENT] [--rate MBIT] [--queue BYTES]\n"
    "                           change links; delay and jitter are one way, rate 0 is no limit\n"
    "  fetch CITY[,CITY...]|all URL [--every MS] [--for SECONDS] [--timeout MS] [--keep-alive]\n"
    "        [--json]\n"
    "                           fetch on a schedule: failures, longest gap, who answered\n"
    "  probe NAME=URL... [--expect BODY] [--json]\n"
    "                           ping and fetch each target from every city\n"
    "\n"
    "Options of all: --name NAME (or SKERRY_LAB) tells several labs on a machine apart.\n";

// What the words after the verb say; each verb reads its own part.
struct words {
    const char *verb;
    const char *name; // --name
    const char *operands[LAB_TARGETS_MAX];
    unsigned operands_len;
    const char *expect;
    bool json, visible, no_daemons, no_restart, keep_alive;
    double delay, jitter, loss, rate, queue; // negative: not given
    double every_ms, seconds, timeout_ms;
    long ready_fd;
};

enum kind { TAKES_TEXT, TAKES_NUMBER, TAKES_FD, FLAG_ON, FLAG_OFF };

struct option {
    const char *name, *verbs; // verbs that take it, blank-separated with blanks around; NULL: all
    enum kind kind;
    size_t at; // in struct words
    double max;
    const char *unit; // that may follow the number; NULL: none
};

#define AT(field) offsetof(struct words, field)

static const struct option known[] = {
    {"--name", NULL, TAKES_TEXT, AT(name), 0, NULL},
    {"--json", " status fetch probe ", FLAG_ON, AT(json), 0, NULL},
    {"--visible", " cut ", FLAG_ON, AT(visible), 0, NULL},
    {"--no-daemons", " up supervise ", FLAG_ON, AT(no_daemons), 0, NULL},
    {"--daemons", " up supervise ", FLAG_OFF, AT(no_daemons), 0, NULL},
    {"--no-restart", " up supervise ", FLAG_ON, AT(no_restart), 0, NULL},
    {"--restart", " up supervise ", FLAG_OFF, AT(no_restart), 0, NULL},
    {"--ready-fd", " supervise links ", TAKES_FD, AT(ready_fd), 0, NULL},
    {"--keep-alive", " fetch ", FLAG_ON, AT(keep_alive), 0, NULL},
    {"--every", " fetch ", TAKES_NUMBER, AT(every_ms), 3.6e6, "ms"},
    {"--for", " fetch ", TAKES_NUMBER, AT(seconds), 86400, "s"},
    {"--timeout", " fetch settle ", TAKES_NUMBER, AT(timeout_ms), 600000, "ms"},
    {"--expect", " probe ", TAKES_TEXT, AT(expect), 0, NULL},
    {"--delay", " set ", TAKES_NUMBER, AT(delay), 2000, "ms"},
    {"--jitter", " set ", TAKES_NUMBER, AT(jitter), 2000, "ms"},
    {"--loss", " set ", TAKES_NUMBER, AT(loss), 100, "%"},
    {"--rate", " set ", TAKES_NUMBER, AT(rate), 1e6, "mbit"},
    {"--queue", " set ", TAKES_NUMBER, AT(queue), 1 << 30, NULL},
};

static const struct option *find_option(const char *word, const char *verb)
{
    char spaced[32];
    snprintf(spaced, sizeof(spaced), " %.28s ", verb);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].name, word) == 0 &&
            (known[i].verbs == NULL || strstr(known[i].verbs, spaced) != NULL))
            return &known[i];
    return NULL;
}

static int read_value(const struct option *o, const char *text, void *field)
{
    char *end = NULL;
    if (o->kind == TAKES_TEXT) {
        *(const char **)field = text;
        return CLI_OK;
    }
    if (o->kind == TAKES_FD) {
        long fd = strtol(text, &end, 10);
        *(long *)field = fd;
        return *text != '\0' && *end == '\0' && fd >= 0 && fd < INT_MAX ? CLI_OK : CLI_USAGE;
    }
    double v = strtod(text, &end);
    *(double *)field = v;
    bool whole = *end == '\0' || (o->unit != NULL && strcmp(end, o->unit) == 0);
    return end != text && whole && v >= 0 && v <= o->max ? CLI_OK : CLI_USAGE;
}

/* Read options and operands from argv; exec stops after its first operand. *ret_used says how many
 * words were read. */
static int read_words(int argc, char **argv, struct words *w, int *ret_used)
{
    int i = 0;
    for (; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-') {
            if (w->operands_len == ARRAY_LEN(w->operands))
                return cli_usage("lab", "'%s' is one word too many", word);
            w->operands[w->operands_len++] = word;
            if (strcmp(w->verb, "exec") == 0) {
                i++;
                break;
            }
            continue;
        }
        const struct option *o = find_option(word, w->verb);
        if (o == NULL)
            return cli_usage("lab", "%s has no option '%s'", w->verb, word);
        void *field = (char *)w + o->at;
        if (o->kind == FLAG_ON || o->kind == FLAG_OFF) {
            *(bool *)field = o->kind == FLAG_ON;
        } else if (++i == argc) {
            return cli_usage("lab", "option '%s' needs a value", word);
        } else if (read_value(o, argv[i], field) != CLI_OK) {
            return cli_usage("lab", "option '%s': '%s' is not a number from 0 to %g", word, argv[i],
                             o->max);
        }
    }
    *ret_used = i;
    return CLI_OK;
}

// In the source tree beside build/dev, or where packages put it.
static int find_planet(char *ret, size_t max, struct err *err)
{
    char exe[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    char *slash = n < 0 ? NULL : strrchr(exe, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(ret, max, "%s/../../examples/planet.yaml", exe);
    if (access(ret, R_OK) == 0)
        return 0;
    snprintf(ret, max, "/usr/share/skerry/planet.yaml");
    if (access(ret, R_OK) == 0)
        return 0;
    return err_set(err, -ENOENT, "lab up: no planet.yaml found, name a file");
}

static int run_up(const struct lab *lab, const struct words *w, struct err *err)
{
    char path[PATH_MAX + 64];
    int r = lab_privileges(err);
    if (r == 0 && w->operands_len == 0)
        r = find_planet(path, sizeof(path), err);
    struct lab_up_options o = {.file = w->operands_len > 0 ? w->operands[0] : path,
                               .daemons = !w->no_daemons,
                               .restart = !w->no_restart,
                               .progress = stderr};
    if (r == 0)
        r = lab_up(lab, &o, err);
    return r < 0 ? r : lab_status(lab, false, stdout, err);
}

static int run_cut(const struct lab *lab, const struct words *w, struct err *err)
{
    struct lab_cut how = {.cut = strcmp(w->verb, "cut") == 0, .visible = w->visible};
    return lab_change(lab, w->operands[0], lab_change_cut, &how, err);
}

static int edit(struct link_config *c, void *context, UNUSED struct err *err)
{
    const struct words *w = context;
    if (w->delay >= 0)
        c->delay_ns = (uint64_t)(w->delay * 1e6);
    if (w->jitter >= 0)
        c->jitter_ns = (uint64_t)(w->jitter * 1e6);
    if (w->loss >= 0)
        c->loss_ppm = (uint32_t)(w->loss * 1e4);
    if (w->rate >= 0)
        c->rate_bps = (uint64_t)(w->rate * 1e6);
    if (w->queue >= 0)
        c->queue_bytes = (uint32_t)w->queue;
    return 0;
}

static int run_set(const struct lab *lab, const struct words *w, struct err *err)
{
    struct words copy = *w;
    return lab_change(lab, w->operands[0], edit, &copy, err);
}

static int run_down(const struct lab *lab, UNUSED const struct words *w, struct err *err)
{
    return lab_down(lab, err);
}

static int run_status(const struct lab *lab, const struct words *w, struct err *err)
{
    return lab_status(lab, w->json, stdout, err);
}

static int run_supervise(const struct lab *lab, const struct words *w, struct err *err)
{
    log_init("skerry-lab", LOG_LEVEL_INFO);
    return lab_supervise(lab, !w->no_daemons, !w->no_restart, (int)w->ready_fd, err);
}

static int run_links(const struct lab *lab, const struct words *w, struct err *err)
{
    log_init("skerry-lab-links", LOG_LEVEL_INFO);
    return lab_links(lab, (int)w->ready_fd, err);
}

static int run_settle(const struct lab *lab, const struct words *w, struct err *err)
{
    uint32_t addrs[LAB_TARGETS_MAX];
    for (unsigned i = 0; i < w->operands_len; i++) {
        struct in_addr a;
        if (inet_pton(AF_INET, w->operands[i], &a) != 1)
            return err_set(err, -EINVAL, "lab settle: '%s' is no IPv4 address", w->operands[i]);
        addrs[i] = ntohl(a.s_addr);
    }
    return lab_settle(lab, addrs, w->operands_len,
                      w->timeout_ms > 0 ? (unsigned)w->timeout_ms : SETTLE_MS, err);
}

static int run_fetch(const struct lab *lab, const struct words *w, struct err *err)
{
    struct lab_fetch_options o = {.cities = w->operands[0],
                                  .every_ms = w->every_ms,
                                  .seconds = w->seconds,
                                  .timeout_ms =
                                      w->timeout_ms > 0 ? (uint32_t)w->timeout_ms : FETCH_MS,
                                  .keep_alive = w->keep_alive,
                                  .json = w->json};
    int r = fetch_url_parse(w->operands[1], &o.url, err);
    if (r == 0 && w->every_ms < 0.1)
        r = err_set(err, -EINVAL, "lab fetch: --every must be 0.1 ms or more");
    return r < 0 ? r : lab_fetch(lab, &o, stdout, err);
}

static int run_probe(const struct lab *lab, const struct words *w, struct err *err)
{
    static struct lab_probe_options o;
    static char names[LAB_TARGETS_MAX][64];
    o = (struct lab_probe_options){.expect = w->expect, .json = w->json};
    for (unsigned i = 0; i < w->operands_len; i++) {
        const char *text = w->operands[i], *equals = strchr(text, '=');
        size_t len = equals == NULL ? 0 : (size_t)(equals - text);
        if (len == 0 || len >= sizeof(names[i]))
            return err_set(err, -EINVAL, "'%.80s': must be NAME=URL", text);
        memcpy(names[i], text, len);
        names[i][len] = '\0';
        int r = fetch_url_parse(equals + 1, &o.targets[i].url, err);
        if (r < 0)
            return r;
        o.targets[o.targets_len++].name = names[i];
    }
    return lab_probe(lab, &o, stdout, err);
}

static const struct verb {
    const char *name;
    unsigned operands_min, operands_max;
    int (*run)(const struct lab *lab, const struct words *w, struct err *err);
} verbs[] = {
    {"up", 0, 1, run_up},
    {"down", 0, 0, run_down},
    {"status", 0, 0, run_status},
    {"cut", 1, 1, run_cut},
    {"heal", 1, 1, run_cut},
    {"set", 1, 1, run_set},
    {"settle", 0, LAB_TARGETS_MAX, run_settle},
    {"fetch", 2, 2, run_fetch},
    {"probe", 1, LAB_TARGETS_MAX, run_probe},
    {"links", 0, 0, run_links}, // started by the lab itself, as is:
    {"supervise", 0, 0, run_supervise},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int dispatch(const struct words *w, char **rest, int rest_len)
{
    struct lab lab;
    struct err err = {0};
    const struct verb *verb = find_verb(w->verb);
    if (lab_init(w->name, &lab, &err) < 0)
        return cli_fail(&err);
    if (verb == NULL) {
        if (w->operands_len == 0 || rest_len == 0)
            return cli_usage("lab", "exec needs a city and a command");
        lab_exec(&lab, w->operands[0], rest, &err);
        return cli_fail(&err);
    }
    if (w->operands_len < verb->operands_min || w->operands_len > verb->operands_max)
        return cli_usage("lab", "%s takes %s", w->verb,
                         verb->operands_max == 0   ? "no name"
                         : verb->operands_max == 1 ? "one name"
                                                   : "more names than that");
    return verb->run(&lab, w, &err) < 0 ? cli_fail(&err) : CLI_OK;
}

int cli_lab(int argc, char **argv)
{
    if (argc < 2)
        return cli_usage("lab", "up, down, status, exec, cut, heal, set, settle, fetch or probe?");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return cli_help("lab", options_text);
    if (find_verb(argv[1]) == NULL && strcmp(argv[1], "exec") != 0)
        return cli_usage("lab", "no verb '%s'", argv[1]);
    struct words w = {.verb = argv[1],
                      .delay = -1,
                      .jitter = -1,
                      .loss = -1,
                      .rate = -1,
                      .queue = -1,
                      .every_ms = 20,
                      .seconds = 10,

                      .ready_fd = -1};
    int used = 0;
    int r = read_words(argc - 2, argv + 2, &w, &used);
    return r != CLI_OK ? r : dispatch(&w, argv + 2 + used, argc - 2 - used);
}
