// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Reading the HTTP/1.1 answers that the lab's clients get: whole answers in one buffer, judged
 * strictly, because a client that forgives would hide what it is there to find. RFC 9112. */
#include "base/base.h"

enum {
    ANSWER_MAX = 64 * 1024, // bytes of a whole answer
    ANSWER_POP_MAX = 32,    // bytes of a POP's name with NUL
};

struct answer {
    unsigned status;          // 200, ...
    bool keep_alive;          // the connection may be used again
    char pop[ANSWER_POP_MAX]; // header X-Skerry-Pop; "" when there is none
    const char *body;         // in the buffer, decoded in place
    size_t body_len;
    size_t used; // bytes of the buffer that belong to this answer
};

/* buf holds the len bytes that have come so far; eof: no more will. 0 with *ret when a whole answer
 * to a GET is there (buf may have been changed: do not call again with it); -EAGAIN more is needed;
 * -EPROTO it is not valid HTTP/1.1, or ended too early; -E2BIG longer than ANSWER_MAX. */
NONNULL MUST_CHECK int answer_read(char *buf, size_t len, bool eof, struct answer *ret);
