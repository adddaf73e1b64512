// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Host addresses (/32, /128) and local routes on `lo`, by rtnetlink. No allocation: the guard calls
 * these after a fork. Adding what is there and removing what is not are successes. */
#include "base/base.h"

int netlink_open(void); // a descriptor or negative errno

// family: AF_INET or AF_INET6; bytes: the address in network order. 0 or negative errno.
NONNULL int netlink_addr_add(int fd, uint8_t family, const uint8_t bytes[16]);
NONNULL int netlink_addr_del(int fd, uint8_t family, const uint8_t bytes[16]);

/* A route of type local for the address: packets to it are taken though no interface has it. */
NONNULL int netlink_route_add(int fd, uint8_t family, const uint8_t bytes[16]);
NONNULL int netlink_route_del(int fd, uint8_t family, const uint8_t bytes[16]);
