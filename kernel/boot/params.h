// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The command line, parsed (grammar: abi/boot.h). Pure; unit-tested on the host. */
#include "abi/boot.h"
#include "base/base.h"

enum { PARAM_ENVS_MAX = 64, PARAM_ARGS_MAX = 64, PARAM_DNS_MAX = 3, PARAM_MMIO_MAX = 32 };

struct param_mmio {
    uint64_t address, bytes;
    unsigned gsi;
};

struct boot_params {
    bool dhcp;            // no static address was given
    uint32_t ip, gateway; // host byte order; gateway 0: none
    unsigned prefix_len;  // 0..32
    uint32_t dns[PARAM_DNS_MAX];
    unsigned dns_count;
    char host[64];
    uint64_t epoch_ns; // 0: unknown
    uint64_t tsc_khz;  // 0: measure
    unsigned cpus;     // 1..BOOT_CPUS_MAX
    bool trace;
    bool written_exec;      // vfs/execrule.c
    bool no_anonymous_exec; // mm/space.h
    const char *trial;               // boot/trial.h; NULL: none
    const char *env[PARAM_ENVS_MAX]; // into the parsed copy of the line
    unsigned env_count;
    const char *args[PARAM_ARGS_MAX];
    unsigned arg_count;
    struct param_mmio mmio[PARAM_MMIO_MAX];
    unsigned mmio_count;
};

/* line is changed in place (decoded, split) and borrowed by *ret. 0; -EINVAL with *ret_bad at the
 * word that is wrong. */
NONNULL MUST_CHECK int params_parse(char *line, struct boot_params *ret, const char **ret_bad);

extern struct boot_params boot_params; // the running kernel's; immutable after boot, but for host
