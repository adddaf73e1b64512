// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The kernel's one TCP/IP stack (net/) with its lock, timer and device.
 *
 * Locks: stack -> a socket's waitq -> what its waiters take (epoll, run queue)
 *        stack -> the network driver's -> packet buffers.
 * The stack's lock is a spinlock for tasks and work. User memory is only touched under it by the
 * *_atomic copies, which do not sleep. */
#include "base/base.h"
#include "net/net.h"

/* Take the lock; *ret_now is the time for the calls into net/. */
NONNULL struct net_stack *stack_enter(uint64_t *ret_now);
/* Let go: what was sent is shown to the device, the timer is set if it must be. */
void stack_leave(void);

/* Only before the first address is there and while DHCP still asks: wait for it, some seconds at
 * most. 0 (address or not) or -EINTR. Task context. */
MUST_CHECK int stack_wait_address(void);

/* What ioctl tells of the interface (the stack's lock is not held). */
struct stack_if {
    uint32_t ip, netmask; // host byte order; 0: none yet
    uint8_t mac[6];
    uint16_t mtu;
    bool exists, link;
};
NONNULL void stack_if_get(struct stack_if *ret);
