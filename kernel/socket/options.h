// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Numbers of socket options (Linux include/uapi/asm-generic/socket.h, linux/tcp.h, linux/in.h), and
 * the options that TCP and UDP share. */
#include "kernel/socket/socket.h"

enum {
    SO_REUSEADDR = 2,
    SO_TYPE = 3,
    SO_ERROR = 4,
    SO_BROADCAST = 6,
    SO_SNDBUF = 7,
    SO_RCVBUF = 8,
    SO_KEEPALIVE = 9,
    SO_LINGER = 13,
    SO_PASSCRED = 16,
    SO_PEERCRED = 17,
    SO_RCVLOWAT = 18,
    SO_SNDLOWAT = 19,
    SO_RCVTIMEO = 20,
    SO_SNDTIMEO = 21,
    SO_ACCEPTCONN = 30,
    SO_SNDBUFFORCE = 32,
    SO_RCVBUFFORCE = 33,
    SO_PROTOCOL = 38,
    SO_DOMAIN = 39,
    SO_RCVTIMEO_NEW = 66,
    SO_SNDTIMEO_NEW = 67,
};

enum {
    OPT_IP_TOS = 1,
    OPT_IP_TTL = 2,
    OPT_IP_MTU_DISCOVER = 10,
    OPT_IP_MTU = 14,
};
enum { PMTUDISC_WANT = 1, PMTUDISC_DO = 2 }; // values of IP_MTU_DISCOVER; we always set DF

enum {
    OPT_TCP_NODELAY = 1,
    OPT_TCP_MAXSEG = 2,
    OPT_TCP_CORK = 3,
    OPT_TCP_KEEPIDLE = 4,
    OPT_TCP_KEEPINTVL = 5,
    OPT_TCP_KEEPCNT = 6,
    OPT_TCP_SYNCNT = 7,
    OPT_TCP_DEFER_ACCEPT = 9,
    OPT_TCP_INFO = 11,
    OPT_TCP_QUICKACK = 12,
    OPT_TCP_CONGESTION = 13,
    OPT_TCP_USER_TIMEOUT = 18,
    OPT_TCP_NOTSENT_LOWAT = 25,
};

/* IP options come as an int or as one byte (Linux do_ip_setsockopt). -EINVAL: neither. */
NONNULL MUST_CHECK int opt_ip_value(const struct sock_opt *o, int *ret);
