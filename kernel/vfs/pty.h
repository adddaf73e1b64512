// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Pseudo terminals (pty(7)): /dev/ptmx makes a pair, its other side is a node of /dev/pts. */
#include "base/base.h"

struct file;
struct super;

enum { PTY_MAJOR = 136, PTYS_MAX = 256 };

/* /dev/ptmx is opened: f becomes the master of a new pair. 0, -ENOSPC, -ENOMEM. */
NONNULL MUST_CHECK int pty_master_open(struct file *f);
/* A node of /dev/pts is opened: 0; -EIO its master is gone or has not unlocked it; -ENXIO. */
NONNULL MUST_CHECK int pty_slave_open(unsigned index, struct file *f);
/* /dev/tty: the pair that is the session's terminal. -ENXIO: it has none of this kind. */
NONNULL MUST_CHECK int pty_session_open(struct file *f);
NONNULL void pty_mounted(struct super *sb); // where the nodes of /dev/pts go
