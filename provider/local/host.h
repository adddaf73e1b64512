// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What a local hypervisor needs of this machine; shared by instances and foreground runs. */
#include "provider/local/qemu.h"
#include "provider/local/tsc.h"

enum { LOCAL_PATH_MAX = 4096 };

struct local_host {
    char qemu[LOCAL_PATH_MAX];
    char kernel[LOCAL_PATH_MAX];
    bool kvm;
    struct tsc_sample start;
};

/* Find QEMU and the kernel. -ENOENT with what to install or set. config->accel or else
 * SKERRY_ACCEL overrides the choice of the accelerator. */
NONNULL MUST_CHECK int local_host_init(struct local_host *h, const struct provider_config *config,
                                       struct err *e);

/* Can all ports of the spec be listened on? -EADDRINUSE, -EACCES naming the port. */
NONNULL MUST_CHECK int local_check_ports(const struct instance_net *n, struct err *e);

/* The same of one port. */
NONNULL MUST_CHECK int local_check_port(const struct instance_forward *f, struct err *e);

/* Is the file there and readable: a file of this kind? what begins the error's text. */
NONNULL MUST_CHECK int local_check_file(const char *what, const char *path, struct err *e);

/* The same of a kernel, which must also be a whole ELF file with a PVH entry. -ENOEXEC. */
NONNULL MUST_CHECK int local_check_kernel(const char *path, struct err *e);

/* Make a TAP on the spec's bridge, up, with virtio-net headers. Returns its descriptor, with which
 * it ends. -ENOENT, -EPERM. */
NONNULL MUST_CHECK int local_tap(const struct instance_spec *spec, struct err *e);

/* The request's members that are the same for both kinds of runs. */
NONNULL void local_request(struct local_host *h, const struct instance_spec *spec,
                           struct qemu_request *ret);
