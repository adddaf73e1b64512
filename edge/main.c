// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>

#include "edge/edge.h"
#include "host/log.h"

enum { EXIT_USAGE = 2, DRAIN_DEFAULT_S = 10 };

static const char help_text[] =
    "usage: skerry-edge --pop NAME --region REGION --backbone ADDRESS:PORT [OPTION...]\n"
    "The data plane of one point of presence: takes connections on the services' addresses,\n"
    "leads each to the nearest healthy instance, and announces the addresses while it can.\n\n"
    "  --pop NAME               this point of presence\n"
    "  --region REGION          the region whose instances it reaches itself\n"
    "  --control ADDRESS        the controller: unix:PATH or http://ADDRESS:PORT\n"
    "                           (default $SKERRY_CONTROL or unix:/run/skerry/control.sock)\n"
    "  --backbone ADDRESS:PORT  where other POPs' edges reach this one; a private network\n"
    "  --admin ADDRESS          serve /metrics and /status: ADDRESS:PORT or unix:PATH\n"
    "  --access-log FILE        a JSON line a request; '-' is standard output;\n"
    "                           SIGHUP opens the file again\n"
    "  --workers N              threads, one a core (default: as many as cores)\n"
    "  --no-pin                 do not pin workers to cores\n"
    "  --drain SECONDS          most time for open requests after SIGTERM (default 10)\n"
    "  --state DIR              where the last table is kept\n"
    "                           (default /run/skerry/edge-NAME)\n"
    "  --help, --version\n";

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "skerry-edge: %s%s%s\nTry 'skerry-edge --help'.\n", what,
            value == NULL ? "" : " ", value == NULL ? "" : value);
    return EXIT_USAGE;
}

static bool number(const char *text, unsigned min, unsigned max, unsigned *ret)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || v < min || v > max)
        return false;
    *ret = (unsigned)v;
    return true;
}

static bool name_ok(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < TABLE_NAME_MAX &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

static unsigned cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return MIN(MAX((unsigned)CPU_COUNT(&set), 1u), (unsigned)WORKERS_MAX);
}

enum {
    OPT_POP = 256,
    OPT_REGION,
    OPT_CONTROL,
    OPT_BACKBONE,
    OPT_ADMIN,
    OPT_LOG,
    OPT_WORKERS,
    OPT_NO_PIN,
    OPT_DRAIN,
    OPT_STATE,
    OPT_HELP,
    OPT_VERSION
};

static const struct option options[] = {
    {"pop", required_argument, NULL, OPT_POP},
    {"region", required_argument, NULL, OPT_REGION},
    {"control", required_argument, NULL, OPT_CONTROL},
    {"backbone", required_argument, NULL, OPT_BACKBONE},
    {"admin", required_argument, NULL, OPT_ADMIN},
    {"access-log", required_argument, NULL, OPT_LOG},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"no-pin", no_argument, NULL, OPT_NO_PIN},
    {"drain", required_argument, NULL, OPT_DRAIN},
    {"state", required_argument, NULL, OPT_STATE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

/* -1: run; else an exit status. */
static int parse(int argc, char **argv, struct edge_options *o)
{
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case OPT_POP:
            o->pop = optarg;
            break;
        case OPT_REGION:
            o->region = optarg;
            break;
        case OPT_CONTROL:
            o->control = optarg;
            break;
        case OPT_BACKBONE:
            o->backbone = optarg;
            break;
        case OPT_ADMIN:
            o->admin = optarg;
            break;
        case OPT_LOG:
            o->access_log = optarg;
            break;
        case OPT_STATE:
            o->state_dir = optarg;
            break;
        case OPT_NO_PIN:
            o->pin = false;
            break;
        case OPT_WORKERS:
            if (!number(optarg, 1, WORKERS_MAX, &o->workers))
                return usage("--workers: not a number from 1 to 64:", optarg);
            break;
        case OPT_DRAIN:
            if (!number(optarg, 0, 3600, &o->drain_s))
                return usage("--drain: not a number of seconds from 0 to 3600:", optarg);
            break;
        case OPT_HELP:
            fputs(help_text, stdout);
            return EXIT_SUCCESS;
        case OPT_VERSION:
            puts("skerry-edge " SKERRY_VERSION);
            return EXIT_SUCCESS;
        default:
            fputs("Try 'skerry-edge --help'.\n", stderr);
            return EXIT_USAGE;
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    const char *control = getenv("SKERRY_CONTROL");
    static char state[TABLE_NAME_MAX + 32];
    struct edge_options o = {.workers = cores(), .drain_s = DRAIN_DEFAULT_S, .pin = true};
    int r = parse(argc, argv, &o);
    if (r >= 0)
        return r;
    if (optind < argc)
        return usage("unexpected argument", argv[optind]);
    if (o.pop == NULL || !name_ok(o.pop))
        return usage("--pop NAME is needed (letters, digits, '-', '_', '.')", NULL);
    if (o.region == NULL || !name_ok(o.region))
        return usage("--region REGION is needed (letters, digits, '-', '_', '.')", NULL);
    if (o.backbone == NULL)
        return usage("--backbone ADDRESS:PORT is needed", NULL);
    if (o.control == NULL)
        o.control =
            control != NULL && control[0] != '\0' ? control : "unix:/run/skerry/control.sock";
    if (strncmp(o.control, "http://", 7) == 0)
        o.control += 7;
    if (o.state_dir == NULL) {
        snprintf(state, sizeof(state), "/run/skerry/edge-%s", o.pop);
        o.state_dir = state;
    }
    struct err err = {0};
    guard_title(argc, argv);
    log_init("skerry-edge", LOG_LEVEL_INFO);
    if (edge_run(&o, &err) < 0) {
        fprintf(stderr, "skerry-edge: %s\n", err.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
