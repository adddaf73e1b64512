// SPDX-License-Identifier: Apache-2.0
#pragma once
/* A scripted peer for tests: one machine with a stack, and a test that speaks for the
 * host 10.0.0.9, segment by segment, with numbers relative to each side's first sequence number. */
#include "net/wire.h"
#include "net/world_host.h"

enum { PEER_IP = 0x0a000009, PEER_PORT = 9999, HEARD_MAX = 256 };

struct heard { // a TCP segment that the stack sent
    uint64_t at;
    uint32_t seq, ack; // relative
    uint32_t len;
    uint16_t wnd, mss;
    uint8_t flags;
    int wscale; // -1: no option
    bool sack_ok, has_stamp;
    uint32_t stamp, echo;
    unsigned sacks;
    uint32_t sack[8]; // relative starts and ends
    uint16_t src, dst;
};

struct peer {
    struct world w;
    struct machine *m;
    struct net_stack *n;
    uint16_t port;        // of the stack's side
    uint32_t iss;         // ours
    uint32_t stack_iss;   // learned from its SYN
    bool stamps;          // add time stamps to what we send
    uint32_t stamp, echo; // ours to send; the newest heard
    struct heard heard[HEARD_MAX];
    unsigned heard_len, heard_next;
    bool arp_asked;
    unsigned other;     // frames that were not TCP to us
    uint8_t last[2048]; // the newest frame of any kind
    size_t last_len;
    uint32_t ready; // events of all sockets together
};

void peer_init(struct peer *p, const struct net_config *config);
void peer_deinit(struct peer *p); // asserts that nothing is left over

/* Send a segment: seq and ack relative, len bytes of payload (byte i of the stream is i * 7). */
void peer_send(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len);
/* The same with options (padded by the caller to a multiple of 4) and a window. */
void peer_send_with(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len,
                    uint16_t wnd, const uint8_t *opts, uint8_t opts_len);
/* An IP packet with any payload. */
void peer_send_ip(struct peer *p, uint8_t proto, uint32_t src, uint32_t dst, const void *data,
                  size_t len);

/* The next segment heard, or NULL. */
const struct heard *peer_hear(struct peer *p);
void peer_forget(struct peer *p); // what was heard so far
void peer_wait(struct peer *p, uint64_t ms);

/* A listener on port 80, and a connection to it by a handshake with all options (stamps too when
 * p->stamps). NULL: it failed. */
struct tcp *peer_listen(struct peer *p, uint32_t backlog);
struct tcp *peer_connected(struct peer *p, struct tcp *listener);
/* tcp_send() of len pattern bytes. */
int64_t peer_stack_sends(struct peer *p, struct tcp *t, size_t len);
