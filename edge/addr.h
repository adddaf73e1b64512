// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Socket addresses as people write them: "198.51.100.10", "10.0.0.1:80", "[2001:db8::1]:80". */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"

enum { ADDR_TEXT_MAX = 128 };

struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t len; // bytes of the sockaddr; 0: none
};

/* A numeric host and a port. 0 or -EINVAL. */
NONNULL MUST_CHECK int addr_of(const char *host, uint16_t port, struct addr *ret);

/* "HOST:PORT" (numeric) or "unix:PATH". 0 or -EINVAL. */
NONNULL MUST_CHECK int addr_parse(const char *text, struct addr *ret);

/* The host without port ("10.0.0.1", "2001:db8::1"); returns buf. "unix" for a local socket. */
NONNULL const char *addr_host(const struct addr *a, char buf[static ADDR_TEXT_MAX]);

/* "10.0.0.1:80", "[2001:db8::1]:80" or "unix:/path"; returns buf. */
NONNULL const char *addr_text(const struct addr *a, char buf[static ADDR_TEXT_MAX]);

/* A non-blocking TCP listener that shares its port with others (SO_REUSEPORT). early: the address
 * need not be on an interface yet (IP_FREEBIND). A descriptor or negative errno. */
NONNULL int addr_listen(const struct addr *a, bool early);

NONNULL bool addr_equal(const struct addr *a, const struct addr *b);
