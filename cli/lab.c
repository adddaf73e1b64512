// SPDX-License-Identifier: Apache-2.0
/* skerry lab: the planet on one machine. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "host/log.h"
#include "lab/lab.h"

static const char options_text[] =
    "  up [FILE]                bring the planet up (default: examples/planet.yaml)\n"
    "      --no-daemons         without controller, agents and edges\n"
    "      --no-restart         do not restart what ends\n"
    "  down                     end every process, delete everything\n"
    "  status [--json]          routes, links, processes\n"
    "  exec CITY COMMAND...     run in a city's clients (CITY-pop, CITY-rt: its POP, its router)\n"
    "  cut WHAT [--visible]     a link, CITY-pop or a city: packets vanish (--visible: carrier "
    "lost)\n"
    "  heal WHAT                undo cut\n"
    "  set LINK [--delay MS] [--jitter MS] [--loss PERCENT] [--rate MBIT] [--queue BYTES]\n"
    "                           change a link; delay and jitter are one way, rate 0 is no limit\n"
    "\n"
    "Options of all: --name NAME (or SKERRY_LAB) tells several labs on a machine apart.\n";

// What the words after the verb say; each verb reads its own part.
struct words {
    const char *verb;
    const char *name;    // --name
    const char *operand; // FILE, WHAT, LINK
    bool json, visible, no_daemons, no_restart;
    double delay, jitter, loss, rate, queue; // negative: not given
    long ready_fd;
};

enum kind { TAKES_TEXT, TAKES_NUMBER, TAKES_FD, FLAG_ON, FLAG_OFF };

struct option {
    const char *name, *verbs; // verbs that take it, blank-separated with blanks around; NULL: all
    enum kind kind;
    size_t at; // in struct words
    double max;
};

#define AT(field) offsetof(struct words, field)

static const struct option known[] = {
    {"--name", NULL, TAKES_TEXT, AT(name), 0},
    {"--json", " status ", FLAG_ON, AT(json), 0},
    {"--visible", " cut ", FLAG_ON, AT(visible), 0},
    {"--no-daemons", " up supervise ", FLAG_ON, AT(no_daemons), 0},
    {"--daemons", " up supervise ", FLAG_OFF, AT(no_daemons), 0},
    {"--no-restart", " up supervise ", FLAG_ON, AT(no_restart), 0},
    {"--restart", " up supervise ", FLAG_OFF, AT(no_restart), 0},
    {"--ready-fd", " supervise links ", TAKES_FD, AT(ready_fd), 0},
    {"--delay", " set ", TAKES_NUMBER, AT(delay), 2000},
    {"--jitter", " set ", TAKES_NUMBER, AT(jitter), 2000},
    {"--loss", " set ", TAKES_NUMBER, AT(loss), 100},
    {"--rate", " set ", TAKES_NUMBER, AT(rate), 1e6},
    {"--queue", " set ", TAKES_NUMBER, AT(queue), 1 << 30},
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
    return *text != '\0' && *end == '\0' && v >= 0 && v <= o->max ? CLI_OK : CLI_USAGE;
}

/* Read options and the one operand from argv; exec stops at its operand. *ret_used says how many
 * words were read. */
static int read_words(int argc, char **argv, struct words *w, int *ret_used)
{
    int i = 0;
    for (; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-') {
            if (w->operand != NULL)
                return cli_usage("lab", "'%s' is one word too many", word);
            w->operand = word;
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
    int r = w->operand == NULL ? find_planet(path, sizeof(path), err) : 0;
    struct lab_up_options o = {.file = w->operand != NULL ? w->operand : path,
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
    return lab_change(lab, w->operand, lab_change_cut, &how, err);
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
    return lab_change(lab, w->operand, edit, &copy, err);
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

static const struct {
    const char *verb;
    bool operand; // needs one (up may have one)
    int (*run)(const struct lab *lab, const struct words *w, struct err *err);
} verbs[] = {
    {"up", false, run_up},         {"down", false, run_down},
    {"status", false, run_status}, {"cut", true, run_cut},
    {"heal", true, run_cut},       {"set", true, run_set},
    {"links", false, run_links},   {"supervise", false, run_supervise},
};

static int dispatch(const struct words *w, char **rest, int rest_len)
{
    struct lab lab;
    struct err err = {0};
    if (lab_init(w->name, &lab, &err) < 0)
        return cli_fail(&err);
    if (strcmp(w->verb, "exec") == 0) {
        if (w->operand == NULL || rest_len == 0)
            return cli_usage("lab", "exec needs a city and a command");
        lab_exec(&lab, w->operand, rest, &err);
        return cli_fail(&err);
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].verb, w->verb) != 0)
            continue;
        if (verbs[i].operand != (w->operand != NULL) && verbs[i].run != run_up)
            return cli_usage("lab", verbs[i].operand ? "%s needs a name" : "%s takes no name",
                             w->verb);
        return verbs[i].run(&lab, w, &err) < 0 ? cli_fail(&err) : CLI_OK;
    }
    return cli_usage("lab", "no verb '%s'", w->verb);
}

int cli_lab(int argc, char **argv)
{
    if (argc < 2)
        return cli_usage("lab", "up, down, status, exec, cut, heal or set?");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return cli_help("lab", options_text);
    struct words w = {.verb = argv[1],
                      .delay = -1,
                      .jitter = -1,
                      .loss = -1,
                      .rate = -1,
                      .queue = -1,
                      .ready_fd = -1};
    int used = 0;
    int r = read_words(argc - 2, argv + 2, &w, &used);
    return r != CLI_OK ? r : dispatch(&w, argv + 2 + used, argc - 2 - used);
}
