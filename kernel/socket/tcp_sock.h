// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Inside of TCP sockets. */
#include "kernel/socket/socket.h"

struct tcp;

enum tcp_phase { PHASE_UNCONNECTED, PHASE_CONNECTING, PHASE_CONNECTED }; // Linux socket_state

struct tcp_sock {
    struct sock s;
    struct tcp *t;          // immutable
    enum tcp_phase phase;   // protected by the stack's lock
    int32_t sndbuf, rcvbuf; // as the program set and sees them (doubled), 0: never set; atomic
};

NONNULL MUST_CHECK int tcp_sock_opt_set(struct sock *s, int level, int name,
                                        const struct sock_opt *o);
NONNULL MUST_CHECK int tcp_sock_opt_get(struct sock *s, int level, int name, struct sock_opt *ret);
