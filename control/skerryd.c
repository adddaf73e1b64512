// SPDX-License-Identifier: Apache-2.0
/* skerryd: the control plane's two processes. `skerryd controller` decides, `skerryd agent` runs
 * instances in one region. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/agent.h"
#include "control/api.h"
#include "control/spec.h"
#include "host/log.h"

enum { EXIT_USAGE = 2 };

#define DEFAULT_CONTROL "unix:/run/skerry/control.sock"

static const char controller_help[] =
    "usage: skerryd controller [--listen ADDRESS]... [--state DIR]\n"
    "Keep what is wanted and what is, and bring the two together.\n\n"
    "  --listen ADDRESS  unix:/path or http://ADDR:PORT, up to four times\n"
    "                    (default " DEFAULT_CONTROL ")\n"
    "  --state DIR       database and images (default /var/lib/skerry/controller)\n";

static const char agent_help[] =
    "usage: skerryd agent --region R --bridge BR --subnet NET --gateway ADDR [...]\n"
    "Run the instances of one region.\n\n"
    "  --region R        name of the region\n"
    "  --control ADDRESS controller (default SKERRY_CONTROL, or " DEFAULT_CONTROL ")\n"
    "  --bridge BR       bridge that the instances' TAPs join\n"
    "  --subnet NET      as 10.80.2.0/24: instances get their addresses from it\n"
    "  --gateway ADDR    the instances' gateway\n"
    "  --state DIR       images, consoles, addresses (default /var/lib/skerry/agent-R)\n"
    "  --kernel PATH     kernel to boot (default: kernel.elf beside this program)\n"
    "  --provider NAME   where instances run (default local)\n";

static int usage(const char *name, const char *what)
{
    fprintf(stderr, "skerryd %s: %s\nTry 'skerryd %s --help'.\n", name, what, name);
    return EXIT_USAGE;
}

static int finish(int r, const struct err *err)
{
    if (r < 0)
        fprintf(stderr, "skerryd: %s\n", err->text);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int controller(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"state", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct api_config config = {.state_dir = "/var/lib/skerry/controller"};
    struct err err = {0};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'l' && config.listen_len == API_LISTEN_MAX)
            return usage("controller", "too many --listen");
        if (o == 'l')
            config.listen[config.listen_len++] = optarg;
        else if (o == 's')
            config.state_dir = optarg;
        else if (o == 'h')
            return fputs(controller_help, stdout) < 0;
        else
            return usage("controller", "wrong option");
    }
    if (optind != argc)
        return usage("controller", "it takes options only");
    if (config.listen_len == 0)
        config.listen[config.listen_len++] = DEFAULT_CONTROL;
    log_init("skerryd-controller", LOG_LEVEL_INFO);
    return finish(api_run(&config, &err), &err);
}

static int agent(int argc, char **argv)
{
    struct agent_config c = {.provider = "local", .control = getenv("SKERRY_CONTROL")};
    const struct {
        const char *name;
        const char **value;
    } table[] = {{"region", &c.region}, {"control", &c.control},  {"bridge", &c.bridge},
                 {"subnet", &c.subnet}, {"gateway", &c.gateway},  {"state", &c.state_dir},
                 {"kernel", &c.kernel}, {"provider", &c.provider}};
    struct option options[ARRAY_LEN(table) + 2] = {0};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        options[i] = (struct option){table[i].name, required_argument, NULL, (int)i};
    options[ARRAY_LEN(table)] = (struct option){"help", no_argument, NULL, 'h'};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h')
            return fputs(agent_help, stdout) < 0;
        if (o < 0 || (size_t)o >= ARRAY_LEN(table))
            return usage("agent", "wrong option");
        *table[o].value = optarg;
    }
    if (optind != argc)
        return usage("agent", "it takes options only");
    if (c.region == NULL || c.bridge == NULL || c.subnet == NULL || c.gateway == NULL)
        return usage("agent", "--region, --bridge, --subnet and --gateway are needed");
    if (!name_is_valid(c.region, REGION_NAME_MAX))
        return usage("agent", "--region must be a-z, 0-9 and '-', first a letter");
    if (c.control == NULL || c.control[0] == '\0')
        c.control = DEFAULT_CONTROL;
    char state[256];
    snprintf(state, sizeof(state), "/var/lib/skerry/agent-%s", c.region);
    if (c.state_dir == NULL)
        c.state_dir = state;
    struct err err = {0};
    log_init("skerryd-agent", LOG_LEVEL_INFO);
    return finish(agent_run(&c, &err), &err);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "controller") == 0)
        return controller(argc - 1, argv + 1);
    if (strcmp(what, "agent") == 0)
        return agent(argc - 1, argv + 1);
    bool help = strcmp(what, "--help") == 0;
    fprintf(help ? stdout : stderr,
            "usage: skerryd controller|agent [...]\n'skerryd controller --help' tells more.\n");
    return help ? EXIT_SUCCESS : EXIT_USAGE;
}
