// SPDX-License-Identifier: Apache-2.0
#pragma once
/* One stream socket of a worker, edge-triggered: readiness is remembered in flags, so that whoever
 * serves it may come back later, and what could not be written yet waits in `pend`. This is the
 * whole of the data path's input and output: another engine than epoll would replace this file. */
#include <sys/uio.h>

#include "edge/buf.h"
#include "host/loop.h"

struct chan {
    struct loop_fd lfd;
    bool readable;    // a read may give something
    bool hup;         // the other side has ended its stream; reading on finds the end
    bool error;       // the connection is broken
    bool eof;         // the end has been read
    bool shut;        // we have ended our stream
    struct buf *pend; // waits to be written
};

/* Take over fd and watch it. 0 or negative errno; fd stays the caller's then. */
NONNULL MUST_CHECK int chan_open(struct chan *c, struct loop *l, int fd,
                                 void (*ready)(struct loop_fd *f, uint32_t events));
NONNULL void chan_close(struct chan *c, struct loop *l, struct buf_pool *pool);

/* Note events in the flags. */
NONNULL static inline void chan_note(struct chan *c, uint32_t events)
{
    c->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    c->hup |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    c->error |= (events & (EPOLLHUP | EPOLLERR)) != 0;
}

/* Read up to n bytes: > 0; 0 at the end of the stream; -EAGAIN; another negative errno: broken. */
NONNULL MUST_CHECK ssize_t chan_recv(struct chan *c, void *to, size_t n);

/* Write all of iov, or keep what does not fit in c->pend (which must be empty before). Returns 0 or
 * negative errno: broken. Modifies iov. */
NONNULL MUST_CHECK int chan_send(struct chan *c, struct buf_pool *pool, struct iovec *iov, int n);

/* Move up to n bytes (at most BUF_LARGE) from one socket to the other without copying them, by way
 * of an empty pipe, which is empty again afterwards. Returns how many came; 0 at the end of from's
 * stream; -EAGAIN: nothing there now; -EPIPE: `to` is broken; another negative errno: `from` is.
 * What `to` does not take now waits in to->pend, which must be empty before. */
NONNULL MUST_CHECK ssize_t chan_splice(struct chan *from, struct chan *to, struct buf_pool *pool,
                                       const int pipe[2], size_t n);

/* Write what waits: 0 when nothing is left; -EAGAIN; another negative errno: broken. */
NONNULL MUST_CHECK int chan_flush(struct chan *c, struct buf_pool *pool);

/* End our stream; call when nothing waits. */
NONNULL void chan_shut(struct chan *c);
