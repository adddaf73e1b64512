// SPDX-License-Identifier: Apache-2.0
/* Bytes both ways until both sides have ended: plain TCP, and HTTP after an upgrade. */
#include "edge/session.h"

#include <errno.h>

// One direction, as far as it goes now. Negative: broken.
static int flow(struct session *s, struct chan *from, struct chan *to, uint64_t *bytes)
{
    struct worker *w = s->worker;
    int r = chan_flush(to, &w->bufs);
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    for (int i = 0; from->readable && to->pend == NULL; i++) {
        if (i == READS_MAX) {
            session_yield(s);
            break;
        }
        ssize_t n = chan_recv(from, w->scratch, RELAY_MAX);
        if (n == -EAGAIN || n == 0)
            break;
        if (n < 0)
            return (int)n;
        *bytes += (uint64_t)n;
        struct iovec iov = {.iov_base = w->scratch, .iov_len = (size_t)n};
        r = chan_send(to, &w->bufs, &iov, 1);
        if (r < 0)
            return r;
    }
    if (from->eof && to->pend == NULL)
        chan_shut(to);
    return 0;
}

// What was read before the tunnel began goes first.
static int spill(struct worker *w, struct buf **in, struct chan *to)
{
    struct buf *b = *in;
    int r = 0;
    if (b != NULL && to->pend == NULL) {
        struct iovec iov = {.iov_base = b->p + b->at, .iov_len = buf_len(b)};
        r = chan_send(to, &w->bufs, &iov, 1);
        buf_give(&w->bufs, in);
    }
    return r;
}

enum step tunnel_step(struct session *s)
{
    struct worker *w = s->worker;
    struct upstream *u = s->x.up;
    uint64_t up_bytes = 0;
    int r = spill(w, &s->in, &u->chan);
    if (r == 0)
        r = spill(w, &u->in, &s->chan);
    if (r == 0 && s->in == NULL)
        r = flow(s, &s->chan, &u->chan, &up_bytes);
    if (r == 0 && u->in == NULL)
        r = flow(s, &u->chan, &s->chan, &s->x.bytes_out);
    loop_timer_set(&w->loop, &s->timer, w->loop.now_ms + TUNNEL_IDLE_MS);
    bool over = s->chan.shut && u->chan.shut && s->chan.eof && u->chan.eof;
    if (r == 0 && !over)
        return STEP_WAIT;
    exchange_end(s, false);
    return STEP_DEAD;
}
