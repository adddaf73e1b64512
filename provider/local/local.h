// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Instances as QEMU processes of this machine.
 *
 *     STATE/.lock           held by the process that has the folder open
 *     STATE/ID/lock         held by the hypervisor while it lives
 *             pid           its process id
 *             status        what the guest said on its status port
 *             console.log   what it printed (or a link to where the spec wants that)
 *             console.sock  its console's input
 *             output        what the hypervisor itself printed
 */
#include "provider/provider.h"

extern const struct provider_ops local_ops;

/* Run one instance in the foreground, with nothing on disk: console output goes to console_fd, and
 * the hypervisor dies with this thread, however that ends.
 *
 * Signals that signal_fd (a signalfd of SIGINT, SIGTERM and their like, which the caller blocks)
 * delivers are passed on to the program, SIGINT as it is, others as SIGTERM; after grace_ms or at a
 * second signal the hypervisor is killed.
 *
 * 0 with *ret saying how it ended; when it was ended by force, state is INSTANCE_KILLED and status
 * the signal that asked for it (0: killed by someone else, or failed to start; see text). Errors
 * are those of open and instance_put. */
struct local_foreground {
    int console_fd;
    int signal_fd;
    uint32_t grace_ms;
    // Called once the hypervisor runs; may be NULL.
    void (*on_start)(void *ctx, const char *kernel_path, bool kvm);
    void *ctx;
};
NONNULL MUST_CHECK int local_run(const struct provider_config *config,
                                 const struct instance_spec *spec,
                                 const struct local_foreground *io, struct instance_info *ret,
                                 struct err *e);
