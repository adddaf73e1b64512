// SPDX-License-Identifier: Apache-2.0
#pragma once
/* QEMU's command line for an instance: a pure function of the spec and of where its channels go. */
#include "abi/boot.h"
#include "provider/provider.h"

enum { QEMU_WORDS_MAX = 96, QEMU_TEXT_MAX = 64 * 1024 };

struct qemu_request {
    const struct instance_spec *spec;
    const char *program; // QEMU
    const char *kernel_path;
    bool kvm;
    uint32_t tsc_khz;       // 0: unknown
    uint64_t epoch_seconds; // wall clock, for skerry.epoch
    uint32_t epoch_nanos;
    const char *console;  // options of -chardev for the console, without its id
    const char *status;   // path for the status port
    const char *pid_file; // NULL: none
    int tap_fd;           // for INSTANCE_NET_BRIDGE
};

struct qemu_command {
    const char *words[QEMU_WORDS_MAX + 1]; // ends with NULL; point into text
    uint32_t words_n;
    size_t text_len;
    bool full; // something did not fit
    char text[QEMU_TEXT_MAX];
};

/* 1 to INSTANCE_ID_MAX - 1 of a-z, 0-9 and '-'. */
NONNULL bool instance_id_is_right(const char *id);

/* Check the spec: -EINVAL with *e naming the member. */
NONNULL MUST_CHECK int instance_spec_check(const struct instance_spec *spec, struct err *e);

/* Fill *ret. The spec was checked. -E2BIG: arguments and environment do not fit into the kernel's
 * command line. */
NONNULL MUST_CHECK int qemu_command_make(const struct qemu_request *q, struct qemu_command *ret,
                                         struct err *e);

/* The hardware address of an instance: the spec's, or one made of its id. */
NONNULL void instance_mac(const struct instance_spec *spec, uint8_t ret[static 6]);
