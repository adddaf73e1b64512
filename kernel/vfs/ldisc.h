// SPDX-License-Identifier: Apache-2.0
#pragma once
/* The line discipline of terminals (termios(3), Linux 6.1 drivers/tty/n_tty.c), pure: keys go in,
 * lines and an echo come out. The owner locks. */
#include "base/base.h"

struct termios { // struct termios of the kernel's ABI
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[19];
};
_Static_assert(sizeof(struct termios) == 36, "Linux struct termios");

enum {
    TTY_IN = 4096, // keys that wait for the program
    TTY_OUT = 8192,
    CC_TIME = 5,
    CC_MIN = 6,
    IFLAG_IXON = 02000,
    LFLAG_ICANON = 2,
    LFLAG_TOSTOP = 0400,
};

struct ldisc {
    struct termios t;
    uint16_t in[TTY_IN];         // ring: a byte, perhaps with a mark
    unsigned in_head, in_tail;   // free-running
    unsigned in_ready;           // up to here keys can be read: complete lines
    uint8_t out[TTY_OUT];        // ring: what the terminal shows
    unsigned out_head, out_tail; // free-running
    unsigned lines;              // complete lines in the ring
    bool stopped;                // ^S
    bool literal;                // the next key is taken as it is (^V)
};

NONNULL void ldisc_init(struct ldisc *l);
/* A key was typed. Returns the signal that it asks for (SIGINT, SIGQUIT, SIGTSTP), or 0. */
NONNULL int ldisc_key(struct ldisc *l, uint8_t key);
NONNULL bool ldisc_key_room(const struct ldisc *l);
/* What the program writes: how many bytes were taken. */
NONNULL size_t ldisc_write(struct ldisc *l, const uint8_t *from, size_t n);
/* What the program reads now: up to max bytes, in canonical mode up to the end of a line. True when
 * something, if only an end of file, was there. */
NONNULL bool ldisc_read(struct ldisc *l, uint8_t *to, size_t max, size_t *ret);
NONNULL size_t ldisc_readable(const struct ldisc *l);                 // bytes; 1 for an end of file
NONNULL size_t ldisc_shown(struct ldisc *l, uint8_t *to, size_t max); // what the terminal gets
NONNULL void ldisc_flush(struct ldisc *l, bool in, bool out);
/* New settings. What was typed becomes readable when canonical mode ends. */
NONNULL void ldisc_set(struct ldisc *l, const struct termios *t);
