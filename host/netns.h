// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Named network namespaces, kept where iproute2 keeps them (/run/netns), so that `ip netns` shows
 * them and theirs can be used here. All needs CAP_SYS_ADMIN. The namespace of a thread is the
 * thread's own: threads may do this side by side. */
#include "base/base.h"
#include "host/err.h"

#define NETNS_DIR "/run/netns"

enum { NETNS_NAME_MAX = 64 };

/* Make a namespace and bring its `lo` up. -EEXIST: there is one of that name. */
NONNULL MUST_CHECK int netns_create(const char *name, struct err *err);

/* Take its name away; it ends when no process and no descriptor is left in it. 0 also when there is
 * none of that name, or only a left-over file. */
NONNULL MUST_CHECK int netns_delete(const char *name, struct err *err);

/* A descriptor for setns, rtnl_open and proc_spec. -ENOENT: no such namespace. */
NONNULL MUST_CHECK int netns_open(const char *name, struct err *err);

/* Call each(name, context) for every name that starts with prefix, until it returns something else
 * than 0, which is then the answer. */
int netns_each(const char *prefix, int (*each)(const char *name, void *context), void *context);

/* Move the calling thread into fd's namespace and remember where it came from; then back. */
struct netns_visit {
    int home;
};
NONNULL MUST_CHECK int netns_visit(int fd, struct netns_visit *ret);
NONNULL void netns_return(struct netns_visit *v);

/* Write a value to /proc/sys/net/KEY as the calling thread's namespace has it. */
NONNULL MUST_CHECK int netns_sysctl(const char *key, const char *value, struct err *err);

/* Open /dev/net/tun for device dev in the calling thread's namespace; flags are those of
 * TUNSETIFF (IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR ...). Returns the descriptor, not blocking.
 * The device ends with it. */
NONNULL MUST_CHECK int netns_tun(const char *dev, unsigned flags, struct err *err);
